package dhcp4_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/dhcp4"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var everybody = tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func ask(t testing.TB, kind dhcpv4.MessageType, with ...dhcpv4.Modifier) []byte {
	t.Helper()
	q, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithHwAddr(respondertest.MAC[:]), dhcpv4.WithMessageType(kind), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}),
	}, with...)...)
	if err != nil {
		t.Fatal(err)
	}
	return header().UDP(68, 67, q.ToBytes())
}

func header() frame.Header {
	return frame.Header{EthDst: everybody, EthSrc: respondertest.MAC, Src: netip.IPv4Unspecified(), Dst: netip.MustParseAddr("255.255.255.255"), TTL: 64}
}

func wanted(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip)))
}

func server(ip string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip)))
}

func answer(t *testing.T, b []byte, vm *responder.VM) (*dhcpv4.DHCPv4, *layers.Ethernet, *layers.IPv4) {
	t.Helper()
	out, err := dhcp4.Answer(b, vm)
	if err != nil {
		t.Fatal(err)
	}
	p := respondertest.Decode(t, out)
	udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp.SrcPort != 67 || udp.DstPort != 68 {
		t.Errorf("ports %d and %d", udp.SrcPort, udp.DstPort)
	}
	r, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if r.OpCode != dhcpv4.OpcodeBootReply || r.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 4}) || r.ClientHWAddr.String() != respondertest.MAC.String() || r.ServerIdentifier().String() != "10.0.1.1" {
		t.Errorf("reply %s", r.Summary())
	}
	return r, p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
}

func TestLease(t *testing.T) {
	for _, c := range []struct {
		what string
		b    []byte
		want dhcpv4.MessageType
		to   string
	}{
		{"discover", ask(t, dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer, "10.0.1.11"},
		{"discover, answer to all", ask(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)), dhcpv4.MessageTypeOffer, "255.255.255.255"},
		{"rapid commit", ask(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithGeneric(dhcpv4.OptionRapidCommit, nil)), dhcpv4.MessageTypeAck, "10.0.1.11"},
		{"selecting", ask(t, dhcpv4.MessageTypeRequest, wanted("10.0.1.11"), server("10.0.1.1")), dhcpv4.MessageTypeAck, "10.0.1.11"},
		{"init-reboot", ask(t, dhcpv4.MessageTypeRequest, wanted("10.0.1.11")), dhcpv4.MessageTypeAck, "10.0.1.11"},
		{"renewing", ask(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.ParseIP("10.0.1.11"))), dhcpv4.MessageTypeAck, "10.0.1.11"},
	} {
		r, eth, ip := answer(t, c.b, respondertest.VM())
		if r.MessageType() != c.want || ip.DstIP.String() != c.to || ip.SrcIP.String() != "10.0.1.1" {
			t.Errorf("%s: %s to %s", c.what, r.MessageType(), ip.DstIP)
		}
		if all := c.to == "255.255.255.255"; (eth.DstMAC.String() == everybody.String()) != all || !all && eth.DstMAC.String() != respondertest.MAC.String() {
			t.Errorf("%s: to %s", c.what, eth.DstMAC)
		}
		if !r.YourIPAddr.Equal(net.ParseIP("10.0.1.11")) || net.IP(r.SubnetMask()).String() != "255.255.255.0" || r.Router()[0].String() != "10.0.1.1" ||
			len(r.DNS()) != 1 || r.DNS()[0].String() != "10.0.9.53" || r.DomainName() != "blue.example" {
			t.Errorf("%s: %s", c.what, r.Summary())
		}
		if r.IPAddressLeaseTime(0) != 20*time.Minute || r.IPAddressRenewalTime(0) != 10*time.Minute || r.IPAddressRebindingTime(0) != 1050*time.Second {
			t.Errorf("%s: %s", c.what, r.Summary())
		}
		if m := r.Options.Get(dhcpv4.OptionInterfaceMTU); len(m) != 2 || int(m[0])<<8|int(m[1]) != 1458 {
			t.Errorf("%s: MTU %v", c.what, m)
		}
	}
}

// A VM that the policy has renumbered is told so, and begins anew.
func TestRenumbered(t *testing.T) {
	for what, b := range map[string][]byte{
		"renewing":    ask(t, dhcpv4.MessageTypeRequest, dhcpv4.WithClientIP(net.ParseIP("10.0.1.99"))),
		"init-reboot": ask(t, dhcpv4.MessageTypeRequest, wanted("10.9.1.11")),
		"selecting":   ask(t, dhcpv4.MessageTypeRequest, wanted("10.0.1.12"), server("10.0.1.1")),
	} {
		r, eth, ip := answer(t, b, respondertest.VM())
		if r.MessageType() != dhcpv4.MessageTypeNak || ip.DstIP.String() != "255.255.255.255" || eth.DstMAC.String() != everybody.String() ||
			!r.YourIPAddr.Equal(net.IPv4zero) || !r.ClientIPAddr.Equal(net.IPv4zero) {
			t.Errorf("%s: %s to %s", what, r.Summary(), ip.DstIP)
		}
	}
}

