package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var classify = Table{
	ID:      tableClassify,
	Name:    "classify",
	Purpose: "Gives a packet its routing domain and virtual subnet by the port that it came in by. Tagged frames end here: a tag must never reach the wire inside NVGRE (RFC 7637 section 3.3).",
	Matches: fields(flow.InPort, flow.VLANTCI),
	Sets:    regs(regDomain, regSource),
	Next:    []uint8{tableTunnelSource, tablePortSecurity},
	Miss:    "drop: the port is no VM of this host",
}

const (
	prioClassifyTunnelTagged = 210
	prioClassifyTagged       = 200
	prioClassifyPort         = 100
)

var isTagged = flow.Masked(flow.VLANTCI, flow.Uint(0x1000), flow.Uint(0x1000))

func inPort(n uint32) flow.Test { return flow.Exact(flow.InPort, flow.Uint(uint64(n))) }

// tunnelPortFlows makes the flows of a gre port: of the flow-based one, or of the
// one that a virtual subnet has.
func tunnelPortFlows(b *builder, u Unit) {
	o := tableOwner(tableClassify)
	if u.vsid != 0 {
		o = subnetOwner(u.vsid)
	}
	b.add(&classify, prioClassifyTunnelTagged, o.drop(DropTunnelTagged), b.match(inPort(u.port), isTagged))
	b.add(&classify, prioClassifyPort, o.cookie(), b.match(inPort(u.port)), flow.Goto(tableTunnelSource))
	if u.vsid == 0 {
		encapFlow(b, u)
	}
}

// classifyFlow makes the flow of a VM's port.
func classifyFlow(b *builder, number uint32, r *tenant.LookupRecord, port uint32) {
	b.add(&classify, prioClassifyPort, recordOwner(r).cookie(), b.match(inPort(port)),
		regDomain.set(flow.Uint(uint64(number))),
		regSource.set(flow.Uint(uint64(r.VSID))),
		flow.Goto(tablePortSecurity))
}

func classifyMisses(b *builder) {
	b.add(&classify, prioClassifyTagged, tableOwner(tableClassify).drop(DropVMTagged), b.match(isTagged))
	b.miss(&classify, DropUnknownPort)
}
