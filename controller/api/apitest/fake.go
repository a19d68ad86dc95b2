// Package apitest has a backend in memory, for tests of the API and of what uses
// it. It keeps the contract of api.Backend, errors included.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// revision is a version of the policy.
type revision struct {
	store.Event
	policy *tenant.Policy
}

// Backend is a policy with its history, in memory. It is safe for use by many
// goroutines.
type Backend struct {
	mu        sync.Mutex
	revisions []revision    // the oldest first; [0] is the empty policy
	compacted int           // so many of them are no longer kept
	changed   chan struct{} // closed and replaced with each revision
	fail      error
	slow      func(ctx context.Context, o store.ApplyOptions) error
	status    admin.Status
	watching  int
}

// New returns a backend with an empty policy of revision 1.
func New() *Backend {
	p, _ := tenant.Empty().Apply(nil, 1)
	return &Backend{changed: make(chan struct{}), revisions: []revision{{store.Event{Head: store.Head{Revision: 1, Time: time.Unix(1700000000, 0).UTC()}}, p}}}
}

// Fail makes everything that asks the store fail with err; nil ends that. What
// is in force can still be read, as it can where etcd is away.
func (b *Backend) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// Slow makes every apply call f before it stores anything.
func (b *Backend) Slow(f func(ctx context.Context, o store.ApplyOptions) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slow = f
}

// Compact forgets all revisions before the one given.
func (b *Backend) Compact(revision uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.compacted < len(b.revisions)-1 && b.revisions[b.compacted].Revision < revision {
		b.compacted++
	}
}

// SetStatus sets what Status returns.
func (b *Backend) SetStatus(s admin.Status) {
	s.Judge()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = s
}

// Status implements api.StatusSource.
func (b *Backend) Status() *admin.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	return &s
}

func (b *Backend) now() revision { return b.revisions[len(b.revisions)-1] }

// Policy implements api.Backend.
func (b *Backend) Policy() *tenant.Policy {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now().policy
}

// Stale implements api.Backend: it is, while the store cannot be reached.
func (b *Backend) Stale() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.fail, store.ErrUnavailable) {
		return b.fail
	}
	return nil
}

// find returns the version that was in force at a moment. The lock is held.
func (b *Backend) find(at store.At) (revision, error) {
	if at == (store.At{}) {
		return b.now(), nil
	}
	if b.fail != nil {
		return revision{}, b.fail
	}
	if at.Revision > b.now().Revision {
		return revision{}, fmt.Errorf("%w: in force is %d", store.ErrFuture, b.now().Revision)
	}
	for i := len(b.revisions) - 1; i >= b.compacted; i-- {
		e := b.revisions[i]
		if at.Revision != 0 && e.Revision <= at.Revision || at.Revision == 0 && !e.Time.After(at.Time) {
			return e, nil
		}
	}
	return revision{}, fmt.Errorf("%w: the oldest is %d", store.ErrCompacted, b.revisions[b.compacted].Revision)
}

// PolicyAt implements api.Backend.
func (b *Backend) PolicyAt(_ context.Context, at store.At) (*tenant.Policy, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.find(at)
	return e.policy, err
}

// Apply implements api.Backend.
func (b *Backend) Apply(ctx context.Context, changes []tenant.Change, o store.ApplyOptions) (store.Applied, error) {
	b.mu.Lock()
	slow := b.slow
	b.mu.Unlock()
	if slow != nil {
		if err := slow(ctx, o); err != nil {
			return store.Applied{}, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return store.Applied{}, b.fail
	}
	if err := ctx.Err(); err != nil {
		return store.Applied{}, err
	}
	before := b.now()
	if o.IfRevision != 0 && o.IfRevision != before.Revision {
		return store.Applied{}, fmt.Errorf("%w: %d was wanted, in force is %d", store.ErrConflict, o.IfRevision, before.Revision)
	}
	next, problems := before.policy.Apply(changes, before.Revision+3) // etcd's revisions have gaps too
	if len(problems) > 0 {
		return store.Applied{}, &store.InvalidError{Problems: problems}
	}
	effective := slices.Collect(tenant.Diff(before.policy, next))
	a := store.Applied{Head: before.Head, Effective: effective}
	if len(effective) == 0 {
		return a, nil
	}
	a.Head = store.Head{Revision: next.Revision(), Time: before.Time.Add(time.Minute), Changes: len(effective), Author: o.Author, Comment: o.Comment}
	if o.DryRun {
		a.Revision, a.Time = before.Revision, before.Time
		return a, nil
	}
	b.revisions = append(b.revisions, revision{store.Event{Head: a.Head, Effective: effective}, next})
	close(b.changed)
	b.changed = make(chan struct{})
	return a, nil
}

// Rollback implements api.Backend.
func (b *Backend) Rollback(ctx context.Context, to store.At, o store.ApplyOptions) (store.Applied, error) {
	want, err := b.PolicyAt(ctx, to)
	if err != nil {
		return store.Applied{}, err
	}
	return b.Apply(ctx, slices.Collect(tenant.Diff(b.Policy(), want)), o)
}

// Heads implements api.Backend.
func (b *Backend) Heads(_ context.Context, limit int) ([]store.Head, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	var heads []store.Head
	for i := len(b.revisions) - 1; i >= b.compacted && len(heads) < limit; i-- {
		heads = append(heads, b.revisions[i].Head)
	}
	return heads, nil
}

// Diff implements api.Backend.
func (b *Backend) Diff(ctx context.Context, from, to store.At) (iter.Seq[tenant.Change], [2]uint64, error) {
	p, err := b.PolicyAt(ctx, from)
	if err != nil {
		return nil, [2]uint64{}, err
	}
	q, err := b.PolicyAt(ctx, to)
	if err != nil {
		return nil, [2]uint64{}, err
	}
	return tenant.Diff(p, q), [2]uint64{p.Revision(), q.Revision()}, nil
}

// History implements api.Backend.
func (b *Backend) History(_ context.Context, k tenant.Key, limit int) ([]store.Version, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	var out []store.Version
	for i := len(b.revisions) - 1; i >= b.compacted && len(out) < limit; i-- {
		for _, c := range b.revisions[i].Effective {
			if c.Key() == k {
				out = append(out, store.Version{Head: b.revisions[i].Head, Object: c.Object()})
			}
		}
	}
	return out, nil
}

// KeysEver implements api.Backend.
func (b *Backend) KeysEver(_ context.Context, kind tenant.Kind, within string) ([]tenant.Key, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	ever := map[tenant.Key]bool{}
	for _, e := range b.revisions {
		for _, c := range e.Effective {
			if k := c.Key(); k.Kind() == kind && strings.HasPrefix(k.String(), kind.String()+"/"+within) {
				ever[k] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(ever), tenant.Key.Compare), nil
}

// Watching returns how many calls of Events are under way.
func (b *Backend) Watching() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.watching
}

func (b *Backend) watch(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watching += n
}

// Events implements api.Backend.
func (b *Backend) Events(ctx context.Context, after uint64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		b.watch(1)
		defer b.watch(-1)
		for {
			b.mu.Lock()
			changed, fail := b.changed, b.fail
			if after < b.revisions[b.compacted].Revision && b.compacted > 0 {
				fail = store.ErrCompacted
			}
			events := slices.Clone(b.revisions)
			b.mu.Unlock()
			if fail != nil {
				yield(store.Event{}, fail)
				return
			}
			for _, e := range events {
				if e.Revision <= after {
					continue
				}
				if !yield(e.Event, nil) {
					return
				}
				after = e.Revision
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(store.Event{}, ctx.Err())
				return
			}
		}
	}
}
