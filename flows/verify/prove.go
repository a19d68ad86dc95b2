package verify

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
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
		if why := p.judge(x, sp); why != "" || p.odd != nil {
			p.stop = p.engine.refute(&p.walker, h, sp, x, why)
		}
	}
	p.table(0, st, sp)
}

// want asks the oracle for all packets that the policy does not tell from f.
func (p *prover) sent(h *host, port uint32, f *packet.Frame) *want {
	all := p.oracle.SentAll(h.name, port, *f)
	w := p.wanted(h, all[0], f)
	for _, v := range all[1:] {
		w.or = append(w.or, *p.wanted(h, v, f))
	}
	return w
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
	f := &packet.Frame{Dst: someMAC, Src: mac, Type: packet.TypeIPv4,
		IP: packet.IP{Src: src, Dst: dst, TTL: ttl, Proto: packet.ProtoUDP}, L4: packet.L4{Src: 1000, Dst: 53}}
	if dst.Is6() {
		f.Type = packet.TypeIPv6
	}
	return f
}

func arpRequest(s *seat, tpa netip.Addr) *packet.Frame {
	return &packet.Frame{Dst: everybody, Src: s.vm.MAC, Type: packet.TypeARP,
		ARP: packet.ARP{Op: packet.ARPRequest, SHA: s.vm.MAC, SPA: s.source(tpa), TPA: tpa}}
}

// nd returns a valid message of neighbour discovery in a VM's own name.
func nd(s *seat, kind uint8, dst, target netip.Addr) *packet.Frame {
	f := &packet.Frame{Dst: everybody, Src: s.vm.MAC, Type: packet.TypeIPv6,
		IP: packet.IP{Src: s.v6[0], Dst: dst, TTL: 255, Proto: packet.ProtoICMPv6}, L4: packet.L4{Type: kind}, ND: packet.ND{Target: target}}
	if kind == packet.NeighborSolicitation {
		f.ND.SLL = s.vm.MAC
	}
	return f
}

var (
	everybody  = tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	multicast6 = netip.MustParsePrefix("ff00::/8")
	linkNet    = netip.MustParsePrefix("fe80::/64")
	linkAll    = netip.MustParsePrefix("fe80::/10")
)

// kind is a sort of packets of which the way is proved for all VMs of a subnet
// together.
type kind uint8

const (
	kindIPv4 kind = iota
	kindARP
	kindIPv6 // but for solicitations
	kindSolicitation
)

// base returns the packets of a kind.
func (k kind) base() (c cube, negs []cube) {
	switch k {
	case kindIPv4:
		return cubeOf(untagged, isIPv4), nil
	case kindARP:
		return cubeOf(untagged, isARP), nil
	case kindIPv6:
		return cubeOf(untagged, isIPv6), []cube{mustCube(isSolicitation)}
	}
	return mustCube(append([]term{untagged}, isSolicitation...)), nil
}

func (k kind) whole() netip.Prefix {
	if k == kindIPv4 || k == kindARP {
		return all4
	}
	return all6
}

func cubeOf(ts ...term) cube { return mustCube(ts) }

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

// sender proves what one VM sends.
type sender struct {
	*prover
	s     *seat
	mates []seat
	base  []term
}

// port proves what a VM sends.
func (p *prover) port(s *seat, mates []seat) {
	vm := &s.vm
	other := vm.MAC
	other[5] ^= 1
	in, from := inPort(s.port), ethSrc(vm.MAC)
	strange := func(mac tenant.MAC) *packet.Frame { return &packet.Frame{Dst: everybody, Src: mac, Type: 0x88cc} }

	x := sender{p, s, mates, []term{in}}
	f := strange(vm.MAC)
	f.Tagged = true
	x.check(f, nil, tagged)
	x.check(strange(other), []cube{{from}}, untagged)
	x.base = []term{in, untagged, from}
	var spoken []cube
	if s.speaks(all4.Addr()) {
		spoken = append(spoken, cube{isIPv4}, cube{isARP})
		x.ipv4()
	}
	if s.speaks(all6.Addr()) {
		spoken = append(spoken, cube{isIPv6})
		x.ipv6()
	}
	x.check(strange(vm.MAC), spoken)
}

// check proves that the same becomes of all packets of a space as of f.
func (x *sender) check(f *packet.Frame, negs []cube, terms ...term) {
	c, ok := mustCube(x.base).with(terms...)
	if ok && !x.over() {
		x.prove(x.s.host, vmState(), space{c, negs}, x.sent(x.s.host, x.s.port, f))
	}
}

