package ovsdb

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// BenchmarkPortPerVSID measures what the ports of many virtual subnets cost on a
// real Open vSwitch: the time until all have OpenFlow port numbers, that of one
// more, and the memory of ovs-vswitchd.
func BenchmarkPortPerVSID(b *testing.B) {
	for _, count := range []int{100, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var all, one time.Duration
			var kib int
			for b.Loop() {
				a, o, k := measurePorts(b, count)
				all, one, kib = all+a, one+o, kib+k
			}
			n := float64(b.N)
			b.ReportMetric(all.Seconds()/n, "s/all")
			b.ReportMetric(one.Seconds()*1000/n, "ms/one-more")
			b.ReportMetric(float64(kib)/n/float64(count), "KiB/port")
		})
	}
}

func measurePorts(b *testing.B, count int) (all, one time.Duration, kib int) {
	sw := ovstest.Start(b)
	h := startHost(b, unix(sw.DBSock()), nil)
	eventually(b, h, "connected", connected)
	cfg := Config{PortMode: PortPerVSID}
	ensure(b, h, cfg)
	eventually(b, h, "the bridge", func(s State) bool { return s.BridgeReady })
	before := residentKiB(b, sw.VswitchdPidFile())
	add := func(n int) time.Duration {
		for range n {
			cfg.VSIDs = append(cfg.VSIDs, tenant.VSID(5000+len(cfg.VSIDs)))
		}
		start := time.Now()
		ensure(b, h, cfg)
		eventually(b, h, "the ports", func(s State) bool { return len(s.VSIDPorts) == len(cfg.VSIDs) })
		return time.Since(start)
	}
	all = add(count)
	kib = residentKiB(b, sw.VswitchdPidFile()) - before
	return all, add(1), kib
}

// residentKiB returns the memory that a process holds, in KiB.
func residentKiB(b *testing.B, pidFile string) int {
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		b.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
