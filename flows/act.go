package flows

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var act = Table{
	ID:      tableAct,
	Name:    "act",
	Purpose: "Does what the lookups decided: answers ARP and neighbour solicitations for any known address and echo requests to the distributed router, hands ARP and ND that are addressed to a VM's own MAC to that VM, or rewrites the MACs and, between subnets, decrements the TTL.",
	Matches: append(append(fields(flow.InPort, flow.EthType, flow.IPProto, flow.IPTTL, flow.IPv6Src, flow.ARPOp, flow.ARPSPA, flow.ICMPType, flow.ICMPCode,
		flow.ICMPv6Type, flow.ICMPv6Code), groupBit), regs(regRouted, regRouter, regHopMAC)...),
	Sets: append(fields(flow.EthSrc, flow.EthDst, flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA,
		flow.IPv4Src, flow.IPv4Dst, flow.IPv6Src, flow.IPv6Dst, flow.IPTTL, flow.ICMPType, flow.ICMPv6Type, flow.NDReserved, flow.NDOptType),
		regs(regSwap, regHop, regPunt)...),
	Next:    []uint8{tableNDReply, tablePA, tablePunt},
	Outputs: true,
	Miss:    "drop: neither IP nor ARP",
}

const (
	prioActOwn         = 240
	prioActProbeRouter = 230 // duplicate address detection of the router's address
	prioActProbe       = 220
	prioActAskRouter   = 215
	prioActAskVM       = 210 // a unicast question
	prioActAsk         = 200
	prioActEcho        = 150
	prioActListen      = 145
	prioActRouter      = 140
	prioActScope       = 135
	prioActTTL         = 130
	prioActRouted      = 100
	prioActPlain       = 90
)

// echoTTL is the TTL or hop limit of the router's echo replies, the default of
// RFC 1700.
const echoTTL = 64

// Flags of a neighbour advertisement (RFC 4861 section 4.4).
const (
	ndRouter    = 1 << 31
	ndSolicited = 1 << 30
	ndOverride  = 1 << 29
)

var (
	groupBit  = flow.Bits{Field: flow.EthDst, Ofs: 40, N: 1} // the I/G bit of an Ethernet address (IEEE 802-2014 section 8.2.2)
	toUnicast = flow.Masked(flow.EthDst, flow.Uint(0), groupBit.Mask())

	allNodes    = netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 15: 1}) // ff02::1 (RFC 4291 section 2.7.1)
	allNodesMAC = uint64(0x333300000001)                           // RFC 2464 section 7
)

func (c *Compiler) actFlows(b *builder) {
	o := tableOwner(tableAct)
	routed := regRouted.is(1)
	toRouter := regRouter.is(1)
	toHop := flow.Move(regHopMAC.Bits, flow.All(flow.EthDst))
	actARP(b)
	actND(b)
	actEcho(b)
	b.add(&act, prioActRouter, o.drop(DropToRouter), b.match(toRouter))
	for _, family := range []flow.Test{isIPv4, isIPv6} {
		for _, proto := range []flow.Test{isTCP, isUDP} {
			b.add(&act, prioActListen, o.drop(DropToRouter), b.match(toRouter, family, proto), puntTo(PuntToRouter)...)
		}
	}
	b.add(&act, prioActScope, o.drop(DropLinkLocal), b.match(routed, isIPv6, prefixTest(flow.IPv6Src, linkLocal)))
	for _, family := range []flow.Test{isIPv4, isIPv6} {
		for _, ttl := range []uint64{0, 1} {
			b.add(&act, prioActTTL, o.drop(DropTTL), b.match(routed, family, flow.Exact(flow.IPTTL, flow.Uint(ttl))), puntTo(PuntTTL)...)
		}
		b.add(&act, prioActRouted, o.cookie(), b.match(routed, family),
			flow.DecTTL(),
			flow.Set(flow.All(flow.EthSrc), flow.Uint(c.policy.GatewayMAC().Uint64())),
			toHop,
			flow.Goto(tablePA))
		b.add(&act, prioActPlain, o.cookie(), b.match(family), toHop, flow.Goto(tablePA))
	}
	b.miss(&act, DropNoAction)
}

// actARP makes the flows for ARP. What is addressed to a VM's own MAC goes to the
// VM, which so proves that it is there (RFC 1122 section 2.3.2.1), and a VM's
// answer to who asked; all else the network answers.
func actARP(b *builder) {
	o := tableOwner(tableAct)
	toRouter := regRouter.is(1)
	hopMAC := regHopMAC.Bits
	request := flow.Exact(flow.ARPOp, flow.Uint(1))
	answer := []flow.Action{
		flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst)),
		flow.Move(hopMAC, flow.All(flow.EthSrc)),
		flow.Set(flow.All(flow.ARPOp), flow.Uint(2)),
		flow.Move(flow.All(flow.ARPSHA), flow.All(flow.ARPTHA)),
		flow.Move(hopMAC, flow.All(flow.ARPSHA)),
		flow.Move(flow.All(flow.ARPTPA), regSwap.Bits),
		flow.Move(flow.All(flow.ARPSPA), flow.All(flow.ARPTPA)),
		flow.Move(regSwap.Bits, flow.All(flow.ARPSPA)),
		flow.Output(flow.PortInPort),
	}
	deliver := []flow.Action{flow.Move(hopMAC, flow.All(flow.EthDst)), flow.Goto(tablePA)}
	// Nobody could answer a probe but the network: it has no sender address.
	b.add(&act, prioActProbe, o.cookie(), b.match(isARP, request, flow.Exact(flow.ARPSPA, flow.Uint(0))), answer...)
	b.add(&act, prioActAskRouter, o.cookie(), b.match(toRouter, isARP, request), answer...)
	b.add(&act, prioActAskVM, o.cookie(), b.match(isARP, request, toUnicast), deliver...)
	b.add(&act, prioActAsk, o.cookie(), b.match(isARP, request), answer...)
	b.add(&act, prioActPlain, o.cookie(), b.match(isARP), deliver...)
}

