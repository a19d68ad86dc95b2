package dhcp6_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/dhcp6"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var (
	client = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: respondertest.MAC[:]}
	server = &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: respondertest.RouterMAC[:]}
)

func header() frame.Header {
	return frame.Header{EthDst: tenant.MAC{0x33, 0x33, 0, 1, 0, 2}, EthSrc: respondertest.MAC, TTL: 1,
		Src: netip.MustParseAddr("fe80::5"), Dst: netip.MustParseAddr("ff02::1:2")}
}

func ask(kind dhcpv6.MessageType, with ...dhcpv6.Option) []byte {
	m := dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, 3}}
	for _, o := range with {
		m.AddOption(o)
	}
	return header().UDP(546, 547, m.ToBytes())
}

func iana1(addresses ...string) dhcpv6.Option {
	ia := &dhcpv6.OptIANA{IaId: [4]byte{1, 1, 1, 1}}
	for _, a := range addresses {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(a)})
	}
	return ia
}

var (
	us    = dhcpv6.OptServerID(server)
	me    = dhcpv6.OptClientID(client)
	rapid = &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit}
)

func answer(t *testing.T, b []byte, vm *responder.VM) *dhcpv6.Message {
	t.Helper()
	out, err := dhcp6.Answer(b, vm)
	if err != nil {
		t.Fatal(err)
	}
	p := respondertest.Decode(t, out)
	ip, udp := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6), p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if ip.SrcIP.String() != "fe80::1" || ip.DstIP.String() != "fe80::5" || udp.SrcPort != 547 || udp.DstPort != 546 {
		t.Errorf("%v", p)
	}
	m, err := dhcpv6.MessageFromBytes(udp.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if m.TransactionID != (dhcpv6.TransactionID{1, 2, 3}) || !m.Options.ServerID().Equal(server) {
		t.Errorf("%s", m.Summary())
	}
	return m
}

func TestLease(t *testing.T) {
	for _, c := range []struct {
		what string
		b    []byte
		want dhcpv6.MessageType
	}{
		{"solicit", ask(dhcpv6.MessageTypeSolicit, me, iana1()), dhcpv6.MessageTypeAdvertise},
		{"solicit with a wish", ask(dhcpv6.MessageTypeSolicit, me, iana1("fd00:1::99")), dhcpv6.MessageTypeAdvertise},
		{"rapid commit", ask(dhcpv6.MessageTypeSolicit, me, iana1(), rapid), dhcpv6.MessageTypeReply},
		{"request", ask(dhcpv6.MessageTypeRequest, me, us, iana1("fd00:1::11")), dhcpv6.MessageTypeReply},
		{"renew", ask(dhcpv6.MessageTypeRenew, me, us, iana1("fd00:1::11")), dhcpv6.MessageTypeReply},
		{"rebind", ask(dhcpv6.MessageTypeRebind, me, iana1("fd00:1::11")), dhcpv6.MessageTypeReply},
	} {
		m := answer(t, c.b, respondertest.VM())
		if m.MessageType != c.want || !m.Options.ClientID().Equal(client) {
			t.Errorf("%s: %s", c.what, m.Summary())
		}
		if (m.GetOneOption(dhcpv6.OptionRapidCommit) != nil) != (c.what == "rapid commit") {
			t.Errorf("%s: %s", c.what, m.Summary())
		}
		ia := m.Options.OneIANA()
		if ia == nil || ia.IaId != [4]byte{1, 1, 1, 1} || ia.T1 != 10*time.Minute || ia.T2 != 16*time.Minute || ia.Options.Status() != nil {
			t.Fatalf("%s: %v", c.what, ia)
		}
		as := ia.Options.Addresses()
		if len(as) != 1 || as[0].IPv6Addr.String() != "fd00:1::11" || as[0].ValidLifetime != 20*time.Minute || as[0].PreferredLifetime != 20*time.Minute {
			t.Errorf("%s: %v", c.what, as)
		}
		if d := m.Options.DNS(); len(d) != 1 || d[0].String() != "fd00:9::53" || m.Options.DomainSearchList().Labels[0] != "blue.example" {
			t.Errorf("%s: %s", c.what, m.Summary())
		}
	}
}

// A renumbered VM gets the new address, and its old one ends.
func TestRenumbered(t *testing.T) {
	for _, b := range [][]byte{
		ask(dhcpv6.MessageTypeRenew, me, us, iana1("fd00:1::99")),
		ask(dhcpv6.MessageTypeRebind, me, iana1("fd00:1::99")),
	} {
		as := answer(t, b, respondertest.VM()).Options.OneIANA().Options.Addresses()
		if len(as) != 2 || as[0].IPv6Addr.String() != "fd00:1::11" || as[0].ValidLifetime == 0 || as[1].IPv6Addr.String() != "fd00:1::99" || as[1].ValidLifetime != 0 || as[1].PreferredLifetime != 0 {
			t.Errorf("%v", as)
		}
	}
}

func TestStatus(t *testing.T) {
	confirm := func(addresses ...string) []byte { return ask(dhcpv6.MessageTypeConfirm, me, iana1(addresses...)) }
	for what, c := range map[string]struct {
		b    []byte
		want iana.StatusCode
	}{
		"confirm":              {confirm("fd00:1::11"), iana.StatusSuccess},
		"confirm another":      {confirm("fd00:1::99"), iana.StatusNotOnLink},
		"confirm one too many": {confirm("fd00:1::11", "fd00:1::99"), iana.StatusNotOnLink},
		"release":              {ask(dhcpv6.MessageTypeRelease, me, us, iana1("fd00:1::11")), iana.StatusSuccess},
		"decline":              {ask(dhcpv6.MessageTypeDecline, me, us, iana1("fd00:1::11")), iana.StatusSuccess},
	} {
		if m := answer(t, c.b, respondertest.VM()); m.Options.Status() == nil || m.Options.Status().StatusCode != c.want {
			t.Errorf("%s: %s", what, m.Summary())
		}
	}
}

