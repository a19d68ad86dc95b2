package icmperror_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/icmperror"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
)

func from(src, dst string) frame.Header {
	return frame.Header{EthDst: respondertest.RouterMAC, EthSrc: respondertest.MAC, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), TTL: 1}
}

var (
	v4 = from("10.0.1.12", "10.0.2.9")
	v6 = from("fd00:1::11", "fd00:2::9")
)

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		kind         icmperror.Kind
		type4, code4 uint8
		type6, code6 uint8
		word4, word6 uint32
	}{
		{icmperror.TimeExceeded, 11, 0, 3, 0, 0, 0},
		{icmperror.NoRoute, 3, 0, 1, 0, 0, 0},
		{icmperror.NoHost, 3, 1, 1, 3, 0, 0},
		{icmperror.PortUnreachable, 3, 3, 1, 4, 0, 0},
		{icmperror.Prohibited, 3, 13, 1, 1, 0, 0},
		{icmperror.TooBig, 3, 4, 2, 0, 1438, 1438},
	} {
		for _, size := range []int{0, 100, 1400} {
			b := v4.UDP(33000, 33434, make([]byte, size))
			p := respondertest.Decode(t, answer(t, b, c.kind))
			ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
			m := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
			if ip.SrcIP.String() != "10.0.1.1" || ip.DstIP.String() != "10.0.1.12" || m.TypeCode.Type() != c.type4 || m.TypeCode.Code() != c.code4 {
				t.Errorf("kind %d: %v", c.kind, p)
			}
			if ip.Length > 576 || !bytes.Equal(m.Payload, b[14:14+min(len(b)-14, 548)]) {
				t.Errorf("kind %d: %d octets quote %d of %d", c.kind, ip.Length, len(m.Payload), len(b)-14)
			}
			if got := binary.BigEndian.Uint32(m.Contents[4:]); got != c.word4 {
				t.Errorf("kind %d: second word is %d", c.kind, got)
			}

			b = v6.UDP(33000, 33434, make([]byte, size))
			p = respondertest.Decode(t, answer(t, b, c.kind))
			ip6 := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
			m6 := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
			if ip6.SrcIP.String() != "fd00:1::1" || ip6.DstIP.String() != "fd00:1::11" || m6.TypeCode.Type() != c.type6 || m6.TypeCode.Code() != c.code6 {
				t.Errorf("kind %d: %v", c.kind, p)
			}
			if ip6.Length > 1240 || !bytes.Equal(m6.Payload[4:], b[14:14+min(len(b)-14, 1232)]) || binary.BigEndian.Uint32(m6.Payload) != c.word6 {
				t.Errorf("kind %d: %d octets: %x", c.kind, ip6.Length, m6.Payload)
			}
			eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
			if eth.SrcMAC.String() != respondertest.RouterMAC.String() || eth.DstMAC.String() != respondertest.MAC.String() {
				t.Errorf("%v", eth)
			}
		}
	}
}

func answer(t *testing.T, b []byte, kind icmperror.Kind) []byte {
	t.Helper()
	out, err := icmperror.Answer(b, respondertest.VM(), kind, 1438)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return out
}

