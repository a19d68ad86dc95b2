package flows

import (
	"math"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var mtu = Table{
	ID:      tableMTU,
	Name:    "mtu",
	Purpose: "Stops packets that are too large for the underlay between two hosts, where they would be lost without a word: NVGRE is never fragmented. Their senders are told the MTU (RFC 1191, RFC 8201), or, where IPv4 allows, the controller sends them on in fragments.",
	Matches: append(fields(flow.EthType), regs(regTooBig)...),
	Sets:    regs(regPunt),
	Next:    []uint8{tableEncap, tablePunt},
	Miss:    "on to table encap",
}

const prioMTU = 100

// Octets that NVGRE adds to an IP packet of a VM: its Ethernet header, GRE with a
// key, and the outer IP header (RFC 7637 section 3.2).
const (
	ethernetHeader = 14
	overhead4      = ethernetHeader + 8 + 20
	overhead6      = ethernetHeader + 8 + 40
)

// overhead returns what NVGRE adds to an IP packet of a VM between two provider
// addresses of one family.
func overhead(v6 bool) uint16 {
	if v6 {
		return overhead6
	}
	return overhead4
}

// PathMTU returns the largest IP packet of a VM, in octets, that the underlay takes
// from one host to another; false where there is no way.
func PathMTU(from, to *tenant.Host) (uint16, bool) {
	src, _, ok := tenant.Path(from, to)
	if !ok {
		return 0, false
	}
	return min(from.MTU, to.MTU) - overhead(src.Addr().Is6()), true
}

// OverlayMTU returns the largest IP packet of a VM, in octets, that the underlay
// takes between any two hosts of a policy, whatever their provider addresses.
func OverlayMTU(p *tenant.Policy) uint16 {
	least, v6 := uint16(math.MaxUint16), false
	for h := range p.Hosts() {
		least = min(least, h.MTU)
		for _, a := range h.ProviderAddresses {
			v6 = v6 || a.PA.Addr().Is6()
		}
	}
	if least == math.MaxUint16 {
		least = tenant.DefaultMTU
	}
	return least - overhead(v6)
}

// mtuFlows makes what every switch has in table mtu.
func mtuFlows(b *builder) {
	o := tableOwner(tableMTU)
	for _, family := range []flow.Test{isIPv4, isIPv6} {
		b.add(&mtu, prioMTU, o.drop(DropTooBig), b.match(regTooBig.is(1), family), puntTo(PuntTooBig)...)
	}
	b.add(&mtu, 0, o.cookie(), nil, flow.Goto(tableEncap))
}
