package frame_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
)

// may returns a packet of IPv4 that may be fragmented, with these options.
func may(payload, options []byte, part uint16) []byte {
	b := header(false).IP(253, payload) // of a protocol that no decoder knows
	ip := append(append(append([]byte(nil), b[14:34]...), options...), payload...)
	ip[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], 777)
	binary.BigEndian.PutUint16(ip[6:], part)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:20+len(options)], 0))
	return append(append([]byte(nil), b[:14]...), ip...)
}

// Fragments put together again are the packet; none is larger than the MTU; and
// fragments of fragments are fragments.
func TestFragments(t *testing.T) {
	copied, other := []byte{0x82, 4, 1, 2}, []byte{7, 7, 4, 0, 0, 0, 0, 1}
	rapid.Check(t, func(r *rapid.T) {
		payload := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(r, "payload")
		options := rapid.SampledFrom([][]byte{nil, copied, other, append(append([]byte(nil), other...), copied...)}).Draw(r, "options")
		part := rapid.SampledFrom([]uint16{0, 0x2000 | 8, 100}).Draw(r, "part")
		if part&0x2000 != 0 {
			payload = append(payload, make([]byte, -len(payload)&7)...)
		}
		mtu := rapid.Uint16Range(68, 1500).Draw(r, "mtu")
		p, ok := frame.Read(may(payload, options, part))
		if !ok {
			r.Fatal("the packet is wrong")
		}
		h := header(false)
		h.TTL = 33
		all := p.Fragments(h, mtu)
		got := make([]byte, 0, len(payload))
		for i, b := range all {
			f, ok := frame.Read(b)
			last := i == len(all)-1
			if !ok || len(f.IP) > int(mtu) || f.TTL != 33 || f.Src != p.Src || f.Dst != p.Dst || binary.BigEndian.Uint16(f.IP[4:]) != 777 || f.EthSrc != h.EthSrc {
				r.Fatalf("fragment %d: %x", i, b)
			}
			at := binary.BigEndian.Uint16(f.IP[6:])
			if int(at&0x1fff) != int(part&0x1fff)+len(got)/8 || (at&0x2000 != 0) != (!last || part&0x2000 != 0) {
				r.Fatalf("fragment %d of %d is %x", i, len(all), at)
			}
			if n := int(f.IP[0]&15)*4 - 20; i > 0 && n != 0 && !bytes.Equal(f.IP[20:24], copied) || i == 0 && n != len(options) {
				r.Fatalf("fragment %d has options %x", i, f.IP[20:20+n])
			}
			got = append(got, f.Payload...)
		}
		if !bytes.Equal(got, payload) {
			r.Fatalf("%d octets of %d", len(got), len(payload))
		}
	})
}

func TestNoFragments(t *testing.T) {
	h := header(false)
	for what, b := range map[string][]byte{
		"forbidden": h.UDP(1, 2, make([]byte, 100)), "IPv6": header(true).UDP(1, 2, make([]byte, 100)), "cut short": may(make([]byte, 100), nil, 0)[:100],
	} {
		p, ok := frame.Read(b)
		if all := p.Fragments(h, 68); !ok || all != nil {
			t.Errorf("%s: %x", what, all)
		}
	}
	p, _ := frame.Read(may(make([]byte, 100), nil, 0))
	if all := p.Fragments(h, 27); all != nil {
		t.Errorf("without room: %x", all)
	}
}
