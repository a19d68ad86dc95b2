package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var output = Table{
	ID:      tableOutput,
	Name:    "output",
	Purpose: "Delivers the packet to the VM's port.",
	Outputs: true,
	Miss:    "never: its only flow takes every packet",
}

func outputFlows(b *builder) {
	b.add(&output, 0, tableOwner(tableOutput).cookie(), nil, flow.OutputReg(regOutput.Bits))
}
