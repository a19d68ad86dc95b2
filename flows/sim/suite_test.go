package sim_test

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// apart are numbers that differ in two bits or more.
var apart = [...]byte{0x11, 0x22, 0x44, 0x88, 0x77, 0xbb, 0xdd, 0xee}

// fullWorld has at least one of everything that flows are made for: two tenants
// with the same addresses, each with a VM of each subnet on each host, VMs that
// are nowhere or not yet attached, and routes of all kinds. Host h2 has a port
// for each VSID. No two numbers of a kind are one bit apart, so that a bit which a
// flow fails to test leads to nothing that is there.
func fullWorld(tb testing.TB) *world {
	tb.Helper()
	spec := tenant.Spec{Version: 1}
	for h := range 3 {
		host := tenant.HostSpec{Name: fmt.Sprintf("h%d", h)}
		// h0 prefers IPv4, the others IPv6, which is all that h2 has.
		for i := range 2 {
			a := netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x99, 7: byte(3 * i), 15: apart[h]})
			if h == 0 && i == 0 || h == 1 && i == 1 {
				a = netip.AddrFrom4([4]byte{10, 99, 0, apart[h]})
			}
			host.ProviderAddresses = append(host.ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(a)})
		}
		spec.Hosts = append(spec.Hosts, host)
	}
	for n := range 2 {
		rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: byte(n + 1)}, Name: fmt.Sprintf("rd%d", n)}
		for s := range 4 {
			subnet := tenant.SubnetSpec{VSID: 0x1400 + uint32(apart[4*n+s]), DHCP: s%2 == 0}
			six := s > 1
			for i := range 2 - s%2 {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(3 * i), byte(3 * s), 0}), 24)
				if six {
					p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 5: byte(3 * i), 7: byte(3 * s)}), 64)
				}
				subnet.Prefixes = append(subnet.Prefixes, tenant.CAPrefixFrom(p))
			}
			for r := range 8 {
				if six && r == 3 {
					continue
				}
				rec := tenant.RecordSpec{VM: fmt.Sprintf("vm%d-%d", s, r), IfaceID: fmt.Sprintf("%d-%d-%d", n, s, r),
					CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, byte(3 * s), apart[r]})), MAC: tenant.MAC{2, 0, 0, byte(n * (r % 2) * 3), byte(3 * s), apart[r]}}
				if s == 0 && r == 1 {
					rec.CA = tenant.CAFrom(netip.AddrFrom4([4]byte{10, 3, 0, apart[r]}))
				}
				if six {
					rec.CA = tenant.CAFrom(netip.AddrFrom16([16]byte{0: 0xfd, 5: byte(3 * (r % 2) * (1 - s%2)), 7: byte(3 * s), 15: apart[r]}))
				}
				if r < 4 || r > 5 { // 4 and 5 name no host
					rec.Host = spec.Hosts[[]int{0, 1, 2, 0, 0, 0, 0, 2}[r]].Name
				}
				subnet.Records = append(subnet.Records, rec)
			}
			rd.Subnets = append(rd.Subnets, subnet)
		}
		route := func(prefix, hop string, metric uint32) {
			rd.Routes = append(rd.Routes, tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix(prefix)),
				NextHop: tenant.CAFrom(netip.MustParseAddr(hop)), Metric: metric})
		}
		route("0.0.0.0/0", "10.0.0.17", 0)
		route("172.16.0.0/12", "10.0.3.34", 1)
		route("172.16.0.0/12", "10.0.3.17", 2)
		route("10.0.3.240/28", "10.0.0.68", 0)
		route("::/0", "fd00:0:0:6::11", 0)
		route("2001:db8::/32", "fd00:0:0:9::22", 1)
		route("fd00:0:0:9::f0/124", "fd00:0:0:6::44", 0)
		if n == 1 {
			rd.Routes = rd.Routes[1:] // a tenant with no way out
		}
		spec.RoutingDomains = append(spec.RoutingDomains, rd)
	}
	p := tenanttest.New(tb, spec)
	at := make(map[string][]flows.Attachment)
	port := uint32(100)
	for r := range p.Records() {
		host := r.Host
		switch r.VM[4:] {
		case "3": // pinned to a host where it is not
			continue
		case "4": // nowhere
			continue
		case "5":
			host = "h1"
		}
		port++
		at[host] = append(at[host], flows.Attachment{IfaceID: r.IfaceID, OFPort: port})
	}
	w, err := newWorld(p, at, func(host string) mode {
		if host == "h2" {
			return modeEach
		}
		return modeFlow
	})
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// suite returns packets that go through a world by a plan, not by chance: every
// VM to every address in every way, and each field of each kind of packet with
// every bit turned.
func (w *world) suite() (all []input) {
	first := make(map[string]bool)
	for _, s := range w.seats {
		one := fmt.Sprint(s.host, s.vm.VSID)
		all = append(all, w.suiteOf(s, !first[one])...)
		first[one] = true
	}
	for _, h := range w.hosts {
		vm := w.seats[0].vm
		f := udp(vm.CA.Addr(), w.addrs[0], 64, vm.MAC)
		tagged := f
		tagged.Tagged = true
		for _, port := range []uint32{77, 102, 117} {
			if _, there := w.hostSwitch(h).Port(port); !there {
				all = append(all, input{host: h, port: port, frame: f}, input{host: h, port: port, frame: tagged})
			}
		}
		all = append(all, w.suiteTunnel(h)...)
	}
	return all
}

