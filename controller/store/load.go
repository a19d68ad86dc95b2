package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// loadOrder has the kinds of objects so that each needs only those before it:
// then any beginning of what is read makes a policy by itself.
var loadOrder = [...]tenant.Kind{tenant.KindGatewayMAC, tenant.KindHost, tenant.KindRoutingDomain, tenant.KindSubnet, tenant.KindRecord, tenant.KindRoute}

// pageSize is the number of objects read in one request. etcd counts all that
// are left with each, so that small pages would cost the square.
const pageSize = 40_000

// loaded is a policy read from etcd.
type loaded struct {
	state
	seen    int64 // everything up to that revision of etcd is in it
	staging *staging
	foreign map[string]int64
}

// load reads the policy in force. What came after its head is left to the watch.
func (s *Store) load(ctx context.Context) (*loaded, error) {
	h, _, _, err := s.readHead(ctx, 0)
	if err != nil {
		return nil, err
	}
	if h.Revision == 0 {
		return s.loadNow(ctx)
	}
	policy, _, err := s.readPolicy(ctx, int64(h.Revision), h.Revision)
	if errors.Is(err, ErrCompacted) { // not by a controller: these keep the head
		return s.loadNow(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &loaded{state: state{policy, h}, seen: int64(h.Revision), foreign: make(map[string]int64)}, nil
}

// loadNow reads the policy in force where what etcd had at the head's revision
// is no longer kept: of what it has now.
func (s *Store) loadNow(ctx context.Context) (*loaded, error) {
	h, st, now, err := s.readHead(ctx, 0)
	if err != nil {
		return nil, err
	}
	l := &loaded{seen: now, staging: st, foreign: make(map[string]int64)}
	at := now
	if st != nil {
		at = int64(st.note.Base)
	}
	policy, foreign, err := s.readPolicy(ctx, at, h.Revision)
	if err != nil {
		return nil, err
	}
	if policy, foreign, err = s.withoutForeign(ctx, policy, h.Revision, foreign); err != nil {
		return nil, err
	}
	for _, kv := range foreign {
		l.foreign[string(kv.Key[len(s.keys.objects):])] = kv.ModRevision
	}
	l.state = state{policy, h}
	return l, nil
}

// readHead returns the head and the staging at a revision of etcd, 0 for now,
// and which that is.
func (s *Store) readHead(ctx context.Context, revision int64) (h head, st *staging, now int64, err error) {
	ctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	at := clientv3.WithRev(revision)
	r, err := s.client.Txn(ctx).Then(clientv3.OpGet(s.keys.head, at), clientv3.OpGet(s.keys.staging, at)).Commit()
	if err != nil {
		return h, nil, 0, s.unavailable(err)
	}
	now = r.Header.Revision
	if revision != 0 {
		now = revision
	}
	if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		if h, err = decodeHead(kvs[0]); err != nil {
			return h, nil, 0, err
		}
	}
	if kvs := r.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		if st, err = s.decodeStaging(kvs[0]); err != nil {
			return h, nil, 0, err
		}
	}
	return h, st, now, nil
}

func (s *Store) decodeStaging(kv *mvccpb.KeyValue) (*staging, error) {
	st := &staging{fence: kv.ModRevision, since: s.c.now()}
	if err := json.Unmarshal(kv.Value, &st.note); err != nil {
		return nil, fmt.Errorf("key %s of revision %d in etcd: %w: it was edited by somebody else; put back the value that it had", kv.Key, kv.ModRevision, err)
	}
	return st, nil
}

