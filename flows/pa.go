package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var pa = Table{
	ID:      tablePA,
	Name:    "pa",
	Purpose: "Turns the number of the destination's host into outer addresses, or finds that it is this host. Which of their provider addresses two hosts use is a function of the two alone (tenant.Path), and the same both ways. A host that changes its provider address changes one flow here, not one for each VM. A host knows itself and the hosts that have VMs of its routing domains.",
	Matches: regs(regPeer),
	Sets:    append(fields(flow.TunSrc, flow.TunDst, flow.TunIPv6Src, flow.TunIPv6Dst), regs(regTooBig, regMTU)...),
	Next:    []uint8{tableMTU, tableLocal},
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
	if from, to, ok := tenant.Path(self, peer); ok {
		src, dst := outerFields(from.Addr())
		mtu, _ := PathMTU(self, peer)
		b.add(&pa, prioPA, o.cookie(), b.match(regPeer.is(uint64(number))),
			flow.Set(flow.All(src), flow.Addr(from.Addr())),
			flow.Set(flow.All(dst), flow.Addr(to.Addr())),
			regMTU.set(flow.Uint(uint64(mtu))),
			flow.CheckLarger(mtu+ethernetHeader, regTooBig.Bits),
			flow.Goto(tableMTU))
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
