package capture

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// An echo request in NVGRE as Open vSwitch 3.1 sent it: VSID 5001, FlowID 0.
const echoInNVGRE = `
02 99 00 00 00 02 02 99 00 00 00 01 08 00
45 00 00 7e 00 00 40 00 40 2f 26 06 0a 63 00 01 0a 63 00 02
20 00 65 58 00 13 89 00
02 b0 00 00 01 12 02 b0 00 00 01 11 08 00
45 00 00 54 11 22 40 00 40 01 12 6f 0a 00 01 0b 0a 00 01 0c
08 00 12 34 00 07 00 01 61 62 63 64 65 66 67 68`

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeNVGRE(t *testing.T) {
	f, err := Decode(fromHex(t, echoInNVGRE))
	if err != nil {
		t.Fatal(err)
	}
	n := f.NVGRE
	if n == nil {
		t.Fatal("no NVGRE")
	}
	if n.Flags != GREKey || n.Protocol != EtherTypeTEB || n.Key != 0x138900 || n.VSID != 5001 || n.FlowID != 0 {
		t.Errorf("header: %+v", n)
	}
	if f.IP.Src != netip.MustParseAddr("10.99.0.1") || f.IP.Dst != netip.MustParseAddr("10.99.0.2") || f.IP.TTL != 64 {
		t.Errorf("outer: %+v", f.IP)
	}
	in := n.Inner.IP
	if in == nil || in.Src != netip.MustParseAddr("10.0.1.11") || in.Type != 8 || in.ID != 7 || in.Seq != 1 || string(in.Payload) != "abcdefgh" {
		t.Errorf("inner: %+v", in)
	}
	want := "10.99.0.1 > 10.99.0.2 NVGRE VSID 5001 FlowID 0: 02:b0:00:00:01:11 > 02:b0:00:00:01:12 10.0.1.11 > 10.0.1.12 ttl 64 ICMP echo request, id 7, seq 1"
	if f.String() != want {
		t.Errorf("String:\n got %s\nwant %s", f, want)
	}
	wantLines := `outer Ethernet  02:99:00:00:00:01 > 02:99:00:00:00:02, ethertype 0x0800
outer IP        10.99.0.1 > 10.99.0.2, protocol 47 (GRE), TTL 64
GRE             flags 0x2000 (C=0 K=1 S=0), protocol 0x6558, key 0x00138900
NVGRE           VSID 5001, FlowID 0
inner Ethernet  02:b0:00:00:01:11 > 02:b0:00:00:01:12, ethertype 0x0800
inner IP        10.0.1.11 > 10.0.1.12 ttl 64 ICMP echo request, id 7, seq 1
`
	if f.Explain() != wantLines {
		t.Errorf("Explain:\n%s\nwant\n%s", f.Explain(), wantLines)
	}
}

func TestDecodeEndsAnywhere(t *testing.T) {
	b := fromHex(t, echoInNVGRE)
	for n := range len(b) {
		if f, err := Decode(b[:n]); err == nil && (n < 14+20+8+14+20+8) {
			t.Errorf("%d of %d octets: no error, %s", n, len(b), f)
		}
	}
}

// layersOf is what gopacket sees of a frame, for comparison.
func layersOf(b []byte) (gre *layers.GRE, macs []*layers.Ethernet) {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.GRE:
			if gre == nil {
				gre = l
			}
		case *layers.Ethernet:
			macs = append(macs, l)
		}
	}
	return gre, macs
}

