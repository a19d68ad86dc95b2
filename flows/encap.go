package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

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

func (c *Compiler) encapFlows(b *builder, t TunnelPorts, ids []tenant.RDID) {
	// A packet's own tun_id survives in bits that nothing overwrites.
	clear := flow.Set(flow.All(flow.TunID), flow.Uint(0))
	key := flow.Move(flow.Bits{Field: regDest.Bits.Field, Ofs: 0, N: 24}, flow.Bits{Field: flow.TunID, Ofs: 8, N: 24})
	if t.PerVSID == nil {
		if t.Flow != 0 {
			b.add(&encap, prioEncap, tableOwner(tableEncap).cookie(), nil, clear, key, flow.Output(t.Flow))
		}
	} else {
		for _, id := range ids {
			for s := range c.policy.SubnetsOf(id) {
				if port := t.PerVSID[s.VSID]; port != 0 {
					b.add(&encap, prioEncap, subnetOwner(s.VSID).cookie(), b.match(regDest.is(uint64(s.VSID))),
						clear, key, flow.Output(port))
				}
			}
		}
	}
	b.miss(&encap, DropNoTunnel)
}
