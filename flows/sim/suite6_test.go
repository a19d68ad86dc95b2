package sim_test

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// solicit returns a neighbour solicitation of a VM.
func solicit(vm *tenant.LookupRecord, src, target netip.Addr) packet.Frame {
	f := packet.Frame{Dst: tenant.MAC{0x33, 0x33, 0xff, 0, 0, 5}, Src: vm.MAC, Type: packet.TypeIPv6,
		IP: packet.IP{Src: src, Dst: netip.MustParseAddr("ff02::1:ff00:5"), TTL: 255, Proto: packet.ProtoICMPv6},
		L4: packet.L4{Type: packet.NeighborSolicitation}, ND: packet.ND{Target: target, SLL: vm.MAC}}
	if src.IsUnspecified() {
		f.ND.SLL = tenant.MAC{}
	}
	return f
}

// advertise returns a neighbour advertisement of a VM.
func advertise(vm *tenant.LookupRecord, src, dst netip.Addr) packet.Frame {
	return packet.Frame{Dst: nobodysMAC, Src: vm.MAC, Type: packet.TypeIPv6,
		IP: packet.IP{Src: src, Dst: dst, TTL: 255, Proto: packet.ProtoICMPv6},
		L4: packet.L4{Type: packet.NeighborAdvertisement}, ND: packet.ND{Target: src, TLL: vm.MAC, Flags: packet.NDSolicited}}
}

