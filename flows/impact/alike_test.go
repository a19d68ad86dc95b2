package impact_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// network has one virtual subnet with a VM on each of some hosts.
func network(tb testing.TB, hosts int) *tenant.Policy {
	spec := tenant.Spec{Version: 1}
	n := tenant.SubnetSpec{VSID: 5001, Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(netip.MustParsePrefix("10.0.0.0/24"))}}
	for h := range byte(hosts) {
		name := fmt.Sprint("h", h)
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: name, ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 99, 0, h + 1}))}}})
		n.Records = append(n.Records, tenant.RecordSpec{VM: fmt.Sprint("vm", h), CA: ca(10 + h), MAC: tenant.MAC{2, 5: h}, Host: name})
	}
	spec.RoutingDomains = []tenant.RoutingDomainSpec{{RDID: tenant.RDID{15: 1}, Name: "blue", Subnets: []tenant.SubnetSpec{n}}}
	return tenanttest.New(tb, spec)
}

func ca(n byte) tenant.CA { return tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, 0, n})) }

// Nothing goes from one address of an adapter to another.
func TestSeveralAddresses(t *testing.T) {
	p := network(t, 3)
	there := record(t, p, "vm1")
	there.Host, there.PA = "h0", tenant.PA{} // where vm0 is: nothing tells the two apart
	p = apply(t, p, tenant.Put(there))
	var more []tenant.Change
	for n, iface := range []string{"vm0", "vm1"} {
		r := record(t, p, iface)
		r.CA = ca(100 + byte(n))
		more = append(more, tenant.Put(r))
	}
	q := apply(t, p, more...)
	// Between vm0 and vm1 but for their old addresses, and with vm2.
	const want = 3*2 + 2*2
	if r := planned(p, q, impact.Options{Max: 99}); r.VMs != (impact.Counts{Gained: want}) || len(r.Listed) != want+r.Others.Gained {
		t.Errorf("gained %+v: %+v", r.VMs, r.Listed)
	}
	if r := planned(q, p, impact.Options{Max: 99}); r.VMs != (impact.Counts{Lost: want}) || len(r.Listed) != want+r.Others.Lost {
		t.Errorf("lost %+v: %+v", r.VMs, r.Listed)
	}
}

// What is sent to a prefix reaches all addresses of its next hop's adapter.
func TestNextHopWithSeveralAddresses(t *testing.T) {
	p := network(t, 3)
	r := record(t, p, "vm0")
	r.CA = ca(100)
	route := tenant.RouteObject{RDID: tenant.RDID{15: 1}, NextHop: ca(100), Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix("10.0.0.8/29"))}
	p = apply(t, p, tenant.Put(r), tenant.Put(route))
	// Of 10.0.0.10 to 10.0.0.12 only the first is of the next hop.
	q := apply(t, p, tenant.Delete(r.Key()))
	// Lost are 10.0.0.100 with both others, and the way to 10.0.0.10.
	if got := planned(p, q, impact.Options{}); got.VMs != (impact.Counts{Lost: 2 + 2}) {
		t.Errorf("%+v: %+v", got.VMs, got.Listed)
	}
}

// Which of its addresses a host uses is another matter for each of its peers.
func TestAnotherProviderAddress(t *testing.T) {
	const hosts = 9
	p := network(t, hosts)
	h, _ := p.Host("h0")
	q := apply(t, p, tenant.Put(tenant.HostObject{Name: h.Name,
		ProviderAddresses: append(h.ProviderAddresses[:1:1], tenant.ProviderAddress{PA: tenant.PAFrom(netip.MustParseAddr("10.99.1.1"))})}))
	was, _ := p.Host("h0")
	is, _ := q.Host("h0")
	want := 0
	for n := range hosts - 1 {
		peer, _ := p.Host(fmt.Sprint("h", n+1))
		a, _, _ := tenant.Path(&was, &peer)
		b, _, _ := tenant.Path(&is, &peer)
		if a != b {
			want += 2 // both ways
		}
	}
	if want == 0 || want == 2*(hosts-1) {
		t.Fatalf("%d pairs change: all or none", want)
	}
	if r := planned(p, q, impact.Options{}); r.VMs != (impact.Counts{Changed: want, Path: want}) {
		t.Errorf("%+v, want %d", r.VMs, want)
	}
}
