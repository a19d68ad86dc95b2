package sim

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// End says how a packet's walk through the tables ended.
type End uint8

// The ends of a walk.
const (
	// EndActions: the last flow's actions were done, and go to no other table.
	EndActions End = iota
	// EndDrop: the last flow has no actions.
	EndDrop
	// EndMiss: no flow of Result.Table takes the packet.
	EndMiss
	// EndTTL: dec_ttl met a TTL below 2. Open vSwitch does none of the flow's
	// further actions.
	EndTTL
)

// String returns the name of the end.
func (e End) String() string {
	switch e {
	case EndActions:
		return "actions"
	case EndDrop:
		return "drop"
	case EndMiss:
		return "miss"
	case EndTTL:
		return "ttl"
	}
	return "unknown"
}

// Step is one flow that a packet met.
type Step struct {
	Index int        // in Switch.Flows
	Flow  *flow.Flow // must not be modified
}

// Output is a packet that leaves by a port.
type Output struct {
	Port  uint32
	Back  bool // sent to the port that it came in by, on purpose (IN_PORT)
	Frame packet.Frame
	// Outer is the NVGRE header, where the port is a tunnel port.
	Tunnel bool
	Outer  packet.Outer
}

// SkipReason says why an output sends nothing.
type SkipReason uint8

// The reasons.
const (
	// SkipInputPort: a packet never leaves by the port that it came in by,
	// except by IN_PORT.
	SkipInputPort SkipReason = iota + 1
	// SkipNoPort: the switch has no such port.
	SkipNoPort
)

// String returns the reason in words.
func (r SkipReason) String() string {
	switch r {
	case SkipInputPort:
		return "output to the input port"
	case SkipNoPort:
		return "output to a port that is not there"
	}
	return "unknown"
}

// Skip is an output that sends nothing.
type Skip struct {
	Port   uint32
	Reason SkipReason
}

// Punt is a packet that went to controllers. Whether a meter let it through is
// not modelled: it may have dropped it.
type Punt struct {
	Step       int // of Result.Path: the flow that sent it
	Controller uint16
	Meter      uint32 // 0: none
	MaxLen     uint16
	UserData   string
	Frame      packet.Frame
	state      state
}

// Field returns what a field held when the packet was sent to the controllers.
func (p *Punt) Field(f flow.Field) flow.Value { return p.state.get(flow.All(f)) }

// Result is what became of one packet in one switch. The zero Result is ready
// for use.
type Result struct {
	Path    []Step
	Outputs []Output
	Skipped []Skip
	Punts   []Punt
	// Branches are the buckets of groups that were done, in their order; what
	// they met is part of Path and the others. What changed in one of them shows
	// in no other and not behind the group.
	Branches []Branch
	End      End   // of the walk apart from the branches
	Table    uint8 // the table of the end
	final    state
}

// Last returns the last flow that the packet met; nil where it met none.
func (r *Result) Last() *flow.Flow {
	if len(r.Path) == 0 {
		return nil
	}
	return r.Path[len(r.Path)-1].Flow
}

// Field returns what a field held at the end of the walk.
func (r *Result) Field(f flow.Field) flow.Value { return r.final.get(flow.All(f)) }

// Frame returns the frame as it was at the end of the walk; in is the frame
// that came in.
func (r *Result) Frame(in packet.Frame) packet.Frame { return r.final.frame(in) }

// Clone returns a copy that shares nothing with r but flows.
func (r *Result) Clone() *Result {
	c := *r
	c.Path = append([]Step(nil), r.Path...)
	c.Outputs = append([]Output(nil), r.Outputs...)
	c.Skipped = append([]Skip(nil), r.Skipped...)
	c.Punts = append([]Punt(nil), r.Punts...)
	c.Branches = append([]Branch(nil), r.Branches...)
	return &c
}

// String returns the path and what came of it, one line for each.
func (r *Result) String() string {
	s := ""
	for _, step := range r.Path {
		s += step.Flow.Text() + "\n"
	}
	s += fmt.Sprintf("end in table %d: %s\n", r.Table, r.End)
	for _, o := range r.Outputs {
		s += fmt.Sprintf("out by port %d: %s", o.Port, o.Frame)
		if o.Tunnel {
			s += " in " + o.Outer.String()
		}
		s += "\n"
	}
	for _, b := range r.Branches {
		s += fmt.Sprintf("bucket %d of group %d, named by flow %d of the path: end in table %d: %s\n", b.Bucket, b.Group, b.From, b.Table, b.End)
	}
	for _, p := range r.Punts {
		s += fmt.Sprintf("to controllers %#x: %s\n", p.Controller, p.Frame)
	}
	for _, k := range r.Skipped {
		s += fmt.Sprintf("skipped port %d: %s\n", k.Port, k.Reason)
	}
	return s
}

