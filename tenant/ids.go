package tenant

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// VSID is a virtual subnet identifier: the upper 24 bits of the 32-bit GRE key
// (RFC 7637 section 3.2). Values 0 to 0xFFF are reserved and 0xFFFFFF is for
// vendor-specific use (RFC 7637 section 3.4); see [VSID.Valid].
type VSID uint32

// The usable range of virtual subnet identifiers (RFC 7637 section 3.4).
const (
	MinVSID VSID = 0x1000
	MaxVSID VSID = 0xFFFFFE
)

// Valid reports whether v may name a virtual subnet.
func (v VSID) Valid() bool { return v >= MinVSID && v <= MaxVSID }

// Key returns the GRE key of a packet of this subnet, VSID<<8 | FlowID, in host
// byte order (RFC 7637 section 3.2).
func (v VSID) Key(flowID uint8) uint32 { return uint32(v)<<8 | uint32(flowID) }

// Compare orders virtual subnet identifiers by number.
func (v VSID) Compare(w VSID) int { return cmp.Compare(v, w) }

// String returns the decimal form, as the Hyper-V cmdlets write it.
func (v VSID) String() string { return strconv.FormatUint(uint64(v), 10) }

// ParseVSID reads a decimal VSID and refuses the reserved ones.
func ParseVSID(s string) (VSID, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("VSID %q: want a decimal number from %d to %d", s, MinVSID, MaxVSID)
	}
	v := VSID(n)
	if !v.Valid() {
		return 0, fmt.Errorf("VSID %d is reserved (RFC 7637 section 3.4): want %d to %d", n, MinVSID, MaxVSID)
	}
	return v, nil
}

// RDID is a routing domain identifier, a GUID in the byte order of its text.
type RDID [16]byte

// ParseRDID reads a GUID with or without braces, in either case.
func ParseRDID(s string) (RDID, error) {
	var id RDID
	t := s
	if strings.HasPrefix(t, "{") && strings.HasSuffix(t, "}") {
		t = t[1 : len(t)-1]
	}
	if len(t) != 36 || t[8] != '-' || t[13] != '-' || t[18] != '-' || t[23] != '-' {
		return id, fmt.Errorf("RDID %q: want a GUID such as 11111111-2222-3333-4444-000000005001", s)
	}
	// A dash in place of a digit leaves too few digits.
	if n, err := hex.Decode(id[:], []byte(strings.ReplaceAll(t, "-", ""))); err != nil || n != len(id) {
		return RDID{}, fmt.Errorf("RDID %q: want a GUID such as 11111111-2222-3333-4444-000000005001", s)
	}
	if id == (RDID{}) {
		return id, fmt.Errorf("RDID %q: the zero GUID names no routing domain", s)
	}
	return id, nil
}

// String returns the GUID in lower case without braces.
func (r RDID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", r[0:4], r[4:6], r[6:8], r[8:10], r[10:16])
}

// Compare orders routing domain identifiers by the bytes of their text.
func (r RDID) Compare(q RDID) int { return bytes.Compare(r[:], q[:]) }

// MarshalText implements encoding.TextMarshaler.
func (r RDID) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *RDID) UnmarshalText(b []byte) (err error) { *r, err = ParseRDID(string(b)); return err }

// MAC is a 48-bit Ethernet address in transmission order.
type MAC [6]byte

// ParseMAC reads six hexadecimal octets separated by '-', by ':' or by nothing.
// It refuses group (multicast) addresses and zero, which no VM can own.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	t := s
	if len(t) == 17 && (t[2] == '-' || t[2] == ':') && t[5] == t[2] && t[8] == t[2] && t[11] == t[2] && t[14] == t[2] {
		t = t[0:2] + t[3:5] + t[6:8] + t[9:11] + t[12:14] + t[15:17]
	}
	if len(t) != 12 {
		return m, fmt.Errorf("MAC %q: want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005", s)
	}
	if _, err := hex.Decode(m[:], []byte(t)); err != nil {
		return m, fmt.Errorf("MAC %q: want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005", s)
	}
	if m == (MAC{}) {
		return m, fmt.Errorf("MAC %q is zero: want the MAC of a network adapter", s)
	}
	if m[0]&1 != 0 {
		return m, fmt.Errorf("MAC %q is a group (multicast) address: want a unicast address", s)
	}
	return m, nil
}

// Uint64 returns the address as a number of 48 bits.
func (m MAC) Uint64() uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// Compare orders MACs by their octets.
func (m MAC) Compare(n MAC) int { return bytes.Compare(m[:], n[:]) }

// String returns the form 02:00:00:00:00:05.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *MAC) UnmarshalText(b []byte) (err error) { *m, err = ParseMAC(string(b)); return err }

// CA is a customer address: an address inside a virtual subnet, of either
// family, meaningful only together with its routing domain (RFC 7637 section 2).
type CA struct{ addr netip.Addr }

// CAFrom returns addr as a customer address. IPv4-mapped IPv6 becomes IPv4.
func CAFrom(addr netip.Addr) CA { return CA{addr.Unmap()} }

// ParseCA reads a unicast customer address without a zone.
func ParseCA(s string) (CA, error) {
	a, err := parseAddr(s)
	if err != nil {
		return CA{}, fmt.Errorf("CA %q: %w", s, err)
	}
	return CA{a}, nil
}

// Addr returns the address itself; the zero Addr for the zero CA.
func (c CA) Addr() netip.Addr { return c.addr }