func (w *world) hostSwitch(name string) *sim.Switch {
	h, _ := w.net.Host(name)
	return h.Switch
}

func udp(src, dst netip.Addr, ttl uint8, mac tenant.MAC) packet.Frame {
	f := packet.Frame{Dst: nobodysMAC, Src: mac, Type: packet.TypeIPv4,
		IP: packet.IP{Src: src, Dst: dst, TTL: ttl, Proto: packet.ProtoUDP}, L4: packet.L4{Src: 1000, Dst: 53}}
	if dst.Is6() {
		f.Type = packet.TypeIPv6
	}
	return f
}

func arpRequest(vm *tenant.LookupRecord, spa, tpa netip.Addr) packet.Frame {
	return packet.Frame{Dst: broadcast, Src: vm.MAC, Type: packet.TypeARP,
		ARP: packet.ARP{Op: packet.ARPRequest, SHA: vm.MAC, SPA: spa, TPA: tpa}}
}

// suiteOf returns the packets of one VM, those that are the same for all VMs of a
// subnet on a host only where routes says so.
func (w *world) suiteOf(s seat, routes bool) (all []input) {
	add := func(f packet.Frame) { all = append(all, input{host: s.host, port: s.port, frame: f}) }
	mac, ca, none := s.vm.MAC, s.vm.CA.Addr(), netip.IPv4Unspecified()
	if ca.Is6() {
		return append(w.suiteOf6(s, routes), w.suitePunt(s)...)
	}
	all = w.suitePunt(s)
	subnet, _ := w.policy.Subnet(s.vm.VSID)
	gateway := subnet.Gateways[0].Addr()
	echo := func(dst netip.Addr, ttl, kind, code uint8) packet.Frame {
		f := udp(ca, dst, ttl, mac)
		f.IP.Proto, f.L4 = packet.ProtoICMP, packet.L4{Type: kind, Code: code}
		return f
	}
	var targets []netip.Addr
	for _, a := range append(w.addrs, flips(ca)...) {
		targets = append(targets, a)
		for _, ttl := range []uint8{64, 2, 1, 0} {
			add(udp(ca, a, ttl, mac))
		}
		add(echo(a, 1, packet.EchoRequest, 0))
		add(udp(a, gateway.Next(), 64, mac))
		add(arpRequest(&s.vm, ca, a))
		add(arpRequest(&s.vm, none, a))
		add(arpRequest(&s.vm, a, gateway))
		add(arpRequest(&s.vm, a, ca))
		for _, spa := range []netip.Addr{ca, none} {
			reply := arpRequest(&s.vm, a, w.addrs[1])
			reply.Dst, reply.ARP.Op = nobodysMAC, packet.ARPReply
			add(reply)
			f := arpRequest(&s.vm, spa, a)
			f.Dst = nobodysMAC
			add(f)
			f.ARP.Op = packet.ARPReply
			add(f)
			f.Dst = broadcast
			add(f)
		}
	}
	// One bit away from what routes and records have.
	for r := range w.policy.Routes() {
		targets = append(targets, r.Prefix.Prefix().Addr())
	}
	for _, a := range targets {
		if !routes || a.Is6() {
			continue
		}
		for _, b := range flips(a) {
			add(udp(ca, b, 64, mac))
		}
	}
	for _, a := range flips(gateway) {
		add(arpRequest(&s.vm, ca, a))
	}
	// Another MAC in the frame, in the message, or in both.
	for _, m := range append(macFlips(mac), w.macs...) {
		add(udp(ca, gateway, 64, m))
		for _, spa := range []netip.Addr{ca, none} {
			for _, tpa := range []netip.Addr{ca, gateway} {
				f := arpRequest(&s.vm, spa, tpa)
				f.ARP.SHA = m
				add(f)
				f.Src = m
				add(f)
				f.ARP.SHA = mac
				add(f)
				f = arpRequest(&s.vm, spa, w.addrs[1])
				f.Dst, f.ARP.Op, f.ARP.SHA = nobodysMAC, packet.ARPReply, m
				add(f)
				f.Src, f.ARP.SHA = m, mac
				add(f)
			}
		}
	}
	for _, a := range append(flips(none), w.addrs...) {
		for _, tpa := range []netip.Addr{ca, gateway, a} {
			add(arpRequest(&s.vm, a, tpa))
		}
	}
	// In the name of another VM.
	for i := range w.records {
		o := &w.records[i]
		to := o.CA.Addr()
		if to.Is6() {
			continue
		}
		add(udp(to, gateway, 64, o.MAC))
		add(udp(ca, gateway, 64, o.MAC))
		for _, spa := range []netip.Addr{ca, none, to} {
			for _, tpa := range []netip.Addr{ca, gateway, to} {
				f := arpRequest(o, spa, tpa)
				add(f)
				f.Dst, f.ARP.Op = nobodysMAC, packet.ARPReply
				add(f)
			}
		}
		for _, t := range []uint16{packet.TypeIPv6, 0x88cc} {
			add(packet.Frame{Dst: broadcast, Src: o.MAC, Type: t, Cut: t == packet.TypeIPv6})
		}
	}
	for op := range uint16(10) {
		for _, tpa := range []netip.Addr{ca, gateway} {
			f := arpRequest(&s.vm, ca, tpa)
			f.ARP.Op = op
			add(f)
			f.ARP.SPA = none
			add(f)
			f = arpRequest(&s.vm, ca, tpa)
			f.ARP.Op, f.Dst = op, nobodysMAC
			add(f)
		}
	}
	for kind := range uint8(16) {
		add(echo(gateway, 64, kind, 0))
		add(echo(gateway, 64, kind, 1))
	}
	for _, t := range []uint16{packet.TypeIPv6, 0x88cc, 0x8035} {
		add(packet.Frame{Dst: broadcast, Src: mac, Type: t, Cut: t == packet.TypeIPv6})
		add(packet.Frame{Dst: broadcast, Src: nobodysMAC, Type: t, Cut: t == packet.TypeIPv6})
	}
	f := udp(ca, gateway, 64, mac)
	f.Tagged, f.VID = true, 7
	add(f)
	return all
}

