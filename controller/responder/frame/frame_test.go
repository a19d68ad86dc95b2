package frame_test

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func header(v6 bool) frame.Header {
	h := frame.Header{EthDst: tenant.MAC{2, 1}, EthSrc: tenant.MAC{2, 2}, TTL: 9}
	if v6 {
		h.Src, h.Dst = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	} else {
		h.Src, h.Dst = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	}
	return h
}

// What is written is read back, and another decoder agrees with it.
func TestUDPThereAndBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		payload := rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(r, "payload")
		h := header(rapid.Bool().Draw(r, "v6"))
		b := h.UDP(5068, 5067, payload)
		respondertest.Decode(t, b)
		padded := append(bytes.Clone(b), rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(r, "padding")...)
		p, ok := frame.Read(padded)
		if !ok || p.Src != h.Src || p.Dst != h.Dst || p.TTL != 9 || p.EthSrc != h.EthSrc || p.EthDst != h.EthDst || !bytes.Equal(p.IP, b[14:]) {
			r.Fatalf("read %+v of %x", p, padded)
		}
		src, dst, got, ok := p.UDPPayload()
		if !ok || src != 5068 || dst != 5067 || !bytes.Equal(got, payload) {
			r.Fatalf("read %d %d %x %v", src, dst, got, ok)
		}
		// A flipped bit of the datagram never passes.
		start := len(b) - len(payload) - 8
		i := rapid.IntRange(start, len(b)-1).Draw(r, "at")
		bad := bytes.Clone(b)
		bad[i] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		if p, ok := frame.Read(bad); ok {
			if _, _, _, ok := p.UDPPayload(); ok && (bad[start+6] != 0 || bad[start+7] != 0) {
				r.Fatalf("octet %d of %x was %x", i, bad, b[i])
			}
		}
	})
}

func TestICMPThereAndBack(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		b := header(v6).ICMP([]byte{200, 1, 9, 9, 1, 2, 3, 4, 5, 6, 7})
		respondertest.Decode(t, b)
		p, _ := frame.Read(b)
		if m, ok := p.ICMPv6Message(); ok != v6 || v6 && m[0] != 200 {
			t.Errorf("read %x %v", m, ok)
		}
	}
	if b := header(false).ICMP([]byte{1, 2}); b != nil {
		t.Errorf("a message without room for a checksum became %x", b)
	}
	if b := header(true).IP(1, make([]byte, 70000)); b != nil {
		t.Error("70,000 octets became a packet")
	}
}

func TestReadRefuses(t *testing.T) {
	good := header(false).UDP(1, 2, []byte("hello"))
	change := func(i int, v byte) []byte {
		b := bytes.Clone(good)
		b[i] = v
		return b
	}
	for what, b := range map[string][]byte{
		"empty": {}, "no IP": good[:14], "half a header": good[:30], "ARP": change(13, 6), "version": change(14, 0x65),
		"header length": change(14, 0x44), "longer than the packet": change(14, 0x4f), "checksum": change(22, 77), "total length": change(17, 3),
	} {
		if p, ok := frame.Read(b); ok {
			t.Errorf("%s: read as %+v", what, p)
		}
	}
}

func TestExtensionHeaders(t *testing.T) {
	h := header(true)
	hop := []byte{43, 0, 1, 4, 0, 0, 0, 0}
	routing := []byte{frame.UDP, 0, 0, 0, 0, 0, 0, 0}
	p, ok := frame.Read(h.IP(0, append(append(hop, routing...), "datagram"...)))
	if !ok || p.Proto != frame.UDP || string(p.Payload) != "datagram" {
		t.Errorf("read %+v", p)
	}
	later := []byte{frame.UDP, 0, 0, 8, 0, 0, 0, 1}
	p, _ = frame.Read(h.IP(44, append(later, "rest"...)))
	if !p.Later || p.Payload != nil {
		t.Errorf("a later fragment: %+v", p)
	}
	first := []byte{frame.UDP, 0, 0, 1, 0, 0, 0, 1}
	p, _ = frame.Read(h.IP(44, append(first, "first"...)))
	if p.Later || !p.Fragment || string(p.Payload) != "first" {
		t.Errorf("a first fragment: %+v", p)
	}
	endless := bytes.Repeat([]byte{60, 0, 0, 0, 0, 0, 0, 0}, 100)
	if p, _ = frame.Read(h.IP(60, endless)); p.Payload != nil {
		t.Errorf("endless headers: %+v", p)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(header(false).UDP(68, 67, []byte("payload")))
	f.Add(header(true).UDP(546, 547, []byte("payload")))
	f.Add(header(true).IP(44, []byte{58, 0, 0, 9, 0, 0, 0, 1, 1, 2, 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := frame.Read(b)
		if !ok {
			return
		}
		if len(p.IP) > len(b) || len(p.Payload) > len(p.IP) {
			t.Fatalf("%+v is more than %x", p, b)
		}
		p.UDPPayload()
		p.ICMPv6Message()
	})
}
