package calc

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Flush works out what follows from all that was said since the last call, and
// returns an update for each driven host that it concerns, by name. A host that
// is driven for the first time, or again, has one in any case. Before there is a
// policy it returns nothing.
func (e *Engine) Flush() []Update {
	if e.policy == nil {
		return nil
	}
	f := &flush{Engine: e, touched: make(map[*block]struct{}), before: e.compiler, after: e.compiler}
	first := e.compiler == nil
	if first {
		f.before = flows.NewCompiler(tenant.Empty(), flows.Placement{})
		if e.opts.Punts != (flows.PuntLimit{}) {
			f.before = f.before.WithPuntLimit(e.opts.Punts)
		}
	}
	if first || len(e.moved) > 0 || e.policy != f.before.Policy() {
		f.after = f.before.Next(e.policy, e.place)
	}
	e.compiler = f.after

	if f.before != f.after {
		f.setPipeline(first)
		if !first { // nothing is compiled yet, and no VM known: all hosts are dirty
			f.noteChanges()
		}
	}
	clear(e.moved)
	for h := range e.dirty {
		f.ifaces += len(h.todo.ifaces)
	}
	each(slices.Collect(maps.Keys(e.dirty)), f.ifaces > muchWork, func(h *host) { h.settleVMs(f.before, f.after) })
	f.settleDomains()
	f.compileDomains()
	f.compileHosts()
	return f.updates()
}

// flush is one call of Flush.
type flush struct {
	*Engine
	before, after *flows.Compiler
	pipelineNew   bool
	touched       map[*block]struct{} // with units that may have changed
	work          int                 // number of these units
	ifaces        int                 // iface-ids looked at
	changed       []*block            // with other flows than before
	fresh         []*block            // to be compiled for the first time
	joined        []membership
}

// muchWork is how many items are worth more than one goroutine.
const muchWork = 256

// membership is a routing domain that has come to a host, or left it.
type membership struct {
	h *host
	b *block
}

func (f *flush) setPipeline(first bool) {
	if !first && f.before.Policy().GatewayMAC() == f.after.Policy().GatewayMAC() {
		return
	}
	if first {
		f.pipeline.change(nil, f.after, flows.PipelineUnit())
	} else {
		f.pipeline.change(f.before, f.after, flows.PipelineUnit())
	}
	f.pipelineNew = f.pipeline.apply()
}

// noteChanges notes what may differ between the two compilers. An attachment that
// has moved concerns other hosts where a record leaves its place open: such a
// record is among the units. The host itself looks at it anyway.
func (f *flush) noteChanges() {
	for u := range flows.Affected(f.before, f.after, maps.Keys(f.moved), f.on) {
		b := f.blocks[u.Domain()]
		if b != nil {
			b.units = append(b.units, u)
			f.touched[b] = struct{}{}
			f.work++
		}
		switch u.Kind() {
		case flows.UnitRecord:
			f.noteRecord(u, b)
		case flows.UnitSubnet:
			f.noteSubnet(b)
		}
	}
	for name := range flows.HostsAffected(f.before, f.after) {
		f.noteHost(name)
	}
	for h := range f.lingering {
		for id := range h.linger {
			if _, there := f.after.Policy().RoutingDomain(id); !there {
				mark(&h.todo.domains, id)
				f.dirty[h] = struct{}{}
			}
		}
	}
}

// on yields the iface-ids that are attached to a host; those that have left it
// have moved.
func (f *flush) on(name string) iter.Seq[string] {
	h := f.hosts[name]
	if h == nil {
		return func(func(string) bool) {}
	}
	return maps.Keys(h.ports)
}

func (f *flush) noteRecord(u flows.Unit, b *block) {
	was, had := f.before.Record(u)
	is, has := f.after.Record(u)
	if had {
		f.touch(was.IfaceID)
	}
	if has && (!had || is.IfaceID != was.IfaceID) {
		f.touch(is.IfaceID)
	}
	if b == nil {
		return
	}
	if had {
		b.count(f.before.HostOf(&was), -1)
	}
	if has {
		b.count(f.after.HostOf(&is), 1)
	}
}

// noteSubnet has the ports of virtual subnets looked at where they are wanted.
func (f *flush) noteSubnet(b *block) {
	if b == nil {
		return
	}
	for _, h := range b.hosts {
		if h.perVSID() {
			h.todo.tunnels = true
			f.dirty[h] = struct{}{}
		}
	}
}

// touch has an iface-id looked at where it is attached.
func (f *flush) touch(iface string) {
	for name := range f.attached(iface) {
		if h := f.hosts[name]; h.driven() {
			mark(&h.todo.ifaces, iface)
			f.dirty[h] = struct{}{}
		}
	}
}

// noteHost has the flows for a host looked at on those that know it, and all its
// peers on itself. A host that has come or gone gets or loses the flow for itself.
func (f *flush) noteHost(name string) {
	for _, h := range f.hosts {
		if !h.driven() {
			continue
		}
		if h.name == name {
			for peer := range h.peers {
				mark(&h.todo.redo, peer)
			}
		} else if _, known := h.peers[name]; known {
			mark(&h.todo.redo, name)
		} else {
			continue
		}
		f.dirty[h] = struct{}{}
	}
}

