package tenant

import (
	"fmt"
)

// The least MTU of an underlay, in octets: what every IPv4 host takes (RFC 791).
const minMTU = 576

// hostUnderlay checks what a host says of its underlay beside its addresses.
func (c *checker) hostUnderlay(h *HostSpec, path string) {
	if h.MTU != 0 && h.MTU < minMTU {
		c.add(c.field(path, "mtu"), fmt.Sprintf("MTU %d is less than any underlay has: want %d to 65535 octets", h.MTU, minMTU))
	}
	for j, a := range h.ProviderAddresses {
		at := c.paPath(path, j)
		if a.VLAN > maxVLAN {
			c.add(c.field(at, "vlan"), vlanProblem(a.VLAN))
		}
		if a.Uplink != "" {
			if m := nameProblem("the uplink", a.Uplink, MaxName); m != "" {
				c.add(c.field(at, "uplink"), m)
			}
		}
	}
	if h.Unread.Has(FieldRoutes) {
		return
	}
	for j, r := range h.Routes {
		c.providerRoute(h.Routes[:j], r, path, j)
	}
}

const maxVLAN = 4094

func vlanProblem(v uint16) string {
	return fmt.Sprintf("VLAN %d is no 802.1Q tag: want 1 to %d", v, maxVLAN)
}

func (c *checker) providerRoute(before []ProviderRoute, r ProviderRoute, host string, j int) {
	path := func(j int) string { return c.field(host, fmt.Sprintf("routes[%d]", j)) }
	p := r.Prefix.prefix
	switch {
	case !p.IsValid():
		c.add(c.field(path(j), "prefix"), "is missing: want the destination in the underlay, such as 10.99.0.0/16")
		return
	case !r.NextHop.IsValid():
		c.add(c.field(path(j), "next_hop"), "is missing: want the address of a router in the underlay")
		return
	}
	if m := addrProblem("next hop", r.NextHop.addr); m != "" {
		c.add(c.field(path(j), "next_hop"), m)
		return
	}
	if p.Addr().Is4() != r.NextHop.addr.Is4() {
		c.add(c.field(path(j), "next_hop"), fmt.Sprintf("next hop %s is not of the family of prefix %s: want an address of the same family", r.NextHop, p))
		return
	}
	for i, q := range before {
		if q.Prefix == r.Prefix && q.Metric == r.Metric && q.NextHop == r.NextHop {
			c.add(path(j), fmt.Sprintf("provider route to %s by %s with metric %d is given twice: want it once", p, r.NextHop, r.Metric), path(i))
			return
		}
	}
}
