package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Host is what is known of a host but for its flows.
type Host struct {
	View  flows.HostView
	Names map[uint32]string // of ports, by number; may be nil
	// MACs has the MAC that the host says a VM's port has, by iface-id, and PAs
	// the provider addresses that it says it has. Both may be empty.
	MACs map[string]string
	PAs  []tenant.PA
}

// Table gives the flows of a host's switch: those that can be expressed and
// those that cannot.
type Table func(host string) (Contents, error)

// Contents is what a host's switch holds.
type Contents struct {
	Flows  []flow.Flow
	Odd    []verify.OddFlow
	Groups []flow.Group
}

// Desired returns the flows that a policy gives these hosts.
func Desired(p *tenant.Policy, hosts []Host) Table {
	at := make(map[string][]flows.Attachment)
	views := make(map[string]flows.HostView)
	for _, h := range hosts {
		at[h.View.Name], views[h.View.Name] = h.View.Attachments, h.View
	}
	place, _ := flows.Place(p, at)
	c := flows.NewCompiler(p, place)
	return func(host string) (Contents, error) {
		v, ok := views[host]
		if !ok {
			return Contents{}, fmt.Errorf("what is attached to host %s is not known", host)
		}
		r := c.Host(v)
		return Contents{Flows: r.Flows, Groups: r.Groups}, nil
	}
}

// Tracer traces packets through one network. It asks for the flows of those
// hosts only that packets pass. It is for one goroutine.
type Tracer struct {
	policy *tenant.Policy
	hosts  map[string]*Host
	flows  Table
	oracle *oracle.Oracle
	owners map[netip.Addr]string
	known  map[string]*hostFlows
}

// hostFlows are the flows of one host, ready to be walked.
type hostFlows struct {
	model *sim.Switch
	namer *flows.Namer
	odd   map[int]string // by index in the model: what is not known of a flow
	blind []string       // flows that may take any packet, for all that is known
	err   error

	tested map[uint8]map[flow.Field]flow.Value // by table
}

// NewTracer returns a tracer for a policy, the hosts that are known and their
// flows.
func NewTracer(p *tenant.Policy, hosts []Host, t Table) *Tracer {
	tr := &Tracer{policy: p, hosts: make(map[string]*Host), flows: t, owners: make(map[netip.Addr]string), known: make(map[string]*hostFlows)}
	states := make(map[string]oracle.HostState)
	for i := range hosts {
		h := &hosts[i]
		tr.hosts[h.View.Name] = h
		states[h.View.Name] = stateOf(h.View)
	}
	for h := range p.Hosts() {
		for _, a := range h.ProviderAddresses {
			tr.owners[a.PA.Addr()] = h.Name
		}
		if tr.hosts[h.Name] == nil {
			// What the policy means does not depend on who answers.
			states[h.Name] = oracle.HostState{Tunnels: oracle.Tunnels{Any: true}}
		}
	}
	tr.oracle = oracle.New(p, states)
	return tr
}

func stateOf(v flows.HostView) oracle.HostState {
	s := oracle.HostState{Tunnels: oracle.Tunnels{Any: v.Tunnels.Flow != 0, PerVSID: v.Tunnels.PerVSID != nil, FlowID: v.Tunnels.FlowID}}
	if s.Tunnels.PerVSID {
		s.Tunnels.VSIDs = make(map[tenant.VSID]bool)
		for id, port := range v.Tunnels.PerVSID {
			s.Tunnels.VSIDs[id] = port != 0
		}
	}
	for _, a := range v.Attachments {
		s.Attachments = append(s.Attachments, oracle.Attachment{IfaceID: a.IfaceID, Port: a.OFPort})
	}
	return s
}

// Seat returns the host and the port where a VM is attached: on the host that its
// record names, else on the first that has it. ok is false where none has.
func (t *Tracer) Seat(r *tenant.LookupRecord) (host string, port uint32, ok bool) {
	for _, s := range t.seats(r) {
		if s.port != 0 && (!ok || s.host == r.Host && host != r.Host) {
			host, port, ok = s.host, s.port, true
		}
	}
	return host, port, ok
}

type seat struct {
	host string
	port uint32
}

