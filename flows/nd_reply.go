package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

var ndReply = Table{
	ID:      tableNDReply,
	Name:    "nd-reply",
	Purpose: "Writes the MAC into a neighbour advertisement that table act has made of a solicitation, and sends it back. The target's link-layer address can only be written where a flow matches an advertisement.",
	Matches: fields(flow.EthType, flow.IPProto, flow.ICMPv6Type, flow.ICMPv6Code),
	Sets:    fields(flow.NDTLL),
	Outputs: true,
	Miss:    "drop: no neighbour advertisement",
}

const prioNDReply = 100

func ndReplyFlows(b *builder) {
	b.add(&ndReply, prioNDReply, tableOwner(tableNDReply).cookie(),
		b.match(isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(ndAdvertisement)), flow.Exact(flow.ICMPv6Code, flow.Uint(0))),
		flow.Move(regHopMAC.Bits, flow.All(flow.NDTLL)),
		flow.Output(flow.PortInPort))
	b.miss(&ndReply, DropNoAction)
}
