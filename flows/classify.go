package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

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

func (c *Compiler) classifyFlows(b *builder, h HostView, vms []localVM) {
	tagged := flow.Masked(flow.VLANTCI, flow.Uint(0x1000), flow.Uint(0x1000))
	inPort := func(n uint32) flow.Test { return flow.Exact(flow.InPort, flow.Uint(uint64(n))) }

	tunnel := func(port uint32, o owner) {
		b.add(&classify, prioClassifyTunnelTagged, o.drop(DropTunnelTagged), b.match(inPort(port), tagged))
		b.add(&classify, prioClassifyPort, o.cookie(), b.match(inPort(port)), flow.Goto(tableTunnelSource))
	}
	for vsid, port := range h.Tunnels.PerVSID {
		tunnel(port, subnetOwner(vsid))
	}
	if h.Tunnels.PerVSID == nil && h.Tunnels.Flow != 0 {
		tunnel(h.Tunnels.Flow, tableOwner(tableClassify))
	}
	for _, vm := range vms {
		r := &vm.record
		b.add(&classify, prioClassifyPort, recordOwner(r).cookie(), b.match(inPort(vm.port)),
			regDomain.set(flow.Uint(uint64(c.domains[r.RDID].number))),
			regSource.set(flow.Uint(uint64(r.VSID))),
			flow.Goto(tablePortSecurity))
	}
	b.add(&classify, prioClassifyTagged, tableOwner(tableClassify).drop(DropVMTagged), b.match(tagged))
	b.miss(&classify, DropUnknownPort)
}
