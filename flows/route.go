package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var route = Table{
	ID:      tableRoute,
	Name:    "route",
	Purpose: "Finds the next hop by the longest prefix in the routing domain, the priority growing with the prefix length. Inside the packet's own subnet the next hop is the destination; in another subnet too, but the packet counts as routed. An ARP request looks up its target the same way.",
	Matches: append(fields(flow.EthType, flow.IPv4Dst, flow.ARPTPA), regs(regDomain, regSource)...),
	Sets:    regs(regHop, regRouted),
	Next:    []uint8{tableCA},
	Miss:    "drop: the routing domain has no route",
}

const (
	prioRouteGroup = 2000 // broadcast and multicast destinations
	prioRouteARP   = 1000
	prioRouteNoARP = 990
	prioRoute      = 300 // plus four for each bit of the prefix

	// Among routes of one length: the packet's own subnet before another
	// subnet, and a subnet before a customer route.
	routeOwnSubnet   = 3
	routeOtherSubnet = 2
	routeCustomer    = 0
)

func routePriority(p netip.Prefix, rank uint16) uint16 { return prioRoute + 4*uint16(p.Bits()) + rank }

// prefixTest tests that an address field lies in p.
func prefixTest(f flow.Field, p netip.Prefix) flow.Test {
	return flow.Masked(f, flow.Addr(p.Addr()), flow.PrefixMask(p.Bits(), p.Addr().BitLen()))
}

// hopFrom returns the actions that make the IPv4 address in f the next hop.
func hopFrom(f flow.Field) []flow.Action {
	return []flow.Action{flow.Set(hopTag, flow.Uint(0xffff)), flow.Move(flow.All(f), hop4)}
}

func routeFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	o := subnetOwner(s.VSID)
	in := regDomain.is(uint64(number))
	own := regSource.is(uint64(s.VSID))
	routed := regRouted.set(flow.Uint(1))
	for _, prefix := range s.Prefixes {
		p := prefix.Prefix()
		toCA := append(hopFrom(flow.IPv4Dst), flow.Goto(tableCA))
		dst := prefixTest(flow.IPv4Dst, p)
		b.add(&route, routePriority(p, routeOwnSubnet), o.cookie(), b.matchPrefix(in, own, isIPv4, dst), toCA...)
		b.add(&route, routePriority(p, routeOtherSubnet), o.cookie(), b.matchPrefix(in, isIPv4, dst), append([]flow.Action{routed}, toCA...)...)
		b.add(&route, prioRouteARP, o.cookie(), b.matchPrefix(in, own, isARP, prefixTest(flow.ARPTPA, p)),
			append(hopFrom(flow.ARPTPA), flow.Goto(tableCA))...)
	}
}

// matchPrefix is match without the tests of a prefix of no bits.
func (b *builder) matchPrefix(tests ...flow.Test) flow.Match {
	n := 0
	for _, t := range tests {
		if !t.Mask.IsZero() {
			tests[n] = t
			n++
		}
	}
	return b.match(tests[:n]...)
}

// customerRouteFlows makes the flow of a route whose next hop is a VM. Of several
// routes to one prefix the one with the lowest metric counts, which the policy
// has first: the others have no flow.
func customerRouteFlows(b *builder, number uint32, r tenant.CustomerRoute) {
	p := r.Prefix.Prefix()
	b.add(&route, routePriority(p, routeCustomer), routeOwner(r).cookie(),
		b.matchPrefix(regDomain.is(uint64(number)), isIPv4, prefixTest(flow.IPv4Dst, p)),
		regRouted.set(flow.Uint(1)), regHop.set(flow.Mapped(r.NextHop.Addr())), flow.Goto(tableCA))
}

func routeMisses(b *builder) {
	group := tableOwner(tableRoute).drop(DropMulticast)
	b.add(&route, prioRouteGroup, group, b.match(isIPv4, prefixTest(flow.IPv4Dst, netip.MustParsePrefix("224.0.0.0/4"))))
	b.add(&route, prioRouteGroup, group, b.match(isIPv4, prefixTest(flow.IPv4Dst, netip.MustParsePrefix("255.255.255.255/32"))))
	b.add(&route, prioRouteNoARP, tableOwner(tableRoute).drop(DropARPTarget), b.match(isARP))
	b.miss(&route, DropNoRoute)
}
