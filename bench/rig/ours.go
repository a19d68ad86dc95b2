package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BinaryVariable names the environment variable that names the nvgre-ofctl to be
// measured instead of the one that the repository builds.
const BinaryVariable = "NVGRE_BENCH_BINARY"

// Binary builds nvgre-ofctl once for each test binary, and returns its path.
func Binary(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv(BinaryVariable); path != "" {
		return path
	}
	path, err := binary()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rig-bin")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nvgre-ofctl")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl").CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("go build: %w: %s", err, out), os.RemoveAll(dir))
	}
	return path, nil
})

// NewPolicy makes a policy in the store where the binary that is measured has
// one, and a policy file otherwise, and says so.
func NewPolicy(tb testing.TB) func(dir string, size Size) (Policy, error) {
	tb.Helper()
	out, err := exec.Command(Binary(tb), "controller", "--help").CombinedOutput()
	if err != nil {
		tb.Fatalf("nvgre-ofctl controller --help: %v: %s", err, out)
	}
	if bytes.Contains(out, []byte("--store-directory")) {
		return NewStorePolicy(0)
	}
	tb.Log("this nvgre-ofctl has no store: its policy is a file, which it reads anew for each VM")
	return NewPolicyFile
}

// Main runs a package's tests and removes what [Binary] built.
func Main(m *testing.M) {
	code := m.Run()
	if os.Getenv(BinaryVariable) == "" {
		if path, err := binary(); err == nil {
			os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// Ours is our control plane on some chassis.
type Ours struct {
	Size    Size
	Chassis []*Chassis

	policy Policy
	admin  string
	proc   *Process
}

// StartLimit bounds how long an empty control plane may take to start.
const StartLimit = 30 * time.Second

// StartOurs starts the chassis and a controller for them, with an empty policy,
// and returns when every chassis has its bridge. All end with the test.
func StartOurs(tb testing.TB, size Size, newPolicy func(dir string, size Size) (Policy, error)) *Ours {
	tb.Helper()
	bin, dir := Binary(tb), TempDir(tb)
	o := &Ours{Size: size, Chassis: StartChassis(tb, dir, size), admin: filepath.Join(dir, "admin.sock")}
	var err error
	if o.policy, err = newPolicy(dir, size); err != nil {
		tb.Fatal(err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%sadmin-socket: %s\nbridge: %s\nhosts:\n", o.policy.Settings(), o.admin, Bridge)
	for _, c := range o.Chassis {
		fmt.Fprintf(&s, "  - {name: %s, ovsdb: %q, openflow: %q}\n", c.Name, "unix:"+c.DBSock(), "unix:"+c.MgmtSock(Bridge))
	}
	settings := filepath.Join(dir, "nvgre.yaml")
	if err := os.WriteFile(settings, []byte(s.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
	if o.proc, err = StartProcess("controller", dir, bin, "controller", "--config", settings); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		o.proc.End()
		if tb.Failed() {
			tb.Logf("controller:\n%s", o.proc.Output())
		}
	})
	// A million further records take a minute or more.
	if err := o.policy.Begin(Within(tb, 20*StartLimit)); err != nil {
		tb.Fatal(err)
	}
	ctx := Within(tb, StartLimit)
	for _, c := range o.Chassis {
		if err := c.WaitBridge(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	return o
}

// Name names the control plane.
func (o *Ours) Name() string { return "nvgre-ofctl" }

// Processes returns the processes of the control plane.
func (o *Ours) Processes() []*Process { return []*Process{o.proc} }

// Switches returns the chassis.
func (o *Ours) Switches() []*Chassis { return o.Chassis }

// ColdStart gives the control plane the records and attachments of the VMs up
// to, and without, a number, as fast as it takes them.
func (o *Ours) ColdStart(ctx context.Context, ports int) (Start, error) {
	return o.add(ctx, o.Size.VMs(0, ports))
}

// Plug attaches a VM that has no record yet, and returns how long the switch took
// to give its port a number.
func (o *Ours) Plug(ctx context.Context, n int) (time.Duration, error) {
	return Plug(ctx, o.Chassis, o.Size.VM(n))
}

// AddRecord gives the record of a VM whose port is there, and returns how long it
// took until every chassis that needs it had confirmed it.
func (o *Ours) AddRecord(ctx context.Context, n int) (time.Duration, error) {
	v, begin := o.Size.VM(n), time.Now()
	if err := o.policy.Add(ctx, v); err != nil {
		return 0, err
	}
	at, err := o.Chassis[v.Chassis].Installed.Wait(ctx, v.Port)
	return at.Sub(begin), err
}

// AddVM adds one VM, record and attachment at once.
func (o *Ours) AddVM(ctx context.Context, n int) (Addition, error) {
	begin := time.Now()
	s, err := o.add(ctx, o.Size.VMs(n, n+1))
	if err != nil {
		return Addition{}, err
	}
	return NewAddition(ctx, o.Chassis, o.Size.VM(n), begin, s.All)
}

// add gives the control plane both inputs at once: neither waits for the other.
func (o *Ours) add(ctx context.Context, vms []VM) (s Start, err error) {
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.policy.Add(gctx, vms...) })
	AttachAll(gctx, g, o.Chassis, vms)
	if err := g.Wait(); err != nil {
		return s, err
	}
	inputs := time.Now()
	last := inputs
	for n, c := range o.Chassis {
		var ports []string
		for _, v := range vms {
			if v.Chassis == n {
				ports = append(ports, v.Port)
			}
		}
		at, err := c.Installed.Wait(ctx, ports...)
		if err != nil {
			return s, fmt.Errorf("chassis %s: %w", c.Name, err)
		}
		if at.After(last) {
			last = at
		}
	}
	return Start{Inputs: inputs.Sub(begin), Converged: last.Sub(inputs), All: last.Sub(begin)}, nil
}

// Addition is how long the addition of one VM took.
type Addition struct {
	Port time.Duration // until the switch had given the port its number
	All  time.Duration // until every chassis that needs it had confirmed it
}

// NewAddition tells what the switch itself took of an addition that began then.
func NewAddition(ctx context.Context, chassis []*Chassis, v VM, begin time.Time, all time.Duration) (Addition, error) {
	at, err := chassis[v.Chassis].Numbered.Wait(ctx, v.Port)
	return Addition{Port: at.Sub(begin), All: all}, err
}

// Plug attaches a VM and returns how long the switch took to give its port a
// number.
func Plug(ctx context.Context, chassis []*Chassis, v VM) (time.Duration, error) {
	begin, c := time.Now(), chassis[v.Chassis]
	if err := c.Attach(ctx, v); err != nil {
		return 0, err
	}
	at, err := c.Numbered.Wait(ctx, v.Port)
	return at.Sub(begin), err
}

// Start is how long a start, or an addition, took.
type Start struct {
	Inputs    time.Duration // until the last input was taken
	Converged time.Duration // from then until every chassis had all
	All       time.Duration
}

// AttachAll attaches VMs to their chassis, one transaction for each, all at once.
func AttachAll(ctx context.Context, g *errgroup.Group, chassis []*Chassis, vms []VM) {
	for n, c := range chassis {
		var here []VM
		for _, v := range vms {
			if v.Chassis == n {
				here = append(here, v)
			}
		}
		if len(here) > 0 {
			g.Go(func() error { return c.Attach(ctx, here...) })
		}
	}
}

// Profile writes a CPU profile of the controller, of as many seconds, to a file.
func (o *Ours) Profile(ctx context.Context, seconds int, file string) error {
	return o.fetch(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds), file)
}

func (o *Ours) fetch(ctx context.Context, path, file string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", o.admin)
	}}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controller"+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
