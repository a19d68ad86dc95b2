package flows_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// scenario is a policy seen from one host.
type scenario struct {
	name   string
	policy string
	host   string
	place  flows.Placement
	view   func(*flows.HostView)
}

var scenarios = []scenario{
	{name: "hnv-host1", policy: "hnv-blue-red.yaml", host: "host1"},
	{name: "hnv-host2", policy: "hnv-blue-red.yaml", host: "host2"},
	{name: "routed-h1", policy: "routed.yaml", host: "h1", place: flows.NewPlacement(map[string]string{"db2": "h2"})},
	{name: "routed-h2", policy: "routed.yaml", host: "h2", place: flows.NewPlacement(map[string]string{"db2": "h2"})},
	{name: "routed-h3-idle", policy: "routed.yaml", host: "h3", view: func(v *flows.HostView) { v.Attachments = nil }},
	{name: "routed-h1-per-vsid", policy: "routed.yaml", host: "h1", view: func(v *flows.HostView) {
		v.Tunnels = flows.TunnelPorts{PerVSID: map[tenant.VSID]uint32{5001: 11, 5002: 12}}
	}},
	{name: "dual-h1", policy: "dual.yaml", host: "h1"},
	{name: "dual-h2", policy: "dual.yaml", host: "h2"},
	{name: "records-h1", policy: "records.yaml", host: "h1"},
	{name: "records-h2", policy: "records.yaml", host: "h2"},
	{name: "routed-h1-no-tunnel", policy: "routed.yaml", host: "h1", view: func(v *flows.HostView) { v.Tunnels.Flow = 0 }},
}

func (s scenario) compile(t testing.TB) (*tenant.Policy, flows.HostView, *flows.Result) {
	t.Helper()
	p := load(t, s.policy)
	v := flows.PlannedView(p, s.place, s.host)
	if s.view != nil {
		s.view(&v)
	}
	return p, v, flows.Compile(p, s.place, v)
}

func TestGolden(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			p, v, res := s.compile(t)
			if len(res.Problems)+len(res.Conflicts) > 0 {
				t.Errorf("problems %v, conflicts %v", res.Problems, res.Conflicts)
			}
			ports := map[uint32]string{v.Tunnels.Flow: "nvgre"}
			for _, a := range v.Attachments {
				ports[a.OFPort] = a.IfaceID
			}
			golden(t, filepath.Join("testdata", s.name+".golden"), dump(flows.NewNamer(p, ports), res.Flows))
		})
	}
}

// dump writes flows as ovs-ofctl reads them, each under its named form.
func dump(n *flows.Namer, fs []flow.Flow) string {
	var b strings.Builder
	last := -1
	for i := range fs {
		if f := &fs[i]; int(f.Table) != last {
			last = int(f.Table)
			fmt.Fprintf(&b, "\n### table %d %s\n", last, flows.TableName(f.Table))
		}
		fmt.Fprintf(&b, "# %s  [%s]\n%s\n", n.Flow(&fs[i]), n.OwnerText(fs[i].Cookie), fs[i].Text())
	}
	return b.String()
}

// The golden text must be what ovs-ofctl takes, flow for flow, with the meaning
// that we give it.
func TestOVSReadsGoldenText(t *testing.T) {
	ovstest.Require(t)
	ovs := ovsproc.New(t.TempDir())
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			_, _, res := s.compile(t)
			// Options come before the command, so Ofctl does not fit.
			out, err := ovs.Run(t.Context(), "ovs-ofctl", "-O", "OpenFlow13", "parse-flows", filepath.Join("testdata", s.name+".golden"))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(out, "ADD "); n != len(res.Flows) {
				t.Errorf("ovs-ofctl read %d flows of %d:\n%s", n, len(res.Flows), out)
			}
		})
	}
}

func TestManual(t *testing.T) {
	p := load(t, "dual.yaml")
	v := flows.PlannedView(p, flows.Placement{}, "h1")
	examples := flows.Compile(p, flows.Placement{}, v).Flows
	ports := map[uint32]string{1: "nvgre0"}
	for _, a := range v.Attachments {
		ports[a.OFPort] = a.IfaceID
	}
	golden(t, filepath.Join("..", "docs", "PIPELINE.md"),
		flows.Manual(append(examples, flows.Sentinel(1)), flows.NewNamer(p, ports)))
}

// Each table that a packet can leave undecided ends in a drop flow of its own.
func TestEveryTableEndsInADrop(t *testing.T) {
	for _, s := range scenarios {
		_, _, res := s.compile(t)
		for _, table := range flows.Pipeline() {
			if table.Name == "output" || table.Name == "sentinel" || table.Name == "mtu" {
				continue
			}
			i := slices.IndexFunc(res.Flows, func(f flow.Flow) bool {
				return f.Table == table.ID && f.Priority == 0 && len(f.Match) == 0
			})
			if i < 0 {
				t.Errorf("%s: table %s has no last flow", s.name, table.Name)
				continue
			}
			if _, ok := flows.Reason(res.Flows[i].Cookie); !ok || !ends(&res.Flows[i]) {
				t.Errorf("%s: table %s ends in %s", s.name, table.Name, res.Flows[i].Text())
			}
		}
		for i := range res.Flows {
			f := &res.Flows[i]
			if _, drops := flows.Reason(f.Cookie); drops != ends(f) {
				t.Errorf("%s: cookie and actions disagree: %s", s.name, f.Text())
			}
			if !flows.Ours(f.Cookie) {
				t.Errorf("%s: no mark: %s", s.name, f.Text())
			}
		}
	}
}

// ends reports whether a flow forwards no packets: it has no actions, or hands them
// to the controller so that their sender is told.
func ends(f *flow.Flow) bool {
	punt, _ := flows.TableByName("punt")
	n := len(f.Actions)
	return n == 0 || f.Actions[n-1] == flow.Goto(punt) && flows.TableName(f.Table) != "port-security"
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a, b)
		}
	}
	return ""
}
