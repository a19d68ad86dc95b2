package openflow

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

const ourController = 0x4e56

func packetChannel(tb testing.TB, sw *ovsproc.Switch, controller uint16, o Options) *PacketChannel {
	tb.Helper()
	conn, err := net.Dial("unix", sw.MgmtSock("br-int"))
	if err != nil {
		tb.Fatal(err)
	}
	c, err := NewPacketChannel(context.Background(), conn, controller, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

// someFrame is an IPv4 packet from 10.0.0.1 to 10.0.0.2.
var someFrame = []byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00" +
	"\x45\x00\x00\x14\x00\x00\x00\x00\x40\x00\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02")

func fromPort7() *PacketOut {
	return &PacketOut{InPort: 7, Actions: []flow.Action{flow.Output(flow.PortTable)}, Data: someFrame}
}

func next(t *testing.T, c *PacketChannel) *PacketIn {
	t.Helper()
	p, err := c.Next(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPacketChannel: what flows send to a controller goes to the channels of its
// number, with metadata, and nowhere else; what a channel sends goes through the
// tables.
func TestPacketChannel(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	ours := packetChannel(t, sw, ourController, Options{})
	other := packetChannel(t, sw, 5, Options{})
	if _, err := sw.Vsctl(t.Context(), "add-port", "br-int", "p7", "--", "set", "interface", "p7", "type=dummy", "ofport_request=7"); err != nil {
		t.Fatal(err)
	}
	await(t, s, func(e *PortStatus) bool { return e.Port.Name == "p7" })
	isIP := flow.Exact(flow.EthType, flow.Uint(0x800))
	set := func(f flow.Field, v uint64) flow.Action { return flow.Set(flow.All(f), flow.Uint(v)) }
	cut := flow.ToController(5, 0)
	cut.MaxLen, cut.UserData = 20, "why" // Open vSwitch cuts nothing since it keeps no packets back
	if err := s.Apply(soon(t), adds([]flow.Flow{
		{Table: 0, Cookie: 0x99, Match: flow.Match{flow.Exact(flow.InPort, flow.Uint(7)), isIP},
			Actions: []flow.Action{set(flow.Reg6, 3), set(flow.TunDst, 0x0a630002), set(flow.XReg6, 0x020304050607), flow.ToController(ourController, 0), flow.Goto(9)}},
		{Table: 9, Cookie: 0x98, Match: flow.Match{isIP}, Actions: []flow.Action{set(flow.IPTTL, 9), cut}},
		{Table: 20, Cookie: 0x97, Match: flow.Match{flow.Exact(flow.Reg2, flow.Uint(4))}, Actions: []flow.Action{flow.ToController(ourController, 0)}},
	})); err != nil {
		t.Fatal(err)
	}
	if err := ours.Send(soon(t), fromPort7()); err != nil {
		t.Fatal(err)
	}
	p := next(t, ours)
	if p.Cookie != 0x99 || p.Table != 0 || string(p.Data) != string(someFrame) || p.Field(flow.InPort) != flow.Uint(7) ||
		p.Field(flow.Reg6) != flow.Uint(3) || p.Field(flow.TunDst) != flow.Uint(0x0a630002) || p.Field(flow.Reg13) != flow.Uint(0x04050607) || p.Field(flow.Reg12) != flow.Uint(0x0203) {
		t.Errorf("%+v", p)
	}
	p = next(t, other)
	if p.Cookie != 0x98 || p.Table != 9 || string(p.Data) != string(someFrame) || string(p.UserData) != "why" {
		t.Errorf("%+v", p)
	}
	// A packet-out writes registers and enters a later table.
	if err := ours.Send(soon(t), &PacketOut{Actions: []flow.Action{set(flow.Reg2, 4), flow.Resubmit(20)}, Data: someFrame}); err != nil {
		t.Fatal(err)
	}
	if p := next(t, ours); p.Cookie != 0x97 || p.Field(flow.Reg2) != flow.Uint(4) {
		t.Errorf("%+v", p)
	}
	// What the switch refuses is counted.
	if err := ours.Send(soon(t), &PacketOut{Actions: []flow.Action{flow.ToGroup(99)}, Data: someFrame}); err != nil {
		t.Fatal(err)
	}
	if err := ours.s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	if c := ours.Counters(); c.Refused != 1 || c.Received["packet-in"] != 0 || c.Received["port-status"] != 0 || c.Sent["packet-out"] != 3 {
		t.Errorf("%+v", c)
	}
	if err := s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	if c := s.Counters(); c.Received["packet-in"] != 0 || c.Received["experimenter"] != 3 { // a bundle's answers
		t.Errorf("packets came by the channel of the flows: %v", c.Received)
	}
	if len(other.s.events) != 0 || len(ours.s.events) != 0 {
		t.Error("a packet came twice, or went to the wrong number")
	}
	for _, bad := range []*PacketOut{{}, {Data: make([]byte, 65530)}, {Data: someFrame, Actions: []flow.Action{flow.Goto(1)}}} {
		if err := ours.Send(soon(t), bad); err == nil {
			t.Errorf("%d octets, %v: sent", len(bad.Data), bad.Actions)
		}
	}
}

// TestPacketsAreDropped: packets that nobody takes are dropped and counted, and
// hold nothing up.
func TestPacketsAreDropped(t *testing.T) {
	sw := bridge(t)
	c := packetChannel(t, sw, 1, Options{EventQueue: 10})
	if _, err := sw.Ofctl(t.Context(), "add-flow", "br-int", "actions=controller(id=1)"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := c.Send(soon(t), fromPort7()); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); c.Counters().Received["experimenter"] < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", c.Counters())
		}
	}
	if err := c.s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n := c.Counters().EventsDropped; n != 90 {
		t.Errorf("%d dropped, want 90", n)
	}
	for range 10 {
		next(t, c)
	}
	if _, err := sw.Vsctl(t.Context(), "del-br", "br-int"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(soon(t)); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(c.Err()), "closed") {
		t.Errorf("the bridge is gone: %v, %v", err, c.Err())
	}
}
