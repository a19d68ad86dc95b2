// Package store keeps tenant policy in etcd: one key for each object, a head
// that names the revision in force, and the history between.
package store

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Errors that a caller decides by. They come wrapped.
var (
	// ErrReadOnly: the policy file is the only writer.
	ErrReadOnly = errors.New("the policy is read from a file, which is its only writer: edit the file, or start the controller without the setting policy")
	// ErrConflict: the policy has moved on from the revision that the caller named.
	ErrConflict = errors.New("the policy has changed since that revision")
	// ErrBusy: a large apply of somebody else is under way.
	ErrBusy = errors.New("another large apply is under way")
	// ErrUnavailable: etcd does not answer, or has no quorum. Forwarding goes on.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrCompacted: that revision is older than the retention.
	ErrCompacted = errors.New("that revision is no longer kept")
	// ErrFuture: there is no such revision yet.
	ErrFuture = errors.New("there is no such revision yet")
)

// InvalidError says why changes would make no valid policy; nothing was stored.
type InvalidError struct{ Problems []tenant.Problem }

// Error implements error: one line for each problem.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprint(p)
	}
	return strings.Join(lines, "\n")
}

// At names a moment of the policy: a revision, or a time, or, where both are
// zero, now.
type At struct {
	Revision uint64
	Time     time.Time
}

// Head is one version of the policy as a whole.
type Head struct {
	Revision uint64    `json:"revision"` // etcd's revision of the transaction that put it in force
	Time     time.Time `json:"time"`     // by the clock of the controller that wrote it
	Changes  int       `json:"changes"`  // objects put and deleted
	Author   string    `json:"author,omitempty"`
	Comment  string    `json:"comment,omitempty"`
}

// ApplyOptions say how changes are applied.
type ApplyOptions struct {
	// IfRevision, where not 0, is the revision that must be in force before.
	IfRevision uint64
	// DryRun checks everything and stores nothing.
	DryRun bool
	// Author and Comment are kept with the revision.
	Author, Comment string
	// Progress, if not nil, is told how much of a large apply is stored. It
	// must not block.
	Progress func(done, total int)
}

// Applied is the outcome of an apply.
type Applied struct {
	Head
	// Effective are the changes that made a difference, by key. Where there are
	// none, Head is the one that was in force before.
	Effective []tenant.Change
}

// Event is what one revision changed.
type Event struct {
	Head
	Effective []tenant.Change

	previous uint64         // revision of the version before
	policy   *tenant.Policy // in force since, of the latest events
}

// Version is one object's state from a revision on.
type Version struct {
	Head
	Object tenant.Object // nil: it was deleted
}
