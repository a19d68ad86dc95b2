package verify

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// underlay is one of the two families of outer addresses.
type underlay struct {
	src, dst flow.Field
	four     bool
	none     []term // the addresses of the other family
}

var underlays = func() (us [2]underlay) {
	us[0] = underlay{src: flow.TunSrc, dst: flow.TunDst, four: true}
	us[1] = underlay{src: flow.TunIPv6Src, dst: flow.TunIPv6Dst, none: []term{{words.TunAddrs, all64, 0}}}
	for w := uint8(words.Tun6Src); w < words.Regs; w++ {
		us[0].none = append(us[0].none, term{w, all64, 0})
	}
	return us
}()

// state is what comes in by a tunnel port from the underlay.
func (u *underlay) state() *state {
	s := &state{}
	s.words[words.TunID] = &expr{known: low32 << 32, refs: []ref{{low32, words.TunID, 0}}}
	for _, t := range u.none {
		s.words[t.word] = zero
	}
	return s
}

func keyTerm(p netip.Prefix) term { return lower(words.TunID, p) }

// keyPrefix has the keys of a subnet, as if they were addresses.
func keyPrefix(v tenant.VSID, bits int) netip.Prefix {
	return netip.PrefixFrom(addr4(v.Key(0)), bits)
}

// inbound is what a host may get by one of its tunnel ports.
type inbound struct {
	*prover
	h     *host
	base  []term
	under *underlay
	keys  []netip.Prefix // that the policy tells apart
	outer packet.Outer   // of a packet that comes from a peer
	rep   func(mac tenant.MAC) *packet.Frame
}

// tunnels proves what a host does with what comes from the underlay.
func (p *prover) tunnels(h *host) {
	frame := func(mac tenant.MAC) *packet.Frame {
		f := udp(addr4(0x0a000001), addr4(0x0a000002), 64, someMAC)
		f.Dst = mac
		return f
	}
	t := h.view.Tunnels
	if t.PerVSID == nil {
		if t.Flow != 0 {
			for i := range underlays {
				var ps []netip.Prefix
				for s := range p.policy.Subnets() {
					ps = append(ps, keyPrefix(s.VSID, 24))
				}
				u := &underlays[i]
				in := inbound{prover: p, h: h, under: u, base: append([]term{inPort(t.Flow)}, u.none...), keys: pieces(all4, ps), rep: frame}
				in.prove()
			}
		}
		return
	}
	var negs []cube
	var taken []uint32
	for _, v := range slices.Sorted(maps.Keys(t.PerVSID)) {
		if t.PerVSID[v] == 0 {
			continue
		}
		key := keyPrefix(v, 32)
		for i := range underlays {
			u := &underlays[i]
			in := inbound{prover: p, h: h, under: u, base: append([]term{inPort(t.PerVSID[v]), keyTerm(key)}, u.none...), keys: []netip.Prefix{key}, rep: frame}
			in.prove()
		}
		negs = append(negs, cube{keyTerm(key)})
		taken = append(taken, v.Key(0))
	}
	if t.Flow == 0 {
		return
	}
	o := packet.Outer{Src: addr4(0xc0000201), Dst: addr4(0xc0000202)}
	for slices.Contains(taken, o.Key) {
		o.Key++
	}
	f := frame(someMAC)
	for i := range underlays {
		for _, tag := range []term{untagged, tagged} {
			u := &underlays[i]
			f.Tagged = tag == tagged
			p.prove(h, u.state(), space{mustCube(append([]term{inPort(t.Flow), tag}, u.none...)), negs}, p.received(h, o, f))
		}
	}
}

func (in *inbound) check(f *packet.Frame, o packet.Outer, negs []cube, terms ...term) {
	c, ok := mustCube(in.base).with(terms...)
	if ok && !in.over() {
		in.prover.prove(in.h, in.under.state(), space{c, negs}, in.received(in.h, o, f))
	}
}

// unowned returns an address that no host has.
func (in *inbound) unowned() netip.Addr {
	a := addr4(0xc0000201)
	if !in.under.four {
		a = netip.MustParseAddr("2001:db8::a01")
	}
	for in.owners[a] != nil {
		a = a.Next()
	}
	return a
}

func (in *inbound) prove() {
	if in.over() {
		return
	}
	group := in.rep(tenant.MAC{1, 0, 0x5e, 0, 0, 1})
	none := in.unowned()
	o := packet.Outer{Src: none, Dst: none, Key: number4(in.keys[0].Addr())}
	f := *group
	f.Tagged = true
	in.check(&f, o, nil, tagged)

	var own []netip.Addr
	var mine, all []cube
	for _, a := range in.ownerAddrs {
		if a.Is4() != in.under.four {
			continue
		}
		all = append(all, mustCube(prefixTerms(in.under.src, single(a))))
		if in.owners[a] == in.h {
			own = append(own, a)
			mine = append(mine, mustCube(prefixTerms(in.under.dst, single(a))))
		}
	}
	in.check(group, o, mine, untagged)
	var spaces []space
	for _, to := range own {
		o.Dst, o.Src = to, none
		dst := append(prefixTerms(in.under.dst, single(to)), untagged)
		in.check(group, o, all, dst...)
		for _, a := range in.ownerAddrs {
			if a.Is4() != in.under.four {
				continue
			}
			o.Src = a
			both := append(prefixTerms(in.under.src, single(a)), dst...)
			if v := in.oracle.Received(in.h.name, o, *group); v.Kind == oracle.Dropped && v.Reason == oracle.UnknownPA {
				in.check(group, o, nil, both...)
				continue
			}
			in.outer = o
			c, _ := mustCube(in.base).with(both...)
			spaces = append(spaces, space{c, nil})
		}
	}
	in.fromPeers(spaces)
}

