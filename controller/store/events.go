package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrSlow: a reader of events is so slow that some are no longer in memory. It
// may go on from the revision that it has seen.
var ErrSlow = errors.New("the reader of events is too slow: events that it has not read are no longer in memory")

// Events yields what follows the version of revision after, as it comes, until
// ctx ends or the reader stops; the last yield may have an error instead of an
// event. Versions that are no longer in memory are read from etcd's history.
// Where the policy had to be read anew, one event stands for
// several versions.
func (s *Store) Events(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := s.loadedYet(ctx); err != nil {
			yield(Event{}, err)
			return
		}
		if now := s.Head().Revision; after > now {
			if err := s.Sync(ctx); err != nil {
				yield(Event{}, err)
				return
			}
			if now = s.Head().Revision; after > now {
				yield(Event{}, fmt.Errorf("%w: the latest is %d", ErrFuture, now))
				return
			}
		}
		next, ok := s.place(after)
		if !ok {
			if after, ok = s.replay(ctx, after, yield); !ok {
				return
			}
			if next, ok = s.place(after); !ok {
				yield(Event{}, ErrSlow)
				return
			}
		}
		for {
			var e Event
			slow := false
			err := s.await(ctx, func() bool {
				switch r := &s.events; {
				case next < r.first:
					slow = true
				case next-r.first < uint64(len(r.events)):
					e = r.events[next-r.first]
				default:
					return false
				}
				return true
			})
			if slow {
				err = ErrSlow
			}
			if err != nil {
				yield(Event{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
			next++
		}
	}
}

// place returns the number of the event that follows the version of a revision,
// if all that follow it are in memory.
func (s *Store) place(after uint64) (next uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.events
	next = r.first + uint64(len(r.events))
	st := s.state.Load()
	if st.head.Revision <= after {
		return next, true
	}
	for i := len(r.events) - 1; i >= 0; i-- {
		next--
		if i > 0 && r.events[i-1].Revision <= after || i == 0 && r.events[0].previous <= after {
			return next, true
		}
	}
	return 0, false
}

// replay yields the versions after a revision from etcd's history, up to the one
// in force when it began, whose revision it returns.
func (s *Store) replay(ctx context.Context, after uint64, yield func(Event, error) bool) (uint64, bool) {
	to := s.Head().Revision
	for e, err := range s.past(ctx, after, to) {
		if !yield(e, err) || err != nil {
			return 0, false
		}
	}
	return to, true
}

// past yields the versions after one revision up to another, from etcd's history.
func (s *Store) past(ctx context.Context, after, to uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if after >= to {
			return
		}
		// A staged version was written before its head: the objects that were
		// staged at "after" are older than that.
		from := after + 1
		if after > 0 {
			_, st, _, err := s.readHead(ctx, int64(after))
			if err != nil {
				yield(Event{}, err)
				return
			}
			if st != nil {
				from = st.note.Base + 1
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ch := s.client.Watch(ctx, s.keys.prefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.keys.prefix)), clientv3.WithRev(int64(from)), clientv3.WithPrevKV())
		var p passage
		for r := range ch {
			if err := r.Err(); err != nil {
				if errors.Is(err, rpctypes.ErrCompacted) {
					err = fmt.Errorf("%w: want one from %d on", ErrCompacted, r.CompactRevision)
				}
				yield(Event{}, s.unavailable(err))
				return
			}
			for _, ev := range r.Events {
				if uint64(ev.Kv.ModRevision) > to {
					return
				}
				e, ok, err := p.take(&s.keys, ev)
				if err != nil {
					yield(Event{}, err)
					return
				}
				if ok && e.Revision > after && (!yield(e, nil) || e.Revision >= to) {
					return
				}
			}
		}
		yield(Event{}, s.unavailable(ctx.Err()))
	}
}

// passage makes versions of the events of a watch.
type passage struct {
	revision int64
	staged   bool
	objects  map[string]*passed
	order    []string
}

type passed struct{ before, after []byte }

// take adds an event. In a transaction of the store the head is written after
// the objects, and the staging ends after the head.
func (p *passage) take(l *layout, ev *clientv3.Event) (e Event, complete bool, err error) {
	kv := ev.Kv
	if kv.ModRevision != p.revision {
		p.revision = kv.ModRevision
		if !p.staged {
			p.forget() // what was edited without a head
		}
	}
	switch key := string(kv.Key); {
	case key == l.staging:
		if ev.Type == clientv3.EventTypeDelete {
			p.forget()
		}
		p.staged = ev.Type != clientv3.EventTypeDelete
	case strings.HasPrefix(key, l.objects):
		o := p.objects[key]
		if o == nil {
			o = &passed{}
			if ev.PrevKv != nil {
				o.before = ev.PrevKv.Value
			}
			if p.objects == nil {
				p.objects = make(map[string]*passed)
			}
			p.objects[key] = o
			p.order = append(p.order, key)
		}
		o.after = kv.Value
	case key == l.head && ev.Type != clientv3.EventTypeDelete:
		h, err := decodeHead(kv)
		if err != nil {
			return e, false, err
		}
		e.Head, e.previous = h.Head, h.previous
		for _, key := range p.order {
			o := p.objects[key]
			object := &mvccpb.KeyValue{Key: []byte(key), Value: o.after, ModRevision: kv.ModRevision}
			if string(o.before) == string(o.after) || l.isLitter(object) {
				continue
			}
			c, err := l.decodeObject(object)
			if err != nil {
				return e, false, err
			}
			e.Effective = append(e.Effective, c)
		}
		e.Effective = sorted(e.Effective)
		p.forget()
		return e, true, nil
	}
	return e, false, nil
}

func (p *passage) forget() { p.objects, p.order = nil, nil }
