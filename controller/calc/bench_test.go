package calc_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// A cloud for benchmarks: routing domains of 500 records in two subnets, each on
// ten hosts; up to 1,000 hosts, each with 20 of 2,000 routing domains.
const (
	perDomain = 500
	perSubnet = 250
	hostsEach = 10
)

func cloudHosts(records int) int { return max(records/1000, hostsEach) }

func hostOf(domain, record, hosts int) int {
	return (domain + record%hostsEach*max(hosts/hostsEach, 1)) % hosts
}

func hostName(i int) string { return fmt.Sprintf("host-%d", i) }

func cloud(tb testing.TB, records int) *tenant.Policy {
	spec := tenant.Spec{Version: 1}
	hosts := cloudHosts(records)
	for h := range hosts {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: hostName(h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{192, 168, byte(h >> 8), byte(h)}).Next())}}})
	}
	for d := range records / perDomain {
		rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{0: 1, 12: byte(d >> 24), 13: byte(d >> 16), 14: byte(d >> 8), 15: byte(d)}, Name: fmt.Sprint("rd", d)}
		for s := range perDomain / perSubnet {
			subnet := tenant.SubnetSpec{VSID: uint32(0x1000 + d*perDomain/perSubnet + s), Prefixes: []tenant.CAPrefix{
				tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(s), 0}), 24))}}
			for r := range perSubnet {
				i := s*perSubnet + r
				subnet.Records = append(subnet.Records, tenant.RecordSpec{VM: fmt.Sprintf("vm-%d-%d", d, i), Host: hostName(hostOf(d, i, hosts)),
					CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, byte(s), byte(r + 2)})), MAC: tenant.MAC{2, 0, byte(d >> 8), byte(d), byte(s), byte(r)}})
			}
			rd.Subnets = append(rd.Subnets, subnet)
		}
		spec.RoutingDomains = append(spec.RoutingDomains, rd)
	}
	return tenanttest.New(tb, spec)
}

// inputs attaches so many VMs of each routing domain to each host that has any.
func inputs(p *tenant.Policy, records, vms int) map[string]calc.Input {
	in := make(map[string]calc.Input)
	hosts := cloudHosts(records)
	for d := range records / perDomain {
		for n := range vms * hostsEach {
			name := hostName(hostOf(d, n, hosts))
			i := in[name]
			i.Tunnels.Flow = 1
			i.Attachments = append(i.Attachments, flows.Attachment{IfaceID: fmt.Sprintf("vm-%d-%d", d, n), OFPort: uint32(100 + len(i.Attachments))})
			in[name] = i
		}
	}
	return in
}

func engineOf(p *tenant.Policy, in map[string]calc.Input) *calc.Engine {
	e := calc.New(calc.Options{})
	for name, i := range in {
		e.SetHost(name, i)
	}
	e.SetPolicy(p)
	return e
}

var sizes = []int{1_000, 100_000, 1_000_000}

// One record is added and deleted by turns, in a routing domain that ten hosts
// hold. It must not cost more where there are more records.
func BenchmarkRecord(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			p := cloud(b, n)
			e := engineOf(p, inputs(p, n, 1))
			e.Flush()
			q, problems := p.Apply([]tenant.Change{tenant.Put(tenant.RecordObject{VSID: 0x1001, CA: tenant.CAFrom(netip.MustParseAddr("10.0.1.254")),
				VM: "new", MAC: tenant.MAC{2, 0xff, 0, 0, 0, 1}, Host: hostName(0)})}, 2)
			if len(problems) > 0 {
				b.Fatal(problems)
			}
			both := []*tenant.Policy{q, p}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				e.SetPolicy(both[i%2])
				i++
				if us := e.Flush(); len(us) != hostsEach {
					b.Fatalf("%d updates", len(us))
				}
			}
		})
	}
}

// A VM is attached to a host with so many others, and detached, by turns.
func BenchmarkAttach(b *testing.B) {
	for _, vms := range []int{10, 1_000} {
		b.Run(fmt.Sprintf("vms=%d", vms), func(b *testing.B) {
			p := cloud(b, 100_000)
			name := hostName(3)
			host := inputs(p, 100_000, 50)[name]
			host.Attachments = host.Attachments[:min(vms, len(host.Attachments))]
			e := engineOf(p, map[string]calc.Input{name: host})
			e.Flush()
			fewer := host
			fewer.Attachments = slices.Delete(slices.Clone(host.Attachments), len(host.Attachments)/2, len(host.Attachments)/2+1)
			both := []calc.Input{fewer, host}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				e.SetHost(name, both[i%2])
				i++
				if us := e.Flush(); len(us) != 1 {
					b.Fatalf("%d updates", len(us))
				}
			}
			b.ReportMetric(float64(len(host.Attachments)), "VMs")
		})
	}
}

// All is compiled for the first time: every routing domain, for all hosts.
func BenchmarkFirst(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			p := cloud(b, n)
			in := inputs(p, n, 1)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var e *calc.Engine
			updates := 0
			for b.Loop() {
				e = engineOf(p, in)
				updates = len(e.Flush())
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			domains, count := e.Blocks()
			own := 0
			for name := range in {
				u, _ := e.Current(name)
				own += u.Want.Len()
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
			b.ReportMetric(float64(count), "flows-in-blocks")
			b.ReportMetric(float64(domains), "domains")
			b.ReportMetric(float64(updates), "hosts")
			b.ReportMetric(float64(own)/float64(updates), "flows/host")
			runtime.KeepAlive(p)
		})
	}
}
