package flows

import (
	"iter"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Affected yields, once each, the units of routing domains whose flows may
// differ between two compilers, and the units of all records that differ in
// anything. Where one policy was made from the other by [tenant.Policy.Apply], it
// looks at little more than what was changed between them, and at what hangs on
// that: the records of a subnet that moves to another routing domain, the
// records on a host that comes or goes, all subnets where the gateway MAC
// changes.
//
// moved must yield all iface-ids that the placements have on different hosts;
// others do no harm. on yields the iface-ids that either placement has on a
// host; where it is nil, the placements themselves are gone through for each host
// that comes or goes.
func Affected(before, after *Compiler, moved iter.Seq[string], on func(host string) iter.Seq[string]) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		if on == nil {
			on = placedOn(before.at, after.at)
		}
		a := &affected{before: before, after: after, seen: make(map[Unit]struct{}), yield: yield}
		_ = a.changed() && a.renumbered(on) && a.moved(moved)
	}
}

// affected yields units. Its methods return false where no more are wanted.
type affected struct {
	before, after *Compiler
	hosts         []string // that have come or gone, or have another number
	seen          map[Unit]struct{}
	yield         func(Unit) bool
}

func (a *affected) unit(u Unit) bool {
	if _, again := a.seen[u]; again {
		return true
	}
	a.seen[u] = struct{}{}
	return a.yield(u)
}

// changed yields what hangs on the objects that differ.
func (a *affected) changed() bool {
	b, n := a.before.policy, a.after.policy
	for c := range tenant.Diff(b, n) {
		ok := true
		switch k := c.Key(); k.Kind() {
		case tenant.KindGatewayMAC:
			ok = a.allSubnets(b) && a.allSubnets(n)
		case tenant.KindHost:
			if !a.before.peers.same(&a.after.peers, k.Host()) {
				a.hosts = append(a.hosts, k.Host())
			}
		case tenant.KindSubnet:
			ok = a.subnet(k.VSID())
		case tenant.KindRecord:
			for _, p := range []*tenant.Policy{b, n} {
				if r, there := p.RecordByKey(k); there {
					ok = ok && a.record(&r)
				}
			}
		case tenant.KindRoute:
			ok = a.unit(RouteUnit(k.RDID(), k.Prefix()))
		}
		if !ok {
			return false
		}
	}
	return true
}

func recordUnit(r *tenant.LookupRecord) Unit {
	u := RecordUnit(r.RDID, r.VSID, r.CA)
	if !r.CA.IsValid() {
		u.mac = r.MAC
	}
	return u
}

func (a *affected) allSubnets(p *tenant.Policy) bool {
	for s := range p.Subnets() {
		if !a.unit(SubnetUnit(s.RDID, s.VSID)) {
			return false
		}
	}
	return true
}

func (a *affected) subnet(v tenant.VSID) bool {
	s, was := a.before.policy.Subnet(v)
	t, is := a.after.policy.Subnet(v)
	switch {
	case was && is && s.RDID != t.RDID:
		// The records are the same, but their flows are in another block.
		return a.unit(SubnetUnit(s.RDID, v)) && a.unit(SubnetUnit(t.RDID, v)) &&
			a.records(a.before.policy.RecordsOf(v)) && a.records(a.after.policy.RecordsOf(v))
	case was && is && s.DHCP != t.DHCP:
		// What its VMs may ask.
		return a.unit(SubnetUnit(s.RDID, v)) && a.records(a.before.policy.RecordsOf(v)) && a.records(a.after.policy.RecordsOf(v))
	case was:
		return a.unit(SubnetUnit(s.RDID, v)) && a.wildcards(v)
	case is:
		return a.unit(SubnetUnit(t.RDID, v))
	}
	return true
}

// wildcards yields the wildcards of a subnet: their flows hang on its prefixes.
func (a *affected) wildcards(v tenant.VSID) bool {
	for _, ca := range []tenant.CA{tenant.CAFrom(netip.IPv4Unspecified()), tenant.CAFrom(netip.IPv6Unspecified())} {
		if r, there := a.after.policy.Record(v, ca); there && !a.unit(recordUnit(&r)) {
			return false
		}
	}
	return true
}

func (a *affected) records(all iter.Seq[tenant.LookupRecord]) bool {
	for r := range all {
		if !a.record(&r) {
			return false
		}
	}
	return true
}

// record yields the unit of a record and those of the routes that share traffic
// to it.
func (a *affected) record(r *tenant.LookupRecord) bool { return a.unit(recordUnit(r)) && a.hop(r) }

func (a *affected) hop(r *tenant.LookupRecord) bool {
	for _, c := range []*Compiler{a.before, a.after} {
		for d := range c.shared.by(r.RDID, r.CA) {
			if !a.unit(RouteUnit(d.rdid, d.prefix)) {
				return false
			}
		}
	}
	return true
}

// renumbered yields what hangs on numbers that differ.
func (a *affected) renumbered(on func(string) iter.Seq[string]) bool {
	for id := range a.before.domains.moved(&a.after.domains) {
		for _, c := range []*Compiler{a.before, a.after} {
			for u := range c.Units(id) {
				if !a.unit(u) {
					return false
				}
			}
		}
	}
	for d := range a.before.shared.moved(&a.after.shared.numbers) {
		if !a.unit(RouteUnit(d.rdid, d.prefix)) {
			return false
		}
	}
	for name := range a.before.peers.moved(&a.after.peers) {
		a.hosts = append(a.hosts, name)
	}
	for _, name := range a.hosts {
		for _, c := range []*Compiler{a.before, a.after} {
			if !a.records(c.policy.RecordsOn(name)) {
				return false
			}
		}
		for iface := range on(name) {
			if !a.attachment(iface) {
				return false
			}
		}
	}
	return true
}

func (a *affected) moved(ifaces iter.Seq[string]) bool {
	for iface := range ifaces {
		if a.before.at.Host(iface) != a.after.at.Host(iface) && !a.attachment(iface) {
			return false
		}
	}
	return true
}

// attachment yields what hangs on where an iface-id is attached: its records,
// where they leave their place open, and the routes that share traffic to them. A
// record that has ceased to leave it open differs anyway.
func (a *affected) attachment(iface string) bool {
	for _, c := range []*Compiler{a.before, a.after} {
		for r := range c.policy.RecordsByIfaceID(iface) {
			if r.Host == "" && !a.unit(recordUnit(&r)) || !a.hop(&r) {
				return false
			}
		}
	}
	return true
}

func placedOn(placements ...Placement) func(string) iter.Seq[string] {
	return func(host string) iter.Seq[string] {
		return func(yield func(string) bool) {
			for _, p := range placements {
				for iface, at := range p.All() {
					if at == host && !yield(iface) {
						return
					}
				}
			}
		}
	}
}

// HostsAffected yields, once each, the hosts whose own flows, or those that their
// peers have for them, may differ between two compilers: they have come or gone,
// or have another number or other provider addresses.
func HostsAffected(before, after *Compiler) iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := make(map[string]bool)
		for c := range tenant.Diff(before.policy, after.policy) {
			k := c.Key()
			if k.Kind() > tenant.KindHost {
				break
			}
			if k.Kind() == tenant.KindHost {
				seen[k.Host()] = true
				if !yield(k.Host()) {
					return
				}
			}
		}
		for name := range before.peers.moved(&after.peers) {
			if !seen[name] {
				seen[name] = true
				if !yield(name) {
					return
				}
			}
		}
	}
}