// suiteOf6 is suiteOf for a VM with an IPv6 address.
func (w *world) suiteOf6(s seat, routes bool) (all []input) {
	add := func(f packet.Frame) { all = append(all, input{host: s.host, port: s.port, frame: f}) }
	mac, ca, none := s.vm.MAC, s.vm.CA.Addr(), netip.IPv6Unspecified()
	link := tenant.LinkLocal(mac)
	random := netip.MustParseAddr("fe80::aaaa:bbbb:cccc:dddd")
	subnet, _ := w.policy.Subnet(s.vm.VSID)
	gateway := subnet.Gateways[0].Addr()
	var mate netip.Addr
	for r := range w.policy.RecordsOf(s.vm.VSID) {
		if r.IfaceID != s.vm.IfaceID && w.placed(r) {
			mate = r.CA.Addr()
		}
	}
	icmp := func(dst netip.Addr, ttl, kind, code uint8) packet.Frame {
		f := udp(ca, dst, ttl, mac)
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: kind, Code: code}
		return f
	}
	ways := func(f packet.Frame) {
		add(f)
		f.Dst = nobodysMAC
		add(f)
		f.Dst = multicast
		add(f)
		if f.HasND() {
			f.IP.Dst = f.ND.Target // as a question to one VM has it
			add(f)
		}
	}
	own := []netip.Addr{ca, link, random, none}
	if routes {
		// Everywhere in every way.
		var targets []netip.Addr
		for _, a := range w.addrs6 {
			targets = append(targets, a)
			for _, ttl := range []uint8{64, 2, 1, 0} {
				add(udp(ca, a, ttl, mac))
				add(udp(link, a, ttl, mac))
			}
			for _, src := range own {
				ways(solicit(&s.vm, src, a))
				add(advertise(&s.vm, src, a))
			}
			add(icmp(a, 1, packet.EchoRequest6, 0))
			for _, dst := range []netip.Addr{link, mate, gateway} {
				f := solicit(&s.vm, ca, a)
				f.IP.Dst = dst
				add(f)
			}
		}
		for r := range w.policy.Routes() {
			targets = append(targets, r.Prefix.Prefix().Addr())
		}
		for _, a := range targets {
			for _, b := range append(flips(a), tenant.GatewayLinkLocal()) {
				if b.Is6() {
					add(udp(ca, b, 64, mac))
					add(solicit(&s.vm, ca, b))
				}
			}
		}
		for _, a := range append(flips(none), flips(netip.MustParseAddr("fe80::"))...) {
			ways(solicit(&s.vm, a, gateway))
			ways(solicit(&s.vm, a, mate))
			add(udp(link, a, 64, mac))
		}
	} else {
		for _, a := range w.addrs6 {
			add(udp(ca, a, 64, mac))
			add(solicit(&s.vm, ca, a))
		}
	}
	// One bit away from what the VM's own flows test.
	for _, base := range append(own, gateway, netip.MustParseAddr("ff02::1")) {
		for _, a := range append(flips(base), base) {
			add(udp(a, mate, 64, mac))
			add(solicit(&s.vm, a, mate))
			add(solicit(&s.vm, ca, a))
			add(advertise(&s.vm, ca, a))
			add(advertise(&s.vm, a, mate))
			for _, b := range []netip.Addr{ca, link} {
				f := advertise(&s.vm, b, a)
				add(f)
				f.ND.TLL = tenant.MAC{}
				add(f)
				for _, tll := range []tenant.MAC{mac, {}} {
					f := advertise(&s.vm, a, mate)
					f.ND.Target, f.ND.TLL = b, tll
					add(f)
					f.IP.Src, f.ND.Target = b, a
					add(f)
				}
			}
			f := solicit(&s.vm, a, mate)
			f.ND.SLL = tenant.MAC{}
			add(f)
		}
	}
	// Another MAC in the frame, in the message, or in both.
	for _, m := range append(append(macFlips(mac), w.macs...), macFlips(tenant.MAC{})...) {
		frames := []packet.Frame{udp(ca, gateway, 64, mac), udp(link, mate, 64, mac), icmp(mate, 255, packet.RouterAdvertisement, 0),
			icmp(mate, 255, packet.Redirect, 0), advertise(&s.vm, ca, netip.MustParseAddr("ff02::1"))}
		for _, src := range own {
			frames = append(frames, solicit(&s.vm, src, mate))
			f := advertise(&s.vm, src, mate)
			frames = append(frames, f)
			f.ND.TLL = tenant.MAC{}
			frames = append(frames, f)
		}
		for _, target := range []netip.Addr{ca, link} {
			frames = append(frames, solicit(&s.vm, ca, target))
		}
		wrong := solicit(&s.vm, ca, mate)
		wrong.IP.TTL = 1
		frames = append(frames, wrong)
		for _, f := range frames {
			g := f
			g.Src = m
			add(g)
			switch {
			case f.ND.SLL != tenant.MAC{} || f.L4.Type == packet.NeighborSolicitation:
				f.ND.SLL = m
			case f.L4.Type == packet.NeighborAdvertisement:
				f.ND.TLL = m
			default:
				continue
			}
			add(f)
		}
	}
	for _, src := range own {
		for _, ttl := range []uint8{0, 1, 64, 254, 127, 191, 223, 239, 247, 251, 253} {
			for _, f := range []packet.Frame{advertise(&s.vm, src, mate), solicit(&s.vm, src, mate), solicit(&s.vm, src, ca)} {
				f.IP.TTL = ttl
				add(f)
			}
			f := advertise(&s.vm, src, mate)
			f.IP.TTL, f.ND.TLL = ttl, tenant.MAC{}
			add(f)
		}
	}
	// In the name of another VM.
	for i := range w.records {
		o := &w.records[i]
		to := o.CA.Addr()
		if to.Is4() {
			continue
		}
		add(udp(to, gateway, 64, o.MAC))
		add(udp(ca, gateway, 64, o.MAC))
		for _, src := range []netip.Addr{ca, none, to, tenant.LinkLocal(o.MAC)} {
			for _, target := range []netip.Addr{ca, gateway, to, mate, tenant.LinkLocal(o.MAC)} {
				add(solicit(o, src, target))
			}
			f := advertise(o, src, mate)
			add(f)
			f.ND.TLL = tenant.MAC{}
			add(f)
		}
	}
	for kind := 0; kind < 256; kind++ {
		for code := range uint8(2) {
			for _, dst := range []netip.Addr{gateway, mate, tenant.GatewayLinkLocal(), netip.MustParseAddr("ff02::1")} {
				f := icmp(dst, 255, uint8(kind), code)
				if f.HasND() {
					f.ND.Target = dst
				}
				add(f)
				if !routes {
					break
				}
			}
		}
	}
	for _, code := range []uint8{1, 2, 4, 8, 16, 32, 64, 128} {
		for _, src := range []netip.Addr{ca, link, none} {
			for _, f := range []packet.Frame{solicit(&s.vm, src, mate), solicit(&s.vm, src, ca), solicit(&s.vm, src, link), advertise(&s.vm, src, mate)} {
				f.L4.Code, f.ND = code, packet.ND{}
				add(f)
			}
		}
	}
	// A protocol whose first octets are a solicitation's.
	for _, f := range []packet.Frame{solicit(&s.vm, ca, mate), solicit(&s.vm, none, mate), advertise(&s.vm, ca, mate), icmp(gateway, 64, packet.EchoRequest6, 0)} {
		f.IP.Fragment, f.ND = packet.FirstFragment, packet.ND{}
		add(f)
	}
	for _, t := range []uint16{packet.TypeIPv4, packet.TypeARP, packet.TypeIPv6, 0x88cc, 0x8035} {
		cut := t != 0x88cc && t != 0x8035
		add(packet.Frame{Dst: broadcast, Src: mac, Type: t, Cut: cut})
		add(packet.Frame{Dst: broadcast, Src: nobodysMAC, Type: t, Cut: cut})
	}
	f := udp(ca, gateway, 64, mac)
	f.Tagged, f.VID = true, 7
	add(f)
	return all
}

// placed reports whether somebody knows where a VM is.
func (w *world) placed(r tenant.LookupRecord) bool {
	host, _ := w.oracle.Place(r.IfaceID)
	return host != ""
}
