package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// addGroups takes over the groups that a switch has.
func (s *Switch) addGroups(groups []flow.Group) error {
	s.groups = make(map[uint32]*flow.Group, len(groups))
	for i := range groups {
		g := &groups[i]
		if s.groups[g.ID] != nil || g.ID > flow.MaxGroup {
			return fmt.Errorf("group %d: want numbers to %d, each once", g.ID, uint32(flow.MaxGroup))
		}
		if g.Type > flow.GroupIndirect || g.Type == flow.GroupIndirect && len(g.Buckets) != 1 {
			return fmt.Errorf("group %d of %s with %d buckets", g.ID, g.Type, len(g.Buckets))
		}
		for _, b := range g.Buckets {
			if g.Type != flow.GroupSelect && b.Weight != 0 {
				return fmt.Errorf("group %d of type %s has a bucket with a weight", g.ID, g.Type)
			}
			for n := range b.Actions {
				a := &b.Actions[n]
				if a.Op == flow.OpResubmit {
					continue
				}
				if a.Op == flow.OpGoto || a.Op == flow.OpGroup || a.Op == flow.OpPopVLAN {
					return fmt.Errorf("group %d: %s is not for a bucket", g.ID, a.Text())
				}
				// Whether the packet has a field shows when it comes.
				any := func(flow.Field) bool { return true }
				if err := checkAction(a, true, any, any); err != nil {
					return fmt.Errorf("group %d: %w", g.ID, err)
				}
			}
		}
		s.groups[g.ID] = g
	}
	return nil
}

// Groups returns the switch's groups by number; they must not be modified.
func (s *Switch) Groups() []*flow.Group {
	return slices.SortedFunc(maps.Values(s.groups), func(g, h *flow.Group) int { return cmp.Compare(g.ID, h.ID) })
}

// checkGroups checks that the groups which a flow names are there, and lead to
// later tables.
func (s *Switch) checkGroups(f *flow.Flow) error {
	for _, a := range f.Actions {
		if a.Op != flow.OpGroup {
			continue
		}
		g := s.groups[a.Group]
		if g == nil {
			return fmt.Errorf("there is no group %d", a.Group)
		}
		for _, b := range g.Buckets {
			for _, a := range b.Actions {
				if a.Op == flow.OpResubmit && a.Table <= f.Table {
					return fmt.Errorf("group %d resubmits back to table %d", g.ID, a.Table)
				}
			}
		}
	}
	return nil
}

// Choices returns how many values of Input.Hash show all that the switch's groups
// can do with a packet that meets one group that selects.
func (s *Switch) Choices() uint32 {
	most := uint32(1)
	for _, g := range s.groups {
		if g.Type == flow.GroupSelect {
			most = max(most, weights(g))
		}
	}
	return most
}

func weights(g *flow.Group) (sum uint32) {
	for _, b := range g.Buckets {
		sum += uint32(b.Weight)
	}
	return sum
}

// Branch is a bucket of a group that was done for a packet.
type Branch struct {
	Group  uint32
	Bucket int // its place in the group
	From   int // the step of Result.Path whose flow names the group
	End    End // how the bucket's walk ended: EndActions where it looks up no table
	Table  uint8
}

// Final returns how a walk ended, and in which table; where a flow did one bucket
// of a group last, how that bucket's walk did.
func (r *Result) Final() (End, uint8) {
	if n := len(r.Branches); n > 0 && r.End == EndActions && r.Branches[n-1].End != EndActions {
		return r.Branches[n-1].End, r.Branches[n-1].Table
	}
	return r.End, r.Table
}

// doGroup does a group's buckets, each with the packet as it is.
func (s *Switch) doGroup(in *Input, id uint32, r *Result) {
	g, from := s.groups[id], len(r.Path)-1
	chosen := -1
	if g.Type == flow.GroupSelect {
		if chosen = choose(g, in.Hash); chosen < 0 {
			return
		}
	}
	before := r.final
	for i := range g.Buckets {
		if chosen >= 0 && i != chosen {
			continue
		}
		n := len(r.Branches)
		r.Branches = append(r.Branches, Branch{Group: id, Bucket: i, From: from})
		end, table := r.End, r.Table
		r.End = EndActions
		s.act(in, g.Buckets[i].Actions, r)
		r.Branches[n].End, r.Branches[n].Table = r.End, r.Table
		r.End, r.Table = end, table
		r.final = before
	}
}

// choose returns the bucket for a hash, or -1 where none has a weight.
func choose(g *flow.Group, hash uint32) int {
	sum := weights(g)
	if sum == 0 {
		return -1
	}
	at := hash % sum
	for i, b := range g.Buckets {
		if w := uint32(b.Weight); at < w {
			return i
		} else {
			at -= w
		}
	}
	return -1
}
