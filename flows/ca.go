package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var ca = Table{
	ID:      tableCA,
	Name:    "ca",
	Purpose: "One flow for each customer address: (routing domain, next hop) to MAC, virtual subnet and host. It serves IP, ARP, neighbour discovery and next hops of routes alike, and is the same on every host; only table pa knows which host is this one. A VM with IPv6 CAs has one flow more, for its link-local address. What a subnet with a wildcard has no record of goes to the VM of the wildcard.",
	Matches: append(fields(flow.EthType, flow.IPProto, flow.ICMPv6Type, flow.ICMPv6Code), regs(regDomain, regHop)...),
	Sets:    regs(regDest, regPeer, regRouter, regHopMAC, regPunt),
	Next:    []uint8{tableAct, tablePunt},
	Miss:    "drop: no lookup record has the address; the sender is told",
}

const (
	prioCA         = 100
	prioCAWildcard = 50 // prefixes of a routing domain are disjoint
	prioCANoIP     = 1
)

// gatewayFlows makes the flows of the distributed router's addresses in a subnet.
func (c *Compiler) gatewayFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	for _, g := range s.Gateways {
		c.gatewayFlow(b, number, s.VSID, flow.Mapped(g.Addr()))
	}
	if has6(&s) {
		c.gatewayFlow(b, number, s.VSID, linkHop(s.VSID, tenant.GatewayLinkLocal()))
	}
}

func (c *Compiler) gatewayFlow(b *builder, number uint32, v tenant.VSID, hop flow.Value) {
	var buf [5]flow.Test
	b.add(&ca, prioCA, subnetOwner(v).cookie(), b.match(regHop.appendTests(append(buf[:0], regDomain.is(uint64(number))), hop)...),
		regDest.set(flow.Uint(uint64(v))), regRouter.set(flow.Uint(1)), regHopMAC.set(flow.Uint(c.policy.GatewayMAC().Uint64())), flow.Goto(tableAct))
}

// recordFlows makes the flow of a lookup record, and that of the VM's link-local
// address. Several records of one VM make the same flow of the latter, so that it
// is there as long as one of them is.
func (c *Compiler) recordFlows(b *builder, number uint32, r *tenant.LookupRecord) {
	switch {
	case isWildcard(r):
		c.wildcardFlows(b, number, r)
	case hasAddress(r):
		c.addressFlow(b, number, r, recordOwner(r), flow.Mapped(r.CA.Addr()))
	default:
		return
	}
	if r.CA.Addr().Is6() {
		c.addressFlow(b, number, r, linkOwner(r), linkHop(r.VSID, tenant.LinkLocal(r.MAC)))
	}
}

func (c *Compiler) addressFlow(b *builder, number uint32, r *tenant.LookupRecord, o owner, address flow.Value) {
	var buf [5]flow.Test
	c.hopFlow(b, prioCA, r, o, regHop.appendTests(append(buf[:0], regDomain.is(uint64(number))), address))
}

// wildcardFlows makes the flows of a wildcard: one for each prefix of its family
// that the subnet has.
func (c *Compiler) wildcardFlows(b *builder, number uint32, r *tenant.LookupRecord) {
	s, _ := c.policy.Subnet(r.VSID)
	for _, prefix := range s.Prefixes {
		p := prefix.Prefix()
		if p.Addr().Is4() != r.CA.Addr().Is4() {
			continue
		}
		bits := 128 - p.Addr().BitLen() + p.Bits()
		c.hopFlow(b, prioCAWildcard, r, recordOwner(r),
			regHop.appendMasked([]flow.Test{regDomain.is(uint64(number))}, flow.Mapped(p.Addr()), flow.PrefixMask(bits, 128)))
	}
}

// hopFlow sends the packets with some next hop to the VM of a record.
func (c *Compiler) hopFlow(b *builder, priority uint16, r *tenant.LookupRecord, o owner, hop []flow.Test) {
	peer, known := c.peers.of(c.HostOf(r))
	if !known {
		b.add(&ca, priority, o.drop(DropUnattached), b.match(hop...), puntTo(PuntNoHost)...)
		return
	}
	b.add(&ca, priority, o.cookie(), b.match(hop...),
		regDest.set(flow.Uint(uint64(r.VSID))), regPeer.set(flow.Uint(uint64(peer))),
		regHopMAC.set(flow.Uint(r.MAC.Uint64())), flow.Goto(tableAct))
}

// hasAddress reports whether a record has the CA of one machine.
func hasAddress(r *tenant.LookupRecord) bool {
	return r.CA.IsValid() && !r.CA.Addr().IsUnspecified()
}

func isWildcard(r *tenant.LookupRecord) bool { return r.Type == tenant.Wildcard }

// present returns the records that make a VM, which attaches with an iface-id,
// known on its host, by CA: all but those whose CA is yet to be learned.
func present(p *tenant.Policy, iface string) (vm []tenant.LookupRecord) {
	for r := range p.RecordsByIfaceID(iface) {
		if r.Type != tenant.Dynamic {
			vm = append(vm, r)
		}
	}
	return vm
}

func caMisses(b *builder) {
	b.add(&ca, prioCANoIP, tableOwner(tableCA).drop(DropARPUnknownCA), b.match(isARP))
	b.add(&ca, prioCANoIP, tableOwner(tableCA).drop(DropNDUnknownCA), b.match(ipv6.question...))
	b.add(&ca, 0, tableOwner(tableCA).drop(DropUnknownCA), nil, puntTo(PuntNoHost)...)
}
