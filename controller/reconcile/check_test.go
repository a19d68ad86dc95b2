package reconcile_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// checked is a driver whose exchanges with a real switch are seen.
func checked(t testing.TB, n int) (*ovsproc.Switch, *reconcile.Driver, *told, chan reconcile.Report) {
	t.Helper()
	s, dial := bridge(t)
	x := newTold()
	reports := make(chan reconcile.Report, 1000)
	o := options(dial)
	o.Drift, o.Generation = x.note, 3
	o.Report = func(r reconcile.Report) {
		if r.Checked > 0 || r.ReadBack > 0 {
			reports <- r
		}
	}
	d := start(t, o)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(n))})
	await(t, d, "it is in sync and watched", func(s reconcile.Status) bool { return s.InSync && s.Monitored })
	for len(reports) > 0 {
		<-reports
	}
	return s, d, x, reports
}

func report(t testing.TB, reports chan reconcile.Report) reconcile.Report {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was looked at")
		return reconcile.Report{}
	}
}

// TestChangesAreLookedIntoAlone: what others do to a few flows of ours is found
// and put right without reading anything else back.
func TestChangesAreLookedIntoAlone(t *testing.T) {
	s, d, x, reports := checked(t, 300)
	ours := func(i int) string { return fmt.Sprintf("table=20,reg11=%#x", 0x0a000000+i) }
	for i, step := range []struct {
		do      []string
		kind    reconcile.DriftKind
		readAll bool
	}{
		{[]string{"del-flows", ours(7)}, reconcile.DriftDeleted, false},
		{[]string{"mod-flows", ours(7) + " actions=drop"}, reconcile.DriftChanged, false},
		{[]string{"add-flow", fmt.Sprintf("table=9,cookie=%#x actions=drop", uint64(mark|5))}, reconcile.DriftAdded, false},
		{[]string{"add-flow", fmt.Sprintf("table=9,cookie=%#x actions=drop", uint64(mark|6))}, reconcile.DriftAdded, false},
		// What cannot be expressed, and the sentinel, need a look at everything.
		{[]string{"add-flow", fmt.Sprintf("table=9,cookie=%#x actions=learn(table=9)", uint64(mark|7))}, reconcile.DriftAdded, true},
		{[]string{"del-flows", "table=253"}, "", true},
	} {
		before, _ := x.count(step.kind)
		ofctl(t, s, step.do...)
		if step.kind != "" {
			x.await(t, step.kind, before+1)
		}
		r := report(t, reports)
		if (r.ReadBack > 0) != step.readAll || !step.readAll && (r.Checked != 1 || r.Repaired != 1) {
			t.Errorf("step %d: %+v", i, r)
		}
		for len(reports) > 0 {
			<-reports
		}
		await(t, d, "it is in sync", inSync)
		if !holds(t, s, 7) || strings.Contains(ofctl(t, s, "dump-flows", "table=9"), "cookie") {
			t.Errorf("step %d: it is not repaired:\n%s", i, ofctl(t, s, "dump-flows", "table=9"))
		}
	}
	await(t, d, "all flows are counted", func(st reconcile.Status) bool { return st.FlowsInstalled == 300 })
	if n := strings.Count(ofctl(t, s, "dump-flows"), "cookie="); n != 301 {
		t.Errorf("the switch holds %d flows", n)
	}
}

// TestManyChangesAtOnce: no more than some are looked into one by one. How many
// of them the driver knows of when it begins is the switch's and the machine's
// matter: it may read all back, or look into them in parts.
func TestManyChangesAtOnce(t *testing.T) {
	const most = 64
	s, d, x, reports := checked(t, 300)
	ofctl(t, s, "del-flows", "table=20")
	x.await(t, reconcile.DriftDeleted, 300)
	await(t, d, "it is in sync", func(st reconcile.Status) bool { return st.InSync && st.FlowsInstalled == 300 })
	if n := strings.Count(ofctl(t, s, "dump-flows"), "cookie="); n != 301 {
		t.Errorf("the switch holds %d flows", n)
	}
	sum, readAll := 0, false
	for len(reports) > 0 {
		r := <-reports
		readAll = readAll || r.ReadBack > 0
		if sum += r.Checked; r.Checked > most {
			t.Errorf("%d were looked into one by one: %+v", r.Checked, r)
		}
	}
	if !readAll && sum < 300 {
		t.Errorf("%d were looked into, and all was never read back", sum)
	}
}

// TestSeveralChangesAtOnce: a few changes of different kinds that come together.
func TestSeveralChangesAtOnce(t *testing.T) {
	s, d, x, reports := checked(t, 300)
	var lines []string
	for i := range 10 {
		lines = append(lines, fmt.Sprintf("delete table=20,reg11=%#x", 0x0a000000+i),
			fmt.Sprintf("add table=9,priority=%d,cookie=%#x actions=drop", i+1, uint64(mark|9)))
	}
	file := t.TempDir() + "/flows"
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ofctl(t.Context(), "--bundle", "add-flows", "br-int", file); err != nil {
		t.Fatal(err)
	}
	x.await(t, reconcile.DriftDeleted, 10)
	x.await(t, reconcile.DriftAdded, 10)
	if r := report(t, reports); r.ReadBack > 0 || r.Checked != 20 || r.Repaired != 20 {
		t.Errorf("%+v", r)
	}
	await(t, d, "all flows are counted", func(st reconcile.Status) bool { return st.InSync && st.FlowsInstalled == 300 })
	if n := strings.Count(ofctl(t, s, "dump-flows"), "cookie="); n != 301 {
		t.Errorf("the switch holds %d flows", n)
	}
}

// BenchmarkRepair deletes one flow of many by hand and waits for its repair.
func BenchmarkRepair(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, _, x, _ := checked(b, n)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				if _, err := s.Ofctl(b.Context(), "--strict", "del-flows", "br-int", "table=20,priority=100,reg0=0,reg8=0,reg9=0,reg10=0xffff,reg11=0x0a000007"); err != nil {
					b.Fatal(err)
				}
				deadline := time.Now().Add(time.Minute)
				for m, d := x.count(reconcile.DriftDeleted); ; m, d = x.count(reconcile.DriftDeleted) {
					if m > i {
						took = append(took, d.Repaired)
						break
					}
					if time.Now().After(deadline) {
						b.Fatal("it is not repaired")
					}
					time.Sleep(time.Millisecond)
				}
			}
			sum := time.Duration(0)
			for _, d := range took {
				sum += d
			}
			b.ReportMetric(float64(sum.Microseconds())/1000/float64(len(took)), "ms/repair")
		})
	}
}