// settleDomains works out which routing domains the hosts hold.
func (f *flush) settleDomains() {
	for h := range f.dirty {
		moved := false
		for id := range h.todo.domains {
			if f.settleDomain(h, id) {
				moved = true
			}
		}
		h.todo.domains = nil
		if moved {
			h.list = slices.SortedFunc(maps.Keys(h.domains), tenant.RDID.Compare)
			h.todo.tunnels = h.todo.tunnels || h.perVSID()
		}
		delete(f.lingering, h)
		if len(h.linger) > 0 {
			f.lingering[h] = struct{}{}
		}
	}
}

// settleDomain reports whether a routing domain has come to h or left it.
func (f *flush) settleDomain(h *host, id tenant.RDID) bool {
	held := h.holds(id)
	wanted := h.domains[id] > 0
	if wanted {
		delete(h.linger, id)
	} else if held && f.opts.Linger {
		since, already := h.linger[id]
		if !already {
			since = f.tick
		}
		_, there := f.after.Policy().RoutingDomain(id)
		if wanted = there && f.tick-since < 2; wanted {
			h.linger[id] = since
		}
	}
	if !wanted {
		delete(h.domains, id)
		delete(h.linger, id)
	}
	if wanted == held {
		return false
	}
	b := f.blocks[id]
	if b == nil {
		b = newBlock(id)
		f.blocks[id] = b
		f.fresh = append(f.fresh, b)
	}
	if wanted {
		b.hosts[h.name] = h
	} else {
		delete(b.hosts, h.name)
		f.idle[b] = struct{}{}
		h.want.Delete(b.name)
		h.todo.changed = true
	}
	f.joined = append(f.joined, membership{h, b})
	return true
}

// compileDomains compiles the routing domains that hosts hold.
func (f *flush) compileDomains() {
	for b := range f.idle {
		if len(b.hosts) == 0 {
			// Who has just left still has to hear of the domain's peers.
			delete(f.blocks, b.id)
			b.units = nil
		}
	}
	clear(f.idle)
	for b := range f.touched {
		if len(b.hosts) == 0 {
			delete(f.touched, b)
		}
	}
	each(slices.Collect(maps.Keys(f.touched)), f.work > muchWork, func(b *block) { b.update(f.before, f.after) })
	for b := range f.touched {
		if b.changed {
			f.changed = append(f.changed, b)
		}
		if b.stirred {
			for _, h := range b.hosts {
				h.todo.problems = true
				f.dirty[h] = struct{}{}
			}
		}
	}
	f.fresh = slices.DeleteFunc(f.fresh, func(b *block) bool { return len(b.hosts) == 0 })
	// The big ones first, so that none is left over at the end.
	for _, b := range f.fresh {
		for range f.after.Policy().SubnetsOf(b.id) {
			b.subnets++
		}
	}
	slices.SortFunc(f.fresh, func(a, b *block) int { return cmp.Compare(b.subnets, a.subnets) })
	each(f.fresh, true, func(b *block) { b.build(f.after) })
	f.changed = append(f.changed, f.fresh...)
}

// compileHosts compiles what is the hosts' own, and puts all together.
func (f *flush) compileHosts() {
	for _, m := range f.joined {
		for name := range m.b.peers {
			mark(&m.h.todo.peers, name)
		}
		for name := range m.b.peersMoved {
			mark(&m.h.todo.peers, name)
		}
	}
	for b := range f.touched {
		for name := range b.peersMoved {
			for _, h := range b.hosts {
				mark(&h.todo.peers, name)
				f.dirty[h] = struct{}{}
			}
		}
		b.peersMoved = nil
	}
	for _, m := range f.joined {
		if m.h.holds(m.b.id) {
			m.h.set(m.b.name, m.b.set)
		}
	}
	for _, b := range f.changed {
		for _, h := range b.hosts {
			h.set(b.name, b.set)
			f.dirty[h] = struct{}{}
		}
	}
	each(slices.Collect(maps.Keys(f.dirty)), len(f.joined) > muchWork || f.ifaces > muchWork, func(h *host) {
		h.settlePeers(f.before, f.after, f.blocks)
		h.settleTunnels(f.before, f.after)
		h.own.apply()
		h.todo.problems = h.todo.problems || h.own.stirred
		h.set(OwnBlock, h.own.set)
		h.set(pipelineBlock, f.pipeline.set)
	})
	if f.pipelineNew {
		for _, h := range f.hosts {
			if h.driven() {
				h.set(pipelineBlock, f.pipeline.set)
				f.dirty[h] = struct{}{}
			}
		}
	}
}

// updates returns what has changed, and leaves nothing to do.
func (f *flush) updates() (out []Update) {
	for h := range f.dirty {
		if h.todo.changed || h.todo.problems {
			u := f.update(h)
			u.Same, u.Ifaces = !h.todo.changed, h.looked
			out = append(out, u)
		}
		h.todo.changed, h.todo.problems, h.looked = false, false, nil
	}
	clear(f.dirty)
	slices.SortFunc(out, func(a, b Update) int { return cmp.Compare(a.Host, b.Host) })
	return out
}

func (e *Engine) update(h *host) Update {
	return Update{
		Host: h.name, Want: h.want.Composition(), Domains: h.list,
		Problems: h.problems(e.compiler, e.blocks), Conflicts: h.conflicts(e.blocks),
	}
}
