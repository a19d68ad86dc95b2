package controller_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
)

var threeVMs = []vm{{"web1", "10.0.1.11", ""}, {"web2", "10.0.1.12", "h2"}, {"db1", "10.0.2.11", ""}}

// attachFirst attaches the first n of threeVMs, each to a host of its own, whose
// bridges must be there.
func (w *network) attachFirst(n int) {
	w.t.Helper()
	for i, v := range threeVMs[:n] {
		w.attach(w.names[i], v.name)
	}
}

func installedEverywhere(n int) func(*admin.Status) bool {
	return func(s *admin.Status) bool {
		for _, a := range s.Attachments {
			if !a.Installed {
				return false
			}
		}
		return synced(s) && len(s.Attachments) == n
	}
}

// bring brings up a network whose VMs all work.
func bring(t *testing.T, n int, extra string) *network {
	t.Helper()
	w := newNetwork(t, n, extra)
	w.setPolicy(threeVMs[:n]...)
	return w
}

// working brings up n hosts, each with one of threeVMs, and a daemon that has
// installed all of them. It returns how to stop the daemon, and what it says.
func working(t *testing.T, n int, extra string) (w *network, stop func(), st *admin.Status) {
	t.Helper()
	w = bring(t, n, extra)
	stop = w.run()
	w.await("the bridges are there", synced)
	w.attachFirst(n)
	return w, stop, w.await("all VMs are installed", installedEverywhere(n))
}

func TestFromPolicyToFlows(t *testing.T) {
	w := bring(t, 3, "")
	w.run()
	w.await("the bridges are there", synced)
	before := len(w.flows("h1"))
	w.attachFirst(3)
	st := w.await("all VMs are installed", func(s *admin.Status) bool { return installedEverywhere(3)(s) && s.Healthy })
	for _, h := range st.Hosts {
		if got := len(w.flows(h.Name)) + w.meters(h.Name); got != h.FlowsWanted+1 || h.FlowsInstalled != h.FlowsWanted {
			t.Errorf("%s: %d flows and the sentinel are wanted, the switch holds %d, the daemon believes %d", h.Name, h.FlowsWanted, got, h.FlowsInstalled)
		}
	}
	if after := len(w.flows("h1")); after <= before {
		t.Errorf("%d flows before the attachment, %d after", before, after)
	}
	for host, iface := range map[string]string{"h1": "web1", "h2": "web2", "h3": "db1"} {
		eventually(t, "nvgre-installed is written", func() bool {
			return w.vsctl(host, "get", "interface", iface, "external_ids") != "" &&
				strings.Contains(w.vsctl(host, "get", "interface", iface, "external_ids"), `nvgre-installed="true"`)
		})
	}
	// The VM goes, and comes elsewhere.
	w.vsctl("h1", "del-port", "web1")
	w.await("the VM is gone", func(s *admin.Status) bool { return synced(s) && len(s.Attachments) == 2 })
	w.attach("h3", "web1")
	w.await("the VM is on h3", installedEverywhere(3))
}

func TestEditSendsOnlyWhatDiffers(t *testing.T) {
	w, _, st := working(t, 3, "")
	mods := w.mods()

	// The very same policy in other words: nothing at all.
	w.write(w.policy, "# a comment\n"+w.policyText(threeVMs...))
	st = w.await("the comment is read", newer(st.Policy.Revision))
	if d := minus(w.mods(), mods); d != "add 0, change 0, delete 0, sentinel 0" {
		t.Errorf("a comment: %s", d)
	}

	// One more record, attached nowhere: one ca flow on each host.
	mods = w.mods()
	w.setPolicy(append(slices.Clone(threeVMs), vm{"new", "10.0.3.3", "h3"})...)
	st = w.await("the record is in force", newer(st.Policy.Revision))
	if d := minus(w.mods(), mods); d != "add 3, change 0, delete 0, sentinel 3" {
		t.Errorf("one more record: %s", d)
	}

	// It moves: the ca flow changes on each host.
	mods = w.mods()
	w.setPolicy(append(slices.Clone(threeVMs), vm{"new", "10.0.3.3", "h1"})...)
	st = w.await("the move is in force", newer(st.Policy.Revision))
	if d := minus(w.mods(), mods); d != "add 0, change 3, delete 0, sentinel 3" {
		t.Errorf("a move: %s", d)
	}

	// A provider address is renumbered. The two other hosts change their pa flow
	// to it and take the new source for the old; it itself takes everything from
	// outside to its new address (2 tunnel-source flows) and sends from it (2 pa
	// flows).
	mods = w.mods()
	text := strings.Replace(w.policyText(append(slices.Clone(threeVMs), vm{"new", "10.0.3.3", "h1"})...), "10.99.0.2]", "10.99.0.22]", 1)
	w.write(w.policy, text)
	st = w.await("the new PA is in force", newer(st.Policy.Revision))
	if d := minus(w.mods(), mods); d != "add 4, change 4, delete 4, sentinel 3" {
		t.Errorf("a PA: %s", d)
	}

	mods = w.mods()
	w.write(w.policy, strings.Replace(w.policyText(threeVMs...), "10.99.0.2]", "10.99.0.22]", 1))
	w.await("the record is gone", newer(st.Policy.Revision))
	if d := minus(w.mods(), mods); d != "add 0, change 0, delete 3, sentinel 3" {
		t.Errorf("one record less: %s", d)
	}
}

