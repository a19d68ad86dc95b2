package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// buildDir is where the binary is built; TestMain makes and removes it.
var buildDir string

// build builds nvgre-ofctl once for all tests.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "nvgre-ofctl")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "e2e-bin"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// beds counts the testbeds of this process, for their names.
var beds atomic.Int64

// bed is a testbed with a policy of its own that a test may edit.
type bed struct {
	*testbed.Testbed
	t      testing.TB
	binary string
	root   string
	policy string // path
	in     *testbed.Inspection
}

// up builds a testbed from one of the examples. Settings are lines for the
// controller's settings file.
func up(t testing.TB, example string, settings ...string) *bed {
	t.Helper()
	ovstest.Require(t)
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its path can exceed what a unix socket's address holds.
	root, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for _, f := range []string{example + ".yaml", example + ".policy.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "examples", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, f), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := topology.Load(filepath.Join(root, example+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plan.Name = fmt.Sprintf("e2e%d-%d", os.Getpid(), beds.Add(1))
	tb, err := testbed.Build(t.Context(), plan, testbed.Options{Root: filepath.Join(root, "s")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Remove(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	b := &bed{Testbed: tb, t: t, binary: bin, root: root, policy: filepath.Join(root, example+".policy.yaml"), in: tb.Inspect()}
	f, err := os.OpenFile(tb.Settings(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range settings {
		fmt.Fprintln(f, s)
	}
	return b
}

// cli runs nvgre-ofctl on the testbed and returns its output and exit code.
func (b *bed) cli(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), b.binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !asExit(err, &exit) {
		b.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// testbedCLI runs a subcommand of `nvgre-ofctl testbed` on this testbed.
func (b *bed) testbedCLI(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	return b.cli(append([]string{"testbed", "--state-dir", filepath.Join(b.root, "s"), "--name", b.Name()}, args...)...)
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}

// controller is a running `nvgre-ofctl controller`.
type controller struct {
	b    *bed
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
	err  error
}

// start starts the controller and does not wait for anything.
func (b *bed) start() *controller {
	b.t.Helper()
	return b.startWith(b.Settings())
}

func (b *bed) startWith(settings string) *controller {
	b.t.Helper()
	c := &controller{b: b, cmd: exec.Command(b.binary, "controller", "--config", settings), log: &bytes.Buffer{}, done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	if err := c.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() { c.err = c.cmd.Wait(); close(c.done) }()
	b.t.Cleanup(func() {
		c.kill(syscall.SIGKILL)
		if b.t.Failed() {
			b.t.Logf("controller %d:\n%s", c.cmd.Process.Pid, tail(c.log.String(), 40))
		}
	})
	return c
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// kill sends a signal and waits for the end.
func (c *controller) kill(sig syscall.Signal) error {
	c.cmd.Process.Signal(sig)
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		c.cmd.Process.Kill()
		<-c.done
		return fmt.Errorf("the controller did not end within 20 s of %v", sig)
	}
	return c.err
}

// ready starts the controller and waits until all hosts are in sync.
func (b *bed) ready() *controller {
	b.t.Helper()
	c := b.start()
	c.waitReady()
	return c
}

func (c *controller) waitReady() {
	c.b.t.Helper()
	var why string
	until(c.b.t, 30*time.Second, "the controller to be ready", func() bool {
		select {
		case <-c.done:
			c.b.t.Fatalf("the controller ended: %v\n%s", c.err, c.log)
		default:
		}
		var code int
		why, code = c.b.admin("/readyz")
		return code == http.StatusOK
	}, func() string { return why })
}

// admin asks the controller's admin socket.
func (b *bed) admin(path string) (body string, code int) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", b.AdminSocket())
		}}}
	resp, err := client.Get("http://controller" + path)
	if err != nil {
		return err.Error(), 0
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), 0
	}
	return string(raw), resp.StatusCode
}

// status decodes /v1/status into v.
func (b *bed) status(v any) {
	b.t.Helper()
	body, code := b.admin("/v1/status")
	if code != http.StatusOK {
		b.t.Fatalf("status: %d %s", code, body)
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		b.t.Fatal(err)
	}
}

// metric sums the values of a metric whose labels contain each of the given
// parts, such as `kind="add"`: 0 where it has counted nothing yet.
func (b *bed) metric(name string, labels ...string) float64 {
	b.t.Helper()
	body, code := b.admin("/metrics")
	if code != http.StatusOK {
		b.t.Fatalf("metrics: %d %s", code, body)
	}
	if !strings.Contains(body, "# HELP "+name+" ") {
		b.t.Fatalf("no metric %s in\n%s", name, body)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{.*\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		fits := true
		for _, l := range labels {
			fits = fits && strings.Contains(m[1], l)
		}
		if v, err := strconv.ParseFloat(m[2], 64); err == nil && fits {
			sum += v
		}
	}
	return sum
}

// edit replaces text in the policy file, as an editor does: a new file takes
// the old one's place.
func (b *bed) edit(oldnew ...string) {
	b.t.Helper()
	text, err := os.ReadFile(b.policy)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(text), oldnew[i]) {
			b.t.Fatalf("the policy has no %q", oldnew[i])
		}
	}
	b.write(strings.NewReplacer(oldnew...).Replace(string(text)))
}

func (b *bed) write(text string) {
	b.t.Helper()
	tmp := b.policy + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, b.policy); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) readPolicy() string {
	b.t.Helper()
	text, err := os.ReadFile(b.policy)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// pingers start a pinger for each pair of VMs of one routing domain, one way
// for each.
func (b *bed) pingers() (all []*pinger) {
	b.t.Helper()
	for i, from := range b.in.VMs {
		for _, to := range b.in.VMs[i+1:] {
			if from.RDID == to.RDID {
				all = append(all, b.pinger(from, to, uint16(len(all)+1)))
			}
		}
	}
	if len(all) == 0 {
		b.t.Fatal("no pairs")
	}
	// Losses count from when all of them have been answered.
	begin := time.Now()
	until(b.t, 10*time.Second, "all pairs to be answered", func() bool { return allAnswered(all, begin) }, nil)
	return all
}

func allAnswered(pings []*pinger, since time.Time) bool {
	for _, p := range pings {
		if !p.answeredSince(since) {
			return false
		}
	}
	return true
}

func (b *bed) pinger(from, to testbed.VMInspection, id uint16) *pinger {
	b.t.Helper()
	return startPinger(b.t, from.IfaceID+"->"+to.IfaceID, from.Namespace, netip.MustParseAddr(from.CA), netip.MustParseAddr(to.CA), id)
}

// vm returns a VM by its iface-id.
func (b *bed) vm(iface string) testbed.VMInspection {
	b.t.Helper()
	for _, v := range b.in.VMs {
		if v.IfaceID == iface {
			return v
		}
	}
	b.t.Fatalf("no VM %s", iface)
	return testbed.VMInspection{}
}

// finishAll ends pingers and returns the sum, and the one that fared worst.
func finishAll(t testing.TB, all []*pinger) (sent, lost int, worst pingResult) {
	t.Helper()
	for _, p := range all {
		p.halt()
	}
	for _, p := range all {
		r := p.finish(5 * time.Second)
		if r.Sent == 0 || r.Err != nil {
			t.Errorf("%v", r)
		}
		if r.Lost > 0 {
			t.Logf("%v", r)
		}
		sent, lost = sent+r.Sent, lost+r.Lost
		if r.Lost > worst.Lost || r.Lost == worst.Lost && r.Late > worst.Late {
			worst = r
		}
	}
	return sent, lost, worst
}

// until waits for a condition, and fails the test when it does not come.
func until(t testing.TB, limit time.Duration, what string, ok func() bool, why func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			if why != nil {
				what += ": " + why()
			}
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
	}
}
