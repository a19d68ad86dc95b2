//go:build linux

package ovsdb

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"
)

func isAlert(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

// tcpState returns the state of a connection (tcp(7), TCP_INFO).
func tcpState(t *testing.T, c net.Conn) uint8 {
	t.Helper()
	raw, err := c.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var state uint8
	if err2 := raw.Control(func(fd uintptr) {
		var info *sys.TCPInfo
		if info, err = sys.GetsockoptTCPInfo(int(fd), sys.IPPROTO_TCP, sys.TCP_INFO); err == nil {
			state = info.State
		}
	}); err2 != nil || err != nil {
		t.Fatal(err, err2)
	}
	return state
}

// TestRefusalArrivesBeforeTheFirstRequest: an ovsdb-server that refuses our
// certificate has ended the connection before we write: the write fails with
// "broken pipe", and the reason is to be read all the same.
func TestRefusalArrivesBeforeTheFirstRequest(t *testing.T) {
	const closed = 7 // TCP_CLOSE of include/net/tcp_states.h: reset
	ca, other := newAuthority(t, "the CA"), newAuthority(t, "another CA")
	ep := startTLSServer(t, ca)
	conf := loadTLS(t, ca.file("cacert"), other)
	h := NewHost("h1", ep, conf, discard())
	for range 5 {
		conn, err := ep.Dial(t.Context(), conf)
		if err != nil {
			t.Fatal(err) // in TLS 1.3 the refusal follows the handshake
		}
		poll(t, "the end of the connection", func() bool { return tcpState(t, conn) == closed })
		s := newSession(h, conn)
		ended := make(chan struct{})
		// The reader is as late as it may be.
		time.AfterFunc(lastWordsWait/4, func() { defer close(ended); s.rpc.serve() })
		if err := s.begin(t.Context()); !errors.Is(err, errConnectionLost) {
			t.Errorf("the request failed with %v, want %v", err, errConnectionLost)
		}
		<-ended
		if err := s.rpc.ended(); !isAlert(err) {
			t.Errorf("the reason is %v, want the server's alert", err)
		}
		conn.Close()
	}
}

// TestRefusalIsToldEachTime: whoever is first, the reader or the writer, the
// reason is the alert.
func TestRefusalIsToldEachTime(t *testing.T) {
	ca, other := newAuthority(t, "the CA"), newAuthority(t, "another CA")
	ep := startTLSServer(t, ca)
	h := NewHost("h1", ep, loadTLS(t, ca.file("cacert"), other), discard())
	for range 20 {
		if worked, err := h.connection(t.Context()); worked || !isAlert(err) {
			t.Fatalf("worked: %v; the reason is %v, want the server's alert", worked, err)
		}
	}
}

// mute is a connection that cannot be written and has nothing to say.
type mute struct {
	net.Conn
	closed chan struct{}
}

func (m mute) Write([]byte) (int, error)        { return 0, syscall.EPIPE }
func (m mute) Read([]byte) (int, error)         { <-m.closed; return 0, net.ErrClosed }
func (m mute) SetWriteDeadline(time.Time) error { return nil }
func (m mute) Close() error                     { close(m.closed); return nil }

// Without last words, the failed write is the reason of both ends.
func TestFailedWriteIsTheReasonWhereNothingElseIs(t *testing.T) {
	r := newRPC(mute{closed: make(chan struct{})}, nil)
	ended := make(chan error, 1)
	go func() { ended <- r.serve() }()
	if err := r.call(t.Context(), "echo", nil, nil); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the request failed with %v, want %v", err, syscall.EPIPE)
	}
	if err := <-ended; !errors.Is(err, syscall.EPIPE) {
		t.Errorf("the reader ended with %v, want %v", err, syscall.EPIPE)
	}
}
