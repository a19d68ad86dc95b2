package sim_test

import (
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// suitePunt is what the controller gets of a VM in one family, and what is one bit
// away from that.
func (w *world) suitePunt(s seat) (all []input) {
	add := func(f packet.Frame) { all = append(all, input{host: s.host, port: s.port, frame: f}) }
	mac, ca := s.vm.MAC, s.vm.CA.Addr()
	subnet, _ := w.policy.Subnet(s.vm.VSID)
	gateway, other := subnet.Gateways[0].Addr(), ca.Next().Next().Next()
	client, server := uint16(68), uint16(67)
	if ca.Is6() {
		client, server = 546, 547
		for _, g := range subnet.Gateways {
			if g.Addr().Is6() {
				gateway = g.Addr()
			}
		}
	}
	sources := []netip.Addr{ca, other}
	for _, src := range sources {
		dhcp := udp(src, gateway, 64, mac)
		for bit := -1; bit < 16; bit++ {
			flip := uint16(0)
			if bit >= 0 {
				flip = 1 << bit
			}
			dhcp.L4 = packet.L4{Src: client ^ flip, Dst: server}
			add(dhcp)
			dhcp.L4 = packet.L4{Src: client, Dst: server ^ flip}
			add(dhcp)
		}
		dhcp.L4 = packet.L4{Src: client, Dst: server}
		for _, m := range append(macFlips(mac), w.macs...) {
			dhcp.Src = m
			add(dhcp)
		}
		dhcp.Src, dhcp.IP.Proto = mac, packet.ProtoTCP
		add(dhcp)
		if ca.Is6() {
			solicit := udp(src, gateway, 255, mac)
			solicit.IP.Proto = packet.ProtoICMPv6
			for bit := -1; bit < 8; bit++ {
				flip := uint8(0)
				if bit >= 0 {
					flip = 1 << bit
				}
				solicit.L4 = packet.L4{Type: packet.RouterSolicitation ^ flip}
				add(solicit)
				solicit.L4 = packet.L4{Type: packet.RouterSolicitation, Code: flip}
				add(solicit)
			}
			solicit.L4 = packet.L4{Type: packet.RouterSolicitation}
			for _, m := range append(macFlips(mac), w.macs...) {
				solicit.Src = m
				add(solicit)
			}
		}
	}
	for bit := range 8 {
		f := udp(ca, gateway, 64, mac)
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			f.IP.Proto, f.L4 = proto^1<<bit, packet.L4{}
			add(f)
			f.IP.Proto = proto
			add(f)
		}
	}
	for i := range w.records {
		to := w.records[i].CA.Addr()
		for _, size := range []uint16{1000, 1452, 1453, 1472, 1473, 9000} {
			if to.Is4() == ca.Is4() {
				f := udp(ca, to, 64, mac)
				f.Size = size
				add(f)
			}
		}
	}
	return all
}
