package sim_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
)

// network returns the world as package verify wants it, with the flows of one
// host changed for others.
func (w *world) network(host string, fs []flow.Flow) verify.Network {
	n := verify.Network{Policy: w.policy}
	for _, h := range w.hosts {
		x := verify.Host{View: w.views[h], Flows: w.flows[h].Flows, Groups: w.flows[h].Groups}
		if h == host {
			x.Flows = fs
		}
		n.Hosts = append(n.Hosts, x)
	}
	return n
}

func prove(t interface{ Fatal(...any) }, n verify.Network) *verify.Report {
	r, err := verify.Verify(context.Background(), n, verify.Options{MaxCounterexamples: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The compiled flows of any policy in any state of its hosts are proved.
func TestVerifyProvesCompiledFlows(t *testing.T) {
	worlds := 60
	if soak {
		worlds = 2000
	}
	setRapid(t, "checks", fmt.Sprint(worlds))
	rapid.Check(t, func(t *rapid.T) {
		w, err := randomWorld(rapidDice{t}, modeFlow, modeVSID, modeBoth, modeNoPort)
		if err != nil {
			t.Fatal(err)
		}
		if r := prove(t, w.network("", nil)); !r.Proved {
			t.Fatalf("%v\n%v", r.Counterexamples, r.Unproved)
		}
		// FlowIDs change nobody's way.
		if w, err = randomWorld(rapidDice{t}, modeFlowID, modeFlow); err != nil {
			t.Fatal(err)
		}
		if r := prove(t, w.network("", nil)); !r.Proved {
			t.Fatalf("with FlowIDs: %v\n%v", r.Counterexamples, r.Unproved)
		}
	})
	w := fullWorld(t)
	r := prove(t, w.network("", nil))
	t.Logf("full world: %+v", r)
	if !r.Proved || r.Classes == 0 {
		t.Error("not proved")
	}
}

// The verifier and packets by chance never contradict each other on flows with
// one random fault: what is proved no packet refutes, and nothing is left open.
func TestVerifyAgreesWithPackets(t *testing.T) {
	worlds, packets := 40, 300
	if soak {
		worlds, packets = 2000, 1000
	}
	setRapid(t, "checks", fmt.Sprint(worlds))
	proved, refuted := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		w, err := randomWorld(d, modeFlow, modeVSID, modeBoth, modeNoPort)
		if err != nil {
			t.Fatal(err)
		}
		host := one(d, w.hosts)
		m := one(d, mutants(host, w.flows[host].Flows, nil))
		sw, err := sim.NewSwitch(m.flows, ports(w.views[host]), w.flows[host].Groups...)
		if err != nil {
			return // a switch refuses it
		}
		r := prove(t, w.network(host, m.flows))
		if len(r.Unproved) > 0 {
			t.Fatalf("%s: unproved: %v", m.op, r.Unproved)
		}
		if !r.Proved {
			refuted++ // by a packet that the model has confirmed
			return
		}
		proved++
		net := w.net.With(host, sw)
		var j sim.Journey
		for range packets {
			in := w.randomPacket(d)
			v := w.intent(&in)
			w.run(net, &in, &j)
			if diff := differ(&v, &j); diff != "" {
				t.Fatalf("%s of %s is proved, but %s: %s", m.op, w.flows[host].Flows[m.index].Text(), in, diff)
			}
		}
	})
	t.Logf("%d refuted, %d proved", refuted, proved)
	if refuted == 0 || proved == 0 {
		t.Error("the faults are of one kind only")
	}
}

// What the verifier proves of a network with one fault no packet refutes, and
// what packets show it finds.
func TestVerifyFindsMutants(t *testing.T) {
	h := newHunter(t, fullWorld(t))
	every := 1999
	if soak {
		every = 1
	}
	type score struct{ found, total int }
	scores := make(map[string]*score)
	var all score
	var j sim.Journey
	n, equivalent := 0, 0
	for _, host := range h.hosts {
		for _, m := range mutants(host, h.flows[host].Flows, h.keys(host)) {
			if n++; n%every != 0 {
				continue
			}
			killed, valid := h.kills(&m, &j)
			if !valid {
				continue
			}
			r := prove(t, h.network(m.host, m.flows))
			f := &h.flows[host].Flows[m.index]
			if !killed {
				// The suite is not all packets: what the verifier finds counts, since
				// the model has confirmed it.
				if r.Proved {
					equivalent++
					continue
				}
			}
			s := scores[m.op]
			if s == nil {
				s = &score{}
				scores[m.op] = s
			}
			s.total++
			all.total++
			switch {
			case len(r.Unproved) > 0:
				t.Errorf("host %s: unproved: %s: %s: %v", host, m.op, f.Text(), r.Unproved)
			case r.Proved:
				t.Logf("host %s: not found: %s: %s %s", host, m.op, flows.TableName(f.Table), f.Text())
			default:
				s.found++
				all.found++
			}
		}
	}
	for _, op := range slices.Sorted(maps.Keys(scores)) {
		t.Logf("%5d of %5d found: %s", scores[op].found, scores[op].total, op)
	}
	rate := float64(all.found) / float64(all.total)
	t.Logf("%d of %d mutants found, %.2f %%; %d are equivalent", all.found, all.total, 100*rate, equivalent)
	if rate < 0.999 {
		t.Errorf("only %.2f %% of the mutants are found", 100*rate)
	}
}
