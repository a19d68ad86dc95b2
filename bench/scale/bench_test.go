package scale

import (
	"context"
	"flag"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
)

var (
	hosts    = flag.Int("hosts", 1000, "simulated hosts")
	records  = flag.Int("records", 100_000, "lookup records in all")
	domains  = flag.Int("domains", 2000, "routing domains")
	perHost  = flag.Int("per-host", 20, "routing domains of a host")
	rate     = flag.Int("rate", 5000, "changes of records a second")
	seconds  = flag.Int("seconds", 60, "how long they come")
	svg      = flag.String("svg", "", "a file for the plot of BenchmarkBlocks")
	profiles = flag.String("profiles", "", "a directory for profiles of the controller")
)

func TestMain(m *testing.M) { rig.Main(m) }

func plan() fleet.Plan {
	return fleet.Plan{Hosts: *hosts, Records: *records, Domains: *domains, DomainsPerHost: *perHost}
}

// singles changes records one after the other and returns how long each took
// from the request until the last host had committed it.
func (w *world) singles(n int) (took []time.Duration) {
	w.tb.Helper()
	ctx := rig.Within(w.tb, time.Minute)
	record := w.records()
	for i := range n {
		number := i * (w.fleet.Layout().Plan().Records / n)
		want := 0
		for range w.fleet.Layout().HostsOf(w.fleet.Layout().Record(number).Domain) {
			want++
		}
		w.watch(true)
		begin := time.Now()
		if _, err := w.api.Apply(ctx, []tenant.Change{w.changed(number, 200)}, client.ApplyOptions{}); err != nil {
			w.tb.Fatal(err)
		}
		var last time.Time
		on := make(map[int32]bool)
		for len(on) < want {
			if ctx.Err() != nil {
				w.tb.Fatalf("record %d: on %d of %d hosts: %v", number, len(on), want, context.Cause(ctx))
			}
			time.Sleep(time.Millisecond)
			w.mu.Lock()
			for _, s := range w.seen {
				if r, ok := record(s.cookie); ok && r == number {
					on[s.host], last = true, s.at
				}
			}
			w.mu.Unlock()
		}
		took = append(took, last.Sub(begin))
		time.Sleep(20 * time.Millisecond) // the next is a single change, too
	}
	w.watch(false)
	return took
}

// BenchmarkDaemon takes the controller through its life on a fleet: cold start,
// single changes, churn, restart.
func BenchmarkDaemon(b *testing.B) {
	for b.Loop() {
		w := newWorld(b, plan())
		began := time.Now()
		w.start()
		w.await(10 * time.Minute)
		u := w.usage()
		b.ReportMetric(time.Since(began).Seconds(), "s-cold")
		b.ReportMetric(float64(w.others.Load())/float64(*hosts), "flow-mods/host")
		b.ReportMetric(mib(u.RSS), "MiB-RSS-cold")
		b.ReportMetric(u.CPU.Seconds(), "s-CPU-cold")
		w.profile(b.Context(), "heap-cold", "heap?gc=1")
		b.ReportMetric(mib(w.usage().RSS), "MiB-RSS-idle")

		took := w.singles(50)
		b.ReportMetric(ms(rig.Median(took)), "ms-change")
		b.ReportMetric(ms(rig.Quantile(took, 0.99)), "ms-change-p99")
		if *seconds > 0 {
			w.churn(b)
		}

		w.proc.End()
		time.Sleep(100 * time.Millisecond)
		w.sentinels.Store(0)
		w.others.Store(0)
		began = time.Now()
		w.start()
		profiled := make(chan struct{})
		go func() {
			defer close(profiled)
			for *profiles != "" && time.Since(began) < 5*time.Second && !w.profile(b.Context(), "cpu-restart", "profile?seconds=5") {
				time.Sleep(5 * time.Millisecond)
			}
		}()
		w.await(5 * time.Minute)
		b.ReportMetric(time.Since(began).Seconds(), "s-restart")
		<-profiled
		b.ReportMetric(w.usage().CPU.Seconds(), "s-CPU-restart")
		b.ReportMetric(float64(w.others.Load()), "flow-mods-restart")
		b.ReportMetric(float64(w.sentinels.Load()), "sentinels-restart")
		b.ReportMetric(mib(w.usage().RSS), "MiB-RSS-restart")
		w.proc.End()
		w.fleet.Close()
	}
	b.ReportMetric(0, "ns/op")
}