func TestBadPolicyNeverReachesASwitch(t *testing.T) {
	w, stop, good := working(t, 2, "")
	flows, mods := w.flows("h1"), w.mods()
	for name, text := range map[string]string{
		"not YAML":     "{",
		"reserved":     strings.Replace(w.policyText(threeVMs[:2]...), "vsid: 5001", "vsid: 7", 1),
		"unknown host": w.policyText(vm{"web1", "10.0.1.11", "h9"}),
		"empty":        "",
	} {
		t.Run(name, func(t *testing.T) {
			before := w.await("a status", func(*admin.Status) bool { return true }).Policy.ErrorAt
			w.write(w.policy, text)
			st := w.await("it is refused", func(s *admin.Status) bool { return s.Policy.Error != "" && s.Policy.ErrorAt.After(before) })
			if st.Policy.Revision != good.Policy.Revision || st.Healthy || !st.Ready {
				t.Errorf("revision %d, healthy %v, ready %v", st.Policy.Revision, st.Healthy, st.Ready)
			}
		})
	}
	if got := w.flows("h1"); !slices.Equal(got, flows) {
		t.Errorf("the flows are not what they were")
	}
	if d := minus(w.mods(), mods); d != "add 0, change 0, delete 0, sentinel 0" {
		t.Errorf("sent: %s", d)
	}
	// A daemon that starts with a bad policy touches nothing either.
	stop()
	w.run()
	w.await("the bad policy is refused", func(s *admin.Status) bool { return s.Policy.Error != "" })
	if got := w.flows("h1"); !slices.Equal(got, flows) {
		t.Errorf("a start with a bad policy changed the flows")
	}
	w.setPolicy(threeVMs[:2]...)
	w.await("the good one is in force", func(s *admin.Status) bool { return synced(s) && s.Policy.Error == "" })
}

func TestPolicyThroughSymlinks(t *testing.T) { // as a ConfigMap is mounted
	w := newNetwork(t, 1, "")
	first, second := filepath.Join(w.dir, "..1"), filepath.Join(w.dir, "..2")
	for dir, vms := range map[string][]vm{first: threeVMs[:1], second: {{"other", "10.0.9.9", ""}}} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w.write(filepath.Join(dir, "policy.yaml"), w.policyText(vms...))
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, name+".tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(w.dir, "..data")
	link("..1", data)
	link("..data/policy.yaml", w.policy)
	w.run()
	st := w.await("the first", synced)
	link("..2", data)
	w.await("the second", newer(st.Policy.Revision))
}

