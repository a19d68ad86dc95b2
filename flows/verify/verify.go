package verify

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Host is a host with the flows of its switch.
type Host struct {
	// View is what there is on the host: tunnel ports and attachments.
	View flows.HostView
	// Flows are the switch's flows, ours and others, in any order.
	Flows []flow.Flow
	// Groups are those that the flows may name.
	Groups []flow.Group
	// Odd are flows of the switch that package flow cannot express.
	Odd []OddFlow
}

// OddFlow is a flow that package flow cannot express.
type OddFlow struct {
	// Flow is what is known of it: at least the table, the priority and the cookie.
	Flow flow.Flow
	// MatchKnown says that Flow.Match is all that it matches.
	MatchKnown bool
	Why        string // what cannot be expressed
}

// Network is what is to be proved: a policy and hosts that should carry it out.
// Hosts of the policy that are not among Hosts make what goes there unproved.
type Network struct {
	Policy *tenant.Policy
	Hosts  []Host
}

// Compiled returns a network whose hosts have the flows that the policy gives
// them.
func Compiled(p *tenant.Policy, views []flows.HostView) Network {
	at := make(map[string][]flows.Attachment)
	for _, v := range views {
		at[v.Name] = v.Attachments
	}
	place, _ := flows.Place(p, at)
	c := flows.NewCompiler(p, place)
	n := Network{Policy: p}
	for _, v := range views {
		r := c.Host(v)
		n.Hosts = append(n.Hosts, Host{View: v, Flows: r.Flows, Groups: r.Groups})
	}
	return n
}

// Options are for [Verify]; the zero Options are good.
type Options struct {
	// MaxCounterexamples is how many are looked for; 0 is 10.
	MaxCounterexamples int
	// Workers is how many goroutines work; 0 is one for each processor.
	Workers int
	// Progress, if not nil, is told from time to time how many parts of the work
	// are done, by one goroutine at a time.
	Progress func(done, total int)
}

// defaultCounterexamples is how many counterexamples are enough for an operator.
const defaultCounterexamples = 10

// Verify holds the flows of a network to the meaning of its policy, for all
// packets that can come in by any port of any host. An error says that the
// network cannot be judged at all, or that ctx ended first.
func Verify(ctx context.Context, n Network, o Options) (*Report, error) {
	n.Hosts = withoutFlowIDs(n.Hosts)
	e, err := newEngine(n, o)
	if err != nil {
		return nil, err
	}
	jobs := e.jobs()
	var done int
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(cmp.Or(o.Workers, runtime.GOMAXPROCS(0)), len(jobs)) {
		wg.Go(func() {
			p := &prover{engine: e, ctx: ctx}
			p.walker.net = &e.network
			for {
				i := int(next.Add(1)) - 1
				if i >= len(jobs) || ctx.Err() != nil || e.enough() {
					break
				}
				jobs[i](p)
				mu.Lock()
				if done++; o.Progress != nil {
					o.Progress(done, len(jobs))
				}
				mu.Unlock()
			}
			e.add(p)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return e.report(), nil
}

// engine is what all workers share.
type engine struct {
	network
	policy *tenant.Policy
	oracle *oracle.Oracle
	namer  *flows.Namer
	input  Network
	max    int
	atoms  map[tenant.RDID][]netip.Prefix // destinations that the policy tells apart
	seats  map[seatKey]seat

	mu      sync.Mutex
	found   []Counterexample
	seen    map[string]int
	unsure  map[string]Unproved
	total   int
	failed  int
	confirm confirmer
}

// seat is a port with the VM that belongs there.
type seat struct {
	host *host
	port uint32
	vm   tenant.LookupRecord // the first of the VM's records
	v4   []netip.Addr        // its addresses
	v6   []netip.Addr        // likewise, the link-local one last

	wild4, wild6 bool // it speaks for whom no record is
}

// newSeat returns the seat of a VM with these records.
func newSeat(h *host, port uint32, records []tenant.LookupRecord) seat {
	s := seat{host: h, port: port, vm: records[0]}
	for _, r := range records {
		switch a := r.CA.Addr(); {
		case !a.IsValid():
		case a.IsUnspecified():
			s.wild4, s.wild6 = s.wild4 || a.Is4(), s.wild6 || a.Is6()
		case a.Is4():
			s.v4 = append(s.v4, a)
		default:
			s.v6 = append(s.v6, a)
		}
	}
	if len(s.v6) > 0 || s.wild6 {
		s.v6 = append(s.v6, tenant.LinkLocal(s.vm.MAC))
	}
	return s
}

// own returns the VM's addresses of the family of a.
func (s *seat) own(a netip.Addr) []netip.Addr {
	if a.Is4() {
		return s.v4
	}
	return s.v6
}

// speaks reports whether the VM sends from addresses of the family of a at all.
func (s *seat) speaks(a netip.Addr) bool {
	return len(s.own(a)) > 0 || a.Is4() && s.wild4
}

// somebody is an address that a VM with a wildcard alone may send from.
var somebody4, somebody6 = netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8:ffff::9")

// source returns an address of the family of a that the VM may send from.
func (s *seat) source(a netip.Addr) netip.Addr {
	switch {
	case a.Is4() && len(s.v4) > 0:
		return s.v4[0]
	case a.Is4():
		return somebody4
	case len(s.v6) > 1:
		return s.v6[0]
	}
	return somebody6
}

type seatKey struct {
	host string
	port uint32
}

func (e *engine) enough() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.found) >= e.max || e.failed >= maxFailures
}

func (e *engine) add(p *prover) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.total += p.classes
}

