// Package impact says what a change of the policy does to the packets of the
// VMs: which pairs of VMs gain or lose reachability, which take another path or
// get other headers, and how many flows change on which hosts. It judges by the
// oracle of intent (flows/sim/oracle), not by flows.
//
// Of all pairs of a routing domain only those are judged of which something has
// changed, and of pairs that are alike only one: VMs that nothing tells apart,
// before or after, form a class. What it costs is the number of pairs of
// classes of the routing domains that the change touches.
package impact

import (
	"cmp"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// State is a policy with its hosts. A host that no view names has no ports.
type State struct {
	Policy *tenant.Policy
	Views  []flows.HostView
}

// Options say what to report.
type Options struct {
	// Max is how many pairs are listed of each kind: lost, gained, changed. The
	// totals count all of them.
	Max int
	// AllowLoss says which VMs may lose what they have: a lost pair that has one
	// of them is no breach. Nil: none may.
	AllowLoss func(r *tenant.LookupRecord) bool
}

// Change is what became of a pair, as a set of bits.
type Change uint8

// The changes. Lost and Gained stand alone; the others are of pairs that reach
// one another before and after.
const (
	Lost   Change = 1 << iota
	Gained        // reachable after, not before
	Path          // other hosts, or other outer addresses
	MAC           // arrives with another source or destination MAC
	TTL           // arrives with another TTL: routed where it was switched, or the reverse
	VSID          // crosses the underlay in another virtual subnet
)

// Counts counts pairs by what became of them. Changed counts those that still
// reach one another; each of them is in one or more of the four that follow.
type Counts struct {
	Lost    int `json:"lost"`
	Gained  int `json:"gained"`
	Changed int `json:"changed"`
	Path    int `json:"path"`
	MAC     int `json:"mac"`
	TTL     int `json:"ttl"`
	VSID    int `json:"vsid"`
}

func (c *Counts) add(what Change, n int) {
	if what == 0 {
		return
	}
	for _, f := range [...]struct {
		bit Change
		to  *int
	}{{Lost, &c.Lost}, {Gained, &c.Gained}, {Path, &c.Path}, {MAC, &c.MAC}, {TTL, &c.TTL}, {VSID, &c.VSID}} {
		if what&f.bit != 0 {
			*f.to += n
		}
	}
	if what&(Lost|Gained) == 0 {
		c.Changed += n
	}
}

// IsZero reports whether nothing is counted.
func (c Counts) IsZero() bool { return c == Counts{} }

// Row counts the pairs from one group of VMs to another: of a virtual subnet,
// named ROUTING-DOMAIN/SUBNET, or a host. A VM that changes its group counts in
// the one before. A VM that is nowhere is in the group "-".
type Row struct {
	From   string `json:"from"`
	To     string `json:"to"` // a group, or a destination that is no VM
	Counts `json:"counts"`
}

// Pair is a VM and what it sends to, with what became of it.
type Pair struct {
	Domain string `json:"routing_domain"`
	From   string `json:"from"` // VM, by its name in the routing domain
	FromCA string `json:"from_ca"`
	To     string `json:"to"`    // VM; "router" or "route" for another destination
	ToCA   string `json:"to_ca"` // address, or the prefix of a customer route
	Change Change `json:"-"`
	// Before and After say in words what becomes of a packet.
	Before string `json:"before"`
	After  string `json:"after"`
	// Allowed says that the pair has a VM that may lose what it has.
	Allowed bool `json:"allowed,omitempty"`
}

// HostFlows counts the flows of a host that change. A changed flow keeps its
// table, priority and match.
type HostFlows struct {
	Host    string `json:"host"`
	Added   int    `json:"added"`
	Changed int    `json:"changed"`
	Deleted int    `json:"deleted"`
}

// Report is what a change does.
type Report struct {
	VMs    Counts // pairs of two VMs of one routing domain
	Others Counts // pairs of a VM with its own gateways, or with a customer route
	// Breaches is how many pairs are lost, of VMs and others, that have no VM
	// which may lose what it has.
	Breaches int

	Subnets      []Row // pairs of VMs by virtual subnets
	Hosts        []Row // pairs of VMs by hosts
	Destinations []Row // other pairs, by the sender's virtual subnet

	// Listed are pairs one by one: lost ones that are breaches, other lost ones,
	// gained ones, changed ones; each kind as far as Max allows.
	Listed []Pair
	Flows  []HostFlows // by host; those that change

	Domains int // routing domains that were looked at
}

// Empty reports whether no pair and no flow changes.
func (r *Report) Empty() bool {
	return r.VMs.IsZero() && r.Others.IsZero() && len(r.Flows) == 0
}

// Between reports what the step from one state to another does.
func Between(before, after State, o Options) *Report {
	r := &Report{}
	j := &judge{o: o, before: newSide(before), after: newSide(after), out: r}
	j.rowsOfHosts = make(map[[2]string]*Counts)
	touched := j.touched()
	for _, id := range touched.sorted() {
		r.Domains++
		j.domain(id, touched.whole[id])
	}
	r.Hosts = sortedRows(j.rowsOfHosts)
	slices.SortStableFunc(r.Listed, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()))
	})
	r.Flows = countFlows(j)
	return r
}

func (p *Pair) rank() int {
	switch {
	case p.Change == Lost && !p.Allowed:
		return 0
	case p.Change == Lost:
		return 1
	case p.Change == Gained:
		return 2
	}
	return 3
}

func sortedRows(m map[[2]string]*Counts) []Row {
	rows := make([]Row, 0, len(m))
	for k, c := range m {
		rows = append(rows, Row{k[0], k[1], *c})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return rows
}
