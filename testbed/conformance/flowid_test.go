package conformance

import (
	"testing"

	"github.com/gopacket/gopacket"
)

var flowIDRows = []Row{
	{Name: "flowid-accepted", Source: "RFC 7637, 3.2", Level: Says, Test: flowIDAccepted, Only: Flow,
		Says: "a receiver takes every FlowID: only the VSID says where a frame belongs", Note: "Open vSwitch gives a port with a fixed key that very key alone"},
	{Name: "flowid-in-transit", Source: "RFC 7637, 3.2", Level: MustNot, Test: flowIDInTransit,
		Says: "nothing between two endpoints changes the key: a router of the underlay passes it on as it was"},
	{Name: "flowid-entropy", Source: "RFC 7637, 3.2", Level: Should,
		Says: "the FlowID gives as much entropy as possible to the flows of a VSID", Note: "FlowID is always 0"},
	{Name: "flowid-stable", Source: "RFC 7637, 3.2", Level: Says,
		Says: "all packets of one connection have the same FlowID", Note: "FlowID is always 0"},
	{Name: "ecmp-spread", Source: "RFC 7637, 4.1", Level: Should,
		Says: "a hash of the outer addresses and the whole key spreads the flows of two VMs evenly over 64 paths", Note: "FlowID is always 0"},
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