func FuzzDecode(f *testing.F) {
	f.Add(fromHex(f, echoInNVGRE))
	tagged := fromHex(f, echoInNVGRE)
	f.Add(append(append(append([]byte(nil), tagged[:12]...), 0x81, 0, 0, 7), tagged[12:]...))
	f.Add(fromHex(f, "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"))
	f.Add(fromHex(f, "333300000001 020000000001 86dd 60000000 0008 3a ff fe800000000000000000000000000001 ff020000000000000000000000000001 8700000000000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := Decode(b)
		_, _ = frame.String(), frame.Explain()
		k := NewKnowledge(nil, nil)
		k.Kind(&Packet{Data: b, Frame: frame, Err: err})
		if err != nil || frame.NVGRE == nil || frame.IP.Fragment || frame.EtherType != EtherTypeIPv4 {
			return
		}
		if frame.NVGRE.Flags&^(GREChecksum|GREKey|GRESequence) != 0 {
			return // gopacket also knows flags that RFC 2784 took out of GRE
		}
		// What we read, an independent decoder reads as well.
		gre, macs := layersOf(b)
		if gre == nil || len(macs) < 2 {
			return // gopacket is stricter, for example with checksums and lengths
		}
		if gre.Key != frame.NVGRE.Key || uint16(gre.Protocol) != frame.NVGRE.Protocol {
			t.Errorf("key %#x, protocol %#x; gopacket reads %#x, %#x", frame.NVGRE.Key, frame.NVGRE.Protocol, gre.Key, uint16(gre.Protocol))
		}
		if macs[1].DstMAC.String() != frame.NVGRE.Inner.Dst.String() {
			t.Errorf("inner destination %s; gopacket reads %s", frame.NVGRE.Inner.Dst, macs[1].DstMAC)
		}
	})
}

func TestKind(t *testing.T) {
	vm := Location{5001, tenant.MAC{0x02, 0xb0, 0, 0, 1, 0x12}, netip.MustParseAddr("10.99.0.2")}
	known := NewKnowledge([]Location{vm, {5001, tenant.MAC{0x02, 0xb0, 0, 0, 1, 0x11}, netip.MustParseAddr("10.99.0.1")}}, []MAC{{0x02, 0x99, 0, 0, 0, 1}})
	edit := func(ofs int, with ...byte) []byte {
		b := fromHex(t, echoInNVGRE)
		copy(b[ofs:], with)
		return b
	}
	const outerIP, gre, inner = 14, 34, 42
	tests := []struct {
		name string
		data []byte
		want Kind
	}{
		{"to a VM that is there", edit(0), KindNVGRE},
		{"to a VM that is not at that host", edit(outerIP+19, 3), KindUnknown},
		{"to a VM of another subnet", edit(gre+6, 0x8a), KindUnknown},
		{"to an unknown MAC", edit(inner, 0x06), KindUnknown},
		{"to all", edit(inner, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), KindBroadcast},
		{"to a group", edit(inner, 0x01), KindBroadcast},
		{"ARP", append(edit(inner+12, 0x08, 0x06)[:inner+14], fromHex(t, "0001 0800 06 04 0001 02b000000111 0a00010b 000000000000 0a00010c")...), KindARP},
		{"to a group of hosts", edit(outerIP+16, 239), KindOuterGroup},
		{"to all hosts", edit(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), KindOuterGroup},
		{"with a tag inside", edit(inner+12, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00), KindTagged},
		{"with a checksum", edit(gre, 0xa0), KindNotConforming},
		{"without a key", edit(gre, 0x00), KindNotConforming},
		{"without GRE", edit(6, 0x02, 0xb0, 0, 0, 1, 0x11, 0x08, 0x06), KindLeak},
		{"ARP of a host", edit(12, 0x08, 0x06), KindUnderlay},
		{"of somebody", edit(6, 0x02, 0x77, 0, 0, 0, 0, 0x99, 0x99), KindOther},
	}
	for _, tt := range tests {
		p := &Packet{Data: tt.data}
		p.Frame, p.Err = Decode(tt.data)
		if tt.want == KindTagged { // what is behind the tag does not matter
			p.Err = nil
		}
		if got := known.Kind(p); got != tt.want {
			t.Errorf("%s: %q, want %q (%s, %v)", tt.name, got, tt.want, p.Frame, p.Err)
		}
	}
}
