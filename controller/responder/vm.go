package responder

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// VM is what an answerer knows of a VM's network adapter.
type VM struct {
	MAC       tenant.MAC
	RouterMAC tenant.MAC // of the distributed router
	// CAs are the adapter's addresses in the policy's order. The first of each
	// family is the one that DHCP gives out.
	CAs      []netip.Addr
	Prefixes []Prefix // of the adapter's virtual subnet
	DNS      []netip.Addr
	Domain   string        // "" for none
	Lease    time.Duration // whole seconds, at least 1 minute; see [DefaultLease]
	MTU      uint16        // the largest IP packet that the overlay carries to every peer, octets; 0: not said
}

// Prefix is an on-link prefix of a virtual subnet with the distributed router's
// address in it.
type Prefix struct {
	Prefix netip.Prefix
	Router netip.Addr
}

// Broadcast returns the directed broadcast address of an IPv4 prefix (RFC 919
// section 7), the zero Addr where there is none: of IPv6, and of a /31 (RFC 3021).
func (p Prefix) Broadcast() netip.Addr {
	if !p.Prefix.Addr().Is4() || p.Prefix.Bits() >= 31 {
		return netip.Addr{}
	}
	a := p.Prefix.Masked().Addr().As4()
	n := binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Prefix.Bits()) - 1)
	binary.BigEndian.PutUint32(a[:], n)
	return netip.AddrFrom4(a)
}

// DefaultLease is how long an address may be used where the policy does not say.
// A renumbered VM that the controller cannot tell otherwise learns of it when
// half of the lease is over (RFC 2131 section 4.4.5).
const DefaultLease = time.Hour

// RouterLinkLocal is the address by which the distributed router speaks on every
// virtual subnet's link (RFC 4291 section 2.5.6).
var RouterLinkLocal = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1})

// First returns the adapter's first address of one family.
func (v *VM) First(v6 bool) (netip.Addr, bool) {
	for _, a := range v.CAs {
		if a.Is6() == v6 {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// PrefixOf returns the prefix that an address lies in.
func (v *VM) PrefixOf(a netip.Addr) (Prefix, bool) {
	for _, p := range v.Prefixes {
		if p.Prefix.Contains(a) {
			return p, true
		}
	}
	return Prefix{}, false
}

// Router returns the address by which the distributed router answers a packet
// from src: its address in the prefix of src, fe80::1 for a link-local source,
// else (src is forwarded by an appliance) its first of that family.
func (v *VM) Router(src netip.Addr) (netip.Addr, bool) {
	if p, ok := v.PrefixOf(src); ok {
		return p.Router, true
	}
	if src.Is6() && src.IsLinkLocalUnicast() {
		return RouterLinkLocal, true
	}
	for _, p := range v.Prefixes {
		if p.Router.Is6() == src.Is6() {
			return p.Router, true
		}
	}
	return netip.Addr{}, false
}

// DomainName returns the domain without a final dot; "" where there is none, or
// none that can be put on the wire (RFC 1035 section 2.3): labels of letters,
// digits, hyphens and underscores.
func (v *VM) DomainName() string {
	name := strings.TrimSuffix(v.Domain, ".")
	if name == "" || len(name) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInLabel) {
			return ""
		}
	}
	return name
}

func notInLabel(r rune) bool {
	return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
