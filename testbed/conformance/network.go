package conformance

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// A Network is a testbed with the product running on it, in one mode, for the
// test of a row.
type Network struct {
	*drive.Bed
	Mode       Mode
	Controller *drive.Controller
}

// start builds the testbed and waits until the controller has installed all.
func (b *Bed) start(t *testing.T, m Mode) *Network {
	t.Helper()
	bed := drive.UpText(t, b.Policy, b.Topology, append(slices.Clone(b.Settings), "port-mode: "+string(m))...)
	n := &Network{bed, m, bed.Ready()}
	if b.Settled != nil {
		b.Settled(t, n)
	}
	return n
}

// part returns the network for another test, a part of the one that started it.
func (n *Network) part(t *testing.T) *Network {
	return &Network{n.With(t), n.Mode, n.Controller}
}

// patience is how long a test waits for what should come.
const patience = 5 * time.Second

// stray is how long a test waits for what should not come, after all else has.
const stray = 150 * time.Millisecond

// See captures at a point while during runs, and on until count frames that keep
// takes have been seen. It fails the test if they do not come. With count 0 it
// waits for strays only. A point is a VM (all that its adapter receives and
// sends), a host (its uplink in both directions), or "underlay" (each frame that
// a host sends, once).
func (n *Network) See(t *testing.T, point string, count int, keep func(*Frame) bool, during func()) []*Frame {
	t.Helper()
	return n.SeeAt(t, []string{point}, count, keep, during)
}

// SeeAt is like [Network.See], at several points at once.
func (n *Network) SeeAt(t *testing.T, where []string, count int, keep func(*Frame) bool, during func()) []*Frame {
	t.Helper()
	var points []capture.Point
	for _, point := range where {
		some, err := n.CapturePoints(point)
		if err != nil {
			t.Fatal(err)
		}
		points = append(points, some...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var kept []*Frame
	var seen int
	ready, enough, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := capture.Run(ctx, points, func() { close(ready) }, func(p *capture.Packet) bool {
			seen++
			if f := readFrame(p.Point, p.Data); keep(f) {
				if kept = append(kept, f); len(kept) == count {
					close(enough)
				}
			}
			return true
		})
		done <- err
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	during()
	if count > 0 {
		select {
		case <-enough:
		case <-time.After(patience):
		}
	}
	time.Sleep(stray) // for what comes too much
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(kept) < count {
		t.Fatalf("%s: %d frames of %d were seen, among %d", strings.Join(where, ", "), len(kept), count, seen)
	}
	return kept
}

// marks number what tests send.
var marks atomic.Int64

// Mark returns a text that no other frame carries.
func Mark() string { return fmt.Sprintf("<mark %d>", marks.Add(1)) }

// From sends frames out of a VM's adapter.
func (n *Network) From(t *testing.T, vm string, frames ...[]byte) {
	t.Helper()
	if err := netspace.SendFrames(n.VM(vm).Namespace, testbed.VMDevice, frames...); err != nil {
		t.Fatal(err)
	}
}

// OnWire puts frames on the wire of an underlay subnet, as whoever is connected
// there could.
func (n *Network) OnWire(t *testing.T, subnet string, frames ...[]byte) {
	t.Helper()
	if err := netspace.SendFrames(n.UnderlayNamespace(), testbed.UnderlayBridge(subnet), frames...); err != nil {
		t.Fatal(err)
	}
}

// Unicast returns a frame with a mark from one VM to another of its subnet.
func (n *Network) Unicast(from, to, mark string) []byte {
	a, b := n.VM(from), n.VM(to)
	return Bytes(UDPFrame(MAC(a.MAC), MAC(b.MAC), a.CA, b.CA, mark)...)
}

// Tunnel makes the outer headers of a frame from one host to another of its
// underlay subnet, by their first provider addresses.
func (n *Network) Tunnel(from, to string, key uint32) []gopacket.SerializableLayer {
	a, b := n.HostNamed(from), n.HostNamed(to)
	var outer gopacket.SerializableLayer = &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolGRE, SrcIP: IP(a.PAs[0]), DstIP: IP(b.PAs[0])}
	t := layers.EthernetTypeIPv4
	if netip.MustParseAddr(a.PAs[0]).Is6() {
		t = layers.EthernetTypeIPv6
		outer = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolGRE, SrcIP: IP(a.PAs[0]), DstIP: IP(b.PAs[0])}
	}
	return []gopacket.SerializableLayer{Ethernet(MAC(a.MAC), MAC(b.MAC), t), outer,
		&layers.GRE{KeyPresent: true, Protocol: layers.EthernetTypeTransparentEthernetBridging, Key: key}}
}

// Dropped runs send and waits until a host has counted count more packets dropped
// for a reason, and no more than that.
func (n *Network) Dropped(t *testing.T, host, reason string, count int, send func()) {
	t.Helper()
	n = n.part(t)
	before := n.Drops(host)[reason]
	send()
	got := 0
	drive.Until(t, patience, fmt.Sprintf("%d drops of reason %s", count, reason),
		func() bool { got = n.Drops(host)[reason] - before; return got >= count },
		func() string { return fmt.Sprintf("host %s counted %d; all: %v", host, got, n.Drops(host)) })
	if got > count {
		t.Errorf("host %s dropped %d packets for reason %s, want %d", host, got, reason, count)
	}
}

// Ping runs ping(8) in a VM and returns its output, and whether all was answered.
func (n *Network) Ping(t *testing.T, vm, to string, args ...string) (string, bool) {
	t.Helper()
	var out strings.Builder
	code, err := n.Exec(t.Context(), vm, testbed.Command{Args: append(append([]string{"ping", "-n", "-W", "2", "-c", "1"}, args...), to), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), code == 0
}

// Reply has a VM send an ARP request and returns who is said to have the address;
// nil: nobody.
func (n *Network) Reply(t *testing.T, vm, target string) net.HardwareAddr {
	t.Helper()
	v := n.VM(vm)
	answers := n.See(t, vm, 0, func(f *Frame) bool {
		return f.ARP != nil && f.ARP.Operation == layers.ARPReply && net.IP(f.ARP.SourceProtAddress).Equal(IP(target))
	}, func() { n.From(t, vm, Bytes(ARPRequest(MAC(v.MAC), v.CA, target)...)) })
	if len(answers) == 0 {
		return nil
	}
	return answers[0].ARP.SourceHwAddress
}

// setMTU sets the MTU of a VM's adapter and of the port on its host.
func (n *Network) setMTU(t *testing.T, vm string, mtu int) {
	t.Helper()
	v := n.VM(vm)
	n.deviceMTU(t, v.Namespace, testbed.VMDevice, mtu)
	n.deviceMTU(t, n.HostNamespace(v.Host), v.Port, mtu)
}

// deviceMTU sets the MTU of a device.
func (n *Network) deviceMTU(t *testing.T, namespace, device string, mtu int) {
	t.Helper()
	h, err := netspace.Handle(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err == nil {
		err = h.LinkSetMTU(link, mtu)
	}
	if err != nil {
		t.Fatalf("MTU of %s in %s: %v", device, namespace, err)
	}
}

// waitFor waits for a condition that the controller has to bring about.
func (n *Network) waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	drive.Until(t, 4*patience, what, ok, nil)
}

// soon reports whether a condition comes within two seconds, in which the
// counters of a flow follow the datapath's.
func (n *Network) soon(ok func() bool) bool {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}
