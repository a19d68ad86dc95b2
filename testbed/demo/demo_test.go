//go:build linux

package demo_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/demo"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runWith runs the demonstration with a shell script in place of the product.
func runWith(t *testing.T, name, script string) (string, error) {
	t.Helper()
	ovstest.Require(t, "nft", "ip")
	root, err := os.MkdirTemp("", "tbd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	plan, err := topology.Load("../examples/hnv-blue-red.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plan.Name = name
	binary := filepath.Join(root, "product")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d := &demo.Demo{Plan: plan, Binary: binary, Out: &out, Patience: time.Second, Options: testbed.Options{Root: root, Datapath: testbed.DatapathNetdev}}
	err = d.Run(t.Context())
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("something is left behind: %v", entries)
	}
	return out.String(), err
}

func TestControllerThatFails(t *testing.T) {
	if _, err := runWith(t, "t-demo-fail", "echo this is why >&2; exit 3"); err == nil || !strings.Contains(err.Error(), "this is why") {
		t.Errorf("%v: want the controller's last words", err)
	}
}

func TestControllerThatDoesNothing(t *testing.T) {
	if _, err := runWith(t, "t-demo-idle", "echo waiting; exec sleep 60"); err == nil || !strings.Contains(err.Error(), "Blue1, Blue2, Red1, Red2") {
		t.Errorf("%v: want the VMs that are missing", err)
	}
}

// A controller that claims to be done, and is not, must not pass.
func TestControllerThatLies(t *testing.T) {
	script := `for h in host1 host2; do
  db=unix:$(dirname "$3")/ovs/$h/db.sock
  for i in $(PATH=$PATH:/usr/sbin ovs-vsctl --db=$db list-ports br-int); do
    ovs-vsctl --db=$db set Interface $i external_ids:nvgre-installed=1
  done
done
exec sleep 60`
	out, err := runWith(t, "t-demo-lie", script)
	if err == nil || !strings.Contains(err.Error(), demo.ErrUnexpected.Error()) {
		t.Errorf("%v, want %v", err, demo.ErrUnexpected)
	}
	if !strings.Contains(out, "nothing from Blue1 reached Blue2") || strings.Contains(out, "All is as expected") {
		t.Errorf("the output:\n%s", out)
	}
}

func TestInterruptedDemoLeavesNothing(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	root, err := os.MkdirTemp("", "tbd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	plan, err := topology.Load("../examples/hnv-blue-red.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plan.Name = "t-demo-int"
	ctx, cancel := context.WithCancel(t.Context())
	d := &demo.Demo{Plan: plan, Binary: "sleep", Out: &bytes.Buffer{}, Options: testbed.Options{Root: root, Datapath: testbed.DatapathNetdev, Progress: func(s string) {
		if strings.Contains(s, "controller --config") {
			cancel()
		}
	}}}
	if err := d.Run(ctx); err == nil {
		t.Error("no error")
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("something is left behind: %v", entries)
	}
}
