package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Status is what an operator wants to know of the store.
type Status struct {
	// Connected: etcd answers, with a quorum.
	Connected bool
	// Error says what is wrong and what to do; nil where all is well. The policy
	// in force stays in force.
	Error error
	// Head is the version in force here; Latest is the revision of the newest in etcd.
	Head   Head
	Latest uint64
	// Staging says who is at a large apply, and since when; "" for nobody.
	Staging string
	Members []Member
	// Size is the size of etcd's database in octets, as the member that was asked has it.
	Size int64
}

// Member is a member of etcd.
type Member struct {
	ID         uint64
	Name       string
	PeerURLs   []string
	ClientURLs []string
	Leader     bool
}

// health is what is known of the state of etcd.
type health struct {
	dead      error // the etcd in this process has ended
	err       error // etcd does not answer
	broken    error // what is in etcd is no policy
	connected bool
	latest    uint64
	members   []Member
	size      int64
}

// Status returns the state of the store.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &s.health
	st := Status{Connected: h.connected && h.dead == nil, Head: s.Head(), Latest: h.latest, Members: h.members, Size: h.size}
	if s.member != nil { // which knows better than what was asked some seconds ago
		st.Members = slices.Clone(h.members)
		for i := range st.Members {
			st.Members[i].Leader = st.Members[i].ID == uint64(s.member.etcd.Server.Leader())
		}
	}
	switch {
	case h.dead != nil:
		st.Error = h.dead
	case h.err != nil:
		st.Error = h.err
	case h.broken != nil:
		st.Error = h.broken
	case len(s.foreign) > 0:
		keys := slices.Sorted(maps.Keys(s.foreign))
		more := ""
		if len(keys) > 5 {
			keys, more = keys[:5], fmt.Sprintf(" and %d more", len(s.foreign)-5)
		}
		st.Error = fmt.Errorf("somebody edited %v%s in etcd without a controller: the policy is as before; the next change that is applied puts them back", keys, more)
	}
	if s.staging != nil {
		st.Staging = fmt.Sprintf("%s, since %s", orUnknown(s.staging.note.Author), s.staging.note.Started.Format(time.RFC3339))
	}
	return st
}

func orUnknown(author string) string {
	if author == "" {
		return "an unnamed author"
	}
	return author
}

// note keeps what was learned of etcd's health.
func (s *Store) note(f func(h *health)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.health)
}

// probe asks etcd for the head every now and then: a watch alone does not tell
// when there is no quorum, and might miss something.
func (s *Store) probe(ctx context.Context) error {
	behind, failed := 0, 0
	var asked time.Time
	every, limit := time.Second, 2*time.Second
	if s.member == nil {
		every, limit = probeEvery, probeTimeout
	}
	for usual := every; ; every = usual {
		// A member outside that has no leader says so at once.
		rctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), min(limit, s.c.RequestTimeout))
		r, err := s.client.Get(rctx, s.keys.head)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			every /= 5
			refused := s.refusal(err)
			if failed++; s.member == nil && failed >= probeFailures {
				s.quorum.see(false, 0)
				why := refused
				if why == nil {
					why = s.diagnose(ctx)
				}
				s.quorum.because(why)
			}
			err = s.unavailable(err)
			s.note(func(h *health) {
				if h.connected {
					s.c.Log.Warn("etcd does not answer", "error", err)
				}
				h.connected, h.err = false, err
			})
		} else {
			if failed = 0; s.member == nil {
				s.quorum.see(true, 0)
			}
			latest := uint64(0)
			if len(r.Kvs) > 0 {
				latest = uint64(r.Kvs[0].ModRevision)
			}
			s.note(func(h *health) {
				if !h.connected {
					s.c.Log.Info("etcd answers", "revision", r.Header.Revision)
				}
				h.connected, h.err, h.latest = true, nil, latest
			})
			if st := s.state.Load(); st != nil && st.head.Revision != latest {
				behind++
			} else {
				behind = 0
			}
			if behind > 0 && behind%5 == 0 {
				select {
				case s.poke <- struct{}{}:
				default:
				}
			}
			if time.Since(asked) > 5*time.Second && s.probeMembers(ctx) {
				asked = time.Now()
			}
		}
		if err := sleep(ctx, every); err != nil {
			return err
		}
	}
}

// probeMembers reports whether it could.
func (s *Store) probeMembers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	list, err := s.client.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return false // the probe itself reports what is wrong
	}
	var leader uint64
	var size int64
	if s.member != nil {
		leader, size = uint64(s.member.etcd.Server.Leader()), s.member.etcd.Server.Backend().Size()
	} else if e := s.client.Endpoints(); len(e) > 0 {
		if st, err := s.client.Status(ctx, e[0]); err == nil {
			leader, size = st.Leader, st.DbSize
		}
	}
	members := make([]Member, len(list.Members))
	for i, m := range list.Members {
		members[i] = Member{m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.ID == leader}
	}
	s.note(func(h *health) { h.members, h.size = members, size })
	return true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
