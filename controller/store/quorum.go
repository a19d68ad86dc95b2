package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Whoever changes the policy shall not wait long for an etcd that has lost its
// quorum: such a change is refused, or given up, after about two seconds.
const (
	// noLeader is how long a member in this process may be without a leader,
	// unless its election takes longer, before the quorum counts as lost.
	noLeader = time.Second
	// probeEvery, probeTimeout and probeFailures are for an etcd outside: so many
	// probes in a row must fail.
	probeEvery    = 400 * time.Millisecond
	probeTimeout  = 700 * time.Millisecond
	probeFailures = 2
)

// errNoQuorum is for all requests while the quorum is lost.
var errNoQuorum = fmt.Errorf("%w: etcd has no quorum: changes are taken again when most of its members answer; forwarding goes on", ErrUnavailable)

// quorum knows whether etcd has one, as far as can be told from here.
type quorum struct {
	mu      sync.Mutex
	missing time.Time       // since when there is no leader; zero: there is one
	lost    context.Context // ends with the quorum; replaced when it is back
	lose    context.CancelFunc
	why     error // what is known of the reason, while it is lost
}

func newQuorum() *quorum {
	q := &quorum{}
	q.lost, q.lose = context.WithCancel(context.Background())
	return q
}

// see takes in whether there is a leader; patience is how long there may be none.
func (q *quorum) see(leader bool, patience time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !leader && q.missing.IsZero():
		q.missing = time.Now()
		fallthrough
	case !leader:
		if time.Since(q.missing) >= patience {
			q.lose()
		}
	default:
		q.missing = time.Time{}
		if q.lost.Err() != nil {
			q.lost, q.lose = context.WithCancel(context.Background())
		}
		q.why = nil
	}
}

// because says why nothing answers, where it is not for want of a quorum.
func (q *quorum) because(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.why = why
}

// err returns why there is no quorum; nil where there is one.
func (q *quorum) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.lost.Err() == nil:
		return nil
	case q.why != nil:
		return q.why
	}
	return errNoQuorum
}

// ending returns a context that ends with the quorum; it has ended where the
// quorum is lost.
func (q *quorum) ending() context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

func (q *quorum) isLost() bool { return q.ending().Err() != nil }

// attempt bounds one request to etcd by its time, and by the quorum.
func (s *Store) attempt(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	stop := context.AfterFunc(s.quorum.ending(), cancel)
	return ctx, func() { stop(); cancel() }
}

// inDoubt says of a change that failed whether it was made.
func (s *Store) inDoubt(err error) error {
	known := definite(err)
	if err = s.unavailable(err); known {
		return err
	}
	return fmt.Errorf("%w; whether this change was made is not known: look, or make it again, which does no harm", err)
}

// sense looks whether the member in this process has a leader. One that is a
// cluster by itself needs no other, and one outside is probed.
func (s *Store) sense(ctx context.Context) error {
	if s.member == nil || s.c.Embedded.InitialCluster == "" {
		return nil
	}
	patience := max(noLeader, 2*s.c.Embedded.Election)
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		s.quorum.see(s.member.etcd.Server.Leader() != 0, patience)
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stale returns why the policy in force here may be older than the one in etcd;
// nil where it is not, but for the moment that news take.
func (s *Store) Stale() error {
	if err := s.quorum.err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.health.dead != nil {
		return s.health.dead
	}
	if s.health.err != nil {
		return s.health.err
	}
	return s.health.broken
}
