package conformance

import (
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var vlanRows = []Row{
	{Name: "inner-tag-never-sent", Source: "RFC 7637, 3.3", Level: MustNot, Test: innerTagNeverSent,
		Says: "no frame in NVGRE carries an 802.1Q tag, whatever tags a VM sends (0x8100, 0x88a8, two of them, priority tags)"},
	{Name: "inner-tag-removed", Source: "RFC 7637, 3.3", Level: Must,
		Says: "the tag of a frame that its port may carry is removed before encapsulation", Note: "all tagged frames of VMs are dropped"},
	{Name: "inner-tag-dropped", Source: "RFC 7637, 3.3", Level: Must, Test: innerTagDropped,
		Says: "a frame from the tunnel whose inner frame carries a tag is dropped, and counted"},
}

// tagged puts tags before what an Ethernet frame carries.
func tagged(frame []byte, tags ...layers.Dot1Q) []byte {
	types := []layers.EthernetType{layers.EthernetTypeDot1Q}
	for i := 1; i < len(tags); i++ {
		types = append(types, layers.EthernetTypeDot1Q)
	}
	return taggedAs(frame, types, tags...)
}

func taggedAs(frame []byte, types []layers.EthernetType, tags ...layers.Dot1Q) []byte {
	ls := []gopacket.SerializableLayer{Ethernet(frame[6:12], frame[:6], types[0])}
	for i := range tags {
		tags[i].Type = layers.EthernetTypeIPv4
		if i+1 < len(tags) {
			tags[i].Type = types[i+1]
		}
		ls = append(ls, &tags[i])
	}
	return RawBytes(append(ls, gopacket.Payload(frame[14:]))...)
}

// tags returns a frame with tags of each kind that there is.
func allTagged(frame []byte) [][]byte {
	return [][]byte{
		tagged(frame, layers.Dot1Q{VLANIdentifier: 7}),
		tagged(frame, layers.Dot1Q{VLANIdentifier: 0, Priority: 5}),
		taggedAs(frame, []layers.EthernetType{layers.EthernetTypeQinQ}, layers.Dot1Q{VLANIdentifier: 7}),
		taggedAs(frame, []layers.EthernetType{layers.EthernetTypeQinQ, layers.EthernetTypeDot1Q}, layers.Dot1Q{VLANIdentifier: 7}, layers.Dot1Q{VLANIdentifier: 8}),
	}
}

func innerTagNeverSent(t *testing.T, n *Network) {
	mark := Mark()
	frames := allTagged(n.Unicast("web1", "web2", mark))
	seen := n.See(t, "underlay", 0, func(f *Frame) bool { return f.Carries(mark) || f.Inner != nil && len(f.Inner.VLANs) > 0 }, func() {
		n.Dropped(t, "h1", "vm-tagged", len(frames), func() { n.From(t, "web1", frames...) })
	})
	for _, f := range seen {
		t.Errorf("in the underlay: %s", f)
	}
}

func innerTagDropped(t *testing.T, n *Network) {
	mark := Mark()
	var frames [][]byte
	for _, f := range allTagged(n.Unicast("web2", "web1", mark)) {
		frames = append(frames, Bytes(append(n.Tunnel("h2", "h1", n.VM("web1").VSID<<8), gopacket.Payload(f))...))
	}
	seen := n.See(t, "web1", 0, func(f *Frame) bool { return f.Carries(mark) || len(f.VLANs) > 0 }, func() {
		n.Dropped(t, "h1", "tunnel-tagged", len(frames), func() { n.OnWire(t, "rack1", slices.Clone(frames)...) })
	})
	for _, f := range seen {
		t.Errorf("delivered: %s", f)
	}
}
