package api

import (
	"context"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Backend keeps the policy. Its methods are called by many goroutines. Errors
// are, or wrap, those of package store; of any other the client learns that the
// controller failed.
type Backend interface {
	// Policy returns the policy in force, with its revision; nil while none is.
	Policy() *tenant.Policy

	// PolicyAt returns the policy that was in force at a revision or a time.
	PolicyAt(ctx context.Context, at store.At) (*tenant.Policy, store.Head, error)

	// Apply puts changes in force, all or none.
	Apply(ctx context.Context, changes []tenant.Change, o store.ApplyOptions) (store.Applied, error)

	// Rollback makes a new revision that holds what another one held.
	Rollback(ctx context.Context, to store.At, o store.ApplyOptions) (store.Applied, error)

	// Heads returns at most limit revisions that are kept, the newest first,
	// from those less than before; before 0 is from the newest on.
	Heads(ctx context.Context, before uint64, limit int) ([]store.Head, error)

	// Diff returns what is to be changed in the policy of one moment to have
	// that of another.
	Diff(ctx context.Context, from, to store.At) ([]tenant.Change, error)

	// History returns the states that an object had, the oldest first.
	History(ctx context.Context, k tenant.Key) ([]store.Version, error)

	// RecordHistory returns the lookup records that a customer address had in a
	// routing domain, whatever their virtual subnets were, the oldest first.
	RecordHistory(ctx context.Context, id tenant.RDID, ca tenant.CA) ([]store.Version, error)

	// Events calls yield for each revision greater than after, in order and
	// without a gap, until ctx ends or yield returns an error, which it returns.
	// yield may block for seconds.
	Events(ctx context.Context, after uint64, yield func(store.Event) error) error
}

// StatusSource tells how the hosts are. Its methods are called by many goroutines.
type StatusSource interface {
	// Status returns the daemon's status, judged. The caller does not change it.
	Status() *admin.Status
}
