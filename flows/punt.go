package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"

// PuntReason says why a packet goes to the controller: register punt holds it
// there. A packet that is dropped may be punted too, so that its sender is told.
// Controllers and switches of different releases may meet: a number never
// changes its meaning.
type PuntReason uint8

// The reasons.
const (
	PuntTTL         PuntReason = iota + 1 // to be told that the TTL is used up
	PuntNoRoute                           // to be told that there is no route
	PuntNoHost                            // to be told that nobody has the address
	PuntToRouter                          // to be told that the router listens on no port
	PuntTooBig                            // to be told the MTU, or to be fragmented
	PuntDHCP                              // a question to the DHCPv4 server
	PuntDHCPv6                            // a question to the DHCPv6 server
	PuntRouterQuery                       // a router solicitation
	PuntLearn                             // an address that a VM claims
	puntReasons
)

var puntTexts = [puntReasons]struct{ name, text string }{
	PuntTTL:         {"ttl", "its TTL is used up: the sender is told (time exceeded)"},
	PuntNoRoute:     {"no-route", "there is no route: the sender is told (network unreachable)"},
	PuntNoHost:      {"no-host", "nobody has the address: the sender is told (host unreachable)"},
	PuntToRouter:    {"to-router", "the router has nothing that listens: the sender is told (port unreachable)"},
	PuntTooBig:      {"too-big", "it is larger than the way allows: the sender is told the MTU, or it is sent on in fragments"},
	PuntDHCP:        {"dhcp", "a question to the DHCPv4 server"},
	PuntDHCPv6:      {"dhcpv6", "a question to the DHCPv6 server"},
	PuntRouterQuery: {"router-query", "a router solicitation"},
	PuntLearn:       {"learn", "an address that the VM of a dynamic record claims"},
}

// PuntReasons returns all reasons in the order of their numbers.
func PuntReasons() []PuntReason {
	all := make([]PuntReason, 0, puntReasons-1)
	for r := PuntReason(1); r < puntReasons; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the short name of the reason, such as ttl.
func (r PuntReason) String() string {
	if r == 0 || r >= puntReasons {
		return "unknown"
	}
	return puntTexts[r].name
}

// Text returns the reason as a sentence without a capital or a full stop.
func (r PuntReason) Text() string {
	if r == 0 || r >= puntReasons {
		return "a reason that this version does not know"
	}
	return puntTexts[r].text
}

// ControllerID is the number by which the flows' controller actions name our
// controllers ("NV"; NXT_SET_CONTROLLER_ID of ovs nicira-ext.h).
const ControllerID uint16 = 0x4e56

// Punted is what the registers say of a packet that went to the controller.
type Punted struct {
	Port   uint32 // that the packet came in by
	Reason PuntReason
	// MTU is the largest IP packet, in octets, that the way to the destination's
	// host takes; 0 where the packet did not come that far.
	MTU uint16
	// Routed says that the packet has left its virtual subnet: its MACs are
	// rewritten and its TTL is decremented, if it has an MTU.
	Routed bool
}

// ReadPunt reads the metadata of a packet that came to the controller; false
// where no flow of the pipeline punted it.
func ReadPunt(m flow.Match) (Punted, bool) {
	value := func(f flow.Field) uint64 {
		t, _ := m.Find(f)
		return t.Value.Lo
	}
	p := Punted{
		Port:   uint32(value(flow.InPort)),
		Reason: PuntReason(regPunt.in(value(flow.Reg6))),
		MTU:    uint16(regMTU.in(value(flow.Reg6))),
		Routed: regRouted.in(value(flow.Reg4)) != 0,
	}
	return p, p.Reason > 0 && p.Reason < puntReasons && usable(p.Port)
}

// in returns what a register holds whose 32-bit register holds v.
func (r Register) in(v uint64) uint64 { return v >> r.Bits.Ofs & (1<<r.Bits.N - 1) }

// puntTo returns the actions that send a packet to the controller.
func puntTo(r PuntReason) []flow.Action {
	return []flow.Action{regPunt.set(flow.Uint(uint64(r))), flow.Goto(tablePunt)}
}
