package oracle

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// Kind is what should become of a packet.
type Kind uint8

// The kinds.
const (
	Dropped   Kind = iota
	Delivered      // to one VM
	Answered       // by the network itself, back to the sender
	Asked          // of the controller, which answers: Punt says what
)

// String returns the kind as a word.
func (k Kind) String() string {
	return [...]string{"dropped", "delivered", "answered", "asked"}[k]
}

// Reason says why a packet should be dropped.
type Reason uint8

// The reasons.
const (
	// Tagged: a VM's frame has a tag, and a virtual subnet carries no 802.1Q tags (RFC 7637 section 3.3).
	Tagged Reason = iota + 1
	// UnknownPort: no VM of the policy belongs on the port.
	UnknownPort
	// SourceMAC: the source is not the MAC in the VM's record.
	SourceMAC
	// SourceCA: the source is not the CA in the VM's record.
	SourceCA
	// Protocol: none that the VM has an address for: IPv4 and ARP, or IPv6.
	Protocol
	// ARPSender: an ARP message that is not in the VM's own name, or neither a
	// request nor an answer to one machine.
	ARPSender
	// ARPOwn: the VM asks for, or announces, its own CA.
	ARPOwn
	// ARPTarget: the address asked for is outside the VM's subnet.
	ARPTarget
	// Group: broadcast and multicast reach nobody.
	Group
	// NoRoute: no subnet and no customer route has the destination.
	NoRoute
	// UnknownCA: nobody has the next hop's address.
	UnknownCA
	// Unattached: nobody knows on which host the next hop's VM is.
	Unattached
	// ToRouter: for the distributed router, which answers ARP, ND and echo only.
	ToRouter
	// TTL: the packet may cross no further router.
	TTL
	// ToItself: the next hop is the VM that sent the packet.
	ToItself
	// NoPath: the two hosts have no provider addresses of one family.
	NoPath
	// NoTunnel: a host has no tunnel port for the packet.
	NoTunnel
	// TunnelTagged: another host sent a tag, which it must not.
	TunnelTagged
	// UnknownPA: the outer addresses are not this host's and those of another
	// that has VMs of a routing domain of this one.
	UnknownPA
	// TunnelGroup: the inner destination is a group address.
	TunnelGroup
	// UnknownVSID: the host has no VM of the virtual subnet's routing domain.
	UnknownVSID
	// TunnelProtocol: the subnet has no prefix of the inner frame's protocol.
	TunnelProtocol
	// NotHere: the VM is not attached to the host that should have it.
	NotHere
	// RouterAdvertisement: only routers send it.
	RouterAdvertisement
	// Redirect: likewise.
	Redirect
	// NDSender: a neighbour solicitation or advertisement that is not in the VM's
	// own name, or not valid (RFC 4861 section 7.1).
	NDSender
	// NDOwn: the VM asks for its own address.
	NDOwn
	// NDUnsolicited: an advertisement to a group.
	NDUnsolicited
	// NDTarget: the address asked for is outside the VM's subnet.
	NDTarget
	// LinkLocal: a link-local address would have to leave its subnet, or is none
	// of fe80::/64.
	LinkLocal
	// BlackHole: a customer route says so.
	BlackHole
	// TooBig: the underlay does not take the packet between the two hosts.
	TooBig
	// NoCA: the VM has a record of type l2only alone.
	NoCA
	numReasons
)

var reasonNames = [numReasons]string{
	Tagged: "tagged", UnknownPort: "unknown port", SourceMAC: "source MAC", SourceCA: "source CA", Protocol: "protocol",
	ARPSender: "ARP sender", ARPOwn: "ARP for its own CA", ARPTarget: "ARP outside the subnet", Group: "broadcast or multicast",
	NoRoute: "no route", UnknownCA: "unknown CA", Unattached: "unattached", ToRouter: "to the router", TTL: "TTL",
	ToItself: "to itself", NoPath: "no path", NoTunnel: "no tunnel port", TunnelTagged: "tagged from the tunnel", UnknownPA: "unknown PA",
	TunnelGroup: "group address from the tunnel", UnknownVSID: "unknown VSID", TunnelProtocol: "protocol from the tunnel", NotHere: "not here",
	RouterAdvertisement: "router advertisement", Redirect: "redirect", NDSender: "ND sender", NDOwn: "ND for its own address",
	NDUnsolicited: "unsolicited advertisement", NDTarget: "ND outside the subnet", LinkLocal: "link-local",
	BlackHole: "black hole", TooBig: "too big", NoCA: "no CA yet",
}

// Reasons returns all reasons.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons-1)
	for r := Reason(1); r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the reason in words.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// Punt is what the controller gets a packet for.
type Punt uint8

// What for. The first five tell the sender of a drop (RFC 792, RFC 4443).
const (
	TellTTL       Punt = iota + 1 // time exceeded
	TellNoRoute                   // network unreachable
	TellNoHost                    // host unreachable
	TellNoPort                    // port unreachable
	TellTooBig                    // the MTU, or nothing but fragments of the packet
	AskDHCP                       // DHCPv4
	AskDHCPv6                     // DHCPv6
	AskForRouters                 // router solicitation
	numPunts
)

var puntNames = [numPunts]string{
	TellTTL: "time exceeded", TellNoRoute: "no route", TellNoHost: "host unreachable", TellNoPort: "port unreachable", TellTooBig: "too big",
	AskDHCP: "DHCP", AskDHCPv6: "DHCPv6", AskForRouters: "router solicitation",
}

// String returns what the packet is for, in words; "" for 0.
func (p Punt) String() string {
	if p < numPunts {
		return puntNames[p]
	}
	return "unknown"
}

// Verdict is what should become of one packet.
type Verdict struct {
	Kind   Kind
	Reason Reason // of a drop
	// Punt says that the packet goes to the controller, and for what: to tell the
	// sender of a drop, or to answer.
	Punt Punt
	// Host and Port are where the packet or the answer comes out; of a drop, the
	// host that drops it.
	Host  string
	Port  uint32
	Frame packet.Frame // as it comes out
	// Tunnelled says that the packet crosses the underlay, within Outer.
	Tunnelled bool
	Outer     packet.Outer
	AnyFlowID bool // its FlowID may be any, and is not the one in Outer
}

// Through reports whether o is the NVGRE header that is meant.
func (v *Verdict) Through(o packet.Outer) bool {
	if v.AnyFlowID {
		o.Key = o.Key&^0xff | v.Outer.Key&0xff
	}
	return v.Tunnelled && o == v.Outer
}

// String returns the verdict in one line.
func (v Verdict) String() string {
	s := fmt.Sprintf("%s on host %s", v.Kind, v.Host)
	if v.Kind == Dropped {
		s += " for " + v.Reason.String()
	} else if v.Kind != Asked {
		s += fmt.Sprintf(" by port %d: %s", v.Port, v.Frame)
	}
	if v.Punt != 0 {
		s += ", to the controller: " + v.Punt.String()
	}
	if v.Tunnelled {
		s += " through " + v.Outer.String()
	}
	return s
}
