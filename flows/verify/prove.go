package verify

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// prover is one worker.
type prover struct {
	*engine
	walker
	ctx context.Context

	host   *host
	lemmas map[string]*lemma
}

func (p *prover) over() bool { return p.ctx.Err() != nil || p.enough() }

// Tables at which the proof is cut: behind them nothing depends on who sent a
// packet, but for the port that it came in by. If flows do otherwise the proof
// goes on without the cut.
var (
	cutRoute, _ = flows.TableByName("route")
	cutVSID, _  = flows.TableByName("tunnel-vsid")
)

// jobs returns the parts of the work.
func (e *engine) jobs() (all []func(*prover)) {
	groups := make(map[*host]map[tenant.VSID][]seat)
	for _, s := range e.seats {
		if groups[s.host] == nil {
			groups[s.host] = make(map[tenant.VSID][]seat)
		}
		groups[s.host][s.vm.VSID] = append(groups[s.host][s.vm.VSID], s)
		if _, ok := e.atoms[s.vm.RDID]; !ok {
			e.atoms[s.vm.RDID] = e.destinations(s.vm.RDID)
		}
	}
	for _, h := range e.hosts {
		for _, v := range slices.Sorted(maps.Keys(groups[h])) {
			seats := groups[h][v]
			slices.SortFunc(seats, func(a, b seat) int { return cmp.Compare(a.port, b.port) })
			all = append(all, func(p *prover) { p.group(h, v, seats) })
		}
		all = append(all, func(p *prover) { p.strangers(h) }, func(p *prover) { p.tunnels(h) })
	}
	return all
}

// vmState is what comes in by a port that is no tunnel.
func vmState() *state {
	s := &state{}
	for w := words.TunID; w < words.Regs; w++ {
		s.words[w] = zero
	}
	return s
}

// prove walks a space of packets from a host's first table on and records what
// becomes of them other than is wanted.
func (p *prover) prove(h *host, st *state, sp space, x *want) {
	p.cut = nil
	p.start(h)
	p.leaf = func(sp space) {
		if why := p.differ(x); why != "" || p.odd != nil {
			p.stop = p.engine.refute(&p.walker, h, sp, x, why)
		} else if x.out != nil {
			p.compare(h, sp, x)
		}
	}
	p.table(0, st, sp)
}

func (p *prover) compare(h *host, sp space, x *want) {
	if why := p.frames(x, sp); why != "" {
		p.stop = p.engine.refute(&p.walker, h, sp, x, why)
	}
}

// want asks the oracle for all packets that the policy does not tell from f.
func (p *prover) sent(h *host, port uint32, f *packet.Frame) *want {
	return p.wanted(h, p.oracle.Sent(h.name, port, *f), f)
}

func (p *prover) received(h *host, o packet.Outer, f *packet.Frame) *want {
	return p.wanted(h, p.oracle.Received(h.name, o, *f), f)
}

func (p *prover) wanted(h *host, v oracle.Verdict, f *packet.Frame) *want {
	w, err := newWant(v, f)
	if err != nil {
		p.unprove(Unproved{Host: h.name, Why: err.Error()})
	}
	return &w
}

// mac that no NIC has, for what a packet does not depend on.
var someMAC = tenant.MAC{0x02, 0xff, 0xff, 0xff, 0xff, 0xfe}

func udp(src, dst netip.Addr, ttl uint8, mac tenant.MAC) *packet.Frame {
	return &packet.Frame{Dst: someMAC, Src: mac, Type: packet.TypeIPv4,
		IP: packet.IP{Src: src, Dst: dst, TTL: ttl, Proto: packet.ProtoUDP}, L4: packet.L4{Src: 1000, Dst: 53}}
}

func arpRequest(s *seat, tpa netip.Addr) *packet.Frame {
	return &packet.Frame{Dst: someMAC, Src: s.vm.MAC, Type: packet.TypeARP,
		ARP: packet.ARP{Op: packet.ARPRequest, SHA: s.vm.MAC, SPA: s.vm.CA.Addr(), TPA: tpa}}
}

// group proves the ports of the VMs of one subnet on one host.
func (p *prover) group(h *host, v tenant.VSID, seats []seat) {
	p.host, p.lemmas = h, make(map[string]*lemma)
	for i := range seats {
		if p.over() {
			return
		}
		p.port(&seats[i], seats)
	}
}

