package tenant

import (
	"fmt"
	"net/netip"
	"regexp"
)

// The least MTU of a virtual subnet, in octets (RFC 791, RFC 8200 section 5).
const (
	minSubnetMTU  = 576
	minSubnetMTU6 = 1280
)

// minLease is the shortest lease in seconds: a shorter one is asked for again
// before it is of use.
const minLease = 60

// dnsName is a DNS domain of labels of letters, digits and hyphens (RFC 1123
// section 2.1).
var dnsName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

const maxDNSName = 253

// subnetServices checks what a subnet says beside its addresses.
func (c *domainChecker) subnetServices(j int) {
	s, path := c.w.subnets[j].spec, c.path(j)
	for k, a := range s.DNS {
		if m := addrProblem("address", a.addr); m != "" && (a.IsValid() || !s.Unread.Has(FieldDNS)) {
			c.add(c.field(path, fmt.Sprintf("dns[%d]", k)), m)
		}
	}
	if s.Domain != "" && (len(s.Domain) > maxDNSName || !dnsName.MatchString(s.Domain)) {
		c.add(c.field(path, "domain"), fmt.Sprintf("%q is no DNS domain: want one such as blue.example, of at most %d octets", s.Domain, maxDNSName))
	}
	if s.Lease != 0 && s.Lease < minLease {
		c.add(c.field(path, "lease"), fmt.Sprintf("%d is too short a lease: want seconds, at least %d", s.Lease, minLease))
	}
	least := uint16(minSubnetMTU)
	for _, p := range s.Prefixes {
		if p.IsValid() && !p.prefix.Addr().Is4() {
			least = minSubnetMTU6
		}
	}
	if s.MTU != 0 && s.MTU < least {
		c.add(c.field(path, "mtu"), fmt.Sprintf("MTU %d is less than every machine must take: want %d to 65535 octets", s.MTU, least))
	}
	if !s.Unread.Has(FieldMulticast) {
		c.multicast(&s.Multicast, c.field(path, "multicast"))
	}
}

func (c *domainChecker) multicast(m *Multicast, path string) {
	wanted := func(field string, a netip.Addr) bool {
		switch {
		case !a.IsValid():
			c.add(c.field(path, field), "is missing: want a multicast address of the underlay, such as 239.1.2.3")
		case !a.IsMulticast():
			c.add(c.field(path, field), fmt.Sprintf("%s is no multicast address: want one such as 239.1.2.3", a))
		default:
			return true
		}
		return false
	}
	if m.Mode == MulticastOff && (m.canonical().Rate != 0 || m.Snooping) {
		c.add(c.field(path, "mode"), "is off, and there is more said of multicast: want mode unicast or group, or no multicast")
	}
	if m.Mode != MulticastGroup {
		if m.Group.IsValid() || len(m.Groups) > 0 {
			c.add(c.field(path, "mode"), fmt.Sprintf("is %s, which uses no multicast group of the underlay: want mode group, or no group", m.Mode))
		}
		return
	}
	wanted("group", m.Group.addr)
	seen := make(map[CA]int, len(m.Groups))
	for k, g := range m.Groups {
		at := fmt.Sprintf("groups[%d]", k)
		if !wanted(c.field(at, "pa"), g.PA.addr) || !wanted(c.field(at, "ca"), g.CA.addr) {
			continue
		}
		if first, taken := seen[g.CA]; taken {
			c.add(c.field(path, c.field(at, "ca")), fmt.Sprintf("group %s is given twice: want one group of the underlay for it", g.CA),
				c.field(path, c.field(fmt.Sprintf("groups[%d]", first), "ca")))
			continue
		}
		seen[g.CA] = k
	}
}
