package dhcp4

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

const (
	clientPort = 68
	serverPort = 67
	ttl        = 64 // RFC 1700
)

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// Answer returns the answer to a frame that a VM sent, as a frame for that VM.
// The returned error is a [responder.Reason].
func Answer(b []byte, vm *responder.VM) ([]byte, error) {
	p, ok := frame.Read(b)
	if !ok {
		return nil, responder.Malformed
	}
	src, dst, payload, ok := p.UDPPayload()
	if !ok {
		return nil, responder.Malformed
	}
	if !p.Src.Is4() || src != clientPort || dst != serverPort {
		return nil, responder.NotForUs
	}
	q, err := dhcpv4.FromBytes(payload)
	if err != nil {
		return nil, responder.Malformed
	}
	if q.OpCode != dhcpv4.OpcodeBootRequest || q.HWType != iana.HWTypeEthernet {
		return nil, responder.NotForUs
	}
	if !bytes.Equal(q.ClientHWAddr, vm.MAC[:]) || p.EthSrc != vm.MAC {
		return nil, responder.WrongSender
	}
	if q.HopCount != 0 || !q.GatewayIPAddr.Equal(net.IPv4zero) {
		return nil, responder.Relayed
	}
	a := answerer{vm: vm, q: q}
	a.ca, ok = vm.First(false)
	if !ok {
		return nil, responder.NoAddress
	}
	a.subnet, ok = vm.PrefixOf(a.ca)
	if !ok {
		return nil, responder.NoRouter
	}
	r, err := a.answer()
	if err != nil {
		return nil, err
	}
	return a.frame(r)
}

// answerer is what is known when one message is answered.
type answerer struct {
	vm     *responder.VM
	q      *dhcpv4.DHCPv4
	ca     netip.Addr // the address that the policy gives
	subnet responder.Prefix
}

// answer does what RFC 2131 section 4.3 wants of a server.
func (a *answerer) answer() (*dhcpv4.DHCPv4, error) {
	if a.otherServer() {
		return nil, responder.OtherServer
	}
	q := a.q
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		if q.Options.Has(dhcpv4.OptionRapidCommit) { // RFC 4039
			return a.lease(dhcpv4.MessageTypeAck, dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil)), nil
		}
		return a.lease(dhcpv4.MessageTypeOffer), nil
	case dhcpv4.MessageTypeRequest:
		// Section 4.3.2: selecting and init-reboot name the address in an option,
		// renewing and rebinding in ciaddr.
		want, ok := addr(q.RequestedIPAddress())
		if !ok {
			want, ok = addr(q.ClientIPAddr)
		}
		if !ok {
			return nil, responder.Malformed
		}
		if want != a.ca {
			return a.reply(dhcpv4.MessageTypeNak, dhcpv4.WithOption(dhcpv4.OptMessage("the policy gives this machine another address"))), nil
		}
		return a.lease(dhcpv4.MessageTypeAck), nil
	case dhcpv4.MessageTypeInform:
		return a.reply(dhcpv4.MessageTypeAck, append(a.config(), dhcpv4.WithClientIP(a.q.ClientIPAddr))...), nil
	case dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease:
		// The policy's address stays the VM's: there is nothing to give back.
		return nil, responder.Told
	}
	return nil, responder.NotForUs
}

// otherServer reports whether the message is for another server.
func (a *answerer) otherServer() bool {
	id, ok := addr(a.q.ServerIdentifier())
	return ok && id != a.subnet.Router
}

// addr returns an address of a message; false where it is not given or zero.
func addr(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok && !a.IsUnspecified()
}

// reply returns the reply of one type with what all replies have (RFC 2131 table
// 3). The library's own constructor would draw a random transaction.
func (a *answerer) reply(t dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	r := &dhcpv4.DHCPv4{Options: make(dhcpv4.Options)}
	dhcpv4.WithReply(a.q)(r)
	dhcpv4.WithMessageType(t)(r)
	r.UpdateOption(dhcpv4.OptServerIdentifier(a.subnet.Router.AsSlice()))
	dhcpv4.WithOptionCopied(a.q, dhcpv4.OptionClientIdentifier)(r) // RFC 6842
	for _, w := range with {
		w(r)
	}
	return r
}

func (a *answerer) lease(t dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	lease := max(a.vm.Lease, time.Minute).Truncate(time.Second)
	with = append(with,
		dhcpv4.WithYourIP(a.ca.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(lease)),
		dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(lease/2)),
		dhcpv4.WithOption(dhcpv4.OptRebindingTimeValue(lease*7/8)))
	r := a.reply(t, append(with, a.config()...)...)
	if t == dhcpv4.MessageTypeAck {
		r.ClientIPAddr = a.q.ClientIPAddr
	}
	return r
}

// mostServers bounds how many addresses an option lists, so that a reply stays
// below the 576 octets that every client takes (RFC 2131 section 2).
const mostServers = 8

// config returns the options that say how the network is.
func (a *answerer) config() []dhcpv4.Modifier {
	with := []dhcpv4.Modifier{
		dhcpv4.WithNetmask(net.CIDRMask(a.subnet.Prefix.Bits(), 32)),
		dhcpv4.WithOption(dhcpv4.OptRouter(a.subnet.Router.AsSlice())),
	}
	var dns []net.IP
	for _, s := range a.vm.DNS {
		if s.Is4() && len(dns) < mostServers {
			dns = append(dns, s.AsSlice())
		}
	}
	if len(dns) > 0 {
		with = append(with, dhcpv4.WithOption(dhcpv4.OptDNS(dns...)))
	}
	if name := a.vm.DomainName(); name != "" {
		with = append(with, dhcpv4.WithOption(dhcpv4.OptDomainName(name)))
	}
	if m := a.vm.MTU; m != 0 {
		with = append(with, dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(m >> 8), byte(m)}))
	}
	if routes := a.routes(); len(routes) > 0 {
		with = append(with, dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(routes...)))
	}
	return with
}

// routes returns the static routes (RFC 3442) that a VM has a use for: the other
// prefixes of its subnet are on its link too. A client that takes them ignores
// the router option, so the default route is among them.
func (a *answerer) routes() []*dhcpv4.Route {
	var routes []*dhcpv4.Route
	for _, p := range a.vm.Prefixes {
		if p.Prefix.Addr().Is4() && p != a.subnet && len(routes) < mostServers {
			routes = append(routes, &dhcpv4.Route{Dest: ipNet(p.Prefix), Router: net.IPv4zero})
		}
	}
	if len(routes) == 0 {
		return nil
	}
	return append(routes, &dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Router: a.subnet.Router.AsSlice()})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// frame puts a reply on the wire (RFC 2131 section 4.1).
func (a *answerer) frame(r *dhcpv4.DHCPv4) ([]byte, error) {
	h := frame.Header{EthDst: a.vm.MAC, EthSrc: a.vm.RouterMAC, Src: a.subnet.Router, Dst: a.ca, TTL: ttl}
	renewing, bound := addr(a.q.ClientIPAddr)
	switch {
	case r.MessageType() == dhcpv4.MessageTypeNak || !bound && a.q.IsBroadcast():
		h.EthDst, h.Dst = tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, broadcast
	case bound:
		h.Dst = renewing
	}
	out := h.UDP(serverPort, clientPort, r.ToBytes())
	if out == nil {
		return nil, responder.Unbuildable
	}
	return out, nil
}
