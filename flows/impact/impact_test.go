package impact_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

func routed(t *testing.T) *tenant.Policy {
	t.Helper()
	p, err := policyfile.Load("../testdata/routed.yaml", 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, p *tenant.Policy, changes ...tenant.Change) *tenant.Policy {
	t.Helper()
	q, problems := p.Apply(changes, p.Revision()+1)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return q
}

func record(t testing.TB, p *tenant.Policy, iface string) tenant.RecordObject {
	t.Helper()
	r, ok := p.RecordByIfaceID(iface)
	if !ok {
		t.Fatalf("no VM %s", iface)
	}
	o, _ := p.Object(tenant.RecordKey(r.VSID, r.CA))
	return o.(tenant.RecordObject)
}

func planned(p, q *tenant.Policy, o impact.Options) *impact.Report {
	b, a := impact.PlannedStep(p, q)
	return impact.Between(b, a, o)
}

// What single changes of flows/testdata/routed.yaml do.
func TestChanges(t *testing.T) {
	p := routed(t)
	blue, _ := p.RecordByIfaceID("web1")
	var vms int // of its routing domain
	for s := range p.SubnetsOf(blue.RDID) {
		for range p.RecordsOf(s.VSID) {
			vms++
		}
	}
	moved := record(t, p, "web1")
	moved.Host, moved.PA = "h3", tenant.PA{}
	other := record(t, p, "web1")
	other.MAC = tenant.MAC{2, 7, 7, 7, 7, 7}
	var fallback, detour tenant.Change
	for r := range p.RoutesOf(blue.RDID) {
		if r.Prefix.Prefix().Bits() == 0 {
			fallback = tenant.Delete(tenant.RouteObject{RDID: r.RDID, Prefix: r.Prefix, Metric: r.Metric, NextHop: r.NextHop}.Key())
		}
	}
	web2, _ := p.RecordByIfaceID("web2")
	fw, _ := p.RecordByIfaceID("fw")
	detour = tenant.Put(tenant.RouteObject{RDID: blue.RDID, NextHop: fw.CA, Prefix: tenant.CAPrefixFrom(netip.PrefixFrom(web2.CA.Addr(), 32))})
	own := tenant.Put(tenant.RouteObject{RDID: blue.RDID, NextHop: web2.CA, Prefix: tenant.CAPrefixFrom(netip.PrefixFrom(web2.CA.Addr(), 32))})
	subnet := 0
	for range p.RecordsOf(web2.VSID) {
		subnet++
	}
	for name, c := range map[string]struct {
		change tenant.Change
		vms    impact.Counts
		others impact.Counts // 0 where not looked at
		flows  bool
	}{
		"a VM goes":             {tenant.Delete(record(t, p, "web1").Key()), impact.Counts{Lost: 2 * (vms - 1)}, impact.Counts{}, true},
		"a VM moves":            {tenant.Put(moved), impact.Counts{Changed: 2 * (vms - 1), Path: 2 * (vms - 1)}, impact.Counts{}, true},
		"another MAC":           {tenant.Put(other), impact.Counts{Changed: vms - 1 + subnet - 1, MAC: vms - 1 + subnet - 1}, impact.Counts{}, true},
		"no default route":      {fallback, impact.Counts{}, impact.Counts{Lost: vms - 1}, true},
		"a route in the way":    {detour, impact.Counts{Lost: vms - 1}, impact.Counts{}, true},
		"a route that routes":   {own, impact.Counts{Changed: subnet - 1, TTL: subnet - 1, MAC: subnet - 1}, impact.Counts{}, true},
		"a name":                {tenant.Put(tenant.RoutingDomainObject{RDID: blue.RDID, Name: "azure"}), impact.Counts{}, impact.Counts{}, false},
		"a host without any VM": {tenant.Put(tenant.HostObject{Name: "h77", ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.MustParseAddr("10.99.7.7"))}}}), impact.Counts{}, impact.Counts{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := planned(p, apply(t, p, c.change), impact.Options{Max: 3})
			if r.VMs != c.vms {
				t.Errorf("%+v, want %+v", r.VMs, c.vms)
			}
			if !c.others.IsZero() && r.Others != c.others {
				t.Errorf("others %+v, want %+v: %+v", r.Others, c.others, r.Destinations)
			}
			if (len(r.Flows) > 0) != c.flows {
				t.Errorf("flows %v", r.Flows)
			}
		})
	}
}

