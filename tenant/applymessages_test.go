package tenant_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// applySpec has two hosts and two routing domains, the first with two subnets.
func applySpec() tenant.Spec {
	mac := func(n byte) tenant.MAC { return tenant.MAC{2, 5: n} }
	return tenant.Spec{
		Version: 1,
		Hosts: []tenant.HostSpec{
			{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.1")}}},
			{Name: "h2", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.2")}}},
		},
		RoutingDomains: []tenant.RoutingDomainSpec{
			{RDID: blue, Name: "blue", Subnets: []tenant.SubnetSpec{
				{VSID: 5001, Name: "web", Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")}, Records: []tenant.RecordSpec{
					{VM: "web1", CA: ca("10.0.1.11"), MAC: mac(1), Host: "h1"},
					{VM: "web2", CA: ca("10.0.1.12"), MAC: mac(2), PA: pa("10.99.0.2")},
				}},
				{VSID: 5002, Name: "db", Prefixes: []tenant.CAPrefix{prefix("10.0.2.0/24")}, Records: []tenant.RecordSpec{
					{VM: "db1", CA: ca("10.0.2.11"), MAC: mac(1)},
				}},
			}, Routes: []tenant.RouteSpec{{Prefix: prefix("0.0.0.0/0"), NextHop: ca("10.0.1.20"), Metric: 10}}},
			{RDID: tenant.RDID{15: 6}, Name: "red", Subnets: []tenant.SubnetSpec{
				{VSID: 6001, Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")}, Records: []tenant.RecordSpec{
					{VM: "web1", CA: ca("10.0.1.11"), MAC: mac(1), IfaceID: "red-web1"},
				}},
			}},
		},
	}
}

