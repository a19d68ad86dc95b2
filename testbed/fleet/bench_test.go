package fleet

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// caFlows returns bundles-to-be: flow-mods like those of the ca table, for
// routing domains from the first, n flows each, without the barrier behind them.
func caFlows(domain, n int) []byte {
	var b []byte
	be := binary.BigEndian
	for i := range n {
		start := len(b)
		b = append(b, 4, 14, 0, 0)
		b = be.AppendUint32(b, uint32(i+1))
		b = be.AppendUint64(b, 0x4e56<<48|uint64(domain)<<20|uint64(i))
		b = be.AppendUint64(b, 0)
		b = append(b, 20, 0, 0, 0, 0, 0, 0, 100)
		b = be.AppendUint32(b, 0xffffffff)
		b = be.AppendUint32(b, 0xffffffff)
		b = be.AppendUint32(b, 0xffffffff)
		b = append(b, 0, 0, 0, 0)
		// reg0 and xxreg2 as four registers
		b = append(b, 0, 1, 0, 4+5*8)
		for r, v := range [...]uint32{0: uint32(domain + 1), 8: 0, 9: 0, 10: 0xffff, 11: 0x0a000000 | uint32(i)} {
			if r > 0 && r < 8 {
				continue
			}
			b = append(b, 0, 1, byte(r<<1), 4)
			b = be.AppendUint32(b, v)
		}
		b = append(b, 0, 0, 0, 0)
		apply := len(b)
		b = append(b, 0, 4, 0, 0, 0, 0, 0, 0)
		for r, v := range []uint32{2: 5001, 3: uint32(i % 1000)} {
			if r >= 2 {
				b = append(b, 0, 25, 0, 16, 0, 1, byte(r<<1), 4)
				b = be.AppendUint32(b, v)
				b = append(b, 0, 0, 0, 0)
			}
		}
		b = append(b, 0xff, 0xff, 0, 32, 0, 0, 0x23, 0x20, 0, 33, 0x80, 1, 6<<1|1, 16)
		b = be.AppendUint64(b, 0x020000000000|uint64(i))
		b = be.AppendUint64(b, 1<<48-1)
		b = append(b, 0, 0)
		be.PutUint16(b[apply+2:], uint16(len(b)-apply))
		b = append(b, 0, 1, 0, 8, 25, 0, 0, 0)
		be.PutUint16(b[start+2:], uint16(len(b)-start))
	}
	return b
}

var hello = []byte{4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 16}
var barrier = []byte{4, 20, 0, 8, 0, 0, 0, 9}

// driver is an OpenFlow connection that sends and waits for barriers.
type driver struct{ net.Conn }

func drive(tb testing.TB, h *Host) driver {
	tb.Helper()
	network, addr, _ := strings.Cut(h.OpenFlow(), ":")
	c, err := net.Dial(network, addr)
	if err != nil {
		tb.Fatal(err)
	}
	d := driver{c}
	if _, err := c.Write(hello); err != nil {
		tb.Fatal(err)
	}
	d.await(tb, 0)
	return d
}

// await reads messages up to and with one of this type.
func (d driver) await(tb testing.TB, kind byte) {
	var head [8]byte
	for {
		if _, err := io.ReadFull(d, head[:]); err != nil {
			tb.Error(err)
			return
		}
		if _, err := io.CopyN(io.Discard, d, int64(binary.BigEndian.Uint16(head[2:]))-8); err != nil {
			tb.Error(err)
			return
		}
		if head[1] == 1 {
			tb.Error("a flow-mod was refused")
			return
		}
		if head[1] == kind {
			return
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// resident returns the process's resident memory in octets.
func resident(tb testing.TB) float64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return pages * float64(os.Getpagesize())
}

// BenchmarkStart starts 1,000 hosts with 20 attachments each.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		before := heap()
		f := start(b, Options{Plan: Plan{Hosts: 1000, Records: 20_000, Domains: 2000, DomainsPerHost: 20}, Attach: 1})
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/1000, "octets/host")
		f.Close()
		b.StartTimer()
	}
}

// BenchmarkLoad connects to 1,000 hosts and gives each 1,000 flows: those of its
// 20 routing domains of 50 records, which other hosts have too.
func BenchmarkLoad(b *testing.B) {
	const hosts, perHost, domains, each = 1000, 20, 2000, 50
	blocks := make([][]byte, domains)
	for d := range blocks {
		blocks[d] = caFlows(d, each)
	}
	for b.Loop() {
		b.StopTimer()
		before := heap()
		f := start(b, Options{Plan: Plan{Hosts: hosts, Records: domains * each, Domains: domains, DomainsPerHost: perHost}, Attach: 1})
		conns := make([]driver, hosts)
		for i := range conns {
			conns[i] = drive(b, f.Host(i))
		}
		idle := heap()
		b.StartTimer()
		began := time.Now()
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := w; i < hosts; i += 4 {
					for d := range f.Layout().DomainsOf(i) {
						if _, err := conns[i].Write(blocks[d]); err != nil {
							b.Error(err)
							return
						}
					}
					conns[i].Write(barrier)
					conns[i].await(b, 21)
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		b.StopTimer()
		t := f.Totals()
		if t.Flows != hosts*perHost*each || t.DistinctFlows != domains*each {
			b.Fatalf("%+v", t)
		}
		b.ReportMetric(float64(t.Flows)/took.Seconds(), "flow-mods/s")
		b.ReportMetric(float64(idle-before)/hosts, "octets/idle-host")
		b.ReportMetric(float64(heap()-before)/hosts, "octets/host")
		b.ReportMetric(resident(b)/(1<<20), "MiB-resident")
		for _, c := range conns {
			c.Close()
		}
		f.Close()
		b.StartTimer()
	}
}
