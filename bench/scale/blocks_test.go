package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
)

// sizes are what BenchmarkBlocks goes through: against the records, with few
// hosts that hold all of them; against the hosts; and a cloud.
var sizes = []fleet.Plan{
	{Hosts: 10, Records: 1000, Domains: 20, DomainsPerHost: 20},
	{Hosts: 10, Records: 10_000, Domains: 20, DomainsPerHost: 20},
	{Hosts: 10, Records: 100_000, Domains: 20, DomainsPerHost: 20},
	{Hosts: 10, Records: 1_000_000, Domains: 20, DomainsPerHost: 20},
	{Hosts: 1, Records: 100_000, Domains: 2000, DomainsPerHost: 20},
	{Hosts: 10, Records: 100_000, Domains: 2000, DomainsPerHost: 20},
	{Hosts: 100, Records: 100_000, Domains: 2000, DomainsPerHost: 20},
	{Hosts: 1000, Records: 100_000, Domains: 2000, DomainsPerHost: 20},
	{Hosts: 1000, Records: 1_000_000, Domains: 2000, DomainsPerHost: 20},
}

// BenchmarkBlocks measures, in one process without switches, what a cold start
// does: open the store, load the policy, compile every routing domain once and
// put the hosts' sets together; and then one record's change in the engine, and
// what a resync compares for one host.
func BenchmarkBlocks(b *testing.B) {
	var points []point
	for _, p := range sizes {
		b.Run(fmt.Sprintf("hosts=%d/records=%d/domains=%d", p.Hosts, p.Records, p.Domains), func(b *testing.B) {
			dir := b.TempDir()
			policy := policyOf(b, p)
			seed(b, dir, policy)
			policy = nil
			layout, err := fleet.NewLayout(p)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				runtime.GC()
				points = append(points, blocks(b, dir, layout))
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	if *svg != "" && !b.Failed() {
		plot(b, *svg, points)
	}
}

func blocks(b *testing.B, dir string, layout *fleet.Layout) point {
	p := layout.Plan()
	began := time.Now()
	s, err := store.Open(b.Context(), store.Config{Embedded: &store.Embedded{Dir: dir, UnsafeNoSync: true}})
	if err != nil {
		b.Fatal(err)
	}
	opened := time.Since(began)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	defer func() {
		cancel()
		wg.Wait()
		s.Close()
	}()
	for s.Policy() == nil {
		<-s.Changes()
	}
	policy := s.Policy()
	loaded := time.Since(began)
	e := calc.New(calc.Options{})
	for h := range p.Hosts {
		in := calc.Input{Tunnels: flows.TunnelPorts{Flow: 1}}
		for d := range layout.DomainsOf(h) {
			for n := range layout.RecordsOn(h, d) {
				in.Attachments = append(in.Attachments, flows.Attachment{IfaceID: layout.Record(n).VM, OFPort: uint32(len(in.Attachments) + 2)})
				break
			}
		}
		e.SetHost(fleet.HostName(h), in)
	}
	e.SetPolicy(policy)
	updates := e.Flush()
	all := time.Since(began)
	if len(updates) != p.Hosts {
		b.Fatalf("%d updates", len(updates))
	}
	total := 0
	for i := range updates {
		total += updates[i].Want.Len()
	}
	b.ReportMetric(opened.Seconds(), "s-open")
	b.ReportMetric((loaded - opened).Seconds(), "s-load")
	b.ReportMetric((all - loaded).Seconds(), "s-compile")
	b.ReportMetric(all.Seconds(), "s-all")
	b.ReportMetric(float64(total)/float64(p.Hosts), "flows/host")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(mib(m.HeapAlloc), "MiB-heap")
	heapProfile(b, fmt.Sprintf("heap-%d-%d", p.Hosts, p.Records))
	resync := resyncOf(b, updates[0].Want)
	b.ReportMetric(ms(resync), "ms-resync")

	const changes = 200
	var took time.Duration
	for i := range changes {
		r := layout.Record(i * (p.Records / changes))
		mac := r.MAC
		mac[1] = 0x77
		o := tenant.RecordObject{VSID: r.VSID, CA: tenant.CAFrom(r.CA), VM: r.VM, MAC: mac, IfaceID: r.VM}
		if r.Host >= 0 {
			o.Host = fleet.HostName(r.Host)
		}
		start := time.Now()
		next, problems := policy.Apply([]tenant.Change{tenant.Put(o)}, policy.Revision()+1)
		if len(problems) > 0 {
			b.Fatal(problems[0])
		}
		policy = next
		e.SetPolicy(policy)
		e.Flush()
		took += time.Since(start)
	}
	b.ReportMetric(float64(took.Microseconds())/changes, "µs-change")
	return point{p, (loaded - opened).Seconds(), (all - loaded).Seconds(), ms(took) / changes, ms(resync), mib(m.HeapAlloc)}
}

// resyncOf returns how long it takes to compare what a switch holds, where it
// holds what it should, with what it should.
func resyncOf(b *testing.B, want flowset.Composition) time.Duration {
	start := time.Now()
	r := reconcile.NewReader(want)
	for f := range want.Unordered() {
		r.Add(&openflow.Entry{Octets: []byte(f)})
	}
	if plan := reconcile.NewPlan(r.Actual(), reconcile.Desired{Flows: want}, nil); len(plan.Puts)+plan.Deleted() > 0 {
		b.Fatalf("%d flows differ from themselves", len(plan.Puts)+plan.Deleted())
	}
	return time.Since(start)
}

// heapProfile writes a profile of this process's heap into the directory of the
// flag.
func heapProfile(b *testing.B, name string) {
	if *profiles == "" {
		return
	}
	f, err := os.Create(filepath.Join(*profiles, name+".pprof"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		b.Fatal(err)
	}
}
