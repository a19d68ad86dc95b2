package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxPending bounds the objects of somebody else's large apply that are kept
// until its head comes. Where there are more, all is read again then.
const maxPending = 50_000

// follower turns what etcd tells into versions of the policy.
type follower struct {
	*Store
	seen    int64                       // the revision of etcd that all is known of
	staging *staging                    // as of seen
	pending map[string]*mvccpb.KeyValue // staged objects
	partial bool                        // pending has not all of them
	broken  bool                        // a version could not be put in force
}

var errReload = errors.New("the policy must be read again")

// follow loads the policy and follows it until ctx ends. What goes wrong is in
// the status, and tried again.
func (s *Store) follow(ctx context.Context) error {
	f := &follower{Store: s}
	wait := 50 * time.Millisecond
	for load := true; ; {
		var err error
		if load {
			err = f.reload(ctx)
			load = err != nil
		} else {
			err = f.watch(ctx)
			load = errors.Is(err, errReload)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			wait = 50 * time.Millisecond
			continue
		}
		s.c.Log.Debug("following etcd", "error", err)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// reload reads the policy and puts it in force, whatever was before.
func (f *follower) reload(ctx context.Context) error {
	start, before := time.Now(), f.state.Load()
	l, err := f.load(ctx)
	if err != nil {
		if !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
			f.breaks(err)
		}
		return err
	}
	f.c.fault("read")
	f.seen, f.pending, f.partial, f.broken = l.seen, nil, l.staging != nil, false
	f.setStaging(l.staging)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.health.broken, f.health.err, f.health.connected = nil, nil, true
	f.foreign = l.foreign
	old := f.state.Load()
	switch {
	case old == nil:
		f.c.Log.Info("the policy is loaded", "revision", l.head.Revision, "records", l.policy.NumRecords(), "took", time.Since(start).Round(time.Millisecond))
		f.put(&l.state, Event{Head: l.head.Head})
		f.events = ring{} // what was before is in etcd
	case old != before && old.head.Revision > l.head.Revision:
		// An apply of this process came in between; the watch tells of it again.
	case old.head.Revision != l.head.Revision || old.head.token != l.head.token:
		if l.head.Revision < old.head.Revision {
			f.c.Log.Warn("etcd has an older policy than the one in force: was it restored from a backup?", "had", old.head.Revision, "has", l.head.Revision)
		}
		f.put(&l.state, Event{Head: l.head.Head, Effective: slices.Collect(tenant.Diff(old.policy, l.policy))})
	}
	f.tell()
	return nil
}

func (f *follower) breaks(err error) {
	f.broken = true
	err = fmt.Errorf("%w: the last good policy stays in force; put right what is in etcd", err)
	f.note(func(h *health) {
		if h.broken == nil || h.broken.Error() != err.Error() {
			f.c.Log.Error("what is in etcd is no policy", "error", err)
		}
		h.broken = err
	})
}

func (f *follower) setStaging(st *staging) {
	f.staging = st
	f.mu.Lock()
	f.Store.staging = st
	f.tell()
	f.mu.Unlock()
	if st != nil {
		f.pokeRecoverer()
	}
}

// watch follows from what has been seen. It returns errReload where that cannot
// be followed.
func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	// Only the store's own keys: other packages have theirs elsewhere.
	ch := f.client.Watch(ctx, f.keys.prefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(f.keys.prefix)), clientv3.WithRev(f.seen+1))
	for {
		select {
		case r, ok := <-ch:
			if !ok {
				return errors.New("the watch has ended")
			}
			if err := r.Err(); err != nil {
				if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
					return errReload
				}
				return err
			}
			if err := f.take(r.Events); err != nil {
				return err
			}
		case <-f.poke:
			return errReload
		}
	}
}

// take goes through events, one revision after the other.
func (f *follower) take(events []*clientv3.Event) error {
	for len(events) > 0 {
		rev := events[0].Kv.ModRevision
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == rev {
			n++
		}
		if err := f.revision(rev, events[:n]); err != nil {
			return err
		}
		f.seen = rev
		events = events[n:]
	}
	return nil
}

