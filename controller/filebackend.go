package controller

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// fileBackend shows the API a policy that comes from a file: the one in force,
// and no other. The file is its only writer.
type fileBackend struct {
	mu     sync.Mutex
	policy *tenant.Policy
	head   store.Head
	next   chan struct{} // closed when another policy is in force
}

func newFileBackend() *fileBackend { return &fileBackend{next: make(chan struct{})} }

// use makes p the policy in force.
func (b *fileBackend) use(p *tenant.Policy, file string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.policy = p
	b.head = store.Head{Revision: p.Revision(), Time: at, Comment: "read from " + file}
	close(b.next)
	b.next = make(chan struct{})
}

func (b *fileBackend) now() (*tenant.Policy, store.Head, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.policy, b.head, b.next
}

// Policy implements [api.Backend].
func (b *fileBackend) Policy() *tenant.Policy { p, _, _ := b.now(); return p }

// Stale implements [api.Backend].
func (b *fileBackend) Stale() error { return nil }

// PolicyAt implements [api.Backend].
func (b *fileBackend) PolicyAt(_ context.Context, at store.At) (*tenant.Policy, error) {
	p, head, _ := b.now()
	switch {
	case p == nil:
		return nil, fmt.Errorf("no policy is in force yet: %w", store.ErrUnavailable)
	case at.Revision > head.Revision:
		return nil, store.ErrFuture
	case at.Revision != 0 && at.Revision < head.Revision, at.Revision == 0 && !at.Time.IsZero() && at.Time.Before(head.Time):
		return nil, fmt.Errorf("a policy file has no history: %w", store.ErrCompacted)
	}
	return p, nil
}

// Apply implements [api.Backend]: it refuses, but for a dry run.
func (b *fileBackend) Apply(_ context.Context, changes []tenant.Change, o store.ApplyOptions) (store.Applied, error) {
	p, head, _ := b.now()
	if !o.DryRun || p == nil {
		return store.Applied{}, store.ErrReadOnly
	}
	if o.IfRevision != 0 && o.IfRevision != head.Revision {
		return store.Applied{}, store.ErrConflict
	}
	after, problems := p.Apply(changes, head.Revision)
	if len(problems) > 0 {
		return store.Applied{}, &store.InvalidError{Problems: problems}
	}
	return store.Applied{Head: head, Effective: slices.Collect(tenant.Diff(p, after))}, nil
}

// Rollback implements [api.Backend]: it refuses.
func (b *fileBackend) Rollback(context.Context, store.At, store.ApplyOptions) (store.Applied, error) {
	return store.Applied{}, store.ErrReadOnly
}

// Heads implements [api.Backend].
func (b *fileBackend) Heads(_ context.Context, limit int) ([]store.Head, error) {
	p, head, _ := b.now()
	if p == nil || limit <= 0 {
		return nil, nil
	}
	return []store.Head{head}, nil
}

// Diff implements [api.Backend].
func (b *fileBackend) Diff(ctx context.Context, from, to store.At) (iter.Seq[tenant.Change], [2]uint64, error) {
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

// History implements [api.Backend]: what is known is the state in force.
func (b *fileBackend) History(_ context.Context, k tenant.Key, limit int) ([]store.Version, error) {
	p, head, _ := b.now()
	if p == nil || limit <= 0 {
		return nil, nil
	}
	if o, ok := p.Object(k); ok {
		return []store.Version{{Head: head, Object: o}}, nil
	}
	return nil, nil
}

// KeysEver implements [api.Backend].
func (b *fileBackend) KeysEver(_ context.Context, kind tenant.Kind, within string) ([]tenant.Key, error) {
	p, _, _ := b.now()
	if p == nil {
		return nil, nil
	}
	var out []tenant.Key
	for o := range p.Objects() {
		if k := o.Key(); k.Kind() == kind && strings.HasPrefix(k.String(), within) {
			out = append(out, k)
		}
	}
	return out, nil
}

// Events implements [api.Backend].
func (b *fileBackend) Events(ctx context.Context, after uint64) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		p, head, next := b.now()
		switch {
		case after > head.Revision:
			yield(store.Event{}, store.ErrFuture)
			return
		case after != 0 && after < head.Revision:
			yield(store.Event{}, fmt.Errorf("a policy file has no history: %w", store.ErrCompacted))
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-next:
			}
			before := p
			if before == nil {
				before = tenant.Empty()
			}
			p, head, next = b.now()
			changes := slices.Collect(tenant.Diff(before, p))
			head.Changes = len(changes)
			if !yield(store.Event{Head: head, Effective: changes}, nil) {
				return
			}
		}
	}
}
