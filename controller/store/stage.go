package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// fence is this process's right to write objects while no head moves.
type fence struct {
	*Store
	note     stagingNote
	revision int64 // ModRevision of the key staging
	lease    clientv3.LeaseID
	cancel   context.CancelFunc
}

// errFenced says that the right was taken away.
var errFenced = fmt.Errorf("%w: this controller was stopped, or cut off from etcd, for so long that another has put back what it was writing", ErrUnavailable)

// raise takes the fence, where the head is that of revision base and the
// conditions hold. It returns a lostError where they do not.
func (s *Store) raise(ctx context.Context, note stagingNote, base uint64, conditions ...clientv3.Cmp) (*fence, error) {
	lctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	lease, err := s.client.Grant(lctx, int64((s.c.StageTTL+time.Second-1)/time.Second))
	if err != nil {
		return nil, s.unavailable(err)
	}
	if s.member != nil {
		note.Member = uint64(s.member.etcd.Server.MemberID())
	}
	value, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	// The token is known before the fence is up: the follower need not keep what
	// this process writes.
	f := &fence{Store: s, note: note, lease: lease.ID}
	f.claim(note.Token, true)
	conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(s.keys.head), "=", int64(base)))
	f.revision, err = f.txn(ctx, []clientv3.Op{
		clientv3.OpPut(s.keys.staging, string(value)),
		clientv3.OpPut(s.keys.alive, note.Token, clientv3.WithLease(lease.ID)),
	}, conditions, isMine(value))
	if err != nil {
		f.disown()
		return nil, err
	}
	kctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel = stop
	alive, err := s.client.KeepAlive(kctx, lease.ID)
	if err != nil {
		stop()
		f.disown()
		return nil, s.unavailable(err)
	}
	go func() { // ends with kctx
		for range alive {
		}
	}()
	return f, nil
}

// claim notes that a staging with that token is this process's, or no longer.
func (f *fence) claim(token string, own bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if own {
		f.own[token] = true
	} else {
		delete(f.own, token)
	}
}

// disown ends what raise has begun, as well as can be.
func (f *fence) disown() {
	f.claim(f.note.Token, false)
	ctx, cancel := f.attempt(context.Background(), time.Second)
	defer cancel()
	_, _ = f.client.Revoke(ctx, f.lease) // it ends by itself otherwise
}

// txn commits ops if the conditions hold. In doubt it tries again; then, where
// they no longer hold, mine says by the key staging whether ops were committed.
func (f *fence) txn(ctx context.Context, ops []clientv3.Op, conditions []clientv3.Cmp, mine func(*clientv3.GetResponse) (int64, bool)) (int64, error) {
	until := time.Now().Add(2 * f.c.RequestTimeout)
	for {
		tctx, cancel := f.attempt(ctx, f.c.RequestTimeout)
		r, err := f.client.Txn(tctx).If(conditions...).Then(ops...).Else(clientv3.OpGet(f.keys.staging), clientv3.OpGet(f.keys.head)).Commit()
		cancel()
		if err != nil {
			if definite(err) || ctx.Err() != nil || f.quorum.isLost() || time.Now().After(until) {
				return 0, f.unavailable(err)
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return 0, err
			}
			continue
		}
		if r.Succeeded {
			return r.Header.Revision, nil
		}
		st := (*clientv3.GetResponse)(r.Responses[0].GetResponseRange())
		if revision, ok := mine(st); ok {
			return revision, nil
		}
		lost := &lostError{staging: len(st.Kvs) > 0}
		if kvs := r.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
			lost.head = uint64(kvs[0].ModRevision)
		}
		return 0, lost
	}
}

// owned are the conditions under which the fence still stands.
func (f *fence) owned() []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(f.keys.staging), "=", f.revision),
		clientv3.Compare(clientv3.ModRevision(f.keys.head), "=", int64(f.note.Base)),
	}
}

func never(*clientv3.GetResponse) (int64, bool) { return 0, false }

// write writes objects in as many transactions as it takes.
func (f *fence) write(ctx context.Context, ops []clientv3.Op, size func(i int) int, progress func(done int)) error {
	for from := 0; from < len(ops); {
		to, bytes := from, 0
		for to < len(ops) && to-from < f.c.MaxTxnOps && (to == from || bytes+size(to) <= f.c.MaxTxnBytes) {
			bytes += size(to)
			to++
		}
		_, err := f.txn(ctx, ops[from:to], f.owned(), never)
		var lost *lostError
		if errors.As(err, &lost) {
			return errFenced
		}
		if err != nil {
			return err
		}
		from = to
		f.c.fault("chunk")
		progress(to)
	}
	return nil
}

// lower takes the fence away, together with ops. It returns the revision.
func (f *fence) lower(ctx context.Context, ops ...clientv3.Op) (uint64, error) {
	ops = append(ops, clientv3.OpDelete(f.keys.staging), clientv3.OpDelete(f.keys.alive))
	revision, err := f.txn(ctx, ops, f.owned(), never)
	if err == nil {
		f.end()
	}
	return uint64(revision), err
}

// end stops to keep the fence alive.
func (f *fence) end() {
	f.cancel()
	f.disown()
}