func (w *world) suiteTunnel(host string) (all []input) {
	h, _ := w.policy.Host(host)
	for _, a := range h.ProviderAddresses {
		all = append(all, w.suiteUnder(host, a.PA.Addr())...)
	}
	return all
}

// suiteUnder returns the packets that come to one address of a host.
func (w *world) suiteUnder(host string, here netip.Addr) (all []input) {
	var peer netip.Addr
	for p := range w.policy.Hosts() {
		for _, a := range p.ProviderAddresses {
			if p.Name != host && a.PA.Addr().Is4() == here.Is4() {
				peer = a.PA.Addr()
			}
		}
	}
	pas, none := w.ofFamily(here.Is4())
	pas = append(pas, none)
	unknown := none
	add := func(o packet.Outer, f packet.Frame) { all = append(all, input{host: host, outer: o, frame: f}) }
	for _, r := range w.records {
		f := w.udpTo(r.CA.Addr())
		f.Dst = r.MAC
		for _, v := range w.vsids {
			o := packet.Outer{Src: peer, Dst: here, Key: v.Key(0)}
			add(o, f)
			for _, m := range macFlips(r.MAC) {
				g := f
				g.Dst = m
				add(o, g)
			}
		}
		key := r.VSID.Key(0)
		for i := range 32 {
			o := packet.Outer{Src: peer, Dst: here, Key: key ^ 1<<i}
			add(o, f)
			for _, t := range []uint16{packet.TypeARP, packet.TypeIPv4, packet.TypeIPv6, 0x88cc} {
				add(o, packet.Frame{Dst: r.MAC, Type: t, Cut: t != 0x88cc})
			}
		}
		o := packet.Outer{Src: peer, Dst: here, Key: key}
		for _, t := range []uint16{packet.TypeARP, packet.TypeIPv6, 0x88cc} {
			add(o, packet.Frame{Dst: r.MAC, Type: t, Cut: true})
		}
		g := f
		g.Tagged = true
		add(o, g)
		o.Src = unknown
		add(o, f)
	}
	to := w.records[0]
	for _, seat := range w.seats {
		if seat.host == host {
			to = seat.vm
		}
	}
	f := w.udpTo(to.CA.Addr())
	f.Dst = to.MAC
	for _, src := range pas {
		for _, dst := range pas {
			o := packet.Outer{Src: src, Dst: dst, Key: to.VSID.Key(0)}
			add(o, f)
			for i := range src.BitLen() {
				x := o
				x.Src = flip(src, i)
				add(x, f)
				x = o
				x.Dst = flip(dst, i)
				add(x, f)
			}
		}
	}
	return all
}

