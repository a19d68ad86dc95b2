package conformance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

var formatRows = []Row{
	{Name: "outer-mac-source", Source: "RFC 7637, 3.2", Level: Says, Test: outerMACSource,
		Says: "the outer source MAC is the one of the sending endpoint"},
	{Name: "outer-mac-next-hop", Source: "RFC 7637, 3.2", Level: Says, Test: outerMACNextHop,
		Says: "the outer destination MAC is that of the next hop: the peer on the same segment, the router to another"},
	{Name: "outer-vlan", Source: "RFC 7637, 3.2", Level: May, On: Bonded, Test: outerVLAN,
		Says: "the outer frame may carry an 802.1Q tag of the physical network: where a PA has a VLAN it does"},
	{Name: "outer-addresses", Source: "RFC 7637, 3.2 and 4.3", Level: Says, Test: outerAddresses,
		Says: "the outer packet goes from the sender's PA to the PA where the destination is, IP protocol 47"},
	{Name: "checksum-absent", Source: "RFC 7637, 3.2", Level: Must, Test: checksumAbsent,
		Says: "the C bit (checksum present) is zero"},
	{Name: "sequence-absent", Source: "RFC 7637, 3.2", Level: Must, Test: sequenceAbsent,
		Says: "the S bit (sequence number present) is zero"},
	{Name: "key-present", Source: "RFC 7637, 3.2", Level: Must, Test: keyPresent,
		Says: "the K bit (key present) is one"},
	{Name: "reserved-bits-zero", Source: "RFC 2784, 2.3; RFC 2890, 2", Level: Must, Test: reservedBitsZero,
		Says: "all other flags of the GRE header, and its version, are zero"},
	{Name: "vsid-in-key", Source: "RFC 7637, 3.2", Level: Says, Test: vsidInKey,
		Says: "the upper 24 bits of the key are the VSID of the subnet that the packet goes to, up to the greatest VSID"},
	{Name: "flowid-zero", Source: "RFC 7637, 3.2", Level: Must, Test: flowIDZero,
		Says: "the lower 8 bits of the key are zero where no FlowID is generated"},
	{Name: "protocol-type", Source: "RFC 7637, 3.2", Level: Says, Test: protocolType,
		Says: "the protocol type is 0x6558, transparent Ethernet bridging"},
	{Name: "tshark-agrees", Source: "RFC 7637, 3.2", Level: Says, Test: tsharkAgrees,
		Says: "another program (tshark, where installed) reads the same flags, protocol and key"},
	{Name: "fcs-absent", Source: "RFC 7637, 3.2", Level: Says, Test: fcsAbsent,
		Says: "the frame check sequence of the inner frame is not carried: the outer packet ends with the last octet of what the VM sent"},
	{Name: "inner-unchanged", Source: "RFC 7637, 4.3", Level: Says, Test: innerUnchanged,
		Says: "within a subnet the receiving VM gets the very frame that was sent, octet by octet"},
	{Name: "without-key-dropped", Source: "RFC 7637, 3.2", Level: Says, Test: withoutKeyDropped,
		Says: "GRE without a key, or with another protocol type, reaches no VM"},
	{Name: "with-checksum-no-harm", Source: "RFC 7637, 3.2", Level: Says, Test: badFlagsHarmless,
		Says: "GRE with a wrong checksum, or with bits of routing (RFC 1701) or a version, reaches no VM"},
}

// unicasts returns frames of the underlay, one from h1 to each of the other two
// hosts and one in each of two subnets.
func unicasts(t *testing.T, n *Network) []*Frame {
	t.Helper()
	mark := Mark()
	return n.See(t, "underlay", 4, func(f *Frame) bool { return f.Carries(mark) }, func() {
		n.From(t, "web1", n.Unicast("web1", "web2", mark), n.Unicast("web1", "web3", mark))
		n.From(t, "db1", n.Unicast("db1", "db2", mark))
		n.From(t, "red1", n.Unicast("red1", "red2", mark))
	})
}

