package probe

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// Watch is a temporary flow that watches an echo message at one flow of its way.
type Watch struct {
	Host string
	Hop  int  // of the trace
	Step int  // of the hop
	Last bool // of the hop: where the message leaves the host or ends
	Flow flow.Flow
}

// priority is that of all watching flows. They take only what goes to the flow
// that they stand in front of, so there is no need to be any lower.
const priority = 0xffff

// Watches returns the flows that watch an echo message which fares as a trace by
// the live flows says: where it comes into each host, and where that host's
// tables end with it. The cookies of the flows count up from first; controller is
// the number of the channel that gets the copies. Of a message whose TTL nobody
// knows (anyTTL) only those flows are watched whose tables do not look at it.
//
// What cannot be watched without disturbing others is left out: flows that nobody
// can copy, and tables with flows of which it is not known what they match.
func Watches(t *explain.Tracer, tr *explain.Trace, controller, first uint16, anyTTL bool) (all []Watch) {
	for i := range tr.Hops {
		h := &tr.Hops[i]
		if h.Unknown != "" || h.Result == nil || len(h.Steps) == 0 {
			continue
		}
		last := len(h.Steps) - 1
		for _, k := range slices.Compact([]int{0, last}) {
			f, ok := watching(t, h, k, anyTTL)
			if !ok {
				continue
			}
			f.Cookie = flows.ProbeMark | uint64(first) + uint64(len(all))
			f.Actions = append([]flow.Action{flow.ToController(controller, 0)}, f.Actions...)
			all = append(all, Watch{Host: h.Host, Hop: i, Step: k, Last: k == last, Flow: f})
		}
	}
	return all
}

// watching returns a flow that does what step k of a hop does, for what nobody in
// that table can tell from the message.
func watching(t *explain.Tracer, h *explain.Hop, k int, anyTTL bool) (flow.Flow, bool) {
	s := &h.Steps[k]
	tested, sure := t.Tested(h.Host, s.ID)
	if s.Unknown != "" || !sure {
		return flow.Flow{}, false
	}
	frame := &h.Input.Frame
	fields := echoFields(frame)
	_, looksAtTTL := tested[flow.IPTTL]
	for f := range fields {
		tested[f] = flow.Ones(f.Info().Bits)
	}
	if anyTTL {
		if looksAtTTL {
			return flow.Flow{}, false
		}
		delete(tested, flow.IPTTL)
	}
	f := flow.Flow{Table: s.ID, Priority: priority, Actions: s.Flow.Actions}
	for field, mask := range tested {
		_, own := fields[field]
		if !own && !metadata(field) && field != flow.EthDst && field != flow.EthSrc && field != flow.VLANTCI {
			continue // a field that the message does not have
		}
		if tunnel4(field) && !h.Input.Outer.Dst.Is4() || tunnel6(field) && !h.Input.Outer.Dst.Is6() {
			continue
		}
		f.Match = append(f.Match, flow.Masked(field, t.Before(h, k, field), mask))
	}
	f.Match = f.Match.Canonical()
	return f, true
}

// echoFields are the fields by which an echo message is known.
func echoFields(f *packet.Frame) map[flow.Field]bool {
	m := map[flow.Field]bool{flow.EthType: true, flow.IPProto: true, flow.IPTTL: true}
	more := []flow.Field{flow.IPv4Src, flow.IPv4Dst, flow.ICMPType, flow.ICMPCode}
	if f.HasIPv6() {
		more = []flow.Field{flow.IPv6Src, flow.IPv6Dst, flow.ICMPv6Type, flow.ICMPv6Code}
	}
	for _, x := range more {
		m[x] = true
	}
	return m
}

func metadata(f flow.Field) bool { return f <= flow.Reg15 }
func tunnel4(f flow.Field) bool  { return f == flow.TunSrc || f == flow.TunDst }
func tunnel6(f flow.Field) bool  { return f == flow.TunIPv6Src || f == flow.TunIPv6Dst }