// batch is how many changes one request of the churn has.
const batch = 100

// churn changes records at a rate. The lag of a change is the time from when it
// was due until the last host that has its routing domain had committed it.
func (w *world) churn(b *testing.B) {
	ctx := rig.Within(b, time.Duration(*seconds)*time.Second+5*time.Minute)
	total := *rate * *seconds / batch
	due := make([]time.Time, total*batch)
	order := make([]int, len(due))
	for i := range order {
		order[i] = int(uint64(i) * 7919 % uint64(*records)) // 7919 is a prime: all in turn, far apart
	}
	w.watch(true)
	before := w.usage()
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() {
		w.profile(ctx, "cpu-churn", "profile?seconds=10")
	})
	background.Go(func() {
		w.profile(ctx, "allocs-churn", "allocs?seconds=10")
	})
	var sizes []size
	background.Go(func() {
		t := time.NewTicker(10 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				sizes = append(sizes, w.size(ctx))
				w.profile(ctx, "heap-churn", "heap")
			}
		}
	})
	work := make(chan int, total)
	var wg sync.WaitGroup
	for range 4 { // the API takes no more at once
		wg.Go(func() {
			for k := range work {
				changes := make([]tenant.Change, batch)
				for i := range changes {
					n := k*batch + i
					changes[i] = w.changed(order[n], 1 + n / *records)
				}
				applied, err := w.api.Apply(ctx, changes, client.ApplyOptions{Minimal: true})
				if err != nil {
					b.Error(err)
					continue
				}
				w.reach(applied.Revision)
			}
		})
	}
	begin := time.Now()
	for k := range total {
		at := begin.Add(time.Duration(k*batch) * time.Second / time.Duration(*rate))
		time.Sleep(time.Until(at))
		for i := range batch {
			due[k*batch+i] = at
		}
		work <- k
	}
	close(work)
	wg.Wait()
	sent := time.Since(begin)
	w.await(5 * time.Minute)
	close(stop)
	background.Wait()
	after := w.usage()

	w.mu.Lock()
	seen := w.seen
	w.mu.Unlock()
	w.watch(false)
	lags := w.lags(due, order, seen)
	b.ReportMetric(float64(len(due))/sent.Seconds(), "changes/s")
	b.ReportMetric(float64(len(lags))/float64(len(due)), "confirmed")
	b.ReportMetric(ms(rig.Median(lags)), "ms-lag")
	b.ReportMetric(ms(rig.Quantile(lags, 0.99)), "ms-lag-p99")
	b.ReportMetric((after.CPU-before.CPU).Seconds()/float64(len(due))*1e6, "µs-CPU/change")
	for i, s := range sizes {
		b.Logf("after %d s: %.0f MiB resident, %.0f MiB of live heap", 10*(i+1), mib(s.rss), mib(s.live))
	}
	if n := len(sizes); n > 0 {
		b.ReportMetric(mib(sizes[0].live), "MiB-heap-begin")
		b.ReportMetric(mib(sizes[n-1].live), "MiB-heap-end")
		b.ReportMetric(mib(sizes[n-1].rss), "MiB-RSS-churn")
	}
}

// lags returns the lag of each change that was confirmed by all its hosts.
func (w *world) lags(due []time.Time, order []int, seen []sighting) (lags []time.Duration) {
	record := w.records()
	of := make(map[int][]int, len(order)) // changes of a record, in order
	for i, r := range order {
		of[r] = append(of[r], i)
	}
	type last struct {
		at    time.Time
		hosts map[int32]bool
	}
	ends := make([]last, len(due))
	for _, s := range seen {
		r, ok := record(s.cookie)
		if !ok {
			continue
		}
		// A host's commit confirms the changes that were due before, and that it
		// had not confirmed yet.
		for _, i := range of[r] {
			e := &ends[i]
			if due[i].After(s.at) || e.hosts[s.host] {
				continue
			}
			if e.hosts == nil {
				e.hosts = make(map[int32]bool)
			}
			e.hosts[s.host] = true
			e.at = s.at
		}
	}
	l := w.fleet.Layout()
	for i, e := range ends {
		want := 0
		for range l.HostsOf(l.Record(order[i]).Domain) {
			want++
		}
		if len(e.hosts) == want {
			lags = append(lags, e.at.Sub(due[i]))
		}
	}
	return lags
}
