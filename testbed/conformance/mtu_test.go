package conformance

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var mtuRows = []Row{
	{Name: "full-size-carried", Source: "RFC 7637, 4.4", Level: Recommended, Test: fullSizeCarried,
		Says: "an inner packet of the whole CA MTU makes an outer packet of exactly the underlay's MTU, and arrives"},
	{Name: "never-fragmented", Source: "RFC 7637, 4.4", Level: MustNot, Test: neverFragmented,
		Says: "the sender does not fragment NVGRE packets, and forbids it on the way (DF), also where the inner packet is too big and may be fragmented"},
	{Name: "fragments-discarded", Source: "RFC 7637, 4.4", Level: May, Test: fragmentsDiscarded,
		Says: "a receiver may discard fragmented NVGRE packets: it does"},
	{Name: "path-mtu-reported", Source: "RFC 7637, 4.4", Level: Recommended, On: Told, Test: pathMTUReported,
		Says: "an inner packet that is too big gets ICMP \"fragmentation needed\" or \"packet too big\" from its router, with the MTU that the underlay leaves between these two hosts; one of that size arrives"},
	{Name: "path-mtu-tcp", Source: "RFC 1191; RFC 8201", Level: HNV, On: Told, Test: pathMTUTCP,
		Says: "TCP between VMs whose adapters have the underlay's MTU goes on, IPv4 and IPv6, routed or not"},
	{Name: "fragmented-before", Source: "RFC 7637, 4.4", Level: May, On: Told, Test: fragmentedBefore,
		Says: "an inner IPv4 packet that is too big and may be fragmented arrives in fragments, each in a whole outer packet"},
	{Name: "underlay-mtu-checked", Source: "RFC 7637, 4.4; HNV Test-EncapOverheadSettings", Level: Recommended, Test: underlayMTU,
		Says: "nvgre-ofctl doctor on a host finds that the underlay cannot carry the overlay, by packets of the full size"},
	{Name: "underlay-mtu-checked-ipv6", Source: "RFC 7637, 4.4; HNV Test-EncapOverheadSettings", Level: Recommended, On: Dual, Test: underlayMTU6,
		Says: "and over IPv6, also behind a router"},
}