func TestInformation(t *testing.T) {
	for _, b := range [][]byte{ask(dhcpv6.MessageTypeInformationRequest), ask(dhcpv6.MessageTypeInformationRequest, me)} {
		m := answer(t, b, respondertest.VM())
		if m.MessageType != dhcpv6.MessageTypeReply || len(m.Options.DNS()) != 1 || m.Options.OneIANA() != nil || m.Options.InformationRefreshTime(0) != 20*time.Minute {
			t.Errorf("%s", m.Summary())
		}
	}
}

// What the policy does not have, it does not give: other associations, temporary
// addresses, prefixes, and addresses of a VM without one.
func TestNothingToGive(t *testing.T) {
	second := &dhcpv6.OptIANA{IaId: [4]byte{2}}
	m := answer(t, ask(dhcpv6.MessageTypeSolicit, me, iana1(), second, &dhcpv6.OptIATA{IaId: [4]byte{3}}, &dhcpv6.OptIAPD{IaId: [4]byte{4}}), respondertest.VM())
	ias := m.Options.IANA()
	if len(ias) != 2 || ias[0].Options.Status() != nil || ias[1].Options.Status().StatusCode != iana.StatusNoAddrsAvail ||
		m.Options.OneIATA().Options.Status().StatusCode != iana.StatusNoAddrsAvail || m.Options.OneIAPD().Options.Status().StatusCode != iana.StatusNoPrefixAvail {
		t.Errorf("%s", m.LongString(0))
	}
	vm := respondertest.VM()
	vm.CAs = vm.CAs[:1]
	m = answer(t, ask(dhcpv6.MessageTypeSolicit, me, iana1(), rapid), vm)
	if m.MessageType != dhcpv6.MessageTypeAdvertise || m.Options.OneIANA().Options.Status().StatusCode != iana.StatusNoAddrsAvail {
		t.Errorf("%s", m.LongString(0))
	}
}

func TestNoAnswer(t *testing.T) {
	elsewhere := dhcpv6.OptServerID(client)
	global := header()
	global.Src = netip.MustParseAddr("fd00:1::11")
	for what, c := range map[string]struct {
		b    []byte
		want responder.Reason
	}{
		"a reply":                 {ask(dhcpv6.MessageTypeReply, me), responder.NotForUs},
		"a relay's":               {header().UDP(546, 547, append([]byte{12}, make([]byte, 33)...)), responder.Relayed},
		"without a client":        {ask(dhcpv6.MessageTypeSolicit, iana1()), responder.Malformed},
		"solicit to a server":     {ask(dhcpv6.MessageTypeSolicit, me, us, iana1()), responder.Malformed},
		"request to none":         {ask(dhcpv6.MessageTypeRequest, me, iana1()), responder.Malformed},
		"request to another":      {ask(dhcpv6.MessageTypeRequest, me, elsewhere, iana1()), responder.OtherServer},
		"confirm of nothing":      {ask(dhcpv6.MessageTypeConfirm, me, iana1()), responder.Malformed},
		"information and address": {ask(dhcpv6.MessageTypeInformationRequest, me, iana1()), responder.Malformed},
		"information of another":  {ask(dhcpv6.MessageTypeInformationRequest, me, elsewhere), responder.OtherServer},
		"not link-local":          {global.UDP(546, 547, []byte{1, 1, 2, 3}), responder.WrongSender},
		"nothing":                 {header().UDP(546, 547, nil), responder.Malformed},
		"a short association":     {header().UDP(546, 547, []byte{1, 1, 2, 3, 0, 3, 0, 2, 1, 1}), responder.Malformed},
		"a short address":         {ask(dhcpv6.MessageTypeSolicit, me, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIANA, OptionData: append(make([]byte, 12), 0, 5, 0, 1, 1)}), responder.Malformed},
		"a DUID too long":         {ask(dhcpv6.MessageTypeSolicit, &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: make([]byte, 131)}), responder.Malformed},
		"cut option":              {header().UDP(546, 547, []byte{1, 1, 2, 3, 0, 1, 0, 9, 9}), responder.Malformed},
		"other ports":             {header().UDP(547, 546, []byte{1, 1, 2, 3}), responder.NotForUs},
		"no frame":                {nil, responder.Malformed},
	} {
		out, err := dhcp6.Answer(c.b, respondertest.VM())
		var r responder.Reason
		if out != nil || !errors.As(err, &r) || r != c.want {
			t.Errorf("%s: %x, %v; want %v", what, out, err, c.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	payload := func(b []byte) []byte { p, _ := frame.Read(b); _, _, u, _ := p.UDPPayload(); return u }
	f.Add(payload(ask(dhcpv6.MessageTypeSolicit, me, iana1(), rapid)))
	f.Add(payload(ask(dhcpv6.MessageTypeRenew, me, us, iana1("fd00:1::99"), &dhcpv6.OptIATA{}, &dhcpv6.OptIAPD{})))
	f.Add(payload(ask(dhcpv6.MessageTypeInformationRequest)))
	vm := respondertest.VM()
	f.Fuzz(func(t *testing.T, b []byte) {
		in := header().UDP(546, 547, b)
		if in == nil {
			return
		}
		out, err := dhcp6.Answer(in, vm)
		if (out == nil) == (err == nil) || len(out) > 14+1500 {
			t.Fatalf("%x and %v", out, err)
		}
	})
}
