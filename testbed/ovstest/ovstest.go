// Package ovstest gives tests real Open vSwitch switches. A test that needs one
// fails where the machine has none, with the command that would mend it; it is
// skipped only where the environment variable NVGRE_SKIP_OVS says so.
package ovstest

import (
	"context"
	"os"
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

// Start starts a switch with the dummy datapath, which forwards nothing by
// itself and needs no privileges beyond root's files, and ends it with the test.
func Start(tb testing.TB, opts ...ovsproc.Option) *ovsproc.Switch {
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := s.Start(ctx); err != nil {
		tb.Fatal(err)
	}
	return s
}
