package ovn

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

var (
	size   rig.Size
	adds   = flag.Int("adds", 20, "VMs added one by one in each round, 1 or more")
	pause  = flag.Duration("pause", 100*time.Millisecond, "between two VMs, so that none waits for what the one before leaves behind")
	rounds = flag.Int("rounds", 3, "rounds, in each of which both start anew; 1 or more")
	secure = flag.Bool("port-security", false, "whether OVN checks the addresses that VMs send from, as ours always does")
	table  = flag.String("table", "", "a file for the table of what was measured")
)

func init() {
	flag.IntVar(&size.Chassis, "chassis", 4, "chassis")
	flag.IntVar(&size.Ports, "ports", 4000, "ports of VMs in all")
	flag.IntVar(&size.Tenants, "tenants", 2, "tenants")
}

// sample is one round of one side.
type sample struct {
	start rig.Start
	adds  []time.Duration // of VMs, record and port at once
	recs  []time.Duration // of the records of VMs whose ports are there
	ports []time.Duration // what the switches took to give ports their numbers
	flows float64         // of the chassis that has most
	used  rig.Usage
	cpu   time.Duration
}

// series are the rounds of one side.
type series []sample

func (s series) median(f func(sample) float64) float64 {
	var v []float64
	for _, x := range s {
		v = append(v, f(x))
	}
	return rig.Median(v)
}

func (s series) all(f func(sample) []time.Duration) (all []time.Duration) {
	for _, x := range s {
		all = append(all, f(x)...)
	}
	return all
}

// BenchmarkAgainstOVN measures both sides by turns. Ratios are of medians, ours
// to OVN's for flows and memory, OVN's to ours for times.
func BenchmarkAgainstOVN(b *testing.B) {
	Require(b)
	ovstest.Require(b)
	var ours, theirs series
	for range *rounds {
		ours = append(ours, measure(b, func(tb testing.TB) plane { return startOurs(tb, size) }))
		theirs = append(theirs, measure(b, func(tb testing.TB) plane { return Start(tb, size, *secure) }))
	}
	report(b, ours, theirs)
}

// measure runs one round. All that it started has ended when the next begins.
func measure(b *testing.B, start func(testing.TB) plane) (s sample) {
	b.Helper()
	scope := rig.NewScope(b)
	defer scope.End()
	p, ctx := start(scope), rig.Within(scope, 5*time.Minute)
	before, err := rig.UsageOf(p.Processes()...)
	if err != nil {
		b.Fatal(err)
	}
	if s.start, err = p.ColdStart(ctx, size.Ports); err != nil {
		b.Fatal(err)
	}
	say(b, "%s: %d chassis, %d ports: inputs %.2f s, then converged in %.2f s", p.Name(), size.Chassis, size.Ports, s.start.Inputs.Seconds(), s.start.Converged.Seconds())
	after, err := rig.UsageOf(p.Processes()...)
	if err != nil {
		b.Fatal(err)
	}
	s.cpu = after.CPU - before.CPU
	for n := size.Ports; n < size.Ports+2**adds; n += 2 {
		a, err := p.AddVM(ctx, n)
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(*pause)
		if _, err := p.Plug(ctx, n+1); err != nil {
			b.Fatal(err)
		}
		time.Sleep(*pause)
		d, err := p.AddRecord(ctx, n+1)
		if err != nil {
			b.Fatal(err)
		}
		s.adds, s.ports, s.recs = append(s.adds, a.All), append(s.ports, a.Port), append(s.recs, d)
		time.Sleep(*pause)
	}
	for _, c := range p.Switches() {
		n, err := c.Flows(ctx)
		if err != nil {
			b.Fatal(err)
		}
		s.flows = max(s.flows, float64(n))
	}
	for _, q := range p.Processes() {
		u, err := rig.UsageOf(q)
		if err != nil {
			b.Fatal(err)
		}
		s.used = s.used.Add(u)
		say(b, "%s: %s: %.0f MiB resident, %.0f MiB its share, %.1f s of processor time", p.Name(), q.Name, mib(u.RSS), mib(u.PSS), u.CPU.Seconds())
	}
	say(b, "%s: VMs one by one: %v; of it the switch: %v; records of ports that are there: %v", p.Name(), s.adds, s.ports, s.recs)
	return s
}

