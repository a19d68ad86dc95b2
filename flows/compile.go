package flows

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Placement says on which host the VM of a lookup record is, by iface-id, for
// the records that leave it to where their attachment appears.
type Placement map[string]string

// Attachment is a VM's port on a host.
type Attachment struct {
	IfaceID string // external_ids:iface-id of the Interface
	OFPort  uint32 // OpenFlow port number; 0 while the switch has not assigned one
}

// TunnelPorts are the gre ports of a host's switch.
type TunnelPorts struct {
	// Flow is the OpenFlow number of the flow-based port; 0 where there is none.
	Flow uint32
	// PerVSID has the number of the port of each virtual subnet, in the mode of
	// one port for each. Where it is not nil, Flow is not used.
	PerVSID map[tenant.VSID]uint32
}

// HostView is what the compiler has to know of a host besides the policy.
type HostView struct {
	Name        string
	Tunnels     TunnelPorts
	Attachments []Attachment
}

// Problem is something that keeps part of a policy from being carried out on a
// host.
type Problem struct {
	Host    string
	IfaceID string // the attachment concerned, where it is one
	Text    string
}

// Conflict says that two objects of the policy want one and the same entry of a
// table to do different things. The flow of the lower cookie is in force.
type Conflict struct{ InForce, Refused flow.Flow }

// Result is what one host's switch should hold. The sentinel is not part of it.
type Result struct {
	Flows     []flow.Flow // canonical, in the order of flow.Compare, no two the same entry
	Domains   []tenant.RDID
	Conflicts []Conflict
	Problems  []Problem
}

// Compile returns the flows of one host. For more hosts of one policy, a
// [Compiler] does what they share only once.
func Compile(p *tenant.Policy, at Placement, h HostView) *Result {
	return NewCompiler(p, at).Host(h)
}

// Compiler compiles one policy for any number of hosts. What a routing domain
// is the same on all hosts, and is compiled when the first of them needs it.
// Its methods may be called by many goroutines.
type Compiler struct {
	policy  *tenant.Policy
	at      Placement
	domains map[tenant.RDID]*domain
	peers   map[string]uint32 // number of each host
}

// domain is a routing domain's part of the tables that are alike on all hosts.
type domain struct {
	number uint32
	once   sync.Once
	block  []flow.Flow
	faults []Problem
}

// NewCompiler returns a compiler for a policy and the places of its VMs. The
// placement must not change any more.
func NewCompiler(p *tenant.Policy, at Placement) *Compiler {
	nums := newNumbers(p)
	c := &Compiler{policy: p, at: at, domains: make(map[tenant.RDID]*domain, len(nums.domains)), peers: nums.peers}
	for id, n := range nums.domains {
		c.domains[id] = &domain{number: n}
	}
	return c
}

// numbers are what stands for routing domains and hosts in registers: 32 bits
// that depend on their identifiers alone, so that a new object leaves the
// numbers of the others as they are. Where two hashes collide, the object that
// comes first in the policy keeps the number.
type numbers struct {
	domains map[tenant.RDID]uint32
	peers   map[string]uint32
}

func newNumbers(p *tenant.Policy) numbers {
	n := numbers{make(map[tenant.RDID]uint32), make(map[string]uint32)}
	taken := map[uint32]bool{0: true}
	for d := range p.RoutingDomains() {
		n.domains[d.RDID] = number(taken, d.RDID[:])
	}
	taken = map[uint32]bool{0: true}
	for h := range p.Hosts() {
		n.peers[h.Name] = number(taken, []byte(h.Name))
	}
	return n
}

func number(taken map[uint32]bool, key []byte) uint32 {
	i := uint32(hash(key))
	for taken[i] {
		i++
	}
	taken[i] = true
	return i
}

// hostOf returns the host that a record's VM is on; "" where nobody knows.
func (c *Compiler) hostOf(r *tenant.LookupRecord) string {
	if r.Host != "" {
		return r.Host
	}
	return c.at[r.IfaceID]
}