func fullSizeCarried(t *testing.T, n *Network) {
	mtu := n.Plan().VMMTU()
	mark := strings.Repeat("x", mtu-20-8)
	got := n.See(t, "h3", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web3", mark)) })
	if f := got[0]; int(f.IP.Length) != n.Plan().MTU {
		t.Errorf("the outer packet has %d octets, want %d", f.IP.Length, n.Plan().MTU)
	}
	n.See(t, "web3", 1, func(f *Frame) bool { return f.Carries(mark) }, func() { n.From(t, "web1", n.Unicast("web1", "web3", mark)) })
}

func neverFragmented(t *testing.T, n *Network) {
	mark := Mark()
	big := Mark() + strings.Repeat("x", n.Plan().VMMTU()-20-8)
	for _, f := range n.See(t, "underlay", 1, func(f *Frame) bool { return f.IP != nil && f.IP.Protocol == layers.IPProtocolGRE }, func() {
		// An adapter refuses what exceeds its own MTU; a VM may set it as it likes.
		n.setMTU(t, "web1", 9000)
		defer n.setMTU(t, "web1", n.Plan().VMMTU())
		n.From(t, "web1", n.Unicast("web1", "web2", big), n.Unicast("web1", "web2", mark))
	}) {
		if f.IP.Flags != layers.IPv4DontFragment || f.IP.FragOffset != 0 {
			t.Errorf("flags %s, offset %d: %s", f.IP.Flags, f.IP.FragOffset, f)
		}
		if int(f.IP.Length) > n.Plan().MTU {
			t.Errorf("an outer packet of %d octets: %s", f.IP.Length, f)
		}
	}
}

// doctor runs `nvgre-ofctl doctor` on a host and returns what it finds wrong.
func doctor(t *testing.T, n *Network, host string, args ...string) (wrong []string) {
	t.Helper()
	out, errs, code := n.OnHost(host, append([]string{"doctor", "-o", "json", "--policy", n.Policy}, args...)...)
	var d struct {
		Host     string
		Findings []struct{ Check, Verdict, What, Do string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Host != host {
		t.Fatalf("doctor on %s exits with %d: %v\n%s%s", host, code, err, out, errs)
	}
	for _, f := range d.Findings {
		if f.Verdict == "wrong" {
			wrong = append(wrong, f.Check+": "+f.What+" -> "+f.Do)
		}
	}
	if want := min(len(wrong), 1); code != want {
		t.Errorf("doctor exits with %d, want %d\n%s", code, want, out)
	}
	return wrong
}

func underlayMTU(t *testing.T, n *Network) {
	for _, h := range n.In.Hosts {
		if wrong := doctor(t, n, h.Name); len(wrong) > 0 {
			t.Errorf("host %s at first: %s", h.Name, strings.Join(wrong, "\n"))
		}
	}
	// A switch port between h1 and h2 that carries less, without a word.
	n.deviceMTU(t, n.UnderlayNamespace(), n.HostNamed("h2").Port, 1400)
	defer n.deviceMTU(t, n.UnderlayNamespace(), n.HostNamed("h2").Port, n.Plan().MTU)
	wrong := doctor(t, n, "h1", "--peer", "h2")
	if len(wrong) != 1 || !strings.Contains(wrong[0], "h2 (10.99.0.2) carries 1400 octets of the 1500") || !strings.Contains(wrong[0], "set mtu of host h1 to 1400") {
		t.Errorf("with a port of 1400 octets: %s", strings.Join(wrong, "\n"))
	}
	if wrong := doctor(t, n, "h1", "--peer", "h3"); len(wrong) > 0 {
		t.Errorf("the way to h3: %s", strings.Join(wrong, "\n"))
	}
}

func underlayMTU6(t *testing.T, n *Network) {
	if wrong := doctor(t, n, "h1"); len(wrong) > 0 {
		t.Errorf("at first: %s", strings.Join(wrong, "\n"))
	}
	n.deviceMTU(t, n.UnderlayNamespace(), n.HostNamed("h3").Port, 1400)
	defer n.deviceMTU(t, n.UnderlayNamespace(), n.HostNamed("h3").Port, n.Plan().MTU)
	wrong := doctor(t, n, "h1", "--peer", "h3")
	if len(wrong) != 1 || !strings.Contains(wrong[0], "h3 (fd99:0:0:3::3) carries 1400 octets of the 1500") || !strings.Contains(wrong[0], "more than 1338 are lost") {
		t.Errorf("with a port of 1400 octets: %s", strings.Join(wrong, "\n"))
	}
}

func fragmentsDiscarded(t *testing.T, n *Network) {
	mark := Mark()
	whole := Bytes(append(n.Tunnel("h2", "h1", n.VM("web1").VSID<<8), gopacket.Payload(n.Unicast("web2", "web1", mark+strings.Repeat("y", 400))))...)
	payload := whole[34:] // behind the outer headers of Ethernet and IPv4
	const cut = 200       // a multiple of 8
	fragment := func(offset, end int, more bool) []byte {
		ip := &layers.IPv4{Version: 4, TTL: 64, Id: 77, Protocol: layers.IPProtocolGRE, SrcIP: IP(n.HostNamed("h2").PAs[0]), DstIP: IP(n.HostNamed("h1").PAs[0]),
			FragOffset: uint16(offset / 8)}
		if more {
			ip.Flags = layers.IPv4MoreFragments
		}
		return Bytes(n.Tunnel("h2", "h1", 0)[0], ip, gopacket.Payload(payload[offset:end]))
	}
	if f := fragment(0, cut, true); binary.BigEndian.Uint16(f[20:]) != 0x2000 {
		t.Fatal("the test's fragments are none")
	}
	unheard(t, n, mark, fragment(0, cut, true), fragment(cut, len(payload), false))
}
