package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var local = Table{
	ID:      tableLocal,
	Name:    "local",
	Purpose: "Finds the port of a VM on this host by virtual subnet and MAC. Two tenants may use the same MAC. Open vSwitch would silently not send a packet to the port that it came from: such packets have a drop flow.",
	Matches: append(fields(flow.InPort, flow.EthDst), regs(regDest)...),
	Sets:    regs(regOutput),
	Next:    []uint8{tableOutput},
	Miss:    "drop: the VM is not here",
}

const (
	prioLocalSelf = 110
	prioLocal     = 100
)

func localFlows(b *builder, r *tenant.LookupRecord, port uint32) {
	vsid, mac := regDest.is(uint64(r.VSID)), flow.Exact(flow.EthDst, flow.Uint(r.MAC.Uint64()))
	b.add(&local, prioLocalSelf, recordOwner(r).drop(DropToItself), b.match(inPort(port), vsid, mac))
	b.add(&local, prioLocal, recordOwner(r).cookie(), b.match(vsid, mac),
		regOutput.set(flow.Uint(uint64(port))), flow.Goto(tableOutput))
}
