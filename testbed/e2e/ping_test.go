package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
)

// probes returns the flows of a host that watch echo messages.
func (b *bed) probes(host string) string {
	b.t.Helper()
	out, err := b.Switch(host).Ofctl(b.t.Context(), "-OOpenFlow13", "dump-flows", "br-int", "cookie=0x4e50000000000000/0xffff000000000000")
	if err != nil {
		b.t.Fatal(err)
	}
	_, flows, _ := strings.Cut(out, "\n")
	return flows
}

// pings runs nvgre-ofctl ping and fails the test unless it says all that is wanted.
func (b *bed) pings(code int, args []string, want ...string) {
	b.t.Helper()
	out, stderr, got := b.cli(append([]string{"ping", "--config", b.Settings()}, args...)...)
	for _, w := range want {
		if !strings.Contains(out+stderr, w) {
			b.t.Errorf("ping %v: no %q in\n%s%s", args, w, out, stderr)
		}
	}
	if got != code {
		b.t.Errorf("ping %v: exit code %d, want %d:\n%s%s", args, got, code, out, stderr)
	}
	for _, h := range b.in.Hosts {
		if left := b.probes(h.Name); left != "" {
			b.t.Errorf("ping %v left on %s: %s", args, h.Name, left)
		}
	}
}

func (b *bed) exec(node string, command ...string) {
	b.t.Helper()
	if code, err := b.Exec(b.t.Context(), node, testbed.Command{Args: command}); err != nil || code != 0 {
		b.t.Fatalf("%v in %s: %d, %v", command, node, code, err)
	}
}

// An echo from a VM's port is watched all its way, and where it dies is found,
// while VMs that really ping one another notice nothing.
func TestPingFromThePort(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	all := b.pingers()
	const web1, web2 = "blue/web1", "blue/web2"
	b.pings(0, []string{web1, web2}, "arrived: delivered to VM blue/web2 10.0.1.12 at h2", "the guest answered, and its answer was back after",
		"request   h1: in by port", "out of encap", "NVGRE 10.99.0.1 > 10.99.0.2", "request   h2: in by port", "answer    h1: out of output")
	b.pings(0, []string{web1, "blue/web3"}, "arrived: delivered to VM blue/web3 10.0.1.13 at h1", "the guest answered")
	b.pings(0, []string{web1, "blue/db1"}, "arrived: delivered to VM blue/db1 10.0.2.13 at h3", "the guest answered")
	b.pings(0, []string{web1, "10.0.2.1"}, "arrived, and answered by the network on h1")
	b.pings(0, []string{web1, web2, "--size", "1458"}, "the guest answered")
	b.pings(1, []string{web1, web2, "--size", "1500", "-c1"}, "dropped at h1/mtu: the packet is larger than the underlay takes", "the controller tells the sender")
	b.pings(1, []string{web1, "10.0.1.77"}, "dropped at h1/ca", "flow      ca 0: any ->")
	b.pings(0, []string{web1, "red/db1", "-o", "json"}, `"arrived": true`, "for whoever has that address in the sender's")
	b.pings(2, []string{web1, web2, "--size", "10"}, "--size is 10")
	if sent, lost, worst := finishAll(t, all); lost > 0 {
		t.Errorf("%d of %d echoes of VMs were lost; worst: %v", lost, sent, worst)
	}

	b.exec("blue-web2", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
	b.pings(0, []string{web1, web2}, "arrived: delivered to VM blue/web2", "the guest did not answer")
	// On h2 a flow of ours is gone, and nobody repairs it: the request dies there.
	b.exec("blue-web2", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=0")
	b.exec("h2", "ovs-ofctl", "-OOpenFlow13", "add-flow", "br-int", "table=40,priority=60000,ip,dl_dst=02:00:00:00:01:12,reg2=5001,actions=drop")
	b.pings(1, []string{web1, web2}, "dropped at h2/local by a flow that is not ours", "flow      local 60000")
	// The way back may be broken alone.
	b.exec("h2", "ovs-ofctl", "-OOpenFlow13", "--strict", "del-flows", "br-int", "table=40,priority=60000,ip,dl_dst=02:00:00:00:01:12,reg2=5001")
	b.exec("h2", "ovs-ofctl", "-OOpenFlow13", "add-flow", "br-int", "table=20,priority=60000,ip,reg0=0/0,actions=drop")
	b.pings(0, []string{web1, web2}, "arrived: delivered to VM blue/web2", "the guest answered, but its answer was dropped at h2/ca by a flow that is not ours")
	if n := b.metric("nvgre_drift_total", `kind="shadowed"`); n > 2 {
		t.Errorf("the controller names %v foreign flows over ours: two were there", n)
	}
}

// Where both VMs have several CAs the answer is watched between the two that the
// request was sent between, over provider addresses of either family.
func TestPingIPv6(t *testing.T) {
	b := up(t, "dual-stack")
	b.ready()
	const web1, back = "blue/web1", "the guest answered, and its answer was back after"
	b.pings(0, []string{web1, "fd00:0:0:1::12"}, "arrived: delivered to VM blue/web2 fd00:0:0:1::12 at h2", back, "answer    h1: out of output")
	b.pings(0, []string{"blue-web1", "10.0.1.12"}, "arrived: delivered to VM blue/web2 10.0.1.12 at h2", back)
	b.pings(0, []string{web1, "blue/web3"}, "arrived: delivered to VM blue/web3 fd00:0:0:1::13 at h1", back)
	b.pings(0, []string{web1, "fd00:0:0:2::13"}, "arrived: delivered to VM blue/db1 fd00:0:0:2::13 at h3", back, "answer    h1: out of output")
	b.pings(0, []string{web1, tenant.LinkLocal(tenant.MAC{2, 0, 0, 0, 1, 0x12}).String()}, "arrived: delivered to VM blue/web2", back)
	b.pings(0, []string{web1, "fd00:0:0:2::1"}, "arrived, and answered by the network on h1")
	b.pings(1, []string{web1, "fd00:0:0:1::77"}, "dropped at h1/ca")

	b.exec("blue-web2", "sysctl", "-qw", "net.ipv6.icmp.echo_ignore_all=1")
	b.pings(0, []string{web1, "fd00:0:0:1::12"}, "arrived: delivered to VM blue/web2", "the guest did not answer")
}

// The flows of a ping that was killed end by themselves.
func TestKilledPingLeavesNothing(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	b.exec("blue-web2", "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
	cmd := exec.Command(b.binary, "ping", "--config", b.Settings(), "blue/web1", "blue/web2", "-c1", "-i", "2s")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, 5*time.Second, "its flows", func() bool { return b.probes("h1") != "" && b.probes("h2") != "" }, nil)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	if b.probes("h1") == "" {
		t.Error("the flows went with the command")
	}
	until(t, 15*time.Second, "its flows to end", func() bool { return b.probes("h1") == "" && b.probes("h2") == "" }, nil)
}
