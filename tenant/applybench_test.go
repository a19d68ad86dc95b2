package tenant_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// newRecord returns a record that is not in the policy of bigSpec(n), in one of
// its subnets.
func newRecord(n, i int) tenant.RecordObject {
	k := i * 7919 % n / 250
	return tenant.RecordObject{VSID: tenant.VSID(0x1000 + k), VM: fmt.Sprintf("new-%d", i), IfaceID: fmt.Sprintf("port-%d", i),
		CA:  tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(k % 4), 0, 254})),
		MAC: tenant.MAC{6, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}, Host: fmt.Sprintf("h%d", i%1000)}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 1_000_000} {
		p := tenanttest.New(b, bigSpec(n, false))
		apply := func(b *testing.B, changes func(i int) []tenant.Change) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				cs := changes(i)
				if _, problems := p.Apply(cs, 2); len(problems) > 0 {
					b.Fatal(problems[0])
				}
			}
		}
		b.Run(fmt.Sprintf("add/records=%d", n), func(b *testing.B) {
			apply(b, func(i int) []tenant.Change { return []tenant.Change{tenant.Put(newRecord(n, i))} })
		})
		b.Run(fmt.Sprintf("move/records=%d", n), func(b *testing.B) {
			apply(b, func(i int) []tenant.Change {
				k := i * 7919 % n / 250
				o, _ := p.Object(tenant.RecordKey(tenant.VSID(0x1000+k), tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(k % 4), 0, 7}))))
				r := o.(tenant.RecordObject)
				r.Host = fmt.Sprintf("h%d", i%1000)
				return []tenant.Change{tenant.Put(r)}
			})
		})
		b.Run(fmt.Sprintf("subnet/records=%d", n), func(b *testing.B) {
			apply(b, func(i int) []tenant.Change {
				return []tenant.Change{tenant.Put(tenant.SubnetObject{VSID: 0x800000, RDID: tenant.RDID{15: 1},
					Prefixes: []tenant.CAPrefix{prefix("10.77.0.0/24")}})}
			})
		})
		b.Run(fmt.Sprintf("host PA/records=%d", n), func(b *testing.B) {
			apply(b, func(i int) []tenant.Change {
				return []tenant.Change{tenant.Put(tenant.HostObject{Name: fmt.Sprintf("h%d", i%1000), ProviderAddresses: []tenant.ProviderAddress{{PA: pa("100.100.0.1")}}})}
			})
		})
		b.Run(fmt.Sprintf("diff/records=%d", n), func(b *testing.B) {
			q, _ := p.Apply([]tenant.Change{tenant.Put(newRecord(n, 1))}, 2)
			b.ReportAllocs()
			for b.Loop() {
				found := 0
				for range tenant.Diff(p, q) {
					found++
				}
				if found != 1 {
					b.Fatal(found)
				}
			}
		})
	}
}

// BenchmarkChurn applies changes one after the other, as a store does, each a
// replacement of one of the policy's records.
func BenchmarkChurn(b *testing.B) {
	const n = 1_000_000
	p := tenanttest.New(b, bigSpec(n, false))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := i * 7919 % n / 250
		o, _ := p.Object(tenant.RecordKey(tenant.VSID(0x1000+k), tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(k % 4), 0, byte(2 + i%200)}))))
		r := o.(tenant.RecordObject)
		r.MAC[0] ^= 4
		next, problems := p.Apply([]tenant.Change{tenant.Put(r)}, uint64(i))
		if len(problems) > 0 {
			b.Fatal(problems[0])
		}
		p = next
	}
}

// BenchmarkApplyAll makes a policy of all its objects at once.
func BenchmarkApplyAll(b *testing.B) {
	const n = 100_000
	p := tenanttest.New(b, bigSpec(n, false))
	var changes []tenant.Change
	for o := range p.Objects() {
		changes = append(changes, tenant.Put(o))
	}
	for b.Loop() {
		if _, problems := tenant.Empty().Apply(changes, 1); len(problems) > 0 {
			b.Fatal(problems[0])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}

// BenchmarkMemory measures what a policy holds for each record, without the
// names, which it shares with the spec.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	for _, flat := range []bool{false, true} {
		b.Run(fmt.Sprintf("flat=%t/records=%d", flat, n), func(b *testing.B) {
			spec := bigSpec(n, flat)
			for b.Loop() {
				before := heap()
				p := tenanttest.New(b, spec)
				b.ReportMetric(float64(heap()-before)/n, "B/record")
				runtime.KeepAlive(p)
			}
			runtime.KeepAlive(spec)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkRecords(b *testing.B) {
	const n = 1_000_000
	p := tenanttest.New(b, bigSpec(n, false))
	for b.Loop() {
		found := 0
		for r := range p.Records() {
			found += int(r.MAC[5])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