// local is a VM that is attached to the host being compiled.
type localVM struct {
	record tenant.LookupRecord
	port   uint32
}

// Host returns the flows of one host.
func (c *Compiler) Host(h HostView) *Result {
	res := &Result{}
	b := &builder{host: h.Name}
	self, ok := c.policy.Host(h.Name)
	if !ok {
		b.problem("", "the policy has no host %s: its switch gets drop flows only", h.Name)
	}
	vms := c.localVMs(b, h)
	var ids []tenant.RDID
	for _, vm := range vms {
		ids = append(ids, vm.record.RDID)
	}
	slices.SortFunc(ids, func(x, y tenant.RDID) int { return slices.Compare(x[:], y[:]) })
	ids = slices.Compact(ids)

	c.classifyFlows(b, h, vms)
	c.tunnelSourceFlows(b, self)
	tunnelVSIDMisses(b)
	c.portSecurityFlows(b, vms)
	routeMisses(b)
	caMisses(b)
	c.actFlows(b)
	c.paFlows(b, self)
	c.encapFlows(b, h.Tunnels, ids)
	localFlows(b, vms)
	outputFlows(b)

	sortFlows(b.flows)
	blocks := [][]flow.Flow{b.flows}
	problems := b.problems
	for _, id := range ids {
		d := c.block(id)
		blocks = append(blocks, d.block)
		problems = append(problems, d.faults...)
	}
	res.Domains, res.Problems = ids, problems
	res.Flows, res.Conflicts = merge(blocks)
	return res
}

// block compiles what a routing domain is the same on all hosts.
func (c *Compiler) block(id tenant.RDID) *domain {
	d := c.domains[id]
	d.once.Do(func() {
		b := &builder{}
		for s := range c.policy.SubnetsOf(id) {
			c.tunnelVSIDFlows(b, d, s)
			c.routeFlows(b, d, s)
			c.caFlows(b, d, s)
		}
		c.customerRouteFlows(b, d, id)
		sortFlows(b.flows)
		d.block, d.faults = b.flows, b.problems
	})
	return d
}

// localVMs returns the VMs that are attached to h and belong there, by port.
func (c *Compiler) localVMs(b *builder, h HostView) []localVM {
	var vms []localVM
	seen := make(map[string]bool)
	// Of two ports with one iface-id the lower number counts.
	for _, a := range slices.SortedFunc(slices.Values(h.Attachments), func(x, y Attachment) int {
		return cmp.Compare(x.OFPort, y.OFPort)
	}) {
		r, ok := c.policy.RecordByIfaceID(a.IfaceID)
		if !ok || a.OFPort == 0 || a.OFPort > flow.PortMax || c.hostOf(&r) != h.Name {
			continue // Place reports these
		}
		if seen[a.IfaceID] {
			b.problem(a.IfaceID, "two ports of host %s have iface-id %s: the one with the lower OpenFlow number is used; remove the other", h.Name, a.IfaceID)
			continue
		}
		seen[a.IfaceID] = true
		vms = append(vms, localVM{r, a.OFPort})
	}
	return vms
}

// order compares flows as merge wants them.
func order(f, g *flow.Flow) int {
	return cmp.Or(flow.Compare(f, g), cmp.Compare(f.Cookie, g.Cookie))
}

func sortFlows(fs []flow.Flow) {
	slices.SortFunc(fs, func(f, g flow.Flow) int { return order(&f, &g) })
}

// merge puts sorted blocks of flows together and keeps one of each entry.
func merge(blocks [][]flow.Flow) (kept []flow.Flow, conflicts []Conflict) {
	n := 0
	for _, b := range blocks {
		n += len(b)
	}
	kept = make([]flow.Flow, 0, n)
	for len(blocks) > 1 {
		// Pairwise, so that many small routing domains cost n log n too.
		half := blocks[:0:0]
		for i := 0; i+1 < len(blocks); i += 2 {
			half = append(half, mergeTwo(blocks[i], blocks[i+1]))
		}
		if len(blocks)%2 == 1 {
			half = append(half, blocks[len(blocks)-1])
		}
		blocks = half
	}
	for i := range blocks[0] {
		f := &blocks[0][i]
		if n := len(kept); n > 0 && kept[n-1].SameEntry(f) {
			if !kept[n-1].Equal(f) {
				conflicts = append(conflicts, Conflict{kept[n-1], *f})
			}
			continue
		}
		kept = append(kept, *f)
	}
	return kept, conflicts
}

