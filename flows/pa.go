package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var pa = Table{
	ID:      tablePA,
	Name:    "pa",
	Purpose: "Turns the number of the destination's host into outer addresses, or finds that it is this host. The family is that of the first of this host's provider addresses of which the other host has the family too. A host that changes its provider address changes one flow here, not one for each VM. A host knows itself and the hosts that have VMs of its routing domains.",
	Matches: regs(regPeer),
	Sets:    fields(flow.TunSrc, flow.TunDst, flow.TunIPv6Src, flow.TunIPv6Dst),
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
		src, dst := outerFields(from)
		b.add(&pa, prioPA, o.cookie(), b.match(regPeer.is(uint64(number))),
			flow.Set(flow.All(src), flow.Addr(from)),
			flow.Set(flow.All(dst), flow.Addr(to)),
			flow.Goto(tableEncap))
	}
}

// outerFields returns the fields that hold outer addresses of the family of a.
// Without a write they are zero in what comes from a VM, so that one family is
// set at most.
func outerFields(a netip.Addr) (src, dst flow.Field) {
	if a.Is4() {
		return flow.TunSrc, flow.TunDst
	}
	return flow.TunIPv6Src, flow.TunIPv6Dst
}

// outer returns the outer addresses of packets from one host to another: the
// sender's first address of a family that both have, and the receiver's first of
// that family. The two directions may so differ in family.
func outer(from, to *tenant.Host) (src, dst netip.Addr, ok bool) {
	for _, s := range from.ProviderAddresses {
		for _, d := range to.ProviderAddresses {
			if s.PA.Addr().Is4() == d.PA.Addr().Is4() {
				return s.PA.Addr(), d.PA.Addr(), true
			}
		}
	}
	return netip.Addr{}, netip.Addr{}, false
}
