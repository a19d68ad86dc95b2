package openflow

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// caFlows returns n flows like those of the ca table: one for each customer
// address.
func caFlows(n int) []flow.Flow {
	flows := make([]flow.Flow, n)
	for i := range flows {
		flows[i] = flow.Flow{Table: 20, Priority: 100, Cookie: 0x4e56000000000000 | uint64(i),
			Match: flow.Match{
				flow.Exact(flow.Reg0, flow.Uint(uint64(1+i/1000))), flow.Exact(flow.Reg8, flow.Uint(0)), flow.Exact(flow.Reg9, flow.Uint(0)),
				flow.Exact(flow.Reg10, flow.Uint(0xffff)), flow.Exact(flow.Reg11, flow.Uint(0x0a000000|uint64(i))),
			},
			Actions: []flow.Action{
				flow.Set(flow.All(flow.Reg2), flow.Uint(uint64(5001+i/250))), flow.Set(flow.All(flow.Reg3), flow.Uint(uint64(1+i%16))),
				flow.Set(flow.Bits{Field: flow.XReg6, N: 48}, flow.Uint(0x020000000000|uint64(i))), flow.Goto(25),
			}}
	}
	return flows
}

// clearFlows empties the bridge's tables.
func clearFlows(tb testing.TB, sw *ovsproc.Switch) {
	tb.Helper()
	if _, err := sw.Ofctl(tb.Context(), "del-flows", sw.MgmtSock("br-int")); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkApply100k loads 100,000 flows into an empty table and has ovs-ofctl do
// the same with the same flows; the metric is the ratio of the
// median wall times.
func BenchmarkApply100k(b *testing.B) {
	flows := caFlows(100_000)
	sw := bridge(b)
	file := writeFlows(b, flows)
	ctx := context.Background()
	for _, way := range []struct {
		name string
		do   func(*Session) error
	}{
		{"one bundle", func(s *Session) error { return s.Apply(ctx, adds(flows)) }},
		{"bundles of 10000", func(s *Session) error { return split(ctx, s, flows, 10_000) }},
		{"bundles of 2000", func(s *Session) error { return split(ctx, s, flows, 2_000) }},
		{"plain", func(s *Session) error { return s.Load(ctx, adds(flows)) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			s := connect(b, sw, Options{})
			var ours, theirs []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				clearFlows(b, sw)
				start := time.Now()
				if _, err := sw.Ofctl(ctx, "--bundle", "replace-flows", sw.MgmtSock("br-int"), file); err != nil {
					b.Fatal(err)
				}
				theirs = append(theirs, time.Since(start))
				clearFlows(b, sw)
				b.StartTimer()
				start = time.Now()
				if err := way.do(s); err != nil {
					b.Fatal(err)
				}
				ours = append(ours, time.Since(start))
			}
			b.ReportMetric(median(ours)/median(theirs), "ours/ovs-ofctl")
			b.ReportMetric(median(ours), "s-ours")
			b.ReportMetric(median(theirs), "s-ovs-ofctl")
		})
	}
}

// median returns seconds; other work on the machine disturbs it less than a mean.
func median(d []time.Duration) float64 {
	slices.Sort(d)
	return d[len(d)/2].Seconds()
}

func split(ctx context.Context, s *Session, flows []flow.Flow, n int) error {
	for len(flows) > 0 {
		k := min(n, len(flows))
		if err := s.Apply(ctx, adds(flows[:k])); err != nil {
			return err
		}
		flows = flows[k:]
	}
	return nil
}

// BenchmarkReadFlows100k reads 100,000 flows back, in both forms.
func BenchmarkReadFlows100k(b *testing.B) {
	flows := caFlows(100_000)
	sw := bridge(b)
	s := connect(b, sw, Options{})
	if err := s.Load(context.Background(), adds(flows)); err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, form := range []struct {
		name string
		read func() error
	}{
		{"flows", func() error {
			return s.ReadFlows(context.Background(), 0, 0, func(*Stat) error { n++; return nil })
		}},
		{"encoded", func() error {
			return s.ReadEncoded(context.Background(), AllTables, 0, 0, func(*Entry) error { n++; return nil })
		}},
	} {
		b.Run(form.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n = 0; form.read() != nil || n != len(flows) {
					b.Fatal(n)
				}
			}
		})
	}
}

func writeFlows(tb testing.TB, flows []flow.Flow) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "flows")
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range flows {
		w.WriteString(flows[i].Text())
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return name
}
