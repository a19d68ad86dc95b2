package flows_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// randomSpec draws a policy of a few tenants whose addresses overlap.
func randomSpec(t *rapid.T) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	hosts := rapid.IntRange(1, 4).Draw(t, "hosts")
	for h := range hosts {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%d", h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(h + 1)}))}}})
	}
	vsid := uint32(5000)
	for d := range rapid.IntRange(1, 3).Draw(t, "domains") {
		rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: byte(d + 1)}, Name: fmt.Sprintf("rd%d", d)}
		for s := range rapid.IntRange(1, 3).Draw(t, "subnets") {
			vsid++
			subnet := tenant.SubnetSpec{VSID: vsid, Prefixes: []tenant.CAPrefix{
				tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(s), 0}), 24))}}
			for r := range rapid.IntRange(0, 4).Draw(t, "records") {
				rec := tenant.RecordSpec{VM: fmt.Sprintf("vm%d-%d", s, r), IfaceID: fmt.Sprintf("%d-%d-%d", d, s, r),
					CA:  tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, byte(s), byte(r + 5)})),
					MAC: tenant.MAC{2, 0, 0, 0, byte(s), byte(r)}}
				if h := rapid.IntRange(-1, hosts-1).Draw(t, "host"); h >= 0 {
					rec.Host = spec.Hosts[h].Name
				}
				subnet.Records = append(subnet.Records, rec)
			}
			rd.Subnets = append(rd.Subnets, subnet)
		}
		if recs := rd.Subnets[0].Records; len(recs) > 0 && rapid.Bool().Draw(t, "route") {
			rd.Routes = append(rd.Routes, tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix("0.0.0.0/0")), NextHop: recs[0].CA})
		}
		spec.RoutingDomains = append(spec.RoutingDomains, rd)
	}
	return spec
}

// For any policy and any attachments: the flows are declared, in order, one for
// each entry, and do not depend on the order in which anything was seen.
func TestCompileLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, problems := tenant.New(randomSpec(t), 1)
		if len(problems) > 0 {
			t.Fatalf("the random policy is not valid: %v", problems)
		}
		seen := map[string][]flows.Attachment{}
		port := uint32(100)
		for r := range p.Records() {
			if !rapid.Bool().Draw(t, "attached") {
				continue
			}
			h := r.Host
			if h == "" {
				h = "h0"
			}
			port++
			seen[h] = append(seen[h], flows.Attachment{IfaceID: r.IfaceID, OFPort: port})
		}
		place, _ := flows.Place(p, seen)
		for h := range p.Hosts() {
			view := flows.HostView{Name: h.Name, Tunnels: flows.TunnelPorts{Flow: 1}, Attachments: seen[h.Name]}
			res := flows.Compile(p, place, view)
			if len(res.Conflicts)+len(res.Problems) > 0 {
				t.Fatalf("conflicts %v, problems %v", res.Conflicts, res.Problems)
			}
			for i := range res.Flows {
				f := &res.Flows[i]
				if err := flows.Check(f); err != nil {
					t.Fatal(err)
				}
				if i > 0 && flow.Compare(&res.Flows[i-1], f) >= 0 {
					t.Fatalf("out of order or twice: %s", f.Text())
				}
				if !slices.IsSortedFunc(f.Match, func(a, b flow.Test) int { return int(a.Field) - int(b.Field) }) {
					t.Fatalf("not canonical: %s", f.Text())
				}
			}
			view.Attachments = rapid.Permutation(slices.Clone(view.Attachments)).Draw(t, "order")
			again := flows.Compile(p, place, view)
			if !slices.EqualFunc(res.Flows, again.Flows, func(f, g flow.Flow) bool { return f.Equal(&g) }) {
				t.Fatal("the order of attachments changes the flows")
			}
			// One flow for each CA, and only of domains that are here.
			want := 0
			for _, id := range res.Domains {
				for s := range p.SubnetsOf(id) {
					want += len(s.Gateways)
					for range p.RecordsOf(s.VSID) {
						want++
					}
				}
			}
			got := 0
			for _, f := range res.Flows {
				if flows.TableName(f.Table) == "ca" && len(f.Match) == 5 {
					got++
				}
			}
			if got != want {
				t.Fatalf("%d CA flows, want %d", got, want)
			}
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			p := bigPolicy(b, n)
			view := flows.HostView{Name: "h0", Tunnels: flows.TunnelPorts{Flow: 1}}
			for r := range p.Records() {
				if r.Host == "h0" {
					view.Attachments = append(view.Attachments, flows.Attachment{IfaceID: r.IfaceID, OFPort: uint32(100 + len(view.Attachments))})
				}
				if len(view.Attachments) == 200 {
					break
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				flows.Compile(p, flows.Placement{}, view)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// bigPolicy has n records in one routing domain, 250 to a subnet, on ten hosts.
func bigPolicy(tb testing.TB, n int) *tenant.Policy {
	tb.Helper()
	spec := tenant.Spec{Version: 1}
	for h := range 10 {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%d", h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{192, 168, 0, byte(h + 1)}))}}})
	}
	rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: 1}, Name: "big"}
	for i := range n {
		s, r := i/250, i%250
		if r == 0 {
			rd.Subnets = append(rd.Subnets, tenant.SubnetSpec{VSID: uint32(5000 + s), Prefixes: []tenant.CAPrefix{
				tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s >> 8), byte(s), 0}), 24))}})
		}
		subnet := &rd.Subnets[s]
		subnet.Records = append(subnet.Records, tenant.RecordSpec{VM: fmt.Sprintf("vm%d", i), Host: fmt.Sprintf("h%d", i%10),
			CA:  tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(s >> 8), byte(s), byte(r + 2)})),
			MAC: tenant.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}})
	}
	spec.RoutingDomains = []tenant.RoutingDomainSpec{rd}
	p, problems := tenant.New(spec, 1)
	if len(problems) > 0 {
		tb.Fatal(problems[0])
	}
	return p
}
