package impact

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// countFlows counts the flows that differ on each host. What hosts with the same
// routing domains share is compared once. Conflicts between objects of the
// policy, which package flows reports, are not looked for.
func countFlows(j *judge) []HostFlows {
	b := flows.NewCompiler(j.before.Policy, j.before.place)
	s := &sharedFlows{b: b, a: b.Next(j.after.Policy, j.after.place), deltas: make(map[string]HostFlows),
		before: make(map[tenant.RDID][]flow.Flow), after: make(map[tenant.RDID][]flow.Flow)}
	s.collect()
	names := make(map[string]bool)
	for _, side := range j.sides() {
		for name := range side.views {
			names[name] = true
		}
	}
	var out []HostFlows
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, wasThere := j.before.views[name]
		is, isThere := j.after.views[name]
		h := HostFlows{Host: name}
		h.add(delta(own(s.b, was, wasThere), own(s.a, is, isThere)))
		h.add(s.delta(domainsOf(j.before, s.b, was), domainsOf(j.after, s.a, is)))
		if h.Added+h.Changed+h.Deleted > 0 {
			out = append(out, h)
		}
	}
	return out
}

func (h *HostFlows) add(d HostFlows) {
	h.Added += d.Added
	h.Changed += d.Changed
	h.Deleted += d.Deleted
}

// sharedFlows compares the parts of routing domains that all of their hosts have.
type sharedFlows struct {
	b, a *flows.Compiler
	// The flows of the units that the change may affect.
	before, after map[tenant.RDID][]flow.Flow
	deltas        map[string]HostFlows // by what a host has, see delta
}

func (s *sharedFlows) collect() {
	moved := func(yield func(string) bool) {
		for _, c := range []*flows.Compiler{s.b, s.a} {
			for iface, host := range c.Placement().All() {
				if (s.b.Placement().Host(iface) != host || s.a.Placement().Host(iface) != host) && !yield(iface) {
					return
				}
			}
		}
	}
	seen := make(map[flows.Unit]bool)
	take := func(u flows.Unit) {
		if seen[u] {
			return
		}
		seen[u] = true
		fs, _ := s.b.Flows(u)
		s.before[u.Domain()] = append(s.before[u.Domain()], fs...)
		fs, _ = s.a.Flows(u)
		s.after[u.Domain()] = append(s.after[u.Domain()], fs...)
	}
	for u := range flows.Affected(s.b, s.a, moved, nil) {
		take(u)
		// Other addresses of its adapter have some of its flows too.
		for _, c := range []*flows.Compiler{s.b, s.a} {
			if r, ok := c.Record(u); ok {
				for o := range c.Policy().RecordsByIfaceID(r.IfaceID) {
					if o.CA.IsValid() && o.CA != r.CA {
						take(flows.RecordUnit(o.RDID, o.VSID, o.CA))
					}
				}
			}
		}
	}
}

// delta returns what differs for a host with those routing domains before and
// after. An entry may go from one routing domain to another, as that of a VSID
// does, and has then changed.
func (s *sharedFlows) delta(before, after map[tenant.RDID]bool) HostFlows {
	var left, entered, kept []tenant.RDID
	for id := range before {
		switch {
		case !after[id]:
			left = append(left, id)
		case len(s.before[id])+len(s.after[id]) > 0:
			kept = append(kept, id)
		}
	}
	for id := range after {
		if !before[id] {
			entered = append(entered, id)
		}
	}
	key := fmt.Sprint(len(left), " ", len(entered), " ")
	for _, ids := range [][]tenant.RDID{left, entered, kept} {
		slices.SortFunc(ids, tenant.RDID.Compare)
		for _, id := range ids {
			key += string(id[:])
		}
	}
	d, ok := s.deltas[key]
	if !ok {
		var b, a []flow.Flow
		for _, id := range kept {
			b, a = append(b, s.before[id]...), append(a, s.after[id]...)
		}
		for _, id := range left {
			b = appendDomain(b, s.b, id)
		}
		for _, id := range entered {
			a = appendDomain(a, s.a, id)
		}
		d = delta(b, a)
		s.deltas[key] = d
	}
	return d
}

func appendDomain(fs []flow.Flow, c *flows.Compiler, id tenant.RDID) []flow.Flow {
	for u := range c.Units(id) {
		more, _ := c.Flows(u)
		fs = append(fs, more...)
	}
	return fs
}

// own returns the flows of a host that are not those of a routing domain.
func own(c *flows.Compiler, v flows.HostView, there bool) (fs []flow.Flow) {
	if !there {
		return nil
	}
	for u := range c.HostUnits(v) {
		more, _ := c.Flows(u)
		fs = append(fs, more...)
	}
	return fs
}

// domainsOf returns the routing domains that a host has VMs of.
func domainsOf(s *side, c *flows.Compiler, v flows.HostView) map[tenant.RDID]bool {
	ids := make(map[tenant.RDID]bool)
	for _, at := range v.Attachments {
		r, ok := s.Policy.RecordByIfaceID(at.IfaceID)
		if ok && at.OFPort != 0 && at.OFPort <= flow.PortMax && c.HostOf(&r) == v.Name {
			ids[r.RDID] = true
		}
	}
	for _, id := range v.Hold {
		if _, ok := s.Policy.RoutingDomain(id); ok {
			ids[id] = true
		}
	}
	return ids
}

// delta compares two lists of flows, which it sorts. What is in a list twice
// counts once.
func delta(before, after []flow.Flow) (d HostFlows) {
	byEntry := func(f, g flow.Flow) int { return flow.Compare(&f, &g) }
	slices.SortFunc(before, byEntry)
	slices.SortFunc(after, byEntry)
	same := func(f, g flow.Flow) bool { return flow.Compare(&f, &g) == 0 }
	before, after = slices.CompactFunc(before, same), slices.CompactFunc(after, same)
	for len(before) > 0 || len(after) > 0 {
		order := -1
		switch {
		case len(before) == 0:
			order = 1
		case len(after) > 0:
			order = flow.Compare(&before[0], &after[0])
		}
		switch {
		case order < 0:
			d.Deleted++
			before = before[1:]
		case order > 0:
			d.Added++
			after = after[1:]
		default:
			if !before[0].Equal(&after[0]) {
				d.Changed++
			}
			before, after = before[1:], after[1:]
		}
	}
	return d
}
