package tenant

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// domainChecker puts what belongs into one routing domain.
type domainChecker struct {
	*checker
	i int // of work
	w *domainWork
	d *domain
	// prefixes are those of the subnets that are put, and those of other subnets
	// that overlap them. The rest is in d.
	prefixes prefixIndex
	others   []*subnet // entry -1-i of prefixes belongs to subnet i of these
	// prefixesKnown says that every prefix of the domain could be read and is
	// sound, so that an address outside them all is a problem of its own.
	prefixesKnown bool

	names map[string]int // subnets that are put, by name
}

// subnet checks what a subnet says of itself and gathers its prefixes.
func (c *domainChecker) subnet(j int) {
	w := c.w.subnets[j]
	if w.spec == nil {
		w.known = w.s != nil
		if w.s == nil {
			w.s = &subnet{owner: c.o} // as for a routing domain
		}
		w.prefixes, w.gateways = w.s.is.Prefixes, w.s.is.Gateways
		c.prefixesKnown = c.prefixesKnown && w.known
		return
	}
	s := w.spec
	c.subnetIdentity(j)
	c.subnetName(j)

	path := c.path(j)
	w.known = !s.Unread.Has(FieldPrefixes)
	if w.known && len(s.Prefixes) == 0 {
		c.add(c.field(path, "prefixes"), "is missing: want at least one prefix, such as [10.0.1.0/24]")
		w.known = false
	}
	for k, p := range s.Prefixes {
		if m := subnetPrefixProblem(p.prefix); m != "" {
			if p.IsValid() || !s.Unread.Has(FieldPrefixes) {
				c.add(c.prefixPath(path, k), m)
			}
			w.known = false
			continue
		}
		c.prefixes.add(p.prefix, j, k)
	}
	c.prefixesKnown = c.prefixesKnown && w.known
	c.subnetGateways(j)
	c.subnetServices(j)
	w.s.is.Prefixes, w.s.is.Gateways = w.prefixes, w.gateways
}

// subnetIdentity claims the VSID.
func (c *domainChecker) subnetIdentity(j int) {
	w := c.w.subnets[j]
	s := w.spec
	replaces := w.s != nil
	if !replaces {
		w.s = &subnet{owner: c.o}
	}
	w.s.is = VirtualSubnet{VSID: w.vsid, RDID: c.w.rdid, Name: s.Name, Multicast: s.Multicast.resolved(), DHCP: s.DHCP,
		DNS: slices.Clone(s.DNS), Domain: s.Domain, Lease: cmp.Or(s.Lease, DefaultLease), MTU: s.MTU, Source: s.Source}
	if s.Name == "" {
		w.s.is.Name = w.vsid.String()
	}
	path := c.field(c.path(j), "vsid")
	switch first, taken := c.vsidAt[w.vsid]; {
	case s.Unread.Has(FieldVSID):
	case s.VSID == 0:
		c.add(path, fmt.Sprintf("is missing, or zero: want a number from %d to %d", MinVSID, MaxVSID))
	case s.VSID > 0xFFFFFF:
		c.add(path, fmt.Sprintf("VSID %d has more than 24 bits: want %d to %d", s.VSID, MinVSID, MaxVSID))
	case !w.vsid.Valid():
		c.add(path, fmt.Sprintf("VSID %d is reserved (RFC 7637 section 3.4): want %d to %d", s.VSID, MinVSID, MaxVSID))
	case taken:
		c.add(path, fmt.Sprintf("VSID %d is given twice: want a VSID of its own for each subnet of the policy", s.VSID),
			c.field(c.checker.subnetPath(first), "vsid"))
	default:
		c.vsidAt[w.vsid] = subnetRef{c.i, j}
		c.d.subnets.Insert(c.o, w.vsid)
		if !replaces {
			c.subnets.Insert(c.o, w.s)
		}
	}
}

// subnetName claims the name.
func (c *domainChecker) subnetName(j int) {
	w := c.w.subnets[j]
	n := subnetName{w.spec.Name, w.vsid}
	if n.name == "" && w.vsid != 0 {
		n.name = w.vsid.String()
	}
	if n.name == "" || w.spec.Unread.Has(FieldName) {
		return
	}
	path := c.field(c.path(j), "name")
	if m := nameProblem("the subnet's name", n.name, MaxName); m != "" {
		c.add(path, m)
		return
	}
	old, taken := c.d.names.Insert(c.o, n)
	if !taken {
		if c.names == nil {
			c.names = make(map[string]int, len(c.w.subnets))
		}
		c.names[n.name] = j
		return
	}
	if w.spec.Name == "" && old.vsid == n.vsid {
		return // two without a name: the VSID is given twice
	}
	related := SubnetKey(old.vsid).String()
	if first, here := c.names[n.name]; here {
		related = c.path(first)
	}
	c.add(path, fmt.Sprintf("subnet %q is given twice: want a name of its own for each subnet of the routing domain", n.name),
		c.field(related, "name"))
}

