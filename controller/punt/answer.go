package punt

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/dhcp4"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/dhcp6"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/icmperror"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/routeradv"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// Port is what the policy says of the VM at a port.
type Port struct {
	VM responder.VM
	// DHCP says that the VM is told its addresses, by DHCP and by router
	// advertisements.
	DHCP bool
}

// onward returns the fragments of a packet that is too big and may be fragmented,
// as the VM would have sent them; nil where it is none.
func onward(p *Packet, at *Port) [][]byte {
	if p.Reason != flows.PuntTooBig || p.Cut {
		return nil
	}
	in, ok := frame.Read(p.Frame)
	if !ok || !in.Src.Is4() || in.DF {
		return nil
	}
	h := frame.Header{EthDst: at.VM.RouterMAC, EthSrc: at.VM.MAC, TTL: in.TTL}
	if p.Routed && h.TTL < 255 {
		h.TTL++ // it passes the router once more
	}
	return in.Fragments(h, p.MTU)
}

// answer returns the frame that answers a packet. The error is a
// [responder.Reason].
func answer(p *Packet, at *Port) ([]byte, error) {
	if p.Cut {
		return nil, responder.Malformed
	}
	switch p.Reason {
	case flows.PuntTTL:
		return icmperror.Answer(p.Frame, &at.VM, icmperror.TimeExceeded, 0)
	case flows.PuntNoRoute:
		return icmperror.Answer(p.Frame, &at.VM, icmperror.NoRoute, 0)
	case flows.PuntNoHost:
		return icmperror.Answer(p.Frame, &at.VM, icmperror.NoHost, 0)
	case flows.PuntToRouter:
		return icmperror.Answer(p.Frame, &at.VM, icmperror.PortUnreachable, 0)
	case flows.PuntTooBig:
		return icmperror.Answer(p.Frame, &at.VM, icmperror.TooBig, p.MTU)
	}
	if !at.DHCP {
		return nil, responder.Off
	}
	switch p.Reason {
	case flows.PuntDHCP:
		return dhcp4.Answer(p.Frame, &at.VM)
	case flows.PuntDHCPv6:
		return dhcp6.Answer(p.Frame, &at.VM)
	case flows.PuntRouterQuery:
		return routeradv.Answer(p.Frame, &at.VM)
	}
	return nil, responder.NotForUs
}
