package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// BenchmarkVMToVM compares the rate between two VMs on two hosts through the
// pipeline with that of the same VMs on an equal testbed whose bridges switch by
// NORMAL, with a static gre port between the hosts, by turns. The ratio is that
// of the medians.
func BenchmarkVMToVM(b *testing.B) {
	ovstest.Require(b, "iperf3")
	ours, plain := up(b, "hnv-blue-red"), up(b, "hnv-blue-red")
	ours.ready()
	plain.switchByNormal()
	for _, bed := range []*bed{ours, plain} {
		from, to := bed.vm("Blue1"), bed.vm("Blue2")
		until(b, 10*time.Second, "the VMs to talk", func() bool {
			return exec.Command("ip", "netns", "exec", from.Namespace, "ping", "-c1", "-W1", to.CA).Run() == nil
		}, nil)
	}
	for _, kind := range []struct {
		name, unit string
		args       []string
	}{
		{"tcp", "Mbit/s", []string{"-t", "2"}},
		{"udp18", "kpackets/s", []string{"-t", "2", "-u", "-b", "0", "-l", "18"}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var o, p []float64
			for range max(11, b.N) {
				o = append(o, ours.iperf("Blue1", "Blue2", kind.args...))
				p = append(p, plain.iperf("Blue1", "Blue2", kind.args...))
			}
			b.ReportMetric(median(o), kind.unit)
			b.ReportMetric(median(p), kind.unit+"-NORMAL")
			b.ReportMetric(median(o)/median(p), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkFlowID compares the rate between two VMs on two hosts with FlowIDs with
// that on an equal testbed without, by turns. The ratio is that of the medians.
func BenchmarkFlowID(b *testing.B) {
	ovstest.Require(b, "iperf3")
	with, without := up(b, "hnv-blue-red", "flow-id: true"), up(b, "hnv-blue-red")
	with.ready()
	without.ready()
	for _, args := range [][]string{{"-t", "1"}, {"-t", "1", "-P", "8"}} {
		b.Run(strings.TrimLeft(strings.Join(args, ""), "-"), func(b *testing.B) {
			var on, off []float64
			for range max(5, b.N) {
				on = append(on, with.iperf("Blue1", "Blue2", args...))
				off = append(off, without.iperf("Blue1", "Blue2", args...))
			}
			b.ReportMetric(median(on), "Mbit/s-on")
			b.ReportMetric(median(off), "Mbit/s-off")
			b.ReportMetric(median(on)/median(off), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// switchByNormal makes the testbed's bridges learning switches with a static
// gre port between the first two hosts. One such network carries one tenant.
func (b *bed) switchByNormal() {
	b.t.Helper()
	for _, v := range b.in.VMs {
		if v.Domain != "Blue" {
			if err := b.SetLink(v.IfaceID, false); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	for i, h := range b.in.Hosts[:2] {
		peer := b.in.Hosts[1-i]
		sw := b.Switch(h.Name)
		if _, err := sw.Vsctl(b.t.Context(), "add-port", "br-int", "gre0", "--", "set", "interface", "gre0", "type=gre",
			"options:remote_ip="+peer.PAs[0], "options:local_ip="+h.PAs[0], "options:key=99"); err != nil {
			b.t.Fatal(err)
		}
		if _, err := sw.Ofctl(b.t.Context(), "add-flow", "br-int", "priority=1,actions=NORMAL"); err != nil {
			b.t.Fatal(err)
		}
	}
}

// iperf runs iperf3 from one VM to a server in another and returns the rate received: Mbit/s for TCP, thousands of packets a second for UDP.
func (b *bed) iperf(from, to string, args ...string) float64 {
	b.t.Helper()
	client, server := b.vm(from), b.vm(to)
	daemon := exec.Command("iperf3", "-s", "-1")
	if err := netspace.Do(server.Namespace, daemon.Start); err != nil {
		b.t.Fatal(err)
	}
	defer func() { daemon.Process.Kill(); daemon.Wait() }()
	var result struct {
		Error string
		End   struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			Sum struct {
				Seconds, Packets float64
				Lost             float64 `json:"lost_packets"`
			}
		}
	}
	// The server may not listen yet.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var out bytes.Buffer
		cmd := exec.CommandContext(b.t.Context(), "iperf3", append([]string{"-c", server.CA, "-J"}, args...)...)
		cmd.Stdout = &out
		if err := netspace.Do(client.Namespace, cmd.Start); err != nil {
			b.t.Fatal(err)
		}
		err := cmd.Wait()
		result.Error = ""
		if jerr := json.Unmarshal(out.Bytes(), &result); jerr == nil && err == nil && result.Error == "" {
			break
		}
		if time.Now().After(end) {
			b.t.Fatalf("iperf3: %v: %s", err, out.String())
		}
	}
	if slices.Contains(args, "-u") {
		s := result.End.Sum
		return (s.Packets - s.Lost) / s.Seconds / 1000
	}
	return result.End.Received.Bits / 1e6
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
