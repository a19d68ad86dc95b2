package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

func encGroup(g flow.Group) openflow.Encoded {
	e, err := openflow.EncodeGroup(&g)
	if err != nil {
		panic(err)
	}
	return e
}

func encMeter(m flow.Meter) openflow.Encoded {
	e, err := openflow.EncodeMeter(&m)
	if err != nil {
		panic(err)
	}
	return e
}

func whole(es ...openflow.Encoded) flowset.Composition {
	var ed flowset.Editor
	for _, e := range es {
		ed.Put(e)
	}
	return flowset.Whole("all", ed.Set())
}

func to(port uint32) []flow.Bucket {
	return []flow.Bucket{{Actions: []flow.Action{flow.Output(port)}}}
}

const ourNumber = 0x4e000005

var (
	useGroup = enc(&flow.Flow{Table: 3, Cookie: mark | 1, Actions: []flow.Action{flow.ToGroup(ourNumber)}})
	useMeter = enc(&flow.Flow{Table: 4, Cookie: mark | 2, Actions: []flow.Action{flow.ToController(0x4e56, ourNumber)}})
	aGroup   = encGroup(flow.Group{ID: ourNumber, Buckets: to(1)})
	aMeter   = encMeter(flow.Meter{ID: ourNumber, Rate: 5, Burst: 6})
)

func texts(mods []openflow.Mod) (out []string) {
	for _, m := range mods {
		out = append(out, fmt.Sprintf("%s %s %d", m.Op, m.Flow.Kind(), m.Flow.Table()))
	}
	return out
}

// What is named comes before what names it, and goes behind it.
func TestPlanOrdersGroupsAndMeters(t *testing.T) {
	all := whole(useGroup, useMeter, aGroup, aMeter)
	r := reconcile.NewReader(all)
	empty := r.Actual()
	p := reconcile.NewPlan(empty, reconcile.Desired{Revision: 1, Flows: all}, nil)
	if got := texts(slices.Collect(p.Mods())); !slices.Equal(got, []string{"add group 255", "add flow 3", "add flow 4", "add flow 253"}) {
		t.Errorf("%q", got)
	}
	if got := texts(p.MetersFirst()); !slices.Equal(got, []string{"add meter 255"}) || len(p.MetersLast()) != 0 || p.Added != 4 {
		t.Errorf("%q, %d last", got, len(p.MetersLast()))
	}
	// Only what has changed is sent.
	other := whole(useGroup, useMeter, encGroup(flow.Group{ID: ourNumber, Buckets: to(2)}), encMeter(flow.Meter{ID: ourNumber, Rate: 7, Burst: 6}))
	q := reconcile.NewPlan(p.After(), reconcile.Desired{Revision: 2, Flows: other}, nil)
	if got := texts(append(q.MetersFirst(), slices.Collect(q.Mods())...)); !slices.Equal(got, []string{"modify meter 255", "add group 255", "add flow 253"}) {
		t.Errorf("%q", got)
	}
	q = reconcile.NewPlan(q.After(), reconcile.Desired{Revision: 3}, nil)
	if got := texts(append(slices.Collect(q.Mods()), q.MetersLast()...)); !slices.Equal(got, []string{"delete flow 3", "delete flow 4", "delete group 255", "add flow 253", "delete meter 255"}) {
		t.Errorf("%q", got)
	}
	// A meter that somebody has deleted is added with the flows that name it.
	r = reconcile.NewReader(all)
	for _, e := range []openflow.Encoded{useGroup, useMeter, aGroup} {
		r.Add(&openflow.Entry{Octets: []byte(e)})
	}
	q = reconcile.NewPlan(r.Actual(), reconcile.Desired{Revision: 1, Flows: all}, nil)
	if got := texts(append(q.MetersFirst(), slices.Collect(q.Mods())...)); !slices.Equal(got, []string{"add meter 255", "add flow 4", "add flow 253"}) {
		t.Errorf("%q", got)
	}
}

