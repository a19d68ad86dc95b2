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
	switch d.pick(12) {
	default:
		w.ipv4(d, self, &f)
	case 5, 6, 7:
		w.arp(d, self, &f)
	case 8:
		ipv6(d, &f)
	case 9:
		f.Type = one(d, []uint16{0x88cc, 0x8035, 0x8847, 0x6558, 0x0600, 0xffff})
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
	if d.pick(2) == 0 && len(w.records) > 0 {
		f.IP.Dst = one(d, w.records).CA.Addr()
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
	if s, ok := w.policy.Subnet(self.VSID); ok && d.pick(2) == 0 {
		f.ARP.TPA = one(d, s.Gateways).Addr()
	}
	switch d.pick(10) {
	case 3:
		f.ARP.SPA = netip.IPv4Unspecified() // a probe
	case 4:
		f.ARP.TPA = self.CA.Addr() // an announcement
	case 5:
		f.ARP.Op = one(d, []uint16{2, 0, 3, 9, 0x101, 0xffff})
	case 6:
		f.ARP.SPA = one(d, w.addrs)
	case 7:
		f.ARP.SHA = w.randomMAC(d)
	case 8:
		f.ARP.THA = w.randomMAC(d)
	case 9:
		f.ARP.SPA, f.ARP.TPA = netip.IPv4Unspecified(), self.CA.Addr()
	}
}

func ipv6(d dice, f *packet.Frame) {
	a := []netip.Addr{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), netip.MustParseAddr("::ffff:10.0.0.3"), netip.IPv6Unspecified()}
	f.Type = packet.TypeIPv6
	f.IP = packet.IP{Src: one(d, a), Dst: one(d, a), TTL: 255}
	switch d.pick(3) {
	case 0:
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: packet.NeighborSolicitation}
		f.ND = packet.ND{Target: a[0], SLL: f.Src}
	case 1:
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: 133 + uint8(d.pick(2))*3}
		if f.HasND() {
			f.ND = packet.ND{Target: a[0], TLL: f.Src}
		}
	case 2:
		f.IP.Proto, f.L4 = packet.ProtoUDP, packet.L4{Src: 546, Dst: 547}
	}
}

// fromTunnel draws an NVGRE packet that reaches a host, mostly for a VM.
func (w *world) fromTunnel(d dice, host string) input {
	in := input{host: host}
	h, _ := w.policy.Host(host)
	in.outer.Src, in.outer.Dst = one(d, w.pas), one(d, h.ProviderAddresses).PA.Addr()
	switch d.pick(12) {
	case 9:
		in.outer.Src = unknown
	case 10:
		in.outer.Dst = unknown
	case 11:
		in.outer.Dst = one(d, w.pas)
	}
	to := tenant.LookupRecord{MAC: nobodysMAC, VSID: one(d, w.vsids)}
	if len(w.records) > 0 {
		to = one(d, w.records)
	}
	// One that is here, more often than chance would have it.
	if at := w.views[host].Attachments; len(at) > 0 && d.pick(2) == 0 {
		if r, ok := w.policy.RecordByIfaceID(one(d, at).IfaceID); ok {
			to = r
		}
	}
	from := tenant.LookupRecord{MAC: one(d, w.macs), CA: tenant.CAFrom(one(d, w.addrs))}
	in.frame = w.randomFrame(d, from)
	if in.frame.Type == packet.TypeARP && d.pick(2) == 0 {
		w.ipv4(d, from, &in.frame)
		in.frame.Cut, in.frame.ARP = false, packet.ARP{}
	}
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

func addr(b [4]byte) netip.Addr { return netip.AddrFrom4(b) }