// IsValid reports whether c holds an address.
func (c CA) IsValid() bool { return c.addr.IsValid() }

// Compare orders customer addresses, IPv4 first.
func (c CA) Compare(d CA) int { return c.addr.Compare(d.addr) }

// String returns the textual address, or "" for the zero CA.
func (c CA) String() string { return addrString(c.addr) }

// MarshalText implements encoding.TextMarshaler.
func (c CA) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *CA) UnmarshalText(b []byte) (err error) { *c, err = ParseCA(string(b)); return err }

// PA is a provider address: an address of a host in the underlay, of either
// family (RFC 7637 section 2).
type PA struct{ addr netip.Addr }

// PAFrom returns addr as a provider address. IPv4-mapped IPv6 becomes IPv4.
func PAFrom(addr netip.Addr) PA { return PA{addr.Unmap()} }

// ParsePA reads a unicast provider address without a zone.
func ParsePA(s string) (PA, error) {
	a, err := parseAddr(s)
	if err != nil {
		return PA{}, fmt.Errorf("PA %q: %w", s, err)
	}
	return PA{a}, nil
}

// Addr returns the address itself; the zero Addr for the zero PA.
func (p PA) Addr() netip.Addr { return p.addr }

// IsValid reports whether p holds an address.
func (p PA) IsValid() bool { return p.addr.IsValid() }

// Compare orders provider addresses, IPv4 first.
func (p PA) Compare(q PA) int { return p.addr.Compare(q.addr) }

// String returns the textual address, or "" for the zero PA.
func (p PA) String() string { return addrString(p.addr) }

// MarshalText implements encoding.TextMarshaler.
func (p PA) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PA) UnmarshalText(b []byte) (err error) { *p, err = ParsePA(string(b)); return err }

// PAPrefix is a prefix of provider address space, masked to its length.
type PAPrefix struct{ prefix netip.Prefix }

// PAPrefixFrom returns p, masked, as a prefix of provider addresses.
func PAPrefixFrom(p netip.Prefix) PAPrefix { return PAPrefix{p.Masked()} }

// ParsePAPrefix reads a prefix such as 10.99.0.0/16, as strictly as [ParseCAPrefix].
func ParsePAPrefix(s string) (PAPrefix, error) {
	p, err := ParseCAPrefix(s)
	return PAPrefix(p), err
}

// Prefix returns the prefix itself.
func (p PAPrefix) Prefix() netip.Prefix { return p.prefix }

// IsValid reports whether p holds a prefix.
func (p PAPrefix) IsValid() bool { return p.prefix.IsValid() }

// String returns ADDRESS/LENGTH.
func (p PAPrefix) String() string { return p.prefix.String() }

// CAPrefix is a prefix of customer address space, masked to its length.
type CAPrefix struct{ prefix netip.Prefix }

// CAPrefixFrom returns p, masked, as a prefix of customer addresses.
func CAPrefixFrom(p netip.Prefix) CAPrefix { return CAPrefix{p.Masked()} }

// ParseCAPrefix reads a prefix such as 10.0.1.0/24 and refuses host bits that
// are set, which are nearly always a mistyped length.
func ParseCAPrefix(s string) (CAPrefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return CAPrefix{}, fmt.Errorf("prefix %q: want ADDRESS/LENGTH such as 10.0.1.0/24", s)
	}
	if p.Addr().Is4In6() {
		return CAPrefix{}, fmt.Errorf("prefix %q is IPv4 written as IPv6: write it as IPv4", s)
	}
	if p != p.Masked() {
		return CAPrefix{}, fmt.Errorf("prefix %q has host bits set: want %s", s, p.Masked())
	}
	return CAPrefix{p}, nil
}

// Prefix returns the prefix itself.
func (p CAPrefix) Prefix() netip.Prefix { return p.prefix }

// IsValid reports whether p holds a prefix.
func (p CAPrefix) IsValid() bool { return p.prefix.IsValid() }

// Contains reports whether c lies in p.
func (p CAPrefix) Contains(c CA) bool { return p.prefix.Contains(c.addr) }

// Overlaps reports whether p and q share an address.
func (p CAPrefix) Overlaps(q CAPrefix) bool { return p.prefix.Overlaps(q.prefix) }

// Compare orders prefixes by address, then by length; IPv4 comes first.
func (p CAPrefix) Compare(q CAPrefix) int { return comparePrefix(p.prefix, q.prefix) }

func comparePrefix(p, q netip.Prefix) int {
	return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
}

// String returns ADDRESS/LENGTH.
func (p CAPrefix) String() string { return p.prefix.String() }

// MarshalText implements encoding.TextMarshaler.
func (p CAPrefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *CAPrefix) UnmarshalText(b []byte) (err error) {
	*p, err = ParseCAPrefix(string(b))
	return err
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, errors.New("want an address such as 10.0.1.11")
	}
	switch {
	case a.Zone() != "":
		return a, errors.New("an address with a zone means nothing on another machine: leave out the part after %")
	case a.Is4In6():
		return a, fmt.Errorf("IPv4 written as IPv6: want %s", a.Unmap())
	case a.IsUnspecified():
		return a, errors.New("the unspecified address belongs to nobody: want a unicast address")
	case a.IsMulticast():
		return a, errors.New("a multicast address belongs to a group: want a unicast address")
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return a, errors.New("the broadcast address belongs to everybody: want a unicast address")
	}
	return a, nil
}

func addrString(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
