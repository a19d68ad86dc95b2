package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxReplay bounds the changes that are undone or redone one by one to come from
// one version to another; beyond, the version is read whole.
const maxReplay = 20_000

// headAt returns the head that was in force at a moment. Any revision of etcd is
// one: between heads the earlier is in force.
func (s *Store) headAt(ctx context.Context, at At) (head, error) {
	switch {
	case at.Revision != 0:
		h, _, _, err := s.readHead(ctx, int64(at.Revision))
		return h, err
	case !at.Time.IsZero():
		return s.headAtTime(ctx, at.Time)
	}
	h, _, _, err := s.readHead(ctx, 0)
	return h, err
}

// headAtTime looks for the last head that is not younger. Heads are never older
// than the one before, so that halving finds it.
func (s *Store) headAtTime(ctx context.Context, t time.Time) (head, error) {
	best, _, now, err := s.readHead(ctx, 0)
	if err != nil || best.Revision == 0 || !best.Time.After(t) {
		return best, err
	}
	low, high := int64(0), min(now, int64(best.Revision)) // low: too early or not kept; high: too late
	found, kept := head{}, false
	compacted := false
	for high-low > 1 {
		mid := low + (high-low)/2
		h, _, _, err := s.readHead(ctx, mid)
		switch {
		case errors.Is(err, ErrCompacted):
			compacted = true
			low = mid
		case err != nil:
			return head{}, err
		case h.Time.After(t):
			high = int64(min(uint64(mid), h.Revision))
		default:
			found, kept, low = h, true, mid
		}
	}
	if !kept && compacted {
		return head{}, fmt.Errorf("%w: nothing is kept from %s", ErrCompacted, t.Format(time.RFC3339))
	}
	return found, nil
}

// HeadAt returns the version that was in force at a moment.
func (s *Store) HeadAt(ctx context.Context, at At) (Head, error) {
	h, err := s.headAt(ctx, at)
	return h.Head, err
}

// PolicyAt returns the policy that was in force at a moment.
func (s *Store) PolicyAt(ctx context.Context, at At) (*tenant.Policy, error) {
	if err := s.loadedYet(ctx); err != nil {
		return nil, err
	}
	h, err := s.headAt(ctx, at)
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx, h.Revision); err != nil {
		return nil, err
	}
	if p := s.remembered(h.Revision); p != nil {
		return p, nil
	}
	if h.Revision == 0 {
		return tenant.Empty(), nil
	}
	if p, ok := s.undone(ctx, h.Revision); ok {
		return p, nil
	}
	// The head's own revision may be older than what is kept, where nothing
	// changed since; then the moment itself is as good.
	at.Revision = max(at.Revision, h.Revision)
	_, st, _, err := s.readHead(ctx, int64(at.Revision))
	if err != nil {
		return nil, err
	}
	if st != nil {
		at.Revision = h.Revision
	}
	p, foreign, err := s.readPolicy(ctx, int64(at.Revision), h.Revision)
	if err != nil {
		return nil, err
	}
	p, _, err = s.withoutForeign(ctx, p, h.Revision, foreign)
	return p, err
}

// ensure waits until a version that etcd has is in force here.
func (s *Store) ensure(ctx context.Context, revision uint64) error {
	ctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	return s.unavailable(s.reached(ctx, revision))
}

// remembered returns the policy of a head that is still in memory.
func (s *Store) remembered(revision uint64) *tenant.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.state.Load(); st.head.Revision == revision {
		return st.policy
	}
	for i := range s.events.events {
		if e := &s.events.events[i]; e.Revision == revision {
			return e.policy
		}
	}
	return nil
}

