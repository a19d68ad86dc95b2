package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
)

// firstFlowID to firstFlowID+63 are the FlowIDs that packets get.
const firstFlowID = 64

var flowIDRows = []Row{
	{Name: "flowid-accepted", Source: "RFC 7637, 3.2", Level: Says, Test: flowIDAccepted, Only: Flow,
		Says: "a receiver takes every FlowID: only the VSID says where a frame belongs", Note: "Open vSwitch gives a port with a fixed key that very key alone"},
	{Name: "flowid-in-transit", Source: "RFC 7637, 3.2", Level: MustNot, Test: flowIDInTransit,
		Says: "nothing between two endpoints changes the key: a router of the underlay passes it on as it was"},
	{Name: "flowid-entropy", Source: "RFC 7637, 3.2", Level: Should,
		Says: "the FlowID gives as much entropy as possible to the flows of a VSID", On: Entropic, Only: Flow, Test: flowIDEntropy,
		Note: "64 of the 256 values, with the setting flow-id. Open vSwitch hashes the ports of TCP and SCTP but not of UDP. A port with a fixed key has FlowID 0"},
	{Name: "flowid-off", Source: "RFC 7637, 3.2", Level: Must,
		Says: "where no FlowID is made, all its bits are 0", Test: flowIDOff},
	{Name: "flowid-stable", Source: "RFC 7637, 3.2", Level: Says,
		Says: "all packets of one connection have the same FlowID", On: Entropic, Only: Flow, Test: flowIDStable,
		Note: "a port with a fixed key has FlowID 0"},
	{Name: "flowid-megaflows", Source: "HNV", Level: HNV,
		Says: "thousands of connections of two VMs cost their hosts no more datapath flows than there are FlowIDs", On: Entropic, Only: Flow, Test: flowIDMegaflows,
		Note: "a port with a fixed key has FlowID 0"},
	{Name: "ecmp-spread", Source: "RFC 7637, 4.1", Level: Should,
		Says: "a hash of the outer addresses and the whole key spreads the flows of two VMs evenly over 64 paths", On: Entropic, Only: Flow, Test: ecmpSpread,
		Note: "the router folds its input by exclusive or; how many paths another hash reaches is its own matter (CRC-32 modulo 64 reached 16 of 64 in a run). A port with a fixed key has FlowID 0"},
}

func flowIDAccepted(t *testing.T, n *Network) {
	mark := Mark()
	var frames [][]byte
	for id := range uint32(256) {
		frames = append(frames, Bytes(append(n.Tunnel("h2", "h1", n.VM("web1").VSID<<8|id), gopacket.Payload(n.Unicast("web2", "web1", mark)))...))
	}
	got := n.See(t, "web1", len(frames), func(f *Frame) bool { return f.Carries(mark) }, func() { n.OnWire(t, "rack1", frames...) })
	if len(got) != len(frames) {
		t.Errorf("web1 got %d frames of %d", len(got), len(frames))
	}
}

func flowIDInTransit(t *testing.T, n *Network) {
	mark := Mark()
	// Host h3's uplink sees what the router made of what h1 sent.
	got := n.See(t, "h3", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web3", mark)) })
	if f := got[0]; len(got) != 1 || f.GRE.Key != n.VM("web3").VSID<<8 || f.IP.TTL != 63 {
		t.Errorf("behind the router: key 0x%08x, TTL %d: %s", f.GRE.Key, f.IP.TTL, f)
	}
}

func flowIDOff(t *testing.T, n *Network) {
	mark := Mark()
	for _, f := range n.See(t, "h2", 64, func(f *Frame) bool { return tcpOf(f, mark) != nil }, func() { n.From(t, "web1", n.connections(64, mark)...) }) {
		if f.GRE.Key&0xff != 0 {
			t.Fatalf("FlowID %d", f.GRE.Key&0xff)
		}
	}
}

// connections makes packets of TCP connections from web1 to web2, each of other
// ports. They ask for no answer.
func (n *Network) connections(count int, mark string) (frames [][]byte) {
	a, b := n.VM("web1"), n.VM("web2")
	for i := range count {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: IP(a.CA), DstIP: IP(b.CA)}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(uint16(i * 40503)), DstPort: 443, RST: true}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			panic(err)
		}
		frames = append(frames, Bytes(Ethernet(MAC(a.MAC), MAC(b.MAC), layers.EthernetTypeIPv4), ip, tcp, gopacket.Payload(mark)))
	}
	return frames
}

