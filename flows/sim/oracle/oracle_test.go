package oracle_test

import (
	"net/netip"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// routed is the policy of flows/testdata/routed.yaml with its VMs attached; db2
// is on h2, lost is nowhere.
func routed(t *testing.T, tunnels oracle.Tunnels) *oracle.Oracle {
	t.Helper()
	p, err := policyfile.Load("../../testdata/routed.yaml", 1)
	if err != nil {
		t.Fatal(err)
	}
	return oracle.New(p, map[string]oracle.HostState{
		"h1": {Tunnels: tunnels, Attachments: []oracle.Attachment{{"web1", 101}, {"db1", 102}, {"web1", 103}, {"stranger", 104}}},
		"h2": {Tunnels: tunnels, Attachments: []oracle.Attachment{{"web2", 101}, {"db2", 102}, {"other-web1", 103}}},
		"h3": {Tunnels: tunnels, Attachments: []oracle.Attachment{{"fw", 101}, {"db2", 102}}},
	})
}

func mac(s string) tenant.MAC     { m, _ := tenant.ParseMAC(s); return m }
func address(s string) netip.Addr { return netip.MustParseAddr(s) }

var (
	web1MAC = mac("02:b0:00:00:01:11")
	web2MAC = mac("02:b0:00:00:01:12")
	fwMAC   = mac("02:b0:00:00:01:20")
	db1MAC  = mac("02:b0:00:00:02:13")
	db2MAC  = mac("02:b0:00:00:02:14")
	gwMAC   = mac("0e:00:00:00:00:01")
	all     = tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func udp(src, dst string, ttl uint8) packet.Frame {
	return packet.Frame{Src: web1MAC, Dst: gwMAC, Type: packet.TypeIPv4, L4: packet.L4{Src: 1, Dst: 2},
		IP: packet.IP{Src: address(src), Dst: address(dst), TTL: ttl, Proto: packet.ProtoUDP}}
}

func echo(dst string, ttl uint8) packet.Frame {
	f := udp("10.0.1.11", dst, ttl)
	f.IP.Proto, f.L4 = packet.ProtoICMP, packet.L4{Type: packet.EchoRequest}
	return f
}

func arp(op uint16, spa, tpa string) packet.Frame {
	return packet.Frame{Src: web1MAC, Dst: all, Type: packet.TypeARP,
		ARP: packet.ARP{Op: op, SHA: web1MAC, SPA: address(spa), TPA: address(tpa)}}
}

func with(f packet.Frame, change func(*packet.Frame)) packet.Frame { change(&f); return f }

// What web1 (10.0.1.11 on host h1) sends, and what becomes of it.
func TestSent(t *testing.T) {
	o := routed(t, oracle.Tunnels{Any: true})
	outer := func(dst string, v tenant.VSID) packet.Outer {
		return packet.Outer{Src: address("10.99.0.1"), Dst: address(dst), Key: v.Key(0)}
	}
	rewritten := func(f packet.Frame, src, dst tenant.MAC, ttl uint8) packet.Frame {
		f.Src, f.Dst, f.IP.TTL = src, dst, ttl
		return f
	}
	reply := func(spa, tpa string, m tenant.MAC) packet.Frame {
		return packet.Frame{Src: m, Dst: web1MAC, Type: packet.TypeARP,
			ARP: packet.ARP{Op: packet.ARPReply, SHA: m, SPA: address(spa), THA: web1MAC, TPA: address(tpa)}}
	}
	told := func(r oracle.Reason, p oracle.Punt) oracle.Verdict {
		return oracle.Verdict{Kind: oracle.Dropped, Reason: r, Host: "h1", Punt: p}
	}
	drop := func(r oracle.Reason) oracle.Verdict {
		return oracle.Verdict{Kind: oracle.Dropped, Reason: r, Host: "h1"}
	}
	const me = "10.0.1.11"
	for _, c := range []struct {
		name string
		f    packet.Frame
		want oracle.Verdict
	}{
		{"in the subnet", udp(me, "10.0.1.12", 1), oracle.Verdict{Kind: oracle.Delivered, Host: "h2", Port: 101,
			Frame: rewritten(udp(me, "10.0.1.12", 1), web1MAC, web2MAC, 1), Tunnelled: true, Outer: outer("10.99.0.2", 5001)}},
		{"across subnets", udp(me, "10.0.5.14", 64), oracle.Verdict{Kind: oracle.Delivered, Host: "h2", Port: 102,
			Frame: rewritten(udp(me, "10.0.5.14", 64), gwMAC, db2MAC, 63), Tunnelled: true, Outer: outer("10.99.0.2", 5002)}},
		{"on the host", udp(me, "10.0.2.13", 2), oracle.Verdict{Kind: oracle.Delivered, Host: "h1", Port: 102,
			Frame: rewritten(udp(me, "10.0.2.13", 2), gwMAC, db1MAC, 1)}},
		{"by the default route", udp(me, "8.8.8.8", 64), oracle.Verdict{Kind: oracle.Delivered, Host: "h3", Port: 101,
			Frame: rewritten(udp(me, "8.8.8.8", 64), gwMAC, fwMAC, 63), Tunnelled: true, Outer: outer("10.99.3.3", 5001)}},
		{"by the lowest metric", udp(me, "172.16.1.1", 64), oracle.Verdict{Kind: oracle.Delivered, Host: "h1", Port: 102,
			Frame: rewritten(udp(me, "172.16.1.1", 64), gwMAC, db1MAC, 63)}},
		{"echo to the gateway", echo("10.0.2.254", 0), oracle.Verdict{Kind: oracle.Answered, Host: "h1", Port: 101,
			Frame: packet.Frame{Src: gwMAC, Dst: web1MAC, Type: packet.TypeIPv4, IP: packet.IP{Src: address("10.0.2.254"), Dst: address(me), TTL: 64, Proto: 1}}}},
		{"ARP for a VM", arp(1, me, "10.0.1.12"), oracle.Verdict{Kind: oracle.Answered, Host: "h1", Port: 101, Frame: reply("10.0.1.12", me, web2MAC)}},
		{"ARP for the gateway", arp(1, me, "10.0.1.1"), oracle.Verdict{Kind: oracle.Answered, Host: "h1", Port: 101, Frame: reply("10.0.1.1", me, gwMAC)}},
		{"ARP probe", arp(1, "0.0.0.0", "10.0.1.20"), oracle.Verdict{Kind: oracle.Answered, Host: "h1", Port: 101, Frame: reply("10.0.1.20", "0.0.0.0", fwMAC)}},

		{"tag", with(udp(me, "10.0.1.12", 64), func(f *packet.Frame) { f.Tagged = true }), drop(oracle.Tagged)},
		{"foreign MAC", with(udp(me, "10.0.1.12", 64), func(f *packet.Frame) { f.Src = web2MAC }), drop(oracle.SourceMAC)},
		{"foreign CA", udp("10.0.1.12", "10.0.1.11", 64), drop(oracle.SourceCA)},
		{"cut header", packet.Frame{Src: web1MAC, Type: packet.TypeIPv4, Cut: true}, drop(oracle.SourceCA)},
		{"IPv6", packet.Frame{Src: web1MAC, Type: packet.TypeIPv6, Cut: true}, drop(oracle.Protocol)},
		{"ARP reply", arp(2, me, "10.0.1.12"), drop(oracle.ARPSender)},
		{"ARP of another", arp(1, "10.0.1.12", "10.0.1.1"), drop(oracle.ARPSender)},
		{"announcement", arp(1, me, me), drop(oracle.ARPOwn)},
		{"ARP outside the subnet", arp(1, me, "10.0.2.13"), drop(oracle.ARPTarget)},
		{"ARP for nobody", arp(1, me, "10.0.1.99"), drop(oracle.UnknownCA)},
		{"multicast", udp(me, "239.0.0.1", 64), drop(oracle.Group)},
		{"broadcast", udp(me, "255.255.255.255", 64), drop(oracle.Group)},
		{"directed broadcast", udp(me, "10.0.1.255", 64), told(oracle.UnknownCA, oracle.TellNoHost)},
		{"nobody's CA", udp(me, "10.0.2.77", 64), told(oracle.UnknownCA, oracle.TellNoHost)},
		{"VM that is nowhere", udp(me, "10.0.2.99", 64), told(oracle.Unattached, oracle.TellNoHost)},
		{"TTL used up", udp(me, "10.0.2.13", 1), told(oracle.TTL, oracle.TellTTL)},
		{"UDP to the gateway", udp(me, "10.0.1.1", 64), told(oracle.ToRouter, oracle.TellNoPort)},
		{"fragment of an echo", with(echo("10.0.1.1", 64), func(f *packet.Frame) { f.IP.Fragment = packet.FirstFragment }), drop(oracle.ToRouter)},
		{"to itself", udp(me, me, 64), drop(oracle.ToItself)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := o.Sent("h1", 101, c.f); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	for _, port := range []uint32{103, 104, 77} { // the second port of web1, a stranger's, nobody's
		if got := o.Sent("h1", port, udp(me, "10.0.1.12", 64)); got != drop(oracle.UnknownPort) {
			t.Errorf("port %d: %s", port, got)
		}
	}
	// db2 is on h2, the first of the two that have it.
	if got := o.Sent("h3", 102, udp("10.0.5.14", "10.0.1.11", 64)); got.Reason != oracle.UnknownPort {
		t.Errorf("second attachment: %s", got)
	}
}

// What reaches host h2 from the underlay.
func TestReceived(t *testing.T) {
	f := with(udp("10.0.1.11", "10.0.1.12", 9), func(f *packet.Frame) { f.Dst = web2MAC })
	from := func(src, dst string, key uint32) packet.Outer {
		return packet.Outer{Src: address(src), Dst: address(dst), Key: key}
	}
	ok := from("10.99.0.1", "10.99.0.2", 5001<<8)
	to := func(m tenant.MAC) packet.Frame { return with(f, func(f *packet.Frame) { f.Dst = m }) }
	any := oracle.Tunnels{Any: true}
	each := oracle.Tunnels{PerVSID: true, VSIDs: map[tenant.VSID]bool{5001: true}}
	for _, c := range []struct {
		name    string
		tunnels oracle.Tunnels
		outer   packet.Outer
		f       packet.Frame
		want    oracle.Reason // 0: delivered
	}{
		{"for web2", any, ok, f, 0},
		{"with a FlowID", any, from("10.99.0.1", "10.99.0.2", 5001<<8|7), f, 0},
		{"from the second PA", any, from("10.98.0.1", "10.99.0.2", 5001<<8), f, 0},
		{"unknown PA", any, from("10.99.0.9", "10.99.0.2", 5001<<8), f, oracle.UnknownPA},
		{"own PA", any, from("10.99.0.2", "10.99.0.2", 5001<<8), f, oracle.UnknownPA},
		{"for another host", any, from("10.99.0.1", "10.99.3.3", 5001<<8), f, oracle.UnknownPA},
		{"unknown VSID", any, from("10.99.0.1", "10.99.0.2", 5009<<8), f, oracle.UnknownVSID},
		{"MAC of another subnet", any, from("10.99.0.1", "10.99.0.2", 5002<<8), f, oracle.NotHere},
		{"VM of another host", any, ok, to(fwMAC), oracle.NotHere},
		{"broadcast", any, ok, to(all), oracle.TunnelGroup},
		{"tag", any, ok, with(f, func(f *packet.Frame) { f.Tagged = true }), oracle.TunnelTagged},
		{"ARP", any, ok, with(arp(1, "10.0.1.11", "10.0.1.12"), func(f *packet.Frame) { f.Dst = web2MAC }), 0},
		{"IPv6", any, ok, packet.Frame{Src: web1MAC, Dst: web2MAC, Type: packet.TypeIPv6, Cut: true}, oracle.TunnelProtocol},
		{"port of its VSID", each, ok, f, 0},
		{"FlowID without a port", each, from("10.99.0.1", "10.99.0.2", 5001<<8|7), f, oracle.NoTunnel},
		{"VSID without a port", each, from("10.99.0.1", "10.99.0.2", 5002<<8), f, oracle.NoTunnel},
		{"no port at all", oracle.Tunnels{}, ok, f, oracle.NoTunnel},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := routed(t, c.tunnels).Received("h2", c.outer, c.f)
			want := oracle.Verdict{Kind: oracle.Dropped, Reason: c.want, Host: "h2"}
			if c.want == 0 {
				want = oracle.Verdict{Kind: oracle.Delivered, Host: "h2", Port: 101, Frame: c.f}
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// A host takes nothing from one that it shares no routing domain with, be it a
// host of the policy, and knows one of a VM that is to be there.
func TestReceivedFromNoPeer(t *testing.T) {
	p, err := policyfile.Load("../../testdata/routed.yaml", 1)
	if err != nil {
		t.Fatal(err)
	}
	f := with(udp("10.0.1.11", "10.0.1.12", 9), func(f *packet.Frame) { f.Dst = web2MAC })
	outer := packet.Outer{Src: address("10.99.3.3"), Dst: address("10.99.0.2"), Key: 5001 << 8}
	for _, c := range []struct {
		name   string
		at     []oracle.Attachment
		reason oracle.Reason
	}{
		{"another tenant's VM only", []oracle.Attachment{{"other-web1", 103}}, oracle.UnknownPA},
		{"a VM without a port number yet", []oracle.Attachment{{"web2", 0}}, oracle.UnknownPA},
		{"a VM of the tenant", []oracle.Attachment{{"web2", 101}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := oracle.New(p, map[string]oracle.HostState{"h2": {Tunnels: oracle.Tunnels{Any: true}, Attachments: c.at}})
			if got := o.Received("h2", outer, f); got.Reason != c.reason || (got.Kind == oracle.Delivered) != (c.reason == 0) {
				t.Errorf("got %s", got)
			}
		})
	}
}
