package verify

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// flowIDBits is the part of the GRE key that tells nobody where a packet belongs
// (RFC 7637 section 3.2).
var flowIDBits = flow.Bits{Field: flow.TunID, N: 8}

// withoutFlowIDs returns the hosts with each group that only chooses a FlowID
// replaced, in the flows that do it, by its first bucket. Where no flow of any host
// reads the FlowID, a packet's way does not depend on it, so what is proved for
// one FlowID is proved for all. Flows that do other groups stay.
func withoutFlowIDs(hosts []Host) []Host {
	if !slices.ContainsFunc(hosts, func(h Host) bool { return len(h.Groups) > 0 }) || slices.ContainsFunc(hosts, readsFlowID) {
		return hosts
	}
	hosts = slices.Clone(hosts)
	for i := range hosts {
		h := &hosts[i]
		one := map[uint32][]flow.Action{}
		for _, g := range h.Groups {
			if choosesFlowID(&g) {
				one[g.ID] = g.Buckets[0].Actions
			}
		}
		if len(one) == 0 {
			continue
		}
		h.Flows = slices.Clone(h.Flows)
		for n := range h.Flows {
			f := &h.Flows[n]
			// The last action: what a bucket changes is undone behind the group.
			last := len(f.Actions) - 1
			if last < 0 || f.Actions[last].Op != flow.OpGroup {
				continue
			}
			if in, ok := one[f.Actions[last].Group]; ok {
				f.Actions = append(slices.Clip(f.Actions[:last]), in...)
			}
		}
	}
	return hosts
}

// choosesFlowID reports whether all buckets of a group that selects do the same, up
// to the FlowID that they write.
func choosesFlowID(g *flow.Group) bool {
	if g.Type != flow.GroupSelect || len(g.Buckets) == 0 {
		return false
	}
	plain := func(b flow.Bucket) []flow.Action {
		out := slices.Clone(b.Actions)
		for i := range out {
			if out[i].Op == flow.OpSet && out[i].Dst == flowIDBits {
				out[i].Value = flow.Value{}
			}
		}
		return out
	}
	first := plain(g.Buckets[0])
	for _, b := range g.Buckets {
		if b.Weight == 0 || !slices.Equal(plain(b), first) {
			return false
		}
	}
	// It must go nowhere else from here.
	return !slices.ContainsFunc(first, func(a flow.Action) bool { return a.Op != flow.OpSet && a.Op != flow.OpOutput })
}

// readsFlowID reports whether what becomes of a packet on a host may depend on its
// FlowID: a flow tests it or copies it elsewhere, or only a port of some keys
// takes packets from the underlay. What cannot be expressed may do either.
func readsFlowID(h Host) bool {
	if len(h.Odd) > 0 || h.View.Tunnels.PerVSID != nil {
		return true
	}
	low := flowIDBits.Mask()
	return slices.ContainsFunc(h.Flows, func(f flow.Flow) bool {
		if t, ok := f.Match.Find(flow.TunID); ok && !t.Mask.And(low).IsZero() {
			return true
		}
		return slices.ContainsFunc(f.Actions, func(a flow.Action) bool {
			reads := a.Op == flow.OpMove || a.Op == flow.OpOutputReg
			return reads && a.Src.Field == flow.TunID && !a.Src.Mask().And(low).IsZero()
		})
	})
}
