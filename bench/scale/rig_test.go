package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
)

// sentinelTable holds the flow that names the revision a switch has in full.
const sentinelTable = 253

// world is a fleet, a store that has its policy, and a controller.
type world struct {
	tb     testing.TB
	dir    string
	policy *tenant.Policy
	fleet  *fleet.Fleet
	proc   *rig.Process
	api    *client.Client

	sentinels, others atomic.Int64 // flow-mods that took effect
	watching          atomic.Bool
	mu                sync.Mutex
	seen              []sighting
	revision          uint64 // of the latest apply
}

// sighting is a change of a record's flows on a host.
type sighting struct {
	cookie uint64
	host   int32
	at     time.Time
}

// policyOf returns a plan's policy.
func policyOf(tb testing.TB, p fleet.Plan) *tenant.Policy {
	tb.Helper()
	l, err := fleet.NewLayout(p)
	if err != nil {
		tb.Fatal(err)
	}
	policy, problems := tenant.New(l.Spec(), 1)
	if len(problems) > 0 {
		tb.Fatal(problems[0])
	}
	return policy
}

// seed puts a policy into a new store in dir.
func seed(tb testing.TB, dir string, p *tenant.Policy) {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{Embedded: &store.Embedded{Dir: dir, UnsafeNoSync: true}})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	_, err = s.Apply(ctx, slices.Collect(tenant.Diff(tenant.Empty(), p)), store.ApplyOptions{})
	cancel()
	wg.Wait()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// newWorld starts a fleet and fills a store. There is no controller yet.
func newWorld(tb testing.TB, p fleet.Plan) *world {
	tb.Helper()
	// The fleet has the machine together with the controller: what it spends on
	// its garbage the controller lacks.
	before := debug.SetGCPercent(400)
	tb.Cleanup(func() { debug.SetGCPercent(before) })
	w := &world{tb: tb, dir: rig.TempDir(tb), policy: policyOf(tb, p)}
	seed(tb, filepath.Join(w.dir, "store"), w.policy)
	var err error
	w.fleet, err = fleet.Start(context.Background(), fleet.Options{Dir: w.dir, Plan: p, Attach: 1, Observe: w.observe})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.fleet.Close)
	w.api = client.Unix(filepath.Join(w.dir, "api.sock"))
	tb.Cleanup(w.api.Close)
	return w
}

func (w *world) observe(host int, m ofswitch.Mod) {
	if m.Table == sentinelTable {
		w.sentinels.Add(1)
		return
	}
	w.others.Add(1)
	if w.watching.Load() {
		now := time.Now()
		w.mu.Lock()
		w.seen = append(w.seen, sighting{m.Cookie, int32(host), now})
		w.mu.Unlock()
	}
}

// start starts a controller, which ends with the test at the latest.
func (w *world) start() {
	w.tb.Helper()
	name := filepath.Join(w.dir, "settings.yaml")
	f, err := os.Create(name)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer f.Close()
	// The longest lease: on a machine that is too busy the benchmark shall be slow,
	// not hand its hosts over.
	fmt.Fprintf(f, "lease: 1m\nstore: {directory: %s}\nadmin-socket: %s\napi-socket: %s\n", filepath.Join(w.dir, "store"), w.admin(), filepath.Join(w.dir, "api.sock"))
	if err := w.fleet.WriteHosts(f); err != nil {
		w.tb.Fatal(err)
	}
	w.proc, err = rig.StartProcess("controller", w.dir, rig.Binary(w.tb), "controller", "--config", name)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() {
		w.proc.End()
		if w.tb.Failed() {
			w.tb.Logf("controller:\n%s", w.proc.Output())
		}
	})
}

func (w *world) admin() string { return filepath.Join(w.dir, "admin.sock") }

// reach notes the revision of an apply.
func (w *world) reach(revision uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revision = max(w.revision, revision)
}

// await waits until the controller says that it is ready, has the latest policy,
// and that every host is in sync.
func (w *world) await(limit time.Duration) {
	w.tb.Helper()
	ctx := rig.Within(w.tb, limit)
	for {
		m, err := w.metrics(ctx)
		w.mu.Lock()
		revision := float64(w.revision)
		w.mu.Unlock()
		if err == nil && m["nvgre_policy_revision"] >= revision && m["nvgre_ready"] == 1 && m["nvgre_host_in_sync"] == float64(w.fleet.Len()) {
			return
		}
		select {
		case <-ctx.Done():
			w.tb.Fatalf("never in sync: %v; %g of %d hosts, ready %g; %d flow-mods; last error %v", context.Cause(ctx), m["nvgre_host_in_sync"], w.fleet.Len(), m["nvgre_ready"], w.others.Load(), err)
		case <-w.proc.Done():
			w.tb.Fatal("the controller has ended")
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// get fetches a path of the admin socket.
func (w *world) get(ctx context.Context, path string) ([]byte, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", w.admin())
	}}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://controller"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return text, err
}

// metrics returns the sums of the metrics over their labels.
func (w *world) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := w.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	m := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		name, _, _ := strings.Cut(line[:i], "{")
		var v float64
		if err := json.Unmarshal([]byte(strings.TrimSpace(line[i:])), &v); err == nil {
			m[name] += v
		}
	}
	return m, nil
}

// profile writes a profile of the controller into the directory of the flag.
func (w *world) profile(ctx context.Context, name, path string) bool {
	if *profiles == "" {
		return false
	}
	text, err := w.get(ctx, "/debug/pprof/"+path)
	if err == nil {
		err = os.WriteFile(filepath.Join(*profiles, name+".pprof"), text, 0o644)
	}
	return err == nil
}

// usage returns the controller's memory and processor time.
func (w *world) usage() rig.Usage {
	u, err := rig.UsageOf(w.proc)
	if err != nil {
		w.tb.Fatal(err)
	}
	return u
}

// size is the controller's memory at one moment, in octets.
type size struct {
	rss  uint64
	live uint64 // of the heap, right after a collection
}

func (w *world) size(ctx context.Context) (s size) {
	s.rss = w.usage().RSS
	text, err := w.get(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return s
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "# HeapAlloc = "); ok {
			fmt.Sscan(n, &s.live)
		}
	}
	return s
}

// watch begins to note what happens to records' flows, and forgets what it has.
func (w *world) watch(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
	w.watching.Store(on)
}

// records says which record of the fleet's plan a flow is for.
func (w *world) records() func(cookie uint64) (n int, ok bool) {
	namer := flows.NewNamer(w.policy, nil)
	known := make(map[uint64]int)
	return func(cookie uint64) (int, bool) {
		n, ok := known[cookie]
		if !ok {
			n = -1
			for _, o := range namer.Owners(cookie) {
				if o.Kind == flows.OwnerRecord {
					if _, err := fmt.Sscanf(o.VM, "vm%d", &n); err != nil {
						n = -1
					}
				}
			}
			known[cookie] = n
		}
		return n, n >= 0
	}
}

// changed is record n with another MAC for each turn.
func (w *world) changed(n, turn int) tenant.Change {
	r := w.fleet.Layout().Record(n)
	mac := r.MAC
	mac[1] = byte(turn)
	return tenant.Put(tenant.RecordObject{VSID: r.VSID, CA: tenant.CAFrom(r.CA), VM: r.VM, MAC: mac, IfaceID: r.VM, Host: fleet.HostName(r.Host)})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mib(n uint64) float64       { return float64(n) / (1 << 20) }
