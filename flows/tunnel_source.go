package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var tunnelSource = Table{
	ID:      tableTunnelSource,
	Name:    "tunnel-source",
	Purpose: "Takes NVGRE packets only from the provider address of another host to one of this host's. The underlay is trusted to deliver no forged provider addresses.",
	Matches: fields(flow.TunSrc, flow.TunDst),
	Next:    []uint8{tableTunnelVSID},
	Miss:    "drop: the outer addresses are not those of two hosts of the policy",
}

const prioTunnelSource = 100

func (c *Compiler) tunnelSourceFlows(b *builder, self tenant.Host) {
	for peer := range c.policy.Hosts() {
		if peer.Name == self.Name {
			continue
		}
		for _, from := range peer.ProviderAddresses {
			for _, to := range self.ProviderAddresses {
				if !from.PA.Addr().Is4() || !to.PA.Addr().Is4() {
					continue
				}
				b.add(&tunnelSource, prioTunnelSource, hostOwner(peer.Name).cookie(),
					b.match(flow.Exact(flow.TunSrc, flow.Addr(from.PA.Addr())), flow.Exact(flow.TunDst, flow.Addr(to.PA.Addr()))),
					flow.Goto(tableTunnelVSID))
			}
		}
	}
	b.miss(&tunnelSource, DropUnknownPA)
}
