package crosscheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
)

// trio is three controllers, each with a member of one etcd, and a fleet that
// they share.
type trio struct {
	t        *testing.T
	f        *fleet.Fleet
	dir      string
	binary   string
	settings []string
	c        []*controller // nil: not running
	policy   string
	changes  int
}

// freePorts returns URLs on ports of 127.0.0.1 that were free a moment ago.
func freePorts(t *testing.T, n int) (urls []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		urls = append(urls, "http://"+l.Addr().String())
	}
	return urls
}

func startTrio(t *testing.T, o fleet.Options) *trio {
	t.Helper()
	x := &trio{t: t, f: startFleet(t, o), binary: build(t), c: make([]*controller, 3)}
	files, err := x.f.WriteFiles()
	if err != nil {
		t.Fatal(err)
	}
	x.policy, x.dir = files.Policy, filepath.Dir(files.Policy)
	var peers []string
	for i, u := range freePorts(t, 3) {
		peers = append(peers, fmt.Sprintf("c%d=%s", i+1, u))
	}
	for i := range 3 {
		var b bytes.Buffer
		fmt.Fprintf(&b, "name: c%d\nadmin-socket: %s\napi-socket: %s\nreconnect-max: 200ms\nlease: 1s\nstore: {directory: %s, cluster: {peers: '%s'}}\n",
			i+1, x.socket(i, "admin"), x.socket(i, "api"), filepath.Join(x.dir, fmt.Sprintf("etcd%d", i+1)), strings.Join(peers, ","))
		if err := x.f.WriteHosts(&b); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(x.dir, fmt.Sprintf("c%d.yaml", i+1))
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		x.settings = append(x.settings, name)
	}
	for i := range 3 {
		x.start(i)
	}
	return x
}

func (x *trio) socket(i int, what string) string {
	return filepath.Join(x.dir, fmt.Sprintf("c%d.%s", i+1, what))
}

func (x *trio) start(i int) { x.t.Helper(); x.c[i] = run(x.t, x.binary, x.settings[i]) }

// kill ends a controller, and the member of etcd in it, at once.
func (x *trio) kill(i int) {
	_ = x.c[i].end(syscall.SIGKILL) // that it was killed is no news
	x.c[i] = nil
}

// cli runs a command of the product against a controller.
func (x *trio) cli(i int, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(x.t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, x.binary, append(args, "--api-socket", x.socket(i, "api"))...).CombinedOutput()
	return string(out), err
}

// apply puts a policy in the store through a controller, as soon as it takes it.
func (x *trio) apply(i int, args ...string) {
	x.t.Helper()
	var out string
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if out, err = x.cli(i, append([]string{"apply"}, args...)...); err == nil {
			return
		}
	}
	x.t.Fatalf("apply: %v: %s", err, out)
}

// change writes the policy with another MAC address for one record, and returns
// the file's name.
func (x *trio) change(r fleet.Record) string {
	x.t.Helper()
	text, err := os.ReadFile(x.policy)
	if err != nil {
		x.t.Fatal(err)
	}
	x.changes++
	mac := fmt.Sprintf("02:ee:00:00:00:%02x", x.changes)
	changed := strings.Replace(string(text), r.MAC.String(), mac, 1)
	if changed == string(text) {
		x.t.Fatalf("the policy has no %v", r.MAC)
	}
	name := filepath.Join(x.dir, "changed.yaml")
	if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return name
}

// land applies a change through a controller and waits until every host of the
// routing domain has it.
func (x *trio) land(through int, r fleet.Record) {
	x.t.Helper()
	mods := map[int]uint64{}
	for h := range x.f.Layout().HostsOf(r.Domain) {
		s := x.f.Host(h).Switch().Snapshot()
		mods[h] = s.Counters.FlowMods()
	}
	x.apply(through, "-f", x.change(r))
	for h, before := range mods {
		if err := x.f.Host(h).Switch().Wait(soon(x.t), func(s ofswitch.Snapshot) bool { return s.Counters.FlowMods() > before }); err != nil {
			x.t.Errorf("host %d lacks a change: %v", h, err)
		}
	}
}