// actND makes the flows for neighbour solicitations, likewise. An advertisement
// of a VM is delivered as any IPv6 packet.
func actND(b *builder) {
	o := tableOwner(tableAct)
	toRouter := regRouter.is(1)
	hopMAC := regHopMAC.Bits
	solicitation := []flow.Test{isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(ndSolicitation)), flow.Exact(flow.ICMPv6Code, flow.Uint(0))}
	noSource := flow.Exact(flow.IPv6Src, flow.Uint(0))
	match := func(more ...flow.Test) flow.Match { return b.match(append(more, solicitation...)...) }
	// An advertisement to all nodes: there is nobody to answer (RFC 4861 section
	// 7.2.4). The solicitation has no option that could hold the MAC.
	toAll := func(flags uint64) []flow.Action {
		return []flow.Action{
			flow.Set(flow.All(flow.EthDst), flow.Uint(allNodesMAC)),
			flow.Move(hopMAC, flow.All(flow.EthSrc)),
			flow.Set(flow.All(flow.IPv6Dst), flow.Addr(allNodes)),
			flow.Move(flow.All(flow.NDTarget), flow.All(flow.IPv6Src)),
			flow.Set(flow.All(flow.ICMPv6Type), flow.Uint(ndAdvertisement)),
			flow.Set(flow.All(flow.NDReserved), flow.Uint(flags)),
			flow.Output(flow.PortInPort),
		}
	}
	answer := func(flags uint64) []flow.Action {
		return []flow.Action{
			flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst)),
			flow.Move(hopMAC, flow.All(flow.EthSrc)),
			flow.Move(flow.All(flow.IPv6Src), flow.All(flow.IPv6Dst)),
			flow.Move(flow.All(flow.NDTarget), flow.All(flow.IPv6Src)),
			flow.Set(flow.All(flow.ICMPv6Type), flow.Uint(ndAdvertisement)),
			flow.Set(flow.All(flow.NDReserved), flow.Uint(flags)),
			flow.Set(flow.All(flow.NDOptType), flow.Uint(ndTargetLinkLayer)),
			flow.Goto(tableNDReply),
		}
	}
	b.add(&act, prioActProbeRouter, o.cookie(), match(toRouter, noSource), toAll(ndRouter|ndOverride)...)
	b.add(&act, prioActProbe, o.cookie(), match(noSource), toAll(ndOverride)...)
	b.add(&act, prioActAskRouter, o.cookie(), match(toRouter), answer(ndRouter|ndSolicited|ndOverride)...)
	b.add(&act, prioActAskVM, o.cookie(), match(toUnicast), flow.Move(hopMAC, flow.All(flow.EthDst)), flow.Goto(tablePA))
	b.add(&act, prioActAsk, o.cookie(), match(), answer(ndSolicited|ndOverride)...)
}

// actOwnFlows makes the flows of a VM that has wildcards: it asks in vain for what
// nobody has. An answer would be its own MAC, and say that an address which it
// is about to take is taken.
func actOwnFlows(b *builder, vm []tenant.LookupRecord, port uint32) {
	for i := range vm {
		r := &vm[i]
		if !isWildcard(r) {
			continue
		}
		why, question := DropARPOwn, ipv4.question
		if r.CA.Addr().Is6() {
			why, question = DropNDOwn, ipv6.question
		}
		tests := append([]flow.Test{inPort(port), regRouter.is(0)}, question...)
		b.add(&act, prioActOwn, recordOwner(r).drop(why), b.match(regHopMAC.appendTests(tests, flow.Uint(r.MAC.Uint64()))...))
	}
}

// actEcho makes the flows that answer echo requests to the router (RFC 792, RFC
// 4443 section 4.2).
func actEcho(b *builder) {
	o := tableOwner(tableAct)
	toRouter := regRouter.is(1)
	macs := []flow.Action{
		flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst)),
		flow.Move(regHopMAC.Bits, flow.All(flow.EthSrc)),
	}
	ttl := flow.Set(flow.All(flow.IPTTL), flow.Uint(echoTTL))
	back := flow.Output(flow.PortInPort)
	swap := func(src, dst flow.Field, via flow.Bits) []flow.Action {
		return append(macs[:2:2], flow.Move(flow.All(src), via), flow.Move(flow.All(dst), flow.All(src)), flow.Move(via, flow.All(dst)))
	}
	b.add(&act, prioActEcho, o.cookie(),
		b.match(toRouter, isIPv4, isICMP, flow.Exact(flow.ICMPType, flow.Uint(8)), flow.Exact(flow.ICMPCode, flow.Uint(0))),
		append(swap(flow.IPv4Src, flow.IPv4Dst, regSwap.Bits), flow.Set(flow.All(flow.ICMPType), flow.Uint(0)), ttl, back)...)
	// The next hop is known and done with: its register has room for an address.
	b.add(&act, prioActEcho, o.cookie(),
		b.match(toRouter, isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(128)), flow.Exact(flow.ICMPv6Code, flow.Uint(0))),
		append(swap(flow.IPv6Src, flow.IPv6Dst, regHop.Bits), flow.Set(flow.All(flow.ICMPv6Type), flow.Uint(129)), ttl, back)...)
}
