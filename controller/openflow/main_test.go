package openflow

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bridge starts a switch with the bridge br-int.
func bridge(tb testing.TB) *ovsproc.Switch {
	tb.Helper()
	sw := ovstest.Start(tb)
	addBridge(tb, sw)
	return sw
}

func addBridge(tb testing.TB, sw *ovsproc.Switch) {
	tb.Helper()
	if _, err := sw.Vsctl(tb.Context(), "add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure", "protocols=OpenFlow13,OpenFlow15"); err != nil {
		tb.Fatal(err)
	}
}

// connect opens a session that ends with the test.
func connect(tb testing.TB, sw *ovsproc.Switch, o Options) *Session {
	tb.Helper()
	conn, err := net.Dial("unix", sw.MgmtSock("br-int"))
	if err != nil {
		tb.Fatal(err)
	}
	return session(tb, conn, o)
}

func session(tb testing.TB, conn net.Conn, o Options) *Session {
	tb.Helper()
	s, err := NewSession(context.Background(), conn, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// soon returns a context for what must not hang.
func soon(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(tb.Context(), 60*time.Second)
	tb.Cleanup(cancel)
	return ctx
}

// readAll reads all flows back.
func readAll(tb testing.TB, s *Session) []*Stat {
	tb.Helper()
	var stats []*Stat
	if err := s.ReadFlows(soon(tb), 0, 0, func(st *Stat) error { stats = append(stats, st); return nil }); err != nil {
		tb.Fatal(err)
	}
	return stats
}
