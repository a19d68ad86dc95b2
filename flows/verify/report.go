package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Report is what was found.
type Report struct {
	// Proved says that every packet of every class is treated as the policy means:
	// there are no counterexamples, and nothing is unproved.
	Proved bool
	Hosts  int
	VMs    int // with a port
	Flows  int
	// Classes is how many classes of packets were judged: those of one class meet
	// the same flows everywhere, and the policy wants the same of them.
	Classes int
	// Counterexamples are packets that are treated otherwise, each confirmed by
	// the model of the switch and the oracle; by host, port and packet. There may
	// be more than were looked for.
	Counterexamples []Counterexample
	// Unproved is what nobody can judge.
	Unproved []Unproved
	// Remarks are flows that no packet meets because others go before them, as far
	// as foreign flows have a part in it, and foreign flows before ours.
	Remarks []Remark
	// Unmet are flows that no packet at all meets, by host and table, where there
	// are no counterexamples: what is left of a VM that is gone, foreign flows
	// behind others. Flows of the pipeline itself are not listed.
	Unmet []Unmet
}

// Unmet is a flow that no packet meets.
type Unmet struct {
	Host  string
	Flow  flow.Flow
	Owner string // in the tenant's words
	// Stray says that the flow is foreign, or its owner is not in the policy.
	Stray bool
}

// Counterexample is a packet that is not treated as the policy means.
type Counterexample struct {
	Host string // where it comes in
	Port uint32 // OpenFlow number; of a tunnel port where Outer is set
	// VM is whose port that is, such as "record blue/web-1 10.0.0.5 VSID 5001";
	// "" where it is no VM's.
	VM       string
	VMSource tenant.Position
	Outer    packet.Outer // of what comes from the underlay, else zero
	Frame    packet.Frame

	Want     oracle.Verdict
	Expected string // Want in the tenant's words
	Got      string
	Why      string // what distinguishes the two, in short

	// Flow is the flow at fault, on host FlowHost; nil where packets miss all
	// flows. Its owner is in the tenant's words, with the line of the policy.
	Flow     *flow.Flow
	FlowHost string
	Owner    string
	Source   tenant.Position
	// Instead is the flow that the policy gives the host for this packet where the
	// flow at fault was met; nil where it gives the same.
	Instead       *flow.Flow
	InsteadOwner  string
	InsteadSource tenant.Position
	// Like is how many more classes had the same flow at fault.
	Like int
}

// String tells the counterexample in a few lines.
func (c *Counterexample) String() string {
	var b strings.Builder
	from := c.VM
	switch {
	case c.Outer != packet.Outer{}:
		from = "the underlay, " + c.Outer.String()
	case from == "":
		from = "no VM"
	}
	fmt.Fprintf(&b, "host %s port %d (%s): %s\n", c.Host, c.Port, from, c.Frame)
	fmt.Fprintf(&b, "  expected: %s\n  found: %s (%s)\n", c.Expected, c.Got, c.Why)
	if c.Flow != nil {
		fmt.Fprintf(&b, "  flow at fault, on %s: %s [%s%s]\n", c.FlowHost, c.Flow.Text(), c.Owner, at(c.Source))
	}
	if c.Instead != nil {
		fmt.Fprintf(&b, "  in its place the policy has: %s [%s%s]\n", c.Instead.Text(), c.InsteadOwner, at(c.InsteadSource))
	}
	return b.String()
}

func at(p tenant.Position) string {
	if p == (tenant.Position{}) {
		return ""
	}
	return ", " + p.String()
}

// Unproved is something that nobody can judge.
type Unproved struct {
	Host string
	Flow *flow.Flow // a flow that packets meet; nil where it is no flow
	Why  string
}

// Remark is a flow that stands where it should not, though it may do no harm.
type Remark struct {
	Host string
	Flow flow.Flow
	By   flow.Flow // the flow that goes before it
	// Whole says that Flow gets no packet at all for the sake of By.
	Whole bool
}

// String tells the remark in a line.
func (r *Remark) String() string {
	what := "takes packets from"
	if r.Whole {
		what = "takes all packets from"
	}
	return fmt.Sprintf("host %s: %s (priority %d) %s %s (priority %d)", r.Host, r.By.Text(), r.By.Priority, what, r.Flow.Text(), r.Flow.Priority)
}

