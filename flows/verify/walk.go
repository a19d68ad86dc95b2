package verify

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

const portInPort16 = 0xfff8 // OFPP_IN_PORT in 16 bits

// hop is a walk through one host.
type hop struct {
	host  *host
	end   sim.End
	table uint8
	last  *rule
	sends int // packets that left the host by a port
}

// trod is a flow on the way of a packet.
type trod struct {
	host *host
	rule *rule
}

// sent is a packet that left a host by a port.
type sent struct {
	host   *host
	hop    int
	port   uint32 // 0 where back
	back   bool
	tunnel bool
	state  state
}

// punted is a packet that the controller gets.
type punted struct {
	hop   int
	meter uint32 // 0: not looked at
	state state
}

type loss struct {
	host   *host
	reason sim.LossReason
}

// walker takes spaces of packets through the tables of the network, and calls
// leaf for each class of packets that meet the same flows. What it has gathered
// is that class's story. It serves one goroutine.
type walker struct {
	net   *network
	hops  []hop
	way   []trod
	outs  []sent
	next  int // of outs: to be taken further
	cur   int // the hop that is walked
	lost  []loss
	punts []punted
	// anyPunts says that the table of punts is known to be right for whoever sends:
	// it is not walked.
	anyPunts bool
	odd      *trod        // a flow on the way that cannot be judged
	outer    packet.Outer // of the first packet in the underlay
	tuns     int          // packets in the underlay
	stop     bool         // the rest does not matter any more

	classes int
	leaf    func(sp space)
	// cut takes packets of the first hop over where they come to a table, if it
	// wants them.
	cut func(id uint8, st *state, sp space) bool

	memo     map[memoKey]*memo
	memoHost *host
	learning bool // a memo: what leaves by a tunnel makes it none
}

// start sets out on a new story at a host.
func (w *walker) start(h *host) {
	w.hops = append(w.hops[:0], hop{host: h})
	w.way, w.outs, w.lost, w.punts = w.way[:0], w.outs[:0], w.lost[:0], w.punts[:0]
	w.next, w.cur, w.tuns, w.odd, w.stop = 0, 0, 0, nil, false
}

// table takes packets through a table.
func (w *walker) table(id uint8, st *state, sp space) {
	if w.stop {
		return
	}
	if w.anyPunts && id == puntTable {
		w.punt(0, st, func() { w.end(sim.EndActions, id, w.hops[w.cur].last, sp) })
		return
	}
	h := w.hops[w.cur].host
	t := h.tables[id]
	if t == nil {
		w.end(sim.EndMiss, id, nil, sp)
		return
	}
	var k known
	for _, word := range t.words {
		k.mask[word], k.val[word] = st.resolve(word, sp.cube)
	}
	var buf [12]*rule
	rules := t.candidates(&k, buf[:0])
	var taken []cube // by rules of higher priority
	for i := 0; i < len(rules); {
		j := i
		whole := false
		before := len(taken)
		for ; j < len(rules) && rules[j].priority == rules[i].priority; j++ {
			r := rules[j]
			delta, ok := r.delta(&k, st)
			if !ok {
				continue
			}
			// Of two flows of one priority a switch may take either.
			part, ok := carve(sp, delta, taken[:before])
			if !ok {
				continue
			}
			w.meet(h, r, st, part)
			if w.stop {
				return
			}
			if r.any {
				continue
			}
			if len(delta) == 0 {
				whole = true
			} else {
				taken = append(taken, delta)
			}
		}
		if whole {
			return
		}
		i = j
	}
	if rest, ok := carve(sp, nil, taken); ok {
		w.end(sim.EndMiss, id, nil, rest)
	}
}

// delta returns what the input must be besides for the rule to take a packet.
func (r *rule) delta(k *known, st *state) (cube, bool) {
	var terms []term
	for i := range r.terms {
		x := &r.terms[i]
		need := x.mask &^ k.mask[x.word]
		if need == 0 {
			continue
		}
		var ok bool
		if terms, ok = st.demand(terms, x.word, need, x.val&need); !ok {
			return nil, false
		}
	}
	if len(terms) <= 1 {
		return terms, true
	}
	return cube(nil).with(terms...)
}

// carve returns the part of sp that meets delta and none of the cubes taken.
func carve(sp space, delta cube, taken []cube) (space, bool) {
	part := sp
	if len(delta) > 0 {
		var ok bool
		if part, ok = sp.narrow(delta...); !ok {
			return part, false
		}
	}
	clipped := false
	for _, n := range taken {
		switch part.cube.in(n) {
		case inside:
			return part, false
		case partial:
			if !clipped {
				part.negs, clipped = slices.Clip(part.negs), true
			}
			part.negs = append(part.negs, n)
		}
	}
	return part, true
}

