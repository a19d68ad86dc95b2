package dhcp6

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
)

const (
	clientPort = 546
	serverPort = 547
	hopLimit   = 64

	// minRefresh is the least time after which a VM that only asked for information
	// may be told to ask again (RFC 8415 section 7.6, IRT_MINIMUM).
	minRefresh = 600 * time.Second
)

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
	if !p.Src.Is6() || src != clientPort || dst != serverPort {
		return nil, responder.NotForUs
	}
	// Clients speak by their link-local address (RFC 8415 section 13.1).
	if p.EthSrc != vm.MAC || !p.Src.IsLinkLocalUnicast() {
		return nil, responder.WrongSender
	}
	q, err := parse(payload)
	if err != nil {
		return nil, err
	}
	a := answerer{vm: vm, q: q}
	a.ca, a.has = vm.First(true)
	if err := a.answer(); err != nil {
		return nil, err
	}
	h := frame.Header{EthDst: vm.MAC, EthSrc: vm.RouterMAC, Src: responder.RouterLinkLocal, Dst: p.Src, TTL: hopLimit}
	out := h.UDP(serverPort, clientPort, a.reply.ToBytes())
	if out == nil {
		return nil, responder.Unbuildable
	}
	return out, nil
}

// answerer is what is known when one message is answered.
type answerer struct {
	vm    *responder.VM
	q     *message
	reply dhcpv6.Message
	ca    netip.Addr // the address that the policy gives
	has   bool       // whether it gives one
}

// answer does what RFC 8415 section 18.3 wants of a server.
func (a *answerer) answer() error {
	a.reply.MessageType, a.reply.TransactionID = dhcpv6.MessageTypeReply, a.q.transaction
	if err := a.identify(); err != nil {
		return err
	}
	switch a.q.kind {
	case dhcpv6.MessageTypeSolicit:
		// Section 18.3.1: without an address to commit there is an advertise.
		if a.has && a.q.rapid {
			dhcpv6.WithRapidCommit(&a.reply)
		} else {
			a.reply.MessageType = dhcpv6.MessageTypeAdvertise
		}
		a.lease()
		return nil
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		a.lease()
		return nil
	case dhcpv6.MessageTypeConfirm:
		return a.confirm()
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		// The policy's address stays the VM's: there is nothing to give back.
		a.status(iana.StatusSuccess, "")
		return nil
	case dhcpv6.MessageTypeInformationRequest:
		a.config()
		a.reply.AddOption(dhcpv6.OptInformationRefreshTime(max(a.vm.Lease.Truncate(time.Second), minRefresh)))
		return nil
	}
	return responder.NotForUs
}

// identify checks who the message is from and for (section 16), and puts the
// identifiers of both into the reply.
func (a *answerer) identify() error {
	client, server := a.q.client, a.q.server
	if client != nil {
		a.reply.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: client})
	}
	// All hosts are one server: its identifier is made of the router's MAC.
	self := &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: a.vm.RouterMAC[:]}
	a.reply.AddOption(dhcpv6.OptServerID(self))
	switch a.q.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if client == nil || server != nil {
			return responder.Malformed
		}
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		if client == nil || server == nil {
			return responder.Malformed
		}
		if !bytes.Equal(server, self.ToBytes()) {
			return responder.OtherServer
		}
	case dhcpv6.MessageTypeInformationRequest:
		// Section 16.12: an association has no place in it.
		if len(a.q.ias) > 0 {
			return responder.Malformed
		}
		if server != nil && !bytes.Equal(server, self.ToBytes()) {
			return responder.OtherServer
		}
	}
	return nil
}

func (a *answerer) status(code iana.StatusCode, why string) {
	a.reply.AddOption(&dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: why})
}

// lease answers each association of the message: the first for an address gets
// the policy's; others, and those for what the policy does not have, are told so.
func (a *answerer) lease() {
	lease := max(a.vm.Lease, time.Minute).Truncate(time.Second)
	given := !a.has
	for _, ia := range a.q.ias {
		switch ia.code {
		case dhcpv6.OptionIATA:
			out := &dhcpv6.OptIATA{IaId: ia.id}
			out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail, StatusMessage: "there are no temporary addresses"})
			a.reply.AddOption(out)
		case dhcpv6.OptionIAPD:
			out := &dhcpv6.OptIAPD{IaId: ia.id}
			out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoPrefixAvail, StatusMessage: "no prefixes are delegated"})
			a.reply.AddOption(out)
		case dhcpv6.OptionIANA:
			out := &dhcpv6.OptIANA{IaId: ia.id}
			if given {
				out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail, StatusMessage: "the policy has no address for it"})
			} else {
				given = true
				out.T1, out.T2 = lease/2, lease*4/5
				out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.ca.AsSlice(), PreferredLifetime: lease, ValidLifetime: lease})
			}
			a.takeBack(ia, out)
			a.reply.AddOption(out)
		}
	}
	a.config()
}

// takeBack gives a lifetime of zero to addresses that a VM still has but that the
// policy no longer gives it (section 18.3.4).
func (a *answerer) takeBack(ia association, out *dhcpv6.OptIANA) {
	switch a.q.kind {
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
	default:
		return // in a solicit or a request, they are wishes
	}
	for _, old := range ia.has {
		if old != a.ca || !a.has {
			out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: old.AsSlice()})
		}
	}
}

// confirm says whether all addresses that the VM has are the policy's (section
// 18.3.3), which is more than that they fit the link: a renumbered VM begins anew.
func (a *answerer) confirm() error {
	asked := false
	for _, ia := range a.q.ias {
		for _, had := range ia.has {
			asked = true
			if !a.has || had != a.ca {
				a.status(iana.StatusNotOnLink, "the policy gives this machine another address")
				return nil
			}
		}
	}
	if !asked {
		return responder.Malformed // section 18.3.3: nothing to confirm, no reply
	}
	a.status(iana.StatusSuccess, "")
	return nil
}

// config adds the options that say how the network is.
func (a *answerer) config() {
	var dns []net.IP
	for _, s := range a.vm.DNS {
		if s.Is6() && len(dns) < mostServers {
			dns = append(dns, s.AsSlice())
		}
	}
	if len(dns) > 0 {
		a.reply.AddOption(dhcpv6.OptDNS(dns...))
	}
	if a.vm.DomainName() != "" {
		a.reply.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: []string{a.vm.DomainName()}}))
	}
}

// mostServers bounds how many addresses an option lists.
const mostServers = 8
