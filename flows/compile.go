package flows

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

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
	// FlowID says that packets get a FlowID (RFC 7637 section 3.2) by a hash of
	// their connection. The ports of PerVSID have keys of their own, and with
	// them the FlowID 0 always.
	FlowID bool
}

// HostView is what the compiler has to know of a host besides the policy.
type HostView struct {
	Name        string
	Tunnels     TunnelPorts
	Attachments []Attachment
	// Hold has routing domains that the host holds although it may have no VM
	// of them any more. Those that the policy lacks do not count.
	Hold []tenant.RDID
}

// Problem is something that keeps part of a policy from being carried out on a
// host.
type Problem struct {
	Host    string
	IfaceID string // the attachment concerned, where it is one
	Text    string
	// Lack says that the policy is in order and this version does not do it.
	Lack bool
}

// Conflict says that two objects of the policy want one and the same entry of a
// table to do different things. The flow of the lower cookie is in force.
type Conflict struct{ InForce, Refused flow.Flow }

// Result is what one host's switch should hold. The sentinel is not part of it.
type Result struct {
	Flows     []flow.Flow  // canonical, in the order of flow.Compare, no two the same entry
	Groups    []flow.Group // that the flows use, by number, each once
	Meters    []flow.Meter // likewise
	Domains   []tenant.RDID
	Conflicts []Conflict
	Problems  []Problem
}

// Compile returns the flows of one host. For more hosts of one policy, a
// [Compiler] does what they share only once.
func Compile(p *tenant.Policy, at Placement, h HostView) *Result {
	return NewCompiler(p, at).Host(h)
}

// Compiler compiles one policy with the places of its VMs. What it says of a
// [Unit] depends on nothing else. It does not change; its methods may be called
// by many goroutines.
type Compiler struct {
	policy  *tenant.Policy
	at      Placement
	domains numbers[tenant.RDID]
	peers   numbers[string]
	room    *sync.Pool // *builder, for Make
	shared  shares     // customer routes with several next hops
	limit   PuntLimit

	mu     sync.Mutex
	blocks map[tenant.RDID]*block // what Host has asked for
}

// block is a routing domain's part of the tables that are alike on all hosts.
type block struct {
	once   sync.Once
	flows  []flow.Flow
	groups []flow.Group
	meters []flow.Meter
	peers  map[string]bool // the hosts that have VMs of the domain
	faults []Problem
}

// NewCompiler returns a compiler for a policy and the places of its VMs.
func NewCompiler(p *tenant.Policy, at Placement) *Compiler {
	none := &Compiler{policy: tenant.Empty(), limit: DefaultPuntLimit, room: &sync.Pool{New: func() any { return new(builder) }}}
	none.domains.hash = func(id tenant.RDID) uint32 { return uint32(hash(id[:])) }
	none.shared.hash = destination.hash
	none.peers.hash = func(name string) uint32 { return uint32(hash([]byte(name))) }
	return none.Next(p, at)
}

// Next returns the compiler of the policy and the placement that follow c's. It
// looks at little more than what has changed.
func (c *Compiler) Next(p *tenant.Policy, at Placement) *Compiler {
	var domainsGone, domainsCome []tenant.RDID
	var hostsGone, hostsCome []string
	routes := make(map[destination]bool)
	for d := range tenant.Diff(c.policy, p) {
		k := d.Key()
		switch k.Kind() {
		case tenant.KindRoute:
			routes[destination{k.RDID(), k.Prefix(), k.VSID()}] = true
		case tenant.KindHost:
			note(k.Host(), d.IsDelete(), &c.peers, &hostsGone, &hostsCome)
		case tenant.KindRoutingDomain:
			note(k.RDID(), d.IsDelete(), &c.domains, &domainsGone, &domainsCome)
		}
	}
	return &Compiler{
		policy: p, at: at, room: c.room, limit: c.limit,
		domains: c.domains.next(domainsGone, domainsCome, func() iter.Seq[tenant.RDID] {
			return each(p.RoutingDomains(), func(d tenant.RoutingDomain) tenant.RDID { return d.RDID })
		}),
		peers: c.peers.next(hostsGone, hostsCome, func() iter.Seq[string] {
			return each(p.Hosts(), func(h tenant.Host) string { return h.Name })
		}),
		shared: c.shared.next(c.policy, p, routes),
		blocks: make(map[tenant.RDID]*block),
	}
}

// note adds k to those that have gone or come; a change of one is neither.
func note[K comparable](k K, deleted bool, have *numbers[K], gone, come *[]K) {
	if deleted {
		*gone = append(*gone, k)
	} else if _, there := have.of(k); !there {
		*come = append(*come, k)
	}
}

func each[T, V any](all iter.Seq[T], of func(T) V) iter.Seq[V] {
	return func(yield func(V) bool) {
		for v := range all {
			if !yield(of(v)) {
				return
			}
		}
	}
}

