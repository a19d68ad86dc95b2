// Package ovstest gives tests real Open vSwitch switches. A test that needs one
// fails where the machine has none, with the command that would mend it; it is
// skipped only where the environment variable NVGRE_SKIP_OVS says so.
package ovstest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// SkipVariable names the environment variable that, set to 1, skips all tests
// that need root or Open vSwitch.
const SkipVariable = "NVGRE_SKIP_OVS"

// Schema returns the path of the installed schema of the Open_vSwitch database,
// for a test that needs neither root nor a switch. It fails the test where there
// is none.
func Schema(tb testing.TB) string {
	tb.Helper()
	skip(tb)
	if _, err := os.Stat(ovsproc.Schema); err != nil {
		tb.Fatalf("this test needs the schema of Open vSwitch's database: %v: run `make deps`, or set %s=1 to leave it out", err, SkipVariable)
	}
	return ovsproc.Schema
}

func skip(tb testing.TB) {
	tb.Helper()
	if os.Getenv(SkipVariable) == "1" {
		tb.Skipf("%s=1", SkipVariable)
	}
}

// Require fails the test unless it runs as root and the tools are installed.
func Require(tb testing.TB, tools ...string) {
	tb.Helper()
	skip(tb)
	if os.Geteuid() != 0 {
		tb.Fatalf("this test needs root: run it with sudo, or set %s=1 to leave it out", SkipVariable)
	}
	for _, tool := range append([]string{"ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovs-ofctl"}, tools...) {
		if _, err := ovsproc.LookPath(tool); err != nil {
			tb.Fatalf("this test needs %s: run `make deps` (apt-get install openvswitch-switch …), or set %s=1 to leave it out", tool, SkipVariable)
		}
	}
}

// Serve listens on a unix socket of its own and hands each connection to serve,
// in a goroutine, until the test ends. Then it calls closeAll, which must make
// every serve return, and waits for them.
func Serve(tb testing.TB, serve func(net.Conn) error, closeAll func()) (path string) {
	tb.Helper()
	// Not tb.TempDir: its path can exceed what a unix socket's address holds.
	dir, err := os.MkdirTemp("", "sim")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		closeAll()
		wg.Wait()
	})
	return path
}

// FreePort returns a TCP port of 127.0.0.1 that nobody uses now.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// New returns a switch of which nothing runs yet, in a directory of its own. What
// is started of it ends with the test.
func New(tb testing.TB, opts ...ovsproc.Option) *ovsproc.Switch {
	tb.Helper()
	Require(tb)
	// Not tb.TempDir: its path can exceed what a unix socket's address holds.
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	s := ovsproc.New(dir, append([]ovsproc.Option{ovsproc.VswitchdArgs("--enable-dummy=override")}, opts...)...)
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Start starts a switch with the dummy datapath, which forwards nothing by
// itself and needs no privileges beyond root's files, and ends it with the test.
func Start(tb testing.TB, opts ...ovsproc.Option) *ovsproc.Switch {
	tb.Helper()
	s := New(tb, opts...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return s
}
