package store

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(1_700_000_000+c.at.Load(), 0) }

func TestTimeTravel(t *testing.T) {
	t.Parallel() // it waits a lot
	c := small(t.TempDir())
	var clk clock
	c.now = clk.now
	s, _ := start(t, c)
	type version struct {
		head   Head
		policy *tenant.Policy
	}
	var versions []version
	do := func(changes ...tenant.Change) {
		clk.at.Add(10)
		a := apply(t, s, changes...)
		versions = append(versions, version{a.Head, s.Policy()})
	}
	do(base()...)
	do(records(0, 5, 0)...)
	do(tenant.Put(record(1, 1)))
	do(tenant.Delete(record(1, 0).Key()))
	do(records(100, 140, 0)...) // staged
	do(tenant.Put(record(1, 2)), tenant.Put(record(2, 2)))
	do(tenant.Delete(record(100, 0).Key()))
	check := func(s *Store) {
		t.Helper()
		for i, v := range versions {
			ats := []At{{Revision: v.head.Revision}, {Time: v.head.Time}, {Time: v.head.Time.Add(9 * time.Second)}}
			if i+1 < len(versions) { // also where the next is being staged
				ats = append(ats, At{Revision: versions[i+1].head.Revision - 1})
			}
			for _, at := range ats {
				p, err := s.PolicyAt(t.Context(), at)
				if err != nil {
					t.Fatalf("version %d at %+v: %v", i, at, err)
				}
				if !p.Equal(v.policy) || p.Revision() != v.head.Revision {
					t.Errorf("version %d at %+v is revision %d, want %d: %v", i, at, p.Revision(), v.head.Revision, slices.Collect(tenant.Diff(v.policy, p)))
				}
			}
		}
		if p, err := s.PolicyAt(t.Context(), At{Time: clk.now().Add(-time.Hour)}); err != nil || p.Revision() != 0 {
			t.Errorf("before all: %v %v", p, err)
		}
		if _, err := s.PolicyAt(t.Context(), At{Revision: versions[6].head.Revision + 1000}); !errors.Is(err, ErrFuture) {
			t.Errorf("the future: %v", err)
		}
		heads, err := s.Heads(t.Context(), 100)
		if err != nil || len(heads) != len(versions) {
			t.Fatalf("%d heads, %v", len(heads), err)
		}
		for i := range heads {
			if heads[i] != versions[len(versions)-1-i].head {
				t.Errorf("head %d: %+v", i, heads[i])
			}
		}
		h, err := s.History(t.Context(), record(1, 0).Key(), 10)
		if err != nil {
			t.Fatal(err)
		}
		want := []Version{{versions[5].head, record(1, 2)}, {versions[3].head, nil}, {versions[2].head, record(1, 1)}, {versions[1].head, record(1, 0)}}
		if len(h) != len(want) {
			t.Fatalf("%d versions: %+v", len(h), h)
		}
		for i := range want {
			if h[i].Head != want[i].Head || !same(h[i].Object, want[i].Object) {
				t.Errorf("version %d: %+v, want %+v", i, h[i], want[i])
			}
		}
		if h, err := s.History(t.Context(), record(120, 0).Key(), 10); err != nil || len(h) != 1 || h[0].Head != versions[4].head {
			t.Errorf("history of a staged object: %+v %v", h, err)
		}
		if h, err := s.History(t.Context(), record(1, 0).Key(), 2); err != nil || len(h) != 2 {
			t.Errorf("limited: %+v %v", h, err)
		}
	}
	check(s)
	check(another(t, s, nil)) // has none of it in memory
	if keys, err := s.KeysEver(t.Context(), tenant.KindRecord, "5001/"); err != nil || len(keys) != 45 || !slices.Contains(keys, record(100, 0).Key()) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	d, revs, err := s.Diff(t.Context(), At{Revision: versions[2].head.Revision}, At{Revision: versions[3].head.Revision})
	if err != nil {
		t.Fatal(err)
	}
	if cs := slices.Collect(d); len(cs) != 1 || !cs[0].IsDelete() || revs[0] != versions[2].head.Revision {
		t.Errorf("diff %v of %v", cs, revs)
	}
	if _, err := s.Rollback(t.Context(), At{Revision: versions[2].head.Revision}, ApplyOptions{Comment: "back"}); err != nil {
		t.Fatal(err)
	}
	if !s.Policy().Equal(versions[2].policy) || s.Head().Comment != "back" {
		t.Errorf("rolled back to %+v", s.Head())
	}
}

