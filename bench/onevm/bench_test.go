package onevm

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// switchTime returns the processor time of all ovs-vswitchd.
func switchTime(b *testing.B, o *rig.Ours) (sum time.Duration) {
	b.Helper()
	for _, c := range o.Chassis {
		u, err := c.VswitchdUsage()
		if err != nil {
			b.Fatal(err)
		}
		sum += u.CPU
	}
	return sum
}

// BenchmarkOneVM adds VMs one by one. The ratio is that of medians, to the first
// case. "switch" is the part of the time that ovs-vswitchd takes until it has
// given the port its number, without which there is no flow to it; "ours" is the
// rest. "record" is the time from the record of a VM whose port is there already:
// the control plane alone. "switch-CPU" is the processor time of all ovs-vswitchd for one VM.
func BenchmarkOneVM(b *testing.B) {
	ovstest.Require(b)
	var first, firstRecord time.Duration
	for _, f := range strings.Split(*further, ",") {
		newPolicy := rig.NewPolicyFile
		if f != "file" {
			n, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			newPolicy = rig.NewStorePolicy(n)
		}
		b.Run("further="+f, func(b *testing.B) {
			o := rig.StartOurs(b, size, newPolicy)
			ctx := rig.Within(b, 10*time.Minute)
			start, err := o.ColdStart(ctx, size.Ports)
			if err != nil {
				b.Fatal(err)
			}
			b.Logf("%d ports on %d chassis: inputs %.2f s, then converged in %.2f s", size.Ports, size.Chassis, start.Inputs.Seconds(), start.Converged.Seconds())
			profiled := make(chan error, 1)
			if *profile == "" {
				profiled <- nil
			} else {
				go func() { profiled <- o.Profile(ctx, 5, filepath.Join(*profile, fmt.Sprintf("onevm-%s.pprof", f))) }()
			}
			var took, port, ours, record []time.Duration
			before := switchTime(b, o)
			n := size.Ports
			for b.Loop() {
				for range *adds {
					a, err := o.AddVM(ctx, n)
					if err != nil {
						b.Fatal(err)
					}
					took, port, ours = append(took, a.All), append(port, a.Port), append(ours, a.All-a.Port)
					time.Sleep(*pause)
					if _, err := o.Plug(ctx, n+1); err != nil {
						b.Fatal(err)
					}
					time.Sleep(*pause)
					d, err := o.AddRecord(ctx, n+1)
					if err != nil {
						b.Fatal(err)
					}
					record = append(record, d)
					n += 2
					time.Sleep(*pause)
				}
			}
			if err := <-profiled; err != nil {
				b.Fatal(err)
			}
			median := rig.Median(took)
			if first == 0 {
				first, firstRecord = median, rig.Median(record)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ms(median), "ms-VM")
			b.ReportMetric(ms(rig.Quantile(took, 0.99)), "ms-VM-p99")
			b.ReportMetric(ms(rig.Median(record)), "ms-record")
			b.ReportMetric(ms(rig.Quantile(record, 0.99)), "ms-record-p99")
			b.ReportMetric(float64(rig.Median(record))/float64(firstRecord), "ratio-record")
			b.ReportMetric(ms(rig.Median(port)), "ms-switch")
			b.ReportMetric(ms(rig.Quantile(port, 0.99)), "ms-switch-p99")
			b.ReportMetric(ms(rig.Median(ours)), "ms-ours")
			b.ReportMetric(ms(rig.Quantile(ours, 0.99)), "ms-ours-p99")
			b.ReportMetric(ms(switchTime(b, o)-before)/float64(len(took)+len(record)), "ms-switch-CPU")
			b.ReportMetric(float64(median)/float64(first), "ratio")
			u, err := rig.UsageOf(o.Processes()...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(u.RSS)/(1<<20), "MiB-RSS")
		})
	}
}

// BenchmarkSwitchAlone attaches VMs to chassis that no control plane drives: no
// control plane is faster than that.
func BenchmarkSwitchAlone(b *testing.B) {
	ovstest.Require(b)
	chassis, ctx := rig.StartChassis(b, rig.TempDir(b), size), rig.Within(b, 10*time.Minute)
	for _, c := range chassis {
		if _, err := c.Vsctl(ctx, "add-br", rig.Bridge, "--", "set-fail-mode", rig.Bridge, "secure"); err != nil {
			b.Fatal(err)
		}
	}
	attach := func(vms ...rig.VM) {
		g, gctx := errgroup.WithContext(ctx)
		rig.AttachAll(gctx, g, chassis, vms)
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		for _, v := range vms {
			if _, err := chassis[v.Chassis].Numbered.Wait(ctx, v.Port); err != nil {
				b.Fatal(err)
			}
		}
	}
	attach(size.VMs(0, size.Ports)...)
	var took []time.Duration
	n := size.Ports
	for b.Loop() {
		for range *adds {
			begin := time.Now()
			attach(size.VM(n))
			took = append(took, time.Since(begin))
			n++
			time.Sleep(*pause)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ms(rig.Median(took)), "ms-switch")
	b.ReportMetric(ms(rig.Quantile(took, 0.99)), "ms-switch-p99")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