var (
	web   = tenant.SubnetObject{VSID: 5001, RDID: blue, Name: "web", Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")}}
	db    = tenant.SubnetObject{VSID: 5002, RDID: blue, Name: "db", Prefixes: []tenant.CAPrefix{prefix("10.0.2.0/24")}}
	web1  = tenant.RecordObject{VSID: 5001, CA: ca("10.0.1.11"), VM: "web1", MAC: tenant.MAC{2, 5: 1}, Host: "h1"}
	route = tenant.RouteObject{RDID: blue, Prefix: prefix("0.0.0.0/0"), NextHop: ca("10.0.1.20"), Metric: 10}
)

// with returns a copy of o that f has changed.
func with[T tenant.Object](o T, f func(*T)) tenant.Change {
	f(&o)
	return tenant.Put(o)
}

func TestApplyProblems(t *testing.T) {
	p := tenanttest.New(t, applySpec())
	const blueRoute = "routes/" + blueText + "/0.0.0.0/0/10/10.0.1.20"
	for _, c := range []struct {
		name    string
		changes []tenant.Change
		want    []string
	}{
		{"twice", []tenant.Change{tenant.Put(web1), tenant.Delete(web1.Key())}, []string{
			"records/5001/10.0.1.11: is changed twice at once: want one change of each object"}},
		{"nothing", []tenant.Change{{}}, []string{": is a change of nothing: want one that Put or Delete returns"}},
		{"subnet with records", []tenant.Change{tenant.Delete(web.Key()), tenant.Delete(web1.Key())}, []string{
			"subnets/5001: still has 1 record (10.0.1.12): want them deleted or moved too, or this kept",
			blueRoute + "/next_hop: next hop 10.0.1.20 lies in no subnet of the routing domain: want the CA of a VM in one of them"}},
		{"routing domain with subnets", []tenant.Change{tenant.Delete(tenant.RoutingDomainKey(blue))}, []string{
			"routing-domains/" + blueText + ": still has 2 subnets (5001, 5002): want them deleted or moved too, or this kept",
			"routing-domains/" + blueText + ": still has 1 route (0.0.0.0/0): want them deleted or moved too, or this kept"}},
		{"unknown subnet", []tenant.Change{with(web1, func(o *tenant.RecordObject) { o.VSID, o.VM, o.MAC = 7000, "v ", tenant.MAC{} })}, []string{
			"records/7000/10.0.1.11/vsid: subnet 7000 is unknown: want the VSID of a subnet of the policy",
			`records/7000/10.0.1.11/vm: the VM's name "v " begins or ends with white space: want "v"`,
			"records/7000/10.0.1.11/mac: is missing: want the MAC of the VM's network adapter, such as 02:00:00:00:00:05"}},
		{"unknown routing domain", []tenant.Change{
			with(web, func(o *tenant.SubnetObject) {
				o.VSID, o.RDID, o.Gateways = 7000, tenant.RDID{15: 9}, []tenant.CA{ca("10.0.1.0")}
			}),
			with(route, func(o *tenant.RouteObject) { o.RDID = tenant.RDID{15: 9} }),
			with(db, func(o *tenant.SubnetObject) { o.VSID, o.RDID = 7001, tenant.RDID{} })}, []string{
			"subnets/7001/rdid: is missing: want the RDID of a routing domain of the policy",
			"subnets/7000/rdid: routing domain 00000000-0000-0000-0000-000000000009 is unknown: want the RDID of a routing domain of the policy",
			"routes/00000000-0000-0000-0000-000000000009/0.0.0.0/0/10/10.0.1.20/rdid: routing domain 00000000-0000-0000-0000-000000000009 is unknown: want the RDID of a routing domain of the policy",
			"subnets/7000/gateways[0]: gateway 10.0.1.0 is the network address of 10.0.1.0/24: want an address from 10.0.1.1 to 10.0.1.254"}},
		{"prefix that leaves records outside", []tenant.Change{with(web, func(o *tenant.SubnetObject) { o.Prefixes = []tenant.CAPrefix{prefix("10.0.2.128/25")} })}, []string{
			`subnets/5001/prefixes[0]: prefix 10.0.2.128/25 overlaps 10.0.2.0/24 of subnet "db": want prefixes that share no address in a routing domain (see subnets/5002/prefixes[0])`,
			"records/5001/10.0.1.11/ca: CA 10.0.1.11 is outside the subnet's prefix 10.0.2.128/25: want an address in it (see subnets/5001/prefixes)",
			"records/5001/10.0.1.12/ca: CA 10.0.1.12 is outside the subnet's prefix 10.0.2.128/25: want an address in it (see subnets/5001/prefixes)",
			blueRoute + "/next_hop: next hop 10.0.1.20 lies in no subnet of the routing domain: want the CA of a VM in one of them"}},
		{"subnet that leaves a route behind", []tenant.Change{tenant.Put(tenant.RoutingDomainObject{RDID: tenant.RDID{15: 9}}),
			with(web, func(o *tenant.SubnetObject) { o.RDID = tenant.RDID{15: 9} })}, []string{
			blueRoute + "/next_hop: next hop 10.0.1.20 lies in no subnet of the routing domain: want the CA of a VM in one of them"}},
		{"gateway that a record has", []tenant.Change{with(web, func(o *tenant.SubnetObject) { o.Gateways = []tenant.CA{ca("10.0.1.12")} })}, []string{
			"records/5001/10.0.1.12/ca: CA 10.0.1.12 is the gateway's: want another address of 10.0.1.0/24"}},
		{"gateway MAC that records have", []tenant.Change{tenant.Put(tenant.GatewayMAC{MAC: tenant.MAC{2, 5: 2}})}, []string{
			"records/5001/10.0.1.12/mac: MAC 02:00:00:00:00:02 is the gateway's: want another MAC, or another gateway_mac"}},
		{"gateway MAC wrong", []tenant.Change{tenant.Put(tenant.GatewayMAC{MAC: tenant.MAC{3}})}, []string{
			"gateway-mac/gateway_mac: MAC 03:00:00:00:00:00 is a group (multicast) address: want a unicast address"}},
		{"gateway MAC zero", []tenant.Change{tenant.Put(tenant.GatewayMAC{})}, []string{
			"gateway-mac/gateway_mac: is missing: want a unicast MAC, or this object deleted, which makes it 02:4e:56:00:00:01"}},
		{"hosts with VMs", []tenant.Change{tenant.Delete(tenant.HostKey("h1")), tenant.Put(tenant.HostObject{Name: "h2", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.3")}}})}, []string{
			`records/5001/10.0.1.11/host: host "h1" is unknown: want h2`,
			"records/5001/10.0.1.12/pa: PA 10.99.0.2 belongs to no host: want an address from the provider_addresses of one"}},
		{"PA of another host", []tenant.Change{tenant.Put(tenant.HostObject{Name: "h3", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.2")}}})}, []string{
			`hosts/h3/provider_addresses[0]: PA 10.99.0.2 belongs to host "h2" already: want an address that no other host has (see hosts/h2/provider_addresses[0])`}},
		{"claims of a record", []tenant.Change{tenant.Put(tenant.RecordObject{VSID: 5001, CA: ca("10.0.1.13"), VM: "db1", IfaceID: "red-web1", MAC: tenant.MAC{2, 5: 2}, Host: "h1", PA: pa("10.99.0.2")})}, []string{
			`records/5001/10.0.1.13/vm: VM "db1" is in the routing domain already: want a name of its own for each VM (see records/5002/10.0.2.11/vm)`,
			`records/5001/10.0.1.13/iface_id: iface-id "red-web1" is taken: set iface_id to a value of its own in the policy (see records/6001/10.0.1.11)`,
			"records/5001/10.0.1.13/mac: MAC 02:00:00:00:00:02 is taken by another record of the subnet: want a MAC of its own for each VM of a subnet (see records/5001/10.0.1.12/mac)",
			`records/5001/10.0.1.13/pa: PA 10.99.0.2 belongs to host "h2", but the record names host "h1": want one of the two, or both of the same host (see hosts/h2/provider_addresses)`}},
		{"names", []tenant.Change{with(web, func(o *tenant.SubnetObject) {
			o.VSID, o.Name, o.Prefixes = 7000, "db", []tenant.CAPrefix{prefix("10.0.7.0/24")}
		}),
			tenant.Put(tenant.RoutingDomainObject{RDID: tenant.RDID{15: 9}, Name: "red"})}, []string{
			`routing-domains/00000000-0000-0000-0000-000000000009/name: routing domain "red" is given twice: want a name of its own for each routing domain (see routing-domains/00000000-0000-0000-0000-000000000006/name)`,
			`subnets/7000/name: subnet "db" is given twice: want a name of its own for each subnet of the routing domain (see subnets/5002/name)`}},
		{"route like another", []tenant.Change{with(route, func(o *tenant.RouteObject) { o.NextHop, o.BlackHole = tenant.CA{}, true })}, []string{
			"routes/" + blueText + "/0.0.0.0/0/10/black-hole: route to 0.0.0.0/0 with metric 10 is a black hole and has a next hop too: want one of the two, or another metric (see " + blueRoute + ")"}},
		{"route to a new prefix", []tenant.Change{with(web, func(o *tenant.SubnetObject) {
			o.VSID, o.Name, o.Prefixes = 7000, "", []tenant.CAPrefix{prefix("10.0.7.0/24")}
		}),
			with(route, func(o *tenant.RouteObject) { o.Prefix = prefix("10.0.7.0/24") })}, []string{
			"routes/" + blueText + "/10.0.7.0/24/10/10.0.1.20/prefix: prefix 10.0.7.0/24 is on-link already, as a prefix of subnet 7000: want no route to it, or a route to another prefix (see subnets/7000/prefixes[0])"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, changes := range [][]tenant.Change{c.changes, reversed(c.changes)} {
				q, problems := p.Apply(changes, 2)
				var got []string
				for _, p := range problems {
					got = append(got, p.String())
				}
				if diff := cmp.Diff(c.want, got); diff != "" || q != nil {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
			}
		})
	}
	if !p.Equal(tenanttest.New(t, applySpec())) {
		t.Error("the policy has changed")
	}
}

func reversed(changes []tenant.Change) []tenant.Change {
	changes = slices.Clone(changes)
	slices.Reverse(changes)
	return changes
}

// TestApplyTogether applies changes that are sound only together.
func TestApplyTogether(t *testing.T) {
	p := tenanttest.New(t, applySpec())
	red := tenant.RDID{15: 6}
	web2, _ := p.Object(tenant.RecordKey(5001, ca("10.0.1.12")))
	for name, c := range map[string]struct {
		changes []tenant.Change
		check   func(q *tenant.Policy) bool
	}{
		"a CA and all that goes with it": {[]tenant.Change{tenant.Delete(web1.Key()),
			with(web2.(tenant.RecordObject), func(o *tenant.RecordObject) { o.VM, o.MAC = "web1", web1.MAC })},
			func(q *tenant.Policy) bool { r, ok := q.RecordByIfaceID("web1"); return ok && r.CA == ca("10.0.1.12") }},
		"names swapped": {[]tenant.Change{with(web, func(o *tenant.SubnetObject) { o.Name = "db" }), with(db, func(o *tenant.SubnetObject) { o.Name = "web" })},
			func(q *tenant.Policy) bool { s, _ := q.Subnet(5001); return s.Name == "db" }},
		"PAs swapped": {[]tenant.Change{tenant.Put(tenant.HostObject{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.2")}}}),
			tenant.Put(tenant.HostObject{Name: "h2", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.1")}}})},
			func(q *tenant.Policy) bool { r, _ := q.Record(5001, ca("10.0.1.12")); return r.Host == "h1" }},
		"a routing domain with all in it": {[]tenant.Change{tenant.Delete(tenant.RoutingDomainKey(red)), tenant.Delete(tenant.SubnetKey(6001)), tenant.Delete(tenant.RecordKey(6001, ca("10.0.1.11")))},
			func(q *tenant.Policy) bool { _, ok := q.RoutingDomain(red); return !ok && q.NumRecords() == 3 }},
		"a subnet to another routing domain": {[]tenant.Change{with(db, func(o *tenant.SubnetObject) { o.RDID = red })},
			func(q *tenant.Policy) bool {
				r, ok := q.RecordByVM(red, "db1")
				_, still := q.RecordByVM(blue, "db1")
				return ok && r.RDID == red && !still
			}},
		"nothing": {[]tenant.Change{tenant.Put(web), tenant.Put(web1), tenant.Put(route), tenant.Delete(tenant.HostKey("h9")), tenant.Delete(tenant.GatewayMACKey())},
			func(q *tenant.Policy) bool { return q.Equal(p) }},
		"the customer of a routing domain": {[]tenant.Change{tenant.Put(tenant.RoutingDomainObject{RDID: blue, Name: "blue", Customer: "Contoso"})},
			func(q *tenant.Policy) bool { r, _ := q.Record(5001, ca("10.0.1.12")); return r.Customer == "Contoso" }},
	} {
		for _, changes := range [][]tenant.Change{c.changes, reversed(c.changes)} {
			q, problems := p.Apply(changes, 2)
			if len(problems) > 0 || !c.check(q) || q.Revision() != 2 {
				t.Errorf("%s: %v", name, problems)
			}
		}
	}
}

// TestDefaultNameTaken checks that a name counts whether it is given or a
// default, and whichever comes first.
func TestDefaultNameTaken(t *testing.T) {
	for _, swap := range []bool{false, true} {
		spec := applySpec()
		spec.RoutingDomains[0].Name, spec.RoutingDomains[1].Name = "", blueText
		subnets := spec.RoutingDomains[0].Subnets
		subnets[0].Name, subnets[1].Name = "", "5001"
		if swap {
			slices.Reverse(subnets)
			slices.Reverse(spec.RoutingDomains)
		}
		_, problems := tenant.New(spec, 1)
		if len(problems) != 2 {
			t.Errorf("problems %v, want one of the routing domain's name and one of the subnet's", problems)
		}
	}
}

// TestApplyWhileRead reads a policy and makes others of it at the same time; the
// race detector is the judge.
func TestApplyWhileRead(t *testing.T) {
	const n = 2000
	p := tenanttest.New(t, bigSpec(n, false))
	want := dump(p)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			q := p
			for i := range 100 {
				r := newRecord(n, i*3+w)
				r.CA = ca("10." + string('0'+rune(r.VSID%4)) + ".0.254")
				next, problems := q.Apply([]tenant.Change{tenant.Put(r)}, uint64(i))
				if len(problems) > 0 {
					t.Error(problems)
					return
				}
				if q = next; i%10 == 0 {
					q, _ = q.Apply([]tenant.Change{tenant.Delete(r.Key()), tenant.Put(tenant.HostObject{Name: "h7", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("100.100.0.1")}}})}, 1)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 3 {
				if !cmp.Equal(dump(p), want) {
					t.Error("the policy changes while others are made of it")
				}
			}
		})
	}
	wg.Wait()
}

// TestApplyOnLink gives a subnet, in three ways, a prefix that a route has.
func TestApplyOnLink(t *testing.T) {
	spec := applySpec()
	spec.RoutingDomains[1].Routes = []tenant.RouteSpec{{Prefix: prefix("10.0.2.0/24"), NextHop: ca("10.0.1.20")}}
	p := tenanttest.New(t, spec)
	red := tenant.RDID{15: 6}
	for name, c := range map[string]tenant.Change{
		"a new subnet": with(db, func(o *tenant.SubnetObject) { o.VSID, o.RDID = 7000, red }),
		"another prefix": tenant.Put(tenant.SubnetObject{VSID: 6001, RDID: red,
			Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24"), prefix("10.0.2.0/24")}}),
		"a subnet of another routing domain": with(db, func(o *tenant.SubnetObject) { o.RDID = red }),
	} {
		if _, problems := p.Apply([]tenant.Change{c}, 2); len(problems) != 1 ||
			problems[0].Path != "routes/"+red.String()+"/10.0.2.0/24/0/10.0.1.20/prefix" {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

// TestSource checks that each object says where it came from, until it is put
// from elsewhere.
func TestSource(t *testing.T) {
	spec := goSpec()
	at := func(line int) tenant.Position { return tenant.Position{File: "f.yaml", Line: line, Column: 100 + line} }
	d := &spec.RoutingDomains[0]
	s := &d.Subnets[0]
	d.Routes = []tenant.RouteSpec{{Prefix: prefix("0.0.0.0/0"), NextHop: ca("10.0.1.2"), Source: at(5)}}
	s.Records = append(s.Records, tenant.RecordSpec{VM: "b", CA: ca("10.0.1.3"), MAC: tenant.MAC{2, 5: 2}, Source: tenant.Position{File: "g.yaml", Line: 6, Column: 7}})
	spec.Hosts[0].Source, d.Source, s.Source, s.Records[0].Source = at(1), at(2), at(3), at(4)
	p := tenanttest.New(t, spec)
	h, _ := p.Host("h1")
	rd, _ := p.RoutingDomain(d.RDID)
	sub, _ := p.Subnet(5001)
	a, _ := p.Record(5001, ca("10.0.1.2"))
	b, _ := p.Record(5001, ca("10.0.1.3"))
	route := slices.Collect(p.Routes())[0]
	got := []tenant.Position{h.Source, rd.Source, sub.Source, a.Source, b.Source, route.Source}
	if want := []tenant.Position{at(1), at(2), at(3), at(4), {File: "g.yaml", Line: 6, Column: 7}, at(5)}; !slices.Equal(got, want) {
		t.Errorf("sources %v, want %v", got, want)
	}
	o, _ := p.Object(tenant.RecordKey(5001, ca("10.0.1.3")))
	r := o.(tenant.RecordObject)
	r.MAC[5], r.Source = 9, tenant.Position{}
	q, _ := p.Apply([]tenant.Change{tenant.Put(r)}, 2)
	a, _ = q.Record(5001, ca("10.0.1.2"))
	b, _ = q.Record(5001, ca("10.0.1.3"))
	if a.Source != at(4) || b.Source != (tenant.Position{}) {
		t.Errorf("sources %v and %v after a change of the second record", a.Source, b.Source)
	}
}
