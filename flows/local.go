package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var local = Table{
	ID:      tableLocal,
	Name:    "local",
	Purpose: "Finds the port of a VM on this host by virtual subnet and MAC. Two tenants may use the same MAC.",
	Matches: append(fields(flow.EthDst), regs(regDest)...),
	Sets:    regs(regOutput),
	Next:    []uint8{tableOutput},
	Miss:    "drop: the VM is not here",
}

const prioLocal = 100

func localFlows(b *builder, vms []localVM) {
	for _, vm := range vms {
		r := &vm.record
		b.add(&local, prioLocal, recordOwner(r).cookie(),
			b.match(regDest.is(uint64(r.VSID)), flow.Exact(flow.EthDst, flow.Uint(r.MAC.Uint64()))),
			regOutput.set(flow.Uint(uint64(vm.port))), flow.Goto(tableOutput))
	}
	b.miss(&local, DropNotHere)
}