// say tells what is under way: benchmarks of minutes would be silent otherwise.
func say(b *testing.B, format string, args ...any) {
	b.Helper()
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		return
	}
	b.Logf(format, args...)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mib(n uint64) float64       { return float64(n) / (1 << 20) }

func report(b *testing.B, ours, theirs series) {
	adds := func(x sample) []time.Duration { return x.adds }
	recs := func(x sample) []time.Duration { return x.recs }
	ports := func(x sample) []time.Duration { return x.ports }
	rows := []struct {
		what, unit, format string
		value              func(series) float64
		speed              bool // the ratio is OVN's to ours
		goal               string
	}{
		{"cold start, after the last input", "s-converge", "%.2f s", func(s series) float64 {
			return s.median(func(x sample) float64 { return x.start.Converged.Seconds() })
		}, true, "≥ 40"},
		{"cold start in all", "s-start", "%.2f s", func(s series) float64 { return s.median(func(x sample) float64 { return x.start.All.Seconds() }) }, true, ""},
		{"processor time of a cold start", "s-CPU-start", "%.2f s", func(s series) float64 { return s.median(func(x sample) float64 { return x.cpu.Seconds() }) }, true, ""},
		{"one VM more, median", "ms-VM", "%.1f ms", func(s series) float64 { return ms(rig.Median(s.all(adds))) }, true, "≥ 200"},
		{"one VM more, p99", "ms-VM-p99", "%.1f ms", func(s series) float64 { return ms(rig.Quantile(s.all(adds), 0.99)) }, true, ""},
		{"of it the switch, to give the port its number, median", "ms-switch", "%.1f ms", func(s series) float64 { return ms(rig.Median(s.all(ports))) }, true, ""},
		{"a record, the VM's port being there, median", "ms-record", "%.1f ms", func(s series) float64 { return ms(rig.Median(s.all(recs))) }, true, ""},
		{"a record, the VM's port being there, p99", "ms-record-p99", "%.1f ms", func(s series) float64 { return ms(rig.Quantile(s.all(recs), 0.99)) }, true, ""},
		{"flows of a chassis", "flows", "%.0f", func(s series) float64 { return s.median(func(x sample) float64 { return x.flows }) }, false, "≤ 0.35"},
		{"memory, resident (RSS)", "MiB-RSS", "%.0f MiB", func(s series) float64 { return s.median(func(x sample) float64 { return mib(x.used.RSS) }) }, false, "≤ 0.5"},
		{"memory, shared pages divided (PSS)", "MiB-PSS", "%.0f MiB", func(s series) float64 { return s.median(func(x sample) float64 { return mib(x.used.PSS) }) }, false, ""},
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| %d chassis, %d ports, %d tenants; medians of %d rounds, %d VMs | nvgre-ofctl | OVN | ratio | goal |\n|---|---|---|---|---|\n",
		size.Chassis, size.Ports, size.Tenants, len(ours), len(ours.all(adds)))
	for _, r := range rows {
		o, t := r.value(ours), r.value(theirs)
		ratio := o / t
		if r.speed {
			ratio = t / o
		}
		b.ReportMetric(o, r.unit)
		b.ReportMetric(t, r.unit+"-OVN")
		b.ReportMetric(ratio, r.unit+"-ratio")
		fmt.Fprintf(&text, "| %s | "+r.format+" | "+r.format+" | **%.2f** | %s |\n", r.what, o, t, ratio, r.goal)
	}
	b.ReportMetric(0, "ns/op")
	b.Log("\n" + text.String())
	if *table != "" {
		if err := os.WriteFile(*table, []byte(text.String()), 0o644); err != nil {
			b.Fatal(err)
		}
	}
}
