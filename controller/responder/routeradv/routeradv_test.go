package routeradv_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/ndp"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/routeradv"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func header(src string) frame.Header {
	return frame.Header{EthDst: tenant.MAC{0x33, 0x33, 0, 0, 0, 2}, EthSrc: respondertest.MAC, TTL: 255,
		Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr("ff02::2")}
}

var (
	plain  = []byte{133, 0, 0, 0, 0, 0, 0, 0}
	source = append(plain[:8:8], 1, 1, 2, 0, 0, 0, 0, 5)
)

func decode(t *testing.T, b []byte) (*ndp.RouterAdvertisement, *layers.IPv6, *layers.Ethernet) {
	t.Helper()
	p := respondertest.Decode(t, b)
	ip := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	m, err := ndp.ParseMessage(ip.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if ip.HopLimit != 255 || ip.SrcIP.String() != "fe80::1" {
		t.Errorf("%v", p)
	}
	return m.(*ndp.RouterAdvertisement), ip, p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		b       []byte
		to, mac string
	}{
		{header("fe80::5").ICMP(append([]byte(nil), source...)), "fe80::5", respondertest.MAC.String()},
		{header("fe80::5").ICMP(append([]byte(nil), plain...)), "fe80::5", respondertest.MAC.String()},
		{header("::").ICMP(append([]byte(nil), plain...)), "ff02::1", "33:33:00:00:00:01"},
	} {
		out, err := routeradv.Answer(c.b, respondertest.VM())
		if err != nil {
			t.Fatal(err)
		}
		ra, ip, eth := decode(t, out)
		if ip.DstIP.String() != c.to || eth.DstMAC.String() != c.mac || eth.SrcMAC.String() != respondertest.RouterMAC.String() {
			t.Errorf("to %s, %s", ip.DstIP, eth.DstMAC)
		}
		if !ra.ManagedConfiguration || !ra.OtherConfiguration || ra.CurrentHopLimit != 64 || ra.RouterLifetime != routeradv.Lifetime {
			t.Errorf("%+v", ra)
		}
		seen := 0
		for _, o := range ra.Options {
			switch o := o.(type) {
			case *ndp.LinkLayerAddress:
				if o.Addr.String() != respondertest.RouterMAC.String() || o.Direction != ndp.Source {
					t.Errorf("%+v", o)
				}
			case *ndp.MTU:
				if o.MTU != 1458 {
					t.Errorf("%+v", o)
				}
			case *ndp.PrefixInformation:
				if o.Prefix.String() != "fd00:1::" || o.PrefixLength != 64 || !o.OnLink || o.AutonomousAddressConfiguration || o.ValidLifetime != routeradv.Lifetime {
					t.Errorf("%+v", o)
				}
			case *ndp.RecursiveDNSServer:
				if len(o.Servers) != 1 || o.Servers[0].String() != "fd00:9::53" {
					t.Errorf("%+v", o)
				}
			case *ndp.DNSSearchList:
				if o.DomainNames[0] != "blue.example" {
					t.Errorf("%+v", o)
				}
			default:
				t.Errorf("%+v", o)
			}
			seen++
		}
		if seen != 5 {
			t.Errorf("%d options", seen)
		}
	}
}

// A prefix that is no longer the subnet's leaves the VM's link; a subnet without
// IPv6 is no router's.
func TestUnsolicited(t *testing.T) {
	vm := respondertest.VM()
	out, err := routeradv.Unsolicited(vm, []netip.Prefix{netip.MustParsePrefix("fd00:8::/64"), netip.MustParsePrefix("10.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	ra, ip, _ := decode(t, out)
	if ip.DstIP.String() != "ff02::1" {
		t.Errorf("to %s", ip.DstIP)
	}
	gone := 0
	for _, o := range ra.Options {
		if p, ok := o.(*ndp.PrefixInformation); ok && p.ValidLifetime == 0 && p.PreferredLifetime == 0 && p.Prefix.String() == "fd00:8::" {
			gone++
		}
	}
	if gone != 1 {
		t.Errorf("%d prefixes end", gone)
	}
	vm.Prefixes = vm.Prefixes[:1]
	if out, err = routeradv.Unsolicited(vm, nil); !errors.Is(err, responder.NoRouter) {
		t.Errorf("%x, %v", out, err)
	}
	out, err = routeradv.Unsolicited(vm, []netip.Prefix{netip.MustParsePrefix("fd00:1::/64")})
	if err != nil {
		t.Fatal(err)
	}
	if ra, _, _ := decode(t, out); ra.RouterLifetime != 0 {
		t.Errorf("a router of no prefix for %v", ra.RouterLifetime)
	}
}

func TestNoAnswer(t *testing.T) {
	routed := header("fe80::5")
	routed.TTL = 254
	spoofed := header("fe80::5")
	spoofed.EthSrc[5]++
	no6 := respondertest.VM()
	no6.Prefixes = no6.Prefixes[:1]
	copyOf := func(b []byte) []byte { return append([]byte(nil), b...) }
	for what, c := range map[string]struct {
		b    []byte
		vm   *responder.VM
		want responder.Reason
	}{
		"routed":                 {routed.ICMP(copyOf(plain)), nil, responder.Malformed},
		"from another":           {spoofed.ICMP(copyOf(plain)), nil, responder.WrongSender},
		"from a global address":  {header("fd00:1::11").ICMP(copyOf(plain)), nil, responder.WrongSender},
		":: with an address":     {header("::").ICMP(copyOf(source)), nil, responder.Malformed},
		"an empty option":        {header("fe80::5").ICMP(append(copyOf(plain), 1, 0, 0, 0, 0, 0, 0, 0)), nil, responder.Malformed},
		"an advertisement":       {header("fe80::5").ICMP([]byte{134, 0, 0, 0, 0, 0, 0, 0}), nil, responder.NotForUs},
		"a code":                 {header("fe80::5").ICMP([]byte{133, 1, 0, 0, 0, 0, 0, 0}), nil, responder.NotForUs},
		"too short":              {header("fe80::5").ICMP([]byte{133, 0, 0, 0}), nil, responder.Malformed},
		"UDP":                    {header("fe80::5").UDP(1, 2, nil), nil, responder.NotForUs},
		"nothing":                {nil, nil, responder.Malformed},
		"a subnet of IPv4 alone": {header("fe80::5").ICMP(copyOf(plain)), no6, responder.NoRouter},
	} {
		if c.vm == nil {
			c.vm = respondertest.VM()
		}
		if out, err := routeradv.Answer(c.b, c.vm); out != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %x, %v; want %v", what, out, err, c.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(source)
	f.Add(plain)
	f.Add(append(plain[:8:8], 14, 1, 1, 2, 3, 4, 5, 6, 31, 2, 0, 0, 0, 0, 0, 9, 3, 'c', 'o', 'm', 0, 0, 0, 0))
	vm := respondertest.VM()
	f.Fuzz(func(t *testing.T, b []byte) {
		in := header("fe80::5").ICMP(append([]byte(nil), b...))
		if in == nil {
			return
		}
		if out, err := routeradv.Answer(in, vm); (out == nil) == (err == nil) {
			t.Fatalf("%x and %v", out, err)
		}
	})
}