// udpTo returns a datagram from somebody to an address.
func (w *world) udpTo(dst netip.Addr) packet.Frame {
	if dst.Is4() {
		return udp(w.addrs[0], dst, 64, nobodysMAC)
	}
	return udp(w.addrs6[len(w.addrs6)/2], dst, 64, nobodysMAC)
}

func flip(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1-bit/8] ^= 1 << (bit % 8)
	a, _ = netip.AddrFromSlice(b)
	return a
}

func flips(a netip.Addr) (all []netip.Addr) {
	for i := range a.BitLen() {
		all = append(all, flip(a, i))
	}
	return all
}

func macFlips(m tenant.MAC) (all []tenant.MAC) {
	for i := range 48 {
		n := m
		n[5-i/8] ^= 1 << (i % 8)
		all = append(all, n)
	}
	return all
}

// The suite itself agrees with the oracle where nothing is wrong.
func TestSuiteAgrees(t *testing.T) {
	w := fullWorld(t)
	suite := w.suite()
	var j sim.Journey
	met := make(map[string]int)
	for i := range suite {
		in := &suite[i]
		v := w.intent(in)
		w.run(w.net, in, &j)
		if diff := differ(&v, &j); diff != "" {
			t.Fatalf("%s\nintended: %s\nfound: %s\n%s", in, v, diff, &j)
		}
		met[kindOf(in, &v)]++
	}
	t.Logf("%d packets, %v", len(suite), met)
}

// One network serves many goroutines; each has a journey of its own.
func TestNetworkServesManyGoroutines(t *testing.T) {
	w := fullWorld(t)
	suite := w.suite()
	var group errgroup.Group
	for n := range 4 {
		group.Go(func() error {
			var j sim.Journey
			for i := n; i < len(suite); i += 97 {
				v := w.intent(&suite[i])
				w.run(w.net, &suite[i], &j)
				if diff := differ(&v, &j); diff != "" {
					return fmt.Errorf("%s: %s", suite[i], diff)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
