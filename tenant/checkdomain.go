package tenant

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// domainChecker goes over one routing domain.
type domainChecker struct {
	*checker
	d        int
	spec     *RoutingDomainSpec
	prefixes prefixIndex
	// prefixesKnown says that every prefix of the domain could be read and is
	// sound, so that an address outside them all is a problem of its own.
	prefixesKnown bool
	subnetKnown   []bool      // the same for each subnet
	gateways      map[CA]bool // of all subnets

	names map[string]int // subnets by name
	cas   map[CA]int     // record numbers
	vms   map[string]int // record numbers
}

func newDomainChecker(c *checker, d int) *domainChecker {
	spec := &c.spec.RoutingDomains[d]
	n := 0
	for i := range spec.Subnets {
		n += len(spec.Subnets[i].Records)
	}
	return &domainChecker{
		checker: c, d: d, spec: spec,
		prefixesKnown: !spec.Unread.Has(FieldSubnets),
		subnetKnown:   make([]bool, len(spec.Subnets)),
		gateways:      make(map[CA]bool, len(spec.Subnets)),
		names:         make(map[string]int, len(spec.Subnets)),
		cas:           make(map[CA]int, n),
		vms:           make(map[string]int, n),
	}
}

// subnet checks what a subnet says of itself and gathers its prefixes.
func (c *domainChecker) subnet(j int) {
	s := &c.spec.Subnets[j]
	path := subnetPath(c.d, j)
	switch first, taken := c.vsids[s.VSID]; {
	case s.Unread.Has(FieldVSID):
	case s.VSID == 0:
		c.add(path+".vsid", fmt.Sprintf("is missing, or zero: want a number from %d to %d", MinVSID, MaxVSID))
	case s.VSID > 0xFFFFFF:
		c.add(path+".vsid", fmt.Sprintf("VSID %d has more than 24 bits: want %d to %d", s.VSID, MinVSID, MaxVSID))
	case !VSID(s.VSID).Valid():
		c.add(path+".vsid", fmt.Sprintf("VSID %d is reserved (RFC 7637 section 3.4): want %d to %d", s.VSID, MinVSID, MaxVSID))
	case taken:
		c.add(path+".vsid", fmt.Sprintf("VSID %d is given twice: want a VSID of its own for each subnet of the policy", s.VSID),
			first.path()+".vsid")
	default:
		c.vsids[s.VSID] = subnetRef{c.d, j}
	}

	name := s.Name
	if name == "" && s.VSID != 0 {
		name = VSID(s.VSID).String()
	}
	if name != "" && !s.Unread.Has(FieldName) {
		if m := nameProblem("the subnet's name", name, MaxName); m != "" {
			c.add(path+".name", m)
		} else if first, taken := c.names[name]; !taken {
			c.names[name] = j
		} else if s.Name != "" {
			c.add(path+".name", fmt.Sprintf("subnet %q is given twice: want a name of its own for each subnet of the routing domain", name),
				subnetPath(c.d, first)+".name")
		}
	}

	known := !s.Unread.Has(FieldPrefixes)
	if known && len(s.Prefixes) == 0 {
		c.add(path+".prefixes", "is missing: want at least one prefix, such as [10.0.1.0/24]")
		known = false
	}
	for k, p := range s.Prefixes {
		if m := subnetPrefixProblem(p.prefix); m != "" {
			if p.IsValid() || !s.Unread.Has(FieldPrefixes) {
				c.add(prefixPath(c.d, j, k), m)
			}
			known = false
			continue
		}
		c.prefixes.add(p.prefix, j, k)
	}
	c.subnetKnown[j] = known
	c.prefixesKnown = c.prefixesKnown && known
	c.checkGateways(j, known)
}