func mergeTwo(a, b []flow.Flow) []flow.Flow {
	out := make([]flow.Flow, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if order(&a[0], &b[0]) <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// builder collects flows.
type builder struct {
	host     string
	flows    []flow.Flow
	problems []Problem
	tests    []flow.Test   // the rest of a chunk that matches are cut from
	actions  []flow.Action // likewise
}

const chunk = 1024

func (b *builder) problem(iface, format string, args ...any) {
	b.problems = append(b.problems, Problem{b.host, iface, fmt.Sprintf(format, args...)})
}

// match returns the tests as a canonical match.
func (b *builder) match(tests ...flow.Test) flow.Match {
	if len(b.tests) < len(tests) {
		b.tests = make([]flow.Test, chunk)
	}
	m := flow.Match(b.tests[:len(tests):len(tests)])
	b.tests = b.tests[len(tests):]
	copy(m, tests)
	return m.Canonical()
}

// add adds a flow. One that its table's declaration does not allow is a fault
// of the compiler: it is left out, so that the packets meet a drop flow, and
// reported.
func (b *builder) add(t *Table, priority uint16, cookie uint64, m flow.Match, actions ...flow.Action) {
	if len(b.actions) < len(actions) {
		b.actions = make([]flow.Action, chunk)
	}
	as := b.actions[:len(actions):len(actions)]
	b.actions = b.actions[len(actions):]
	copy(as, actions)
	f := flow.Flow{Table: t.ID, Priority: priority, Cookie: cookie, Match: m, Actions: as}
	if err := tableRules[t.ID].check(&f); err != nil {
		b.problem("", "internal error, please report it: %v; flow left out: %s", err, f.Text())
		return
	}
	b.flows = append(b.flows, f)
}

// miss adds the flow that takes what no other flow of the table does.
func (b *builder) miss(t *Table, r DropReason) {
	b.add(t, 0, tableOwner(t.ID).drop(r), nil)
}

// EtherTypes and IP protocols that the pipeline tells apart.
var (
	isIPv4 = flow.Exact(flow.EthType, flow.Uint(0x0800))
	isARP  = flow.Exact(flow.EthType, flow.Uint(0x0806))
	isICMP = flow.Exact(flow.IPProto, flow.Uint(1))
)

// Place works out where the VMs are whose records name neither host nor PA, and
// reports attachments that fit no record or the wrong one. Where two hosts have
// an attachment of one such VM, as in a live migration, the host that stands
// first by name has it.
func Place(p *tenant.Policy, attachments map[string][]Attachment) (Placement, []Problem) {
	at := make(Placement)
	var problems []Problem
	for _, host := range slices.Sorted(maps.Keys(attachments)) {
		for _, a := range attachments[host] {
			r, ok := p.RecordByIfaceID(a.IfaceID)
			report := func(format string, args ...any) {
				problems = append(problems, Problem{host, a.IfaceID, fmt.Sprintf(format, args...)})
			}
			switch {
			case !ok:
				report("no lookup record has iface-id %s: add a record, or correct the iface-id", a.IfaceID)
			case r.Host != "" && r.Host != host:
				report("VM %s is attached to host %s, but its lookup record puts it on %s: move the VM or change the record", r.VM, host, r.Host)
			case r.Host == host:
			case at[a.IfaceID] == "":
				at[a.IfaceID] = host
			case at[a.IfaceID] != host:
				report("VM %s is attached to hosts %s and %s: %s has it; remove the other attachment, or name the host in the lookup record", r.VM, at[a.IfaceID], host, at[a.IfaceID])
			}
		}
	}
	return at, problems
}