// passes proves what a VM sends in its own name.
func (x *sender) passes(k kind, negs []cube, terms ...term) {
	if c, ok := mustCube(x.base).with(terms...); ok {
		x.pass(x.s, x.mates, k, space{c, negs})
	}
}

// notOwn returns an address of a family that the VM does not have.
func (s *seat) notOwn(family netip.Prefix) netip.Addr {
	a, own := s.source(family.Addr()), s.own(family.Addr())
	for slices.Contains(own, a) {
		a = a.Next()
	}
	return a
}

// others proves what a VM sends from addresses that are not its own, but for the
// packets of negs.
func (x *sender) others(k kind, own []netip.Addr, negs []cube, family term) {
	s, whole := x.s, k.whole()
	dst := s.source(whole.Addr())
	if !forwards(x.policy, s.vm.IfaceID, dst.Is4()) {
		x.check(udp(s.notOwn(whole), dst, 64, s.vm.MAC), negs, family)
		return
	}
	src := flow.IPv4Src
	if dst.Is6() {
		src = flow.IPv6Src
	}
	for _, m := range oracle.Martians() {
		if m.Addr().Is4() != dst.Is4() {
			continue
		}
		terms := prefixTerms(src, m)
		from := m.Addr()
		for slices.Contains(own, from) {
			from = from.Next()
		}
		x.check(udp(from, dst, 64, s.vm.MAC), negs, append(slices.Clone(terms), family)...)
		negs = append(slices.Clip(negs), mustCube(terms))
	}
	x.passes(k, negs, family)
}

// forwards reports whether a VM may send from addresses of others of a family.
func forwards(p *tenant.Policy, iface string, v4 bool) bool {
	for r := range p.RecordsByIfaceID(iface) {
		if (r.Forwarding || r.Type == tenant.Wildcard) && r.CA.IsValid() && r.CA.Addr().Is4() == v4 {
			return true
		}
	}
	return false
}

func (x *sender) ipv4() {
	s, mac := x.s, x.s.vm.MAC
	asked := x.asks(false)
	sources := slices.Clone(asked)
	for _, a := range s.v4 {
		src := prefixTerms(flow.IPv4Src, single(a))
		sources = append(sources, mustCube(src))
		x.passes(kindIPv4, asked, append(src, isIPv4)...)
	}
	x.others(kindIPv4, s.v4, sources, isIPv4)

	sha := term{words.ARPSHA, low48, mac.Uint64()}
	var own, valid []cube
	ask := func(spa netip.Addr) {
		valid = append(valid, mustCube(append(prefixTerms(flow.ARPSPA, single(spa)), isARP, isRequest, sha)))
	}
	for _, a := range s.v4 {
		target := prefixTerms(flow.ARPTPA, single(a))
		own = append(own, mustCube(target))
		x.check(arpRequest(s, a), nil, append(target, isARP)...)
		ask(a)
		valid = append(valid, mustCube(append(prefixTerms(flow.ARPSPA, single(a)), isARP, isReply, sha, term{words.EthDst, 1 << 40, 0})))
	}
	ask(netip.IPv4Unspecified())
	for _, c := range valid {
		x.passes(kindARP, own, c...)
	}
	wrong := arpRequest(s, s.notOwn(all4))
	wrong.ARP.Op = packet.ARPReply
	if s.wild4 {
		request, reply := cubeOf(isARP, isRequest, sha), cubeOf(isARP, isReply, sha, term{words.EthDst, 1 << 40, 0})
		none := prefixTerms(flow.ARPSPA, single(netip.IPv4Unspecified()))
		x.passes(kindARP, own, request...)
		x.passes(kindARP, append(slices.Clip(own), mustCube(none)), reply...)
		f := *wrong
		f.Dst, f.ARP.SPA = someMAC, netip.IPv4Unspecified()
		x.check(&f, own, append(none, reply...)...)
		valid = append(valid, request, reply)
	}
	x.check(wrong, append(own, valid...), isARP)
}