func (c *domainChecker) checkGateways(j int, prefixesKnown bool) {
	s := &c.spec.Subnets[j]
	path := subnetPath(c.d, j)
	if len(s.Gateways) == 0 && !s.Unread.Has(FieldGateways) {
		for _, p := range s.Prefixes {
			if p.IsValid() {
				c.gateways[defaultGateway(p)] = true
			}
		}
		return
	}
	if prefixesKnown && !s.Unread.Has(FieldGateways) && len(s.Gateways) != len(s.Prefixes) {
		c.add(path+".gateways", fmt.Sprintf("has %s for %s: want one gateway for each prefix, in the order of prefixes, or none for the first usable addresses",
			plural(len(s.Gateways), "gateway"), plural(len(s.Prefixes), "prefix")))
		prefixesKnown = false
	}
	for k, g := range s.Gateways {
		gwPath := fmt.Sprintf("%s.gateways[%d]", path, k)
		if m := addrProblem("CA", g.addr); m != "" {
			if g.IsValid() || !s.Unread.Has(FieldGateways) {
				c.add(gwPath, m)
			}
			continue
		}
		if !prefixesKnown || k >= len(s.Prefixes) {
			c.gateways[g] = true
			continue
		}
		p := s.Prefixes[k]
		if !p.Contains(g) {
			c.add(gwPath, fmt.Sprintf("gateway %s is outside prefix %s: want an address in it, such as %s", g, p, defaultGateway(p)),
				prefixPath(c.d, j, k))
		} else if m := edgeProblem("gateway", g, p); m != "" {
			c.add(gwPath, m)
		} else {
			c.gateways[g] = true
		}
	}
}

// overlaps reports each prefix that shares addresses with another of the domain.
func (c *domainChecker) overlaps() {
	c.prefixes.build()
	type pair struct{ first, second prefixEntry }
	var found []pair
	for i, e := range c.prefixes.entries {
		if c.prefixes.parent[i] < 0 {
			continue
		}
		o := c.prefixes.entries[c.prefixes.parent[i]]
		if e.before(o) {
			e, o = o, e
		}
		found = append(found, pair{o, e})
	}
	slices.SortFunc(found, func(a, b pair) int { return a.second.compare(b.second) })
	for _, f := range found {
		a, b := f.first, f.second
		where := "in the same subnet"
		if a.subnet != b.subnet {
			where = "of subnet " + c.subnetName(a.subnet)
		}
		what := fmt.Sprintf("prefix %s overlaps %s %s", b.prefix, a.prefix, where)
		if a.prefix == b.prefix {
			what = fmt.Sprintf("prefix %s is there already, %s", b.prefix, where)
		}
		c.add(prefixPath(c.d, b.subnet, b.index), what+": want prefixes that share no address in a routing domain",
			prefixPath(c.d, a.subnet, a.index))
	}
}

func (c *domainChecker) subnetName(j int) string {
	s := &c.spec.Subnets[j]
	if s.Name != "" {
		return fmt.Sprintf("%q", s.Name)
	}
	return VSID(s.VSID).String()
}

type routeKey struct {
	prefix netip.Prefix
	metric uint32
}

func (c *domainChecker) routes() {
	seen := make(map[routeKey]int, len(c.spec.Routes))
	for i := range c.spec.Routes {
		r := &c.spec.Routes[i]
		path := routePath(c.d, i)
		prefixOK := c.routePrefix(r, path)
		nextHopOK := c.nextHop(r, path, prefixOK)
		if !prefixOK || !nextHopOK || r.Unread.Has(FieldMetric) {
			continue
		}
		k := routeKey{r.Prefix.prefix, r.Metric}
		first, taken := seen[k]
		switch {
		case !taken:
			seen[k] = i
		case c.spec.Routes[first].NextHop == r.NextHop:
			c.add(path, fmt.Sprintf("route to %s by %s with metric %d is given twice: want it once", r.Prefix, r.NextHop, r.Metric),
				routePath(c.d, first))
		default:
			c.add(path, fmt.Sprintf("route to %s with metric %d goes by %s already, and several next hops of one metric (ECMP) are not supported yet: want another metric",
				r.Prefix, r.Metric, c.spec.Routes[first].NextHop), routePath(c.d, first))
		}
	}
}

