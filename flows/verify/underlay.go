package verify

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
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
	ka, addrs := st.resolve(words.TunAddrs, sp.cube)
	kk, key := st.resolve(words.TunID, sp.cube)
	if w.tuns == 1 {
		w.outer = outer{} // depends on the packet: no flow of ours does that
		if ka == all64 && kk == all64 {
			w.outer = outer{uint32(addrs >> 32), uint32(addrs), uint32(key)}
		}
	}
	if ka&low32 == low32 {
		w.arrive(w.net.owners[uint32(addrs)], st, sp)
		return
	}
	for _, dst := range w.net.ownerAddrs {
		if (uint64(dst)^addrs)&ka&low32 != 0 {
			continue
		}
		terms, ok := st.demand(nil, words.TunAddrs, low32&^ka, uint64(dst)&^ka)
		if !ok {
			continue
		}
		if part, ok := sp.narrow(terms...); ok {
			w.arrive(w.net.owners[dst], st, part)
		}
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

// memoKey is a frame of IPv4 without a tag that comes to a host.
type memoKey struct {
	host *host
	outer
	mac uint64
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
	ka, addrs := st.resolve(words.TunAddrs, sp.cube)
	kk, key := st.resolve(words.TunID, sp.cube)
	kd, dst := st.resolve(words.EthDst, sp.cube)
	kt, typ := st.resolve(words.EthSrc, sp.cube)
	if ka != all64 || kk != all64 || kd != all64 || dst&^low48 != 0 || kt>>48 != 0xffff || typ>>48 != 0x0800 {
		return false
	}
	if from := w.hops[0].host; from != w.memoHost {
		w.memo, w.memoHost = make(map[memoKey]*memo), from
	}
	mk := memoKey{h, outer{uint32(addrs >> 32), uint32(addrs), uint32(key)}, dst}
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
	st.words[words.TunID] = &expr{known: all64, val: uint64(mk.key)}
	st.words[words.TunAddrs] = &expr{known: all64, val: uint64(mk.src)<<32 | uint64(mk.dst)}
	for word := words.Tun6Src; word < words.Regs; word++ {
		st.words[word] = zero
	}
	st.words[words.EthDst] = &expr{known: low48, val: mk.mac, refs: []ref{{tagBits, words.EthDst, 0}}}
	sub.table(0, &st, space{cube: cube{{words.EthDst, tagBits, 0}, {words.EthSrc, 0xffff << 48, 0x0800 << 48}}})
	return m
}