// revision goes through what one transaction has changed.
func (f *follower) revision(rev int64, events []*clientv3.Event) error {
	var objects []*mvccpb.KeyValue
	var newHead *mvccpb.KeyValue
	unstaged := false
	for _, e := range events {
		switch key := string(e.Kv.Key); {
		case key == f.keys.head:
			if e.Type == clientv3.EventTypeDelete {
				return errReload
			}
			newHead = e.Kv
		case key == f.keys.staging:
			if e.Type == clientv3.EventTypeDelete {
				unstaged = true
				continue
			}
			st, err := f.decodeStaging(e.Kv)
			if err != nil {
				f.breaks(err)
				return nil
			}
			f.setStaging(st)
		case key == f.keys.alive:
			if e.Type == clientv3.EventTypeDelete {
				f.pokeRecoverer()
			}
		case strings.HasPrefix(key, f.keys.objects):
			objects = append(objects, e.Kv)
		}
	}
	defer func() {
		if unstaged {
			f.setStaging(nil)
		}
	}()
	switch {
	case newHead != nil:
		if f.staging != nil {
			f.hold(objects)
			objects = slices.Collect(maps.Values(f.pending))
		}
		partial := f.partial
		f.pending, f.partial = nil, false
		err := f.advance(newHead, objects, partial)
		f.known(objects) // what the status calls well is in force
		return err
	case unstaged: // put back as it was
		f.pending, f.partial = nil, false
	case f.staging != nil:
		f.hold(objects)
	case len(objects) > 0:
		f.edited(objects)
	}
	return nil
}

// hold keeps staged objects until their head comes.
func (f *follower) hold(objects []*mvccpb.KeyValue) {
	f.mu.Lock()
	own := f.own[f.staging.note.Token]
	f.mu.Unlock()
	if f.partial || len(objects) == 0 {
		return
	}
	if own || len(f.pending)+len(objects) > maxPending {
		f.pending, f.partial = nil, true
		return
	}
	if f.pending == nil {
		f.pending = make(map[string]*mvccpb.KeyValue)
	}
	for _, kv := range objects {
		f.pending[string(kv.Key)] = kv
	}
}

// edited notes objects that were changed without a head.
func (f *follower) edited(objects []*mvccpb.KeyValue) {
	st := f.state.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kv := range objects {
		text := strings.TrimPrefix(string(kv.Key), f.keys.objects)
		if len(kv.Value) == 0 { // an old mark of a deleted object goes
			k, err := tenant.ParseKey(text)
			if _, there := st.policy.Object(k); err != nil || !there {
				delete(f.foreign, text)
				continue
			}
		}
		f.foreign[text] = kv.ModRevision
		f.c.Log.Warn("an object was edited in etcd without a controller; it is not in force", "object", text, "revision", kv.ModRevision)
	}
	f.tell()
}

// known forgets edits that an apply has overwritten.
func (f *follower) known(objects []*mvccpb.KeyValue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.foreign) > 0 {
		for _, kv := range objects {
			delete(f.foreign, strings.TrimPrefix(string(kv.Key), f.keys.objects))
		}
	}
}

// advance puts a head in force that makes objects of the version before.
func (f *follower) advance(kv *mvccpb.KeyValue, objects []*mvccpb.KeyValue, partial bool) error {
	h, err := decodeHead(kv)
	if err != nil {
		f.breaks(err)
		return nil
	}
	st := f.state.Load()
	if st.head.Revision >= h.Revision {
		return nil // an apply of this process
	}
	if partial || f.broken || st.head.Revision != h.previous {
		return errReload
	}
	if p := f.inFlight(h.token); p != nil && p.base.head.Revision == h.previous {
		// An apply of this process, which has yet to hear that it is in etcd.
		return f.reach(p, h)
	}
	changes := make([]tenant.Change, 0, len(objects))
	for _, kv := range objects {
		if f.keys.isLitter(kv) {
			continue
		}
		c, err := f.keys.decodeObject(kv)
		if err != nil {
			f.breaks(err)
			return nil
		}
		changes = append(changes, c)
	}
	next, problems := st.policy.Apply(changes, h.Revision)
	if len(problems) > 0 {
		f.breaks(invalidInEtcd(problems, kv.ModRevision))
		return nil
	}
	return f.proceed(st, &state{next, h}, effective(st.policy, changes))
}

// reach puts an apply of this process in force.
func (f *follower) reach(p *plan, h head) error {
	next, _ := p.next.Apply(nil, h.Revision)
	return f.proceed(p.base, &state{next, h}, p.all)
}

func (f *follower) proceed(from, to *state, effective []tenant.Change) error {
	if !f.publish(from.head.Revision, to, effective) && f.Head().Revision < to.head.Revision {
		return errReload
	}
	return nil
}

// effective returns the changes that make a difference to p, by key.
func effective(p *tenant.Policy, changes []tenant.Change) []tenant.Change {
	out := make([]tenant.Change, 0, len(changes))
	for _, c := range changes {
		old, there := p.Object(c.Key())
		if c.IsDelete() && !there || !c.IsDelete() && there && old.Equal(c.Object()) {
			continue
		}
		out = append(out, c)
	}
	return sorted(out)
}

// sorted sorts changes by key.
func sorted(changes []tenant.Change) []tenant.Change {
	slices.SortFunc(changes, func(a, b tenant.Change) int { return a.Key().Compare(b.Key()) })
	return changes
}
