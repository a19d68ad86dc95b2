package reconcile_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// told collects drift.
type told struct {
	mu   sync.Mutex
	all  []reconcile.Drift
	news chan struct{}
}

func newTold() *told { return &told{news: make(chan struct{}, 1)} }

func (x *told) note(d reconcile.Drift) {
	x.mu.Lock()
	x.all = append(x.all, d)
	x.mu.Unlock()
	select {
	case x.news <- struct{}{}:
	default:
	}
}

func (x *told) count(k reconcile.DriftKind) (n int, last reconcile.Drift) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.all {
		if d.Kind == k {
			n, last = n+1+d.More, d
		}
	}
	return n, last
}

// await waits until n differences of a kind were told.
func (x *told) await(t *testing.T, k reconcile.DriftKind, n int) reconcile.Drift {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		if m, d := x.count(k); m >= n {
			return d
		}
		select {
		case <-x.news:
		case <-deadline:
			t.Fatalf("waited in vain for %d %s: %+v", n, k, x.all)
		}
	}
}

// hosted is a driver on a real switch with a few flows in place.
func hosted(t *testing.T) (*ovsproc.Switch, *reconcile.Driver, *told, []flow.Flow) {
	t.Helper()
	s, dial := bridge(t)
	x := newTold()
	o := options(dial)
	o.Drift = x.note
	o.Generation = 3
	d := start(t, o)
	want := some(300)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(want)})
	await(t, d, "it is in sync and watched", func(s reconcile.Status) bool { return s.InSync && s.Monitored })
	return s, d, x, want
}

