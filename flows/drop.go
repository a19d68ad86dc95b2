package flows

// DropReason says why a flow drops packets. The number is part of cookies: it
// never changes its meaning.
type DropReason uint8

// The reasons.
const (
	DropUnknownPort DropReason = iota + 1
	DropVMTagged
	DropTunnelTagged
	DropUnknownPA
	DropUnknownVSID
	DropTunnelMulticast
	DropTunnelProtocol
	DropSourceMAC
	DropSourceCA
	DropARPSender
	DropARPOwn
	DropProtocol
	DropARPTarget
	DropMulticast
	DropNoRoute
	DropUnknownCA
	DropARPUnknownCA
	DropUnattached
	DropToRouter
	DropTTL
	DropNoAction
	DropUnknownPeer
	DropNoTunnel
	DropNotHere
	DropToItself
	DropRouterAdvertisement
	DropRedirect
	DropNDSender
	DropNDOwn
	DropNDUnsolicited
	DropNDTarget
	DropNDUnknownCA
	DropLinkLocal
	DropBlackHole
	DropTooBig
	DropNoPunt
	DropNoCA
	dropReasons
)

var dropTexts = [dropReasons]struct{ name, text string }{
	DropUnknownPort:         {"unknown-port", "the packet came in by a port that is no attachment of a lookup record on this host"},
	DropVMTagged:            {"vm-tagged", "the VM sent an 802.1Q tagged frame"},
	DropTunnelTagged:        {"tunnel-tagged", "the inner frame carries an 802.1Q tag (RFC 7637 section 3.3 forbids it)"},
	DropUnknownPA:           {"unknown-pa", "the outer source is no provider address of a host that shares a routing domain with this one, or the outer destination is none of this host"},
	DropUnknownVSID:         {"unknown-vsid", "the GRE key names a virtual subnet of no routing domain that has a VM on this host"},
	DropTunnelMulticast:     {"tunnel-multicast", "the inner frame is broadcast or multicast, and the subnet has neither"},
	DropTunnelProtocol:      {"tunnel-protocol", "the inner frame is of no protocol that the virtual subnet has: IPv4 and ARP, or IPv6, as its prefixes are"},
	DropSourceMAC:           {"source-mac", "the source MAC is not the one of the VM's lookup record"},
	DropSourceCA:            {"source-ca", "the source address is not the CA of the VM's lookup record"},
	DropARPSender:           {"arp-sender", "the ARP sender is not the VM's MAC and CA, or the message is neither a request nor an answer to one host"},
	DropARPOwn:              {"arp-own", "the VM announces or probes its own CA: nobody needs to hear it"},
	DropProtocol:            {"protocol", "the frame is of no protocol that the VM has an address for: IPv4 and ARP, or IPv6"},
	DropARPTarget:           {"arp-target", "the ARP target is outside the VM's virtual subnet"},
	DropMulticast:           {"multicast", "the destination is broadcast or multicast, and the subnet has neither"},
	DropNoRoute:             {"no-route", "the routing domain has no subnet and no route for the destination"},
	DropUnknownCA:           {"unknown-ca", "no lookup record of the routing domain has the destination CA"},
	DropARPUnknownCA:        {"arp-unknown-ca", "the VM asked for a CA that no lookup record has"},
	DropUnattached:          {"unattached", "the destination's lookup record names no host and no host has its attachment"},
	DropToRouter:            {"to-router", "the packet is for the distributed router itself, which answers ARP, neighbour solicitations and echo only"},
	DropTTL:                 {"ttl-expired", "the TTL is used up at the distributed router"},
	DropNoAction:            {"no-action", "the next hop is known but the packet is neither IP nor ARP"},
	DropUnknownPeer:         {"unknown-peer", "the destination's host has no provider address in a family that this host shares"},
	DropNoTunnel:            {"no-tunnel-port", "the switch has no tunnel port for the destination's virtual subnet"},
	DropNotHere:             {"not-here", "no VM with that VSID and MAC is attached to this host"},
	DropToItself:            {"to-itself", "the packet would go back to the VM that sent it: its own CA, or a route whose next hop it is"},
	DropRouterAdvertisement: {"rogue-ra", "the VM sent an IPv6 router advertisement: the distributed router alone does"},
	DropRedirect:            {"redirect", "the VM sent an ICMPv6 redirect: routers alone do"},
	DropNDSender:            {"nd-sender", "the neighbour solicitation or advertisement is not in the VM's own name (MAC and address), or is no valid one (RFC 4861 section 7.1)"},
	DropNDOwn:               {"nd-own", "the VM asks for its own address, as duplicate address detection does: nobody needs to hear it"},
	DropNDUnsolicited:       {"nd-unsolicited", "the VM announces its address to a multicast group: nobody needs to hear it"},
	DropNDTarget:            {"nd-target", "the neighbour solicitation's target is outside the VM's virtual subnet"},
	DropNDUnknownCA:         {"nd-unknown-ca", "the VM asked for an IPv6 address that no lookup record has"},
	DropLinkLocal:           {"link-local", "an IPv6 link-local address means nothing outside its virtual subnet, or is outside fe80::/64"},
	DropNoCA:                {"no-ca", "the VM has no CA yet: its lookup record is of type l2only"},
	DropBlackHole:           {"black-hole", "a customer route of the routing domain says that packets to the destination are dropped"},
	DropTooBig:              {"too-big", "the packet is larger than the underlay takes between the two hosts"},
	DropNoPunt:              {"no-punt", "the packet would go to the controller, and came in by no port of a VM"},
}

// DropReasons returns all reasons in the order of their numbers.
func DropReasons() []DropReason {
	all := make([]DropReason, 0, dropReasons-1)
	for r := DropReason(1); r < dropReasons; r++ {
		all = append(all, r)
	}
	return all
}

// Counted reports whether the counters of flows with the reason count what they
// drop. Open vSwitch counts a packet for both sides of a check_pkt_larger, so each
// packet to another host counts as too big, too: the controller's counter
// nvgre_punts_total tells how many really are.
func (r DropReason) Counted() bool { return r != DropTooBig }

// String returns the short name of the reason, such as source-ca.
func (r DropReason) String() string {
	if r == 0 || r >= dropReasons {
		return "unknown"
	}
	return dropTexts[r].name
}

// Text returns the reason as a sentence without a capital or a full stop.
func (r DropReason) Text() string {
	if r == 0 || r >= dropReasons {
		return "a reason that this version does not know"
	}
	return dropTexts[r].text
}
