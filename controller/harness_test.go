package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store/etcdtest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// childVariable makes this test binary be a controller, which can be killed.
const childVariable = "CONTROLLER_UNDER_TEST"

func TestMain(m *testing.M) {
	etcdtest.Main()
	if file := os.Getenv(childVariable); file != "" {
		os.Exit(child(file))
	}
	goleak.VerifyTestMain(m)
}

func child(file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := settings.Load(file, nil)
	if err == nil {
		var c *controller.Controller
		if c, err = controller.New(s, controller.Options{Version: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}); err == nil {
			err = c.Run(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// network is some hosts with real switches, a policy and the settings of a
// controller for them.
type network struct {
	t        testing.TB
	dir      string
	hosts    map[string]*ovsproc.Switch
	names    []string
	policy   string // path
	settings string // path
	socket   string
	extra    string // more settings
}

// newNetwork starts n hosts h1, h2, … in parallel.
func newNetwork(t testing.TB, n int, extra string) *network {
	t.Helper()
	ovstest.Require(t)
	dir, err := os.MkdirTemp("", "ctl") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &network{t: t, dir: dir, hosts: map[string]*ovsproc.Switch{}, extra: extra,
		policy: filepath.Join(dir, "policy.yaml"), settings: filepath.Join(dir, "nvgre.yaml"), socket: filepath.Join(dir, "admin.sock")}
	for i := range n {
		name := "h" + strconv.Itoa(i+1)
		w.names = append(w.names, name)
		w.hosts[name] = ovstest.Start(t)
	}
	w.writeSettings()
	return w
}

func (w *network) writeSettings() {
	var b strings.Builder
	if w.policy != "" {
		fmt.Fprintf(&b, "policy: %s\n", w.policy)
	}
	fmt.Fprintf(&b, "admin-socket: %s\napi-socket: %s.api\npolicy-settle: 20ms\nreconnect-max: 200ms\n%s\nhosts:\n", w.socket, w.socket, w.extra)
	for _, name := range w.names {
		s := w.hosts[name]
		fmt.Fprintf(&b, "  - {name: %s, ovsdb: 'unix:%s', openflow: 'unix:%s'}\n", name, s.DBSock(), s.MgmtSock("br-int"))
	}
	w.write(w.settings, b.String())
}

// write replaces a file as editors do.
func (w *network) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		w.t.Fatal(err)
	}
}

// vm is a VM of a test policy.
type vm struct {
	name string
	ca   string
	host string // "": where it is attached
}

// policyText makes a policy of one routing domain with the VMs given.
func (w *network) policyText(vms ...vm) string {
	var b strings.Builder
	b.WriteString("version: 1\nhosts:\n")
	for i, name := range w.names {
		fmt.Fprintf(&b, "  - {name: %s, provider_addresses: [10.99.0.%d]}\n", name, i+1)
	}
	b.WriteString("routing_domains:\n  - rdid: '{11111111-2222-3333-4444-000000005001}'\n    name: blue\n    subnets:\n" +
		"      - vsid: 5001\n        prefixes: [10.0.0.0/16]\n        records:\n")
	for i, v := range vms {
		host := ""
		if v.host != "" {
			host = ", host: " + v.host
		}
		fmt.Fprintf(&b, "          - {vm: %s, ca: %s, mac: '02:00:00:00:%02x:%02x'%s}\n", v.name, v.ca, i/256, i%256, host)
	}
	return b.String()
}

func (w *network) setPolicy(vms ...vm) { w.t.Helper(); w.write(w.policy, w.policyText(vms...)) }

// attach adds a port with an iface-id to a host's bridge, which must be there.
func (w *network) attach(host, ifaceID string) {
	w.t.Helper()
	w.vsctl(host, "add-port", "br-int", ifaceID, "--", "set", "interface", ifaceID, "type=dummy", "external_ids:iface-id="+ifaceID)
}

func (w *network) vsctl(host string, args ...string) string {
	w.t.Helper()
	out, err := w.hosts[host].Vsctl(context.Background(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

var statistics = regexp.MustCompile(`(duration|n_packets|n_bytes|idle_age|hard_age)=[^ ]*,? ?`)

// meters counts the meters of a switch, which the wanted flows are counted with.
func (w *network) meters(host string) int {
	w.t.Helper()
	out, err := w.hosts[host].Ofctl(context.Background(), "-O", "OpenFlow13", "dump-meters", "br-int")
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Count(out, "meter=")
}

// flows returns a host's flows without counters, sorted, as ovs-ofctl sees them.
func (w *network) flows(host string) []string {
	w.t.Helper()
	out, err := w.hosts[host].Ofctl(context.Background(), "--no-names", "--no-stats", "dump-flows", "br-int")
	if err != nil {
		w.t.Fatal(err)
	}
	var fs []string
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(statistics.ReplaceAllString(line, "")); strings.Contains(line, "actions=") {
			fs = append(fs, line)
		}
	}
	slices.Sort(fs)
	return fs
}

// withoutSentinel drops the sentinel, which differs from one revision to the other.
func withoutSentinel(fs []string) []string {
	return slices.DeleteFunc(slices.Clone(fs), func(f string) bool { return strings.Contains(f, "table=253") })
}

// status asks the daemon.
func (w *network) status(ctx context.Context) (*admin.Status, error) {
	return admin.FetchStatus(ctx, w.socket)
}

// await waits until cond holds of the daemon's status.
func (w *network) await(what string, cond func(*admin.Status) bool) *admin.Status {
	w.t.Helper()
	var last *admin.Status
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		last, err = w.status(ctx)
		cancel()
		if err == nil && cond(last) {
			return last
		}
	}
	w.t.Fatalf("waited in vain until %s; error %v, status %+v", what, err, last)
	return nil
}

// synced reports that the newest policy text is in force everywhere.
func synced(s *admin.Status) bool { return s.Ready && allSynced(s) }

func allSynced(s *admin.Status) bool {
	for _, h := range s.Hosts {
		if !h.InSync {
			return false
		}
	}
	return s.Policy.Revision != 0
}

// newer reports a sync with a policy after revision.
func newer(revision uint64) func(*admin.Status) bool {
	return func(s *admin.Status) bool { return synced(s) && s.Policy.Revision > revision }
}

// mods returns the flow-mods that the daemon has sent so far, by kind.
func (w *network) mods() map[string]int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	body, err := admin.Get(ctx, w.socket, "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^nvgre_flow_mods_total\{kind="(\w+)"\} (\d+)`).FindAllStringSubmatch(string(body), -1) {
		out[m[1]], _ = strconv.Atoi(m[2])
	}
	return out
}

func minus(a, b map[string]int) string {
	d := []string{}
	for _, k := range []string{"add", "change", "delete", "sentinel"} {
		d = append(d, fmt.Sprintf("%s %d", k, a[k]-b[k]))
	}
	return strings.Join(d, ", ")
}

// testLog keeps what a daemon logs, for when the test fails.
type testLog struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// run starts a daemon in this process. Stop it before the test ends.
func (w *network) run() (stop func()) {
	w.t.Helper()
	s, err := settings.Load(w.settings, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	l := &testLog{}
	c, err := controller.New(s, controller.Options{Version: "test", Log: slog.New(slog.NewTextHandler(l, nil))})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("the daemon ended with %v", err)
			}
			if w.t.Failed() {
				w.t.Logf("the daemon's log:\n%s", l)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

// process is a daemon that can be killed.
type process struct {
	cmd  *exec.Cmd
	log  *testLog
	done chan struct{}
	err  error
}

func (w *network) spawn() *process {
	w.t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), log: &testLog{}, done: make(chan struct{})}
	// Under the race detector a process otherwise lingers for a second at its end.
	p.cmd.Env = append(os.Environ(), childVariable+"="+w.settings, "GORACE=atexit_sleep_ms=0")
	p.cmd.Stdout, p.cmd.Stderr = io.Discard, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	w.t.Cleanup(func() {
		p.end(syscall.SIGKILL)
		if w.t.Failed() {
			w.t.Logf("a daemon's log:\n%s", p.log)
		}
	})
	return p
}

// end sends a signal and waits for the process to end.
func (p *process) end(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return p.err
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
