//go:build linux

package testbedcmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl/testbedcmd"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// watched is a buffer that wakes who waits for its lines.
type watched struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines int
	wake  chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines += bytes.Count(p, []byte("\n"))
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return w.buf.Write(p)
}

// runFleet runs `testbed fleet` until it has printed some lines, then
// interrupts it, and returns what it printed.
func runFleet(t *testing.T, lines int, stdin string, args ...string) (out, errOut string, err error) {
	t.Helper()
	ovstest.Schema(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o, e := &watched{wake: make(chan struct{}, 1)}, &watched{wake: make(chan struct{}, 1)}
	cmd := testbedcmd.New()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"fleet", "--interval", "10ms"}, args...))
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(o)
	cmd.SetErr(e)
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	for {
		o.mu.Lock()
		enough := o.lines >= lines
		o.mu.Unlock()
		if enough {
			cancel()
		}
		select {
		case <-o.wake:
		case err := <-done:
			return o.buf.String(), e.buf.String(), err
		}
	}
}

func TestFleetCommand(t *testing.T) {
	dir, err := os.MkdirTemp("", "fl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	out, errOut, err := runFleet(t, 8, "stall h2\nnonsense\n", "--hosts", "5", "--records", "100", "--domains", "10", "--domains-per-host", "2", "--dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5 hosts, 100 records in 10 routing domains, 2 on each host, 10 VMs attached", filepath.Join(dir, "nvgre.yaml"), "connected 0"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if !strings.Contains(errOut, "nonsense: not understood") {
		t.Errorf("standard error: %s", errOut)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left in the directory: %v, %v; want the policy and the settings", left, err)
	}
}

func TestFleetCommandJSON(t *testing.T) {
	out, _, err := runFleet(t, 3, "", "--hosts", "5", "--records", "100", "--domains", "10", "--domains-per-host", "2", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var first struct {
		Hosts    int
		Settings string
	}
	var second struct {
		Flows *int `json:"flows"`
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || first.Hosts != 5 {
		t.Errorf("%v in %s", err, lines[0])
	}
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil || second.Flows == nil {
		t.Errorf("%v in %s", err, lines[1])
	}
	if _, err := os.Stat(filepath.Dir(first.Settings)); !os.IsNotExist(err) {
		t.Errorf("the fleet's own directory was left behind: %v", err)
	}
}

func TestFleetCommandRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--hosts", "0"}, {"--records", "5"}, {"--interval", "0s"}, {"-o", "yaml"}, {"--bare"}, {"--subnet-size", "251"}, {"extra"},
	} {
		if _, _, err := runFleet(t, 1000000, "", args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