// seats returns all ports with a VM's iface-id, by host and port.
func (t *Tracer) seats(r *tenant.LookupRecord) (all []seat) {
	for _, h := range t.hosts {
		for _, a := range h.View.Attachments {
			if a.IfaceID == r.IfaceID {
				all = append(all, seat{h.View.Name, a.OFPort})
			}
		}
	}
	slices.SortFunc(all, func(a, b seat) int { return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port)) })
	return all
}

// host returns the flows of a host, which it gets once.
func (t *Tracer) host(name string) *hostFlows {
	if h := t.known[name]; h != nil {
		return h
	}
	h := &hostFlows{odd: make(map[int]string)}
	t.known[name] = h
	view := t.hosts[name]
	if view == nil {
		h.err = fmt.Errorf("host %s is not known: it does not answer, or is not in the policy", name)
		return h
	}
	h.namer = flows.NewNamer(t.policy, view.Names)
	has, err := t.flows(name)
	fs, odd := has.Flows, has.Odd
	if err != nil {
		h.err = err
		return h
	}
	all := make([]flow.Flow, 0, len(fs)+len(odd))
	blind := func(f *flow.Flow, why string) {
		h.blind = append(h.blind, fmt.Sprintf("host %s: whether %s takes the packet is not known: %s", name, h.namer.Flow(f), why))
	}
	for i := range fs {
		if err := sim.Check(&fs[i]); err != nil {
			blind(&fs[i], err.Error())
			continue
		}
		if !flow.GroupsThere(&fs[i], has.Groups) {
			f := fs[i]
			f.Actions = nil
			odd = append(odd, verify.OddFlow{Flow: f, MatchKnown: true, Why: "it names a group that is not known"})
			continue
		}
		all = append(all, fs[i])
	}
	for i := range odd {
		o := &odd[i]
		f := o.Flow
		f.Actions = nil
		why := cmp.Or(o.Why, "it cannot be expressed")
		if !o.MatchKnown || sim.Check(&f) != nil {
			blind(&f, why)
			continue
		}
		h.odd[len(all)] = why
		all = append(all, f)
	}
	h.model, h.err = sim.NewSwitch(all, portsOf(view.View), has.Groups...)
	return h
}

// portsOf returns the ports of a host for the model. Of what OVSDB reports twice
// the first counts.
func portsOf(v flows.HostView) (all []sim.Port) {
	seen := make(map[uint32]bool)
	add := func(p sim.Port) {
		if p.Number != 0 && p.Number <= sim.MaxPort && !seen[p.Number] {
			seen[p.Number] = true
			all = append(all, p)
		}
	}
	add(sim.Port{Number: v.Tunnels.Flow, Tunnel: true, AnyKey: true})
	for id, port := range v.Tunnels.PerVSID {
		add(sim.Port{Number: port, Tunnel: true, Key: id.Key(0)})
	}
	for _, a := range v.Attachments {
		add(sim.Port{Number: a.OFPort})
	}
	return all
}

// Send traces a frame that comes in by a port of a host. The host must be one
// that is known.
func (t *Tracer) Send(host string, port uint32, f packet.Frame) *Trace {
	tr := &Trace{From: t.portText(host, port, f.IP.Src), Packet: f.String(), Frame: f, Notes: []string{}}
	in := sim.Input{Port: port, Frame: f, Hash: f.FlowHash()}
	t.enter(tr, host, in, -1)
	for i := 0; i < len(tr.Hops); i++ {
		t.walk(tr, i)
	}
	// Of several next hops that share traffic any may take it.
	for i, v := range t.oracle.SentAll(host, port, f) {
		first := tr.Intended
		tr.Intended = t.intended(&v)
		if len(tr.Outcomes) == 1 && t.same(tr, &v) {
			tr.AsIntended = true
			break
		}
		if i > 0 {
			tr.Intended = first
		}
	}
	return tr
}

func (t *Tracer) enter(tr *Trace, host string, in sim.Input, from int) {
	if len(tr.Hops) == sim.MaxHops {
		tr.Outcomes = append(tr.Outcomes, Outcome{Kind: Lost, Host: host, Text: fmt.Sprintf("lost: more than %d hosts passed, the packet goes round", sim.MaxHops)})
		return
	}
	h := Hop{Host: host, From: from, Port: in.Port, PortName: t.portName(host, in.Port), Frame: in.Frame.String(), Wire: newWire(in.Outer), Input: in,
		Steps: []Step{}, Rewritten: []string{}, Sent: []Sent{}, Skipped: []string{}}
	tr.Hops = append(tr.Hops, h)
}

