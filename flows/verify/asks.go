package verify

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// asks proves what a VM asks the controller in one family, by whatever address,
// where its subnet has DHCP; it returns what that is.
func (x *sender) asks(v6 bool) []cube {
	if n, _ := x.policy.Subnet(x.s.vm.VSID); !n.DHCP {
		return nil
	}
	is, whole, client, server := isIPv4, all4, uint16(68), uint16(67)
	if v6 {
		is, whole, client, server = isIPv6, all6, 546, 547
	}
	f := udp(x.s.notOwn(whole), x.s.source(whole.Addr()), 64, x.s.vm.MAC)
	f.L4 = packet.L4{Src: client, Dst: server}
	dhcp := []term{is, {words.Transit, 0xff | 0xffff<<16 | 0xffff<<32, uint64(packet.ProtoUDP) | uint64(client)<<16 | uint64(server)<<32}}
	x.check(f, nil, dhcp...)
	all := []cube{mustCube(dhcp)}
	if v6 {
		f := udp(x.s.notOwn(whole), x.s.source(whole.Addr()), 255, x.s.vm.MAC)
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: packet.RouterSolicitation}
		solicits := []term{is, icmpv6(packet.RouterSolicitation), codeIsZero}
		x.check(f, nil, solicits...)
		all = append(all, mustCube(solicits))
	}
	return all
}
