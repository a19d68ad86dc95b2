//go:build linux

// Package demo shows the product at work on a testbed: it builds one, starts the
// controller, proves that tenants reach what they should and nothing else, and
// removes it all.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Demo says what to show and where.
type Demo struct {
	Plan     *topology.Plan
	Options  testbed.Options
	Binary   string // nvgre-ofctl
	Out      io.Writer
	Patience time.Duration // how long the controller may take; default 30 s
}

// ErrUnexpected says that something was not as expected; what was printed.
var ErrUnexpected = errors.New("the demonstration did not go as expected")

const defaultPatience = 30 * time.Second

// Run shows everything and returns nil only if all of it is as expected. The
// testbed is removed in any case.
func (d *Demo) Run(ctx context.Context) (err error) {
	d.title("A network: %d Open vSwitch hosts, %d VMs", len(d.Plan.Hosts), len(d.Plan.VMs))
	tb, err := testbed.Build(ctx, d.Plan, d.Options)
	if err != nil {
		return err
	}
	defer func() {
		d.title("Tearing down")
		if err2 := tb.Remove(context.WithoutCancel(ctx), d.Options.Progress); err2 != nil {
			err = errors.Join(err, &testbed.CleanupError{Dir: tb.Dir(), Err: err2})
		}
		if err == nil {
			d.title("All is as expected")
		}
	}()
	d.title("The controller")
	c, err := d.startController(tb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	start := time.Now()
	if err := d.waitInstalled(ctx, tb, c); err != nil {
		return err
	}
	d.progress("every VM is installed, %.2f s after the controller's start", time.Since(start).Seconds())
	return d.show(ctx, tb)
}

func (d *Demo) title(format string, args ...any) {
	fmt.Fprintf(d.Out, "\n== %s ==\n", fmt.Sprintf(format, args...))
}

func (d *Demo) progress(format string, args ...any) {
	if d.Options.Progress != nil {
		d.Options.Progress(fmt.Sprintf(format, args...))
	}
}

// show pings, and tells what went through the underlay meanwhile.
func (d *Demo) show(ctx context.Context, tb *testbed.Testbed) error {
	var matrix *testbed.Matrix
	var sample *capture.Packet
	tally, err := tb.Observe(ctx, func(k capture.Kind, p *capture.Packet) {
		if sample == nil && k == capture.KindNVGRE && p.Frame.NVGRE.Inner.IP != nil {
			sample = p
		}
	}, func(ctx context.Context) (err error) {
		matrix, err = tb.Ping(ctx)
		return err
	})
	if err != nil {
		return err
	}
	d.title("Who reaches whom: expected and actual")
	if err := matrix.WriteTable(d.Out); err != nil {
		return err
	}
	d.title("One packet in the underlay")
	if sample == nil {
		fmt.Fprintln(d.Out, "There was none: nothing went between hosts.")
	} else {
		fmt.Fprintf(d.Out, "Sent by host %s, %d octets:\n%s", sample.Point, len(sample.Data), sample.Frame.Explain())
	}
	d.title("The underlay during all this")
	fmt.Fprintf(d.Out, "%d frames, of which %d NVGRE unicast to the right host\n", tally.Total(), tally.Kinds[capture.KindNVGRE])
	fmt.Fprintf(d.Out, "%d broadcast, ARP or unknown frames of tenants\n", tally.Flooded())
	for kind, first := range tally.First {
		fmt.Fprintf(d.Out, "  %s, %d times, first %s\n", kind, tally.Kinds[kind], first)
	}
	if tally.Lost > 0 {
		fmt.Fprintf(d.Out, "%d frames were not seen: this machine is too busy to tell\n", tally.Lost)
	}
	if matrix.Differences > 0 || tally.Flooded() > 0 || tally.Lost > 0 || sample == nil {
		return ErrUnexpected
	}
	return nil
}

// controller is a controller that runs.
type controller struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
	once  sync.Once
}

