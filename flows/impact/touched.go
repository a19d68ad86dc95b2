package impact

import (
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// touched is the routing domains in which something differs. whole says that all
// pairs of the domain may; else those of the VMs that differ.
type touched struct{ whole map[tenant.RDID]bool }

func (t touched) add(id tenant.RDID, whole bool) { t.whole[id] = t.whole[id] || whole }

func (t touched) sorted() []tenant.RDID {
	return slices.SortedFunc(maps.Keys(t.whole), tenant.RDID.Compare)
}

func (j *judge) touched() touched {
	t := touched{make(map[tenant.RDID]bool)}
	hosts := make(map[string]bool)
	sides := [...]*side{j.before, j.after}
	for c := range tenant.Diff(j.before.Policy, j.after.Policy) {
		k := c.Key()
		for _, s := range sides {
			switch k.Kind() {
			case tenant.KindGatewayMAC:
				for d := range s.Policy.RoutingDomains() {
					t.add(d.RDID, true)
				}
			case tenant.KindHost:
				hosts[k.Host()] = true
			case tenant.KindRoute:
				t.add(k.RDID(), true)
			case tenant.KindSubnet, tenant.KindRecord:
				if n, ok := s.Policy.Subnet(k.VSID()); ok {
					t.add(n.RDID, k.Kind() == tenant.KindSubnet)
				}
			}
		}
	}
	for name := range j.before.views {
		if !sameTunnels(j.before.views[name], j.after.views[name]) {
			hosts[name] = true
		}
	}
	for name := range j.after.views {
		if !sameTunnels(j.before.views[name], j.after.views[name]) {
			hosts[name] = true
		}
	}
	// VMs whose place is another, or on a host that is another.
	for _, s := range sides {
		for r := range s.Policy.Records() {
			was, wasPort := j.before.oracle.Place(r.IfaceID)
			is, isPort := j.after.oracle.Place(r.IfaceID)
			if was != is || (wasPort == 0) != (isPort == 0) || hosts[was] || hosts[is] {
				t.add(r.RDID, false)
			}
		}
	}
	return t
}

func sameTunnels(a, b flows.HostView) bool {
	return (a.Tunnels.Flow == 0) == (b.Tunnels.Flow == 0) && (a.Tunnels.PerVSID == nil) == (b.Tunnels.PerVSID == nil) &&
		maps.EqualFunc(a.Tunnels.PerVSID, b.Tunnels.PerVSID, func(p, q uint32) bool { return (p == 0) == (q == 0) })
}