// port proves what a VM sends.
func (p *prover) port(s *seat, mates []seat) {
	h, vm := s.host, &s.vm
	ca := vm.CA.Addr()
	other := vm.MAC
	other[5] ^= 1
	in := inPort(s.port)
	from := ethSrc(vm.MAC)
	check := func(f *packet.Frame, negs []cube, terms ...term) {
		c, ok := cube(nil).with(terms...)
		if ok && !p.over() {
			p.prove(h, vmState(), space{c, negs}, p.sent(h, s.port, f))
		}
	}
	plain := udp(ca, addr4(number4(ca)^1), 64, vm.MAC)
	change := func(do func(*packet.Frame)) *packet.Frame { f := *plain; do(&f); return &f }

	check(change(func(f *packet.Frame) { f.Tagged = true }), nil, in, tagged)
	check(change(func(f *packet.Frame) { f.Src = other }), []cube{{from}}, in, untagged)
	check(change(func(f *packet.Frame) { *f = packet.Frame{Src: vm.MAC, Type: 0x88cc} }), []cube{{isIPv4}, {isARP}}, in, untagged, from)
	src := upper(words.IPv4, ca)
	check(change(func(f *packet.Frame) { f.IP.Src = ca.Next() }), []cube{{src}}, in, untagged, from, isIPv4)

	sha := term{words.ARPSHA, low48, vm.MAC.Uint64()}
	spa := []term{upper(words.ARPAddrs, ca), upper(words.ARPAddrs, netip.IPv4Unspecified())}
	var valid []cube
	for _, a := range spa {
		c, _ := cube(nil).with(isRequest, sha, a)
		valid = append(valid, c)
	}
	wrong := arpRequest(s, ca)
	wrong.ARP.Op = packet.ARPReply
	check(wrong, valid, in, untagged, from, isARP)
	own := lower(words.ARPAddrs, single(ca))
	for _, a := range spa {
		check(arpRequest(s, ca), nil, in, untagged, from, isARP, isRequest, sha, a, own)
		c, _ := cube(nil).with(in, untagged, from, isARP, isRequest, sha, a)
		p.pass(s, mates, packet.TypeARP, space{c, []cube{{own}}})
	}
	c, _ := cube(nil).with(in, untagged, from, isIPv4, src)
	p.pass(s, mates, packet.TypeIPv4, space{c, nil})
}

// pass proves what a VM sends in its own name: by a lemma for all VMs of its
// subnet on its host, if the flows make no difference between them, else for the
// VM alone.
func (p *prover) pass(s *seat, mates []seat, kind uint16, sp space) {
	if p.over() {
		return
	}
	arrivals, elsewhere := p.toCut(s.host, cutRoute, vmState(), sp)
	var failed map[netip.Prefix]bool
	for key, st := range arrivals {
		key = string([]byte{byte(kind >> 8), byte(kind)}) + key
		l := p.lemmas[key]
		if l == nil {
			l = p.lemma(s.host, kind, st, mates)
			p.lemmas[key] = l
		}
		if l.all {
			elsewhere = true
		}
		for a := range l.failed {
			if failed == nil {
				failed = make(map[netip.Prefix]bool)
			}
			failed[a] = true
		}
	}
	if !elsewhere && failed == nil {
		return
	}
	if elsewhere {
		failed = nil
	}
	p.items(s.host, s.vm, []seat{*s}, kind, failed, func(it *item) bool {
		part, ok := sp.narrow(it.terms...)
		for _, n := range it.negs {
			if !ok {
				return true
			}
			part, ok = part.without(n...)
		}
		if ok {
			p.prove(s.host, vmState(), part, it.want)
		}
		return !p.over()
	})
}

// toCut walks packets up to a table, and returns the states in which they come
// there, and whether some do not come there.
func (p *prover) toCut(h *host, table uint8, st *state, sp space) (arrivals map[string]*state, elsewhere bool) {
	arrivals = make(map[string]*state)
	p.start(h)
	p.cut = func(id uint8, st *state, _ space) bool {
		if id != table {
			return false
		}
		if key := st.key(); arrivals[key] == nil {
			c := *st
			arrivals[key] = &c
		}
		return true
	}
	p.leaf = func(sp space) {
		if _, ok, known := sp.witness(); ok || !known {
			elsewhere = true
			p.stop = true
		}
	}
	p.table(0, st, sp)
	p.cut = nil
	return arrivals, elsewhere
}

// lemma is what was found for all VMs of a subnet on a host.
type lemma struct {
	failed map[netip.Prefix]bool // destinations of which it is not true
	all    bool                  // too many of them
}

const maxFailed = 64

// lemma walks all that VMs of a subnet on a host may send from the cut on,
// whoever of them sends it.
func (p *prover) lemma(h *host, kind uint16, st *state, mates []seat) *lemma {
	l := &lemma{}
	base := cube{untagged, {words.EthSrc, 0xffff << 48, uint64(kind) << 48}}
	p.items(h, mates[0].vm, mates, kind, nil, func(it *item) bool {
		c, ok := base.with(it.terms...)
		if !ok {
			return true
		}
		sp := space{c, it.negs}
		p.start(h)
		p.leaf = func(sp space) {
			why := p.differ(it.want)
			if why == "" && p.odd == nil && it.want.out != nil {
				why = p.frames(it.want, sp)
			}
			if why == "" && p.odd == nil {
				return
			}
			if _, ok, known := sp.witness(); !ok && known {
				return
			}
			if l.failed == nil {
				l.failed = make(map[netip.Prefix]bool)
			}
			l.failed[it.atom] = true
			p.stop = true
		}
		p.table(cutRoute, st, sp)
		l.all = len(l.failed) > maxFailed
		return !l.all && p.ctx.Err() == nil
	})
	return l
}

