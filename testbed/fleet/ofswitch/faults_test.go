package ofswitch

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func soon(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// until waits for the switch.
func until(tb testing.TB, s *Switch, ok func(Snapshot) bool) {
	tb.Helper()
	if err := s.Wait(soon(tb), ok); err != nil {
		tb.Fatal(err)
	}
}

// ended reports that the switch has dropped the connection.
func ended(tb testing.TB, c *client) {
	tb.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := c.readErr(); err != nil {
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
				tb.Fatalf("want the end of the connection, got %v", err)
			}
			return
		}
	}
}

func TestRestart(t *testing.T) {
	s := New(Config{})
	path := serve(t, s)
	c := dial(t, path)
	c.exchange(t, cat(role(1, roleMaster, 10), some()))
	if n := s.Snapshot(); n.Flows != 9 || n.Masters != 1 || n.Generation != 10 {
		t.Fatalf("%+v", n)
	}
	s.Restart(true)
	ended(t, c)
	c = dial(t, path)
	if got := c.exchange(t, role(1, roleMaster, 5)); got[0][1] != typeRoleReply {
		t.Errorf("after a restart a generation was still known: %s", show(got[0]))
	}
	if n := s.Snapshot(); n.Flows != 9 {
		t.Errorf("%d flows kept, want 9", n.Flows)
	}
	s.Restart(false)
	ended(t, c)
	if n := s.Snapshot(); n.Flows != 0 {
		t.Errorf("%d flows left", n.Flows)
	}
	if n := s.pool.Len(); n != 0 {
		t.Errorf("%d flows left in the pool", n)
	}
}

// TestRestartWhileFilling: what a connection had begun before a restart has no
// effect after it.
func TestRestartWhileFilling(t *testing.T) {
	s := New(Config{})
	c := dial(t, serve(t, s))
	c.exchange(t, cat(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(1, 1, 2, ofpMatch(), 1))))
	s.SetFaults(Faults{BundleDelay: time.Hour})
	c.write(t, bundleCtl(3, 5, bundleCommit, 3))
	s.Restart(false)
	ended(t, c)
	until(t, s, func(n Snapshot) bool { return n.Connections == 0 })
	if n := s.Snapshot(); n.Flows != 0 || n.Counters.Bundles != 0 {
		t.Errorf("%+v", n)
	}
}

func TestStall(t *testing.T) {
	s := New(Config{})
	path := serve(t, s)
	c := dial(t, path)
	s.SetFaults(Faults{Stalled: true})
	c.write(t, cat(some(), message(typeBarrierRequest, 9)))
	c.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := c.readErr(); err == nil {
		t.Fatalf("a stalled switch answered %s", show(b))
	}
	s.SetFaults(Faults{})
	if got := c.exchange(t, nil); len(got) != 1 || got[0][1] != typeBarrierReply {
		t.Errorf("got %d answers after the stall, want the one of the barrier", len(got))
	}
	// A stalled connection can be dropped, and the switch closed.
	s.SetFaults(Faults{Stalled: true})
	c.write(t, some())
	if n := s.Disconnect(); n != 1 {
		t.Errorf("dropped %d connections", n)
	}
	ended(t, c)
}

func TestDelays(t *testing.T) {
	s := New(Config{})
	c := dial(t, serve(t, s))
	const d = 30 * time.Millisecond
	s.SetFaults(Faults{MessageDelay: d})
	start := time.Now()
	c.exchange(t, message(typeEchoRequest, 1)) // and a barrier
	if took := time.Since(start); took < 2*d {
		t.Errorf("two messages took %v, want at least %v", took, 2*d)
	}
	s.SetFaults(Faults{BundleDelay: d})
	start = time.Now()
	c.exchange(t, cat(bundleCtl(1, 5, bundleOpen, 3), bundleCtl(2, 5, bundleCommit, 3)))
	if took := time.Since(start); took < d {
		t.Errorf("a bundle took %v, want at least %v", took, d)
	}
}

func TestRefuseFlow(t *testing.T) {
	s := New(Config{})
	c := dial(t, serve(t, s))
	full, bad := &Error{Type: 5, Code: 1}, &Error{Type: 4, Code: 9}
	s.SetFaults(Faults{RefuseFlow: func(m Mod) *Error {
		switch m.Table {
		case 1:
			return full
		case 2:
			return bad
		}
		return nil
	}})
	kinds := func(msgs [][]byte) (k []string) {
		for _, m := range msgs {
			k = append(k, strings.SplitN(show(m), ":", 2)[0])
		}
		return k
	}
	got := kinds(c.exchange(t, cat(add(0, 1, 3, ofpMatch(), 1), add(1, 1, 4, ofpMatch(), 1), add(2, 1, 5, ofpMatch(), 1))))
	if want := "error 5/1 xid 4,error 4/9 xid 5"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// As in a real switch: one refusal comes at once, the other with the commit.
	got = kinds(c.exchange(t, cat(bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(0, 2, 2, ofpMatch(), 1)), bundleAddMsg(3, 5, 3, add(1, 1, 3, ofpMatch(), 1)),
		bundleAddMsg(4, 5, 3, add(2, 1, 4, ofpMatch(), 1)), bundleCtl(5, 5, bundleClose, 3), bundleCtl(6, 5, bundleCommit, 3))))
	if want := "version 4 type 4 xid 1,error 4/9 xid 4,version 4 type 4 xid 5,error 5/1 xid 3,error 65535/2313 xid 6"; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := s.Snapshot(); n.Flows != 1 || n.Counters.RefusedByFaults != 4 || n.Counters.Adds != 1 {
		t.Errorf("%+v", n)
	}
}

