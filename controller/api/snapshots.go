package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// snapshots keeps the policies that lists are being read from page by page, so
// that the next page costs no reading of history. Policies share what they have
// in common.
type snapshots struct {
	mu   sync.Mutex
	kept []snapshot // the least recently used first
}

type snapshot struct {
	policy *tenant.Policy
	used   time.Time
}

const (
	mostSnapshots = 16
	snapshotAge   = 2 * time.Minute
)

func (s *snapshots) keep(p *tenant.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.kept = slices.DeleteFunc(s.kept, func(k snapshot) bool {
		return k.policy.Revision() == p.Revision() || now.Sub(k.used) > snapshotAge
	})
	if len(s.kept) == mostSnapshots {
		s.kept = slices.Delete(s.kept, 0, 1)
	}
	s.kept = append(s.kept, snapshot{p, now})
}

func (s *snapshots) find(revision uint64) *tenant.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		if k.policy.Revision() == revision {
			return k.policy
		}
	}
	return nil
}

// policyAt returns the policy of a moment.
func (s *service) policyAt(ctx context.Context, at store.At) (*tenant.Policy, error) {
	now := s.backend.Policy()
	if at == (store.At{}) || now != nil && at.Revision == now.Revision() {
		if now == nil {
			p := problem(503, TypeNoPolicy, "no policy is in force yet: the controller has just started, or its store is empty and not reached")
			p.retryAfter = 1
			return nil, p
		}
		return now, nil
	}
	if at.Revision != 0 {
		if p := s.snapshots.find(at.Revision); p != nil {
			return p, nil
		}
	}
	p, err := s.backend.PolicyAt(ctx, at)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	return p, nil
}