// undone makes the policy of a head of the one in force, by what changed since.
// It is not ok where that is much, or cannot be read.
func (s *Store) undone(ctx context.Context, revision uint64) (*tenant.Policy, bool) {
	st := s.state.Load()
	changed := make(map[tenant.Key]bool)
	for e, err := range s.past(ctx, revision, st.head.Revision) {
		if err != nil || len(changed) > maxReplay {
			return nil, false
		}
		for _, c := range e.Effective {
			changed[c.Key()] = true
		}
	}
	changes := make([]tenant.Change, 0, len(changed))
	for k := range changed {
		r, err := s.getAt(ctx, k, int64(revision))
		if err != nil {
			return nil, false
		}
		c := tenant.Delete(k)
		if r != nil {
			if c, err = s.keys.decodeObject(r); err != nil {
				return nil, false
			}
		}
		changes = append(changes, c)
	}
	p, problems := st.policy.Apply(changes, revision)
	return p, len(problems) == 0
}

// Heads returns the latest versions of the policy, the newest first: at most
// limit, and no more than are kept.
func (s *Store) Heads(ctx context.Context, limit int) ([]Head, error) {
	h, _, _, err := s.readHead(ctx, 0)
	var heads []Head
	for err == nil && h.Revision != 0 && len(heads) < limit {
		heads = append(heads, h.Head)
		if h.previous == 0 {
			break
		}
		h, _, _, err = s.readHead(ctx, int64(h.previous))
	}
	if errors.Is(err, ErrCompacted) && len(heads) > 0 {
		err = nil
	}
	return heads, err
}

// History returns the latest versions of an object, the newest first: at most
// limit, and no more than are kept. Of a deleted object the first is the
// deletion. The Head of a version is that of the policy that brought it; where
// that is no longer kept, it has a revision and nothing else.
func (s *Store) History(ctx context.Context, k tenant.Key, limit int) ([]Version, error) {
	h, _, now, err := s.readHead(ctx, 0)
	if err != nil {
		return nil, err
	}
	at := int64(h.Revision)
	r, err := s.getAt(ctx, k, at)
	if errors.Is(err, ErrCompacted) { // somebody else has compacted
		at = now
		r, err = s.getAt(ctx, k, at)
	}
	var versions []Version
	for ; err == nil && r != nil && h.Revision != 0 && len(versions) < limit; r, err = s.getAt(ctx, k, at) {
		var v Version
		v, err = s.version(ctx, r, h)
		if errors.Is(err, ErrCompacted) { // it is as old as what is kept, or older
			c, derr := s.keys.decodeObject(r)
			if derr == nil {
				versions = append(versions, Version{Head{Revision: uint64(r.ModRevision)}, c.Object()})
			}
			break
		}
		if errors.Is(err, errNotHead) {
			at = r.ModRevision - 1
			continue
		}
		if err != nil {
			break
		}
		if n := len(versions); n > 0 && same(versions[n-1].Object, v.Object) {
			versions = versions[:n-1] // the later one put what was there
		}
		versions = append(versions, v)
		if at = r.ModRevision - 1; at <= 0 {
			break
		}
	}
	if errors.Is(err, ErrCompacted) && len(versions) > 0 {
		err = nil
	}
	return versions, err
}

func same(a, b tenant.Object) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Equal(b)
}

// errNotHead says that a value of an object was never in force.
var errNotHead = errors.New("was never in force")

// version returns what a value of an object was in the history of the policy, of
// which latest is the newest head. A staged one is older than its head.
func (s *Store) version(ctx context.Context, kv *mvccpb.KeyValue, latest head) (v Version, err error) {
	h, st, _, err := s.readHead(ctx, kv.ModRevision)
	if err != nil {
		return v, err
	}
	if h.Revision != uint64(kv.ModRevision) {
		if st == nil || h.Revision == latest.Revision {
			return v, errNotHead // edited by somebody, or staged and not in force yet
		}
		next, err := s.headAfter(ctx, h.Revision, kv.ModRevision, latest)
		if err != nil {
			return v, err
		}
		actx, cancel := s.attempt(ctx, s.c.RequestTimeout)
		r, err := s.client.Get(actx, string(kv.Key), clientv3.WithRev(int64(next.Revision)))
		cancel()
		if err != nil {
			return v, s.unavailable(err)
		}
		if len(r.Kvs) == 0 || !bytes.Equal(r.Kvs[0].Value, kv.Value) {
			return v, errNotHead // staged, and put back
		}
		h = next
	}
	c, err := s.keys.decodeObject(kv)
	if err != nil {
		return v, err
	}
	return Version{h.Head, c.Object()}, nil
}

