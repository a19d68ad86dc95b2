package sim_test

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// input is one packet for a world.
type input struct {
	host  string
	port  uint32       // a port that is no tunnel port, or 0 for the tunnel
	outer packet.Outer // from the tunnel
	frame packet.Frame
}

func (in input) String() string {
	if in.port == 0 {
		return fmt.Sprintf("host %s from the tunnel, %s: %s", in.host, in.outer, in.frame)
	}
	return fmt.Sprintf("host %s port %d: %s", in.host, in.port, in.frame)
}

var (
	broadcast  = tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	multicast  = tenant.MAC{1, 0, 0x5e, 1, 1, 1}
	nobodysMAC = tenant.MAC{2, 0xaa, 0, 0, 0, 1}
	ttls       = []uint8{64, 255, 2, 1, 0}
	unknown    = netip.AddrFrom4([4]byte{10, 99, 9, 9})
	unknown6   = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x99, 15: 0x99})
)

// randomPacket draws a packet: mostly one that a VM may send, with faults.
func (w *world) randomPacket(d dice) input {
	if d.pick(4) == 3 {
		return w.fromTunnel(d, one(d, w.hosts))
	}
	if len(w.seats) > 0 && !rarely(d, 24) {
		s := one(d, w.seats)
		return input{host: s.host, port: s.port, frame: w.randomFrame(d, s.vm)}
	}
	nobody := tenant.LookupRecord{MAC: nobodysMAC, CA: tenant.CAFrom(one(d, w.addrs))}
	return input{host: one(d, w.hosts), port: 77, frame: w.randomFrame(d, nobody)}
}

func (w *world) randomMAC(d dice) tenant.MAC {
	switch d.pick(8) {
	case 0:
		return broadcast
	case 1:
		return multicast
	case 2:
		return nobodysMAC
	case 3:
		return tenant.MAC{}
	}
	return one(d, w.macs)
}

func (w *world) randomFrame(d dice, self tenant.LookupRecord) packet.Frame {
	f := packet.Frame{Src: self.MAC, Dst: w.randomMAC(d)}
	if rarely(d, 20) {
		f.Src = w.randomMAC(d)
	}
	if rarely(d, 24) {
		f.Tagged, f.VID = true, one(d, []uint16{0, 7, 4095})
	}
	six := !self.CA.Addr().Is4() != rarely(d, 12) // the other family is worth a try
	switch n := d.pick(12); {
	case n == 9:
		f.Type = one(d, []uint16{0x88cc, 0x8035, 0x8847, 0x6558, 0x0600, 0xffff})
	case six && n >= 5 && n < 9:
		w.nd(d, self, &f)
	case six:
		w.ipv6(d, self, &f)
	case n >= 5 && n < 8:
		w.arp(d, self, &f)
	default:
		w.ipv4(d, self, &f)
	}
	f.Cut = (f.Type == packet.TypeIPv4 || f.Type == packet.TypeARP || f.Type == packet.TypeIPv6) && rarely(d, 24)
	if f.Cut {
		f.ARP, f.IP, f.L4, f.ND = packet.ARP{}, packet.IP{}, packet.L4{}, packet.ND{}
	}
	return f
}

func (w *world) ipv4(d dice, self tenant.LookupRecord, f *packet.Frame) {
	f.Type = packet.TypeIPv4
	f.IP = packet.IP{Src: self.CA.Addr(), Dst: one(d, w.addrs), TTL: one(d, ttls)}
	if !f.IP.Src.Is4() {
		f.IP.Src = one(d, w.addrs)
	}
	if d.pick(2) == 0 && len(w.records) > 0 {
		if a := one(d, w.records).CA.Addr(); a.Is4() {
			f.IP.Dst = a
		}
	}
	if rarely(d, 16) {
		f.IP.Src = one(d, w.addrs)
	}
	switch d.pick(6) {
	case 0, 1:
		f.IP.Proto, f.L4 = packet.ProtoICMP, packet.L4{Type: packet.EchoRequest}
	case 2:
		f.IP.Proto, f.L4 = packet.ProtoICMP, packet.L4{Type: uint8(d.pick(14)), Code: uint8(d.pick(2))}
	case 3:
		f.IP.Proto, f.L4 = packet.ProtoUDP, packet.L4{Src: uint16(d.pick(1 << 16)), Dst: 53}
		switch d.pick(6) {
		case 0:
			f.L4 = packet.L4{Src: 68, Dst: 67}
		case 1:
			f.L4 = packet.L4{Src: 546, Dst: 547}
		}
	case 4:
		f.IP.Proto, f.L4 = packet.ProtoTCP, packet.L4{Src: 8 << 8, Dst: uint16(d.pick(1 << 16))}
	default:
		f.IP.Proto = one(d, []uint8{0, 2, 41, 47, 50, 89, 132, 255})
	}
	if rarely(d, 16) {
		f.IP.Fragment = one(d, []packet.Fragment{packet.FirstFragment, packet.LaterFragment})
		if f.IP.Fragment == packet.LaterFragment {
			f.L4 = packet.L4{}
		}
	}
}

