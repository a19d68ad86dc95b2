//go:build linux

package testbed_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortRoot returns a state root for one test. Not t.TempDir: its path can
// exceed what a unix socket's address holds.
func shortRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// load reads an example under a name of its own, so that testbeds of tests and
// of users do not meet.
func load(t *testing.T, file, name string) *topology.Plan {
	t.Helper()
	plan, err := topology.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	plan.Name = name
	return plan
}

// up builds a testbed and removes it with the test, whatever happens to it.
func up(t *testing.T, plan *topology.Plan, opts testbed.Options) *testbed.Testbed {
	t.Helper()
	ovstest.Require(t, "nft", "ip")
	if opts.Root == "" {
		opts.Root = shortRoot(t)
	}
	if opts.Datapath == "" {
		opts.Datapath = testbed.DatapathNetdev
	}
	tb, err := testbed.Build(t.Context(), plan, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := os.Stat(tb.Dir()); err != nil {
			return
		}
		if err := tb.Remove(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	return tb
}

// run runs a command in a node and returns its exit code and output.
func run(t *testing.T, tb *testbed.Testbed, node string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code, err := tb.Exec(t.Context(), node, testbed.Command{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	return code, out.String()
}

func TestUpIsCompleteAndDownLeavesNothing(t *testing.T) {
	plan := load(t, "examples/two-tenants.yaml", "t-updown")
	above := shortRoot(t)
	tb := up(t, plan, testbed.Options{Root: filepath.Join(above, "a", "b")})
	if tb.Phase() != testbed.PhaseUp {
		t.Errorf("phase %q", tb.Phase())
	}
	for _, v := range plan.VMs {
		if code, out := run(t, tb, v.IfaceID, "ip", "-4", "addr", "show", "dev", "eth0"); code != 0 || !strings.Contains(out, v.Addresses[0].String()) {
			t.Errorf("VM %s lacks %s:\n%s", v.IfaceID, v.Addresses[0], out)
		}
	}
	for _, h := range plan.Hosts {
		if code, out := run(t, tb, h.Name, "ovs-vsctl", "get", "bridge", "br-int", "fail_mode", "datapath_type", "external_ids:nvgre-ofctl"); code != 0 || strings.Join(strings.Fields(out), " ") != "secure netdev bridge" {
			t.Errorf("br-int of %s: %s", h.Name, out)
		}
	}
	// The provider addresses reach each other, also through the router.
	for _, from := range plan.Hosts {
		for _, to := range plan.Hosts {
			if code, out := run(t, tb, from.Name, "ping", "-c1", "-W2", "-q", to.PAs[0].Addr().String()); code != 0 {
				t.Errorf("%s cannot ping %s: %s", from.Name, to.Name, out)
			}
		}
	}
	if err := tb.Remove(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(above); err != nil || len(entries) > 0 {
		t.Errorf("directories are left in %s: %v, %v", above, entries, err)
	}
	entries, _ := os.ReadDir(netspace.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), testbed.NamespacePrefix+"t-updown.") {
			t.Errorf("namespace %s is still there", e.Name())
		}
	}
}
