package sim_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var groupPorts = []sim.Port{{Number: 1}, {Number: 2}, {Number: 3}, {Number: 4}}

// replicating has a group that does three buckets, two of which look up further
// tables, and behind it a table that sees what the buckets left alone.
func replicating() ([]flow.Flow, []flow.Group) {
	reg1 := flow.All(flow.Reg1)
	return []flow.Flow{
			{Priority: 1, Cookie: 1, Match: flow.Match{isIPv4}, Actions: []flow.Action{flow.Set(reg1, flow.Uint(3)), flow.ToGroup(7), flow.Goto(10)}},
			{Table: 5, Cookie: 2, Actions: []flow.Action{flow.OutputReg(reg1)}},
			{Table: 6, Cookie: 3, Match: flow.Match{flow.Exact(flow.EthDst, flow.Uint(0x020000000009))}, Actions: []flow.Action{flow.Output(4)}},
			{Table: 10, Cookie: 4, Match: flow.Match{flow.Exact(flow.Reg1, flow.Uint(3))}, Actions: []flow.Action{flow.OutputReg(reg1)}},
		}, []flow.Group{{ID: 7, Type: flow.GroupAll, Buckets: []flow.Bucket{
			{Actions: []flow.Action{flow.Set(reg1, flow.Uint(2)), flow.Resubmit(5)}},
			{Actions: []flow.Action{flow.Set(flow.All(flow.EthDst), flow.Uint(0x020000000009)), flow.Resubmit(6)}},
			{Actions: []flow.Action{flow.Output(1), flow.Output(4), flow.Resubmit(6)}},
		}}}
}

func udpFrame() packet.Frame {
	return packet.Frame{Dst: tenant.MAC{2, 0, 0, 0, 0, 1}, Src: tenant.MAC{2, 0, 0, 0, 0, 2}, Type: packet.TypeIPv4,
		IP: packet.IP{Src: netip.MustParseAddr("10.0.0.2"), Dst: netip.MustParseAddr("10.0.0.3"), Proto: packet.ProtoUDP, TTL: 64},
		L4: packet.L4{Src: 1000, Dst: 2000}}
}

// Each bucket has a copy of the packet of its own, and what comes behind the
// group the packet as it was.
func TestGroupOfAll(t *testing.T) {
	fs, gs := replicating()
	s, err := sim.NewSwitch(fs, groupPorts, gs...)
	if err != nil {
		t.Fatal(err)
	}
	var r sim.Result
	in := sim.Input{Port: 1, Frame: udpFrame()}
	s.Run(&in, &r)
	var out []uint32
	for _, o := range r.Outputs {
		out = append(out, o.Port)
	}
	want := []uint32{2, 4, 4, 3}
	if len(out) != 4 || out[0] != want[0] || out[1] != want[1] || out[2] != want[2] || out[3] != want[3] {
		t.Errorf("sent to %v, want %v\n%s", out, want, &r)
	}
	if len(r.Skipped) != 1 || r.Skipped[0].Reason != sim.SkipInputPort {
		t.Errorf("skipped %v", r.Skipped)
	}
	if len(r.Branches) != 3 || r.Branches[0].Table != 5 || r.Branches[2].End != sim.EndMiss || r.Branches[2].Table != 6 || r.Branches[1].From != 0 {
		t.Errorf("branches %+v", r.Branches)
	}
	if r.End != sim.EndActions || r.Table != 10 || r.Outputs[1].Frame.Dst == r.Outputs[3].Frame.Dst {
		t.Errorf("%s", &r)
	}
	t.Run("as a real switch", func(t *testing.T) {
		real := newReal(t)
		bs, err := real.load([]*sim.Switch{s}, [][]sim.Port{groupPorts})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := real.ctl.call("ofproto/trace", bs[0].name, "in_port=1,udp,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01,nw_src=10.0.0.2,nw_dst=10.0.0.3,nw_ttl=64")
		if err != nil {
			t.Fatal(err)
		}
		dp := traceDP.FindStringSubmatch(raw)
		if dp == nil {
			t.Fatal(raw)
		}
		// The set of the MAC is undone for what comes behind it.
		var ports []uint32
		for _, a := range strings.Split(dp[1], ",") {
			if n, ok := bs[0].ports[strings.TrimSuffix(a, ")")]; ok {
				ports = append(ports, n)
			}
		}
		if len(ports) != 4 || ports[0] != 2 || ports[1] != 4 || ports[2] != 4 || ports[3] != 3 {
			t.Errorf("the switch sends to %v, the model to %v\n%s", ports, out, raw)
		}
	})
}

