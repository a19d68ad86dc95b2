package verify

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
)

// DropOf returns the flow that drops the packet of a walk; nil where none does. A
// flow that drops may hand the packet to the controller, so that its sender is
// told: then it is not the last one.
func DropOf(r *sim.Result) *flow.Flow {
	if len(r.Punts) == 0 {
		if end, _ := r.Final(); end != sim.EndDrop {
			return nil
		}
		return r.Last()
	}
	for i := range r.Path {
		if _, drops := flows.Reason(r.Path[i].Flow.Cookie); drops {
			return r.Path[i].Flow
		}
	}
	return nil
}

// DifferPunt returns what distinguishes what the controller gets of a journey from
// what it should; "" where nothing does.
func DifferPunt(v *oracle.Verdict, j *sim.Journey) string {
	n := 0
	for i := range j.Hops {
		n += len(j.Hops[i].Result.Punts)
	}
	if v.Punt == 0 {
		if n > 0 {
			return "the controller gets it"
		}
		return ""
	}
	hop, p := j.Punt()
	if n != 1 || j.Hops[hop].Host != v.Host {
		return "the controller does not get it once"
	}
	// The registers as the switch reports them.
	said, ok := flows.ReadPunt(flow.Match{
		flow.Exact(flow.InPort, p.Field(flow.InPort)), flow.Exact(flow.Reg4, p.Field(flow.Reg4)), flow.Exact(flow.Reg6, p.Field(flow.Reg6)),
	})
	if !ok || said.Reason != PuntReason(v.Punt) || said.Port != j.Hops[hop].In.Port || p.Controller != flows.ControllerID || p.Meter != flows.VMMeter(said.Port) {
		return "the controller gets it for " + said.Reason.String()
	}
	return ""
}