func newEngine(n Network, o Options) (*engine, error) {
	e := &engine{
		policy: n.Policy, input: n, max: cmp.Or(o.MaxCounterexamples, defaultCounterexamples),
		namer: flows.NewNamer(n.Policy, nil), atoms: make(map[tenant.RDID][]netip.Prefix),
		seats: make(map[seatKey]seat), seen: make(map[string]int), unsure: make(map[string]Unproved),
	}
	e.byName = make(map[string]*host)
	e.owners = make(map[netip.Addr]*host)
	states := make(map[string]oracle.HostState)
	shared := make(map[tableKey][]*table)
	for i := range n.Hosts {
		in := &n.Hosts[i]
		if e.byName[in.View.Name] != nil {
			return nil, fmt.Errorf("host %s is given twice", in.View.Name)
		}
		if _, ok := n.Policy.Host(in.View.Name); !ok {
			return nil, fmt.Errorf("host %s is not in the policy", in.View.Name)
		}
		h, err := newHost(in, shared)
		if err != nil {
			return nil, err
		}
		e.hosts = append(e.hosts, h)
		e.byName[h.name] = h
		states[h.name] = stateOf(in.View)
	}
	for ph := range n.Policy.Hosts() {
		h := e.byName[ph.Name]
		if h == nil {
			h = &host{name: ph.Name, anyKey: 1, ports: map[uint32]sim.Port{1: {Number: 1, Tunnel: true, AnyKey: true}}}
			e.byName[ph.Name] = h
			e.unprove(Unproved{Host: ph.Name, Why: "its flows are not known"})
		}
		for _, a := range ph.ProviderAddresses {
			e.owners[a.PA.Addr()] = h
			e.ownerAddrs = append(e.ownerAddrs, a.PA.Addr())
		}
	}
	slices.SortFunc(e.hosts, func(a, b *host) int { return cmp.Compare(a.name, b.name) })
	e.oracle = oracle.New(n.Policy, states)
	e.confirm.init(e)
	e.takeSeats()
	return e, nil
}

// stateOf returns a host as the oracle sees it.
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

// takeSeats finds the ports of the VMs as the oracle does.
func (e *engine) takeSeats() {
	placed := make(map[string]string)
	for _, h := range e.hosts {
		for _, a := range h.view.Attachments {
			if r, ok := e.policy.RecordByIfaceID(a.IfaceID); ok && r.Host == "" && placed[a.IfaceID] == "" {
				placed[a.IfaceID] = h.name
			}
		}
	}
	port := make(map[string]uint32)
	for _, h := range e.hosts {
		for _, a := range h.view.Attachments {
			r, ok := e.policy.RecordByIfaceID(a.IfaceID)
			if !ok || a.OFPort == 0 || cmp.Or(r.Host, placed[a.IfaceID]) != h.name {
				continue
			}
			if old := port[a.IfaceID]; old == 0 || a.OFPort < old {
				delete(e.seats, seatKey{h.name, old})
				port[a.IfaceID] = a.OFPort
				e.seats[seatKey{h.name, a.OFPort}] = newSeat(h, a.OFPort, slices.Collect(e.policy.RecordsByIfaceID(a.IfaceID)))
			}
		}
	}
}

func (e *engine) unprove(u Unproved) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := u.Host + "\n" + u.Why
	if u.Flow != nil {
		key += "\n" + u.Flow.Text()
	}
	if len(e.unsure) < maxUnproved {
		e.unsure[key] = u
	}
}

