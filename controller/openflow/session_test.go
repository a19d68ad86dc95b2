package openflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// TestRolesFence: the session with the higher generation takes the switch from
// the other, for good.
func TestRolesFence(t *testing.T) {
	sw := bridge(t)
	old, young := connect(t, sw, Options{}), connect(t, sw, Options{})
	if err := old.ClaimMaster(soon(t), 10); err != nil {
		t.Fatal(err)
	}
	if err := old.Apply(soon(t), adds(caFlows(1))); err != nil {
		t.Fatal(err)
	}
	if err := young.ClaimMaster(soon(t), 11); err != nil {
		t.Fatal(err)
	}
	if err := old.Apply(soon(t), adds(caFlows(100_000))); !errors.Is(err, ErrSlave) {
		t.Errorf("the fenced session's bundle: got %v, want ErrSlave", err)
	}
	if n := old.Counters().Sent[KindFlowMod.String()]; n > 60_000 {
		t.Errorf("%d changes sent although the bundle was refused at once", n)
	}
	if err := old.Load(soon(t), adds(caFlows(1000))); !errors.Is(err, ErrSlave) {
		t.Errorf("the fenced session's load: got %v, want ErrSlave", err)
	}
	if err := old.ClaimMaster(soon(t), 10); !errors.Is(err, ErrStaleGeneration) {
		t.Errorf("an old generation: got %v, want ErrStaleGeneration", err)
	}
	if n := len(readAll(t, old)); n != 1 {
		t.Errorf("a slave reads %d flows, want 1", n)
	}
	if err := young.Apply(soon(t), adds(caFlows(7))); err != nil {
		t.Error(err)
	}
	if err := young.Close(); err != nil {
		t.Fatal(err)
	}
	if err := old.ClaimMaster(soon(t), 10); !errors.Is(err, ErrStaleGeneration) {
		t.Errorf("the generation must outlive its session: got %v", err)
	}
}

// TestKilledInBundle: a switch that dies in a bundle ends Apply and the
// session.
func TestKilledInBundle(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	flows := caFlows(50_000)
	err := s.Apply(soon(t), func(yield func(Mod) bool) {
		for i := range flows {
			if i == 25_000 {
				if err := sw.KillVswitchd(); err != nil {
					t.Error(err)
				}
			}
			if !yield(Mod{Op: Add, Flow: enc(&flows[i])}) {
				return
			}
		}
	})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("got %v", err)
	}
	<-s.Done()
	if s.Err() == nil {
		t.Error("the session has no error")
	}
	if err := s.Barrier(soon(t)); err == nil {
		t.Error("a dead session's barrier succeeds")
	}
	if err := sw.StartVswitchd(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, connect(t, sw, Options{}))); n != 0 {
		t.Errorf("%d flows after the restart", n)
	}
}

