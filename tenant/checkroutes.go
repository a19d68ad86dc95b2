package tenant

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

type routeKey struct {
	prefix netip.Prefix
	metric uint32
}

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
	var at map[routeKey]int
	for i := range c.w.routes {
		r := &c.w.routes[i]
		out := &route{CustomerRoute{RDID: c.w.rdid, Prefix: r.Prefix, NextHop: r.NextHop, Metric: r.Metric, Source: r.Source}}
		path := c.routePath(i, out)
		if !c.route(r, path) || r.Unread.Has(FieldMetric) {
			continue
		}
		k := routeKey{r.Prefix.prefix, r.Metric}
		old, taken := c.routeLike(k)
		if !taken {
			c.d.routes.Insert(c.o, out)
			if at == nil {
				at = make(map[routeKey]int, len(c.w.routes))
			}
			at[k] = i
			continue
		}
		related := c.routePath(at[k], old)
		if old.is.NextHop == r.NextHop {
			c.add(path, fmt.Sprintf("route to %s by %s with metric %d is given twice: want it once", r.Prefix, r.NextHop, r.Metric), related)
		} else {
			c.add(path, fmt.Sprintf("route to %s with metric %d goes by %s already, and several next hops of one metric (ECMP) are not supported yet: want another metric",
				r.Prefix, r.Metric, old.is.NextHop), related)
		}
	}
}

// routeLike returns the route of that prefix and metric.
func (c *domainChecker) routeLike(k routeKey) (*route, bool) {
	return c.d.routes.Find(func(r *route) int {
		return cmp.Or(comparePrefix(r.is.Prefix.prefix, k.prefix), cmp.Compare(r.is.Metric, k.metric))
	})
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
	return c.nextHop(r, path, prefixOK) && prefixOK
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
	case !supported(p.Addr()):
		c.add(path, fmt.Sprintf("prefix %s: IPv6 is not supported yet: want an IPv4 prefix", p))
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
			m = "is missing: want the CA of the VM that routes the traffic on"
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
