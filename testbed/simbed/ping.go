//go:build linux

package simbed

import (
	"context"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Ping fills a matrix as the real testbed's Ping does: every VM sends an echo
// request to every address of every other VM.
func (t *Testbed) Ping(ctx context.Context) (*testbed.Matrix, error) {
	g, err := t.guests()
	if err != nil {
		return nil, err
	}
	pairs := testbed.Expect(t.state.Plan)
	for i := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := g.ping(&pairs[i]); err != nil {
			return nil, err
		}
	}
	return testbed.NewMatrix(t.Name(), pairs), nil
}

// guests are the VMs of one network.
type guests struct {
	net     *sim.Network
	seats   map[string]seat
	vms     map[string]*topology.VM // by iface-id
	sitting map[seat]*topology.VM
	down    map[string]bool
	cache   map[neighbour]tenant.MAC // what VMs have resolved; zero: nobody answers
	journey sim.Journey
}

// neighbour is an address that a VM wants the MAC of.
type neighbour struct {
	vm string
	ip netip.Addr
}

func (t *Testbed) guests() (*guests, error) {
	n, seats, err := t.network()
	if err != nil {
		return nil, err
	}
	g := &guests{net: n, seats: seats, vms: make(map[string]*topology.VM), sitting: make(map[seat]*topology.VM),
		down: t.state.Down, cache: make(map[neighbour]tenant.MAC)}
	for i := range t.state.Plan.VMs {
		v := &t.state.Plan.VMs[i]
		g.vms[v.IfaceID], g.sitting[seats[v.IfaceID]] = v, v
	}
	return g, nil
}

// ping sends one echo request and what it is answered with.
func (g *guests) ping(p *testbed.Pair) error {
	from := g.vms[p.From]
	src, ok := source(from, p.Address)
	if !ok {
		return nil
	}
	requests, err := g.send(from, src, p.Address, true)
	if err != nil {
		return err
	}
	for _, r := range requests {
		p.Requested(r.vm.IfaceID, r.frame.IP.TTL)
		if r.frame.Dst != r.vm.MAC || !has(r.vm, r.frame.IP.Dst) {
			continue // the guest's own stack drops it
		}
		replies, err := g.send(r.vm, r.frame.IP.Dst, r.frame.IP.Src, false)
		if err != nil {
			return err
		}
		for _, a := range replies {
			p.Replied(a.vm.IfaceID, a.frame.IP.TTL)
		}
	}
	return nil
}

// arrival is a frame at a VM's adapter.
type arrival struct {
	vm    *topology.VM
	frame packet.Frame
}

// send sends an echo request or reply as Linux does, and returns the echo
// messages that arrive at VMs.
func (g *guests) send(from *topology.VM, src, dst netip.Addr, request bool) ([]arrival, error) {
	hop, ok := nextHop(from, dst)
	if !ok {
		return nil, nil
	}
	mac, err := g.resolve(from, src, hop)
	if err != nil || mac == (tenant.MAC{}) {
		return nil, err
	}
	f := packet.Frame{Dst: mac, Src: from.MAC, Type: packet.TypeIPv4,
		IP: packet.IP{Src: src, Dst: dst, Proto: packet.ProtoICMP, TTL: testbed.LinuxTTL}}
	f.L4.Type = packet.EchoReply
	if request {
		f.L4.Type = packet.EchoRequest
	}
	if dst.Is6() {
		f.Type, f.IP.Proto = packet.TypeIPv6, packet.ProtoICMPv6
		f.L4.Type = packet.EchoReply6
		if request {
			f.L4.Type = packet.EchoRequest6
		}
	}
	all, err := g.inject(from, &f)
	var echoes []arrival
	for _, a := range all {
		if a.frame.Type == f.Type && a.frame.IP.Proto == f.IP.Proto && a.frame.L4.Type == f.L4.Type {
			echoes = append(echoes, a)
		}
	}
	return echoes, err
}

// inject puts a frame into a VM's port and returns what arrives at VMs.
func (g *guests) inject(from *topology.VM, f *packet.Frame) ([]arrival, error) {
	if g.down[from.IfaceID] {
		return nil, nil
	}
	s := g.seats[from.IfaceID]
	if err := g.net.Send(s.host, s.port, f, &g.journey); err != nil {
		return nil, err
	}
	var all []arrival
	for _, d := range g.journey.Deliveries {
		if v := g.sitting[seat{d.Host, d.Port}]; v != nil && !g.down[v.IfaceID] {
			all = append(all, arrival{v, d.Frame})
		}
	}
	return all, nil
}

// resolve asks for the MAC of a neighbour; zero where nobody answers.
func (g *guests) resolve(from *topology.VM, src, hop netip.Addr) (tenant.MAC, error) {
	key := neighbour{from.IfaceID, hop}
	if mac, known := g.cache[key]; known {
		return mac, nil
	}
	f := solicitation(from.MAC, src, hop)
	all, err := g.inject(from, &f)
	if err != nil {
		return tenant.MAC{}, err
	}
	var mac tenant.MAC
	for _, a := range all {
		switch r := &a.frame; {
		case a.vm != from || r.Dst != from.MAC:
		case r.HasARP() && r.ARP.Op == packet.ARPReply && r.ARP.SPA == hop:
			mac = r.ARP.SHA
		case r.HasND() && r.L4.Type == packet.NeighborAdvertisement && r.ND.Target == hop:
			mac = r.ND.TLL
		}
	}
	g.cache[key] = mac
	return mac, nil
}

// solicitation asks who has an address (RFC 826, RFC 4861 section 4.3).
func solicitation(mac tenant.MAC, src, hop netip.Addr) packet.Frame {
	if hop.Is4() {
		return packet.Frame{Dst: tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Src: mac, Type: packet.TypeARP,
			ARP: packet.ARP{Op: packet.ARPRequest, SHA: mac, SPA: src, TPA: hop}}
	}
	h := hop.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: h[13], 14: h[14], 15: h[15]})
	return packet.Frame{Dst: tenant.MAC{0x33, 0x33, 0xff, h[13], h[14], h[15]}, Src: mac, Type: packet.TypeIPv6,
		IP: packet.IP{Src: src, Dst: group, Proto: packet.ProtoICMPv6, TTL: 255},
		L4: packet.L4{Type: packet.NeighborSolicitation}, ND: packet.ND{Target: hop, SLL: mac}}
}

// source returns the address that a VM sends from to a destination.
func source(v *topology.VM, dst netip.Addr) (netip.Addr, bool) {
	for _, a := range v.Addresses {
		if a.Addr().Is4() == dst.Is4() {
			return a.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// nextHop returns what a VM's routes say of a destination: on its link, or behind
// the gateway.
func nextHop(v *topology.VM, dst netip.Addr) (netip.Addr, bool) {
	for _, a := range v.Addresses {
		if a.Contains(dst) {
			return dst, true
		}
	}
	for _, gw := range v.Gateways {
		if gw.Is4() == dst.Is4() {
			return gw, true
		}
	}
	return netip.Addr{}, false
}

func has(v *topology.VM, a netip.Addr) bool {
	for _, p := range v.Addresses {
		if p.Addr() == a {
			return true
		}
	}
	return false
}
