package tenant

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on names, in octets.
const (
	MaxHostName = 63
	MaxName     = 255
)

// nameProblem says what is wrong with a name, or "".
func nameProblem(what, s string, limit int) string {
	switch {
	case s == "":
		return fmt.Sprintf("is missing: want %s", what)
	case len(s) > limit:
		return fmt.Sprintf("%s has %d octets: want at most %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Sprintf("%s %q is not UTF-8: want text", what, s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Sprintf("%s %q has a control character: want printable text in one line", what, s)
	case strings.TrimSpace(s) != s:
		return fmt.Sprintf("%s %q begins or ends with white space: want %q", what, s, strings.TrimSpace(s))
	}
	return ""
}

// addrProblem says what keeps an address from use as a CA or a PA, or "".
func addrProblem(what string, a netip.Addr) string {
	switch {
	case !a.IsValid():
		return fmt.Sprintf("is missing: want a %s, such as 10.0.1.11", what)
	case a.IsLinkLocalUnicast() && a.Is6():
		return fmt.Sprintf("%s %s is link-local, which says nothing of where it is: want another address, such as a unique local one (fc00::/7)", what, a)
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s %s is no unicast address: want the address of one machine", what, a)
	}
	return ""
}

// subnetPrefixProblem says what keeps p from being the prefix of a subnet, or "".
func subnetPrefixProblem(p netip.Prefix) string {
	if !p.IsValid() {
		return "is missing: want a prefix such as 10.0.1.0/24"
	}
	if p.IsSingleIP() {
		return fmt.Sprintf("prefix %s has no room for a VM beside the gateway: want /%d or shorter", p, p.Addr().BitLen()-1)
	}
	for _, s := range notUnicast {
		if p.Overlaps(s.prefix) {
			return fmt.Sprintf("prefix %s has %s addresses (%s), which no VM can own: want a prefix of unicast addresses", p, s.what, s.prefix)
		}
	}
	return ""
}

// notUnicast is what RFC 6890 keeps from use by a single machine on a network.
var notUnicast = [...]struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("::/127"), "unspecified and loopback"},
	{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// edgeProblem says that a is the network or the broadcast address of an IPv4
// prefix, or "". A /31 has neither (RFC 3021), nor has an IPv6 prefix.
func edgeProblem(what string, a CA, p CAPrefix) string {
	if !p.prefix.Addr().Is4() || p.prefix.Bits() >= 31 {
		return ""
	}
	first, last := p.prefix.Addr(), lastAddr(p.prefix)
	if a.addr != first && a.addr != last {
		return ""
	}
	kind := "network"
	if a.addr == last {
		kind = "broadcast"
	}
	return fmt.Sprintf("%s %s is the %s address of %s: want an address from %s to %s", what, a, kind, p, first.Next(), last.Prev())
}

// DefaultGateways returns the gateways of a subnet with these prefixes where its
// policy gives none: the first usable address of each.
func DefaultGateways(prefixes []CAPrefix) []CA {
	all := make([]CA, len(prefixes))
	for i, p := range prefixes {
		all[i] = defaultGateway(p)
	}
	return all
}

// defaultGateway returns the first usable address of p: the one after the
// network address, or the lower one of a /31 or /127 (RFC 3021, RFC 6164).
func defaultGateway(p CAPrefix) CA {
	a := p.prefix.Addr()
	if p.prefix.Bits() < a.BitLen()-1 {
		a = a.Next()
	}
	return CA{a}
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch left := p.Bits() - 8*i; {
		case left <= 0:
			b[i] = 0xff
		case left < 8:
			b[i] |= 0xff >> left
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "x") {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func listPrefixes(all []CAPrefix) string {
	if len(all) == 1 {
		return "prefix " + all[0].String()
	}
	const most = 4
	s := "prefixes "
	for i, p := range all {
		if i == most {
			return fmt.Sprintf("%s and %d more", s, len(all)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += p.String()
	}
	return s
}