// TestReaderOfFlowsMayStopAndLag: a callback's error ends the reading alone,
// and a slow callback loses nothing.
func TestReaderOfFlowsMayStopAndLag(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{EchoInterval: 20 * time.Millisecond, EchoTimeout: 2 * time.Second})
	flows := caFlows(20_000)
	if err := s.Apply(soon(t), adds(flows)); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("enough")
	for range 3 {
		if err := s.ReadFlows(soon(t), 0, 0, func(*Stat) error { return stop }); err != stop {
			t.Fatalf("got %v, want the callback's error", err)
		}
		if err := s.Barrier(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(soon(t))
	if err := s.ReadFlows(ctx, 0, 0, func(*Stat) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	n := 0
	err := s.ReadFlows(soon(t), 0, 0, func(*Stat) error {
		if n++; n == 1 {
			// Longer than the switch may be silent: the silence is ours.
			for until := time.Now().Add(2500 * time.Millisecond); time.Now().Before(until); {
				select {
				case <-s.Done():
					return s.Err()
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
		return nil
	})
	if err != nil || n != len(flows) {
		t.Fatalf("read %d flows: %v", n, err)
	}
	if err := s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) != 0 {
		t.Errorf("%d requests left over", len(s.pending))
	}
}

// TestVersion: a bridge without OpenFlow 1.3 is told from other failures.
func TestVersion(t *testing.T) {
	sw := ovstest.Start(t)
	if _, err := sw.Vsctl(t.Context(), "add-br", "br-int", "--", "set", "bridge", "br-int", "protocols=OpenFlow10,OpenFlow15"); err != nil {
		t.Fatal(err)
	}
	// A new bridge may open its socket anew once more, and then closes what was
	// accepted before.
	for ctx := soon(t); ; {
		conn, err := net.Dial("unix", sw.MgmtSock("br-int"))
		if err == nil {
			_, err = NewSession(ctx, conn, Options{})
		}
		if errors.Is(err, ErrVersion) {
			return
		}
		if err == nil || ctx.Err() != nil {
			t.Fatalf("got %v, want ErrVersion", err)
		}
	}
}

// TestPassiveListener: the session works over TCP too.
func TestPassiveListener(t *testing.T) {
	sw := bridge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := sw.Vsctl(t.Context(), "set-controller", "br-int", fmt.Sprintf("ptcp:%d:127.0.0.1", addr.Port)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	s := session(t, conn, Options{})
	if err := s.ClaimMaster(soon(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(soon(t), adds(caFlows(5000))); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, s)); n != 5000 {
		t.Errorf("read %d flows", n)
	}
}

// TestEvents: ports and ends of flows are reported.
func TestEvents(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	if s.DatapathID() == 0 {
		t.Error("no datapath identifier")
	}
	if err := s.Barrier(soon(t)); err != nil { // behind set-config
		t.Fatal(err)
	}
	if _, err := sw.Vsctl(t.Context(), "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=7"); err != nil {
		t.Fatal(err)
	}
	await(t, s, func(e *PortStatus) bool { return e.Port.Name == "p1" && e.Port.Number == 7 })
	for _, args := range [][]string{
		{"add-flow", "br-int", "table=9,priority=6,cookie=0x98,send_flow_rem,reg8=0,reg9=0,reg10=0,reg11=1 actions=drop"},
		{"del-flows", "br-int", "table=9"},
	} {
		if _, err := sw.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	removed := await(t, s, func(*FlowRemoved) bool { return true })
	if f := removed.Flow; f.Cookie != 0x98 || f.Table != 9 || f.Priority != 6 || len(f.Match) != 4 || f.Match[3] != flow.Exact(flow.Reg11, flow.Uint(1)) {
		t.Errorf("flow removed: %s", f.Text())
	}
}

// await returns the first event of a type that ok accepts.
func await[E Event](t *testing.T, s *Session, ok func(E) bool) E {
	t.Helper()
	for deadline := time.After(30 * time.Second); ; {
		select {
		case e := <-s.Events():
			if e, is := e.(E); is && ok(e) {
				return e
			}
		case <-s.Done():
			t.Fatal(s.Err())
		case <-deadline:
			t.Fatalf("no %T came", *new(E))
		}
	}
}

// TestEventsAreDropped: events that nobody takes do not hold up the session.
func TestEventsAreDropped(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{EventQueue: 2})
	for range 5 {
		if _, err := sw.Vsctl(t.Context(), "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=dummy", "--", "del-port", "br-int", "p1",
			"--", "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=dummy"); err != nil {
			t.Fatal(err)
		}
		if _, err := sw.Vsctl(t.Context(), "del-port", "br-int", "p1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Barrier(soon(t)); err != nil {
		t.Fatal(err)
	}
	c := s.Counters()
	if got := c.Received["port-status"]; got < 10 || c.EventsDropped != got-2 || len(s.Events()) != 2 {
		t.Errorf("received %d, dropped %d, queued %d", got, c.EventsDropped, len(s.Events()))
	}
}

// TestCloseAndContextEndAll: whoever waits is released with the reason.
func TestCloseAndContextEndAll(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"barrier": func() error { return s.Barrier(soon(t)) },
		"apply":   func() error { return s.Apply(soon(t), adds(caFlows(1))) },
		"load":    func() error { return s.Load(soon(t), adds(caFlows(1))) },
		"read":    func() error { return s.ReadFlows(soon(t), 0, 0, func(*Stat) error { return nil }) },
		"role":    func() error { return s.ClaimMaster(soon(t), 1) },
	} {
		if err := do(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s on a closed session: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	conn, err := net.Dial("unix", sw.MgmtSock("br-int"))
	if err != nil {
		t.Fatal(err)
	}
	s, err = NewSession(ctx, conn, Options{})
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("the daemon stops")
	cancel(why)
	<-s.Done()
	if err := s.Close(); err != nil || !errors.Is(s.Err(), why) {
		t.Errorf("closed with %v, session ended with %v", err, s.Err())
	}
}

// fake is the switch's end of a pipe. Its methods end with the test.
type fake struct {
	t    *testing.T
	conn net.Conn
}

// newFake returns a session with a fake switch that has done the handshake.
func newFake(t *testing.T, o Options) (*Session, *fake) {
	t.Helper()
	ours, theirs := net.Pipe()
	f := &fake{t, theirs}
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		f.handshake()
	}()
	s := session(t, ours, o)
	<-ready
	t.Cleanup(func() { theirs.Close() })
	return s, f
}

func (f *fake) handshake() {
	f.expect(typeHello)
	f.send(typeHello, 1, []byte{0, 1, 0, 8, 0, 0, 0, 1 << version13})
	f.send(typeFeaturesReply, f.expect(typeFeaturesRequest), []byte{0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.expect(typeSetConfig)
	f.expect(typeSetAsync)
}

func (f *fake) send(kind uint8, xid uint32, body []byte) {
	n := headerLen + len(body)
	b := append([]byte{version13, kind, byte(n >> 8), byte(n), byte(xid >> 24), byte(xid >> 16), byte(xid >> 8), byte(xid)}, body...)
	if _, err := f.conn.Write(b); err != nil {
		f.t.Error(err)
	}
}

func (f *fake) read() (header, []byte, error) {
	var b [headerLen]byte
	if _, err := io.ReadFull(f.conn, b[:]); err != nil {
		return header{}, nil, err
	}
	h, err := readHeader(b[:])
	if err != nil {
		return h, nil, err
	}
	body := make([]byte, h.length-headerLen)
	_, err = io.ReadFull(f.conn, body)
	return h, body, err
}

func (f *fake) expect(kind uint8) uint32 {
	h, _, err := f.read()
	if err != nil || h.kind != kind {
		f.t.Errorf("the session sent type %d, %v; want %d", h.kind, err, kind)
	}
	return h.xid
}

// TestSilentPeer: a switch that reads and never answers is given up, and so is
// one that does not even read.
func TestSilentPeer(t *testing.T) {
	o := Options{EchoInterval: 20 * time.Millisecond, EchoTimeout: 100 * time.Millisecond}
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprint("reads ", reads), func(t *testing.T) {
			s, f := newFake(t, o)
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				if reads {
					_, err := io.Copy(io.Discard, f.conn)
					_ = err // the end is what is waited for
				}
			}()
			if err := s.Barrier(soon(t)); !errors.Is(err, ErrPeerSilent) {
				t.Errorf("got %v, want ErrPeerSilent", err)
			}
			<-drained
		})
	}
}

// TestKeepAlive: echoes go both ways and keep an idle session alive.
func TestKeepAlive(t *testing.T) {
	o := Options{EchoInterval: 10 * time.Millisecond, EchoTimeout: 500 * time.Millisecond}
	s, f := newFake(t, o)
	for range 20 {
		f.send(typeEchoReply, f.expect(typeEchoRequest), nil)
	}
	// Ours may come first, once.
	f.send(typeEchoRequest, 77, []byte("payload"))
	for {
		h, body, err := f.read()
		if err != nil {
			t.Fatal(err)
		}
		if h.kind == typeEchoReply {
			if h.xid != 77 || string(body) != "payload" {
				t.Errorf("echo answered with xid %d, %q", h.xid, body)
			}
			break
		}
		f.send(typeEchoReply, h.xid, nil)
	}
	if err := s.Err(); err != nil {
		t.Error(err)
	}
}

// TestBrokenStream: a switch that sends nonsense ends the session with an error
// that says so, and nothing panics.
func TestBrokenStream(t *testing.T) {
	for name, b := range map[string][]byte{
		"length 0":       {4, typeEchoReply, 0, 0, 0, 0, 0, 1},
		"length 7":       {4, typeEchoReply, 0, 7, 0, 0, 0, 1},
		"version":        {6, typeEchoReply, 0, 8, 0, 0, 0, 1},
		"ends in a head": {4, typeEchoReply},
		"ends in a body": {4, typePacketIn, 0, 20, 0, 0, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := newFake(t, Options{})
			if _, err := f.conn.Write(b); err != nil {
				t.Fatal(err)
			}
			f.conn.Close()
			<-s.Done()
			if s.Err() == nil {
				t.Error("no error")
			}
		})
	}
}

// TestBadHandshake: what is no OpenFlow switch is told as such.
func TestBadHandshake(t *testing.T) {
	for name, b := range map[string][]byte{
		"not a hello":   {4, typeEchoReply, 0, 8, 0, 0, 0, 1},
		"http":          []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"other version": {1, typeHello, 0, 8, 0, 0, 0, 1},
		"refusal":       {4, typeError, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0},
		"silence":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				f := &fake{t, theirs}
				f.expect(typeHello)
				if b != nil {
					if _, err := theirs.Write(b); err != nil && !errors.Is(err, io.ErrClosedPipe) {
						t.Error(err)
					}
				}
			}()
			if s, err := NewSession(t.Context(), ours, Options{HandshakeTimeout: 200 * time.Millisecond}); err == nil {
				t.Error("a session came of it", s.Close())
			} else {
				t.Log(err)
			}
			<-done
			theirs.Close()
		})
	}
}

// refusing is a connection on which writing fails at once, and reading tells why
// a moment later, as after a TLS alert.
type refusing struct {
	net.Conn
	why error
}

func (r refusing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func (r refusing) Read([]byte) (int, error) {
	time.Sleep(20 * time.Millisecond) // the case in which the writer would be first
	return 0, r.why
}

// TestReasonOfARefusal: why a peer closed is reported, not that writing failed.
func TestReasonOfARefusal(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	why := errors.New("unknown certificate authority")
	for range 3 {
		if _, err := NewSession(t.Context(), refusing{ours, why}, Options{}); !errors.Is(err, why) {
			t.Errorf("error %v, want one with %q", err, why)
		}
	}
}
