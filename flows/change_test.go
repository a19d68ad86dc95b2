package flows_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// parse reads a policy from testdata after replacing old by new, pairwise.
func parse(t testing.TB, name string, oldnew ...string) *tenant.Policy {
	t.Helper()
	text := readFile(t, name)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%s has no %q", name, oldnew[i])
		}
	}
	p, err := policyfile.Parse(name, []byte(strings.NewReplacer(oldnew...).Replace(text)), 2)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// diff returns the text of the flows of b that a lacks.
func diff(a, b []flow.Flow) (added []string) {
	for i := range b {
		if !slices.ContainsFunc(a, func(f flow.Flow) bool { return f.Equal(&b[i]) }) {
			added = append(added, flows.TableName(b[i].Table))
		}
	}
	return added
}

// A change touches the flows that it must and no other.
func TestChangeIsSmall(t *testing.T) {
	place := flows.NewPlacement(map[string]string{"db2": "h2"})
	before := parse(t, "routed.yaml")
	for _, c := range []struct {
		name    string
		changes []string
		place   flows.Placement
		gone    []string // tables of the flows that go from h1
		come    []string // tables of the flows that come to h1
	}{
		{name: "a remote VM moves", changes: []string{"02:b0:00:00:01:12, host: h2", "02:b0:00:00:01:12, host: h3"},
			gone: []string{"ca"}, come: []string{"ca"}},
		{name: "an attachment moves", place: flows.NewPlacement(map[string]string{"db2": "h3"}),
			gone: []string{"ca"}, come: []string{"ca"}},
		{name: "a host's PA is renumbered", changes: []string{"10.99.0.2", "10.99.0.9"},
			gone: []string{"tunnel-source", "tunnel-source", "pa"}, come: []string{"tunnel-source", "tunnel-source", "pa"}},
		{name: "a VM of another host is added", changes: []string{"          - {vm: fw,", "          - {vm: new, ca: 10.0.1.77, mac: 02:b0:00:00:01:77, host: h2}\n          - {vm: fw,"},
			come: []string{"ca"}},
		{name: "a VM is removed", changes: []string{"          - {vm: lost, ca: 10.0.2.99, mac: 02:b0:00:00:02:99}\n", ""},
			gone: []string{"ca"}},
		{name: "a routing domain without VMs here is added", changes: []string{"  - rdid: 22222222-0000-0000-0000-000000000002",
			"  - rdid: 00000000-0000-0000-0000-000000000009\n    name: third\n    subnets: [{vsid: 7001, prefixes: [10.0.0.0/8], records: [{vm: x, ca: 10.0.1.11, mac: 02:b0:00:00:01:11, host: h2}]}]\n  - rdid: 22222222-0000-0000-0000-000000000002"}},
		{name: "a host is added", changes: []string{"  - {name: h2,", "  - {name: h0, provider_addresses: [10.99.0.100]}\n  - {name: h2,"}},
		{name: "a host gets its first VM of the routing domain", changes: []string{"  - {name: h2,", "  - {name: h0, provider_addresses: [10.99.0.100]}\n  - {name: h2,",
			"          - {vm: fw,", "          - {vm: new, ca: 10.0.1.77, mac: 02:b0:00:00:01:77, host: h0}\n          - {vm: fw,"},
			come: []string{"tunnel-source", "tunnel-source", "ca", "pa"}},
		{name: "a better route appears", changes: []string{"    routes:\n", "    routes:\n      - {prefix: 172.16.0.0/12, next_hop: 10.0.2.99, metric: 0}\n"},
			gone: []string{"route"}, come: []string{"route"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := parse(t, "routed.yaml", c.changes...)
			to := c.place
			if to.Len() == 0 {
				to = place
			}
			// The ports of the host stay as they are.
			view := flows.PlannedView(before, place, "h1")
			a, b := flows.Compile(before, place, view).Flows, flows.Compile(after, to, view).Flows
			if gone := diff(b, a); !slices.Equal(gone, c.gone) {
				t.Errorf("flows that go: %v, want %v", gone, c.gone)
			}
			if come := diff(a, b); !slices.Equal(come, c.come) {
				t.Errorf("flows that come: %v, want %v", come, c.come)
			}
		})
	}
}

// What is shared between hosts is the same to the bit on all of them.
func TestSharedTablesAreAlikeOnAllHosts(t *testing.T) {
	p := load(t, "routed.yaml")
	place := flows.NewPlacement(map[string]string{"db2": "h3", "lost": "h2"})
	shared := func(host string) (fs []flow.Flow) {
		// Only routing domain shop is on h1 and h3.
		for _, f := range flows.Compile(p, place, flows.PlannedView(p, place, host)).Flows {
			switch flows.TableName(f.Table) {
			case "ca", "route", "tunnel-vsid":
				fs = append(fs, f)
			}
		}
		return fs
	}
	a, b := shared("h1"), shared("h3")
	if len(a) < 15 || !slices.EqualFunc(a, b, func(f, g flow.Flow) bool { return f.Equal(&g) }) {
		t.Errorf("h1 and h3 differ:\n%v\n%v", a, b)
	}
}