func TestFlowLimit(t *testing.T) {
	s := New(Config{FlowLimit: 2})
	c := dial(t, serve(t, s))
	got := c.exchange(t, cat(add(0, 1, 1, ofpMatch(), 1), add(0, 2, 2, ofpMatch(), 1), add(0, 3, 3, ofpMatch(), 1), add(0, 2, 4, ofpMatch(), 1)))
	if len(got) != 1 || be.Uint16(got[0][8:]) != 5 || be.Uint16(got[0][10:]) != 1 || be.Uint32(got[0][4:]) != 3 {
		t.Errorf("got %d answers, want TABLE_FULL for 3", len(got))
	}
	if n := s.Snapshot().Flows; n != 2 {
		t.Errorf("%d flows", n)
	}
}

func TestWrites(t *testing.T) {
	s := New(Config{})
	path := serve(t, s)
	a, b := dial(t, path), dial(t, path)
	a.exchange(t, cat(role(1, roleMaster, 10), some()))
	b.exchange(t, cat(role(1, roleMaster, 11), add(1, 1, 1, ofpMatch(), 1)))
	b.exchange(t, add(1, 1, 2, ofpMatch(), 1))
	a.exchange(t, add(1, 1, 3, ofpMatch(), 1)) // refused: a slave now
	log := s.Writes()
	if len(log) != 2 || log[0].Mods != 9 || log[1].Mods != 2 || log[0].Generation != 10 || log[1].Generation != 11 || log[0].Conn == log[1].Conn || !log[1].Fenced {
		t.Errorf("%+v", log)
	}
	if err := CheckWrites(log); err != nil {
		t.Error(err)
	}
	c := dial(t, path)
	c.exchange(t, add(1, 1, 4, ofpMatch(), 1)) // never asked for a role
	if err := CheckWrites(s.Writes()); err == nil || !strings.Contains(err.Error(), "was not master") {
		t.Errorf("an unfenced writer: %v", err)
	}
}

func TestCheckWrites(t *testing.T) {
	for _, c := range []struct {
		name string
		log  []Write
		want string
	}{
		{"none", nil, ""},
		{"rising", []Write{{Peer: "a", Generation: 1, Fenced: true}, {Peer: "b", Generation: 2, Fenced: true}}, ""},
		{"the same peer again", []Write{{Conn: 1, Peer: "a", Generation: 1, Fenced: true}, {Conn: 2, Peer: "a", Generation: 1, Fenced: true}}, ""},
		{"falling", []Write{{Peer: "a", Generation: 2, Fenced: true}, {Peer: "b", Generation: 1, Fenced: true}}, "under generation 1 after"},
		{"falling after a restart", []Write{{Peer: "a", Generation: 2, Fenced: true}, {Epoch: 1, Peer: "b", Generation: 1, Fenced: true}}, ""},
		{"two under one", []Write{{Peer: "a", Generation: 2, Fenced: true}, {Peer: "b", Generation: 2, Fenced: true}}, "both wrote"},
		{"not master", []Write{{Peer: "a"}}, "was not master"},
	} {
		err := CheckWrites(c.log)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestConcurrent writes over many connections at once, with drops and restarts
// between; it is for the race detector, and for leaks.
func TestConcurrent(t *testing.T) {
	pool := NewPool()
	s := New(Config{Pool: pool})
	path := serve(t, s)
	var wg sync.WaitGroup
	for i := range 8 {
		c := dial(t, path)
		wg.Go(func() {
			for j := range 200 {
				b := cat(role(1, roleMaster, uint64(i*1000+j)), add(uint8(i), uint16(j%5), uint64(j), regMatch, 1),
					bundleCtl(1, 5, bundleOpen, 3), bundleAddMsg(2, 5, 3, add(uint8(i), 7, 2, ofpMatch(), uint32(j))), bundleCtl(3, 5, bundleCommit, 3),
					mod{command: cmdDelete, table: uint8(i), cookie: uint64(j), mask: 3}.bytes(4), dumpRequest(5))
				if _, err := c.nc.Write(b); err != nil {
					return
				}
			}
		})
		wg.Go(func() { io.Copy(io.Discard, c.nc) })
	}
	for i := range 20 {
		until(t, s, func(n Snapshot) bool { return n.Connections == 0 || n.Counters.Messages > uint64(100*i) })
		s.Snapshot()
		s.Writes()
		s.Flows(func(f Flow) bool { return f.Table != 3 })
		if i == 15 {
			s.Restart(true)
		}
	}
	s.Close()
	wg.Wait()
	if n := pool.Len(); n != 0 {
		t.Errorf("%d flows left in the pool", n)
	}
}
