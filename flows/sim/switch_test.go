package sim_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var (
	isIPv4 = flow.Exact(flow.EthType, flow.Uint(0x0800))
	isARP  = flow.Exact(flow.EthType, flow.Uint(0x0806))
)

func newSwitch(t *testing.T, ports []sim.Port, fs ...flow.Flow) *sim.Switch {
	t.Helper()
	s, err := sim.NewSwitch(fs, ports)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a switch refuses, the model refuses, and says which flow it was.
func TestRefusesFlowsThatASwitchRefuses(t *testing.T) {
	ttl := flow.Exact(flow.IPTTL, flow.Uint(1))
	for _, c := range []struct {
		name string
		f    flow.Flow
		says string
	}{
		{"field without its EtherType", flow.Flow{Match: flow.Match{flow.Exact(flow.IPv4Src, flow.Uint(1))}}, "presupposes"},
		{"field of another EtherType", flow.Flow{Match: flow.Match{isARP, ttl}}, "presupposes"},
		{"port of an unknown protocol", flow.Flow{Match: flow.Match{isIPv4, flow.Exact(flow.TCPSrc, flow.Uint(1))}}, "presupposes"},
		{"mask on in_port", flow.Flow{Match: flow.Match{flow.Masked(flow.InPort, flow.Uint(2), flow.Uint(2))}}, "with a mask"},
		{"value outside the mask", flow.Flow{Match: flow.Match{{Field: flow.Reg0, Value: flow.Uint(3), Mask: flow.Uint(1)}}}, "outside"},
		{"empty mask", flow.Flow{Match: flow.Match{{Field: flow.Reg0}}}, "mask 0x0"},
		{"register twice", flow.Flow{Match: flow.Match{flow.Exact(flow.Reg0, flow.Uint(1)), flow.Exact(flow.XReg0, flow.Uint(1))}}, "twice"},
		{"back to its own table", flow.Flow{Table: 3, Actions: []flow.Action{flow.Goto(3)}}, "goes back"},
		{"something behind goto", flow.Flow{Actions: []flow.Action{flow.Goto(3), flow.Output(1)}}, "last"},
		{"writes the EtherType", flow.Flow{Match: flow.Match{isIPv4}, Actions: []flow.Action{flow.Set(flow.All(flow.EthType), flow.Uint(1))}}, "cannot be written"},
		{"writes a field that may be absent", flow.Flow{Actions: []flow.Action{flow.Set(flow.All(flow.IPTTL), flow.Uint(1))}}, "cannot be written"},
		{"dec_ttl without a header", flow.Flow{Actions: []flow.Action{flow.DecTTL()}}, "dec_ttl"},
		{"move of two widths", flow.Flow{Actions: []flow.Action{flow.Move(flow.All(flow.Reg0), flow.All(flow.XReg1))}}, "widths"},
		{"bits outside the field", flow.Flow{Actions: []flow.Action{flow.Set(flow.Bits{Field: flow.Reg0, Ofs: 30, N: 3}, flow.Uint(1))}}, "cannot be written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sim.NewSwitch([]flow.Flow{{}, c.f}, nil)
			var fe *sim.FlowError
			if !errors.As(err, &fe) || fe.Index != 1 || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want flow 1 refused with %q", err, c.says)
			}
		})
	}
	for _, ports := range [][]sim.Port{{{Number: 0}}, {{Number: 1}, {Number: 1}}, {{Number: sim.MaxPort + 1}}} {
		if _, err := sim.NewSwitch(nil, ports); err == nil {
			t.Errorf("took ports %v", ports)
		}
	}
}

// dec_ttl ends the walk at a TTL below 2, with what was sent before.
func TestDecTTL(t *testing.T) {
	s := newSwitch(t, []sim.Port{{Number: 1}, {Number: 2}},
		flow.Flow{Match: flow.Match{isIPv4}, Actions: []flow.Action{flow.Output(2), flow.DecTTL(), flow.Output(2), flow.Goto(1)}})
	for ttl, want := range map[uint8]struct {
		end  sim.End
		outs int
	}{0: {sim.EndTTL, 1}, 1: {sim.EndTTL, 1}, 2: {sim.EndMiss, 2}, 255: {sim.EndMiss, 2}} {
		var r sim.Result
		a := netip.MustParseAddr("10.0.0.1")
		s.Run(&sim.Input{Port: 1, Frame: packet.Frame{Type: packet.TypeIPv4, IP: packet.IP{Src: a, Dst: a, TTL: ttl}}}, &r)
		if r.End != want.end || len(r.Outputs) != want.outs {
			t.Errorf("TTL %d: %s", ttl, &r)
		} else if want.outs == 2 && r.Outputs[1].Frame.IP.TTL != ttl-1 {
			t.Errorf("TTL %d became %d", ttl, r.Outputs[1].Frame.IP.TTL)
		}
	}
}