func (w *world) arp(d dice, self tenant.LookupRecord, f *packet.Frame) {
	f.Type = packet.TypeARP
	f.ARP = packet.ARP{Op: packet.ARPRequest, SHA: self.MAC, SPA: self.CA.Addr(), TPA: one(d, w.addrs)}
	if !f.ARP.SPA.Is4() {
		f.ARP.SPA = one(d, w.addrs)
	}
	if a, ok := w.neighbour(d, self); ok && a.Is4() {
		f.ARP.TPA = a
	}
	switch d.pick(11) {
	case 10:
		f.ARP.Op = packet.ARPReply
	case 3:
		f.ARP.SPA = netip.IPv4Unspecified() // a probe
	case 4:
		if self.CA.Addr().Is4() {
			f.ARP.TPA = self.CA.Addr() // an announcement
		}
	case 5:
		f.ARP.Op = one(d, []uint16{2, 0, 3, 9, 0x101, 0xffff})
	case 6:
		f.ARP.SPA = one(d, w.addrs)
	case 7:
		f.ARP.SHA = w.randomMAC(d)
	case 8:
		f.ARP.THA = w.randomMAC(d)
	case 9:
		f.ARP.SPA = netip.IPv4Unspecified()
		if self.CA.Addr().Is4() {
			f.ARP.TPA = self.CA.Addr()
		}
	}
}

// neighbour draws, half of the time, an address of the VM's own subnet.
func (w *world) neighbour(d dice, self tenant.LookupRecord) (netip.Addr, bool) {
	s, ok := w.policy.Subnet(self.VSID)
	switch n := d.pick(4); {
	case !ok || n > 1:
		return netip.Addr{}, false
	case n == 1:
		var all []netip.Addr
		for r := range w.policy.RecordsOf(s.VSID) {
			spoken(&r)
			all = append(all, r.CA.Addr())
		}
		if len(all) > 0 {
			return one(d, all), true
		}
	}
	return one(d, s.Gateways).Addr(), true
}

// own6 draws an IPv6 source: mostly one of the VM's own.
func (w *world) own6(d dice, self tenant.LookupRecord) netip.Addr {
	switch a := self.CA.Addr(); d.pick(8) {
	case 7:
		return one(d, w.addrs6)
	case 6:
		return netip.IPv6Unspecified()
	case 4, 5:
		return tenant.LinkLocal(self.MAC)
	default:
		if a.Is4() {
			return one(d, w.addrs6)
		}
		return a
	}
}

func (w *world) ipv6(d dice, self tenant.LookupRecord, f *packet.Frame) {
	f.Type = packet.TypeIPv6
	f.IP = packet.IP{Src: w.own6(d, self), Dst: one(d, w.addrs6), TTL: one(d, ttls)}
	if d.pick(2) == 0 && len(w.records) > 0 {
		if a := one(d, w.records).CA.Addr(); !a.Is4() {
			f.IP.Dst = a
		}
	}
	if a, ok := w.neighbour(d, self); ok && !a.Is4() {
		f.IP.Dst = a
	}
	switch d.pick(6) {
	case 0, 1:
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: packet.EchoRequest6}
	case 2:
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: 127 + uint8(d.pick(12)), Code: uint8(d.pick(2))}
		if f.HasND() {
			f.ND = packet.ND{Target: one(d, w.addrs6)}
		}
	case 3:
		f.IP.Proto, f.L4 = packet.ProtoUDP, packet.L4{Src: uint16(d.pick(1 << 16)), Dst: 53}
		switch d.pick(6) {
		case 0:
			f.L4 = packet.L4{Src: 68, Dst: 67}
		case 1:
			f.L4 = packet.L4{Src: 546, Dst: 547}
		}
	case 4:
		f.IP.Proto, f.L4 = packet.ProtoTCP, packet.L4{Src: 8 << 8, Dst: uint16(d.pick(1 << 16))}
	default:
		// No extension headers, which the switch would look behind.
		f.IP.Proto = one(d, []uint8{2, 41, 47, 50, 89, 132, 254})
	}
	if rarely(d, 16) {
		f.IP.Fragment = one(d, []packet.Fragment{packet.FirstFragment, packet.LaterFragment})
		f.ND = packet.ND{}
		if f.IP.Fragment == packet.LaterFragment {
			f.L4 = packet.L4{}
		}
	}
}