func (x *sender) ipv6() {
	s, mac := x.s, x.s.vm.MAC
	group, none := netip.IPv6LinkLocalAllNodes(), netip.IPv6Unspecified()
	message := func(kind uint8) (*packet.Frame, term) {
		f := nd(s, packet.NeighborSolicitation, s.v6[0], s.v6[0])
		f.L4.Type, f.ND = kind, packet.ND{}
		return f, icmpv6(kind)
	}
	special := x.asks(true)
	for _, kind := range []uint8{packet.RouterAdvertisement, packet.Redirect} {
		f, is := message(kind)
		special = append(special, cube{is})
		x.check(f, nil, isIPv6, is)
	}
	ns, na := icmpv6(packet.NeighborSolicitation), icmpv6(packet.NeighborAdvertisement)
	special = append(special, cube{ns}, cube{na})

	var sources []cube
	for _, a := range s.v6 {
		src := prefixTerms(flow.IPv6Src, single(a))
		sources = append(sources, mustCube(src))
		x.passes(kindIPv6, special, append(src, isIPv6)...)
	}
	x.others(kindIPv6, s.v6, append(slices.Clip(sources), special...), isIPv6)

	// Solicitations.
	full := []term{isIPv6, codeIsZero, ttlIs(255)}
	lla := func(word uint8, m tenant.MAC) term { return term{word, low48, m.Uint64()} }
	var own, valid []cube
	for _, a := range s.v6 {
		target := prefixTerms(flow.NDTarget, single(a))
		own = append(own, mustCube(append(target, codeIsZero)))
		x.check(nd(s, packet.NeighborSolicitation, group, a), nil, append(target, isIPv6, ns, codeIsZero)...)
		valid = append(valid, mustCube(append(append(prefixTerms(flow.IPv6Src, single(a)), full...), ns, lla(words.NDSLL, mac))))
	}
	valid[len(valid)-1] = mustCube(append(append(prefixTerms(flow.IPv6Src, linkNet), full...), ns, lla(words.NDSLL, mac)))
	valid = append(valid, mustCube(append(append(prefixTerms(flow.IPv6Src, single(none)), full...), ns, lla(words.NDSLL, tenant.MAC{}))))
	for _, c := range valid {
		x.passes(kindSolicitation, own, c...)
	}
	if s.wild6 {
		c := mustCube(append(slices.Clone(full), ns, lla(words.NDSLL, mac)))
		noSource := mustCube(isDetection)
		x.passes(kindSolicitation, append(slices.Clip(own), noSource), c...)
		f := nd(s, packet.NeighborSolicitation, group, s.notOwn(all6))
		f.IP.Src = none
		x.check(f, own, append(slices.Clip(c), isDetection...)...)
		valid = append(valid, c)
	}
	wrong := nd(s, packet.NeighborSolicitation, group, s.notOwn(all6))
	wrong.ND.SLL[5] ^= 1
	x.check(wrong, append(own, valid...), isIPv6, ns)

	// Advertisements.
	valid = nil
	toAll := mustCube(prefixTerms(flow.IPv6Dst, multicast6))
	x.check(nd(s, packet.NeighborAdvertisement, group, s.v6[0]), nil, append(slices.Clone(toAll), isIPv6, na)...)
	for _, a := range s.v6 {
		for _, m := range []tenant.MAC{mac, {}} {
			c := mustCube(append(append(append(prefixTerms(flow.IPv6Src, single(a)), full...), prefixTerms(flow.NDTarget, single(a))...), na, lla(words.NDTLL, m)))
			valid = append(valid, c)
			x.passes(kindIPv6, []cube{toAll}, c...)
		}
	}
	if s.wild6 {
		for _, m := range []tenant.MAC{mac, {}} {
			c := mustCube(append(slices.Clone(full), na, lla(words.NDTLL, m)))
			valid = append(valid, c)
			x.passes(kindIPv6, []cube{toAll}, c...)
		}
	}
	other := nd(s, packet.NeighborAdvertisement, s.v6[0], s.notOwn(all6))
	other.IP.TTL = 254
	x.check(other, append(valid, toAll), isIPv6, na)
}