// Extended registers are the registers; ports in registers have 16 bits.
func TestRegisters(t *testing.T) {
	s := newSwitch(t, []sim.Port{{Number: 1}, {Number: 5}},
		flow.Flow{Actions: []flow.Action{
			flow.Set(flow.All(flow.XXReg1), flow.Value{Hi: 0x1111111122222222, Lo: 0x33333333_44444444}),
			flow.Set(flow.Bits{Field: flow.XReg3, Ofs: 0, N: 48}, flow.Uint(5)),
			flow.OutputReg(flow.All(flow.Reg7)),
			flow.Set(flow.All(flow.Reg0), flow.Uint(0xfff8)), flow.OutputReg(flow.All(flow.Reg0)),
			flow.Set(flow.All(flow.Reg0), flow.Uint(0x10005)), flow.OutputReg(flow.All(flow.Reg0)),
			flow.Output(1),
		}})
	var r sim.Result
	s.Run(&sim.Input{Port: 1}, &r)
	for f, want := range map[flow.Field]flow.Value{
		flow.Reg4: flow.Uint(0x11111111), flow.Reg5: flow.Uint(0x22222222), flow.Reg6: flow.Uint(0x33330000), flow.Reg7: flow.Uint(5),
		flow.XReg2: flow.Uint(0x1111111122222222), flow.XXReg1: {Hi: 0x1111111122222222, Lo: 0x3333000000000005},
	} {
		if got := r.Field(f); got != want {
			t.Errorf("%s is %s, want %s", f, got, want)
		}
	}
	if len(r.Outputs) != 2 || r.Outputs[0].Port != 5 || !r.Outputs[1].Back {
		t.Errorf("outputs %v", r.Outputs)
	}
	if len(r.Skipped) != 2 || r.Skipped[0].Reason != sim.SkipNoPort || r.Skipped[1].Reason != sim.SkipInputPort {
		t.Errorf("skipped %v", r.Skipped)
	}
}

// A packet that goes round between hosts is stopped and reported. It takes two
// ports: by the one that it came in by it would not leave.
func TestLoopIsStopped(t *testing.T) {
	a, b := netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")
	host := func(name string, self, peer netip.Addr) sim.Host {
		back := func(in, out uint32) flow.Flow {
			return flow.Flow{Match: flow.Match{flow.Exact(flow.InPort, flow.Uint(uint64(in)))}, Actions: []flow.Action{
				flow.Set(flow.All(flow.TunSrc), flow.Addr(self)), flow.Set(flow.All(flow.TunDst), flow.Addr(peer)), flow.Output(out)}}
		}
		return sim.Host{Name: name, Addresses: []netip.Addr{self}, Switch: newSwitch(t,
			[]sim.Port{{Number: 1, Tunnel: true, Key: 100}, {Number: 2, Tunnel: true, AnyKey: true}, {Number: 3}},
			back(1, 2), back(2, 1), back(3, 1))}
	}
	n, err := sim.NewNetwork([]sim.Host{host("a", a, b), host("b", b, a)})
	if err != nil {
		t.Fatal(err)
	}
	var j sim.Journey
	for range 2 { // also with a journey used again
		if err := n.Send("a", 3, &packet.Frame{Dst: tenant.MAC{2}}, &j); err != nil {
			t.Fatal(err)
		}
		// Out by port 2 with key 100 it comes in by port 1, which has that key.
		if !j.Loops() || len(j.Hops) != sim.MaxHops || len(j.Deliveries) != 0 {
			t.Errorf("%s", &j)
		}
	}
	if err := n.Send("c", 3, &packet.Frame{}, &j); err == nil {
		t.Error("sent from a host that is not there")
	}
	if _, err := sim.NewNetwork([]sim.Host{host("a", a, b), host("b", a, b)}); err == nil {
		t.Error("two hosts have one address")
	}
}

// What the underlay cannot hand over is lost, for a reason.
func TestLosses(t *testing.T) {
	a := netip.MustParseAddr("10.99.0.1")
	out := func(dst string) flow.Flow {
		return flow.Flow{Match: flow.Match{flow.Exact(flow.InPort, flow.Uint(3))}, Actions: []flow.Action{
			flow.Set(flow.All(flow.TunDst), flow.Addr(netip.MustParseAddr(dst))), flow.Set(flow.All(flow.TunID), flow.Uint(0x1_0000_0500)), flow.Output(1)}}
	}
	for dst, want := range map[string]sim.LossReason{"10.99.0.9": sim.LossNoHost, "10.99.0.2": sim.LossNoTunnel} {
		n, err := sim.NewNetwork([]sim.Host{
			{Name: "a", Addresses: []netip.Addr{a}, Switch: newSwitch(t, []sim.Port{{Number: 1, Tunnel: true, AnyKey: true}, {Number: 3}}, out(dst))},
			{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")}, Switch: newSwitch(t, []sim.Port{{Number: 1, Tunnel: true, Key: 7}})},
		})
		if err != nil {
			t.Fatal(err)
		}
		var j sim.Journey
		if err := n.Send("a", 3, &packet.Frame{}, &j); err != nil {
			t.Fatal(err)
		}
		// A GRE key has 32 bits; tun_id has 64.
		if len(j.Losses) != 1 || j.Losses[0].Reason != want || j.Losses[0].Outer.Key != 0x500 {
			t.Errorf("to %s: %v", dst, j.Losses)
		}
	}
}
