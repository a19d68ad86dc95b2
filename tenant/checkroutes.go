package tenant

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

func (c *domainChecker) routes() {
	if c.w.recheck {
		for _, r := range slices.Collect(c.d.routes.All()) {
			spec := r.spec()
			if !c.route(&spec, r.object().Key().String()) {
				// An unsound route is in the way of no other.
				c.d.routes.Delete(c.o, func(q *route) int { return q.Compare(r) })
			}
		}
	}
	var at map[*route]int
	for i := range c.w.routes {
		r := &c.w.routes[i]
		out := &route{*r.route(c.w.rdid)}
		path := c.routePath(i, out)
		if !c.route(r, path) || r.Unread.Has(FieldMetric|FieldVSID) {
			continue
		}
		if old, m := c.routeConflict(out); m != "" {
			c.add(path, m, c.routePath(at[old], old))
			continue
		}
		c.d.routes.Insert(c.o, out)
		if at == nil {
			at = make(map[*route]int, len(c.w.routes))
		}
		at[out] = i
	}
}

// routeConflict says which route of the domain r cannot stand beside, and why.
// Routes that differ in the next hop alone share the traffic.
func (c *domainChecker) routeConflict(r *route) (old *route, message string) {
	for old := range c.routesLike(r) {
		switch to := fmt.Sprintf("route to %s with metric %d", r.is.Prefix, r.is.Metric); {
		case old.is.BlackHole && r.is.BlackHole:
			return old, to + ", a black hole, is given twice: want it once"
		case old.is.BlackHole || r.is.BlackHole:
			return old, to + " is a black hole and has a next hop too: want one of the two, or another metric"
		case old.is.NextHop == r.is.NextHop:
			return old, fmt.Sprintf("route to %s by %s with metric %d is given twice: want it once", r.is.Prefix, r.is.NextHop, r.is.Metric)
		}
	}
	return nil, ""
}

// routesLike yields the routes that differ from r in the next hop alone.
func (c *domainChecker) routesLike(r *route) iter.Seq[*route] {
	like := func(q *route) int {
		return cmp.Or(q.is.Prefix.Compare(r.is.Prefix), cmp.Compare(q.is.VSID, r.is.VSID), cmp.Compare(q.is.Metric, r.is.Metric))
	}
	return func(yield func(*route) bool) {
		for q := range c.d.routes.From(func(q *route) int { return cmp.Or(like(q), 1) }) {
			if like(q) != 0 || !yield(q) {
				return
			}
		}
	}
}

func (c *domainChecker) routePath(i int, r *route) string {
	if c.byKey {
		return r.object().Key().String()
	}
	return routePath(c.i, i)
}

// route checks a route by itself and against the subnets.
func (c *domainChecker) route(r *RouteSpec, path string) bool {
	prefixOK := c.routePrefix(r, path)
	vsidOK := c.routeVSID(r, path)
	if !r.BlackHole {
		return c.nextHop(r, path, prefixOK) && prefixOK && vsidOK
	}
	if r.NextHop.IsValid() {
		c.add(c.field(path, "next_hop"), fmt.Sprintf("is %s, but a black hole drops its packets: want no next hop, or black_hole left out", r.NextHop))
		return false
	}
	return prefixOK && vsidOK
}

// routeVSID checks the subnet whose packets the route is for.
func (c *domainChecker) routeVSID(r *RouteSpec, path string) bool {
	if r.VSID == 0 || r.Unread.Has(FieldVSID) {
		return true
	}
	if v := VSID(r.VSID); !v.Valid() {
		c.add(c.field(path, "vsid"), fmt.Sprintf("VSID %d is reserved, or has more than 24 bits (RFC 7637 section 3.4): want %d to %d", r.VSID, MinVSID, MaxVSID))
		return false
	}
	if _, ok := c.d.subnets.Find(func(v VSID) int { return v.Compare(VSID(r.VSID)) }); ok {
		return true
	}
	if c.subnetsKnown() {
		c.add(c.field(path, "vsid"), fmt.Sprintf("subnet %d is not of the routing domain: want the VSID of one of its subnets, or none for the whole domain", r.VSID))
	}
	return false
}

// subnetsKnown reports whether the VSIDs of all subnets of the domain could be read.
func (c *domainChecker) subnetsKnown() bool {
	return (c.w.spec == nil || !c.w.spec.Unread.Has(FieldSubnets)) &&
		!slices.ContainsFunc(c.w.subnets, func(w *subnetWork) bool { return w.spec != nil && w.spec.Unread.Has(FieldVSID) })
}

func (c *domainChecker) routePrefix(r *RouteSpec, path string) bool {
	if r.Unread.Has(FieldPrefix) {
		return false
	}
	path = c.field(path, "prefix")
	p := r.Prefix.prefix
	switch {
	case !p.IsValid():
		c.add(path, "is missing: want the destination, such as 0.0.0.0/0")
		return false
	}
	if e, ok := c.exact(p); ok {
		c.add(path, fmt.Sprintf("prefix %s is on-link already, as a prefix of subnet %s: want no route to it, or a route to another prefix", p, c.shown(e)),
			c.entryPath(e))
		return false
	}
	return true
}

func (c *domainChecker) nextHop(r *RouteSpec, path string, prefixOK bool) bool {
	if r.Unread.Has(FieldNextHop) {
		return false
	}
	path = c.field(path, "next_hop")
	nh := r.NextHop
	if m := addrProblem("CA", nh.addr); m != "" {
		if !nh.IsValid() {
			m = "is missing: want the CA of the VM that routes the traffic on, or black_hole"
		}
		c.add(path, m)
		return false
	}
	if prefixOK && nh.addr.Is4() != r.Prefix.prefix.Addr().Is4() {
		c.add(path, fmt.Sprintf("next hop %s is not of the family of prefix %s: want an address of the same family", nh, r.Prefix))
		return false
	}
	e, ok := c.lookup(nh.addr)
	if !ok {
		if c.prefixesKnown {
			c.add(path, fmt.Sprintf("next hop %s lies in no subnet of the routing domain: want the CA of a VM in one of them", nh))
		}
		return false
	}
	if slices.Contains(c.subnetOf(e).is.Gateways, nh) {
		c.add(path, fmt.Sprintf("next hop %s is the gateway of subnet %s, which would send the packet here again: want the CA of a VM", nh, c.shown(e)))
		return false
	}
	if m := edgeProblem("next hop", nh, CAPrefix{e.prefix}); m != "" {
		c.add(path, m)
		return false
	}
	return true
}