// driven adds the hosts that a controller says it drives, all their flows in
// place, to those in names.
func (x *trio) driven(i int, names map[int]bool) map[int]bool {
	var st struct {
		Hosts []struct {
			Name   string `json:"name"`
			InSync bool   `json:"in_sync"`
		} `json:"hosts"`
	}
	out, _ := x.cli(i, "get", "status", "-o", "json")
	if json.Unmarshal([]byte(out), &st) != nil {
		return names
	}
	for _, h := range st.Hosts {
		var n int
		if _, err := fmt.Sscanf(h.Name, "h%d", &n); err == nil && h.InSync {
			names[n-1] = true
		}
	}
	return names
}

// hostsOf returns the hosts that a controller drives.
func (x *trio) hostsOf(i int) []int { return slices.Collect(maps.Keys(x.driven(i, map[int]bool{}))) }

// taken reports whether the others drive the hosts of one.
func (x *trio) taken(from int, hosts []int) bool {
	names := map[int]bool{}
	for i := range x.c {
		if i != from && x.c[i] != nil {
			x.driven(i, names)
		}
	}
	return !slices.ContainsFunc(hosts, func(h int) bool { return !names[h] })
}

// until waits for a condition and returns how long it took.
func until(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > patience {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// mastered reports whether each of these hosts has a living master.
func (x *trio) mastered(hosts []int) bool {
	for _, h := range hosts {
		if x.f.Host(h).Switch().Snapshot().Masters != 1 {
			return false
		}
	}
	return true
}

func (x *trio) all() []int {
	out := make([]int, x.f.Len())
	for i := range out {
		out[i] = i
	}
	return out
}

// shared waits until all three drive hosts, and every VM is installed.
func (x *trio) shared() {
	x.t.Helper()
	until(x.t, "every controller drives hosts", func() bool {
		all := 0
		for i := range x.c {
			n := len(x.hostsOf(i))
			if n == 0 {
				return false
			}
			all += n
		}
		return all == x.f.Len() && x.mastered(x.all())
	})
}

// TestFailover kills each of three controllers in turn, its member of etcd with
// it, and then always the one with etcd's leader.
func TestFailover(t *testing.T) {
	x := startTrio(t, fleet.Options{Plan: fleet.Plan{Hosts: 60, Records: 600, Domains: 20, DomainsPerHost: 4}, Attach: 1})
	x.apply(0, "-f", x.policy)
	x.shared()
	for i := range x.f.Len() {
		if err := x.f.Host(i).WaitInstalled(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	rounds := 6
	if os.Getenv("NVGRE_SOAK") != "" {
		rounds = 23
	}
	times := map[string][]time.Duration{}
	for round := range rounds {
		i, lead := round, -1
		until(t, "etcd has a leader", func() bool { lead = x.leader(); return lead >= 0 })
		if round >= 3 {
			i = lead
		}
		who := "another"
		if i == lead {
			who = "etcd's leader"
		}
		hosts := x.hostsOf(i)
		x.kill(i)
		took := until(t, "the hosts are driven again", func() bool {
			return x.taken(i, hosts) && x.mastered(hosts)
		})
		t.Logf("c%d killed, %s: %d hosts driven again after %v", i+1, who, len(hosts), took.Round(time.Millisecond))
		times[who] = append(times[who], took.Round(time.Millisecond))
		x.land((i+1)%3, x.f.Layout().Record(0)) // two controllers know it
		x.start(i)
		x.shared()
		x.land(i, x.f.Layout().Record(0))
	}
	for who, all := range times {
		slices.Sort(all)
		median, longest := all[len(all)/2], all[len(all)-1]
		t.Logf("%s killed %d times: median %v, longest %v", who, len(all), median, longest)
		if median > 2*time.Second || longest > 4*time.Second { // machines are busy at times
			t.Errorf("%s killed: hosts without a driver for %v", who, all)
		}
	}
	if err := x.f.CheckWriters(); err != nil {
		t.Error(err)
	}
}

// domainPeers returns a host, and another one that holds a routing domain of it
// and is driven by another controller, with a record of the domain that is on
// the first and not plugged in.
func (x *trio) domainPeers() (h, peer int, r fleet.Record) {
	x.t.Helper()
	l := x.f.Layout()
	w := map[int]int{}
	for i := range x.c {
		for _, h := range x.hostsOf(i) {
			w[h] = i
		}
	}
	for h := range x.f.Len() {
		for d := range l.DomainsOf(h) {
			n := 0
			for rec := range l.RecordsOn(h, d) {
				if n++; n < 2 {
					continue // the first is plugged in
				}
				for peer := range l.HostsOf(d) {
					if w[peer] != w[h] {
						return h, peer, l.Record(rec)
					}
				}
			}
		}
	}
	x.t.Fatal("no two hosts of a routing domain have different controllers")
	return 0, 0, r
}

// A VM counts as installed when the hosts of other controllers have its flows.
func TestInstalledAcrossControllers(t *testing.T) {
	x := startTrio(t, fleet.Options{Plan: fleet.Plan{Hosts: 12, Records: 240, Domains: 4, DomainsPerHost: 2}, Attach: 1})
	x.apply(0, "-f", x.policy)
	x.shared()
	for i := range x.f.Len() {
		if err := x.f.Host(i).WaitInstalled(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	h, peer, r := x.domainPeers()
	host, other := x.f.Host(h), x.f.Host(peer)
	other.SetFaults(fleet.Faults{OpenFlow: ofswitch.Faults{Stalled: true}})
	// The VM and its record come while the peer stands still.
	x.apply(1, "-f", x.change(r))
	plug := func() {
		t.Helper()
		if err := host.Attach(fleet.VM{IfaceID: r.VM}); err != nil {
			t.Fatal(err)
		}
	}
	plug()
	// Long enough for all but the host that stands still.
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := host.WaitInstalled(short, r.VM); err == nil {
		t.Error("a VM is marked as installed while a host of another controller lacks its flows")
	}
	for i := range x.c {
		if out, err := x.cli(i, "wait", "--installed", r.VM, "--timeout", "300ms"); err == nil || !strings.Contains(out, "not in place everywhere") {
			t.Errorf("at c%d it is installed meanwhile: %v: %s", i+1, err, out)
		}
	}
	start := time.Now()
	other.SetFaults(fleet.Faults{})
	if err := host.WaitInstalled(soon(t), r.VM); err != nil {
		t.Fatal(err)
	}
	t.Logf("marked %v after the last host went on", time.Since(start).Round(time.Millisecond))
	// Every controller answers for all hosts.
	for i := range x.c {
		if out, err := x.cli(i, "wait", "--installed", r.VM, "--timeout", "10s"); err != nil {
			t.Errorf("at c%d: %v: %s", i+1, err, out)
		}
		t.Logf("known at c%d after %v", i+1, time.Since(start).Round(time.Millisecond))
		out := ""
		until(t, "all is well everywhere", func() (ok bool) {
			var err error
			out, err = x.cli(i, "get", "status")
			return err == nil
		})
		for n := range x.f.Len() {
			if !strings.Contains(out, fmt.Sprintf("h%d ", n+1)) {
				t.Errorf("the status of c%d lacks h%d: %s", i+1, n+1, out)
			}
		}
		if out, err := x.cli(i, "get", "status", fmt.Sprintf("h%d", h+1)); err != nil || !strings.Contains(out, "in sync") {
			t.Errorf("the status of one host at c%d: %v: %s", i+1, err, out)
		}
	}

	// The usual time from the port to the mark, where others must confirm.
	if err := host.Detach(r.VM); err != nil {
		t.Fatal(err)
	}
	start = time.Now()
	plug()
	if err := host.WaitInstalled(soon(t), r.VM); err != nil {
		t.Fatal(err)
	}
	t.Logf("marked %v after it was plugged in", time.Since(start).Round(time.Millisecond))
}

// A controller that was stopped and wakes writes nothing to hosts that others
// drive by then.
func TestStoppedControllerIsFenced(t *testing.T) {
	x := startTrio(t, fleet.Options{Plan: fleet.Plan{Hosts: 30, Records: 300, Domains: 10, DomainsPerHost: 3}, Attach: 1})
	x.apply(0, "-f", x.policy)
	x.shared()
	for i := range 3 {
		hosts := x.hostsOf(i)
		p := x.c[i].cmd.Process
		if err := p.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		took := until(t, "others have its hosts", func() bool {
			return x.taken(i, hosts)
		})
		t.Logf("c%d stopped: %d hosts driven by others after %v", i+1, len(hosts), took.Round(time.Millisecond))
		if took > 2500*time.Millisecond {
			t.Errorf("hosts of c%d were without a driver for %v", i+1, took)
		}
		x.land((i+1)%3, x.f.Layout().Record(0))
		if err := p.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		x.shared()
		x.land(i, x.f.Layout().Record(0))
	}
	if err := x.f.CheckWriters(); err != nil {
		t.Error(err)
	}
}

// Without etcd's quorum changes are refused, and nothing happens to the hosts.
func TestQuorumLost(t *testing.T) {
	x := startTrio(t, fleet.Options{Plan: fleet.Plan{Hosts: 12, Records: 240, Domains: 4, DomainsPerHost: 2}, Attach: 1})
	x.apply(0, "-f", x.policy)
	x.shared()
	for i := range x.f.Len() {
		if err := x.f.Host(i).WaitInstalled(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	mine := x.hostsOf(2)
	x.kill(0)
	x.kill(1)
	before := x.f.Totals()
	refused := func(when string) {
		t.Helper()
		start := time.Now()
		out, err := x.cli(2, "apply", "-f", x.change(x.f.Layout().Record(0)))
		took := time.Since(start)
		t.Logf("%s, after %v: %v: %s", when, took.Round(time.Millisecond), err, strings.TrimSpace(out))
		if err == nil || !strings.Contains(out, "quorum") {
			t.Errorf("a change %s: %v: %s", when, err, out)
		}
		if took > 3*time.Second {
			t.Errorf("%s a change is refused after %v", when, took)
		}
	}
	refused("at the moment of the loss")
	until(t, "the last controller says that it is frozen", func() bool {
		out, _ := x.cli(2, "get", "status", "-o", "json") // which also says by its code that all is not well
		return strings.Contains(out, `"frozen": true`)
	})
	refused("without a quorum")
	if out, err := x.cli(2, "get", "hosts"); err != nil || !strings.Contains(out, "may be stale") {
		t.Errorf("reading without a quorum: %v: %s", err, out)
	}
	// What comes on a host that is still driven reaches nobody.
	if err := x.f.Host(mine[0]).Attach(fleet.VM{IfaceID: "stranger"}); err != nil {
		t.Fatal(err)
	}
	if after := x.f.Totals(); after.OpenFlow.FlowMods() != before.OpenFlow.FlowMods() || after.Flows != before.Flows {
		t.Errorf("flows were changed without a quorum: %+v, then %+v", before, after)
	}
	x.start(0)
	x.start(1)
	start := time.Now()
	x.land(2, x.f.Layout().Record(0))
	t.Logf("a change is in place %v after the others came back", time.Since(start).Round(time.Millisecond))
	x.shared()
	if err := x.f.CheckWriters(); err != nil {
		t.Error(err)
	}
}

// leader returns the controller whose member of etcd leads; -1: none.
func (x *trio) leader() int {
	for i := range x.c {
		if x.c[i] == nil {
			continue
		}
		out, _ := x.cli(i, "get", "status", "-o", "json") // the code may say that a VM has another MAC address than its record
		var st struct {
			Store struct {
				Members []struct {
					Name   string `json:"name"`
					Leader bool   `json:"leader"`
				} `json:"members"`
			} `json:"store"`
		}
		if json.Unmarshal([]byte(out), &st) != nil {
			continue
		}
		for _, m := range st.Store.Members {
			if m.Leader {
				return slices.Index([]string{"c1", "c2", "c3"}, m.Name)
			}
		}
	}
	return -1
}
