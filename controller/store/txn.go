package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// commitPlan makes a plan one transaction, which is refused where the policy is
// not the one that it was made for: then it returns a lostError. It returns nil
// once the plan is in force here.
func (s *Store) commitPlan(ctx context.Context, p *plan) error {
	h := p.base.head.after(s.c.now(), len(p.all), p.opts, p.token)
	ops := make([]clientv3.Op, 0, len(p.ops)+1)
	for _, w := range p.ops {
		ops = append(ops, clientv3.OpPut(w.key, w.value))
	}
	if len(p.ops) > 0 {
		ops = append(ops, clientv3.OpPut(s.keys.head, h.encode()))
	}
	s.c.fault("before")
	s.takeOff(p)
	defer s.takeOff(nil)
	revision, err := s.transact(ctx, p.base.head.Revision, p.token, ops,
		clientv3.Compare(clientv3.CreateRevision(s.keys.staging), "=", 0))
	if err != nil || len(p.ops) == 0 {
		return err
	}
	s.c.fault("after")
	return s.enforce(ctx, p, h, revision)
}

// takeOff notes the plan that is on its way to etcd: the watch may tell of it
// first, and need not work out what is known here.
func (s *Store) takeOff(p *plan) {
	s.mu.Lock()
	s.flight = p
	s.mu.Unlock()
}

// inFlight returns the plan with a token that is on its way to etcd, if it is
// one of this process.
func (s *Store) inFlight(token string) *plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil || token == "" || s.flight.token != token {
		return nil
	}
	return s.flight
}

// enforce puts a plan that is in etcd in force here.
func (s *Store) enforce(ctx context.Context, p *plan, h head, revision uint64) error {
	h.Revision = revision
	p.head = h.Head
	next, _ := p.next.Apply(nil, revision)
	if !s.publish(p.base.head.Revision, &state{next, h}, p.all) {
		// The watch was faster.
		rctx, cancel := context.WithTimeout(ctx, s.c.RequestTimeout)
		defer cancel()
		return s.unavailable(s.reached(rctx, revision))
	}
	return nil
}

// transact commits ops if the head is that of revision base, and the conditions
// hold. Where etcd leaves it open whether it did, it finds out. Of the ops, if
// there are any, one must put a head with token.
func (s *Store) transact(ctx context.Context, base uint64, token string, ops []clientv3.Op, conditions ...clientv3.Cmp) (revision uint64, err error) {
	conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(s.keys.head), "=", int64(base)))
	until := time.Now().Add(2 * s.c.RequestTimeout)
	for doubt := false; ; doubt = true {
		tctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
		r, err := s.client.Txn(tctx).If(conditions...).Then(ops...).
			Else(clientv3.OpGet(s.keys.head), clientv3.OpGet(s.keys.staging, clientv3.WithKeysOnly())).Commit()
		cancel()
		if err != nil {
			if definite(err) || ctx.Err() != nil || s.quorum.isLost() || time.Now().After(until) {
				return 0, s.inDoubt(err)
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return 0, s.unavailable(err)
			}
			continue
		}
		if r.Succeeded {
			return uint64(r.Header.Revision), nil
		}
		lost := &lostError{staging: len(r.Responses[1].GetResponseRange().Kvs) > 0}
		if kvs := r.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			lost.head = uint64(kvs[0].ModRevision)
			if lost.head < base {
				return 0, fmt.Errorf("%w: etcd has an older policy (%d) than the one in force (%d)", ErrUnavailable, lost.head, base)
			}
			if doubt && lost.head != base && len(ops) > 0 {
				revision, err := s.findToken(ctx, token, base, lost.head)
				if revision != 0 || err != nil {
					return revision, err
				}
			}
		}
		return 0, lost
	}
}

// definite reports whether an error says that nothing was stored.
func definite(err error) bool {
	for _, e := range []error{rpctypes.ErrNoSpace, rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge, rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// findToken looks for the head with token among those after base, back from a
// revision. It returns 0 where there is none.
func (s *Store) findToken(ctx context.Context, token string, base, from uint64) (uint64, error) {
	ctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	for from > base {
		r, err := s.client.Get(ctx, s.keys.head, clientv3.WithRev(int64(from)))
		if err != nil {
			return 0, s.unavailable(err)
		}
		if len(r.Kvs) == 0 {
			return 0, nil
		}
		h, err := decodeHead(r.Kvs[0])
		if err != nil {
			return 0, err
		}
		if h.Revision <= base {
			return 0, nil
		}
		if h.token == token {
			return h.Revision, nil
		}
		from = h.previous
	}
	return 0, nil
}