// meet takes packets through a flow.
func (w *walker) meet(h *host, r *rule, st *state, sp space) {
	h.meet(r)
	w.way = append(w.way, trod{h, r})
	defer func() { w.way = w.way[:len(w.way)-1] }()
	w.hops[w.cur].last = r
	switch {
	case r.odd != "":
		w.asOdd(sp)
	case len(r.steps) == 0:
		w.end(sim.EndDrop, r.flow.Table, r, sp)
	default:
		w.act(r, 0, st, false, sp)
	}
}

// asOdd ends the story at the flow met last, which nobody can judge.
func (w *walker) asOdd(sp space) {
	if w.odd == nil {
		last := w.way[len(w.way)-1]
		w.odd = &last
		w.leafOf(sp)
		w.odd = nil
	}
}

// act does a flow's steps from the i-th on. st may be written if own is set.
func (w *walker) act(r *rule, i int, st *state, own bool, sp space) {
	writable := func() {
		if !own {
			c := *st
			st, own = &c, true
		}
	}
	for ; i < len(r.steps); i++ {
		switch s := &r.steps[i]; s.op {
		case flow.OpSet:
			writable()
			for _, x := range s.sets {
				if !w.writeTTL(st, x.word, x.mask) {
					w.asOdd(sp)
					return
				}
				st.set(x.word, x.mask, x.val)
			}
		case flow.OpMove:
			writable()
			if !w.move(st, s.runs) {
				w.asOdd(sp)
				return
			}
		case flow.OpDecTTL:
			writable()
			var ok bool
			if sp, ok = w.decTTL(r, st, sp); !ok {
				return
			}
		case flow.OpOutput:
			w.output(r, i, s.port, s.port == flow.PortInPort, st, sp)
			return
		case flow.OpOutputReg:
			w.outputReg(r, i, st, sp)
			return
		case flow.OpGroup:
			w.group(r, s.group, st, sp)
			return
		case flow.OpController:
			w.punt(s.port, st, func() { w.act(r, i+1, st, false, sp) })
			return
		case flow.OpGoto:
			if w.cut != nil && w.cur == 0 && len(w.outs) == 0 && w.cut(s.table, st, sp) {
				return
			}
			w.table(s.table, st, sp)
			return
		}
	}
	w.end(sim.EndActions, r.flow.Table, r, sp)
}

// punt notes that the controller gets the packets while it does what follows.
func (w *walker) punt(meter uint32, st *state, rest func()) {
	w.punts = append(w.punts, punted{w.cur, meter, *st})
	rest()
	w.punts = w.punts[:len(w.punts)-1]
}

// writeTTL prepares for a write to some bits of a word; ok is false where the TTL
// would be part counted down and part not.
func (w *walker) writeTTL(st *state, word uint8, mask uint64) bool {
	if st.dec == 0 || word != words.Transit || mask&ttlMask == 0 {
		return true
	}
	if mask&ttlMask != ttlMask {
		return false
	}
	st.dec = 0
	return true
}

func (w *walker) move(st *state, rs []run) bool {
	from := *st
	for _, r := range rs {
		if st.dec > 0 && r.src == words.Transit && all64>>(64-r.n)<<r.srcBit&ttlMask != 0 {
			return false
		}
		if !w.writeTTL(st, r.dst, all64>>(64-r.n)<<r.dstBit) {
			return false
		}
		moved := *st
		moved.words[r.src] = from.words[r.src]
		if r.src == r.dst {
			moved = *st
			moved.copyFrom(&from, r)
		} else {
			moved.move(r)
		}
		st.words[r.dst] = moved.words[r.dst]
	}
	return true
}

// decTTL counts the TTL down and returns the packets that live on.
func (w *walker) decTTL(r *rule, st *state, sp space) (space, bool) {
	k, v := st.resolve(words.Transit, sp.cube)
	if k&ttlMask == ttlMask {
		if v&ttlMask>>ttlShift <= 1 {
			w.end(sim.EndTTL, r.flow.Table, r, sp)
			return sp, false
		}
		if st.plainTTL() {
			st.dec++
		} else {
			st.set(words.Transit, ttlMask, v&ttlMask-1<<ttlShift)
		}
		return sp, true
	}
	if !st.plainTTL() || st.dec > 100 {
		w.asOdd(sp)
		return sp, false
	}
	for ttl := uint64(0); ttl <= uint64(st.dec)+1; ttl++ {
		t := term{words.Transit, ttlMask, ttl << ttlShift}
		dead, ok := sp.narrow(t)
		if !ok {
			continue
		}
		w.end(sim.EndTTL, r.flow.Table, r, dead)
		if sp, ok = sp.without(t); !ok {
			return sp, false
		}
	}
	st.dec++
	return sp, true
}

