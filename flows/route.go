package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var route = Table{
	ID:      tableRoute,
	Name:    "route",
	Purpose: "Finds the next hop by the longest prefix in the routing domain, the priority growing with the prefix length. Inside the packet's own subnet the next hop is the destination; in another subnet too, but the packet counts as routed. ARP and neighbour solicitations look up their target the same way. A link-local destination is looked up in the packet's own subnet only. A customer route has a VM for its next hop, or drops the packet, or shares packets among several next hops by a group.",
	Matches: append(fields(flow.EthType, flow.IPProto, flow.IPv4Dst, flow.IPv6Dst, flow.ARPTPA, flow.ICMPv6Type, flow.ICMPv6Code, flow.NDTarget), regs(regDomain, regSource)...),
	Sets:    regs(regHop, regRouted, regPunt),
	Next:    []uint8{tableCA, tablePunt},
	Groups:  true,
	Miss:    "drop: the routing domain has no route; the sender is told",
}

const (
	prioRouteND     = 2100
	prioRouteNoND   = 2090
	prioRouteGroup  = 2000 // broadcast and multicast destinations
	prioRouteLink   = 1600 // link-local destinations of a subnet
	prioRouteNoLink = 1500
	prioRouteARP    = 1000
	prioRouteNoARP  = 990
	prioRoute       = 300 // plus four for each bit of the prefix

	// Among routes of one length: the packet's own subnet before another
	// subnet, and a subnet before a customer route. Among customer routes to one
	// prefix, that of the packet's own subnet comes first.
	routeOwnSubnet   = 3
	routeOtherSubnet = 2
	routeOfSubnet    = 1
	routeCustomer    = 0
)

func routePriority(p netip.Prefix, rank uint16) uint16 { return prioRoute + 4*uint16(p.Bits()) + rank }

// prefixTest tests that an address field lies in p.
func prefixTest(f flow.Field, p netip.Prefix) flow.Test {
	return flow.Masked(f, flow.Addr(p.Addr()), flow.PrefixMask(p.Bits(), p.Addr().BitLen()))
}

// family is what the two families of addresses have of their own in this table.
type family struct {
	is       flow.Test
	src, dst flow.Field
	question []flow.Test // for the MAC of an address
	target   flow.Field  // the address asked for
	priority uint16      // of questions
}

var (
	ipv4 = family{isIPv4, flow.IPv4Src, flow.IPv4Dst, []flow.Test{isARP}, flow.ARPTPA, prioRouteARP}
	ipv6 = family{isIPv6, flow.IPv6Src, flow.IPv6Dst, []flow.Test{isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(ndSolicitation)),
		flow.Exact(flow.ICMPv6Code, flow.Uint(0))}, flow.NDTarget, prioRouteND}
)

func familyOf(a netip.Addr) *family {
	if a.Is4() {
		return &ipv4
	}
	return &ipv6
}

// hopFrom returns the actions that make the address in f the next hop.
func hopFrom(f flow.Field) []flow.Action {
	if f.Info().Bits == 128 {
		return []flow.Action{flow.Move(flow.All(f), regHop.Bits)}
	}
	return []flow.Action{flow.Set(hopTag, flow.Uint(0xffff)), flow.Move(flow.All(f), hop4)}
}

func routeFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	o := subnetOwner(s.VSID)
	in := regDomain.is(uint64(number))
	own := regSource.is(uint64(s.VSID))
	routed := regRouted.set(flow.Uint(1))
	question := func(f *family, p netip.Prefix, hop []flow.Action) {
		b.add(&route, f.priority, o.cookie(), b.matchPrefix(append([]flow.Test{in, own, prefixTest(f.target, p)}, f.question...)...), append(hop, flow.Goto(tableCA))...)
	}
	for _, prefix := range s.Prefixes {
		p := prefix.Prefix()
		f := familyOf(p.Addr())
		toCA := append(hopFrom(f.dst), flow.Goto(tableCA))
		dst := prefixTest(f.dst, p)
		b.add(&route, routePriority(p, routeOwnSubnet), o.cookie(), b.matchPrefix(in, own, f.is, dst), toCA...)
		b.add(&route, routePriority(p, routeOtherSubnet), o.cookie(), b.matchPrefix(in, f.is, dst), append([]flow.Action{routed}, toCA...)...)
		question(f, p, hopFrom(f.target))
	}
	if has6(&s) {
		scope := flow.Set(hopScope, flow.Uint(uint64(s.VSID)))
		b.add(&route, prioRouteLink, o.cookie(), b.match(in, own, isIPv6, prefixTest(flow.IPv6Dst, linkLocalNet)),
			append(hopFrom(flow.IPv6Dst), scope, flow.Goto(tableCA))...)
		question(&ipv6, linkLocalNet, append(hopFrom(flow.NDTarget), scope))
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

func routeMisses(b *builder) {
	o := tableOwner(tableRoute)
	for _, p := range []string{"224.0.0.0/4", "255.255.255.255/32", "ff00::/8"} {
		p := netip.MustParsePrefix(p)
		f := familyOf(p.Addr())
		b.add(&route, prioRouteGroup, o.drop(DropMulticast), b.match(f.is, prefixTest(f.dst, p)))
	}
	b.add(&route, prioRouteNoARP, o.drop(DropARPTarget), b.match(isARP))
	b.add(&route, prioRouteNoND, o.drop(DropNDTarget), b.match(ipv6.question...))
	b.add(&route, prioRouteNoLink, o.drop(DropLinkLocal), b.match(isIPv6, prefixTest(flow.IPv6Dst, linkLocal)))
	b.add(&route, 0, o.drop(DropNoRoute), nil, puntTo(PuntNoRoute)...)
}
