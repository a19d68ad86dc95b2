package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

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

func localFlows(b *builder, vms []localVM) {
	for _, vm := range vms {
		r := &vm.record
		vsid, mac := regDest.is(uint64(r.VSID)), flow.Exact(flow.EthDst, flow.Uint(r.MAC.Uint64()))
		b.add(&local, prioLocalSelf, recordOwner(r).drop(DropToItself),
			b.match(flow.Exact(flow.InPort, flow.Uint(uint64(vm.port))), vsid, mac))
		b.add(&local, prioLocal, recordOwner(r).cookie(), b.match(vsid, mac),
			regOutput.set(flow.Uint(uint64(vm.port))), flow.Goto(tableOutput))
	}
	b.miss(&local, DropNotHere)
}