// pass proves what a VM sends in its own name: by a lemma for all VMs of its
// subnet on its host, if the flows make no difference between them, else for the
// VM alone.
func (p *prover) pass(s *seat, mates []seat, k kind, sp space) {
	if p.over() {
		return
	}
	arrivals, elsewhere := p.toCut(s.host, cutRoute, vmState(), sp)
	var failed map[netip.Prefix]bool
	for key, st := range arrivals {
		key = string([]byte{byte(k)}) + key
		l := p.lemmas[key]
		if l == nil {
			l = p.lemma(s.host, k, st, mates)
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
	p.items(s.host, s.vm, []seat{*s}, k, failed, func(it *item) bool {
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
func (p *prover) lemma(h *host, k kind, st *state, mates []seat) *lemma {
	l := &lemma{}
	p.anyPunts = p.puntsRight(h, mates)
	defer func() { p.anyPunts = false }()
	base, negs := k.base()
	p.items(h, mates[0].vm, mates, k, nil, func(it *item) bool {
		c, ok := base.with(it.terms...)
		if !ok {
			return true
		}
		sp := space{c, append(slices.Clip(it.negs), negs...)}
		p.start(h)
		p.leaf = func(sp space) {
			why := p.judge(it.want, sp)
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
func (p *prover) items(h *host, vm tenant.LookupRecord, seats []seat, k kind, only map[netip.Prefix]bool, yield func(*item) bool) {
	whole := k.whole()
	var speak []seat // the VMs that send this kind at all
	for _, s := range seats {
		if s.speaks(whole.Addr()) {
			speak = append(speak, s)
		}
	}
	atoms, one := p.atoms[vm.RDID], p.forIP
	switch k {
	case kindARP:
		atoms, one = p.targets(vm.VSID, whole), p.forARP
	case kindSolicitation:
		atoms, one = p.targets(vm.VSID, whole), p.forSolicitation
	}
	for _, a := range atoms {
		if a.Addr().Is4() == whole.Addr().Is4() && (only == nil || only[a]) && !one(h, speak, a, yield) {
			return
		}
	}
}

// question is a way to ask for a MAC, or to answer such a question.
type question struct {
	frame *packet.Frame
	terms []term
	negs  []cube
}

// questions yields the ways to ask for an address, as one part where the same
// becomes of them all.
func (p *prover) questions(h *host, s *seat, a netip.Prefix, target []term, not []cube, all []question, yield func(*item) bool) bool {
	wants := make([]*want, len(all))
	alike := true
	for i, q := range all {
		wants[i] = p.sent(h, s.port, q.frame)
		alike = alike && wants[i].Kind == oracle.Dropped && wants[i].Verdict == wants[0].Verdict
	}
	if alike {
		return yield(&item{atom: a, terms: target, negs: not, want: wants[0]})
	}
	for i, q := range all {
		negs := append(slices.Clip(not), q.negs...)
		if w := wants[i]; w.Kind == oracle.Delivered && !w.Tunnelled {
			negs = append(slices.Clip(negs), cube{inPort(w.Port)}) // who has the address does not ask for it
		}
		if !yield(&item{atom: a, terms: append(slices.Clip(target), q.terms...), negs: negs, want: wants[i]}) {
			return false
		}
	}
	return true
}

// itself yields what becomes of the questions of VMs that would get their own MAC
// for an answer, by a wildcard, and returns the others.
func (p *prover) itself(h *host, seats []seat, a netip.Prefix, target []term, ask func(*seat) *packet.Frame, yield func(*item) bool) (others []seat, not []cube, ok bool) {
	for i := range seats {
		s := &seats[i]
		if slices.Contains(s.own(a.Addr()), a.Addr()) {
			continue // asks for its own
		}
		if s.wild4 || s.wild6 {
			if w := p.sent(h, s.port, ask(s)); w.Kind == oracle.Dropped && (w.Reason == oracle.ARPOwn || w.Reason == oracle.NDOwn) {
				if !yield(&item{atom: a, terms: append(slices.Clip(target), inPort(s.port)), want: w}) {
					return nil, nil, false
				}
				not = append(not, cube{inPort(s.port)})
				continue
			}
		}
		others = append(others, *s)
	}
	return others, not, true
}

func (p *prover) forARP(h *host, seats []seat, a netip.Prefix, yield func(*item) bool) bool {
	target := prefixTerms(flow.ARPTPA, a)
	others, not, ok := p.itself(h, seats, a, target, func(s *seat) *packet.Frame { return arpRequest(s, a.Addr()) }, yield)
	if ok && len(others) > 0 {
		s := &others[0]
		noSender, group := prefixTerms(flow.ARPSPA, single(netip.IPv4Unspecified())), cube{isGroup}
		probe, request, toOne := arpRequest(s, a.Addr()), arpRequest(s, a.Addr()), arpRequest(s, a.Addr())
		probe.ARP.SPA, toOne.Dst = netip.IPv4Unspecified(), someMAC
		reply := *toOne
		reply.ARP.Op = packet.ARPReply
		return p.questions(h, s, a, target, not, []question{
			{probe, append(noSender, isRequest), nil},
			{request, []term{isRequest, isGroup}, []cube{mustCube(noSender)}},
			{toOne, []term{isRequest}, []cube{mustCube(noSender), group}},
			{&reply, []term{isReply}, []cube{mustCube(noSender), group}},
		}, yield)
	}
	return ok
}

func (p *prover) forSolicitation(h *host, seats []seat, a netip.Prefix, yield func(*item) bool) bool {
	target := prefixTerms(flow.NDTarget, a)
	others, not, ok := p.itself(h, seats, a, target, func(s *seat) *packet.Frame {
		return nd(s, packet.NeighborSolicitation, netip.IPv6LinkLocalAllNodes(), a.Addr())
	}, yield)
	if ok && len(others) > 0 {
		s := &others[0]
		ask := func(dst tenant.MAC) *packet.Frame {
			f := nd(s, packet.NeighborSolicitation, netip.IPv6LinkLocalAllNodes(), a.Addr())
			f.Dst = dst
			return f
		}
		detection := ask(everybody)
		detection.IP.Src, detection.ND.SLL = netip.IPv6Unspecified(), tenant.MAC{}
		noSource := mustCube(isDetection)
		return p.questions(h, s, a, target, not, []question{
			{detection, isDetection, nil},
			{ask(everybody), []term{isGroup}, []cube{noSource}},
			{ask(someMAC), nil, []cube{noSource, {isGroup}}},
		}, yield)
	}
	return ok
}

func (p *prover) forIP(h *host, seats []seat, a netip.Prefix, yield func(*item) bool) bool {
	s := &seats[0]
	all := p.oracle.SentAll(h.name, s.port, *udp(s.source(a.Addr()), a.Addr(), 64, s.vm.MAC))
	v := all[0]
	switch {
	case len(all) > 1: // one of the VMs may be a next hop
		for i := range seats {
			if x := &seats[i]; !p.fromSeat(x, a, []term{inPort(x.port)}, nil, yield) {
				return false
			}
		}
		return true
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

// noProto is an IP protocol that no flow tells from others.
const noProto = 253 // RFC 3692

// fromSeat cuts what goes to a destination by the source, where it is link-local
// and that matters, by the TTL and by whether it is an echo request, likewise.
func (p *prover) fromSeat(s *seat, a netip.Prefix, terms []term, negs []cube, yield func(*item) bool) bool {
	h := s.host
	src := s.source(a.Addr())
	frame := func(ttl uint8) *packet.Frame { return udp(src, a.Addr(), ttl, s.vm.MAC) }
	dst := flow.IPv4Dst
	if a.Addr().Is6() {
		dst = flow.IPv6Dst
	}
	terms = append(terms, prefixTerms(dst, a)...)
	w := p.sent(h, s.port, frame(64))
	send := func(w *want, negs []cube, more ...term) bool {
		return yield(&item{a, append(slices.Clip(terms), more...), negs, w})
	}
	if w.Kind == oracle.Dropped && w.Reason == oracle.ToRouter {
		echo, isEcho := frame(64), isEcho
		echo.IP.Proto, echo.L4 = packet.ProtoICMP, packet.L4{Type: packet.EchoRequest}
		if a.Addr().Is6() {
			echo.IP.Proto, echo.L4, isEcho = packet.ProtoICMPv6, packet.L4{Type: packet.EchoRequest6}, isEcho6
		}
		if !send(p.sent(h, s.port, echo), negs, isEcho...) {
			return false
		}
		negs = append(slices.Clip(negs), mustCube(isEcho))
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			f, is := frame(64), term{words.Transit, 0xff, uint64(proto)}
			f.IP.Proto = proto
			if !send(p.sent(h, s.port, f), negs, is) {
				return false
			}
			negs = append(negs, cube{is})
		}
		other := frame(64)
		other.IP.Proto, other.L4 = noProto, packet.L4{}
		return send(p.sent(h, s.port, other), negs)
	}
	if src.Is6() {
		f := udp(tenant.LinkLocal(s.vm.MAC), a.Addr(), 64, s.vm.MAC)
		if link := p.sent(h, s.port, f); link.Kind == oracle.Dropped && link.Reason == oracle.LinkLocal && link.Verdict != w.Verdict {
			near := prefixTerms(flow.IPv6Src, linkAll)
			if !send(link, negs, near...) {
				return false
			}
			negs = append(slices.Clip(negs), mustCube(near))
		}
	}
	low := p.oracle.Sent(h.name, s.port, *frame(1))
	if alike := low; w.Kind == low.Kind && len(w.or) == 0 {
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
