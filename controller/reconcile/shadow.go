package reconcile

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Shadow is a foreign flow that takes packets from at least one of ours: it is in
// the same table, its priority is not lower, and their matches overlap. It is
// never touched.
type Shadow struct {
	Flow   string // the foreign one, in OVS syntax
	Cookie uint64 // its cookie
	Over   string // the first of ours that was found
	Owner  string // of that one, in the tenant's words
}

const (
	// MaxShadows bounds how many shadows a [Status] names.
	MaxShadows = 20
	// maxOthers bounds how many foreign flows are held against ours.
	maxOthers = 256
)

// note keeps a foreign flow whose match is known.
func (a *Actual) note(e *openflow.Entry) {
	if len(a.others) >= maxOthers || flows.Probe(e.Cookie()) {
		return
	}
	if e.Odd != nil {
		a.others = append(a.others, e.Odd.Flow)
		return
	}
	if f, err := openflow.Encoded(e.Octets).Decode(); err == nil {
		a.others = append(a.others, f)
	}
}

// findShadows holds foreign flows against the wanted ones. It costs nothing for
// tables without foreign flows.
func findShadows(others []flow.Flow, want *Desired) []Shadow {
	if len(others) == 0 {
		return nil
	}
	var in [256][]int // numbers of foreign flows by table; those that are found leave
	left := len(others)
	for i := range others {
		in[others[i].Table] = append(in[others[i].Table], i)
	}
	found := make([]Shadow, len(others))
	shadow := func(ours openflow.Encoded) {
		list := in[ours.Table()]
		if len(list) == 0 {
			return
		}
		g, err := ours.Decode()
		if err != nil {
			return
		}
		kept := list[:0]
		for _, i := range list {
			f := &others[i]
			if f.Priority < g.Priority || !overlap(f.Match, g.Match) {
				kept = append(kept, i)
				continue
			}
			found[i] = Shadow{Flow: f.Text(), Cookie: f.Cookie, Over: g.Text(), Owner: ownerOf(want, ours)}
			left--
		}
		in[ours.Table()] = kept
	}
	for f := range want.Flows.Unordered() {
		if shadow(f); left == 0 {
			break
		}
	}
	var out []Shadow
	for i := range found {
		if found[i].Flow != "" {
			out = append(out, found[i])
		}
	}
	return out
}

// overlap reports whether a packet can match both.
func overlap(m, n flow.Match) bool {
	for _, t := range m {
		if u, ok := n.Find(t.Field); ok {
			if both := t.Mask.And(u.Mask); t.Value.And(both) != u.Value.And(both) {
				return false
			}
		}
	}
	return true
}
