package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Ports of DHCP (RFC 2131 section 4.1, RFC 8415 section 7.2).
const (
	dhcpClient, dhcpServer     = 68, 67
	dhcpv6Client, dhcpv6Server = 546, 547
)

// prioSecurityDHCP is above all others: what a VM asks the network about its own
// addresses it may ask by any address, such as one that was its own before it was
// renumbered.
const prioSecurityDHCP = 140

// dhcpFlows makes the way of a VM's questions about its addresses: to the
// controller, and nowhere else.
func dhcpFlows(b *builder, vm []tenant.LookupRecord, port uint32) {
	s := security{b, port, flow.Uint(vm[0].MAC.Uint64()), recordOwner(&vm[0])}
	ask := func(why PuntReason, tests ...flow.Test) {
		b.add(&portSecurity, prioSecurityDHCP, s.vm.cookie(), s.match(tests...), puntTo(why)...)
	}
	ports := func(src, dst uint64) []flow.Test {
		return []flow.Test{isUDP, flow.Exact(flow.UDPSrc, flow.Uint(src)), flow.Exact(flow.UDPDst, flow.Uint(dst))}
	}
	v4, v6 := false, false
	for i := range vm {
		v4, v6 = v4 || vm[i].CA.Addr().Is4(), v6 || vm[i].CA.Addr().Is6()
	}
	if v4 {
		ask(PuntDHCP, append(ports(dhcpClient, dhcpServer), isIPv4)...)
	}
	if v6 {
		ask(PuntDHCPv6, append(ports(dhcpv6Client, dhcpv6Server), isIPv6)...)
		ask(PuntRouterQuery, isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(ndRouterSolicitation)), flow.Exact(flow.ICMPv6Code, flow.Uint(0)))
	}
}