// Policy returns the policy that c compiles.
func (c *Compiler) Policy() *tenant.Policy { return c.policy }

// Placement returns where c takes the VMs to be.
func (c *Compiler) Placement() Placement { return c.at }

// HostOf returns the host that a record's VM is on; "" where nobody knows.
func (c *Compiler) HostOf(r *tenant.LookupRecord) string {
	if r.Host != "" {
		return r.Host
	}
	return c.at.Host(r.IfaceID)
}

// Host returns the flows of one host: those of all its units.
func (c *Compiler) Host(h HostView) *Result {
	b := &builder{host: h.Name}
	if _, ok := c.policy.Host(h.Name); !ok {
		b.problem("", "%s", UnknownHost(h.Name))
	}
	vms := c.localVMs(b, h)
	ids := c.domainsOf(vms, h.Hold)
	for u := range c.hostUnits(h, vms, ids) {
		c.make(b, u)
	}
	sortFlows(b.flows)
	blocks := [][]flow.Flow{b.flows}
	problems := b.problems
	groups, meters := b.groups, b.meters
	for _, id := range ids {
		d := c.block(id)
		groups, meters = append(groups, d.groups...), append(meters, d.meters...)
		blocks = append(blocks, d.flows)
		problems = append(problems, d.faults...)
	}
	res := &Result{Domains: ids, Problems: problems}
	res.Flows, res.Conflicts = merge(blocks)
	res.Groups = once(groups, func(g flow.Group) uint32 { return g.ID })
	res.Meters = once(meters, func(m flow.Meter) uint32 { return m.ID })
	return res
}

// once returns the first of each number, by number.
func once[T any](all []T, number func(T) uint32) []T {
	if len(all) == 0 {
		return nil
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(number(a), number(b)) })
	return slices.CompactFunc(all, func(a, b T) bool { return number(a) == number(b) })
}

// UnknownHost says what is wrong where the policy has no such host.
func UnknownHost(name string) string {
	return "the policy has no host " + name + ": its switch gets drop flows only"
}

// block compiles what a routing domain is the same on all hosts.
func (c *Compiler) block(id tenant.RDID) *block {
	c.mu.Lock()
	d := c.blocks[id]
	if d == nil {
		d = &block{peers: make(map[string]bool)}
		c.blocks[id] = d
	}
	c.mu.Unlock()
	d.once.Do(func() {
		b := &builder{}
		for u := range c.each(b, id) {
			if u.u.kind == UnitRecord {
				d.peers[c.HostOf(u.record)] = true
			}
		}
		sortFlows(b.flows)
		d.flows, d.groups, d.meters, d.faults = b.flows, b.groups, b.meters, b.problems
	})
	return d
}

// localVMs returns the units of the VMs that are attached to h and belong there.
func (c *Compiler) localVMs(b *builder, h HostView) []Unit {
	var vms []Unit
	seen := make(map[string]int)
	// Of two ports with one iface-id the lower number counts.
	for _, a := range slices.SortedFunc(slices.Values(h.Attachments), func(x, y Attachment) int {
		return cmp.Compare(x.OFPort, y.OFPort)
	}) {
		r, ok := c.policy.RecordByIfaceID(a.IfaceID)
		if !ok || !usable(a.OFPort) || c.HostOf(&r) != h.Name {
			continue // Place reports these
		}
		if seen[a.IfaceID]++; seen[a.IfaceID] == 2 {
			b.problem(a.IfaceID, "%s", TwoPorts(h.Name, a.IfaceID))
		}
		if seen[a.IfaceID] == 1 {
			vms = append(vms, VMUnit(h.Name, a.IfaceID, a.OFPort))
		}
	}
	return vms
}

// TwoPorts says what is wrong where a host has two ports of one VM.
func TwoPorts(host, iface string) string {
	return "two ports of host " + host + " have iface-id " + iface + ": the one with the lower OpenFlow number is used; remove the other"
}

// usable reports whether a port's number is that of a real port.
func usable(port uint32) bool { return port != 0 && port <= flow.PortMax }

// domainsOf returns the routing domains of VMs and of hold, by RDID.
func (c *Compiler) domainsOf(vms []Unit, hold []tenant.RDID) (ids []tenant.RDID) {
	for _, vm := range vms {
		r, _ := c.policy.RecordByIfaceID(vm.name)
		ids = append(ids, r.RDID)
	}
	for _, id := range hold {
		if _, ok := c.domains.of(id); ok {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, tenant.RDID.Compare)
	return slices.Compact(ids)
}

// peersOf returns the other hosts that have VMs of some routing domains, by name.
func (c *Compiler) peersOf(host string, ids []tenant.RDID) []string {
	all := make(map[string]bool)
	for _, id := range ids {
		maps.Copy(all, c.block(id).peers)
	}
	delete(all, host)
	return slices.Sorted(maps.Keys(all))
}
