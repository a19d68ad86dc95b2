package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var encap = Table{
	ID:      tableEncap,
	Name:    "encap",
	Purpose: "Sends a packet into the tunnel with GRE key VSID<<8 and FlowID 0 (RFC 7637 section 3.2): by the flow-based port, or by the port that its virtual subnet has.",
	Matches: regs(regDest),
	Sets:    fields(flow.TunID),
	Outputs: true,
	Miss:    "drop: there is no port for the subnet",
}

const prioEncap = 100

// encapFlow makes the way out by a gre port: for all virtual subnets, or for the
// one whose port it is.
func encapFlow(b *builder, u Unit) {
	o, to := tableOwner(tableEncap), flow.Match(nil)
	if u.vsid != 0 {
		o, to = subnetOwner(u.vsid), b.match(regDest.is(uint64(u.vsid)))
	}
	b.add(&encap, prioEncap, o.cookie(), to,
		// A packet's own tun_id survives in bits that nothing overwrites.
		flow.Set(flow.All(flow.TunID), flow.Uint(0)),
		flow.Move(flow.Bits{Field: regDest.Bits.Field, Ofs: 0, N: 24}, flow.Bits{Field: flow.TunID, Ofs: 8, N: 24}),
		flow.Output(u.port))
}
