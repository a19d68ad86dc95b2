package tenant_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

func prefix(s string) tenant.CAPrefix { return tenant.CAPrefixFrom(netip.MustParsePrefix(s)) }
func ca(s string) tenant.CA           { return tenant.CAFrom(netip.MustParseAddr(s)) }
func pa(s string) tenant.PA           { return tenant.PAFrom(netip.MustParseAddr(s)) }

// goSpec returns a sound spec that no file was read for.
func goSpec() tenant.Spec {
	return tenant.Spec{
		Version: 1,
		Hosts:   []tenant.HostSpec{{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.1")}}}},
		RoutingDomains: []tenant.RoutingDomainSpec{{RDID: tenant.RDID{15: 1}, Subnets: []tenant.SubnetSpec{{
			VSID: 5001, Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")},
			Records: []tenant.RecordSpec{{VM: "a", CA: ca("10.0.1.2"), MAC: tenant.MAC{2, 5: 1}, PA: pa("10.99.0.1")}},
		}}}},
	}
}

// TestNewFromGo checks what the parsers of a file refuse before New sees it.
func TestNewFromGo(t *testing.T) {
	tenanttest.New(t, goSpec())
	for _, c := range []struct {
		change func(s *tenant.Spec, r *tenant.RecordSpec)
		want   string
	}{
		{func(s *tenant.Spec, r *tenant.RecordSpec) { r.MAC[0] = 1 },
			"routing_domains[0].subnets[0].records[0].mac: MAC 01:00:00:00:00:01 is a group (multicast) address: want the unicast MAC of the VM's network adapter"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { s.GatewayMAC[0] = 1 },
			"gateway_mac: MAC 01:00:00:00:00:00 is a group (multicast) address: want a unicast address"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { r.CA = ca("224.0.0.1") },
			"routing_domains[0].subnets[0].records[0].ca: CA 224.0.0.1 is no unicast address: want the address of one machine"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { s.Hosts[0].ProviderAddresses[0].PA = pa("0.0.0.0") },
			"hosts[0].provider_addresses[0]: PA 0.0.0.0 is no unicast address: want the address of one machine"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) {
			s.RoutingDomains[0].Subnets[0].Prefixes[0] = tenant.CAPrefix{}
		},
			"routing_domains[0].subnets[0].prefixes[0]: is missing: want a prefix such as 10.0.1.0/24"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { r.VM = "\xff" },
			`routing_domains[0].subnets[0].records[0].vm: the VM's name "\xff" is not UTF-8: want text`},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { *r = tenant.RecordSpec{Unread: tenant.AllFields} },
			"routing_domains[0].subnets[0].records[0]: could not be read: want a readable value"},
		{func(s *tenant.Spec, r *tenant.RecordSpec) { s.Unread = tenant.FieldHosts },
			"policy: could not be read: want a readable value"},
	} {
		spec := goSpec()
		c.change(&spec, &spec.RoutingDomains[0].Subnets[0].Records[0])
		p, problems := tenant.New(spec, 1)
		if p != nil || len(problems) != 1 || problems[0].String() != c.want {
			t.Errorf("got %v %v, want\n%s", p, problems, c.want)
		}
	}
}

func TestProblemString(t *testing.T) {
	p := tenant.Problem{Path: "a", Message: "b", Related: []string{"c", "d"}}
	if got := p.String(); got != "a: b (see c, d)" {
		t.Error(got)
	}
}

// TestPointToPoint checks a /31, which has no network and no broadcast address.
func TestPointToPoint(t *testing.T) {
	spec := goSpec()
	s := &spec.RoutingDomains[0].Subnets[0]
	s.Prefixes[0] = prefix("10.0.1.2/31")
	s.Records[0].CA = ca("10.0.1.3")
	p := tenanttest.New(t, spec)
	if got, _ := p.Subnet(5001); got.Gateways[0] != ca("10.0.1.2") {
		t.Errorf("gateway %s, want 10.0.1.2", got.Gateways[0])
	}
}

// TestOverlapReported checks that each prefix that shares an address with
// another of its routing domain takes part in a problem, and no other does.
func TestOverlapReported(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := tenant.Spec{Version: 1, RoutingDomains: []tenant.RoutingDomainSpec{{RDID: tenant.RDID{15: 1}}}}
		d := &spec.RoutingDomains[0]
		var all []tenant.CAPrefix
		var paths []string
		for i := range rapid.IntRange(1, 6).Draw(t, "subnets") {
			s := tenant.SubnetSpec{VSID: uint32(5000 + i)}
			for j := range rapid.IntRange(1, 3).Draw(t, "prefixes") {
				p := prefix(fmt.Sprintf("10.%d.%d.0/%d", rapid.IntRange(0, 3).Draw(t, "a"), rapid.IntRange(0, 3).Draw(t, "b"), rapid.IntRange(14, 25).Draw(t, "len")))
				s.Prefixes = append(s.Prefixes, p)
				all = append(all, p)
				paths = append(paths, fmt.Sprintf("routing_domains[0].subnets[%d].prefixes[%d]", i, j))
			}
			d.Subnets = append(d.Subnets, s)
		}
		_, problems := tenant.New(spec, 1)
		named := map[string]bool{}
		for _, p := range problems {
			if !strings.Contains(p.Message, "share no address") {
				t.Fatal(p)
			}
			named[p.Path] = true
			for _, r := range p.Related {
				named[r] = true
			}
		}
		for i, p := range all {
			overlaps := false
			for j, q := range all {
				overlaps = overlaps || i != j && p.Overlaps(q)
			}
			if overlaps != named[paths[i]] {
				t.Fatalf("%s %s: overlaps %v, named %v by %v", paths[i], p, overlaps, named[paths[i]], problems)
			}
		}
	})
}