func (c *domainChecker) routePrefix(r *RouteSpec, path string) bool {
	if r.Unread.Has(FieldPrefix) {
		return false
	}
	path += ".prefix"
	p := r.Prefix.prefix
	switch {
	case !p.IsValid():
		c.add(path, "is missing: want the destination, such as 0.0.0.0/0")
		return false
	case !supported(p.Addr()):
		c.add(path, fmt.Sprintf("prefix %s: IPv6 is not supported yet: want an IPv4 prefix", p))
		return false
	}
	if e, ok := c.prefixes.exact(p); ok {
		c.add(path, fmt.Sprintf("prefix %s is on-link already, as a prefix of subnet %s: want no route to it, or a route to another prefix", p, c.subnetName(e.subnet)),
			prefixPath(c.d, e.subnet, e.index))
		return false
	}
	return true
}

func (c *domainChecker) nextHop(r *RouteSpec, path string, prefixOK bool) bool {
	if r.Unread.Has(FieldNextHop) {
		return false
	}
	path += ".next_hop"
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
	e, ok := c.prefixes.lookup(nh.addr)
	if !ok {
		if c.prefixesKnown {
			c.add(path, fmt.Sprintf("next hop %s lies in no subnet of the routing domain: want the CA of a VM in one of them", nh))
		}
		return false
	}
	if c.gateways[nh] {
		c.add(path, fmt.Sprintf("next hop %s is the gateway of subnet %s, which would send the packet here again: want the CA of a VM", nh, c.subnetName(e.subnet)))
		return false
	}
	if m := edgeProblem("next hop", nh, CAPrefix{e.prefix}); m != "" {
		c.add(path, m)
		return false
	}
	return true
}

// subnetPrefixProblem says what keeps p from being the prefix of a subnet, or "".
func subnetPrefixProblem(p netip.Prefix) string {
	if !p.IsValid() {
		return "is missing: want a prefix such as 10.0.1.0/24"
	}
	if !supported(p.Addr()) {
		return fmt.Sprintf("prefix %s: IPv6 is not supported yet: want an IPv4 prefix", p)
	}
	if p.IsSingleIP() {
		return fmt.Sprintf("prefix %s has no room for a VM beside the gateway: want /%d or shorter", p, p.Addr().BitLen()-1)
	}
	for _, s := range notUnicast {
		if p.Overlaps(s.prefix) {
			return fmt.Sprintf("prefix %s has %s addresses (%s), which no VM can own: want a prefix of unicast addresses", p, s.what, s.prefix)
		}
	}
	return ""
}

// notUnicast is what RFC 6890 keeps from use by a single machine on a network.
var notUnicast = [...]struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("::/127"), "unspecified and loopback"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// edgeProblem says that a is the network or the broadcast address of an IPv4
// prefix, or "". A /31 has neither (RFC 3021), nor has an IPv6 prefix.
func edgeProblem(what string, a CA, p CAPrefix) string {
	if !p.prefix.Addr().Is4() || p.prefix.Bits() >= 31 {
		return ""
	}
	first, last := p.prefix.Addr(), lastAddr(p.prefix)
	if a.addr != first && a.addr != last {
		return ""
	}
	kind := "network"
	if a.addr == last {
		kind = "broadcast"
	}
	return fmt.Sprintf("%s %s is the %s address of %s: want an address from %s to %s", what, a, kind, p, first.Next(), last.Prev())
}

// DefaultGateways returns the gateways of a subnet with these prefixes where its
// policy gives none: the first usable address of each.
func DefaultGateways(prefixes []CAPrefix) []CA {
	all := make([]CA, len(prefixes))
	for i, p := range prefixes {
		all[i] = defaultGateway(p)
	}
	return all
}

// defaultGateway returns the first usable address of p: the one after the
// network address, or the lower one of a /31 or /127 (RFC 3021, RFC 6164).
func defaultGateway(p CAPrefix) CA {
	a := p.prefix.Addr()
	if p.prefix.Bits() < a.BitLen()-1 {
		a = a.Next()
	}
	return CA{a}
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch left := p.Bits() - 8*i; {
		case left <= 0:
			b[i] = 0xff
		case left < 8:
			b[i] |= 0xff >> left
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "x") {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