// stage applies a plan that is too large for one transaction. Nobody takes the
// objects for the policy before the head moves.
func (s *Store) stage(ctx, caller context.Context, p *plan) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(caller, stop)()
	note := stagingNote{Author: p.opts.Author, Base: p.base.head.Revision, Token: newToken(), Started: s.c.now().UTC()}
	f, err := s.raise(ctx, note, note.Base, clientv3.Compare(clientv3.CreateRevision(s.keys.staging), "=", 0))
	if err != nil {
		return ended(caller, err)
	}
	s.c.fault("staging")
	ops := make([]clientv3.Op, len(p.ops))
	for i, w := range p.ops {
		ops[i] = clientv3.OpPut(w.key, w.value)
	}
	err = f.write(ctx, ops, func(i int) int { return len(p.ops[i].key) + len(p.ops[i].value) + 40 }, func(done int) {
		if p.opts.Progress != nil && done < len(ops) {
			p.opts.Progress(done, len(ops))
		}
	})
	h := p.base.head.after(s.c.now(), len(p.all), p.opts, p.token)
	var revision uint64
	if err == nil {
		s.c.fault("before head")
		revision, err = f.lower(ctx, clientv3.OpPut(s.keys.head, h.encode()))
	}
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		if revision, err = s.giveUp(ctx, f, p.token, err); err != nil {
			return ended(caller, err)
		}
	}
	s.c.fault("after head")
	return s.enforce(ctx, p, h, revision)
}

// ended returns the caller's own error where that is why something failed.
func ended(caller context.Context, err error) error {
	var lost *lostError
	if cerr := caller.Err(); cerr != nil && !errors.As(err, &lost) {
		return cerr
	}
	return err
}

// giveUp puts back what was written behind a fence, and returns why it was given
// up; or the revision of the head with token, if that is in etcd after all.
func (s *Store) giveUp(ctx context.Context, f *fence, token string, why error) (uint64, error) {
	defer f.end()
	ctx, cancel := context.WithTimeout(ctx, max(s.c.StageTTL, time.Minute))
	defer cancel()
	// What was sent may still be on its way: under a new fence it comes to nothing.
	err := f.renew(ctx)
	var lost *lostError
	if errors.As(err, &lost) {
		revision, err := s.findToken(ctx, token, f.note.Base, lost.head)
		if revision != 0 && err == nil {
			return revision, nil
		}
		return 0, errors.Join(why, err)
	}
	if err == nil {
		err = f.revert(ctx)
	}
	if err != nil {
		s.c.Log.Warn("a large apply could not be put back yet", "error", err)
		s.pokeRecoverer() // whoever can first
	}
	return 0, why
}

// renew makes the fence another, so that what was written under it before, and
// has not arrived yet, never will.
func (f *fence) renew(ctx context.Context) error {
	note := f.note
	note.Token = newToken()
	value, err := json.Marshal(note)
	if err != nil {
		return err
	}
	f.claim(note.Token, true)
	revision, err := f.txn(ctx, []clientv3.Op{clientv3.OpPut(f.keys.staging, string(value))}, f.owned(), isMine(value))
	if err != nil {
		f.claim(note.Token, false)
		return err
	}
	f.claim(f.note.Token, false)
	f.note, f.revision = note, revision
	return nil
}

// isMine tells whether the key staging has that value, and its revision.
func isMine(value []byte) func(*clientv3.GetResponse) (int64, bool) {
	return func(r *clientv3.GetResponse) (int64, bool) {
		if len(r.Kvs) > 0 && bytes.Equal(r.Kvs[0].Value, value) {
			return r.Kvs[0].ModRevision, true
		}
		return 0, false
	}
}

// revert makes all objects what they were at the head's revision, and takes the
// fence away.
func (f *fence) revert(ctx context.Context) error {
	var dirty []string
	err := f.readPages(ctx, f.keys.objects[:len(f.keys.objects)-1], true, 0, true, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if uint64(kv.ModRevision) > f.note.Base {
				dirty = append(dirty, string(kv.Key))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	ops, sizes := make([]clientv3.Op, 0, len(dirty)), make([]int, 0, len(dirty))
	for kv, err := range f.valuesAt(ctx, dirty, int64(f.note.Base)) {
		if err != nil {
			return err
		}
		k := dirty[len(ops)]
		op, size := clientv3.OpDelete(k), len(k)+40
		if kv != nil {
			op, size = clientv3.OpPut(k, string(kv.Value)), size+len(kv.Value)
		}
		ops, sizes = append(ops, op), append(sizes, size)
	}
	if err := f.write(ctx, ops, func(i int) int { return sizes[i] }, func(int) {}); err != nil {
		return err
	}
	_, err = f.lower(ctx)
	return err
}

func (s *Store) pokeRecoverer() {
	select {
	case s.rescue <- struct{}{}:
	default:
	}
}

// recoverer puts back what controllers have left that died in a large apply.
func (s *Store) recoverer(ctx context.Context) error {
	for {
		select {
		case <-s.rescue:
		case <-time.After(max(s.c.StageTTL/2, time.Second)):
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
		st := s.staging
		idle := st == nil || s.own[st.note.Token]
		s.mu.Unlock()
		if idle {
			continue
		}
		if err := s.recoverFrom(ctx, st); err != nil && ctx.Err() == nil {
			s.c.Log.Warn("a large apply that was broken off is not put back yet", "error", err)
		}
	}
}

// recoverFrom takes over a fence that nobody keeps up.
func (s *Store) recoverFrom(ctx context.Context, st *staging) error {
	conditions := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.keys.staging), "=", st.fence)}
	if s.member == nil || st.note.Member != uint64(s.member.etcd.Server.MemberID()) {
		conditions = append(conditions, clientv3.Compare(clientv3.CreateRevision(s.keys.alive), "=", 0))
	} // else: an earlier process in this data directory, which is locked
	note := st.note
	note.Token = newToken()
	f, err := s.raise(ctx, note, st.note.Base, conditions...)
	var lost *lostError
	if errors.As(err, &lost) {
		return nil // it is alive, or somebody else is at it
	}
	if err != nil {
		return err
	}
	s.c.Log.Info("putting back a large apply that was broken off", "author", note.Author, "started", note.Started)
	if err := f.revert(ctx); err != nil {
		f.end()
		return err
	}
	return nil
}