func (c *domainChecker) subnetGateways(j int) {
	w := c.w.subnets[j]
	s := w.spec
	w.prefixes, w.gateways = slices.Clone(s.Prefixes), slices.Clone(s.Gateways)
	if len(s.Gateways) == 0 && !s.Unread.Has(FieldGateways) {
		w.gateways = DefaultGateways(s.Prefixes)
		return
	}
	path := c.path(j)
	known := w.known
	if known && !s.Unread.Has(FieldGateways) && len(s.Gateways) != len(s.Prefixes) {
		c.add(c.field(path, "gateways"), fmt.Sprintf("has %s for %s: want one gateway for each prefix, in the order of prefixes, or none for the first usable addresses",
			plural(len(s.Gateways), "gateway"), plural(len(s.Prefixes), "prefix")))
		known = false
	}
	for k, g := range s.Gateways {
		gwPath := c.field(path, fmt.Sprintf("gateways[%d]", k))
		if m := addrProblem("CA", g.addr); m != "" {
			if g.IsValid() || !s.Unread.Has(FieldGateways) {
				c.add(gwPath, m)
			}
			continue
		}
		if !known || k >= len(s.Prefixes) {
			continue
		}
		p := s.Prefixes[k]
		if !p.Contains(g) {
			c.add(gwPath, fmt.Sprintf("gateway %s is outside prefix %s: want an address in it, such as %s", g, p, defaultGateway(p)),
				c.prefixPath(path, k))
		} else if m := edgeProblem("gateway", g, p); m != "" {
			c.add(gwPath, m)
		}
	}
}

// overlaps reports each prefix that shares addresses with another of the domain.
func (c *domainChecker) overlaps() {
	c.addOverlapped()
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
			where = "of subnet " + c.shown(a)
		}
		what := fmt.Sprintf("prefix %s overlaps %s %s", b.prefix, a.prefix, where)
		if a.prefix == b.prefix {
			what = fmt.Sprintf("prefix %s is there already, %s", b.prefix, where)
		}
		c.add(c.entryPath(b), what+": want prefixes that share no address in a routing domain", c.entryPath(a))
	}
}

// addOverlapped adds the prefixes of the domain that overlap one that is put.
// They are disjoint, so that the others take part in no problem.
func (c *domainChecker) addOverlapped() {
	if c.d.prefixes.Len() == 0 {
		return
	}
	seen := make(map[prefixRef]bool)
	add := func(r prefixRef) {
		if !seen[r] {
			seen[r] = true
			e := c.other(r)
			c.prefixes.add(e.prefix, e.subnet, e.index)
		}
	}
	for _, e := range slices.Clone(c.prefixes.entries) {
		if r, ok := c.around(e.prefix.Addr()); ok {
			add(r)
		}
		for r := range c.d.prefixes.From(func(r prefixRef) int { return r.prefix.Addr().Compare(e.prefix.Addr()) }) {
			if !e.prefix.Contains(r.prefix.Addr()) {
				break
			}
			add(r)
		}
	}
}

// around returns the prefix of d that holds a.
func (c *domainChecker) around(a netip.Addr) (prefixRef, bool) {
	r, ok := c.d.prefixes.Floor(func(r prefixRef) int { return r.prefix.Addr().Compare(a) })
	return r, ok && r.prefix.Contains(a)
}

// other returns a prefix of a subnet that is not put as an entry like the others.
func (c *domainChecker) other(r prefixRef) prefixEntry {
	s, _ := c.subnets.Find(byVSID(r.vsid))
	c.others = append(c.others, s)
	return prefixEntry{r.prefix, -len(c.others), r.index}
}

// lookup returns the narrowest prefix of the domain that holds a.
func (c *domainChecker) lookup(a netip.Addr) (prefixEntry, bool) {
	if e, ok := c.prefixes.lookup(a); ok {
		return e, true
	}
	if r, ok := c.around(a); ok {
		return c.other(r), true
	}
	return prefixEntry{}, false
}

// exact returns the entry of exactly that prefix.
func (c *domainChecker) exact(p netip.Prefix) (prefixEntry, bool) {
	if e, ok := c.prefixes.exact(p); ok {
		return e, true
	}
	if r, ok := c.around(p.Addr()); ok && r.prefix == p {
		return c.other(r), true
	}
	return prefixEntry{}, false
}

// keepPrefixes adds the prefixes that were put to the domain's.
func (c *domainChecker) keepPrefixes() {
	if len(c.problems) > 0 {
		return
	}
	for _, w := range c.w.subnets {
		for k, p := range w.prefixes {
			if w.spec != nil {
				c.d.prefixes.Insert(c.o, prefixRef{p.prefix, w.vsid, k})
			}
		}
	}
}

// path returns the path of a subnet of the domain.
func (c *domainChecker) path(j int) string { return c.checker.subnetPath(subnetRef{c.i, j}) }

func (c *checker) prefixPath(subnet string, k int) string {
	return c.field(subnet, fmt.Sprintf("prefixes[%d]", k))
}

func (c *domainChecker) entryPath(e prefixEntry) string {
	if e.subnet < 0 {
		return c.prefixPath(SubnetKey(c.others[-1-e.subnet].is.VSID).String(), e.index)
	}
	return c.prefixPath(c.path(e.subnet), e.index)
}

// subnetOf returns the subnet that a prefix belongs to.
func (c *domainChecker) subnetOf(e prefixEntry) *subnet {
	if e.subnet < 0 {
		return c.others[-1-e.subnet]
	}
	return c.w.subnets[e.subnet].s
}

// shown names the subnet of e in a message: by its name where it has one.
func (c *domainChecker) shown(e prefixEntry) string {
	s := c.subnetOf(e)
	if s.is.Name == s.is.VSID.String() {
		return s.is.Name
	}
	return fmt.Sprintf("%q", s.is.Name)
}