func outerMACSource(t *testing.T, n *Network) {
	for _, f := range unicasts(t, n) {
		if want := n.HostNamed(f.Point).MAC; f.Eth.SrcMAC.String() != want {
			t.Errorf("outer source %s, want %s: %s", f.Eth.SrcMAC, want, f)
		}
	}
}

func outerMACNextHop(t *testing.T, n *Network) {
	for _, f := range unicasts(t, n) {
		want := n.HostNamed("h2").MAC
		if f.Dst().String() == n.HostNamed("h3").PAs[0] {
			want = n.In.Underlay.Subnets[0].RouterMAC
		}
		if f.Eth.DstMAC.String() != want {
			t.Errorf("outer destination %s, want %s: %s", f.Eth.DstMAC, want, f)
		}
	}
}

func outerVLAN(t *testing.T, n *Network) {
	mark := Mark()
	f := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web2", mark)) })[0]
	if len(f.VLANs) != 1 || f.VLANs[0].VLANIdentifier != 100 || len(f.Inner.VLANs) != 0 {
		t.Errorf("tags %v outside and %v inside: %s", f.VLANs, f.Inner.VLANs, f)
	}
}

func outerAddresses(t *testing.T, n *Network) {
	for _, f := range unicasts(t, n) {
		want := n.HostNamed("h2").PAs[0]
		if f.Inner.Dst().String() == n.VM("web3").CA {
			want = n.HostNamed("h3").PAs[0]
		}
		if f.IP == nil || f.IP.Protocol != 47 || f.Src().String() != n.HostNamed("h1").PAs[0] || f.Dst().String() != want {
			t.Errorf("want protocol 47 from %s to %s: %s", n.HostNamed("h1").PAs[0], want, f)
		}
	}
}

// eachGRE judges the GRE header of every frame of [unicasts].
func eachGRE(t *testing.T, n *Network, want string, ok func(*layers.GRE) bool) {
	t.Helper()
	for _, f := range unicasts(t, n) {
		if !ok(f.GRE) {
			t.Errorf("want %s: % x in %s", want, f.GRE.Contents, f)
		}
	}
}

func checksumAbsent(t *testing.T, n *Network) {
	eachGRE(t, n, "C=0", func(g *layers.GRE) bool { return !g.ChecksumPresent })
}

func sequenceAbsent(t *testing.T, n *Network) {
	eachGRE(t, n, "S=0", func(g *layers.GRE) bool { return !g.SeqPresent })
}

func keyPresent(t *testing.T, n *Network) {
	eachGRE(t, n, "K=1", func(g *layers.GRE) bool { return g.KeyPresent && len(g.Contents) == 8 })
}

func reservedBitsZero(t *testing.T, n *Network) {
	eachGRE(t, n, "flags 0x2000", func(g *layers.GRE) bool { return binary.BigEndian.Uint16(g.Contents) == 0x2000 })
}

func protocolType(t *testing.T, n *Network) {
	eachGRE(t, n, "protocol 0x6558", func(g *layers.GRE) bool { return binary.BigEndian.Uint16(g.Contents[2:]) == 0x6558 })
}

func vsidInKey(t *testing.T, n *Network) {
	want := map[string]bool{}
	for _, f := range unicasts(t, n) {
		want[fmt.Sprintf("%s %d", f.Inner.Dst(), f.VSID())] = true
	}
	for _, vm := range []string{"web2", "web3", "db2", "red2"} {
		if v := n.VM(vm); !want[fmt.Sprintf("%s %d", v.CA, v.VSID)] {
			t.Errorf("no frame to %s with VSID %d among %v", v.CA, v.VSID, want)
		}
	}
}

func flowIDZero(t *testing.T, n *Network) {
	for _, f := range unicasts(t, n) {
		if f.FlowID() != 0 {
			t.Errorf("FlowID %d: %s", f.FlowID(), f)
		}
	}
}

