package verify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
)

// Foreign flows that let the bridge do something by itself are judged: only what
// no packet meets does no harm.
func TestWhatBridgesDoByThemselves(t *testing.T) {
	tcp := flow.Match{flow.Exact(flow.EthType, flow.Uint(uint64(packet.TypeIPv4))), flow.Exact(flow.IPProto, flow.Uint(6))}
	for _, x := range []struct {
		name     string
		table    uint8
		priority uint16
		match    flow.Match
		actions  []flow.Action
		got      string // "": proved
	}{
		{"normal", 20, 60000, tcp, []flow.Action{flow.Output(0xfffffffa)}, "switched as by a learning bridge (NORMAL)"},
		{"normal for what is dropped anyway", 20, 50, nil, []flow.Action{flow.Output(0xfffffffa)}, "switched as by a learning bridge (NORMAL)"},
		{"flood", 0, 60000, nil, []flow.Action{flow.Output(0xfffffffb)}, "sent to all other ports"},
		{"all, and on", 0, 99, nil, []flow.Action{flow.Output(0xfffffffc), flow.Goto(1)}, "sent to all other ports"},
		{"to the host", 25, 60000, tcp, []flow.Action{flow.Output(0xfffffffe)}, "handed to the host's own network stack"},
		{"to a controller, and not on", 20, 60000, tcp, []flow.Action{flow.Output(0xfffffffd)}, "dropped"},
		{"a copy to a controller, of nothing else", 21, 60000, tcp, []flow.Action{flow.Output(0xfffffffd)}, ""},
		{"normal where no packet comes", 21, 60000, nil, []flow.Action{flow.Output(0xfffffffa)}, ""},
		{"normal below ours", 50, 0, tcp, []flow.Action{flow.Output(0xfffffffa)}, "switched as by a learning bridge (NORMAL)"}, // of equal priority
	} {
		t.Run(x.name, func(t *testing.T) {
			p, views := small(t)
			n := verify.Compiled(p, views)
			f := flow.Flow{Table: x.table, Priority: x.priority, Match: x.match, Actions: x.actions}
			n.Hosts[0].Flows = append(slices.Clone(n.Hosts[0].Flows), f)
			r := verifyAll(t, n)
			if len(r.Unproved) > 0 {
				t.Errorf("unproved: %+v", r.Unproved)
			}
			if x.got == "" {
				if !r.Proved {
					t.Errorf("%v", r.Counterexamples)
				}
				return
			}
			if len(r.Counterexamples) == 0 {
				t.Fatal("proved")
			}
			c := &r.Counterexamples[0]
			if !strings.Contains(c.Got, x.got) || c.Flow == nil || c.Flow.Cookie != 0 || c.FlowHost != n.Hosts[0].View.Name {
				t.Errorf("%s", c)
			}
		})
	}
}

// A flow of ours that sends a copy to a controller, and goes on, changes nothing.
func TestACopyForAController(t *testing.T) {
	p, views := small(t)
	n := verify.Compiled(p, views)
	fs := slices.Clone(n.Hosts[0].Flows)
	i := find(t, fs, "ca", has(flow.OpGoto))
	fs[i].Actions = slices.Insert(slices.Clone(fs[i].Actions), 0, flow.Output(0xfffffffd))
	n.Hosts[0].Flows = fs
	if r := verifyAll(t, n); !r.Proved {
		t.Errorf("%v %v", r.Counterexamples, r.Unproved)
	}
}