func TestInform(t *testing.T) {
	r, _, ip := answer(t, ask(t, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(net.ParseIP("10.0.1.11"))), respondertest.VM())
	if r.MessageType() != dhcpv4.MessageTypeAck || !r.YourIPAddr.Equal(net.IPv4zero) || r.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || len(r.DNS()) != 1 || ip.DstIP.String() != "10.0.1.11" {
		t.Errorf("%s to %s", r.Summary(), ip.DstIP)
	}
}

// Other prefixes of the subnet are on its link; who takes such routes takes the
// default route from among them.
func TestStaticRoutes(t *testing.T) {
	vm := respondertest.VM()
	vm.Prefixes = append(vm.Prefixes, responder.Prefix{Prefix: netip.MustParsePrefix("10.7.0.0/16"), Router: netip.MustParseAddr("10.7.0.1")})
	r, _, _ := answer(t, ask(t, dhcpv4.MessageTypeDiscover), vm)
	routes := r.ClasslessStaticRoute()
	if len(routes) != 2 || routes[0].Dest.String() != "10.7.0.0/16" || !routes[0].Router.Equal(net.IPv4zero) ||
		routes[1].Dest.String() != "0.0.0.0/0" || routes[1].Router.String() != "10.0.1.1" {
		t.Errorf("routes %v", routes)
	}
}

// Client identifiers come back (RFC 6842).
func TestClientIdentifier(t *testing.T) {
	id := []byte{1, 9, 9}
	r, _, _ := answer(t, ask(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, id)), respondertest.VM())
	if string(r.Options.Get(dhcpv4.OptionClientIdentifier)) != string(id) {
		t.Errorf("%s", r.Summary())
	}
}

func TestNoAnswer(t *testing.T) {
	other := respondertest.MAC
	other[5]++
	noAddress := respondertest.VM()
	noAddress.CAs = noAddress.CAs[1:2]
	spoofed := header()
	spoofed.EthSrc = other
	for what, c := range map[string]struct {
		b    []byte
		vm   *responder.VM
		want responder.Reason
	}{
		"decline":        {ask(t, dhcpv4.MessageTypeDecline, wanted("10.0.1.11"), server("10.0.1.1")), nil, responder.Told},
		"release":        {ask(t, dhcpv4.MessageTypeRelease, server("10.0.1.1")), nil, responder.Told},
		"other server":   {ask(t, dhcpv4.MessageTypeRequest, wanted("10.0.1.11"), server("10.0.1.2")), nil, responder.OtherServer},
		"no address":     {ask(t, dhcpv4.MessageTypeRequest), nil, responder.Malformed},
		"an offer":       {ask(t, dhcpv4.MessageTypeOffer), nil, responder.NotForUs},
		"another's MAC":  {ask(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(other[:])), nil, responder.WrongSender},
		"relayed":        {ask(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithGatewayIP(net.ParseIP("10.0.1.7"))), nil, responder.Relayed},
		"has no CA":      {ask(t, dhcpv4.MessageTypeDiscover), noAddress, responder.NoAddress},
		"a reply":        {header().UDP(67, 68, nil), nil, responder.NotForUs},
		"nothing":        {header().UDP(68, 67, nil), nil, responder.Malformed},
		"half":           {header().UDP(68, 67, make([]byte, 200)), nil, responder.Malformed},
		"bad option":     {header().UDP(68, 67, append(make([]byte, 236), 99, 130, 83, 99, 53, 9, 1)), nil, responder.Malformed},
		"spoofed source": {spoofed.UDP(68, 67, nil), nil, responder.Malformed},
		"no frame":       {nil, nil, responder.Malformed},
	} {
		if c.vm == nil {
			c.vm = respondertest.VM()
		}
		out, err := dhcp4.Answer(c.b, c.vm)
		var r responder.Reason
		if out != nil || !errors.As(err, &r) || r != c.want {
			t.Errorf("%s: %x, %v; want %v", what, out, err, c.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	payload := func(b []byte) []byte { p, _ := frame.Read(b); _, _, u, _ := p.UDPPayload(); return u }
	f.Add(payload(ask(f, dhcpv4.MessageTypeDiscover)))
	f.Add(payload(ask(f, dhcpv4.MessageTypeRequest, wanted("10.0.1.11"), server("10.0.1.1"), dhcpv4.WithGeneric(dhcpv4.OptionRelayAgentInformation, []byte{1, 2, 3}))))
	f.Add(payload(ask(f, dhcpv4.MessageTypeInform, dhcpv4.WithUserClass("x", true))))
	vm := respondertest.VM()
	f.Fuzz(func(t *testing.T, b []byte) {
		in := header().UDP(68, 67, b)
		if in == nil {
			return
		}
		out, err := dhcp4.Answer(in, vm)
		if (out == nil) == (err == nil) || len(out) > 14+576+255 {
			t.Fatalf("%x and %v", out, err)
		}
	})
}
