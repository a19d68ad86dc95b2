package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// BenchmarkVMToVM compares the rate between two VMs on two hosts through the
// pipeline with that of two VMs on plain bridges (NORMAL) with a static gre port
// between them, on the same hosts, by turns. The ratio is that of the medians.
func BenchmarkVMToVM(b *testing.B) {
	ovstest.Require(b, "iperf3")
	bed := up(b, "hnv-blue-red")
	bed.ready()
	from, to := bed.vm("Blue1"), bed.vm("Blue2")
	plainFrom, plainTo := bed.plainPair()
	if out, _, code := bed.testbedCLI("pingall"); code != 0 {
		b.Fatal(out)
	}
	for _, kind := range []struct {
		name string
		args []string
	}{
		{"tcp", []string{"-t", "3"}},
		{"udp18", []string{"-t", "3", "-u", "-b", "0", "-l", "18"}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			var ours, plain []float64
			for range max(5, b.N) {
				ours = append(ours, bed.iperf(from.Namespace, to.Namespace, to.CA, kind.args...))
				plain = append(plain, bed.iperf(plainFrom, plainTo, plainToAddress, kind.args...))
			}
			m, p := median(ours), median(plain)
			unit := "Mbit/s"
			if kind.name != "tcp" {
				unit = "kpackets/s"
			}
			b.ReportMetric(m, unit)
			b.ReportMetric(p, unit+"-NORMAL")
			b.ReportMetric(m/p, "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const plainToAddress = "10.5.0.2"

// plainPair adds a VM each to two hosts, on a bridge of its own that switches
// by NORMAL, with a static gre port to the other.
func (b *bed) plainPair() (from, to string) {
	b.t.Helper()
	hosts := b.in.Hosts[:2]
	var names [2]string
	for i, h := range hosts {
		peer := hosts[1-i]
		ns := fmt.Sprintf("nvt.%s.plain%d", b.Name(), i)
		names[i] = ns
		must := func(args ...string) {
			b.t.Helper()
			if out, err := exec.CommandContext(b.t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
				b.t.Fatalf("%v: %v: %s", args, err, out)
			}
		}
		must("ip", "netns", "add", ns)
		b.t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		mtu := fmt.Sprint(b.Plan().VMMTU())
		must("ip", "-n", h.Namespace, "link", "add", "plain", "mtu", mtu, "type", "veth", "peer", "name", "eth0", "netns", ns, "mtu", mtu)
		must("ip", "netns", "exec", ns, "ethtool", "-K", "eth0", "tx", "off")
		must("ip", "-n", h.Namespace, "link", "set", "plain", "up")
		must("ip", "-n", ns, "link", "set", "eth0", "up")
		must("ip", "-n", ns, "addr", "add", fmt.Sprintf("10.5.0.%d/24", i+1), "dev", "eth0")
		if _, err := b.Switch(h.Name).Vsctl(b.t.Context(),
			"add-br", "br-plain", "--", "set", "bridge", "br-plain", "datapath_type="+b.Datapath(), "fail_mode=standalone",
			"--", "add-port", "br-plain", "plain",
			"--", "add-port", "br-plain", "gre-plain", "--", "set", "interface", "gre-plain", "type=gre",
			"options:remote_ip="+peer.PAs[0], "options:local_ip="+h.PAs[0], "options:key=99"); err != nil {
			b.t.Fatal(err)
		}
	}
	until(b.t, 10*time.Second, "the plain pair to talk", func() bool {
		return exec.Command("ip", "netns", "exec", names[0], "ping", "-c1", "-W1", plainToAddress).Run() == nil
	}, nil)
	return names[0], names[1]
}

// iperf runs iperf3 from one namespace to a server in another and returns the
// rate received: Mbit/s for TCP, thousands of packets a second for UDP.
func (b *bed) iperf(from, to, address string, args ...string) float64 {
	b.t.Helper()
	server := exec.Command("iperf3", "-s", "-1")
	if err := netspace.Do(to, server.Start); err != nil {
		b.t.Fatal(err)
	}
	defer func() { server.Process.Kill(); server.Wait() }()
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
		client := exec.CommandContext(b.t.Context(), "iperf3", append([]string{"-c", address, "-J"}, args...)...)
		client.Stdout = &out
		if err := netspace.Do(from, client.Start); err != nil {
			b.t.Fatal(err)
		}
		err := client.Wait()
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
