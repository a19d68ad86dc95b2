package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var punt = Table{
	ID:      tablePunt,
	Name:    "punt",
	Purpose: "Hands packets that no flow can answer to the controller, which answers by the port that they came in by: ICMP errors, DHCP, router advertisements. Each VM has a flow and a meter of its own, so that a flood of one takes nothing from another. The register punt says why.",
	Matches: fields(flow.InPort),
	Punts:   true,
	Miss:    "drop: it came in by no VM's port",
}

const prioPunt = 100

// PuntLimit says how many packets of one VM the controller gets.
type PuntLimit struct {
	Rate  uint32 // packets a second, at least 1
	Burst uint32 // packets at once, at least 1
}

// DefaultPuntLimit is the limit where nobody says another: enough for a traceroute
// and a ping sweep, and little for a controller of thousands of VMs.
var DefaultPuntLimit = PuntLimit{Rate: 50, Burst: 100}

// WithPuntLimit returns a compiler with another limit, for the first of a line of
// compilers: those that follow it have it too.
func (c *Compiler) WithPuntLimit(l PuntLimit) *Compiler {
	return &Compiler{policy: c.policy, at: c.at, domains: c.domains, peers: c.peers, room: c.room, shared: c.shared, limit: l, blocks: make(map[tenant.RDID]*block)}
}

// puntFlow makes the way of a VM's packets to the controller, with its meter.
func (c *Compiler) puntFlow(b *builder, r *tenant.LookupRecord, port uint32) {
	meter := flow.Meter{ID: VMMeter(port), Rate: c.limit.Rate, Burst: c.limit.Burst}
	b.meters = append(b.meters, meter)
	b.add(&punt, prioPunt, recordOwner(r).cookie(), b.match(inPort(port)), flow.ToController(ControllerID, meter.ID))
}
