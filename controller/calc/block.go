package calc

import (
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Names of the blocks of a composition. That of a routing domain is its RDID
// behind domainBlock.
const (
	pipelineBlock = "pipeline"
	OwnBlock      = "host"
	domainBlock   = "rd/"
)

// block is a routing domain that some host holds.
type block struct {
	layer
	id      tenant.RDID
	name    string
	built   bool
	subnets int              // when it was built
	changed bool             // the last update has changed the flows
	hosts   map[string]*host // that hold it
	peers   map[string]int   // number of the domain's VMs on each host

	units      []flows.Unit        // that may have changed
	peersMoved map[string]struct{} // hosts that may have got the first VM, or lost the last
}

func newBlock(id tenant.RDID) *block {
	return &block{id: id, name: domainBlock + id.String(), hosts: make(map[string]*host), peers: make(map[string]int)}
}

// count notes that a host has n VMs more of the routing domain.
func (b *block) count(host string, n int) {
	if host == "" {
		return
	}
	old := b.peers[host]
	if b.peers[host] = old + n; old+n == 0 {
		delete(b.peers, host)
	}
	if b.built && (old == 0 || old+n == 0) {
		if b.peersMoved == nil {
			b.peersMoved = make(map[string]struct{})
		}
		b.peersMoved[host] = struct{}{}
	}
}

// build compiles all of the routing domain.
func (b *block) build(c *flows.Compiler) {
	var faults []flows.Problem
	for u, ps := range c.Domain(b.id, func(p flows.Problem) { faults = append(faults, p) }) {
		b.want(u, ps, faults)
		faults = nil
	}
	b.apply()
	for s := range c.Policy().SubnetsOf(b.id) {
		for r := range c.Policy().RecordsOf(s.VSID) {
			b.count(c.HostOf(&r), 1)
		}
	}
	b.built = true
}

// update compiles what may have changed.
func (b *block) update(before, after *flows.Compiler) {
	for _, u := range b.units {
		b.change(before, after, u)
	}
	b.units = nil
	b.changed = b.apply()
}

// each calls do with each item, side by side where that is worth it.
func each[T any](items []T, sideBySide bool, do func(T)) {
	if len(items) < 2 || !sideBySide {
		for _, it := range items {
			do(it)
		}
		return
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, it := range items {
		g.Go(func() error { do(it); return nil })
	}
	_ = g.Wait() // none returns an error
}
