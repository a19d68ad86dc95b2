package verify

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// buckets is a group that selects, in the form that packets are walked through:
// any of its buckets may take a packet.
type buckets struct {
	steps [][]step
	odd   string // why it cannot be judged
}

// groupsOf returns the groups of a host by number.
func groupsOf(all []flow.Group) map[uint32]*buckets {
	out := make(map[uint32]*buckets, len(all))
	for i := range all {
		g := &all[i]
		b := &buckets{}
		if g.Type != flow.GroupSelect {
			b.odd = fmt.Sprintf("it does group %#x of type %s", g.ID, g.Type)
		}
		for _, k := range g.Buckets {
			if k.Weight == 0 || b.odd != "" {
				continue
			}
			if n := len(k.Actions); n == 0 || k.Actions[n-1].Op != flow.OpResubmit {
				b.odd = fmt.Sprintf("it does group %#x, which sends packets out", g.ID)
				continue
			}
			var steps []step
			if steps, b.odd = stepsOf(&flow.Flow{Actions: k.Actions}); b.odd == "" {
				b.steps = append(b.steps, steps)
			}
		}
		out[g.ID] = b
	}
	return out
}

// group takes packets through the buckets of a group, which a flow does last. Of
// each bucket the proof is made.
func (w *walker) group(r *rule, id uint32, st *state, sp space) {
	g := w.hops[w.cur].host.groups[id]
	if g == nil || g.odd != "" || len(g.steps) == 0 {
		w.asOdd(sp)
		return
	}
	for _, steps := range g.steps {
		b := *r
		b.steps = steps
		w.act(&b, 0, st, false, sp)
		if w.stop {
			return
		}
	}
}

// judge returns what distinguishes the walker's story from what is wanted, and
// the frame delivered from the one wanted; "" where nothing does, or where one of
// several things is wanted and it is that.
func (w *walker) judge(x *want, sp space) string {
	why := w.differ(x)
	if why == "" && w.odd == nil && x.out != nil {
		why = w.frames(x, sp)
	}
	if why == "" || w.odd != nil {
		return why
	}
	for i := range x.or {
		if w.judge(&x.or[i], sp) == "" {
			return ""
		}
	}
	return why
}
