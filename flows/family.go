package flows

import (
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// EtherTypes and IP protocols that the pipeline tells apart.
var (
	isIPv4   = flow.Exact(flow.EthType, flow.Uint(0x0800))
	isARP    = flow.Exact(flow.EthType, flow.Uint(0x0806))
	isIPv6   = flow.Exact(flow.EthType, flow.Uint(0x86dd))
	isICMP   = flow.Exact(flow.IPProto, flow.Uint(1))
	isICMPv6 = flow.Exact(flow.IPProto, flow.Uint(58))
	isTCP    = flow.Exact(flow.IPProto, flow.Uint(6))
	isUDP    = flow.Exact(flow.IPProto, flow.Uint(17))
)

// Types of ICMPv6 messages and of their options (RFC 4861 section 4).
const (
	ndRouterSolicitation  = 133
	ndRouterAdvertisement = 134
	ndSolicitation        = 135
	ndAdvertisement       = 136
	ndRedirect            = 137

	ndTargetLinkLayer = 2
)

var (
	linkLocal    = netip.MustParsePrefix("fe80::/10") // RFC 4291 section 2.4
	linkLocalNet = netip.MustParsePrefix("fe80::/64") // section 2.5.6: all that are in use
	multicast6   = netip.MustParsePrefix("ff00::/8")
)

// linkHop returns what the next_hop register holds for a link-local address: the
// address with the virtual subnet, which is its scope, in bits that are zero in
// every such address.
func linkHop(v tenant.VSID, a netip.Addr) flow.Value {
	return flow.Addr(a).Or(flow.Uint(uint64(v)).Shl(64))
}

// hopScope is where the next_hop register holds the scope.
var hopScope = flow.All(flow.Reg9)

func has4(s *tenant.VirtualSubnet) bool {
	return slices.ContainsFunc(s.Prefixes, func(p tenant.CAPrefix) bool { return p.Prefix().Addr().Is4() })
}

func has6(s *tenant.VirtualSubnet) bool {
	return slices.ContainsFunc(s.Prefixes, func(p tenant.CAPrefix) bool { return p.Prefix().Addr().Is6() })
}
