package tenant_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// bigSpec returns a sound spec of n records: domains of 4 subnets of 250 VMs,
// on 1,000 hosts, or one domain with one subnet where flat.
func bigSpec(n int, flat bool) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	for i := range 1000 {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%d", i),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}))}}})
	}
	perSubnet, perDomain := 250, 4
	if flat {
		perSubnet, perDomain = n, 1
	}
	var d *tenant.RoutingDomainSpec
	var s *tenant.SubnetSpec
	for i := range n {
		if i%(perSubnet*perDomain) == 0 {
			k := i/(perSubnet*perDomain) + 1
			spec.RoutingDomains = append(spec.RoutingDomains, tenant.RoutingDomainSpec{
				RDID: tenant.RDID{12: byte(k >> 24), 13: byte(k >> 16), 14: byte(k >> 8), 15: byte(k)}})
			d = &spec.RoutingDomains[len(spec.RoutingDomains)-1]
		}
		if i%perSubnet == 0 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(len(d.Subnets)), 0, 0}), 24)
			if flat {
				p = netip.MustParsePrefix("10.0.0.0/8")
			}
			d.Subnets = append(d.Subnets, tenant.SubnetSpec{VSID: uint32(0x1000 + i/perSubnet), Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(p)},
				Records: make([]tenant.RecordSpec, 0, min(perSubnet, n-i))})
			s = &d.Subnets[len(d.Subnets)-1]
		}
		k := i%perSubnet + 2
		a := s.Prefixes[0].Prefix().Addr().As4()
		a[1] += byte(k >> 16)
		a[2], a[3] = byte(k>>8), byte(k)
		s.Records = append(s.Records, tenant.RecordSpec{VM: fmt.Sprintf("vm-%d", i), CA: tenant.CAFrom(netip.AddrFrom4(a)),
			MAC: tenant.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}, Host: spec.Hosts[i%1000].Name})
	}
	return spec
}

func BenchmarkNew(b *testing.B) {
	for _, flat := range []bool{false, true} {
		for _, n := range []int{10_000, 100_000, 1_000_000} {
			b.Run(fmt.Sprintf("flat=%t/records=%d", flat, n), func(b *testing.B) {
				spec := bigSpec(n, flat)
				b.ReportAllocs()
				b.ResetTimer()
				for b.Loop() {
					p, problems := tenant.New(spec, 1)
					if len(problems) > 0 {
						b.Fatal(problems[0])
					}
					if p.NumRecords() != n {
						b.Fatal(p.NumRecords())
					}
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/record")
			})
		}
	}
}
