package responder

// Reason says why a frame has no answer. It is an error.
type Reason uint8

// The reasons.
const (
	Malformed     Reason = iota + 1 // the frame is cut short, or its lengths or checksums are wrong
	NotForUs                        // it is no message that the answerer answers
	WrongSender                     // it claims to come from another than the VM
	OtherServer                     // it is for another DHCP server
	Relayed                         // it comes through a DHCP relay, which a VM is not
	NoAddress                       // the policy has no address of the family for the VM
	NoRouter                        // the subnet has no router address of the family
	Told                            // the message wants no answer: a release or a decline (DHCPv4)
	AboutError                      // no ICMP error is sent about an ICMP error
	AboutGroup                      // no ICMP error is sent about a packet to many
	AboutFragment                   // no ICMP error is sent about a fragment other than the first
	AboutNobody                     // no ICMP error is sent where the source is not one machine
	MayFragment                     // the packet does not forbid fragments: it is not the sender's business
	Off                             // the policy does not want such answers in the subnet
	Unbuildable                     // the answer cannot be put on the wire: a fault of the program or of the policy
	NumReasons
)

var reasonNames = [NumReasons]struct{ name, text string }{
	Malformed:     {"malformed", "the frame is cut short, or its lengths or checksums are wrong"},
	NotForUs:      {"not-for-us", "the message is none that is answered"},
	WrongSender:   {"wrong-sender", "the message claims to come from another than the VM"},
	OtherServer:   {"other-server", "the message is for another DHCP server"},
	Relayed:       {"relayed", "the message comes through a DHCP relay"},
	NoAddress:     {"no-address", "the policy has no address of that family for the VM"},
	NoRouter:      {"no-router", "the subnet has no router address of that family"},
	Told:          {"told", "the message wants no answer"},
	AboutError:    {"about-error", "no ICMP error is sent about an ICMP error"},
	AboutGroup:    {"about-group", "no ICMP error is sent about a multicast or broadcast packet"},
	AboutFragment: {"about-fragment", "no ICMP error is sent about a fragment other than the first"},
	AboutNobody:   {"about-nobody", "no ICMP error is sent where the source is not one machine"},
	MayFragment:   {"may-fragment", "the packet is larger than the way allows and does not forbid fragments"},
	Off:           {"off", "the policy does not want such answers in the subnet"},
	Unbuildable:   {"unbuildable", "the answer cannot be put on the wire"},
}

// String returns the reason's name, as metrics have it.
func (r Reason) String() string {
	if r == 0 || r >= NumReasons {
		return "unknown"
	}
	return reasonNames[r].name
}

// Error implements error.
func (r Reason) Error() string {
	if r == 0 || r >= NumReasons {
		return "unknown reason"
	}
	return reasonNames[r].text
}