// A host holds only the routing domains that it has VMs of.
func TestOnlyWantedDomains(t *testing.T) {
	p := load(t, "routed.yaml")
	for host, want := range map[string]int{"h1": 1, "h2": 2} {
		if got := len(flows.Compile(p, flows.Placement{}, flows.PlannedView(p, flows.Placement{}, host)).Domains); got != want {
			t.Errorf("%s: %d routing domains, want %d", host, got, want)
		}
	}
	if got := flows.Compile(p, flows.Placement{}, flows.HostView{Name: "h1"}).Domains; len(got) != 0 {
		t.Errorf("a host without VMs holds %v", got)
	}
}

func TestPlace(t *testing.T) {
	p := load(t, "routed.yaml")
	at, problems := flows.Place(p, map[string][]flows.Attachment{
		"h3": {{IfaceID: "db2", OFPort: 5}, {IfaceID: "web1", OFPort: 6}},
		"h2": {{IfaceID: "db2", OFPort: 5}, {IfaceID: "stranger", OFPort: 7}, {IfaceID: "web2", OFPort: 8}},
		"h1": {{IfaceID: "lost"}},
	})
	if at.Host("db2") != "h2" || at.Host("lost") != "h1" || at.Host("web1") != "h3" || at.Len() != 5 {
		t.Errorf("placement %v", at)
	}
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Host+" "+p.IfaceID+": "+p.Text)
	}
	want := []string{
		"h2 stranger: no lookup record has iface-id stranger: add a record, or correct the iface-id",
		"h3 db2: VM db2 is attached to hosts h2 and h3: h2 has it; remove the other attachment, or name the host in the lookup record",
		"h3 web1: VM web1 is attached to host h3, but its lookup record puts it on h1: move the VM or change the record",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
}

// Ports that must not be classified are not: no number yet, a record that puts
// the VM elsewhere, a second port of one VM.
func TestPortsLeftOut(t *testing.T) {
	p := load(t, "routed.yaml")
	res := flows.Compile(p, flows.Placement{}, flows.HostView{Name: "h1", Tunnels: flows.TunnelPorts{Flow: 1}, Attachments: []flows.Attachment{
		{IfaceID: "web1", OFPort: 9}, {IfaceID: "web1", OFPort: 8}, {IfaceID: "web2", OFPort: 7}, {IfaceID: "db1"}, {IfaceID: "stranger", OFPort: 3},
		{IfaceID: "lost", OFPort: 4},
	}})
	var ports []uint64
	for _, f := range res.Flows {
		if m, ok := f.Match.Find(flow.InPort); ok && flows.TableName(f.Table) == "classify" && len(f.Match) == 1 {
			ports = append(ports, m.Value.Lo)
		}
	}
	if !slices.Equal(ports, []uint64{1, 8}) {
		t.Errorf("classified ports %v, want the tunnel and 8", ports)
	}
	if len(res.Problems) != 1 || res.Problems[0].IfaceID != "web1" {
		t.Errorf("problems %v", res.Problems)
	}
}

func TestOwners(t *testing.T) {
	p := load(t, "routed.yaml")
	n := flows.NewNamer(p, nil)
	res := flows.Compile(p, flows.Placement{}, flows.PlannedView(p, flows.Placement{}, "h1"))
	seen := map[flows.OwnerKind]int{}
	for _, f := range res.Flows {
		owners := n.Owners(f.Cookie)
		if len(owners) != 1 {
			t.Fatalf("%s: owners %v", f.Text(), owners)
		}
		seen[owners[0].Kind]++
		if o := owners[0]; o.Kind != flows.OwnerPipeline && o.Source.Line == 0 {
			t.Errorf("%s: no place in the policy", o.Text)
		}
	}
	for _, k := range []flows.OwnerKind{flows.OwnerPipeline, flows.OwnerSubnet, flows.OwnerRecord, flows.OwnerRoute, flows.OwnerHost} {
		if seen[k] == 0 {
			t.Errorf("no flow is owned by a %s", k)
		}
	}
	if got := n.OwnerText(0x1234); got != "foreign" {
		t.Errorf("foreign cookie: %q", got)
	}
	if got := flows.NewNamer(nil, nil).OwnerText(res.Flows[0].Cookie); got == "" {
		t.Error("no text without a policy")
	}
}

// A limit of what VMs have the controller do changes meters, and nothing else.
func TestPuntLimit(t *testing.T) {
	p := parse(t, "routed.yaml", "next_hop: 10.0.2.13, metric: 1", "next_hop: 10.0.2.13, metric: 5") // two share traffic
	at := flows.NewPlacement(map[string]string{"fw": "h3", "db1": "h1", "web1": "h1"})
	view := flows.HostView{Name: "h1", Tunnels: flows.TunnelPorts{Flow: 1}, Attachments: []flows.Attachment{{IfaceID: "web1", OFPort: 5}}}
	want := flows.Compile(p, at, view)
	limit := flows.PuntLimit{Rate: 3, Burst: 4}
	got := flows.NewCompiler(tenant.Empty(), flows.Placement{}).WithPuntLimit(limit).Next(p, at).Host(view)
	if d := diff(want.Flows, got.Flows); len(d) > 0 || len(got.Flows) != len(want.Flows) {
		t.Errorf("other flows: %v", d)
	}
	if len(want.Groups) != 1 || !reflect.DeepEqual(got.Groups, want.Groups) {
		t.Errorf("groups %v, want the one of %v", got.Groups, want.Groups)
	}
	if len(got.Meters) != 1 || got.Meters[0].Rate != limit.Rate || got.Meters[0].Burst != limit.Burst {
		t.Errorf("meters %v", got.Meters)
	}
}
