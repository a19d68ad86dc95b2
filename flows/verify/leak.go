package verify

import (
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
)

// Reserved ports (OpenFlow 1.3.5 section 7.2.1).
const (
	portNormal     = 0xfffffffa
	portFlood      = 0xfffffffb
	portAll        = 0xfffffffc
	portController = 0xfffffffd
	portLocal      = 0xfffffffe
)

// leakOf says where a flow's packets may go that no policy means; "" where a flow
// has no output of that kind. Whether normal switching happens to do what is meant
// depends on what the bridge has learned: until it has, it floods, and nothing
// learned is of a policy. So its packets always count as going where they must not.
func leakOf(f *flow.Flow) (port uint32, what string) {
	for _, a := range f.Actions {
		if a.Op != flow.OpOutput {
			continue
		}
		switch a.Port {
		case portNormal:
			return a.Port, "switched as by a learning bridge (NORMAL): to the port where its destination's MAC was learned, and until it was, to all other ports of the bridge, those of other tenants and tunnels among them"
		case portFlood, portAll:
			return a.Port, "sent to all other ports of the bridge, those of other tenants and tunnels among them"
		case portLocal:
			return a.Port, "handed to the host's own network stack"
		}
	}
	return 0, ""
}

// leaked makes a counterexample of packets that meet a flow which lets them go
// where no policy means; nil where the model of the switch does not confirm it.
func (c *confirmer) leaked(h *host, found cube, way []trod, t *trod) *Counterexample {
	port, what := leakOf(t.rule.flow)
	if !t.rule.leaks || what == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, first := range [][]trod{nil, way} {
		net, err := c.network(first)
		if err != nil {
			return nil
		}
		for fill := range uint64(fills) {
			in := inputOf(found, fill)
			var j sim.Journey
			v, err := c.send(net, h, &in, &j)
			if err != nil {
				return nil
			}
			if slices.ContainsFunc(j.Hops, func(hop sim.Hop) bool {
				return hop.Host == t.host.name && slices.Contains(hop.Result.Skipped, sim.Skip{Port: port, Reason: sim.SkipNoPort}) &&
					slices.ContainsFunc(hop.Result.Path, func(s sim.Step) bool { return s.Flow.Equal(t.rule.flow) })
			}) {
				x := c.counterexample(h, &in, &v, "the policy lets no packet go where bridges send it by themselves")
				x.Got = fmt.Sprintf("on host %s %s", t.host.name, what)
				c.blame(x, &j)
				return x
			}
		}
	}
	return nil
}

// send sends a packet through a network, and returns what should become of it.
func (c *confirmer) send(net *sim.Network, h *host, in *sim.Input, j *sim.Journey) (oracle.Verdict, error) {
	if h.ports[in.Port].Tunnel {
		return c.e.oracle.Received(h.name, in.Outer, in.Frame), net.Receive(h.name, in.Outer, &in.Frame, j)
	}
	return c.e.oracle.Sent(h.name, in.Port, in.Frame), net.Send(h.name, in.Port, &in.Frame, j)
}

// counterexample begins a counterexample: what is found, and the flow at fault, are
// still to come.
func (c *confirmer) counterexample(h *host, in *sim.Input, v *oracle.Verdict, why string) *Counterexample {
	x := &Counterexample{Host: h.name, Port: in.Port, Frame: in.Frame, Want: *v, Expected: c.e.words(v), Why: why}
	if h.ports[in.Port].Tunnel {
		x.Outer = in.Outer
	} else if s, ok := c.e.seats[seatKey{h.name, in.Port}]; ok {
		d, _ := c.e.policy.RoutingDomain(s.vm.RDID)
		x.VM = fmt.Sprintf("record %s/%s %s VSID %d", d.Name, s.vm.VM, s.vm.CA, s.vm.VSID)
		x.VMSource = s.vm.Source
	}
	return x
}