// walk takes the packet through one host.
func (t *Tracer) walk(tr *Trace, i int) {
	h := &tr.Hops[i]
	hf := t.host(h.Host)
	if hf.err != nil {
		h.Unknown = hf.err.Error()
		tr.Outcomes = append(tr.Outcomes, Outcome{Kind: Undecided, Host: h.Host, Text: fmt.Sprintf("undecided at %s: %v", h.Host, hf.err)})
		return
	}
	tr.Notes = append(tr.Notes, hf.blind...)
	res := &sim.Result{}
	hf.model.Run(&h.Input, res)
	h.Result = res
	for _, s := range res.Path {
		h.Steps = append(h.Steps, newStep(hf.namer, t.Place, s.Flow, hf.odd[s.Index]))
	}
	if n := len(res.Path); n > 0 {
		if why := hf.odd[res.Path[n-1].Index]; why != "" {
			tr.Outcomes = append(tr.Outcomes, t.undecided(h, why))
			return
		}
	}
	if len(res.Outputs) > 0 {
		h.Rewritten = rewritten(&h.Input.Frame, &res.Outputs[0].Frame)
	}
	before := len(tr.Outcomes) + len(tr.Hops)
	for k := range res.Outputs {
		t.output(tr, i, &res.Outputs[k])
	}
	h = &tr.Hops[i] // the slice may have grown
	ended := len(tr.Outcomes)+len(tr.Hops) > before
	for _, s := range res.Skipped {
		if s.Reason != sim.SkipNoPort {
			h.Skipped = append(h.Skipped, fmt.Sprintf("port %d: %s", s.Port, s.Reason))
			continue
		}
		what := cmp.Or(modelLimit(s.Port), fmt.Sprintf("sends the packet to port %d, where OVSDB shows neither a VM nor a tunnel", s.Port))
		h.Skipped = append(h.Skipped, what)
		tr.Outcomes = append(tr.Outcomes, t.undecided(h, "it "+what))
		ended = true
	}
	if !ended {
		tr.Outcomes = append(tr.Outcomes, t.ended(h))
	}
}

// undecided is the outcome where the model cannot say what the last flow does.
func (t *Tracer) undecided(h *Hop, why string) Outcome {
	s := h.Steps[len(h.Steps)-1]
	return Outcome{Kind: Undecided, Host: h.Host, Table: s.Table,
		Text: fmt.Sprintf("undecided at %s/%s: flow %s of %s does what the model of the switch does not know: %s", h.Host, s.Table, s.Text, s.Owner, why)}
}

// output follows one packet that leaves a host.
func (t *Tracer) output(tr *Trace, i int, o *sim.Output) {
	h := &tr.Hops[i]
	sent := Sent{Port: o.Port, PortName: t.portName(h.Host, o.Port), Frame: o.Frame.String()}
	if !o.Tunnel {
		vm := t.vmAt(h.Host, o.Port, o.Frame.IP.Dst)
		sent.VM = vm
		h.Sent = append(h.Sent, sent)
		tr.Outcomes = append(tr.Outcomes, t.arrived(h.Host, o.Port, o.Back, &o.Frame))
		return
	}
	sent.Wire = newWire(o.Outer)
	h.Sent = append(h.Sent, sent)
	to, ok := t.owners[o.Outer.Dst]
	if !ok {
		tr.Outcomes = append(tr.Outcomes, Outcome{Kind: Lost, Text: fmt.Sprintf("lost in the underlay: no host of the policy has provider address %s", o.Outer.Dst)})
		return
	}
	port := uint32(0)
	if hf := t.host(to); hf.err == nil {
		if port, ok = hf.model.TunnelPort(o.Outer.Key); !ok {
			tr.Outcomes = append(tr.Outcomes, Outcome{Kind: Lost, Host: to, Text: fmt.Sprintf("lost at %s: it has no tunnel port for key %#x (VSID %d)", to, o.Outer.Key, o.Outer.VSID())})
			return
		}
	}
	t.enter(tr, to, sim.Input{Port: port, Outer: o.Outer, Frame: o.Frame}, i)
}