const (
	maxUnproved = 100
	maxRemarks  = 100
	maxUnmet    = 1000
	// maxFailures ends the search where one fault has this many classes.
	maxFailures = 200
)

func (e *engine) report() *Report {
	r := &Report{Hosts: len(e.hosts), VMs: len(e.seats), Classes: e.total, Counterexamples: e.found}
	for _, h := range e.hosts {
		r.Flows += len(h.flows)
		e.remarks(h, r)
	}
	slices.SortFunc(r.Counterexamples, func(a, b Counterexample) int { return ordered(&a, &b) })
	for i := range r.Counterexamples {
		c := &r.Counterexamples[i]
		c.Like = e.seen[faultKey(c)] - 1
	}
	for _, k := range slices.Sorted(maps.Keys(e.unsure)) {
		r.Unproved = append(r.Unproved, e.unsure[k])
	}
	if len(r.Counterexamples) == 0 {
		for _, h := range e.hosts {
			e.unmet(h, r)
		}
	}
	r.Proved = len(r.Counterexamples) == 0 && len(r.Unproved) == 0
	return r
}

// unmet looks for flows that no class of packets met.
func (e *engine) unmet(h *host, r *Report) {
	for i := range h.flows {
		f := &h.flows[i]
		if _, ok := flows.SentinelRevision(f); ok || h.met[i].Load() || len(r.Unmet) >= maxUnmet {
			continue
		}
		os := e.namer.Owners(f.Cookie)
		if len(os) > 0 && os[0].Kind == flows.OwnerPipeline {
			continue
		}
		r.Unmet = append(r.Unmet, Unmet{h.name, *f, e.namer.OwnerText(f.Cookie), len(os) == 0})
	}
}

// remarks looks for foreign flows that go before ours, and ours before which
// flows go that take all their packets. It compares flows, not packets.
func (e *engine) remarks(h *host, r *Report) {
	for i := range h.flows {
		by := &h.flows[i]
		if flows.Ours(by.Cookie) {
			continue
		}
		t := h.tables[by.Table]
		for k := range t.flows {
			f := &t.flows[k]
			if len(r.Remarks) >= maxRemarks {
				return
			}
			if !flows.Ours(f.Cookie) || f.Priority > by.Priority {
				continue
			}
			switch cube(termsOf(f.Match)).in(termsOf(by.Match)) {
			case inside:
				r.Remarks = append(r.Remarks, Remark{h.name, *f, *by, true})
			case partial:
				if _, ok := cube(termsOf(f.Match)).with(termsOf(by.Match)...); ok {
					r.Remarks = append(r.Remarks, Remark{h.name, *f, *by, false})
				}
			}
		}
	}
}

// words says a verdict in the tenant's words.
func (e *engine) words(v *oracle.Verdict) string {
	s := ""
	switch v.Kind {
	case oracle.Dropped:
		s = fmt.Sprintf("dropped on host %s: %s", v.Host, DropReason(v.Reason).Text())
		if v.Reason == oracle.NoTunnel {
			s = fmt.Sprintf("dropped: host %s has no tunnel port for it", v.Host)
		}
	case oracle.Asked:
		s = fmt.Sprintf("handed to the controller on host %s: %s", v.Host, PuntReason(v.Punt).Text())
	case oracle.Answered:
		s = fmt.Sprintf("answered by the network, back to port %d: %s", v.Port, v.Frame)
	default:
		s = fmt.Sprintf("delivered to %s on host %s, port %d: %s", cmp.Or(e.vmText(v.Host, v.Port), "nobody"), v.Host, v.Port, v.Frame)
	}
	if v.Tunnelled {
		s += ", through " + v.Outer.String()
	}
	return s
}

func (e *engine) vmText(host string, port uint32) string {
	s, ok := e.seats[seatKey{host, port}]
	if !ok {
		return ""
	}
	d, _ := e.policy.RoutingDomain(s.vm.RDID)
	return fmt.Sprintf("VM %s/%s %s", d.Name, s.vm.VM, s.vm.CA)
}
