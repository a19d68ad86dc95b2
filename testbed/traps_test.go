//go:build linux

package testbed_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// Each test here is one trap of hosts made of namespaces. Where it can, it takes
// the testbed's remedy away at its end and shows that the trap then bites, so
// that the test is known to see it.

const linger = 400 * time.Millisecond

// arpAnswers asks for an address and returns the MACs that answer.
func arpAnswers(t *testing.T, p capture.Point, senderMAC, senderIP, targetIP string) []string {
	t.Helper()
	var macs []string
	for _, pk := range watch(t, p, linger, func() {
		sendFrames(t, p.Namespace, p.Device, arpFrame(1, "ff:ff:ff:ff:ff:ff", senderMAC, senderIP, targetIP))
	}, nil) {
		if a := pk.Frame.ARP; a != nil && a.Op == 2 && a.SenderIP.String() == targetIP {
			macs = append(macs, a.SenderMAC.String())
		}
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

// hearing gives the kernel of a host its ears back.
func hearing(t *testing.T, tb *testbed.Testbed, host string) {
	t.Helper()
	if code, out := run(t, tb, host, "nft", "delete", "table", "netdev", "nvgre_testbed"); code != 0 {
		t.Fatalf("nft: %s", out)
	}
	settings, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/arp_ignore")
	if err != nil || len(settings) == 0 {
		t.Fatal("no arp_ignore to be found")
	}
	run(t, tb, host, "sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/arp_ignore; do echo 0 >$f; done")
}

func TestTrapKernelAnswersVMsAndUnderlay(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-deaf"), testbed.Options{})
	in := tb.Inspect()
	vm := capture.Point{Name: "Blue1", Namespace: tb.VMNamespace("Blue1"), Device: "eth0"}
	underlay := in.Underlay.Capture[0]
	wire := capture.Point{Namespace: underlay.Namespace, Device: underlay.Device}

	if got := arpAnswers(t, vm, "06:06:00:00:00:05", "10.0.0.5", "192.168.4.11"); len(got) != 0 {
		t.Errorf("the host's kernel answers a VM beside Open vSwitch: %v", got)
	}
	// The provider address has one MAC, that of br-phy.
	if got := arpAnswers(t, wire, underlayMAC, "192.168.4.99", "192.168.4.11"); !slices.Equal(got, []string{in.Hosts[0].MAC}) {
		t.Errorf("for the provider address answer %v, want only %s", got, in.Hosts[0].MAC)
	}
	// A ping to the MAC of the host's end of the VM's adapter, too.
	hostEnd := deviceMAC(t, tb, "host1", testbed.VMPort("Blue1"))
	echo := ethernet(hostEnd, "06:06:00:00:00:05", capture.EtherTypeIPv4, ipv4("10.0.0.5", "192.168.4.11", 1, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}))
	run(t, tb, "host1", "ip", "route", "add", "10.0.0.5/32", "dev", testbed.VMPort("Blue1"))
	count := func() int {
		n := 0
		for _, p := range watch(t, vm, linger, func() { sendFrames(t, vm.Namespace, vm.Device, echo) }, nil) {
			if p.Frame.ARP != nil && p.Frame.ARP.SenderIP.String() == "192.168.4.11" || p.Frame.IP != nil && p.Frame.IP.Src.String() == "192.168.4.11" {
				n++
			}
		}
		return n
	}
	if n := count(); n != 0 {
		t.Errorf("%d frames from the host's kernel to a ping around Open vSwitch", n)
	}

	hearing(t, tb, "host1")
	if got := arpAnswers(t, vm, "06:06:00:00:00:05", "10.0.0.5", "192.168.4.11"); len(got) == 0 {
		t.Error("a kernel that hears does not answer a VM: this test proves nothing")
	}
	if got := arpAnswers(t, wire, underlayMAC, "192.168.4.99", "192.168.4.11"); len(got) != 2 {
		t.Errorf("for the provider address of a kernel that hears answer %v, want two MACs: this test proves nothing", got)
	}
	if n := count(); n == 0 {
		t.Error("a kernel that hears does not answer a ping: this test proves nothing")
	}
}

// underlayMAC is nobody's.
const underlayMAC = "02:66:66:66:66:66"

func deviceMAC(t *testing.T, tb *testbed.Testbed, node, device string) string {
	t.Helper()
	n, err := tb.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	h, err := netspace.Handle(n.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().HardwareAddr.String()
}

func TestTrapOffloads(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-offload"), testbed.Options{})
	handFlows(t, tb)
	for _, v := range tb.Plan().VMs {
		if on, err := netspace.TxChecksumOffload(tb.VMNamespace(v.IfaceID), "eth0"); err != nil || on {
			t.Errorf("VM %s leaves checksums to its adapter (%v)", v.IfaceID, err)
		}
	}
	from, _ := tb.Plan().FindVM("Blue1", "")
	to, _ := tb.Plan().FindVM("Blue2", "")
	r, err := tb.Throughput(t.Context(), from, to, 300*time.Millisecond)
	if err != nil || r.Octets == 0 {
		t.Errorf("TCP through the tunnel: %+v, %v", r, err)
	}
}

func TestTrapIPv6OfHostDevices(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-ipv6"), testbed.Options{})
	for _, v := range tb.Plan().VMs {
		for _, dev := range []string{testbed.VMPort(v.IfaceID), testbed.Uplink} {
			if _, out := run(t, tb, v.Host, "cat", "/proc/sys/net/ipv6/conf/"+dev+"/disable_ipv6"); strings.TrimSpace(out) != "1" {
				t.Errorf("%s of %s speaks IPv6: %s", dev, v.Host, out)
			}
		}
	}
	for _, h := range tb.Plan().Hosts {
		if out, err := tb.Switch(h.Name).Appctl(t.Context(), "ovs/route/show"); err != nil || strings.Contains(out, "fe80") {
			t.Errorf("Open vSwitch of %s routes by link-local addresses: %v\n%s", h.Name, err, out)
		}
	}
}

func neighbourMAC(t *testing.T, tb *testbed.Testbed, host, addr string) string {
	t.Helper()
	out, err := tb.Switch(host).Appctl(t.Context(), "tnl/neigh/show")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == addr {
			return f[1]
		}
	}
	return ""
}

func TestTrapNeighbours(t *testing.T) {
	tb := up(t, load(t, "examples/two-tenants.yaml", "t-neigh"), testbed.Options{})
	handFlows(t, tb)
	in := tb.Inspect()
	h1, h2, rack1 := in.Hosts[0], in.Hosts[1], in.Underlay.Subnets[0]
	// The first packet of all is not lost, neither in the subnet nor to the router.
	for _, to := range []string{"10.0.1.12", "10.0.2.13"} {
		if code, out := run(t, tb, "blue-web1", "ping", "-c1", "-W1", "-q", to); code != 0 {
			t.Errorf("the first packet to %s is lost:\n%s", to, out)
		}
	}
	inner := ethernet("02:00:00:00:01:11", "02:00:00:00:01:12", capture.EtherTypeIPv4, ipv4("10.0.1.12", "10.0.1.11", 17, make([]byte, 8)))
	rogue := map[string][]byte{
		"GRE in a peer's name":       ethernet(h1.MAC, underlayMAC, capture.EtherTypeIPv4, ipv4("10.99.0.2", "10.99.0.1", 47, nvgre(5001<<8, inner))),
		"GRE in the router's name":   ethernet(h1.MAC, underlayMAC, capture.EtherTypeIPv4, ipv4("10.99.0.254", "10.99.0.1", 47, nvgre(5001<<8, inner))),
		"ARP reply in a peer's name": arpFrame(2, h1.MAC, underlayMAC, "10.99.0.2", "10.99.0.1"),
		"ARP reply as the router":    arpFrame(2, h1.MAC, underlayMAC, "10.99.0.254", "10.99.0.1"),
		"gratuitous ARP":             arpFrame(1, "ff:ff:ff:ff:ff:ff", underlayMAC, "10.99.0.2", "10.99.0.2"),
	}
	drops := func() int {
		out, err := tb.Switch("h1").Ofctl(t.Context(), "dump-flows", "br-phy")
		if err != nil {
			t.Fatal(err)
		}
		return countDrops(out)
	}
	// poisoned returns what a frame changed, after it has been dropped.
	poisoned := func(frame []byte) (changed string) {
		before := drops()
		sendFrames(t, in.Underlay.Namespace, rack1.Bridge, frame, frame)
		waitFor(t, "the frames to be dropped, or to do harm", func() bool {
			for addr, want := range map[string]string{"10.99.0.2": h2.MAC, "10.99.0.254": rack1.RouterMAC} {
				if got := neighbourMAC(t, tb, "h1", addr); got != want {
					changed = fmt.Sprintf("%s is at %s, not %s", addr, got, want)
				}
			}
			return changed != "" || drops() >= before+2
		})
		return changed
	}
	for _, name := range slices.Sorted(maps.Keys(rogue)) {
		if got := poisoned(rogue[name]); got != "" {
			t.Errorf("after %s: %s", name, got)
		}
	}
	if _, err := tb.Switch("h1").Ofctl(t.Context(), "del-flows", "br-phy", "in_port=up0"); err != nil {
		t.Fatal(err)
	}
	if _, err := tb.Switch("h1").Ofctl(t.Context(), "add-flow", "br-phy", "priority=0 actions=NORMAL"); err != nil {
		t.Fatal(err)
	}
	if got := poisoned(rogue["GRE in a peer's name"]); got == "" {
		t.Error("without the pins, too, nothing changes: this test proves nothing")
	}
}

// countDrops adds the packet counters of all drop flows.
func countDrops(dump string) int {
	total := 0
	for line := range strings.Lines(dump) {
		var n int
		if i := strings.Index(line, "n_packets="); i >= 0 && strings.Contains(line, "actions=drop") {
			fmt.Sscanf(line[i:], "n_packets=%d", &n)
			total += n
		}
	}
	return total
}

func TestTrapSecondTagHides(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-vlan"), testbed.Options{})
	for _, f := range []string{"table=0,priority=10,vlan_tci=0x1000/0x1000 actions=pop_vlan,resubmit(,1)", "table=1,priority=10,vlan_tci=0x1000/0x1000 actions=drop", "table=1,priority=0 actions=in_port"} {
		addFlow(t, tb, "host1", "add-flow", f)
	}
	inner := append([]byte{0x00, 0x07, 0x81, 0x00, 0x00, 0x08}, 0x08, 0x00)
	frame := ethernet("06:06:00:00:00:07", "06:06:00:00:00:05", capture.EtherTypeVLAN, append(inner, ipv4("10.0.0.5", "10.0.0.7", 17, make([]byte, 26))...))
	sendFrames(t, tb.VMNamespace("Blue1"), "eth0", frame)
	waitFor(t, "the second tag to be seen in table 1", func() bool {
		out, err := tb.Switch("host1").Ofctl(t.Context(), "dump-flows", "br-int", "table=1")
		return err == nil && countDrops(out) == 1
	})
	// By default it stays hidden.
	if _, err := tb.Switch("host1").Vsctl(t.Context(), "remove", "Open_vSwitch", ".", "other_config", "vlan-limit"); err != nil {
		t.Fatal(err)
	}
	vm := capture.Point{Namespace: tb.VMNamespace("Blue1"), Device: "eth0"}
	back := watch(t, vm, 2*time.Second, func() { sendFrames(t, vm.Namespace, vm.Device, frame) }, func(*capture.Packet) bool { return true })
	if len(back) == 0 {
		t.Error("with the default limit the second tag is seen as well: this test proves nothing")
	}
}

// waitFor waits for a condition.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestTrapBridgeAddressChanges(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-hwaddr"), testbed.Options{})
	want := tb.Inspect().Hosts[0].MAC
	if got := deviceMAC(t, tb, "host1", "br-phy"); got != want {
		t.Errorf("br-phy has %s, want %s", got, want)
	}
	if got := deviceMAC(t, tb, "host1", "up0"); got == want {
		t.Errorf("br-phy has the address of the uplink, %s", got)
	}
	for _, crash := range []bool{false, true} {
		if err := tb.RestartSwitch(t.Context(), "host1", crash); err != nil {
			t.Fatal(err)
		}
		if got := deviceMAC(t, tb, "host1", "br-phy"); got != want {
			t.Errorf("after a restart br-phy has %s, want %s", got, want)
		}
	}
	handFlows(t, tb)
	if m, _ := ping(t, tb); m.Differences != 0 || m.Resent != 0 {
		t.Errorf("after restarts:\n%s", table(t, m))
	}
	if _, err := os.Stat(filepath.Join(tb.Inspect().Hosts[0].RunDir, "br-int.mgmt")); err != nil {
		t.Error(err)
	}
}