// item is a part of what VMs may send in their own names, and what should become
// of it.
type item struct {
	atom  netip.Prefix
	terms []term
	negs  []cube
	want  *want
}

// items cuts what the VMs at some seats of one subnet on one host may send in
// their own names into parts of which the same is wanted. only, if not nil, has
// the destinations to care for.
func (p *prover) items(h *host, vm tenant.LookupRecord, seats []seat, kind uint16, only map[netip.Prefix]bool, yield func(*item) bool) {
	atoms := p.atoms[vm.RDID]
	one := p.forIPv4
	if kind == packet.TypeARP {
		atoms, one = p.targets(vm.VSID), p.forARP
	}
	for _, a := range atoms {
		if (only == nil || only[a]) && !one(h, seats, a, yield) {
			return
		}
	}
}

func (p *prover) forARP(h *host, seats []seat, a netip.Prefix, yield func(*item) bool) bool {
	for i := range seats {
		s := &seats[i]
		if s.vm.CA.Addr() == a.Addr() {
			continue // asks for its own
		}
		return yield(&item{atom: a, terms: []term{lower(words.ARPAddrs, a)}, want: p.sent(h, s.port, arpRequest(s, a.Addr()))})
	}
	return true
}

func (p *prover) forIPv4(h *host, seats []seat, a netip.Prefix, yield func(*item) bool) bool {
	s := &seats[0]
	v := p.oracle.Sent(h.name, s.port, *udp(s.vm.CA.Addr(), a.Addr(), 64, s.vm.MAC))
	switch {
	case v.Kind == oracle.Dropped && v.Reason == oracle.ToItself:
		if !p.fromSeat(s, a, []term{inPort(s.port)}, nil, yield) {
			return false
		}
		return len(seats) == 1 || p.fromSeat(&seats[1], a, nil, []cube{{inPort(s.port)}}, yield)
	case v.Kind == oracle.Delivered && !v.Tunnelled:
		for i := range seats {
			if x := &seats[i]; x.port == v.Port && !p.fromSeat(x, a, []term{inPort(x.port)}, nil, yield) {
				return false
			}
		}
		return p.fromSeat(s, a, nil, []cube{{inPort(v.Port)}}, yield)
	}
	return p.fromSeat(s, a, nil, nil, yield)
}

// fromSeat cuts what goes to a destination by the TTL and by whether it is an
// echo request, where that matters.
func (p *prover) fromSeat(s *seat, a netip.Prefix, terms []term, negs []cube, yield func(*item) bool) bool {
	h := s.host
	frame := func(ttl uint8) *packet.Frame { return udp(s.vm.CA.Addr(), a.Addr(), ttl, s.vm.MAC) }
	terms = append(terms, lower(words.IPv4, a))
	w := p.sent(h, s.port, frame(64))
	send := func(w *want, negs []cube, more ...term) bool {
		return yield(&item{a, append(slices.Clip(terms), more...), negs, w})
	}
	if w.Kind == oracle.Dropped && w.Reason == oracle.ToRouter {
		echo := frame(64)
		echo.IP.Proto, echo.L4 = packet.ProtoICMP, packet.L4{Type: packet.EchoRequest}
		return send(p.sent(h, s.port, echo), negs, isEcho...) && send(w, append(slices.Clip(negs), mustCube(isEcho)))
	}
	low := p.oracle.Sent(h.name, s.port, *frame(1))
	if alike := low; w.Kind == low.Kind {
		if low.Kind != oracle.Dropped {
			alike.Frame.IP.TTL = 64
		}
		if alike == w.Verdict {
			return send(w, negs)
		}
	}
	return send(p.sent(h, s.port, frame(0)), negs, ttlIs(0)) && send(p.sent(h, s.port, frame(1)), negs, ttlIs(1)) &&
		send(w, append(slices.Clip(negs), cube{{words.Transit, 0xfe << ttlShift, 0}}))
}

func mustCube(ts []term) cube {
	c, _ := cube(nil).with(ts...)
	return c
}

// strangers proves that ports which are no VM's send nothing.
func (p *prover) strangers(h *host) {
	none := uint32(1)
	negs := []cube{{inPort(0)}, {{words.InPort, 0xff00, 0xff00}}}
	for _, n := range h.portNumbers {
		_, vm := p.seats[seatKey{h.name, n}]
		if vm || h.ports[n].Tunnel {
			negs = append(negs, cube{inPort(n)})
		}
	}
	for ; h.ports[none].Number != 0; none++ {
	}
	f := udp(addr4(0x0a000001), addr4(0x0a000002), 64, someMAC)
	high := term{words.InPort, low32 &^ 0xffff, 0}
	p.prove(h, vmState(), space{mustCube([]term{high, untagged}), negs}, p.sent(h, none, f))
	f.Tagged = true
	p.prove(h, vmState(), space{mustCube([]term{high, tagged}), negs}, p.sent(h, none, f))
}