// fromPeers proves what comes from other hosts of the policy: by a lemma for all
// of them if the flows make no difference between them.
func (in *inbound) fromPeers(spaces []space) {
	lemmas := make(map[string]bool)
	for _, sp := range spaces {
		if in.over() {
			return
		}
		arrivals, elsewhere := in.toCut(in.h, cutVSID, in.under.state(), sp)
		for key, st := range arrivals {
			ok, done := lemmas[key]
			if !done {
				ok = in.lemma(st)
				lemmas[key] = ok
			}
			elsewhere = elsewhere || !ok
		}
		if !elsewhere {
			continue
		}
		if in.under.four {
			in.outer.Src = addr4(uint32(valueOf(sp.cube, words.TunAddrs) >> 32))
			in.outer.Dst = addr4(uint32(valueOf(sp.cube, words.TunAddrs)))
		} else {
			in.outer.Src = addr16(valueOf(sp.cube, words.Tun6Src), valueOf(sp.cube, words.Tun6Src+1))
			in.outer.Dst = addr16(valueOf(sp.cube, words.Tun6Dst), valueOf(sp.cube, words.Tun6Dst+1))
		}
		in.items(func(it *item) bool {
			part, ok := sp.narrow(it.terms...)
			for _, n := range it.negs {
				if !ok {
					return true
				}
				part, ok = part.without(n...)
			}
			if ok {
				in.prover.prove(in.h, in.under.state(), part, it.want)
			}
			return !in.over()
		})
	}
}

func valueOf(c cube, word uint8) uint64 { _, v := c.find(word); return v }

// lemma walks all that peers may send from the cut on.
func (in *inbound) lemma(st *state) (ok bool) {
	ok = true
	base, _ := mustCube(in.base).with(untagged)
	in.items(func(it *item) bool {
		c, some := base.with(it.terms...)
		if !some {
			return true
		}
		in.start(in.h)
		in.leaf = func(sp space) {
			why := in.judge(it.want, sp)
			if why == "" && in.odd == nil {
				return
			}
			if _, some, known := sp.witness(); some || !known {
				ok = false
				in.stop = true
			}
		}
		in.table(cutVSID, st, space{c, it.negs})
		return ok && in.ctx.Err() == nil
	})
	return ok
}

// items cuts what peers may send into parts of which the same is wanted.
func (in *inbound) items(yield func(*item) bool) {
	group := in.rep(tenant.MAC{1, 0, 0x5e, 0, 0, 1})
	ask := func(f *packet.Frame, key netip.Prefix) *want {
		o := in.outer
		o.Key = number4(key.Addr())
		return in.received(in.h, o, f)
	}
	if !yield(&item{terms: []term{isGroup}, want: ask(group, in.keys[0])}) {
		return
	}
	macs := make(map[tenant.VSID][]tenant.MAC)
	for _, n := range in.h.portNumbers {
		if s, ok := in.seats[seatKey{in.h.name, n}]; ok {
			macs[s.vm.VSID] = append(macs[s.vm.VSID], s.vm.MAC)
		}
	}
	for _, k := range in.keys {
		key, unicast := keyTerm(k), cube{isGroup}
		vsid := tenant.VSID(number4(k.Addr()) >> 8)
		w := ask(in.rep(someMAC), k)
		if w.Kind == oracle.Dropped && w.Reason == oracle.UnknownVSID {
			if !yield(&item{atom: k, terms: []term{key}, negs: []cube{unicast}, want: w}) {
				return
			}
			continue
		}
		f := in.rep(someMAC)
		f.Type, f.IP, f.L4 = 0x88cc, packet.IP{}, packet.L4{}
		if !yield(&item{atom: k, terms: []term{key}, negs: []cube{unicast, {isIPv4}, {isARP}, {isIPv6}}, want: ask(f, k)}) {
			return
		}
		for _, t := range []uint16{packet.TypeIPv4, packet.TypeARP, packet.TypeIPv6} {
			if !in.protocol(k, t, macs[vsid], ask, yield) {
				return
			}
		}
	}
}

// protocol cuts what is of one protocol for one subnet by the VM.
func (in *inbound) protocol(k netip.Prefix, t uint16, macs []tenant.MAC, ask func(*packet.Frame, netip.Prefix) *want, yield func(*item) bool) bool {
	to := func(m tenant.MAC) *want { return ask(&packet.Frame{Dst: m, Src: someMAC, Type: t, Cut: true}, k) }
	terms, negs := []term{keyTerm(k), ethType(t)}, []cube{{isGroup}}
	nobody := someMAC
	for slices.Contains(macs, nobody) {
		nobody[4]--
	}
	w := to(nobody)
	if w.Reason == oracle.TunnelProtocol {
		return yield(&item{atom: k, terms: terms, negs: negs, want: w})
	}
	for _, m := range macs {
		if !yield(&item{atom: k, terms: append(slices.Clip(terms), ethDst(m)), negs: negs[:1:1], want: to(m)}) {
			return false
		}
		negs = append(negs, cube{ethDst(m)})
	}
	return yield(&item{atom: k, terms: terms, negs: negs, want: w})
}

// ordered is for reports, which must not depend on who was faster.
func ordered(a, b *Counterexample) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Frame.String(), b.Frame.String()))
}
