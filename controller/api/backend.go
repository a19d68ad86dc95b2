package api

import (
	"context"
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Backend keeps the policy: a store.Store, or something that only reads. Its methods are called by many goroutines. Errors
// are, or wrap, those of package store; of any other the client learns that the
// controller failed.
type Backend interface {
	// Policy returns the policy in force, with its revision; nil while none is.
	Policy() *tenant.Policy

	// Stale returns why Policy may be older than what is stored; nil where it is not.
	Stale() error

	// PolicyAt returns the policy that was in force at a moment.
	PolicyAt(ctx context.Context, at store.At) (*tenant.Policy, error)

	// Apply puts changes in force, all or none.
	Apply(ctx context.Context, changes []tenant.Change, o store.ApplyOptions) (store.Applied, error)

	// Rollback makes a new revision that holds what another one held.
	Rollback(ctx context.Context, to store.At, o store.ApplyOptions) (store.Applied, error)

	// Heads returns the latest revisions, the newest first: at most limit, and no
	// more than are kept.
	Heads(ctx context.Context, limit int) ([]store.Head, error)

	// Diff returns the changes that make the policy of one moment of that of
	// another, and the revisions of the two.
	Diff(ctx context.Context, from, to store.At) (iter.Seq[tenant.Change], [2]uint64, error)

	// History returns the latest states of an object, the newest first: at most
	// limit, and no more than are kept.
	History(ctx context.Context, k tenant.Key, limit int) ([]store.Version, error)

	// KeysEver returns the keys of all objects of a kind that there are, or were
	// in the time that is kept; of records and routes those that begin with within.
	KeysEver(ctx context.Context, kind tenant.Kind, within string) ([]tenant.Key, error)

	// Events yields each revision greater than after, in order and without a gap,
	// until ctx ends; the last yield may have an error instead.
	Events(ctx context.Context, after uint64) iter.Seq2[store.Event, error]
}

// StatusSource tells how the hosts are. Its methods are called by many goroutines.
type StatusSource interface {
	// Status returns the daemon's status, judged. The caller does not change it.
	Status() *admin.Status
}
