package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func small(dir string) Config {
	c := embeddedIn(dir)
	c.MaxTxnOps = 10
	c.BusyWait = 300 * time.Millisecond
	return c
}

func TestStaged(t *testing.T) {
	a, _ := start(t, small(t.TempDir()))
	b := another(t, a, nil)
	apply(t, a, base()...)
	before := a.Head()
	var seen []int
	got, err := a.Apply(t.Context(), records(0, 95, 0), ApplyOptions{Author: "it", Progress: func(done, total int) {
		if total != 95 {
			t.Errorf("%d of %d", done, total)
		}
		seen = append(seen, done)
		if h := b.Head(); h.Revision > before.Revision && done < total {
			t.Errorf("after %d objects revision %d is in force", done, h.Revision)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(seen) || len(seen) != 10 || seen[9] != 95 {
		t.Errorf("progress %v", seen)
	}
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.Head() != got.Head || !b.Policy().Equal(a.Policy()) || b.Policy().NumRecords() != 95 || len(got.Effective) != 95 {
		t.Errorf("%+v with %d records, want %+v", b.Head(), b.Policy().NumRecords(), got.Head)
	}
	apply(t, b, tenant.Delete(record(3, 0).Key()))
	waitFor(t, "the deletion", func() bool { return a.Policy().NumRecords() == 94 })
	waitFor(t, "all to be well", func() bool { st := a.Status(); return st.Error == nil && st.Staging == "" })
}

func TestStagedIsPutBackWhenItsCallerGivesUp(t *testing.T) {
	a, _ := start(t, small(t.TempDir()))
	b := another(t, a, nil)
	apply(t, a, base()...)
	apply(t, a, records(0, 10, 0)...)
	before := a.Policy()
	ctx, cancel := context.WithCancel(t.Context())
	changes := append(records(5, 60, 1), tenant.Delete(record(1, 0).Key()))
	_, err := a.Apply(ctx, changes, ApplyOptions{Progress: func(done, _ int) {
		if done >= 30 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	objectsAre(t, a, before)
	if !a.Policy().Equal(before) {
		t.Error("what was given up is in force")
	}
	apply(t, b, tenant.Put(record(200, 0)))
	if err := a.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	objectsAre(t, a, a.Policy())
	if !a.Policy().Equal(b.Policy()) {
		t.Error("the controllers differ")
	}
}

// objectsAre checks that etcd has the objects of p and nothing is under way.
func objectsAre(tb testing.TB, s *Store, p *tenant.Policy) {
	tb.Helper()
	l, err := s.loadNow(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if l.staging != nil || len(l.foreign) > 0 {
		tb.Errorf("staging %+v, edited %v", l.staging, l.foreign)
	}
	if !l.policy.Equal(p) {
		tb.Errorf("etcd has another policy: %v", slices.Collect(tenant.Diff(p, l.policy)))
	}
}

// A controller that dies in a large apply is recovered from by another when its
// lease has ended, and others are told meanwhile that it is busy.
func TestRecoveryFromTheDead(t *testing.T) {
	t.Parallel() // it waits a lot
	a, _ := start(t, small(t.TempDir()))
	apply(t, a, base()...)
	apply(t, a, records(0, 10, 0)...)
	before := a.Policy()
	// The dead one belongs to no member that could know at once that it is dead.
	dead := newStore(a.c)
	dead.client = a.client
	f, err := dead.raise(t.Context(), stagingNote{Author: "the dead", Base: before.Revision(), Token: "x"}, before.Revision())
	if err != nil {
		t.Fatal(err)
	}
	ops := []clientv3.Op{clientv3.OpPut(a.keys.object(record(1, 0).Key()), `{"vm":"other","mac":"02:00:00:00:00:01"}`),
		clientv3.OpPut(a.keys.object(record(99, 0).Key()), `{"vm":"new","mac":"02:00:00:00:00:02"}`), clientv3.OpPut(a.keys.object(record(2, 0).Key()), "")}
	if err := f.write(t.Context(), ops, func(int) int { return 1 }, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Apply(t.Context(), records(50, 51, 0), ApplyOptions{}); !errors.Is(err, ErrBusy) {
		t.Errorf("meanwhile: %v", err)
	}
	cold := another(t, a, nil)
	if !cold.Policy().Equal(before) || !a.Policy().Equal(before) {
		t.Error("what is staged is in force")
	}
	f.cancel() // it keeps its lease no more
	waitFor(t, "recovery", func() bool { return a.Status().Staging == "" && cold.Status().Staging == "" })
	objectsAre(t, a, before)
	apply(t, cold, records(50, 51, 0)...)
	if err := f.write(t.Context(), ops, func(int) int { return 1 }, func(int) {}); !errors.Is(err, errFenced) {
		t.Errorf("the dead one wakes up: %v", err)
	}
	if _, err := f.lower(t.Context()); err == nil {
		t.Error("the dead one ends what is another's")
	}
	objectsAre(t, a, cold.Policy())
}
