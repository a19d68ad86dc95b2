package crosscheck

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
)

// controller is the product's own, as a user runs it.
type controller struct {
	cmd *exec.Cmd
	log bytes.Buffer
	wg  sync.WaitGroup
	err error
}

func build(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "nvgre-ofctl")
	out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", path, "github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl").CombinedOutput()
	if err != nil {
		tb.Fatalf("go build: %v: %s", err, out)
	}
	return path
}

// run starts a controller, which ends with the test at the latest.
func run(tb testing.TB, binary, settings string) *controller {
	tb.Helper()
	c := &controller{cmd: exec.Command(binary, "controller", "--config", settings)}
	c.cmd.Stderr, c.cmd.Stdout = &c.log, &c.log
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	c.wg.Go(func() { c.err = c.cmd.Wait() })
	tb.Cleanup(func() {
		c.end(syscall.SIGKILL)
		if tb.Failed() {
			tb.Logf("the controller wrote:\n%s", c.log.String())
		}
	})
	return c
}

func (c *controller) end(sig syscall.Signal) error {
	c.cmd.Process.Signal(sig)
	c.wg.Wait()
	return c.err
}

// sentinelTable holds the flow that names the revision a switch has in full.
const sentinelTable = 253

// TestController has the product's controller drive a fleet: cold, a VM added, a
// restart with nothing changed, a switch that lost its flows.
func TestController(t *testing.T) {
	var mu sync.Mutex
	sentinels := make(map[int]int) // times that a host's was written
	f := startFleet(t, fleet.Options{
		Plan: fleet.Plan{Hosts: 20, Records: 400, Domains: 20, DomainsPerHost: 4}, Attach: 1,
		Observe: func(host int, m ofswitch.Mod) {
			if m.Table == sentinelTable {
				mu.Lock()
				sentinels[host]++
				mu.Unlock()
			}
		},
	})
	files, err := f.WriteFiles()
	if err != nil {
		t.Fatal(err)
	}
	binary := build(t)
	first := run(t, binary, files.Settings)
	settled := func() {
		t.Helper()
		for i := range f.Len() {
			if err := f.Host(i).WaitInstalled(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	settled()
	tot := f.Totals()
	if tot.Masters != f.Len() || tot.Databases != f.Len() {
		t.Errorf("%+v", tot)
	}
	// A flow for each record of each domain at least, on each of its hosts.
	if want := 20 * 4 * 20; tot.Flows < want {
		t.Errorf("%d flows, want at least %d", tot.Flows, want)
	}
	// Each is asked once for a flow monitor, which it does not have.
	if int(tot.OpenFlow.Errors) != f.Len() {
		t.Errorf("%d errors", tot.OpenFlow.Errors)
	}
	mu.Lock()
	if len(sentinels) != f.Len() {
		t.Errorf("sentinels on %d hosts", len(sentinels))
	}
	mu.Unlock()

	t.Run("attach", func(t *testing.T) {
		h := f.Host(3)
		var second fleet.Record
		for d := range f.Layout().DomainsOf(3) {
			n := 0
			for r := range f.Layout().RecordsOn(3, d) {
				if n++; n == 2 {
					second = f.Layout().Record(r)
				}
			}
		}
		if second.VM == "" {
			t.Fatal("no domain has two records on the host")
		}
		before := h.Switch().Snapshot().Flows
		if err := f.Attach(second.Number); err != nil {
			t.Fatal(err)
		}
		if err := h.WaitInstalled(soon(t), second.VM); err != nil {
			t.Fatal(err)
		}
		if after := h.Switch().Snapshot().Flows; after <= before {
			t.Errorf("%d flows before, %d after", before, after)
		}
	})

	t.Run("a host that restarts empty", func(t *testing.T) {
		h := f.Host(5)
		want := h.Switch().Snapshot().Flows
		h.Restart(false)
		if err := h.Switch().Wait(soon(t), func(s ofswitch.Snapshot) bool { return s.Flows == want && s.Masters == 1 }); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("restart", func(t *testing.T) {
		if err := first.end(syscall.SIGTERM); err != nil {
			t.Errorf("the controller ended with %v", err)
		}
		before := f.Totals()
		if before.Connections != 0 || before.Flows != tot.Flows && before.Flows == 0 {
			t.Errorf("%+v", before)
		}
		mu.Lock()
		clear(sentinels)
		mu.Unlock()
		second := run(t, binary, files.Settings)
		late := time.After(patience)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			mu.Lock()
			n := len(sentinels)
			mu.Unlock()
			if n == f.Len() {
				tick.Stop()
				break
			}
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("sentinels on %d hosts", n)
			}
		}
		after := f.Totals()
		mods := after.OpenFlow.FlowMods() - before.OpenFlow.FlowMods()
		mu.Lock()
		written := 0
		for _, n := range sentinels {
			written += n
		}
		mu.Unlock()
		if int(mods) != written {
			t.Errorf("a restart with nothing changed sent %d flow-mods, of which %d were sentinels", mods, written)
		}
		if after.Flows != before.Flows {
			t.Errorf("%d flows before, %d after", before.Flows, after.Flows)
		}
		if err := second.end(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	})
	if err := f.CheckWriters(); err != nil {
		t.Error(err)
	}
}
