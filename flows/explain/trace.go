package explain

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// Kind says what became of a packet.
type Kind string

// The kinds.
const (
	Delivered Kind = "delivered" // to a VM
	Answered  Kind = "answered"  // by the network itself, back to the sender
	Dropped   Kind = "dropped"   // by a flow, or for want of one
	Asked     Kind = "asked"     // of the controller, which answers
	Lost      Kind = "lost"      // on the way between two hosts
	Undecided Kind = "undecided" // the model of the switch cannot tell
)

// Trace is all that became of one packet.
type Trace struct {
	From   string       `json:"from"`
	To     string       `json:"to"`
	Packet string       `json:"packet"`
	Frame  packet.Frame `json:"-"`
	Hops   []Hop        `json:"hops"`
	// Outcomes are what became of it: one, save where a flow multiplies packets.
	Outcomes []Outcome `json:"outcomes"`
	// Intended is what the policy means should become of it.
	Intended Outcome `json:"intended"`
	// AsIntended says that there is one outcome and that it is the intended one:
	// the same place, the same headers and the same way, or a drop for a drop.
	AsIntended bool     `json:"as_intended"`
	Notes      []string `json:"notes"`
}

// Hop is a packet's way through one host.
type Hop struct {
	Host      string      `json:"host"`
	From      int         `json:"from"` // the hop that sent it here; -1 for the first
	Port      uint32      `json:"port"`
	PortName  string      `json:"port_name,omitempty"`
	Frame     string      `json:"frame"`             // as it came in
	Wire      *Wire       `json:"wire,omitempty"`    // the NVGRE header that it came in
	Steps     []Step      `json:"steps"`             // one for each table
	Rewritten []string    `json:"rewritten"`         // headers of the frame that changed
	Sent      []Sent      `json:"sent"`              // what left the host
	Skipped   []string    `json:"skipped"`           // outputs that send nothing
	Input     sim.Input   `json:"-"`                 // what came in
	Result    *sim.Result `json:"-"`                 // what the model says
	Unknown   string      `json:"unknown,omitempty"` // why nobody knows what the host does
}

// Step is a table with the flow that decided.
type Step struct {
	ID       uint8     `json:"table"`
	Table    string    `json:"table_name"`
	Priority uint16    `json:"priority"`
	Cookie   string    `json:"cookie"`
	Flow     flow.Flow `json:"-"`
	Text     string    `json:"named"` // match and actions in the pipeline's names
	Owner    string    `json:"owner"`
	Source   string    `json:"source,omitempty"` // file:line:column, or the key of the object
	Foreign  bool      `json:"foreign"`
	Drop     string    `json:"drop,omitempty"`    // the reason's name
	Unknown  string    `json:"unknown,omitempty"` // what the flow does that the model does not know
}

// Wire is an NVGRE header (RFC 7637 section 3.2).
type Wire struct {
	Src    netip.Addr `json:"src"`
	Dst    netip.Addr `json:"dst"`
	Key    uint32     `json:"key"` // VSID<<8 | FlowID
	VSID   uint32     `json:"vsid"`
	FlowID uint8      `json:"flow_id"`
}

func newWire(o packet.Outer) *Wire {
	if !o.Src.IsValid() && !o.Dst.IsValid() && o.Key == 0 {
		return nil
	}
	return &Wire{o.Src, o.Dst, o.Key, uint32(o.VSID()), o.FlowID()}
}

// String returns the header in one line.
func (w *Wire) String() string {
	return fmt.Sprintf("NVGRE %s > %s key %#x (VSID %d, FlowID %d)", w.Src, w.Dst, w.Key, w.VSID, w.FlowID)
}

// Sent is a packet that left a host.
type Sent struct {
	Port     uint32 `json:"port"`
	PortName string `json:"port_name,omitempty"`
	VM       string `json:"vm,omitempty"`
	Frame    string `json:"frame"`
	Wire     *Wire  `json:"wire,omitempty"`
}

// Outcome is what became of a packet, or should.
type Outcome struct {
	Kind   Kind   `json:"kind"`
	Host   string `json:"host,omitempty"`
	Table  string `json:"table,omitempty"`  // where a flow dropped it
	Reason string `json:"reason,omitempty"` // the name of the drop's reason
	VM     string `json:"vm,omitempty"`
	Port   uint32 `json:"port,omitempty"`
	Frame  string `json:"frame,omitempty"` // as it comes out
	Text   string `json:"text"`            // the whole in one line
}

// modelLimit says what a switch does by a special OpenFlow port (OpenFlow 1.3.5
// section 7.2.1), which package sim does not do; "" of other ports.
func modelLimit(port uint32) string {
	switch port | 0xffff0000 {
	case 0xfffffff9:
		return "hands the packet back to the tables (TABLE)"
	case 0xfffffffa:
		return "hands the packet to the switch's normal, learning switching (NORMAL)"
	case 0xfffffffb:
		return "floods the packet (FLOOD)"
	case 0xfffffffc:
		return "sends the packet to all ports (ALL)"
	case 0xfffffffd:
		return "sends the packet to a controller (CONTROLLER)"
	case 0xfffffffe:
		return "sends the packet to the host's own network stack (LOCAL)"
	}
	return ""
}

func newStep(n *flows.Namer, at func(flows.Owner) string, f *flow.Flow, unknown string) Step {
	s := Step{
		ID: f.Table, Table: flows.TableName(f.Table), Priority: f.Priority, Cookie: fmt.Sprintf("%#x", f.Cookie), Flow: *f,
		Text: n.Flow(f), Owner: n.OwnerText(f.Cookie), Foreign: !flows.Ours(f.Cookie), Unknown: unknown,
	}
	if unknown != "" {
		s.Text += " (" + unknown + ")"
	}
	if owners := n.Owners(f.Cookie); len(owners) == 1 {
		s.Source = at(owners[0])
	}
	if r, ok := flows.Reason(f.Cookie); ok {
		s.Drop = r.String()
	}
	return s
}