// Run walks a packet through the tables from table 0 and puts what happens
// into r, whose slices are used again.
func (s *Switch) Run(in *Input, r *Result) {
	r.Path, r.Outputs, r.Skipped = r.Path[:0], r.Outputs[:0], r.Skipped[:0]
	r.Punts, r.Branches = r.Punts[:0], r.Branches[:0]
	r.final = state{}
	r.final.load(in.Port, in.Outer, &in.Frame)
	s.walk(in, 0, r)
}

// At returns what the fields of a packet hold when it has met so many flows of its
// way, or as many as there are.
func (s *Switch) At(in *Input, flows int) func(flow.Field) flow.Value {
	r := &Result{}
	r.final.load(in.Port, in.Outer, &in.Frame)
	id, more := uint8(0), true
	for n := 0; n < flows && more; n++ {
		found := int32(-1)
		if t := s.tables[id]; t != nil {
			found = t.lookup(&r.final)
		}
		if found < 0 {
			break
		}
		id, more = s.act(in, s.flows[found].Actions, r)
	}
	return r.Field
}

// walk looks the packet up in a table and in those that follow.
func (s *Switch) walk(in *Input, id uint8, r *Result) {
	for more := true; more; {
		r.Table = id
		t := s.tables[id]
		found := int32(-1)
		if t != nil {
			found = t.lookup(&r.final)
		}
		if found < 0 {
			r.End = EndMiss
			return
		}
		f := &s.flows[found]
		r.Path = append(r.Path, Step{int(found), f})
		r.End = EndActions
		if len(f.Actions) == 0 {
			r.End = EndDrop
		}
		id, more = s.act(in, f.Actions, r)
	}
}

// act does actions of a flow or a bucket and returns the table to go to, if there
// is one.
func (s *Switch) act(in *Input, actions []flow.Action, r *Result) (next uint8, more bool) {
	st := &r.final
	for i := range actions {
		switch a := &actions[i]; a.Op {
		case flow.OpSet:
			// The packet may lack a field all the same: one that ends early.
			if st.headers().canSet(a.Dst.Field) {
				st.set(a.Dst, a.Value)
			}
		case flow.OpMove:
			if h := st.headers(); h.canSet(a.Dst.Field) && h.has(a.Src.Field) {
				st.set(a.Dst, st.get(a.Src))
			}
		case flow.OpDecTTL:
			if st.ttl() <= 1 {
				r.End = EndTTL
				return 0, false
			}
			st[words.Transit] -= 1 << 8
		case flow.OpOutput:
			if a.Port == flow.PortInPort {
				s.output(in, r, in.Port, true)
			} else {
				s.output(in, r, a.Port, false)
			}
		case flow.OpOutputReg:
			switch n := st.get(a.Src); {
			case n.Hi == 0 && n.Lo == portInPort16:
				s.output(in, r, in.Port, true)
			case n.Hi != 0 || n.Lo > MaxPort:
				r.Skipped = append(r.Skipped, Skip{uint32(n.Lo), SkipNoPort})
			default:
				s.output(in, r, uint32(n.Lo), false)
			}
		case flow.OpGoto:
			return a.Table, true
		case flow.OpGroup:
			s.doGroup(in, a.Group, r)
		case flow.OpResubmit:
			s.walk(in, a.Table, r)
		case flow.OpController:
			r.Punts = append(r.Punts, Punt{Step: len(r.Path) - 1, Controller: a.Controller, Meter: a.Meter, MaxLen: a.MaxLen,
				UserData: a.UserData, Frame: st.frame(in.Frame), state: *st})
		case flow.OpCheckLarger:
			size := in.Frame.Size
			if in.Frame.Tagged && st[words.EthDst]>>48&tagPresent == 0 {
				size -= min(size, tagLen)
			}
			st.set(a.Dst, flow.Uint(0))
			if size > a.MaxLen {
				st.set(a.Dst, flow.Uint(1))
			}
		case flow.OpPopVLAN:
			st[words.EthDst] &= low48
		}
	}
	return 0, false
}

// output sends the packet as it is now.
func (s *Switch) output(in *Input, r *Result, port uint32, back bool) {
	if port == in.Port && !back {
		r.Skipped = append(r.Skipped, Skip{port, SkipInputPort})
		return
	}
	p, ok := s.ports[port]
	if !ok {
		r.Skipped = append(r.Skipped, Skip{port, SkipNoPort})
		return
	}
	out := Output{Port: port, Back: back, Frame: r.final.frame(in.Frame), Tunnel: p.Tunnel}
	if p.Tunnel {
		// The metadata stay with the packet; a port's own key is for the wire.
		out.Outer = r.final.outer()
		if !p.AnyKey {
			out.Outer.Key = p.Key
		}
	}
	r.Outputs = append(r.Outputs, out)
}