// tableKey finds tables that may be alike.
type tableKey struct {
	id  uint8
	n   int
	sum uint64
}

// oddity is why a flow cannot be judged.
type oddity struct {
	why      string
	anyMatch bool // nobody knows what it matches
}

// newHost makes a host, with the tables that shared has if they are alike.
func newHost(in *Host, shared map[tableKey][]*table) (*host, error) {
	h := &host{name: in.View.Name, given: true, view: in.View, ports: make(map[uint32]sim.Port), keyed: make(map[uint32]uint32),
		raw: in.Groups, groups: groupsOf(in.Groups)}
	for _, p := range portsOf(in.View) {
		if old, twice := h.ports[p.Number]; twice || p.Number == 0 || p.Number > sim.MaxPort {
			return nil, fmt.Errorf("host %s: port %d (%+v): want numbers from 1 to %d, each once", h.name, p.Number, old, sim.MaxPort)
		}
		h.ports[p.Number] = p
		h.portNumbers = append(h.portNumbers, p.Number)
		switch {
		case p.Tunnel && p.AnyKey:
			h.anyKey = p.Number
		case p.Tunnel:
			h.keyed[p.Key] = p.Number
		}
	}
	slices.Sort(h.portNumbers)
	h.flows = in.Flows
	odd := map[int]oddity{}
	if len(in.Odd) > 0 {
		h.flows = slices.Clone(in.Flows)
		for _, o := range in.Odd {
			odd[len(h.flows)] = oddity{cmp.Or(o.Why, "it cannot be expressed"), !o.MatchKnown}
			h.flows = append(h.flows, o.Flow)
		}
	}
	if !slices.IsSortedFunc(h.flows, byTable) {
		order := make([]int, len(h.flows))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return byTable(h.flows[a], h.flows[b]) })
		fs, moved := make([]flow.Flow, len(order)), map[int]oddity{}
		for to, from := range order {
			fs[to] = h.flows[from]
			if o, ok := odd[from]; ok {
				moved[to] = o
			}
		}
		h.flows, odd = fs, moved
	}
	h.met = make([]atomic.Bool, len(h.flows))
	for i := 0; i < len(h.flows); {
		j := i
		id := h.flows[i].Table
		for j < len(h.flows) && h.flows[j].Table == id {
			j++
		}
		h.base[id] = i
		h.tables[id] = tableOf(id, h.flows[i:j], oddities(h.flows[i:j], odd, i), shared)
		i = j
	}
	return h, nil
}

func byTable(a, b flow.Flow) int { return cmp.Compare(a.Table, b.Table) }

// oddities returns why the flows of a table that cannot be judged cannot.
func oddities(fs []flow.Flow, odd map[int]oddity, from int) []oddity {
	out := make([]oddity, len(fs))
	for i := range fs {
		if o, ok := odd[from+i]; ok {
			out[i] = o
		}
	}
	return out
}

func tableOf(id uint8, fs []flow.Flow, odd []oddity, shared map[tableKey][]*table) *table {
	key := tableKey{id: id, n: len(fs)}
	for i := range fs {
		f := &fs[i]
		key.sum += mix(f.Cookie^uint64(f.Priority), uint64(len(f.Match)))
	}
	plain := !slices.ContainsFunc(odd, func(o oddity) bool { return o != oddity{} })
	if plain {
		for _, t := range shared[key] {
			if slices.EqualFunc(t.flows, fs, func(a, b flow.Flow) bool { return a.Equal(&b) }) {
				return t
			}
		}
	}
	for i := range fs {
		if odd[i] == (oddity{}) {
			if err := sim.Check(&fs[i]); err != nil {
				odd[i] = oddity{err.Error(), true}
			}
		}
	}
	t := newTable(id, fs, odd)
	if plain {
		shared[key] = append(shared[key], t)
	}
	return t
}

// portsOf returns the ports of a host for the model.
func portsOf(v flows.HostView) (all []sim.Port) {
	if v.Tunnels.Flow != 0 {
		all = append(all, sim.Port{Number: v.Tunnels.Flow, Tunnel: true, AnyKey: true})
	}
	for id, port := range v.Tunnels.PerVSID {
		if port != 0 {
			all = append(all, sim.Port{Number: port, Tunnel: true, Key: id.Key(0)})
		}
	}
	for _, a := range v.Attachments {
		if a.OFPort != 0 {
			all = append(all, sim.Port{Number: a.OFPort})
		}
	}
	return all
}
