package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var tunnelSource = Table{
	ID:      tableTunnelSource,
	Name:    "tunnel-source",
	Purpose: "Takes NVGRE packets only from the provider address of a host that has VMs of a routing domain of this host, to one of this host's. The underlay is trusted to deliver no forged provider addresses.",
	Matches: fields(flow.TunSrc, flow.TunDst, flow.TunIPv6Src, flow.TunIPv6Dst),
	Next:    []uint8{tableTunnelVSID},
	Miss:    "drop: the outer addresses are not those of this host and of one that shares a routing domain with it",
}

const prioTunnelSource = 100

// tunnelSourceFlows makes the flows that let in what another host sends.
func tunnelSourceFlows(b *builder, self, peer *tenant.Host) {
	if peer.Name == self.Name {
		return
	}
	for _, from := range peer.ProviderAddresses {
		for _, to := range self.ProviderAddresses {
			if from.PA.Addr().Is4() != to.PA.Addr().Is4() {
				continue
			}
			src, dst := outerFields(from.PA.Addr())
			b.add(&tunnelSource, prioTunnelSource, hostOwner(peer.Name).cookie(),
				b.match(flow.Exact(src, flow.Addr(from.PA.Addr())), flow.Exact(dst, flow.Addr(to.PA.Addr()))),
				flow.Goto(tableTunnelVSID))
		}
	}
}