// headAfter returns the first head after the one of a revision, which was in
// force at a revision of etcd and is not at another, latest. Each head names the
// one before, so that halving soon meets the one that names it. (A watch from a
// revision of the past would tell too, but etcd lets those wait for 0.1 s.)
func (s *Store) headAfter(ctx context.Context, revision uint64, at int64, latest head) (head, error) {
	for next := latest; ; {
		if next.previous == revision {
			return next, nil
		}
		mid := at + (int64(next.Revision)-at)/2
		if mid <= at {
			return head{}, errNotHead
		}
		h, _, _, err := s.readHead(ctx, mid)
		switch {
		case err != nil:
			return head{}, err
		case h.Revision == revision:
			at = mid
		default:
			next = h
		}
	}
}

func (s *Store) getAt(ctx context.Context, k tenant.Key, at int64) (*mvccpb.KeyValue, error) {
	ctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.keys.object(k), clientv3.WithRev(at))
	if err != nil || len(r.Kvs) == 0 {
		return nil, s.unavailable(err)
	}
	return r.Kvs[0], nil
}

// KeysEver returns the keys of all objects of a kind that there are, or were in
// the time that is kept. Keys of records and routes may be narrowed to those
// that begin with within, such as "5001/" for the records of a subnet.
func (s *Store) KeysEver(ctx context.Context, kind tenant.Kind, within string) ([]tenant.Key, error) {
	var keys []tenant.Key
	prefix := s.keys.objects + kind.String()
	if kind != tenant.KindGatewayMAC {
		prefix += "/" + within
	}
	add := func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if k, err := tenant.ParseKey(strings.TrimPrefix(string(kv.Key), s.keys.objects)); err == nil {
				keys = append(keys, k)
			}
		}
		return nil
	}
	if err := s.readRange(ctx, prefix, clientv3.GetPrefixRangeEnd(prefix), 0, true, add); err != nil {
		return nil, err
	}
	return slices.Clip(keys), nil
}

// Diff returns the changes that make the policy of one moment of that of another,
// and the revisions of the two.
func (s *Store) Diff(ctx context.Context, from, to At) (iter.Seq[tenant.Change], [2]uint64, error) {
	a, err := s.PolicyAt(ctx, from)
	if err != nil {
		return nil, [2]uint64{}, err
	}
	b, err := s.PolicyAt(ctx, to)
	if err != nil {
		return nil, [2]uint64{}, err
	}
	return tenant.Diff(a, b), [2]uint64{a.Revision(), b.Revision()}, nil
}

// Rollback makes the policy what it was at a moment, as a new revision.
func (s *Store) Rollback(ctx context.Context, to At, opts ApplyOptions) (Applied, error) {
	p, err := s.PolicyAt(ctx, to)
	if err != nil {
		return Applied{}, err
	}
	given := opts.IfRevision
	for {
		if err := s.Sync(ctx); err != nil {
			return Applied{}, err
		}
		now := s.Policy()
		if given != 0 && given != now.Revision() {
			return Applied{}, conflict(given, now.Revision())
		}
		opts.IfRevision = now.Revision()
		a, err := s.Apply(ctx, slices.Collect(tenant.Diff(now, p)), opts)
		if given == 0 && errors.Is(err, ErrConflict) && ctx.Err() == nil {
			continue // it has moved on; the difference is another
		}
		return a, err
	}
}