func (d *Demo) startController(tb *testbed.Testbed) (*controller, error) {
	c := &controller{log: filepath.Join(tb.Dir(), "controller.log"), ended: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd = exec.Command(d.Binary, "controller", "--config", tb.Settings())
	c.cmd.Stdout, c.cmd.Stderr = log, log
	// ctrl-C is for us: we end the controller when it is time.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the controller: %w", err)
	}
	go func() {
		defer close(c.ended)
		c.cmd.Wait()
	}()
	if err := tb.Adopt(c.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	d.progress("%s controller --config %s", filepath.Base(d.Binary), tb.Settings())
	return c, nil
}

// controllerStop is how long a controller may take to stop.
const controllerStop = 5 * time.Second

// stop ends the controller as a service manager would, and reports if it did not
// end well.
func (c *controller) stop() error {
	var err error
	c.once.Do(func() {
		select {
		case <-c.ended:
			err = c.failure()
			return
		default:
		}
		c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.ended:
			if code := c.cmd.ProcessState.ExitCode(); code != 0 {
				err = fmt.Errorf("the controller ended with exit code %d on SIGTERM; its last words:\n%s", code, c.lastWords())
			}
		case <-time.After(controllerStop):
			c.cmd.Process.Kill()
			<-c.ended
			err = fmt.Errorf("the controller did not end within %v of SIGTERM; its last words:\n%s", controllerStop, c.lastWords())
		}
	})
	return err
}

func (c *controller) failure() error {
	return fmt.Errorf("the controller ended by itself (%v); its last words:\n%s", c.cmd.ProcessState, c.lastWords())
}

func (c *controller) lastWords() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-15):], "\n  ")
}

// waitInstalled waits until the controller has marked every VM's port.
func (d *Demo) waitInstalled(ctx context.Context, tb *testbed.Testbed, c *controller) error {
	patience := d.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the controller did not install everything within %v", patience))
	defer cancel()
	var missing []string
	for {
		now, err := NotInstalled(ctx, tb)
		if err == nil && len(now) == 0 {
			return nil
		}
		if err == nil {
			missing = now
		} else if ctx.Err() == nil { // else this look was cut off, and the last one stands
			return err
		}
		select {
		case <-c.ended:
			return c.failure()
		case <-ctx.Done():
			return fmt.Errorf("%w; missing: %s; the controller's last words:\n%s", context.Cause(ctx), strings.Join(missing, ", "), c.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// NotInstalled returns the VMs whose port the controller has not marked as
// complete (external_ids:nvgre-installed).
func NotInstalled(ctx context.Context, tb *testbed.Testbed) ([]string, error) {
	installed := make(map[string]bool)
	for _, h := range tb.Plan().Hosts {
		out, err := tb.Switch(h.Name).Vsctl(ctx, "--format=json", "--columns=external_ids", "list", "Interface")
		if err != nil {
			return nil, err
		}
		ids, err := parseExternalIDs([]byte(out))
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
		for _, m := range ids {
			if m["nvgre-installed"] != "" {
				installed[h.Name+"\x00"+m["iface-id"]] = true
			}
		}
	}
	var missing []string
	for _, v := range tb.Plan().VMs {
		if !installed[v.Host+"\x00"+v.IfaceID] {
			missing = append(missing, v.IfaceID)
		}
	}
	return missing, nil
}

// parseExternalIDs reads a table of one column of maps in the notation of
// RFC 7047 section 5.1.
func parseExternalIDs(b []byte) ([]map[string]string, error) {
	var table struct{ Data [][]json.RawMessage }
	if err := json.Unmarshal(b, &table); err != nil {
		return nil, fmt.Errorf("reading what ovs-vsctl printed: %w", err)
	}
	var all []map[string]string
	for _, row := range table.Data {
		var value []json.RawMessage
		var pairs [][2]string
		if len(row) != 1 || json.Unmarshal(row[0], &value) != nil || len(value) != 2 || json.Unmarshal(value[1], &pairs) != nil {
			return nil, fmt.Errorf("reading what ovs-vsctl printed: unexpected row %s", row)
		}
		m := make(map[string]string)
		for _, p := range pairs {
			m[p[0]] = p[1]
		}
		all = append(all, m)
	}
	return all, nil
}
