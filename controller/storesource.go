package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// storeSource takes the policy from the store.
type storeSource struct{ store *store.Store }

// statusPoll is how often the store's state is looked at besides: that an error
// has passed is no change of the policy.
const statusPoll = time.Second

func (s *storeSource) run(ctx context.Context, news func(policyNews)) error {
	poll := time.NewTicker(statusPoll)
	defer poll.Stop()
	var policy *tenant.Policy
	var failure error
	for {
		if p := s.store.Policy(); p != nil && p != policy {
			policy, failure = p, nil
			news(policyNews{policy: p, at: time.Now()})
		}
		if err := s.store.Status().Error; fmt.Sprint(err) != fmt.Sprint(failure) {
			failure = err
			if err != nil {
				news(policyNews{err: err, at: time.Now()})
			} else if policy != nil {
				news(policyNews{policy: policy, at: time.Now()})
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.store.Changes():
		case <-poll.C:
		}
	}
}