// What a standard router would be silent about.
func TestSilence(t *testing.T) {
	with := func(h frame.Header, src, dst string) frame.Header {
		h.Src, h.Dst = netip.MustParseAddr(src), netip.MustParseAddr(dst)
		return h
	}
	group := v4
	group.EthDst[0] = 1
	fragment := v4.UDP(1, 2, make([]byte, 32))
	fragment[14+6], fragment[14+7] = 0, 9
	fix(fragment)
	mayFragment := v4.UDP(1, 2, make([]byte, 32))
	mayFragment[14+6] = 0
	fix(mayFragment)
	for what, c := range map[string]struct {
		b    []byte
		kind icmperror.Kind
		want responder.Reason
	}{
		"about unreachable":           {v4.ICMP([]byte{3, 1, 0, 0, 0, 0, 0, 0}), icmperror.NoHost, responder.AboutError},
		"about time exceeded":         {v4.ICMP([]byte{11, 0, 0, 0, 0, 0, 0, 0}), icmperror.TimeExceeded, responder.AboutError},
		"about a redirect":            {v4.ICMP([]byte{5, 0, 0, 0, 0, 0, 0, 0}), icmperror.TimeExceeded, responder.AboutError},
		"about an ICMPv6 error":       {v6.ICMP([]byte{4, 1, 0, 0, 0, 0, 0, 0}), icmperror.NoHost, responder.AboutError},
		"about an unknown error":      {v6.ICMP([]byte{99, 1, 0, 0, 0, 0, 0, 0}), icmperror.TooBig, responder.AboutError},
		"about an ICMPv6 redirect":    {v6.ICMP([]byte{137, 0, 0, 0, 0, 0, 0, 0}), icmperror.NoHost, responder.AboutError},
		"about ICMP without a type":   {v4.IP(frame.ICMP, nil), icmperror.NoHost, responder.Malformed},
		"about ICMPv6 without a type": {v6.IP(frame.ICMPv6, nil), icmperror.NoHost, responder.Malformed},
		"about hidden headers":        {v6.IP(60, []byte{58, 9, 0, 0, 0, 0, 0, 0}), icmperror.NoHost, responder.Malformed},
		"an Ethernet group":           {group.UDP(1, 2, nil), icmperror.NoHost, responder.AboutGroup},
		"an IPv4 group":               {with(v4, "10.0.1.11", "239.1.1.1").UDP(1, 2, nil), icmperror.NoHost, responder.AboutGroup},
		"broadcast":                   {with(v4, "10.0.1.11", "255.255.255.255").UDP(1, 2, nil), icmperror.NoHost, responder.AboutGroup},
		"the subnet's broadcast":      {with(v4, "10.0.1.11", "10.0.1.255").UDP(1, 2, nil), icmperror.NoHost, responder.AboutGroup},
		"an IPv6 group":               {with(v6, "fd00:1::11", "ff0e::1").UDP(1, 2, nil), icmperror.NoHost, responder.AboutGroup},
		"a later fragment":            {fragment, icmperror.NoHost, responder.AboutFragment},
		"a later IPv6 fragment":       {v6.IP(44, []byte{17, 0, 1, 0, 0, 0, 0, 1, 1, 2}), icmperror.NoHost, responder.AboutFragment},
		"from nobody":                 {with(v4, "0.0.0.0", "10.0.2.9").UDP(1, 2, nil), icmperror.NoHost, responder.AboutNobody},
		"from loopback":               {with(v4, "127.0.0.1", "10.0.2.9").UDP(1, 2, nil), icmperror.NoHost, responder.AboutNobody},
		"from class E":                {with(v4, "240.0.0.1", "10.0.2.9").UDP(1, 2, nil), icmperror.NoHost, responder.AboutNobody},
		"from ::":                     {with(v6, "::", "fd00:2::9").UDP(1, 2, nil), icmperror.NoHost, responder.AboutNobody},
		"from an IPv6 group":          {with(v6, "ff02::1", "fd00:2::9").UDP(1, 2, nil), icmperror.NoHost, responder.AboutNobody},
		"a big one that may be split": {mayFragment, icmperror.TooBig, responder.MayFragment},
		"cut":                         {v4.UDP(1, 2, nil)[:30], icmperror.NoHost, responder.Malformed},
		"a kind that there is not":    {v4.UDP(1, 2, nil), 99, responder.Unbuildable},
	} {
		out, err := icmperror.Answer(c.b, respondertest.VM(), c.kind, 1438)
		var r responder.Reason
		if out != nil || !errors.As(err, &r) || r != c.want {
			t.Errorf("%s: got %x, %v; want %v", what, out, err, c.want)
		}
	}
}

func fix(b []byte) {
	b[14+10], b[14+11] = 0, 0
	binary.BigEndian.PutUint16(b[14+10:], frame.Checksum(b[14:34], 0))
}

// RFC 4443 section 2.4 (e.3): path MTU discovery of multicast needs its error.
func TestTooBigOfIPv6Groups(t *testing.T) {
	b := frame.Header{EthDst: v6.EthDst, EthSrc: v6.EthSrc, Src: v6.Src, Dst: netip.MustParseAddr("ff0e::1")}.UDP(1, 2, nil)
	answer(t, b, icmperror.TooBig)
}

// An appliance forwards for others: the error goes to them, from its subnet's router.
func TestForwarded(t *testing.T) {
	b := frame.Header{EthDst: v4.EthDst, EthSrc: v4.EthSrc, Src: netip.MustParseAddr("172.16.0.9"), Dst: v4.Dst}.UDP(1, 2, nil)
	ip := respondertest.Decode(t, answer(t, b, icmperror.TimeExceeded)).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if ip.SrcIP.String() != "10.0.1.1" || ip.DstIP.String() != "172.16.0.9" {
		t.Errorf("from %s to %s", ip.SrcIP, ip.DstIP)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(v4.UDP(1, 2, nil), uint8(0), uint16(1400))
	f.Add(v6.UDP(1, 2, nil), uint8(5), uint16(0))
	f.Add(v6.IP(44, []byte{58, 0, 0, 1, 0, 0, 0, 1, 128, 0}), uint8(2), uint16(9000))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8, mtu uint16) {
		out, err := icmperror.Answer(b, respondertest.VM(), icmperror.Kind(kind), mtu)
		if (out == nil) == (err == nil) {
			t.Fatalf("%x and %v", out, err)
		}
		if err != nil {
			return
		}
		if len(out) > 14+1280 || bytes.Equal(out[:6], b[6:12]) != (b[6] == 2 && [6]byte(b[6:12]) == respondertest.MAC) {
			t.Fatalf("answer %x to %x", out, b)
		}
		// An error is never answered by another.
		if _, err := icmperror.Answer(out, respondertest.VM(), icmperror.TimeExceeded, 0); err == nil {
			t.Fatalf("an error about %x", out)
		}
	})
}