// nd draws a neighbour solicitation or advertisement.
func (w *world) nd(d dice, self tenant.LookupRecord, f *packet.Frame) {
	f.Type = packet.TypeIPv6
	f.IP = packet.IP{Src: w.own6(d, self), Dst: netip.MustParseAddr("ff02::1:ff00:5"), TTL: 255, Proto: packet.ProtoICMPv6}
	f.L4.Type = packet.NeighborSolicitation
	f.ND = packet.ND{Target: one(d, w.addrs6), SLL: self.MAC}
	if a, ok := w.neighbour(d, self); ok && !a.Is4() {
		f.ND.Target = a
	}
	if rarely(d, 3) {
		f.IP.Dst = f.ND.Target
	}
	if f.IP.Src.IsUnspecified() && d.pick(4) != 3 {
		f.ND.SLL = tenant.MAC{}
	}
	if d.pick(3) == 2 {
		f.L4.Type = packet.NeighborAdvertisement
		f.ND = packet.ND{Target: f.IP.Src, TLL: f.ND.SLL, Flags: packet.NDSolicited}
		if d.pick(4) != 3 {
			f.IP.Dst = one(d, w.addrs6)
		}
		if a, ok := w.neighbour(d, self); ok && !a.Is4() {
			f.IP.Dst = a
		}
	}
	switch d.pick(12) {
	case 7:
		f.IP.TTL = one(d, ttls)
	case 8:
		f.L4.Code, f.ND = 1, packet.ND{}
	case 9:
		if f.ND.SLL != (tenant.MAC{}) {
			f.ND.SLL = w.randomMAC(d)
		}
		if f.ND.TLL != (tenant.MAC{}) {
			f.ND.TLL = w.randomMAC(d)
		}
	case 10:
		f.ND.SLL, f.ND.TLL = tenant.MAC{}, tenant.MAC{}
	case 11:
		f.ND.Target = w.own6(d, self)
	}
}

// fromTunnel draws an NVGRE packet that reaches a host, mostly for a VM.
func (w *world) fromTunnel(d dice, host string) input {
	in := input{host: host}
	h, _ := w.policy.Host(host)
	in.outer.Dst = one(d, h.ProviderAddresses).PA.Addr()
	pas, none := w.ofFamily(in.outer.Dst.Is4())
	in.outer.Src = one(d, pas)
	switch d.pick(12) {
	case 9:
		in.outer.Src = none
	case 10:
		in.outer.Dst = none
	case 11:
		in.outer.Dst = one(d, pas)
	}
	to := tenant.LookupRecord{MAC: nobodysMAC, VSID: one(d, w.vsids)}
	if len(w.records) > 0 {
		to = one(d, w.records)
	}
	// One that is here, more often than chance would have it.
	if at := w.views[host].Attachments; len(at) > 0 && d.pick(2) == 0 {
		if r, ok := w.policy.RecordByIfaceID(one(d, at).IfaceID); ok {
			spoken(&r)
			to = r
		}
	}
	from := tenant.LookupRecord{MAC: one(d, w.macs), CA: tenant.CAFrom(one(d, w.addrs))}
	if !to.CA.Addr().Is4() {
		from.CA = tenant.CAFrom(one(d, w.addrs6))
	}
	in.frame = w.randomFrame(d, from)
	if d.pick(4) != 3 {
		in.frame.Dst = to.MAC
	}
	v := to.VSID
	switch d.pick(12) {
	case 9:
		v = one(d, w.vsids)
	case 10:
		v = one(d, []tenant.VSID{0, 0xfff, 0xffffff, to.VSID + 1, to.VSID << 8 & 0xffffff})
	}
	flowID := uint8(0)
	if rarely(d, 4) {
		flowID = one(d, []uint8{1, 255, 128})
	}
	in.outer.Key = v.Key(flowID)
	return in
}

// ofFamily returns the provider addresses of a family and one that nobody has.
func (w *world) ofFamily(four bool) (pas []netip.Addr, none netip.Addr) {
	for _, a := range w.pas {
		if a.Is4() == four {
			pas = append(pas, a)
		}
	}
	if four {
		return pas, unknown
	}
	return pas, unknown6
}

func addr(b [4]byte) netip.Addr { return netip.AddrFrom4(b) }
