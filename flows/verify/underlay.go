package verify

import (
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// underlay brings a packet to the host that has its outer destination.
func (w *walker) underlay(o *sent, sp space) {
	st := &o.state
	if w.learning {
		w.leafOf(sp)
		return
	}
	w.tuns++
	oldOuter := w.outer
	defer func() { w.tuns--; w.outer = oldOuter }()
	if w.tuns == 1 {
		// Where it depends on the packet it is none: no flow of ours does that.
		w.outer, _ = outerOf(st, sp.cube)
	}
	k, addrs := st.resolve(words.TunAddrs, sp.cube)
	if k&low32 == low32 && addrs&low32 == 0 {
		w.toOwner(words.Of(flow.TunIPv6Dst), st, sp)
	} else {
		w.toOwner(words.Of(flow.TunDst), st, sp)
	}
}

// outerOf returns the outer header where all packets of c have the same.
func outerOf(st *state, c cube) (o packet.Outer, ok bool) {
	kk, key := st.resolve(words.TunID, c)
	ka, addrs := st.resolve(words.TunAddrs, c)
	if ka != all64 || kk != all64 {
		return o, false
	}
	if addrs&low32 != 0 {
		return packet.Outer{Src: addr4(uint32(addrs >> 32)), Dst: addr4(uint32(addrs)), Key: uint32(key)}, true
	}
	var v [4]uint64
	for i := range v {
		k, x := st.resolve(uint8(words.Tun6Src+i), c)
		if k != all64 {
			return o, false
		}
		v[i] = x
	}
	return packet.Outer{Src: addr16(v[0], v[1]), Dst: addr16(v[2], v[3]), Key: uint32(key)}, true
}

// toOwner hands packets to the hosts that have their outer destination, which is
// in a field of one family.
func (w *walker) toOwner(at words.Place, st *state, sp space) {
	field := flow.TunDst
	if at.Wide {
		field = flow.TunIPv6Dst
	}
next:
	for _, dst := range w.net.ownerAddrs {
		if dst.Is6() != at.Wide {
			continue
		}
		var terms []term
		for _, t := range spread(field, flow.Addr(dst), flow.Ones(field.Info().Bits)) {
			k, v := st.resolve(t.word, sp.cube)
			if (v^t.val)&k&t.mask != 0 {
				continue next
			}
			var ok bool
			if terms, ok = st.demand(terms, t.word, t.mask&^k, t.val&^k); !ok {
				continue next
			}
		}
		if len(terms) == 0 {
			w.arrive(w.net.owners[dst], st, sp)
			return
		}
		if part, ok := sp.narrow(terms...); ok {
			w.arrive(w.net.owners[dst], st, part)
		}
		var ok bool
		if sp, ok = sp.without(terms...); !ok {
			return
		}
	}
	w.lose(nil, sim.LossNoHost, sp)
}

// arrive hands a packet to the tunnel port of a host that takes its key.
func (w *walker) arrive(h *host, st *state, sp space) {
	if h == nil {
		w.lose(nil, sim.LossNoHost, sp)
		return
	}
	k, key := st.resolve(words.TunID, sp.cube)
	if k&low32 == low32 {
		if port, ok := h.tunnelPort(uint32(key)); ok {
			w.enter(h, port, st, sp)
		} else {
			w.lose(h, sim.LossNoTunnel, sp)
		}
		return
	}
	for n, port := range h.keyed {
		if (uint64(n)^key)&k&low32 != 0 {
			continue
		}
		terms, ok := st.demand(nil, words.TunID, low32&^k, uint64(n)&^k)
		if !ok {
			continue
		}
		if part, ok := sp.narrow(terms...); ok {
			w.enter(h, port, st, part)
		}
		if sp, ok = sp.without(terms...); !ok {
			return
		}
	}
	if h.anyKey != 0 {
		w.enter(h, h.anyKey, st, sp)
	} else {
		w.lose(h, sim.LossNoTunnel, sp)
	}
}

// enter walks a packet through one more host.
func (w *walker) enter(h *host, port uint32, st *state, sp space) {
	if len(w.hops) == sim.MaxHops {
		w.lose(h, sim.LossTooFar, sp)
		return
	}
	old := w.cur
	w.hops = append(w.hops, hop{host: h})
	w.cur = len(w.hops) - 1
	if !w.remembered(h, port, st, sp) {
		in := *st
		for word := range in.words {
			if word == words.Metadata || word >= words.Regs && word < words.Regs+8 {
				in.words[word] = nil
			}
		}
		in.words[words.InPort] = &expr{known: all64, val: uint64(port)}
		w.table(0, &in, sp)
	}
	w.hops = w.hops[:len(w.hops)-1]
	w.cur = old
}

// memoKey is a frame without a tag that comes to a host.
type memoKey struct {
	host  *host
	outer packet.Outer
	mac   uint64
	kind  uint16
}

// memo is what becomes of all such frames: one flow ends them all, and no flow
// changes them.
type memo struct {
	ok   bool
	end  sim.End
	last *rule
	tab  uint8
	port uint32
	way  []trod
}

// remembered does at once what was done with a like frame before.
func (w *walker) remembered(h *host, port uint32, st *state, sp space) bool {
	if w.tuns != 1 || w.cut != nil || w.learning {
		return false
	}
	kd, dst := st.resolve(words.EthDst, sp.cube)
	kt, typ := st.resolve(words.EthSrc, sp.cube)
	o, ok := outerOf(st, sp.cube)
	if !ok || kd != all64 || dst&^low48 != 0 || kt>>48 != 0xffff {
		return false
	}
	if from := w.hops[0].host; from != w.memoHost {
		w.memo, w.memoHost = make(map[memoKey]*memo), from
	}
	mk := memoKey{h, o, dst, uint16(typ >> 48)}
	m := w.memo[mk]
	if m == nil {
		m = w.learn(h, port, mk)
		w.memo[mk] = m
	}
	if !m.ok {
		return false
	}
	w.way = append(w.way, m.way...)
	if m.port != 0 {
		w.outs = append(w.outs, sent{host: h, hop: w.cur, port: m.port, state: *st})
		w.hops[w.cur].sends++
	}
	w.end(m.end, m.tab, m.last, sp)
	if m.port != 0 {
		w.hops[w.cur].sends--
		w.outs = w.outs[:len(w.outs)-1]
	}
	w.way = w.way[:len(w.way)-len(m.way)]
	return true
}

// learn walks all frames of a key through a host.
func (w *walker) learn(h *host, port uint32, mk memoKey) *memo {
	m := &memo{}
	sub := walker{net: w.net, learning: true}
	sub.start(h)
	n := 0
	sub.leaf = func(space) {
		n++
		last := &sub.hops[0]
		m.ok = n == 1 && sub.odd == nil && len(sub.lost) == 0 && len(sub.outs) <= 1
		if m.ok && len(sub.outs) == 1 {
			o := &sub.outs[0]
			m.ok = !o.tunnel && !o.back && o.state.dec == 0
			for word := range o.state.words {
				m.ok = m.ok && (!isFrame(word) || word == words.EthDst || o.state.words[word] == nil)
			}
			k, v := o.state.resolve(words.EthDst, cube{{words.EthDst, tagBits, 0}})
			m.ok = m.ok && k == all64 && v == mk.mac
			m.port = o.port
		}
		m.end, m.tab, m.last = last.end, last.table, last.last
		m.way = slices.Clone(sub.way)
		sub.stop = !m.ok
	}
	var st state
	st.words[words.InPort] = &expr{known: all64, val: uint64(port)}
	st.words[words.TunID] = &expr{known: all64, val: uint64(mk.outer.Key)}
	for word := words.TunAddrs; word < words.Regs; word++ {
		st.words[word] = zero
	}
	src, dst := flow.TunSrc, flow.TunDst
	if mk.outer.Dst.Is6() {
		src, dst = flow.TunIPv6Src, flow.TunIPv6Dst
	}
	for f, a := range map[flow.Field]netip.Addr{src: mk.outer.Src, dst: mk.outer.Dst} {
		for _, t := range spread(f, flow.Addr(a), flow.Ones(f.Info().Bits)) {
			st.set(t.word, t.mask, t.val)
		}
	}
	st.words[words.EthDst] = &expr{known: low48, val: mk.mac, refs: []ref{{tagBits, words.EthDst, 0}}}
	sub.table(0, &st, space{cube: cube{{words.EthDst, tagBits, 0}, {words.EthSrc, 0xffff << 48, uint64(mk.kind) << 48}}})
	return m
}
