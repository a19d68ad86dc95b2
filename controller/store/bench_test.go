package store

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// million returns the changes that make a policy of n records: subnets of 250,
// 4 to a routing domain, on 1,000 hosts.
func million(n int) []tenant.Change {
	var out []tenant.Change
	for i := range 1000 {
		out = append(out, tenant.Put(tenant.HostObject{Name: fmt.Sprintf("h%d", i),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)}))}}}))
	}
	for i := range n {
		subnet, domain := i/250, i/1000+1
		rdid := tenant.RDID{13: byte(domain >> 16), 14: byte(domain >> 8), 15: byte(domain)}
		if i%1000 == 0 {
			out = append(out, tenant.Put(tenant.RoutingDomainObject{RDID: rdid}))
		}
		if i%250 == 0 {
			out = append(out, tenant.Put(tenant.SubnetObject{VSID: tenant.VSID(0x1000 + subnet), RDID: rdid,
				Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(subnet % 4), 0, 0}), 24))}}))
		}
		out = append(out, tenant.Put(bigRecord(i, 0)))
	}
	return out
}

func bigRecord(i, host int) tenant.RecordObject {
	subnet := i / 250
	return tenant.RecordObject{VSID: tenant.VSID(0x1000 + subnet), VM: fmt.Sprintf("vm-%d", i), Host: fmt.Sprintf("h%d", (i+host)%1000),
		CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(subnet % 4), 0, byte(i%250 + 2)})), MAC: tenant.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}}
}

// BenchmarkLoad stores policies in one staged apply and loads them.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s, _ := start(b, embeddedIn(b.TempDir()))
			changes := million(n)
			began := time.Now()
			if _, err := s.Apply(b.Context(), changes, ApplyOptions{}); err != nil {
				b.Fatal(err)
			}
			applied := time.Since(began)
			changes = nil
			s.state.Store(&state{tenant.Empty(), s.state.Load().head})
			var l *loaded
			for b.Loop() {
				var err error
				if l, err = s.load(b.Context()); err != nil || l.policy.NumRecords() != n {
					b.Fatal(err)
				}
			}
			var with, without runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&with)
			runtime.KeepAlive(l)
			l = nil
			runtime.GC()
			runtime.ReadMemStats(&without)
			b.ReportMetric((float64(with.HeapAlloc)-float64(without.HeapAlloc))/(1<<20), "MiB-policy")
			b.ReportMetric(float64(s.member.etcd.Server.Backend().Size())/(1<<20), "MiB-etcd")
			b.ReportMetric(applied.Seconds(), "s/first-apply")
		})
	}
}

// BenchmarkApply measures applies of one record, one after the other.
func BenchmarkApply(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		for _, n := range []int{1_000, 100_000} {
			b.Run(fmt.Sprintf("fsync=%t/records=%d", fsync, n), func(b *testing.B) {
				c := embeddedIn(b.TempDir())
				c.Embedded.UnsafeNoSync = !fsync
				s, _ := start(b, c)
				if _, err := s.Apply(b.Context(), million(n), ApplyOptions{}); err != nil {
					b.Fatal(err)
				}
				var took []time.Duration
				for i := 0; b.Loop(); i++ {
					began := time.Now()
					apply(b, s, tenant.Put(bigRecord(i*7919%n, 1+i/n)))
					took = append(took, time.Since(began))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
			})
		}
	}
}

// BenchmarkTogether measures applies of one record each by many callers.
func BenchmarkTogether(b *testing.B) {
	for _, fsync := range []bool{false, true} {
		for _, callers := range []int{10, 100} {
			b.Run(fmt.Sprintf("fsync=%t/callers=%d", fsync, callers), func(b *testing.B) {
				const n = 100_000
				c := embeddedIn(b.TempDir())
				c.Embedded.UnsafeNoSync = !fsync
				s, _ := start(b, c)
				if _, err := s.Apply(b.Context(), million(n), ApplyOptions{}); err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				var wg sync.WaitGroup
				for caller := range callers {
					wg.Go(func() {
						for i := caller; i < b.N; i += callers {
							if _, err := s.Apply(context.Background(), []tenant.Change{tenant.Put(bigRecord(i%n, 1+i/n))}, ApplyOptions{}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
			})
		}
	}
}
