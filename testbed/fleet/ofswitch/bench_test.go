package ofswitch

import (
	"runtime"
	"testing"
)

// caFlow is a flow like those of the ca table.
func caFlow(i int) mod {
	return mod{command: cmdAdd, table: 20, priority: 100, cookie: 0x4e56000000000000 | uint64(i),
		match: ofpMatch(reg(0, uint64(1+i/1000), 0), oxm(classNXM1, 113, cat(u64(0), u32(0xffff, 0x0a000000|uint32(i))), nil)),
		instr: cat(apply(setField(reg(2, 5001, 0)), setField(reg(3, uint64(1+i%16), 0)), nx(nxRegLoad2, oxm(classPReg, 6, u64(0x020000000000|uint64(i)), u64(0xffffffffffff)))), gotoTable(25))}
}

// BenchmarkFlowMods sends flow-mods to one switch, singly and in bundles.
func BenchmarkFlowMods(b *testing.B) {
	const n = 1000
	for _, way := range []string{"single", "bundle"} {
		b.Run(way, func(b *testing.B) {
			s := New(Config{})
			c := dial(b, serve(b, s))
			var all []byte
			if way == "bundle" {
				all = bundleCtl(1, 5, bundleOpen, 3)
			}
			for i := range n {
				m := caFlow(i).bytes(uint32(i))
				if way == "bundle" {
					m = bundleAddMsg(uint32(i), 5, 3, m)
				}
				all = append(all, m...)
			}
			if way == "bundle" {
				all = append(all, bundleCtl(2, 5, bundleCommit, 3)...)
			}
			b.ReportAllocs()
			for b.Loop() {
				c.exchange(b, all)
			}
			if got := s.Snapshot().Flows; got != n {
				b.Fatal(got)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "flow-mods/s")
		})
	}
}

// BenchmarkMemory measures what a flow costs in each of 100 switches that hold
// the same 1,000, and one that nobody else holds.
func BenchmarkMemory(b *testing.B) {
	const switches, flows = 100, 1000
	for _, way := range []string{"shared", "own"} {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				pool := NewPool()
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				all := make([]*Switch, switches)
				for i := range all {
					s := New(Config{Pool: pool})
					all[i] = s
					var f flowMod
					for j := range flows {
						m := caFlow(j)
						if way == "own" {
							m.cookie += uint64(i) << 20
						}
						if err := f.decode(m.bytes(1)); err != nil {
							b.Fatal(err)
						}
						log, err := s.apply(&f, nil)
						if err != nil {
							b.Fatal(err)
						}
						s.settle(log)
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/switches/flows, "octets/flow")
				runtime.KeepAlive(all)
			}
		})
	}
}