// tcpOf returns the TCP header that a frame in the tunnel carries with a mark.
func tcpOf(f *Frame, mark string) *layers.TCP {
	if f.GRE == nil || f.Inner == nil {
		return nil
	}
	tcp, _ := gopacket.NewPacket(f.Inner.Data, layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeTCP).(*layers.TCP)
	if tcp == nil || !strings.Contains(string(tcp.Payload), mark) {
		return nil
	}
	return tcp
}

// flowKeys sends packets of so many connections, one after the other, and returns
// the keys that they had in the underlay, by source port.
func (n *Network) flowKeys(t *testing.T, count int) map[layers.TCPPort][]uint32 {
	t.Helper()
	mark := Mark()
	keys := make(map[layers.TCPPort][]uint32)
	frames := n.connections(count, mark)
	const most = 500 // at a time, so that no queue overflows
	for len(frames) > 0 {
		some := frames[:min(most, len(frames))]
		frames = frames[len(some):]
		for _, f := range n.See(t, "h2", len(some), func(f *Frame) bool { return tcpOf(f, mark) != nil }, func() { n.From(t, "web1", some...) }) {
			port := tcpOf(f, mark).SrcPort
			keys[port] = append(keys[port], f.GRE.Key)
		}
	}
	return keys
}

// chiSquared returns how far counts are from even.
func chiSquared(counts []int) (sum float64) {
	all := 0
	for _, n := range counts {
		all += n
	}
	even := float64(all) / float64(len(counts))
	for _, n := range counts {
		sum += (float64(n) - even) * (float64(n) - even) / even
	}
	return sum
}

// tooUneven is passed by chance once in a thousand times, with 63 degrees of freedom.
const tooUneven = 103.4

func flowIDEntropy(t *testing.T, n *Network) {
	var counts [64]int
	for _, keys := range n.flowKeys(t, 2000) {
		id := int(keys[0]&0xff) - firstFlowID
		if id < 0 || id >= len(counts) || keys[0]>>8 != n.VM("web1").VSID {
			t.Fatalf("key %#x", keys[0])
		}
		counts[id]++
	}
	chi := chiSquared(counts[:])
	t.Logf("chi-squared of 2,000 connections over 64 FlowIDs: %.1f", chi)
	if chi > tooUneven {
		t.Errorf("FlowIDs are uneven: %v", counts)
	}
}

func ecmpSpread(t *testing.T, n *Network) {
	var counts [64]int
	a, b := n.HostNamed("h1").PAs[0], n.HostNamed("h2").PAs[0]
	for _, keys := range n.flowKeys(t, 2000) {
		k := keys[0]
		path := byte(0)
		for _, octet := range bytes.Join([][]byte{IP(a), IP(b), {byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}}, nil) {
			path ^= octet
		}
		counts[path%64]++
	}
	chi := chiSquared(counts[:])
	t.Logf("chi-squared of 2,000 connections over 64 paths: %.1f", chi)
	if chi > tooUneven {
		t.Errorf("paths are used unevenly: %v", counts)
	}
}

func flowIDStable(t *testing.T, n *Network) {
	mark := Mark()
	frames := n.connections(20, mark)
	seen := make(map[layers.TCPPort]uint32)
	for _, f := range n.See(t, "h2", 5*len(frames), func(f *Frame) bool { return tcpOf(f, mark) != nil }, func() {
		for range 5 {
			n.From(t, "web1", frames...)
		}
	}) {
		port := tcpOf(f, mark).SrcPort
		if k, ok := seen[port]; ok && k != f.GRE.Key {
			t.Errorf("packets from port %d have keys %#x and %#x", port, k, f.GRE.Key)
		}
		seen[port] = f.GRE.Key
	}
	if len(seen) != len(frames) {
		t.Errorf("%d connections seen of %d", len(seen), len(frames))
	}
}

func flowIDMegaflows(t *testing.T, n *Network) {
	n.flowKeys(t, 3000)
	for _, host := range []string{"h1", "h2"} {
		var out bytes.Buffer
		if code, err := n.Exec(t.Context(), host, testbed.Command{Args: []string{"ovs-appctl", "dpctl/dump-flows"}, Stdout: &out, Stderr: &out}); err != nil || code != 0 {
			t.Fatalf("%d, %v: %s", code, err, out.String())
		}
		total := strings.Count(out.String(), "actions:")
		t.Logf("%s: %d datapath flows after 3,000 connections", host, total)
		if limit := 64 + 64 + 40; total > limit { // one hash, 64 FlowIDs, and what else goes on
			t.Error(fmt.Sprint(host, ": ", total, " datapath flows, want at most ", limit))
		}
	}
}