func tsharkAgrees(t *testing.T, n *Network) {
	tshark, err := ovsproc.LookPath("tshark")
	if err != nil {
		t.Log("tshark is not installed: what gopacket reads is tested by the other rows")
		return
	}
	frames := unicasts(t, n)
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for _, f := range frames {
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f.Data), Length: len(f.Data)}, f.Data); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "nvgre.pcap")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, code := drive.Run(t, tshark, "-n", "-r", file, "-T", "fields", "-e", "gre.flags_and_version", "-e", "gre.proto", "-e", "gre.key")
	if code != 0 {
		t.Fatalf("tshark: %d %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, f := range frames {
		if want := fmt.Sprintf("0x2000\t0x6558\t0x%08x", f.GRE.Key); i >= len(lines) || lines[i] != want {
			t.Errorf("tshark read\n%s\nwant line %d to be %s", out, i+1, want)
		}
	}
}

func fcsAbsent(t *testing.T, n *Network) {
	for _, size := range []int{0, 1, 60, 1000} {
		mark := Mark() + strings.Repeat("x", size)
		sent := n.Unicast("web1", "web2", mark)
		f := n.See(t, "underlay", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", sent) })[0]
		// Outer IP header, GRE with key, the frame: and no more.
		if got, want := int(f.IP.Length), 20+8+len(sent); got != want || !bytes.Equal(f.Inner.Data, sent) {
			t.Errorf("the outer packet has %d octets, want %d: %s", got, want, f)
		}
	}
}

func innerUnchanged(t *testing.T, n *Network) {
	mark := Mark()
	sent := n.Unicast("web1", "web3", mark)
	got := n.See(t, "web3", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", sent) })
	if len(got) != 1 || !bytes.Equal(got[0].Data, sent) {
		t.Errorf("sent % x\ngot %d frames, the first % x", sent, len(got), got[0].Data)
	}
}

// unheard sends frames from h2 to h1 that would be for web1 if they were right,
// and fails the test if a VM of h1 hears one.
func unheard(t *testing.T, n *Network, mark string, frames ...[]byte) {
	t.Helper()
	good := Mark()
	key := n.VM("web1").VSID << 8
	right := Bytes(append(n.Tunnel("h2", "h1", key), gopacket.Payload(n.Unicast("web2", "web1", good)))...)
	for _, vm := range []string{"web1", "red1", "web4"} {
		want := 0
		if vm == "web1" {
			want = 1
		}
		got := n.See(t, vm, want, func(f *Frame) bool { return f.Carries(mark) || f.Carries(good) }, func() {
			n.OnWire(t, "rack1", append(frames, right)...) // the right one is behind the others
		})
		for _, f := range got {
			if f.Carries(mark) {
				t.Errorf("%s got %s", vm, f)
			}
		}
	}
}

func withoutKeyDropped(t *testing.T, n *Network) {
	mark := Mark()
	inner := gopacket.Payload(n.Unicast("web2", "web1", mark))
	outer := n.Tunnel("h2", "h1", 0)[:2]
	unheard(t, n, mark,
		Bytes(append(outer, &layers.GRE{Protocol: capture.EtherTypeTEB}, inner)...),
		Bytes(append(outer, &layers.GRE{Protocol: 0x0800, KeyPresent: true, Key: n.VM("web1").VSID << 8}, inner[14:])...),
		Bytes(append(outer, &layers.GRE{Protocol: 0x1234, KeyPresent: true, Key: n.VM("web1").VSID << 8}, inner)...))
}

func badFlagsHarmless(t *testing.T, n *Network) {
	mark := Mark()
	inner := n.Unicast("web2", "web1", mark)
	key := n.VM("web1").VSID << 8
	gre := func(flags uint16, more ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, flags)
		b = binary.BigEndian.AppendUint16(b, capture.EtherTypeTEB)
		b = append(b, more...)
		b = binary.BigEndian.AppendUint32(b, key)
		return Bytes(append(n.Tunnel("h2", "h1", 0)[:2], gopacket.Payload(append(b, inner...)))...)
	}
	unheard(t, n, mark,
		gre(0xa000, 0xde, 0xad, 0, 0), // a checksum that is wrong
		gre(0x6000, 0, 0, 0, 0),       // routing present
		gre(0x2001))                   // version 1
}
