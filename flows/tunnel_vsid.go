package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var tunnelVSID = Table{
	ID:      tableTunnelVSID,
	Name:    "tunnel-vsid",
	Purpose: "Reads the virtual subnet from the upper 24 bits of the GRE key (RFC 7637 section 3.2), whatever the FlowID below it. Only subnets of routing domains that have a VM here are known.",
	Matches: append(fields(flow.TunID, flow.EthType), groupBit),
	Sets:    regs(regDomain, regDest),
	Next:    []uint8{tableLocal},
	Miss:    "drop: the VSID is not known here",
}

const (
	prioTunnelMulticast = 200
	prioTunnelVSID      = 100
	prioTunnelProtocol  = 10
)

// tunnelKey tests for the keys of a subnet with any FlowID. A GRE key is the
// low half of tun_id.
func tunnelKey(v tenant.VSID) flow.Test {
	return flow.Masked(flow.TunID, flow.Uint(uint64(v.Key(0))), flow.Uint(0xffffff00))
}

func tunnelVSIDFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	o := subnetOwner(s.VSID)
	take := func(protocol flow.Test) {
		b.add(&tunnelVSID, prioTunnelVSID, o.cookie(), b.match(tunnelKey(s.VSID), protocol),
			regDomain.set(flow.Uint(uint64(number))),
			regDest.set(flow.Uint(uint64(s.VSID))),
			flow.Goto(tableLocal))
	}
	if has4(&s) {
		take(isIPv4)
		take(isARP) // to one VM
	}
	if has6(&s) {
		take(isIPv6)
	}
	b.add(&tunnelVSID, prioTunnelProtocol, o.drop(DropTunnelProtocol), b.match(tunnelKey(s.VSID)))
}

func tunnelVSIDMisses(b *builder) {
	b.add(&tunnelVSID, prioTunnelMulticast, tableOwner(tableTunnelVSID).drop(DropTunnelMulticast),
		b.match(flow.Masked(flow.EthDst, groupBit.Mask(), groupBit.Mask())))
	b.miss(&tunnelVSID, DropUnknownVSID)
}