// ofctl makes somebody else change the switch.
func ofctl(t *testing.T, s *ovsproc.Switch, args ...string) string {
	t.Helper()
	out, err := s.Ofctl(t.Context(), append([]string{args[0], "br-int"}, args[1:]...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// holds reports whether the switch has the i-th flow as it is wanted.
func holds(t *testing.T, s *ovsproc.Switch, i int) bool {
	t.Helper()
	out := ofctl(t, s, "dump-flows", fmt.Sprintf("table=20,reg11=%#x", 0x0a000000+i))
	return strings.Contains(out, fmt.Sprintf("cookie=%#x", mark|uint64(i))) && strings.Contains(out, "goto_table:25")
}

// TestDriftIsRepairedAtOnce: what somebody deletes, modifies or adds with our mark
// is put right within a second, since the switch tells it; our own changes are
// no drift.
func TestDriftIsRepairedAtOnce(t *testing.T) {
	s, d, x, want := hosted(t)
	for i, step := range []struct {
		args []string
		kind reconcile.DriftKind
		n    int
	}{
		{[]string{"del-flows", "table=20,reg11=0x0a000007"}, reconcile.DriftDeleted, 1},
		{[]string{"mod-flows", "table=20,reg11=0x0a000007 actions=drop"}, reconcile.DriftChanged, 1},
		{[]string{"add-flow", fmt.Sprintf("table=9,cookie=%#x actions=drop", uint64(mark|5))}, reconcile.DriftAdded, 1},
		{[]string{"del-flows"}, reconcile.DriftDeleted, 1 + len(want)},
	} {
		t0 := time.Now()
		ofctl(t, s, step.args...)
		told := x.await(t, step.kind, step.n)
		took := time.Since(t0)
		t.Logf("%v: repaired in %v, %v with ovs-ofctl's start", step.args, told.Repaired.Round(10*time.Microsecond), took.Round(10*time.Microsecond))
		if took > time.Second || told.Repaired <= 0 || told.Repaired > took || told.Flow == "" || told.Owner == "" {
			t.Errorf("step %d: took %v: %+v", i, took, told)
		}
		if !holds(t, s, 7) || strings.Contains(ofctl(t, s, "dump-flows", "table=9"), "cookie") {
			t.Errorf("step %d: it is not repaired", i)
		}
	}
	if n := strings.Count(ofctl(t, s, "dump-flows"), "cookie="); n != len(want)+1 {
		t.Errorf("the switch holds %d flows", n)
	}
	before := len(x.all)
	for r := range uint64(20) {
		d.Set(reconcile.Desired{Revision: 2 + r, Flows: compose(want[:200+r])})
		await(t, d, "it is in sync", inSync)
	}
	d.Set(reconcile.Desired{Revision: 90, Flows: compose(some(2500))}) // many at once
	await(t, d, "it is in sync and watched", func(s reconcile.Status) bool { return s.InSync && s.Monitored })
	ofctl(t, s, "del-flows", "table=20,reg11=0x0a000007")
	x.await(t, reconcile.DriftDeleted, len(want)+2)
	if after := len(x.all); after != before+1 {
		t.Errorf("our own changes were told: %+v", x.all[before:])
	}
}

// TestShadowsAreNamedAndStay: foreign flows stay, and those over ours are named.
func TestShadowsAreNamedAndStay(t *testing.T) {
	s, d, x, want := hosted(t)
	for _, f := range []string{
		"table=20,priority=100,reg0=1 actions=drop",                                                  // ours have reg0=0
		"table=20,priority=99,reg0=0 actions=drop",                                                   // below ours
		"table=77,priority=9 actions=drop",                                                           // elsewhere
		fmt.Sprintf("table=20,priority=201,cookie=%#x,reg10=0xffff actions=drop", flows.ProbeMark|1), // over ours, of a diagnosis
		"table=20,priority=200,cookie=0x99,reg10=0xffff actions=drop",                                // over ours
	} {
		ofctl(t, s, "add-flow", f)
	}
	st := await(t, d, "the shadow is named", func(s reconcile.Status) bool { return s.NumShadow > 0 && s.InSync })
	if st.NumShadow != 1 || st.Shadows[0].Cookie != 0x99 || st.Shadows[0].Over == "" || st.Shadows[0].Owner == "" {
		t.Errorf("%+v", st.Shadows)
	}
	if n, e := x.count(reconcile.DriftShadowed); n != 1 || !strings.Contains(e.Flow, "priority=200") || e.Repaired != 0 {
		t.Errorf("told of %d shadows, the last %+v", n, e)
	}
	if n := strings.Count(ofctl(t, s, "dump-flows"), "cookie="); n != len(want)+1+5 {
		t.Errorf("%d flows", n)
	}
	if n, e := x.count(reconcile.DriftAdded); n != 0 {
		t.Errorf("%+v", e)
	}
	ofctl(t, s, "del-flows", "cookie=0x99/-1")
	ofctl(t, s, "del-flows", "table=20,reg11=0x0a000003") // leads to a read-back at once
	await(t, d, "the shadow is gone", func(s reconcile.Status) bool { return s.NumShadow == 0 })
}

// TestWhoFightsIsSlowedDown: somebody who keeps deleting makes no storm.
func TestWhoFightsIsSlowedDown(t *testing.T) {
	s, d, x, _ := hosted(t)
	for i := 1; ; i++ {
		ofctl(t, s, "del-flows", "table=20,reg11=0x0a000007")
		x.await(t, reconcile.DriftDeleted, i)
		if n, e := x.count(reconcile.DriftFought); n > 0 {
			if i < 5 || !strings.Contains(e.Note, "somebody keeps changing") {
				t.Errorf("after %d repairs: %+v", i, e)
			}
			break
		}
		if i > 50 {
			t.Fatal("nobody says that somebody fights")
		}
	}
	t0 := time.Now()
	n, _ := x.count(reconcile.DriftDeleted)
	ofctl(t, s, "del-flows", "table=20,reg11=0x0a000007")
	x.await(t, reconcile.DriftDeleted, n+1)
	if took := time.Since(t0); took < 700*time.Millisecond || !holds(t, s, 7) {
		t.Errorf("repaired after %v", took)
	}
	// What we want is sent meanwhile as ever.
	d.Set(reconcile.Desired{Revision: 2, Flows: compose(some(301))})
	await(t, d, "it is in sync", inSync)
}

// TestAuditsTellDrift: a switch without a flow monitor is read back from time to
// time, and what was found is told as well.
func TestAuditsTellDrift(t *testing.T) {
	f := &fake{tables: model{}}
	x := newTold()
	o := options(f.dial)
	o.Drift, o.AuditInterval = x.note, 50*time.Millisecond
	d := start(t, o)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(5))})
	if st := await(t, d, "it is in sync", inSync); st.Monitored {
		t.Error("it is watched")
	}
	f.mu.Lock()
	for _, k := range f.tables.keys() {
		if st := f.tables[k]; st.Table == 20 && st.Cookie == mark|2 {
			delete(f.tables, k)
		}
	}
	f.mu.Unlock()
	if e := x.await(t, reconcile.DriftDeleted, 1); !strings.Contains(e.Flow, "table=20") {
		t.Errorf("%+v", e)
	}
}
