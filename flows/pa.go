package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var pa = Table{
	ID:      tablePA,
	Name:    "pa",
	Purpose: "Turns the number of the destination's host into outer addresses, or finds that it is this host. A host that changes its provider address changes one flow here, not one for each VM. A host knows itself and the hosts that have VMs of its routing domains.",
	Matches: regs(regPeer),
	Sets:    fields(flow.TunSrc, flow.TunDst),
	Next:    []uint8{tableEncap, tableLocal},
	Miss:    "drop: no way to the host",
}

const prioPA = 100

// paFlow makes the way from a host to a peer, or to itself.
func paFlow(b *builder, number uint32, self, peer *tenant.Host) {
	o := hostOwner(peer.Name)
	if peer.Name == self.Name {
		b.add(&pa, prioPA, o.cookie(), b.match(regPeer.is(uint64(number))), flow.Goto(tableLocal))
		return
	}
	if from, to, ok := outer(self, peer); ok {
		b.add(&pa, prioPA, o.cookie(), b.match(regPeer.is(uint64(number))),
			flow.Set(flow.All(flow.TunSrc), flow.Addr(from)),
			flow.Set(flow.All(flow.TunDst), flow.Addr(to)),
			flow.Goto(tableEncap))
	}
}

// outer returns the outer addresses of packets from one host to another: the
// first of each in a family that both have.
func outer(from, to *tenant.Host) (src, dst netip.Addr, ok bool) {
	for _, s := range from.ProviderAddresses {
		for _, d := range to.ProviderAddresses {
			if s.PA.Addr().Is4() && d.PA.Addr().Is4() {
				return s.PA.Addr(), d.PA.Addr(), true
			}
		}
	}
	return netip.Addr{}, netip.Addr{}, false
}
