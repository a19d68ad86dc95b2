package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var act = Table{
	ID:      tableAct,
	Name:    "act",
	Purpose: "Does what the lookups decided: answers ARP for any known address and echo requests to the distributed router, or rewrites the MACs and, between subnets, decrements the TTL.",
	Matches: append(fields(flow.EthType, flow.IPProto, flow.IPTTL, flow.ICMPType, flow.ICMPCode), regs(regRouted, regRouter)...),
	Sets: append(fields(flow.EthSrc, flow.EthDst, flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA,
		flow.IPv4Src, flow.IPv4Dst, flow.IPTTL, flow.ICMPType), regs(regSwap)...),
	Next:    []uint8{tablePA},
	Outputs: true,
	Miss:    "drop: neither IPv4 nor ARP",
}

const (
	prioActARP    = 200
	prioActEcho   = 150
	prioActRouter = 140
	prioActTTL    = 130
	prioActRouted = 100
	prioActIP     = 90
)

// echoTTL is the TTL of the router's echo replies, the default of RFC 1700.
const echoTTL = 64

func (c *Compiler) actFlows(b *builder) {
	o := tableOwner(tableAct)
	routed := regRouted.is(1)
	toRouter := regRouter.is(1)
	hopMAC := regHopMAC.Bits
	back := flow.Output(flow.PortInPort)

	// Only requests come here: table port-security lets nothing else pass.
	b.add(&act, prioActARP, o.cookie(), b.match(isARP),
		flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst)),
		flow.Move(hopMAC, flow.All(flow.EthSrc)),
		flow.Set(flow.All(flow.ARPOp), flow.Uint(2)),
		flow.Move(flow.All(flow.ARPSHA), flow.All(flow.ARPTHA)),
		flow.Move(hopMAC, flow.All(flow.ARPSHA)),
		flow.Move(flow.All(flow.ARPTPA), regSwap.Bits),
		flow.Move(flow.All(flow.ARPSPA), flow.All(flow.ARPTPA)),
		flow.Move(regSwap.Bits, flow.All(flow.ARPSPA)),
		back)
	b.add(&act, prioActEcho, o.cookie(),
		b.match(toRouter, isIPv4, isICMP, flow.Exact(flow.ICMPType, flow.Uint(8)), flow.Exact(flow.ICMPCode, flow.Uint(0))),
		flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst)),
		flow.Move(hopMAC, flow.All(flow.EthSrc)),
		flow.Move(flow.All(flow.IPv4Src), regSwap.Bits),
		flow.Move(flow.All(flow.IPv4Dst), flow.All(flow.IPv4Src)),
		flow.Move(regSwap.Bits, flow.All(flow.IPv4Dst)),
		flow.Set(flow.All(flow.ICMPType), flow.Uint(0)),
		flow.Set(flow.All(flow.IPTTL), flow.Uint(echoTTL)),
		back)
	b.add(&act, prioActRouter, o.drop(DropToRouter), b.match(toRouter))
	for _, ttl := range []uint64{0, 1} {
		b.add(&act, prioActTTL, o.drop(DropTTL), b.match(routed, isIPv4, flow.Exact(flow.IPTTL, flow.Uint(ttl))))
	}
	b.add(&act, prioActRouted, o.cookie(), b.match(routed, isIPv4),
		flow.DecTTL(),
		flow.Set(flow.All(flow.EthSrc), flow.Uint(c.policy.GatewayMAC().Uint64())),
		flow.Move(hopMAC, flow.All(flow.EthDst)),
		flow.Goto(tablePA))
	b.add(&act, prioActIP, o.cookie(), b.match(isIPv4),
		flow.Move(hopMAC, flow.All(flow.EthDst)),
		flow.Goto(tablePA))
	b.miss(&act, DropNoAction)
}
