package openflow

import (
	"errors"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// nextChange waits for what the monitor tells next.
func nextChange(t *testing.T, s *Session) (changes []FlowChange, lost bool) {
	t.Helper()
	for {
		select {
		case <-s.FlowChanges():
			if changes, lost = s.TakeFlowChanges(); len(changes) > 0 || lost {
				return changes, lost
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the monitor tells nothing")
		}
	}
}

// TestFlowMonitor: a real switch tells what others do, and of what this session
// does nothing.
func TestFlowMonitor(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	if err := s.MonitorFlows(soon(t)); err != nil {
		t.Fatal(err)
	}
	own := caFlows(50)
	if err := s.Load(soon(t), adds(own[:20])); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(soon(t), adds(own)); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(soon(t), deletes(own[1:])); err != nil {
		t.Fatal(err)
	}
	if changes, lost := s.TakeFlowChanges(); len(changes) > 0 || lost {
		t.Errorf("of our own changes it tells %+v, lost %v", changes, lost)
	}
	for _, step := range []struct {
		args []string
		kind FlowChangeKind
	}{
		{[]string{"add-flow", "br-int", "table=3,priority=7,cookie=0x77,ip,nw_dst=10.0.0.1 actions=drop"}, FlowAdded},
		{[]string{"mod-flows", "br-int", "table=3,ip,nw_dst=10.0.0.1 actions=normal"}, FlowModified},
		{[]string{"--strict", "del-flows", "br-int", "table=3,priority=7,ip,nw_dst=10.0.0.1"}, FlowDeleted},
	} {
		if _, err := sw.Ofctl(t.Context(), step.args...); err != nil {
			t.Fatal(err)
		}
		changes, lost := nextChange(t, s)
		if lost || len(changes) != 1 {
			t.Fatalf("%v: %+v, lost %v", step.args, changes, lost)
		}
		c := changes[0]
		if c.Kind != step.kind || !c.MatchKnown || c.Flow.Table != 3 || c.Flow.Priority != 7 || c.Flow.Cookie != 0x77 || len(c.Flow.Match) != 2 {
			t.Errorf("%v: %+v", step.args, c)
		}
	}
	if err := s.IgnoreFlows(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.MonitorFlows(soon(t)); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if m := s.Counters().Malformed; m != 0 {
		t.Errorf("%d messages were not understood", m)
	}
}

// TestFlowMonitorUnsupported: a switch without it says so, and the session lives.
func TestFlowMonitorUnsupported(t *testing.T) {
	s, f := newFake(t, Options{})
	go func() { f.send(typeError, f.expect(typeMultipartRequest), []byte{0, 1, 0, 2}) }()
	var e *Error
	if err := s.MonitorFlows(soon(t)); !errors.As(err, &e) || s.Err() != nil {
		t.Errorf("%v, %v", err, s.Err())
	}
}

// TestFlowMonitorOverflow: who does not take the changes is told that some are
// lost, and no more than so many are kept; so is who reads too slowly.
func TestFlowMonitorOverflow(t *testing.T) {
	m := flowMonitor{on: true, wake: make(chan struct{}, 1)}
	for range maxFlowChanges + 10 {
		m.add(&FlowChange{Flow: flow.Flow{Table: 1}})
	}
	if len(m.changes) != maxFlowChanges || !m.lost {
		t.Errorf("%d changes, lost %v", len(m.changes), m.lost)
	}
	s, f := newFake(t, Options{})
	s.monitor.set(true)
	go f.send(typeExperimenter, 0, []byte{0x4f, 0x4e, 0x46, 0, 0, 0, 7, 0x4f})
	if changes, lost := nextChange(t, s); len(changes) > 0 || !lost {
		t.Errorf("%+v, lost %v", changes, lost)
	}
}
