package sim

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// Port is a port of a switch.
type Port struct {
	Number uint32 // OpenFlow port number, 1 to MaxPort
	Tunnel bool   // a gre port with remote_ip=flow and local_ip=flow
	// Key is what the packets of a tunnel port have for a GRE key: any
	// (key=flow) where AnyKey is set, else this one.
	Key    uint32
	AnyKey bool
}

// MaxPort is the greatest number that Open vSwitch gives a port. Its registers
// hold port numbers of 16 bits (OpenFlow 1.0), where more have other meanings.
const MaxPort = 0xfeff

const portInPort16 = 0xfff8 // OFPP_IN_PORT in 16 bits

// Switch is a model of one switch with its ports and flow tables. It does not
// change and may be used by many goroutines.
type Switch struct {
	flows  []flow.Flow
	tables [256]*table
	groups map[uint32]*flow.Group
	ports  map[uint32]Port
	keyed  map[uint32]uint32 // tunnel port of each key
	anyKey uint32            // tunnel port of all other keys; 0 for none
}

// FlowError says that a switch would refuse a flow.
type FlowError struct {
	Index int // in the list of flows
	Flow  flow.Flow
	Text  string
}

func (e *FlowError) Error() string {
	return fmt.Sprintf("flow %d %s: %s", e.Index, e.Flow.Text(), e.Text)
}

// NewSwitch returns a switch with these flows and ports. It keeps flows, which
// must not be modified any more. A flow that Open vSwitch would refuse is a
// [*FlowError]: one whose match or action lacks what it presupposes, that goes
// back to an earlier table, names a group that is not there, or writes what cannot
// be written.
func NewSwitch(flows []flow.Flow, ports []Port, groups ...flow.Group) (*Switch, error) {
	s := &Switch{flows: flows, ports: make(map[uint32]Port, len(ports)), keyed: make(map[uint32]uint32)}
	if err := s.addGroups(groups); err != nil {
		return nil, err
	}
	for _, p := range ports {
		if _, twice := s.ports[p.Number]; twice || p.Number == 0 || p.Number > MaxPort {
			return nil, fmt.Errorf("port %d: want numbers from 1 to %d, each once", p.Number, MaxPort)
		}
		s.ports[p.Number] = p
		switch {
		case p.Tunnel && p.AnyKey:
			s.anyKey = p.Number
		case p.Tunnel:
			s.keyed[p.Key] = p.Number
		}
	}
	for i := range flows {
		f := &flows[i]
		if s.tables[f.Table] == nil {
			s.tables[f.Table] = &table{}
		}
		err := s.tables[f.Table].add(i, f)
		if err == nil {
			err = checkActions(f)
		}
		if err == nil {
			err = s.checkGroups(f)
		}
		if err != nil {
			return nil, &FlowError{i, *f, err.Error()}
		}
	}
	for _, t := range s.tables {
		if t != nil {
			t.ready()
		}
	}
	return s, nil
}

// Check returns an error where a switch would refuse the flow.
func Check(f *flow.Flow) error {
	if _, _, err := tuple(f.Match); err != nil {
		return err
	}
	return checkActions(f)
}

func checkActions(f *flow.Flow) error {
	h := headersOf(f.Match)
	for i := range f.Actions {
		a := &f.Actions[i]
		switch a.Op {
		case flow.OpGoto:
			if a.Table <= f.Table {
				return fmt.Errorf("goes back to table %d", a.Table)
			}
			if i != len(f.Actions)-1 {
				return fmt.Errorf("goto_table must come last")
			}
		case flow.OpPopVLAN:
			if h.tci < 0 {
				return fmt.Errorf("pop_vlan wants a match on a tag")
			}
			h.tci = -1
		case flow.OpResubmit:
			return fmt.Errorf("%s: the model resubmits in the buckets of groups only", a.Text())
		default:
			if err := checkAction(a, h.ip(), h.has, h.canSet); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAction checks an action where has and canSet say which fields the packet
// has, and ip whether it is IPv4 or IPv6.
func checkAction(a *flow.Action, ip bool, has, canSet func(flow.Field) bool) error {
	switch a.Op {
	case flow.OpMove:
		if a.Src.N != a.Dst.N {
			return fmt.Errorf("%s: the two have different widths", a.Text())
		}
		if !fits(a.Src) || !has(a.Src.Field) {
			return fmt.Errorf("%s: the packet may have no such source", a.Text())
		}
		fallthrough
	case flow.OpSet, flow.OpCheckLarger:
		if !fits(a.Dst) || a.Dst.Field.Info().ReadOnly || a.Dst.Field == flow.InPort || !canSet(a.Dst.Field) {
			return fmt.Errorf("%s: the field cannot be written here", a.Text())
		}
		if a.Op == flow.OpCheckLarger && a.Dst.N != 1 {
			return fmt.Errorf("%s: the result is one bit", a.Text())
		}
	case flow.OpDecTTL:
		if !ip {
			return fmt.Errorf("dec_ttl wants a match on IPv4 or IPv6")
		}
	case flow.OpOutput, flow.OpController, flow.OpGroup:
	case flow.OpOutputReg:
		if !fits(a.Src) || !has(a.Src.Field) {
			return fmt.Errorf("%s: the packet may have no such field", a.Text())
		}
	default:
		return fmt.Errorf("unknown action %d", a.Op)
	}
	return nil
}

// fits reports whether b lies in its field.
func fits(b flow.Bits) bool {
	return b.Field < flow.NumFields && b.N > 0 && int(b.Ofs)+int(b.N) <= b.Field.Info().Bits
}

// Flows returns the switch's flows, which must not be modified.
func (s *Switch) Flows() []flow.Flow { return s.flows }

// Port returns the port of that number.
func (s *Switch) Port(n uint32) (Port, bool) { p, ok := s.ports[n]; return p, ok }

// TunnelPort returns the port that an NVGRE packet with that key comes in by:
// the one with just this key before the one with any.
func (s *Switch) TunnelPort(key uint32) (port uint32, ok bool) {
	if p, ok := s.keyed[key]; ok {
		return p, true
	}
	return s.anyKey, s.anyKey != 0
}

// Input is a packet that comes in.
type Input struct {
	Port  uint32
	Outer packet.Outer // zero where the port is no tunnel port
	Frame packet.Frame
	// Hash is what the buckets of groups that select are taken by: bucket number
	// Hash modulo the sum of the weights, each bucket counted as often as it
	// weighs. A real switch hashes the packet in a way of its own; it is free to
	// take any bucket, and takes the same one for all packets of a connection.
	// All that can happen to a packet shows if Hash runs through
	// [Switch.Choices] numbers.
	Hash uint32
}
