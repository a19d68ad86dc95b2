package sim_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
)

// hunter finds packets that mutants treat otherwise than intended.
type hunter struct {
	*world
	suite   []input
	intents []intent
	// through has the packets that pass each table of each host: no other can
	// notice a fault there.
	through map[hostTable][]int32
}

type hostTable struct {
	host  string
	table uint8
}

func newHunter(t *testing.T, w *world) *hunter {
	h := &hunter{world: w, suite: w.suite(), through: make(map[hostTable][]int32)}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(h.suite), func(i, j int) { h.suite[i], h.suite[j] = h.suite[j], h.suite[i] })
	var j sim.Journey
	for i := range h.suite {
		in := &h.suite[i]
		v := w.intent(in)
		w.run(w.net, in, &j)
		if diff := differ(&v, &j); diff != "" {
			t.Fatalf("%s\nintended: %s\nfound: %s\n%s", in, v, diff, &j)
		}
		h.intents = append(h.intents, v)
		for _, hop := range j.Hops {
			for _, s := range hop.Result.Path {
				at := hostTable{hop.Host, s.Flow.Table}
				h.through[at] = append(h.through[at], int32(i))
			}
		}
	}
	return h
}

// keys returns the GRE keys that a host takes; nil for any.
func (h *hunter) keys(host string) (keys []uint64) {
	for vsid := range h.views[host].Tunnels.PerVSID {
		keys = append(keys, uint64(vsid.Key(0)))
	}
	return keys
}

// kills reports whether some packet of the suite is not treated as intended; a
// mutant that a switch would refuse is not valid. Of two flows of one priority a
// switch may take either: both orders are tried.
func (h *hunter) kills(m *mutant, j *sim.Journey) (killed, valid bool) {
	table := h.flows[m.host].Flows[m.index].Table
	flowsNow := m.flows
	for order := range 2 {
		if order == 1 {
			if len(flowsNow) < len(h.flows[m.host].Flows) || flowsNow[m.index].Table != table {
				break
			}
			flowsNow = slices.Delete(slices.Clone(flowsNow), m.index, m.index+1)
			flowsNow = slices.Insert(flowsNow, 0, m.flows[m.index])
		}
		sw, err := sim.NewSwitch(flowsNow, ports(h.views[m.host]), h.flows[m.host].Groups...)
		if err != nil {
			return false, false
		}
		net := h.net.With(m.host, sw)
		for _, i := range h.through[hostTable{m.host, table}] {
			h.run(net, &h.suite[i], j)
			if differ(&h.intents[i], j) != "" {
				return true, true
			}
		}
	}
	return false, true
}

// The comparison with the oracle notices nearly every single fault in the flows.
// Mutants that no packet can tell from the original are left out, each for a
// reason that follows from the flows (see knowledge).
func TestMutantsAreKilled(t *testing.T) {
	h := newHunter(t, fullWorld(t))
	every := 307
	if soak {
		every = 1
	}
	type score struct{ killed, total int }
	scores := make(map[string]*score)
	excluded := make(map[string]int)
	var all score
	var j sim.Journey
	n := 0
	for _, host := range h.hosts {
		for _, m := range mutants(host, h.flows[host].Flows, h.keys(host)) {
			if n++; n%every != 0 {
				continue
			}
			if m.dead != "" && !soak {
				excluded[m.dead]++
				continue
			}
			killed, valid := h.kills(&m, &j)
			f := &h.flows[host].Flows[m.index]
			switch {
			case !valid:
				excluded["a switch refuses the flow"]++
				continue
			case m.dead != "":
				// Only in soak: the reasoning must hold for all the suite.
				excluded[m.dead]++
				if killed {
					t.Errorf("%s of %s: thought equivalent (%s), but is killed", m.op, f.Text(), m.dead)
				}
				continue
			}
			s := scores[m.op]
			if s == nil {
				s = &score{}
				scores[m.op] = s
			}
			s.total++
			all.total++
			if killed {
				s.killed++
				all.killed++
			} else {
				t.Logf("host %s: survives: %s: %s %s", host, m.op, flows.TableName(f.Table), f.Text())
			}
		}
	}
	for _, op := range slices.Sorted(maps.Keys(scores)) {
		t.Logf("%5d of %5d killed: %s", scores[op].killed, scores[op].total, op)
	}
	for _, why := range slices.Sorted(maps.Keys(excluded)) {
		t.Logf("%5d left out: %s", excluded[why], why)
	}
	rate := float64(all.killed) / float64(all.total)
	t.Logf("%d of %d mutants killed, %s", all.killed, all.total, fmt.Sprintf("%.2f %%", 100*rate))
	// Measured: 407 of 409 of a sample of one in 61. A survivor is a gap in the suite or in the reasoning.
	if rate < 0.99 {
		t.Errorf("only %.2f %% of the mutants are killed", 100*rate)
	}
}