// readPolicy reads the objects at one revision of etcd as the policy of the head
// of revision head. Objects younger than the head are not in it, and returned.
func (s *Store) readPolicy(ctx context.Context, at int64, head uint64) (*tenant.Policy, []*mvccpb.KeyValue, error) {
	g, ctx := errgroup.WithContext(ctx)
	decoded := make(chan (<-chan page), 3)
	g.Go(func() error {
		defer close(decoded)
		for _, kind := range loadOrder {
			err := s.readPages(ctx, s.keys.objects+kind.String(), kind != tenant.KindGatewayMAC, at, false, func(kvs []*mvccpb.KeyValue) error {
				select {
				case decoded <- s.decodePage(kvs, head):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	policy := tenant.Empty()
	var foreign []*mvccpb.KeyValue
	g.Go(func() error {
		for c := range decoded {
			p := <-c
			if p.err != nil {
				return p.err
			}
			foreign = append(foreign, p.foreign...)
			next, problems := policy.Apply(p.changes, head)
			if len(problems) > 0 {
				return invalidInEtcd(problems, int64(head))
			}
			policy = next
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	policy, _ = policy.Apply(nil, head)
	return policy, foreign, nil
}

func invalidInEtcd(problems []tenant.Problem, revision int64) error {
	key, _ := tenant.SplitPath(problems[0].Path)
	return &badObject{key, revision, (&InvalidError{problems}).Error()}
}

type page struct {
	changes []tenant.Change
	foreign []*mvccpb.KeyValue
	err     error
}

// decodePage decodes on all processors.
func (s *Store) decodePage(kvs []*mvccpb.KeyValue, head uint64) <-chan page {
	done := make(chan page, 1)
	go func() {
		parts := runtime.GOMAXPROCS(0)
		pages := make([]page, parts)
		changes := make([]tenant.Change, len(kvs))
		var wg sync.WaitGroup
		for i := range parts {
			from, to := i*len(kvs)/parts, (i+1)*len(kvs)/parts
			wg.Go(func() { pages[i] = s.decodePart(kvs[from:to], changes[from:from:to], head) })
		}
		wg.Wait()
		all := page{changes: changes[:0]}
		for _, p := range pages {
			all.changes = append(all.changes, p.changes...)
			all.foreign = append(all.foreign, p.foreign...)
			all.err = errors.Join(all.err, p.err)
		}
		done <- all
	}()
	return done
}

func (s *Store) decodePart(kvs []*mvccpb.KeyValue, into []tenant.Change, head uint64) page {
	p := page{changes: into}
	for _, kv := range kvs {
		if uint64(kv.ModRevision) > head {
			p.foreign = append(p.foreign, kv)
			continue
		}
		if len(kv.Value) == 0 {
			continue
		}
		c, err := s.keys.decodeObject(kv)
		if err != nil {
			p.err = err
			return p
		}
		p.changes = append(p.changes, c)
	}
	return p
}

// withoutForeign adds to the policy what the objects that are younger than the
// head were at its revision, and returns those that are not the same now. The
// others are what a large apply that was broken off has left.
func (s *Store) withoutForeign(ctx context.Context, p *tenant.Policy, head uint64, young []*mvccpb.KeyValue) (*tenant.Policy, []*mvccpb.KeyValue, error) {
	if len(young) == 0 {
		return p, nil, nil
	}
	keys := make([]string, len(young))
	for i, kv := range young {
		keys[i] = string(kv.Key)
	}
	var changes []tenant.Change
	var foreign []*mvccpb.KeyValue
	i := 0
	for before, err := range s.valuesAt(ctx, keys, int64(head)) {
		kv := young[i]
		i++
		if err != nil {
			return nil, nil, fmt.Errorf("%w: what it was before cannot be read: %w", &badObject{string(kv.Key[len(s.keys.objects):]), kv.ModRevision, "was edited by somebody else"}, err)
		}
		if before == nil && len(kv.Value) > 0 || before != nil && !bytes.Equal(before.Value, kv.Value) {
			foreign = append(foreign, kv)
		}
		if before == nil || len(before.Value) == 0 {
			continue
		}
		c, err := s.keys.decodeObject(before)
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
	}
	next, problems := p.Apply(changes, head)
	if len(problems) > 0 {
		return nil, nil, invalidInEtcd(problems, int64(head))
	}
	return next, foreign, nil
}

// valuesAt yields what keys had at one revision of etcd, nil where they were not.
func (s *Store) valuesAt(ctx context.Context, keys []string, at int64) iter.Seq2[*mvccpb.KeyValue, error] {
	return func(yield func(*mvccpb.KeyValue, error) bool) {
		for part := range slices.Chunk(keys, s.c.MaxTxnOps) {
			r := &clientv3.TxnResponse{}
			if at > 0 { // else there was nothing
				gets := make([]clientv3.Op, len(part))
				for i, k := range part {
					gets[i] = clientv3.OpGet(k, clientv3.WithRev(at))
				}
				rctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
				var err error
				r, err = s.client.Txn(rctx).Then(gets...).Commit()
				cancel()
				if err != nil {
					yield(nil, s.unavailable(err))
					return
				}
			}
			for i := range part {
				var kv *mvccpb.KeyValue
				if at > 0 {
					if kvs := r.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
						kv = kvs[0]
					}
				}
				if !yield(kv, nil) {
					return
				}
			}
		}
	}
}

// readPages reads the key at prefix, or all below it, at one revision of etcd, 0
// for now.
func (s *Store) readPages(ctx context.Context, prefix string, below bool, at int64, keysOnly bool, each func([]*mvccpb.KeyValue) error) error {
	end := prefix + "\x00"
	if below {
		prefix += "/"
		end = clientv3.GetPrefixRangeEnd(prefix)
	}
	return s.readRange(ctx, prefix, end, at, keysOnly, each)
}

func (s *Store) readRange(ctx context.Context, from, end string, at int64, keysOnly bool, each func([]*mvccpb.KeyValue) error) error {
	for {
		opts := []clientv3.OpOption{clientv3.WithRev(at), clientv3.WithLimit(pageSize), clientv3.WithRange(end)}
		if keysOnly {
			opts = append(opts, clientv3.WithKeysOnly())
		}
		rctx, cancel := s.attempt(ctx, 4*s.c.RequestTimeout) // a page is long
		r, err := s.client.Get(rctx, from, opts...)
		cancel()
		if err != nil {
			return s.unavailable(err)
		}
		if at == 0 {
			at = r.Header.Revision // all pages are of one moment
		}
		if len(r.Kvs) > 0 {
			if err := each(r.Kvs); err != nil {
				return err
			}
		}
		if !r.More {
			return nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}
