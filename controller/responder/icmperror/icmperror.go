package icmperror

import (
	"encoding/binary"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
)

// Kind is what a router has to say about a packet.
type Kind uint8

// The kinds of errors.
const (
	TimeExceeded    Kind = iota // the TTL is used up
	NoRoute                     // no route has the destination
	NoHost                      // the destination's subnet has no such address, or nobody is there
	PortUnreachable             // the router itself has nothing that listens there
	Prohibited                  // the policy forbids it
	TooBig                      // the packet is larger than the way allows
)

// code is what a kind is called on the wire.
type code struct{ type4, code4, type6, code6 uint8 }

var codes = [...]code{
	TimeExceeded:    {11, 0, 3, 0},
	NoRoute:         {3, 0, 1, 0}, // network unreachable; no route to destination
	NoHost:          {3, 1, 1, 3}, // host unreachable; address unreachable
	PortUnreachable: {3, 3, 1, 4},
	Prohibited:      {3, 13, 1, 1}, // RFC 1812 section 5.2.7.1; RFC 4443 section 3.1
	TooBig:          {3, 4, 2, 0},  // RFC 1191 section 4; RFC 4443 section 3.2
}

const (
	quote4 = 576 - 20 - 8  // RFC 1812 section 4.3.2.3: the error has at most 576 octets
	quote6 = 1280 - 40 - 8 // RFC 4443 section 2.4 (c): at most the least MTU of IPv6
	ttl    = 64            // RFC 1700
	min6   = uint16(1280)  // RFC 8200 section 5
	min4   = uint16(68)    // RFC 791 section 3.2
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Answer returns the error about a frame that a VM sent, as a frame for that VM.
// mtu, in octets of IP, counts for [TooBig] only. The returned error
// is a [responder.Reason]: most often, that the standards forbid an error here.
func Answer(b []byte, vm *responder.VM, kind Kind, mtu uint16) ([]byte, error) {
	if int(kind) >= len(codes) {
		return nil, responder.Unbuildable
	}
	p, ok := frame.Read(b)
	if !ok {
		return nil, responder.Malformed
	}
	why := forbidden(&p, kind)
	if at, on := vm.PrefixOf(p.Dst); on && p.Src.Is4() && at.Broadcast() == p.Dst {
		why = responder.AboutGroup
	}
	if why != 0 {
		return nil, why
	}
	router, ok := vm.Router(p.Src)
	if !ok {
		return nil, responder.NoRouter
	}
	c, rest := codes[kind], uint32(0)
	var quote []byte
	var typ, cod uint8
	if p.Src.Is4() {
		typ, cod, quote = c.type4, c.code4, p.IP[:min(len(p.IP), quote4)]
		if kind == TooBig {
			rest = uint32(max(mtu, min4))
		}
	} else {
		typ, cod, quote = c.type6, c.code6, p.IP[:min(len(p.IP), quote6)]
		if kind == TooBig {
			rest = uint32(max(mtu, min6))
		}
	}
	message := append(make([]byte, 0, 8+len(quote)), typ, cod, 0, 0)
	message = append(binary.BigEndian.AppendUint32(message, rest), quote...)
	out := frame.Header{EthDst: vm.MAC, EthSrc: vm.RouterMAC, Src: router, Dst: p.Src, TTL: ttl}.ICMP(message)
	if out == nil {
		return nil, responder.Unbuildable
	}
	return out, nil
}

// forbidden says why no error may be sent about a packet (RFC 1812 section
// 4.3.2.7, RFC 4443 section 2.4 (e)), or 0.
func forbidden(p *frame.Packet, kind Kind) responder.Reason {
	// RFC 4443 excepts packet-too-big, for multicast too, so that path MTU
	// discovery works there.
	many := p.EthDst[0]&1 != 0 || p.Dst.IsMulticast() || p.Dst == broadcast
	if many && (p.Src.Is4() || kind != TooBig) {
		return responder.AboutGroup
	}
	if p.Src.IsUnspecified() || p.Src.IsMulticast() || p.Src.IsLoopback() || p.Src.Is4() && (p.Src.As4()[0] == 0 || p.Src.As4()[0] >= 240) {
		return responder.AboutNobody
	}
	if p.Later {
		return responder.AboutFragment
	}
	switch {
	case p.Src.Is4() && p.Proto == frame.ICMP:
		// A message that is cut before its type may be an error.
		if len(p.Payload) == 0 {
			return responder.Malformed
		}
		switch p.Payload[0] {
		case 3, 4, 5, 11, 12:
			return responder.AboutError
		}
	case p.Src.Is6() && p.Payload == nil:
		return responder.Malformed // headers that cannot be read may hide an error
	case p.Src.Is6() && p.Proto == frame.ICMPv6:
		if len(p.Payload) == 0 {
			return responder.Malformed
		}
		if t := p.Payload[0]; t < 128 || t == 137 {
			return responder.AboutError
		}
	}
	if kind == TooBig && !p.DF {
		return responder.MayFragment
	}
	return 0
}