// output sends packets to a port and goes on behind the i-th step.
func (w *walker) output(r *rule, i int, port uint32, back bool, st *state, sp space) {
	h := w.hops[w.cur].host
	on := func(sp space) { w.act(r, i+1, st, false, sp) }
	k, v := st.resolve(words.InPort, sp.cube)
	if !back {
		here := inPort(port)
		switch {
		case k == all64:
			if v == uint64(port) {
				on(sp) // never by the port that it came in by
				return
			}
		case h.ports[port].Tunnel:
			// What comes from a tunnel comes in by a port that is known.
		default:
			if part, ok := sp.narrow(here); ok {
				on(part)
			}
			var ok bool
			if sp, ok = sp.without(here); !ok {
				return
			}
		}
		p, there := h.ports[port]
		if !there {
			on(sp)
			return
		}
		w.send(sent{host: h, hop: w.cur, port: port, tunnel: p.Tunnel, state: *st}, p, sp, on)
		return
	}
	o := sent{host: h, hop: w.cur, back: true, state: *st}
	if k != all64 { // no tunnel port
		w.send(o, sim.Port{}, sp, on)
		return
	}
	if p, there := h.ports[uint32(v)]; there {
		o.port, o.tunnel = uint32(v), p.Tunnel
		w.send(o, p, sp, on)
	} else {
		on(sp)
	}
}

func (w *walker) send(o sent, p sim.Port, sp space, on func(space)) {
	if o.tunnel && !p.AnyKey {
		o.state.set(words.TunID, all64, uint64(p.Key))
	}
	w.outs = append(w.outs, o)
	w.hops[w.cur].sends++
	on(sp)
	w.hops[o.hop].sends--
	w.outs = w.outs[:len(w.outs)-1]
}

// outputReg sends packets to the port whose number a field has.
func (w *walker) outputReg(r *rule, i int, st *state, sp space) {
	h := w.hops[w.cur].host
	number := *st
	number.words[words.Regs] = zero
	for _, x := range r.steps[i].runs {
		number.move(run{words.Regs, x.src, x.dstBit, x.srcBit, x.n})
	}
	to := func(n uint64, sp space) {
		if n == portInPort16 {
			w.output(r, i, 0, true, st, sp)
		} else if n > sim.MaxPort {
			w.act(r, i+1, st, false, sp)
		} else {
			w.output(r, i, uint32(n), false, st, sp)
		}
	}
	k, v := number.resolve(words.Regs, sp.cube)
	if k == all64 {
		to(v, sp)
		return
	}
	for _, n := range append(h.portNumbers, portInPort16) {
		if (uint64(n)^v)&k != 0 {
			continue
		}
		terms, ok := number.demand(nil, words.Regs, all64&^k, uint64(n)&^k)
		if !ok {
			continue
		}
		if part, ok := sp.narrow(terms...); ok {
			to(uint64(n), part)
		}
		if sp, ok = sp.without(terms...); !ok {
			return
		}
	}
	w.act(r, i+1, st, false, sp)
}

// end ends the walk through a host and goes on with what left it.
func (w *walker) end(e sim.End, table uint8, last *rule, sp space) {
	old := w.hops[w.cur]
	p := &w.hops[w.cur]
	p.end, p.table, p.last = e, table, last
	w.advance(sp)
	w.hops[w.cur] = old
}

// advance takes the next packet that left a host further, and is at the leaf
// where there is none.
func (w *walker) advance(sp space) {
	if w.stop {
		return
	}
	if w.next == len(w.outs) {
		w.leafOf(sp)
		return
	}
	o := &w.outs[w.next]
	w.next++
	if o.tunnel {
		w.underlay(o, sp)
	} else {
		w.advance(sp)
	}
	w.next--
}

func (w *walker) leafOf(sp space) {
	w.classes++
	w.leaf(sp)
}

func (w *walker) lose(h *host, why sim.LossReason, sp space) {
	w.lost = append(w.lost, loss{h, why})
	w.advance(sp)
	w.lost = w.lost[:len(w.lost)-1]
}
