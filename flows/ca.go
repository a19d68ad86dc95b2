package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var ca = Table{
	ID:      tableCA,
	Name:    "ca",
	Purpose: "One flow for each customer address: (routing domain, next hop) to MAC, virtual subnet and host. It serves IP, ARP and next hops of routes alike, and is the same on every host; only table pa knows which host is this one.",
	Matches: append(fields(flow.EthType), regs(regDomain, regHop)...),
	Sets:    regs(regDest, regPeer, regRouter, regHopMAC),
	Next:    []uint8{tableAct},
	Miss:    "drop: no lookup record has the address",
}

const (
	prioCA     = 100
	prioCANoIP = 1
)

// gatewayFlows makes the flows of the distributed router's addresses in a subnet.
func (c *Compiler) gatewayFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	in := regDomain.is(uint64(number))
	vsid := regDest.set(flow.Uint(uint64(s.VSID)))
	var buf [5]flow.Test
	for _, g := range s.Gateways {
		hop := regHop.appendTests(append(buf[:0], in), flow.Mapped(g.Addr()))
		b.add(&ca, prioCA, subnetOwner(s.VSID).cookie(), b.match(hop...),
			vsid, regRouter.set(flow.Uint(1)), regHopMAC.set(flow.Uint(c.policy.GatewayMAC().Uint64())), flow.Goto(tableAct))
	}
}

// recordFlows makes the flow of a lookup record.
func (c *Compiler) recordFlows(b *builder, number uint32, r *tenant.LookupRecord) {
	if !hasAddress(r) {
		return
	}
	var buf [5]flow.Test
	hop := regHop.appendTests(append(buf[:0], regDomain.is(uint64(number))), flow.Mapped(r.CA.Addr()))
	peer, known := c.peers.of(c.HostOf(r))
	if !known {
		b.add(&ca, prioCA, recordOwner(r).drop(DropUnattached), b.match(hop...))
		return
	}
	b.add(&ca, prioCA, recordOwner(r).cookie(), b.match(hop...),
		regDest.set(flow.Uint(uint64(r.VSID))), regPeer.set(flow.Uint(uint64(peer))),
		regHopMAC.set(flow.Uint(r.MAC.Uint64())), flow.Goto(tableAct))
}

// hasAddress reports whether a record has the CA of one machine.
func hasAddress(r *tenant.LookupRecord) bool {
	return r.CA.IsValid() && !r.CA.Addr().IsUnspecified()
}

func caMisses(b *builder) {
	b.add(&ca, prioCANoIP, tableOwner(tableCA).drop(DropARPUnknownCA), b.match(isARP))
	b.miss(&ca, DropUnknownCA)
}