func TestCompaction(t *testing.T) {
	c := small(t.TempDir())
	var clk clock
	c.now = clk.now
	c.Retention = 100 * time.Second
	s, _ := start(t, c)
	apply(t, s, base()...)
	clk.at.Add(10)
	apply(t, s, records(0, 5, 0)...)
	clk.at.Add(10)
	gone := apply(t, s, tenant.Delete(record(0, 0).Key()))
	clk.at.Add(10)
	kept := apply(t, s, tenant.Put(record(1, 1)))
	clk.at.Add(95)
	apply(t, s, tenant.Put(record(1, 2)))
	clk.at.Add(6) // now the fourth is the last that is older than the retention
	got, err := s.compact(t.Context(), time.Second)
	if err != nil || got != kept.Revision {
		t.Fatalf("history is kept from %d, %v; want %d", got, err, kept.Revision)
	}
	if again, err := s.compact(t.Context(), time.Second); err != nil || again != 0 {
		t.Errorf("again: %d %v", again, err)
	}
	if keys, _ := s.KeysEver(t.Context(), tenant.KindRecord, ""); len(keys) != 4 {
		t.Errorf("the mark of a deleted object stays: %v", keys)
	}
	cold := another(t, s, nil)
	if _, err := cold.PolicyAt(t.Context(), At{Revision: gone.Revision}); !errors.Is(err, ErrCompacted) {
		t.Errorf("too old: %v", err)
	}
	if _, err := cold.PolicyAt(t.Context(), At{Time: gone.Time}); !errors.Is(err, ErrCompacted) {
		t.Errorf("too long ago: %v", err)
	}
	if p, err := cold.PolicyAt(t.Context(), At{Revision: kept.Revision}); err != nil || p.NumRecords() != 4 {
		t.Errorf("kept: %v", err)
	}
	for _, err := range cold.Events(t.Context(), gone.Revision) {
		if !errors.Is(err, ErrCompacted) {
			t.Errorf("events: %v", err)
		}
		break
	}
	if h, err := cold.History(t.Context(), record(2, 0).Key(), 5); err != nil || len(h) != 1 || h[0].Object == nil {
		t.Errorf("history of what is older: %+v %v", h, err)
	}
	waitFor(t, "all to be well: to delete a mark is no edit", func() bool { return s.Status().Error == nil })
}

func TestEvents(t *testing.T) {
	s, _ := start(t, small(t.TempDir()))
	first := apply(t, s, base()...)
	var want []Applied
	want = append(want, apply(t, s, records(0, 3, 0)...), apply(t, s, records(3, 40, 0)...), apply(t, s, tenant.Delete(record(0, 0).Key())))
	cold := another(t, s, nil)
	read := func(s *Store, live func()) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		i := 0
		for e, err := range s.Events(ctx, first.Revision) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Head != want[i].Head || len(e.Effective) != len(want[i].Effective) {
				t.Errorf("event %d: %+v with %d changes, want %+v with %d", i, e.Head, len(e.Effective), want[i].Head, len(want[i].Effective))
			}
			i++
			if i == 3 && live != nil {
				live()
			}
			if i == len(want) {
				break
			}
		}
	}
	read(s, nil)
	read(cold, func() { want = append(want, apply(t, s, records(200, 202, 0)...)) })
	read(s, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Events(ctx, s.Head().Revision) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the end: %v", err)
		}
	}
	for _, err := range s.Events(t.Context(), s.Head().Revision+100) {
		if !errors.Is(err, ErrFuture) {
			t.Errorf("the future: %v", err)
		}
	}
}

func TestSlowReader(t *testing.T) {
	s, _ := start(t, embeddedIn(t.TempDir()))
	a := apply(t, s, base()...)
	n := 0
	for e, err := range s.Events(t.Context(), a.Revision-1) {
		if n++; n == 1 {
			if err != nil || e.Revision != a.Revision {
				t.Fatal(e.Head, err)
			}
			s.mu.Lock()
			for range ringEvents + 1 {
				s.events.add(Event{Head: Head{Revision: a.Revision}})
			}
			s.mu.Unlock()
			continue
		}
		if !errors.Is(err, ErrSlow) {
			t.Errorf("a slow reader: %+v, %v", e.Head, err)
		}
	}
	if n != 2 || len(s.events.events) > ringEvents {
		t.Errorf("%d events, %d in memory", n, len(s.events.events))
	}
}

// The history of an object whose versions were all staged, some of them put back,
// is found without waiting, and none is missing.
func TestHistoryOfStagedVersions(t *testing.T) {
	s, _ := start(t, small(t.TempDir()))
	apply(t, s, base()...)
	const versions = 30
	for i := range versions {
		apply(t, s, records(0, 25, i)...)
		if i%7 != 3 {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := s.Apply(ctx, records(0, 25, 1000+i), ApplyOptions{Progress: func(int, int) { cancel() }}); !errors.Is(err, context.Canceled) {
			t.Fatalf("given up: %v", err)
		}
		for j := range i % 3 { // heads that are not this object's
			apply(t, s, records(40+j, 41+j, i)...)
		}
	}
	for _, which := range []int{0, 24} {
		begin := time.Now()
		got, err := s.History(t.Context(), record(which, 0).Key(), 1000)
		took := time.Since(begin)
		if err != nil || len(got) != versions {
			t.Fatalf("record %d: %d versions, %v", which, len(got), err)
		}
		for i, v := range got {
			if want := record(which, versions-1-i); !v.Object.Equal(want) {
				t.Errorf("record %d, version %d: %v, want %v", which, i, v.Object, want)
			}
		}
		t.Logf("%d versions in %v", len(got), took.Round(time.Millisecond))
		if took > time.Second {
			t.Errorf("the history of record %d took %v", which, took)
		}
	}
}