func dump(t *testing.T, s *ovsproc.Switch, what string) string {
	t.Helper()
	out, err := s.Ofctl(t.Context(), what, "br-int")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out), " ")
}

// Groups and meters on a real switch: put, changed, repaired and removed; those of
// others stay.
func TestDriverKeepsGroupsAndMeters(t *testing.T) {
	s, dial := bridge(t)
	for _, args := range [][]string{
		{"add-group", "br-int", "group_id=7,type=all,bucket=output:7"},
		{"add-meter", "br-int", "meter=7 pktps,burst,stats bands=type=drop rate=7 burst_size=7"},
	} {
		if _, err := s.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	var drifts []reconcile.Drift
	o := options(dial)
	o.Drift = func(d reconcile.Drift) { drifts = append(drifts, d) }
	d := start(t, o)
	revision := uint64(0)
	set := func(es ...openflow.Encoded) reconcile.Status {
		t.Helper()
		revision++
		d.Set(reconcile.Desired{Revision: revision, Flows: whole(es...)})
		return await(t, d, "it is in sync", func(s reconcile.Status) bool { return s.InSync && s.Installed == revision })
	}
	if st := set(useGroup, useMeter, aGroup, aMeter); st.FlowsInstalled != 4 || st.NumRefuse != 0 {
		t.Fatalf("%+v", st)
	}
	has := func(what, text string, want bool) {
		t.Helper()
		if out := dump(t, s, what); strings.Contains(out, text) != want {
			t.Errorf("%s: %q there: %v\n%s", what, text, !want, out)
		}
	}
	group := fmt.Sprintf("group_id=%d,type=all", ourNumber)
	has("dump-groups", group, true)
	has("dump-meters", "rate=5 burst_size=6", true)
	set(useGroup, useMeter, encGroup(flow.Group{ID: ourNumber, Buckets: to(2)}), encMeter(flow.Meter{ID: ourNumber, Rate: 50, Burst: 6}))
	has("dump-groups", "output:2", true)
	has("dump-meters", "rate=50 burst_size=6", true)

	// Who deletes a group deletes the flows that name it, of which the flow monitor
	// tells.
	await(t, d, "it watches", func(s reconcile.Status) bool { return s.Monitored })
	if _, err := s.Ofctl(t.Context(), "del-groups", "br-int", fmt.Sprintf("group_id=%d", ourNumber)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ofctl(t.Context(), "del-meter", "br-int", fmt.Sprintf("meter=%d", ourNumber)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if strings.Contains(dump(t, s, "dump-flows"), "group:") {
			break
		}
		await(t, d, "something", func(reconcile.Status) bool { return true })
	}
	await(t, d, "it is in sync", inSync)
	set(useGroup, useMeter, encGroup(flow.Group{ID: ourNumber, Buckets: to(2)}), encMeter(flow.Meter{ID: ourNumber, Rate: 51, Burst: 6}))
	has("dump-flows", fmt.Sprintf("group:%d", ourNumber), true)
	has("dump-groups", "output:2", true)
	has("dump-meters", "rate=51 burst_size=6", true)
	if len(drifts) == 0 {
		t.Error("no drift was told")
	}

	if st := set(); st.FlowsInstalled != 0 {
		t.Errorf("%+v", st)
	}
	has("dump-groups", group, false)
	has("dump-groups", "group_id=7", true)
	has("dump-meters", fmt.Sprintf("meter=%d", ourNumber), false)
	has("dump-meters", "meter=7", true)

	// What a switch refuses is named.
	bad := encGroup(flow.Group{ID: ourNumber, Buckets: []flow.Bucket{{Actions: []flow.Action{flow.Output(0xff10)}}}})
	if st := set(useMeter, aMeter, bad); st.NumRefuse != 1 || st.Refused[0].Owner != "group 0x4e000005" || st.FlowsInstalled != 2 {
		t.Errorf("%+v", st)
	}
}
