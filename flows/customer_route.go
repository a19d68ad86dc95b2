package flows

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// destination is what a packet's customer routes are chosen by, once the longest
// prefix is known: routes for its subnet alone are another destination than those
// for the whole routing domain, and win.
type destination struct {
	rdid   tenant.RDID
	prefix tenant.CAPrefix
	vsid   tenant.VSID // 0: the whole domain
}

func destinationOf(r *tenant.CustomerRoute) destination {
	return destination{r.RDID, r.Prefix, r.VSID}
}

// hash is a number of a route's group, which has 24 bits.
func (d destination) hash() uint32 {
	a := d.prefix.Prefix().Addr().As16()
	key := binary.BigEndian.AppendUint32(slices.Concat(d.rdid[:], a[:], []byte{byte(d.prefix.Prefix().Bits())}), uint32(d.vsid))
	return uint32(hash(key)) & 0xfffff0
}

// Ways yields, for each destination of some routes in the order of
// [tenant.Policy.Routes], the routes that count: those of the lowest metric. There
// are several where traffic is shared among their next hops.
func Ways(all iter.Seq[tenant.CustomerRoute]) iter.Seq[[]tenant.CustomerRoute] {
	return func(yield func([]tenant.CustomerRoute) bool) {
		var way []tenant.CustomerRoute
		for r := range all {
			switch {
			case len(way) > 0 && destinationOf(&way[0]) == destinationOf(&r):
				if r.Metric == way[0].Metric {
					way = append(way, r)
				}
				continue
			case len(way) > 0 && !yield(way):
				return
			}
			way = []tenant.CustomerRoute{r}
		}
		if len(way) > 0 {
			yield(way)
		}
	}
}

// customerRouteFlows makes the flows of the routes to one prefix: one for the
// whole routing domain, and one for each subnet with a route of its own.
func (c *Compiler) customerRouteFlows(b *builder, number uint32, id tenant.RDID, to tenant.CAPrefix) {
	for way := range Ways(c.policy.RoutesTo(id, to)) {
		c.wayFlow(b, number, way)
	}
}

func (c *Compiler) wayFlow(b *builder, number uint32, way []tenant.CustomerRoute) {
	r := way[0]
	p, o := r.Prefix.Prefix(), routeOwner(r)
	f := familyOf(p.Addr())
	tests, rank := []flow.Test{regDomain.is(uint64(number)), f.is, prefixTest(f.dst, p)}, uint16(routeCustomer)
	if r.VSID != 0 {
		tests, rank = append(tests, regSource.is(uint64(r.VSID))), routeOfSubnet
	}
	match, priority := b.matchPrefix(tests...), routePriority(p, rank)
	routed := regRouted.set(flow.Uint(1))
	switch {
	case r.BlackHole:
		b.add(&route, priority, o.drop(DropBlackHole), match)
	case len(way) == 1:
		b.add(&route, priority, o.cookie(), match, append([]flow.Action{routed}, hopTo(&r, flow.Goto(tableCA))...)...)
	default:
		g := c.shareGroup(way)
		b.addGroup(&route, g)
		b.add(&route, priority, o.cookie(), match, routed, flow.ToGroup(g.ID))
	}
}

// hopTo returns the actions that make a route's next hop the packet's.
func hopTo(r *tenant.CustomerRoute, then flow.Action) []flow.Action {
	return []flow.Action{regHop.set(flow.Mapped(r.NextHop.Addr())), then}
}

// shareGroup makes the group that shares the traffic of a destination among the
// next hops whose VMs are attached. Where none is, it has all of them: table ca
// tells that they are not.
func (c *Compiler) shareGroup(way []tenant.CustomerRoute) flow.Group {
	number, _ := c.shared.of(destinationOf(&way[0]))
	g := flow.Group{ID: groupRoutes | number, Type: flow.GroupSelect}
	for _, r := range c.LiveHops(way) {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: 1, Actions: hopTo(&r, flow.Resubmit(tableCA))})
	}
	return g
}

// LiveHops returns the routes of one destination whose next hops get packets: of
// several, those whose VMs are attached, or all where none is.
func (c *Compiler) LiveHops(way []tenant.CustomerRoute) []tenant.CustomerRoute {
	if len(way) == 1 {
		return way
	}
	var live []tenant.CustomerRoute
	for _, r := range way {
		if hop, ok := recordOfCA(c.policy, r.RDID, r.NextHop); ok && c.at.Host(hop.IfaceID) != "" {
			live = append(live, r)
		}
	}
	if len(live) == 0 {
		return way
	}
	return live
}

// recordOfCA returns the record of a CA in a routing domain.
func recordOfCA(p *tenant.Policy, id tenant.RDID, ca tenant.CA) (tenant.LookupRecord, bool) {
	s, ok := p.SubnetOf(id, ca)
	if !ok {
		return tenant.LookupRecord{}, false
	}
	return p.Record(s, ca)
}

// hopRef says that the routes of a destination, which share its traffic, have a
// next hop. Compilers find by it what hangs on a VM's attachment.
type hopRef struct {
	ca tenant.CA
	to destination
}

func (h hopRef) Compare(k hopRef) int {
	return cmp.Or(h.to.rdid.Compare(k.to.rdid), h.ca.Compare(k.ca), h.to.prefix.Compare(k.to.prefix), h.to.vsid.Compare(k.to.vsid))
}

// shares are the destinations whose traffic is shared, with their numbers and
// their next hops.
type shares struct {
	numbers[destination]
	hops persist.Tree[hopRef]
}

// shareOf returns the routes to d that count, where they share its traffic.
func shareOf(p *tenant.Policy, d destination) []tenant.CustomerRoute {
	for way := range Ways(p.RoutesTo(d.rdid, d.prefix)) {
		if way[0].VSID == d.vsid && len(way) > 1 {
			return way
		}
	}
	return nil
}

// nextShares returns the shares of the next policy, of which some destinations
// have other routes.
func (s *shares) next(before, after *tenant.Policy, changed map[destination]bool) shares {
	if len(changed) == 0 {
		return *s
	}
	out := *s
	o := &persist.Owner{}
	var gone, come []destination
	for d := range changed {
		was, is := shareOf(before, d), shareOf(after, d)
		for _, r := range was {
			ref := hopRef{r.NextHop, d}
			out.hops.Delete(o, func(h hopRef) int { return h.Compare(ref) })
		}
		for _, r := range is {
			out.hops.Insert(o, hopRef{r.NextHop, d})
		}
		switch {
		case was != nil && is == nil:
			gone = append(gone, d)
		case was == nil && is != nil:
			come = append(come, d)
		}
	}
	out.numbers = s.numbers.next(gone, come, func() iter.Seq[destination] {
		return func(yield func(destination) bool) {
			for way := range Ways(after.Routes()) {
				if len(way) > 1 && !yield(destinationOf(&way[0])) {
					return
				}
			}
		}
	})
	return out
}

// by yields the destinations that share traffic to a CA.
func (s *shares) by(id tenant.RDID, ca tenant.CA) iter.Seq[destination] {
	return func(yield func(destination) bool) {
		at := func(h hopRef) int { return cmp.Or(h.to.rdid.Compare(id), h.ca.Compare(ca)) }
		for h := range s.hops.From(func(h hopRef) int { return cmp.Or(at(h), 1) }) {
			if at(h) != 0 || !yield(h.to) {
				return
			}
		}
	}
}
