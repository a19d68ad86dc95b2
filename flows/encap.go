package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var encap = Table{
	ID:      tableEncap,
	Name:    "encap",
	Purpose: "Sends a packet into the tunnel with GRE key VSID<<8 | FlowID (RFC 7637 section 3.2): by the flow-based port, or by the port that its virtual subnet has.",
	Matches: regs(regDest),
	Sets:    fields(flow.TunID),
	Outputs: true,
	Groups:  true,
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
	out := flow.Output(u.port)
	if u.flowID {
		out = flow.ToGroup(groupFlowID)
		b.addGroup(&encap, flowIDGroup(u.port))
	}
	b.add(&encap, prioEncap, o.cookie(), to,
		// A packet's own tun_id survives in bits that nothing overwrites.
		flow.Set(flow.All(flow.TunID), flow.Uint(0)),
		flow.Move(flow.Bits{Field: regDest.Bits.Field, Ofs: 0, N: 24}, flow.Bits{Field: flow.TunID, Ofs: 8, N: 24}),
		out)
}

// Packets get one of FlowIDs different FlowIDs, from FirstFlowID on; 0 would mean
// that there is none (RFC 7637 section 3.2). Each costs a datapath flow for each
// pair of VMs that talk, however many connections they have. They have all
// values of the lower six bits, so that a router which folds the key by exclusive or
// takes them to 64 paths evenly. How many another hash reaches is its own matter:
// one that is like chance some 40 of 64, CRC-32 modulo 64 reached 16 in a run.
const (
	FlowIDs     = 64
	FirstFlowID = 64
)

// flowIDGroup gives a packet a FlowID, the same for all packets of a connection,
// and sends it out by a gre port.
func flowIDGroup(port uint32) flow.Group {
	g := flow.Group{ID: groupFlowID, Type: flow.GroupSelect, Buckets: make([]flow.Bucket, FlowIDs)}
	low := flow.Bits{Field: flow.TunID, N: 8}
	for i := range g.Buckets {
		g.Buckets[i] = flow.Bucket{Weight: 1, Actions: []flow.Action{flow.Set(low, flow.Uint(FirstFlowID+uint64(i))), flow.Output(port)}}
	}
	return g
}