// Of a group that selects, one bucket is done, and over all hashes each as often
// as it weighs.
func TestGroupThatSelects(t *testing.T) {
	low := flow.Bits{Field: flow.TunID, N: 8}
	g := flow.Group{ID: 1, Type: flow.GroupSelect}
	for i, w := range []uint16{1, 0, 3} {
		g.Buckets = append(g.Buckets, flow.Bucket{Weight: w, Actions: []flow.Action{flow.Set(low, flow.Uint(uint64(i))), flow.Output(uint32(i + 2))}})
	}
	s, err := sim.NewSwitch([]flow.Flow{{Actions: []flow.Action{flow.ToGroup(1)}}}, groupPorts, g)
	if err != nil {
		t.Fatal(err)
	}
	var r sim.Result
	seen := map[uint32]int{}
	for h := range s.Choices() {
		s.Run(&sim.Input{Port: 1, Frame: udpFrame(), Hash: h}, &r)
		if len(r.Outputs) != 1 || len(r.Branches) != 1 {
			t.Fatal(&r)
		}
		seen[r.Outputs[0].Port]++
	}
	if s.Choices() != 4 || seen[2] != 1 || seen[3] != 0 || seen[4] != 3 {
		t.Errorf("%d choices: %v", s.Choices(), seen)
	}
	f := udpFrame()
	h := f.FlowHash()
	f.IP.TTL--
	if f.FlowHash() != h {
		t.Error("packets of one connection have several hashes")
	}
	if f.L4.Src++; f.FlowHash() == h {
		t.Error("two connections have one hash")
	}
}

// A packet that goes to the controller has its registers with it, and goes on.
func TestPunt(t *testing.T) {
	bit := flow.Bits{Field: flow.Reg4, Ofs: 2, N: 1}
	tagged := flow.Match{flow.Masked(flow.VLANTCI, flow.Uint(0x1000), flow.Uint(0x1000))}
	s := newSwitch(t, groupPorts,
		flow.Flow{Priority: 1, Match: tagged, Actions: []flow.Action{flow.PopVLAN(), flow.Goto(1)}},
		flow.Flow{Actions: []flow.Action{flow.Goto(1)}},
		flow.Flow{Table: 1, Actions: []flow.Action{flow.CheckLarger(1472, bit), flow.Goto(2)}},
		flow.Flow{Table: 2, Priority: 1, Match: flow.Match{flow.Masked(flow.Reg4, flow.Uint(4), flow.Uint(4))},
			Actions: []flow.Action{flow.Set(flow.All(flow.Reg6), flow.Uint(9)), flow.ToController(0x4e56, 1), flow.Set(flow.All(flow.Reg6), flow.Uint(0)), flow.Output(2)}},
		flow.Flow{Table: 2, Actions: []flow.Action{flow.Output(2)}})
	for _, c := range []struct {
		size   uint16
		tagged bool
		punts  int
	}{{0, false, 0}, {1472, false, 0}, {1473, false, 1}, {1476, true, 0}, {1477, true, 1}} {
		f := udpFrame()
		f.Size, f.Tagged = c.size, c.tagged
		var r sim.Result
		s.Run(&sim.Input{Port: 1, Frame: f}, &r)
		if len(r.Punts) != c.punts || len(r.Outputs) != 1 || r.Outputs[0].Frame.Tagged {
			t.Errorf("%+v: %s", c, &r)
		}
		if c.punts == 1 {
			p := r.Punts[0]
			if p.Field(flow.Reg6) != flow.Uint(9) || p.Controller != 0x4e56 || p.Meter != 1 || r.Path[p.Step].Flow.Table != 2 || p.Frame.Tagged {
				t.Errorf("%+v", p)
			}
		}
	}
}

func TestRefusesGroups(t *testing.T) {
	one := func(actions ...flow.Action) flow.Group {
		return flow.Group{ID: 1, Type: flow.GroupAll, Buckets: []flow.Bucket{{Actions: actions}}}
	}
	names := flow.Flow{Table: 3, Actions: []flow.Action{flow.ToGroup(1)}}
	for _, c := range []struct {
		says   string
		f      flow.Flow
		groups []flow.Group
	}{
		{"there is no group 1", names, nil},
		{"back to table 3", names, []flow.Group{one(flow.Resubmit(3))}},
		{"each once", names, []flow.Group{one(), one()}},
		{"not for a bucket", names, []flow.Group{one(flow.Goto(9))}},
		{"not for a bucket", names, []flow.Group{one(flow.ToGroup(1))}},
		{"widths", names, []flow.Group{one(flow.Move(flow.All(flow.Reg0), flow.All(flow.XReg0)))}},
		{"weight", names, []flow.Group{{ID: 1, Type: flow.GroupAll, Buckets: []flow.Bucket{{Weight: 1}}}}},
		{"with 0 buckets", names, []flow.Group{{ID: 1, Type: flow.GroupIndirect}}},
		{"in the buckets", flow.Flow{Actions: []flow.Action{flow.Resubmit(1)}}, nil},
		{"a match on a tag", flow.Flow{Actions: []flow.Action{flow.PopVLAN()}}, nil},
		{"one bit", flow.Flow{Actions: []flow.Action{flow.CheckLarger(1, flow.All(flow.Reg1))}}, nil},
	} {
		if _, err := sim.NewSwitch([]flow.Flow{c.f}, nil, c.groups...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}