// A VM that is named may lose, and be lost.
func TestBreaches(t *testing.T) {
	p := routed(t)
	q := apply(t, p, tenant.Delete(record(t, p, "web2").Key()))
	named := func(names ...string) func(*tenant.LookupRecord) bool {
		return func(r *tenant.LookupRecord) bool { return slices.Contains(names, r.IfaceID) }
	}
	all := planned(p, q, impact.Options{Max: 2})
	if all.Breaches == 0 || all.Breaches != all.VMs.Lost+all.Others.Lost || len(all.Listed) != 2 {
		t.Errorf("%+v", all)
	}
	if r := planned(p, q, impact.Options{AllowLoss: named("web2")}); r.Breaches != 0 || r.VMs != all.VMs {
		t.Errorf("%d breaches", r.Breaches)
	}
	if r := planned(p, q, impact.Options{AllowLoss: named("web1")}); r.Breaches != all.Breaches-2 {
		t.Errorf("%d breaches, want %d", r.Breaches, all.Breaches-2)
	}
}

// A VM that is not where the record of the policy comes to have it is lost.
func TestAttachedElsewhere(t *testing.T) {
	p := routed(t)
	moved := record(t, p, "web1")
	moved.Host, moved.PA = "h3", tenant.PA{}
	q := apply(t, p, tenant.Put(moved))
	b, a := impact.AttachedStep(p, q, impact.Planned(p).Views)
	if r := impact.Between(b, a, impact.Options{}); r.VMs.Lost == 0 || r.VMs.Changed+r.VMs.Gained != 0 {
		t.Errorf("%+v", r.VMs)
	}
}

// large has one routing domain of 10,000 VMs in 40 subnets on 100 hosts.
func large(tb testing.TB) *tenant.Policy {
	spec := tenant.Spec{Version: 1}
	for h := range 100 {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%d", h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{192, 168, 0, byte(h + 1)}))}}})
	}
	rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: 1}, Name: "big"}
	for s := range 40 {
		n := tenant.SubnetSpec{VSID: uint32(5000 + s), Prefixes: []tenant.CAPrefix{
			tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 0}), 16))}}
		for i := range 250 {
			n.Records = append(n.Records, tenant.RecordSpec{VM: fmt.Sprintf("vm%d-%d", s, i), Host: fmt.Sprintf("h%d", (s*7+i)%100),
				CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(s), 1, byte(i + 2)})), MAC: tenant.MAC{2, 0, 0, byte(s), 0, byte(i)}})
		}
		rd.Subnets = append(rd.Subnets, n)
	}
	spec.RoutingDomains = append(spec.RoutingDomains, rd)
	return tenanttest.New(tb, spec)
}

// Ten thousand VMs are a hundred million pairs.
func BenchmarkBetween(b *testing.B) {
	p := large(b)
	moved := record(b, p, "vm3-7")
	moved.Host = "h50"
	ids := slices.Collect(p.RoutingDomains())
	hop := record(b, p, "vm0-0").CA
	for _, c := range []struct {
		name   string
		change tenant.Change
		want   impact.Counts
	}{
		{"record", tenant.Put(moved), impact.Counts{Changed: 2 * 9999, Path: 2 * 9999}},
		{"gateway MAC", tenant.Put(tenant.GatewayMAC{MAC: tenant.MAC{2, 9, 9, 9, 9, 9}}), impact.Counts{Changed: 10000 * 9750, MAC: 10000 * 9750}},
		{"route", tenant.Put(tenant.RouteObject{RDID: ids[0].RDID, Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix("10.5.1.0/24")), NextHop: hop}), impact.Counts{Lost: 9999 * 250}},
		{"provider address", tenant.Put(tenant.HostObject{Name: "h9", ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.MustParseAddr("192.168.7.7"))}}}), impact.Counts{}},
	} {
		b.Run(c.name, func(b *testing.B) {
			q := apply(b, p, c.change)
			before, after := impact.PlannedStep(p, q)
			b.ReportAllocs()
			for b.Loop() {
				r := impact.Between(before, after, impact.Options{Max: 20})
				if !c.want.IsZero() && r.VMs != c.want {
					b.Fatalf("%+v, want %+v", r.VMs, c.want)
				}
			}
		})
	}
}