func TestForeignFlowsSurvive(t *testing.T) {
	w := bring(t, 1, "audit-interval: 1s")
	stop := w.run()
	w.await("bridge", synced)
	stop()
	s := w.hosts["h1"]
	ofctl := func(args ...string) {
		t.Helper()
		if _, err := s.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	foreign := []string{
		"table=0,priority=7,cookie=0x99,tcp,tp_dst=22,actions=drop",
		"table=77,priority=1,actions=learn(table=78,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),normal",
		"table=20,priority=65000,cookie=0x4e57000000000000,ip,actions=drop",
	}
	for _, f := range foreign {
		ofctl("add-flow", "br-int", f)
	}
	// One of them has the place of a flow that we want: its owner must hear of
	// it, and it stays.
	ofctl("add-flow", "br-int", "table=50,priority=0,cookie=0x77,actions=drop")
	// And one that looks like ours and is in no vocabulary.
	ofctl("add-flow", "br-int", "table=60,priority=3,cookie=0x4e56000000000001,actions=learn(table=78,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])")
	w.run()
	st := w.await("sync", synced)
	h := st.Hosts[0]
	if h.FlowsForeign != 4 || h.FlowsRefused != 1 || st.Healthy || !strings.Contains(h.Refused[0].Error, "a foreign flow has its place (cookie 0x77)") {
		t.Errorf("foreign %d, refused %d, healthy %v: %+v", h.FlowsForeign, h.FlowsRefused, st.Healthy, h.Refused)
	}
	all := strings.Join(w.flows("h1"), "\n")
	for _, want := range []string{"cookie=0x99,", "table=77", "cookie=0x4e57000000000000", "cookie=0x77,"} {
		if !strings.Contains(all, want) && !strings.Contains(all, strings.TrimSuffix(want, ",")+" ") {
			t.Errorf("%s is gone from\n%s", want, all)
		}
	}
	if strings.Contains(all, "table=60") {
		t.Error("the odd flow with our mark is still there")
	}
	// Somebody deletes and changes flows of ours: the audit repairs them.
	wanted := withoutSentinel(w.flows("h1"))
	ofctl("del-flows", "br-int", "table=0")
	ofctl("add-flow", "br-int", "table=0,priority=7,cookie=0x99,tcp,tp_dst=22,actions=drop")
	ofctl("mod-flows", "br-int", "table=5,actions=normal")
	eventually(t, "the audit has repaired it", func() bool { return slices.Equal(withoutSentinel(w.flows("h1")), wanted) })
}

func TestNothingIsTouchedBeforeEverythingIsKnown(t *testing.T) {
	w, stop, _ := working(t, 3, "placement-grace: 1h")
	stop()
	before := map[string][]string{}
	for _, h := range w.names {
		before[h] = w.flows(h)
	}
	// h3's database is away when the daemon comes: where db1 is, nobody knows.
	if err := w.hosts["h3"].StopOVSDB(); err != nil {
		t.Fatal(err)
	}
	w.run()
	st := w.await("two databases answer", func(s *admin.Status) bool {
		return len(s.Hosts) == 3 && s.Hosts[0].OVSDB.Connected && s.Hosts[0].OpenFlow.Connected && s.Hosts[1].OVSDB.Connected
	})
	if st.Ready || !strings.Contains(strings.Join(st.Missing, "\n"), "waiting for hosts") {
		t.Errorf("ready %v: %q", st.Ready, st.Missing)
	}
	// Without its database ovs-vswitchd answers no OpenFlow, so h3 is asked later.
	for _, h := range w.names[:2] {
		if !slices.Equal(w.flows(h), before[h]) {
			t.Errorf("%s was touched", h)
		}
	}
	if err := w.hosts["h3"].StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("all is in place", installedEverywhere(3))
	for _, h := range w.names {
		if got := withoutSentinel(w.flows(h)); !slices.Equal(got, withoutSentinel(before[h])) {
			t.Errorf("%s: the flows differ after the restart", h)
		}
	}
	if m := w.mods(); m["add"]+m["change"]+m["delete"] != 0 {
		t.Errorf("sent: %v", m)
	}
}

func TestSilentHostDelaysNobodyAndItsVMsStayReachable(t *testing.T) {
	w, stop, _ := working(t, 3, "placement-grace: 300ms")
	stop()
	toDB1 := func() (n int) {
		for _, f := range w.flows("h1") {
			if strings.Contains(f, "table=20") && strings.Contains(f, "a00020b") && !strings.Contains(f, "actions=drop") && !strings.Contains(f, "goto_table:70") {
				n++
			}
		}
		return n
	}
	if toDB1() != 1 {
		t.Fatalf("h1 has no flow to db1:\n%s", strings.Join(w.flows("h1"), "\n"))
	}
	if err := errors.Join(w.hosts["h3"].StopVswitchd(), w.hosts["h3"].StopOVSDB()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	w.run()
	st := w.await("h1 and h2 are in sync", func(s *admin.Status) bool {
		return len(s.Hosts) == 3 && s.Hosts[0].InSync && s.Hosts[1].InSync
	})
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the hosts that answer waited %s", d)
	}
	if toDB1() != 1 || st.Hosts[0].FlowsKept != 1 {
		t.Errorf("the flow to a VM on the silent host was not kept (%d kept):\n%s", st.Hosts[0].FlowsKept, strings.Join(w.flows("h1"), "\n"))
	}
	if st.Healthy || !st.Ready {
		t.Errorf("healthy %v, ready %v", st.Healthy, st.Ready)
	}
	// A change still goes to those that answer.
	w.setPolicy(append(slices.Clone(threeVMs), vm{"new", "10.0.3.3", "h1"})...)
	w.await("the change is on h1 and h2", func(s *admin.Status) bool {
		return s.Policy.Revision > st.Policy.Revision && s.Hosts[0].InSync && s.Hosts[1].InSync
	})
	if toDB1() != 1 {
		t.Error("the change took the kept flow away")
	}
	// The host comes back without the VM: now the flow goes.
	if err := w.hosts["h3"].StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.vsctl("h3", "--no-wait", "del-port", "db1")
	if err := w.hosts["h3"].StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("all hosts are in sync", synced)
	eventually(t, "the flow to the VM that is no more is gone", func() bool { return toDB1() == 0 })
}

func TestOVSDBRestartTouchesNothing(t *testing.T) {
	w, _, _ := working(t, 2, "")
	flows, mods := w.flows("h2"), w.mods()
	if err := w.hosts["h1"].StopOVSDB(); err != nil {
		t.Fatal(err)
	}
	w.await("the outage is seen", func(s *admin.Status) bool { return !s.Hosts[0].OVSDB.Connected })
	if err := w.hosts["h1"].StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("it is over", func(s *admin.Status) bool {
		return installedEverywhere(2)(s) && s.Hosts[0].OVSDB.Connected && s.Healthy
	})
	if d := minus(w.mods(), mods); d != "add 0, change 0, delete 0, sentinel 0" {
		t.Errorf("sent: %s", d)
	}
	if !slices.Equal(w.flows("h2"), flows) {
		t.Error("the other host's flows changed")
	}
	// And the daemon still hears of news.
	w.vsctl("h1", "del-port", "web1")
	w.await("the VM is gone", func(s *admin.Status) bool { return synced(s) && len(s.Attachments) == 1 })
}

// TestLongOVSDBOutage: without ovsdb-server, ovs-vswitchd also stops to speak
// OpenFlow, so that a session ends after the echo timeout of 15 s. The status
// says which daemon is the trouble; forwarding goes on; when ovsdb-server is
// back, a new session finds everything in place and sends nothing.
func TestLongOVSDBOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	t.Parallel()
	w, _, _ := working(t, 2, "")
	flows, before := w.flows("h1"), w.mods()
	if err := w.hosts["h1"].StopOVSDB(); err != nil {
		t.Fatal(err)
	}
	st := w.await("the database's outage is told", func(s *admin.Status) bool { return !s.Hosts[0].OVSDB.Connected })
	if text := strings.Join(st.Trouble, "\n"); !strings.Contains(text, "start ovsdb-server on the host") {
		t.Errorf("trouble:\n%s", text)
	}
	st = w.await("the session's end is told", func(s *admin.Status) bool { return !s.Hosts[0].OpenFlow.Connected })
	if text := strings.Join(st.Trouble, "\n"); !strings.Contains(text, "ovs-vswitchd talks to nobody while it has no ovsdb-server, but it goes on forwarding") || !st.Ready {
		t.Errorf("ready %v, trouble:\n%s", st.Ready, text)
	}
	if err := w.hosts["h1"].StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await("all is well again", func(s *admin.Status) bool { return installedEverywhere(2)(s) && s.Healthy })
	if got := minus(w.mods(), before); got != "add 0, change 0, delete 0, sentinel 0" {
		t.Errorf("the outage's end sent %s", got)
	}
	if got := w.flows("h1"); !slices.Equal(got, flows) {
		t.Errorf("flows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(flows, "\n"))
	}
}

func TestVswitchdRestartHeals(t *testing.T) {
	w, _, _ := working(t, 2, "")
	flows := withoutSentinel(w.flows("h1"))
	for range 3 {
		if err := w.hosts["h1"].KillVswitchd(); err != nil {
			t.Fatal(err)
		}
		w.await("the outage is seen", func(s *admin.Status) bool { return !s.Hosts[0].OpenFlow.Connected })
		if err := w.hosts["h1"].StartVswitchd(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		eventually(t, "the flows are back", func() bool { return slices.Equal(withoutSentinel(w.flows("h1")), flows) })
		t.Logf("flows back %s after ovs-vswitchd was ready", time.Since(start).Round(time.Millisecond))
	}
}

func TestPlacedOnTwoHosts(t *testing.T) {
	w := bring(t, 2, "")
	w.run()
	w.await("bridges", synced)
	w.attach("h1", "web1")
	w.attach("h2", "web1")
	st := w.await("the conflict is seen", func(s *admin.Status) bool {
		return synced(s) && len(s.Attachments) == 2 && !s.Healthy
	})
	if a := st.Attachments[1]; !strings.Contains(a.Problem, "h1 has it") {
		t.Errorf("%+v", a)
	}
}

func TestPerVSIDPorts(t *testing.T) {
	w := newNetwork(t, 2, "port-mode: per-vsid\nlinger: 0s")
	w.setPolicy(threeVMs[:2]...)
	w.run()
	w.await("bridges", synced)
	w.attach("h1", "web1")
	w.attach("h2", "web2")
	w.await("installed", installedEverywhere(2))
	eventually(t, "the subnet's port is used", func() bool {
		return strings.Contains(w.vsctl("h1", "list-ports", "br-int"), "nvgre-5001") &&
			slices.ContainsFunc(w.flows("h1"), func(f string) bool { return strings.Contains(f, "table=35") && strings.Contains(f, "output:") })
	})
	w.vsctl("h1", "del-port", "web1")
	eventually(t, "the port goes with the last VM", func() bool { return !strings.Contains(w.vsctl("h1", "list-ports", "br-int"), "nvgre-5001") })
}

func TestHostOfNobodyIsLeftAlone(t *testing.T) {
	w := newNetwork(t, 2, "")
	one := *w
	one.names = w.names[:1] // the policy has h1 only
	one.setPolicy(threeVMs[:1]...)
	w.run()
	st := w.await("h1", synced)
	if len(st.Hosts) != 1 || !strings.Contains(strings.Join(st.Trouble, "\n"), "host h2 is in the settings and not in the policy") {
		t.Errorf("%+v", st)
	}
	if out := w.vsctl("h2", "list-br"); out != "" {
		t.Errorf("h2 got %s", out)
	}
	w.setPolicy(threeVMs...) // now it has h2
	w.await("h2", func(s *admin.Status) bool { return synced(s) && len(s.Hosts) == 2 })
}

func TestBridgeOfSomebodyElse(t *testing.T) {
	w := newNetwork(t, 1, "")
	w.vsctl("h1", "add-br", "br-int")
	w.setPolicy(threeVMs[:1]...)
	w.run()
	w.await("it is refused", func(s *admin.Status) bool { return len(s.Hosts) == 1 && len(s.Hosts[0].Problems) > 0 })
	if fs := w.flows("h1"); slices.ContainsFunc(fs, func(f string) bool { return strings.Contains(f, "cookie=0x4e56") }) {
		t.Errorf("flows came into somebody's bridge:\n%s", strings.Join(fs, "\n"))
	}
}

func TestSecondDaemonAtTheSameSocketIsRefused(t *testing.T) {
	w := bring(t, 1, "")
	w.run()
	w.await("sync", synced)
	p := w.spawn()
	<-p.done
	if p.err == nil || !strings.Contains(p.log.String(), "another process answers") {
		t.Errorf("%v: %s", p.err, p.log)
	}
}

func TestLaterDaemonFencesTheEarlierOff(t *testing.T) {
	w := bring(t, 1, "")
	w.run()
	w.await("sync", synced)
	second := *w
	second.socket, second.settings = filepath.Join(w.dir, "second.sock"), filepath.Join(w.dir, "second.yaml")
	second.writeSettings()
	second.run()
	st := second.await("the second is in sync", synced)
	w.write(w.policy, "# news\n"+w.policyText(threeVMs[:1]...))
	second.await("the second goes on", newer(st.Policy.Revision))
	w.attach("h1", "web1") // now both have something to write
	first := w.await("the first sees it", func(s *admin.Status) bool {
		return strings.Contains(fmt.Sprint(s.Hosts[0].OpenFlow.Error), "generation")
	})
	if first.Hosts[0].InSync {
		t.Error("the first believes that it is in sync")
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	w := bring(t, 1, "")
	w.run()
	w.await("sync", synced)
	for page, wants := range map[string][]string{
		"/metrics": {"nvgre_policy_last_reload_success 1", `nvgre_host_connected{channel="openflow",host="h1"} 1`, "nvgre_bundle_duration_seconds_count 1",
			`nvgre_host_in_sync{host="h1"} 1`, "nvgre_compile_duration_seconds_count", "go_goroutines", `nvgre_policy_loads_total{result="refused"} 0`},
		"/readyz": {"ok"}, "/healthz": {"ok"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		body, err := admin.Get(ctx, w.socket, page)
		cancel()
		if err != nil {
			t.Error(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(body), want) {
				t.Errorf("%s has no %s", page, want)
			}
		}
	}
}