// TestPolicyOrder checks that a policy hangs on what its spec says and not on
// the order in which it says it, and that every accessor tells the same.
func TestPolicyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := tenantgen.Spec(t)
		p, problems := tenant.New(spec, 1)
		if len(problems) > 0 {
			t.Fatalf("the generated spec has problems: %v", problems)
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		shuffle(rng, spec.Hosts)
		shuffle(rng, spec.RoutingDomains)
		for i := range spec.RoutingDomains {
			shuffle(rng, spec.RoutingDomains[i].Subnets)
			shuffle(rng, spec.RoutingDomains[i].Routes)
			for j := range spec.RoutingDomains[i].Subnets {
				shuffle(rng, spec.RoutingDomains[i].Subnets[j].Records)
			}
		}
		q, problems := tenant.New(spec, 2)
		if len(problems) > 0 {
			t.Fatalf("another order has problems: %v", problems)
		}
		if !p.Equal(q) {
			t.Fatal("another order makes another policy")
		}
		checkAccessors(t, q, spec)
	})
}

func shuffle[T any](rng *rand.Rand, s []T) {
	rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
}

func checkAccessors(t *rapid.T, p *tenant.Policy, spec tenant.Spec) {
	records, routes := 0, 0
	for _, d := range spec.RoutingDomains {
		for _, s := range d.Subnets {
			got, ok := p.Subnet(tenant.VSID(s.VSID))
			if !ok || got.RDID != d.RDID || !slices.Equal(got.Prefixes, s.Prefixes) {
				t.Fatalf("Subnet(%d) = %+v", s.VSID, got)
			}
			records += len(s.Records)
			of := slices.Collect(p.RecordsOf(tenant.VSID(s.VSID)))
			if len(of) != len(s.Records) || !slices.IsSortedFunc(of, func(a, b tenant.LookupRecord) int { return a.Key().Compare(b.Key()) }) {
				t.Fatalf("RecordsOf(%d) = %v", s.VSID, of)
			}
			for _, r := range of {
				by := slices.Collect(p.RecordsByIfaceID(r.IfaceID))
				if !slices.ContainsFunc(by, func(q tenant.LookupRecord) bool { return reflect.DeepEqual(q, r) }) {
					t.Fatalf("RecordsByIfaceID(%q) = %+v, want %+v", r.IfaceID, by, r)
				}
			}
		}
		if of := slices.Collect(p.SubnetsOf(d.RDID)); len(of) != len(d.Subnets) {
			t.Fatalf("SubnetsOf(%s) = %v", d.RDID, of)
		}
		routes += len(d.Routes)
		if of := slices.Collect(p.RoutesOf(d.RDID)); len(of) != len(d.Routes) {
			t.Fatalf("RoutesOf(%s) = %v", d.RDID, of)
		}
		if got, ok := p.RoutingDomain(d.RDID); !ok || got.Customer != d.Customer {
			t.Fatalf("RoutingDomain(%s) = %+v", d.RDID, got)
		}
	}
	for _, h := range spec.Hosts {
		if got, ok := p.Host(h.Name); !ok || got.Name != h.Name || len(got.ProviderAddresses) != len(h.ProviderAddresses) {
			t.Fatalf("Host(%q) = %+v", h.Name, got)
		}
	}
	if p.NumRecords() != records || len(slices.Collect(p.Records())) != records || len(slices.Collect(p.Routes())) != routes {
		t.Fatalf("%d records and %d routes, want %d and %d", p.NumRecords(), len(slices.Collect(p.Routes())), records, routes)
	}
}

// TestEqual changes each part of a spec and expects another policy.
func TestEqual(t *testing.T) {
	base := tenanttest.New(t, goSpec())
	for i, change := range []func(s *tenant.Spec, d *tenant.RoutingDomainSpec, n *tenant.SubnetSpec, r *tenant.RecordSpec){
		func(s *tenant.Spec, _ *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			s.GatewayMAC = tenant.MAC{2, 5: 9}
		},
		func(s *tenant.Spec, _ *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			s.Hosts[0].ProviderAddresses = append(s.Hosts[0].ProviderAddresses, tenant.ProviderAddress{PA: pa("10.99.0.2")})
		},
		func(s *tenant.Spec, _ *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			s.Hosts[0].OVSDB = "unix:/db.sock"
		},
		func(_ *tenant.Spec, d *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			d.Name = "blue"
		},
		func(_ *tenant.Spec, d *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			d.Routes = []tenant.RouteSpec{{Prefix: prefix("0.0.0.0/0"), NextHop: ca("10.0.1.2")}}
		},
		func(_ *tenant.Spec, _ *tenant.RoutingDomainSpec, n *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			n.Gateways = []tenant.CA{ca("10.0.1.254")}
		},
		func(_ *tenant.Spec, _ *tenant.RoutingDomainSpec, n *tenant.SubnetSpec, _ *tenant.RecordSpec) {
			n.Name = "web"
		},
		func(_ *tenant.Spec, _ *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, r *tenant.RecordSpec) {
			r.CA = ca("10.0.1.3")
		},
		func(_ *tenant.Spec, _ *tenant.RoutingDomainSpec, _ *tenant.SubnetSpec, r *tenant.RecordSpec) {
			r.PA = tenant.PA{}
		},
	} {
		spec := goSpec()
		d := &spec.RoutingDomains[0]
		change(&spec, d, &d.Subnets[0], &d.Subnets[0].Records[0])
		if base.Equal(tenanttest.New(t, spec)) {
			t.Errorf("change %d makes no difference", i)
		}
	}
	spec := goSpec()
	spec.RoutingDomains[0].Subnets[0].Records[0].Source.Line = 7
	if !base.Equal(tenanttest.New(t, spec)) {
		t.Error("a record in another line makes a difference")
	}
}
