package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hostStatus is what these tests read of /v1/status.
type hostStatus struct {
	Hosts []struct {
		Name  string `json:"name"`
		OVSDB struct {
			Connected bool `json:"connected"`
		} `json:"ovsdb"`
		FlowsWanted int `json:"flows_wanted"`
	} `json:"hosts"`
}

// ovsdbConnected reports what status says of a host's database.
func (b *bed) ovsdbConnected(host string) bool {
	b.t.Helper()
	var s hostStatus
	b.status(&s)
	for _, h := range s.Hosts {
		if h.Name == host {
			return h.OVSDB.Connected
		}
	}
	b.t.Fatalf("status lacks host %s", host)
	return false
}

// ourFlows counts the flows with our mark on a host's switch, as ovs-ofctl
// sees them.
func (b *bed) ourFlows(host string) int {
	b.t.Helper()
	out, err := b.Switch(host).Ofctl(b.t.Context(), "dump-flows", "br-int", "cookie=0x4e56000000000000/0xffff000000000000")
	if err != nil {
		b.t.Fatal(err)
	}
	n := strings.Count(out, "cookie=")
	// Groups and meters count too. Nobody else has any here.
	for dump, each := range map[string]string{"dump-groups": "group_id=", "dump-meters": "meter="} {
		out, err := b.Switch(host).Ofctl(b.t.Context(), "-OOpenFlow13", dump, "br-int")
		if err != nil {
			b.t.Fatal(err)
		}
		n += strings.Count(out, each)
	}
	return n
}

// A crash of the controller at any moment of a sync costs no packet, and the
// next one puts right whatever is not.
func TestKilledControllerLosesNoPacket(t *testing.T) {
	b := up(t, "two-tenants")
	c := b.ready()
	pings := b.pingers()
	base := b.readPolicy()
	kills := 20
	for i := range kills {
		// Each version differs from the last in many flows of all hosts, none
		// of them those of the VMs that ping.
		var extra strings.Builder
		for n := range 200 {
			fmt.Fprintf(&extra, "          - {vm: x%d, ca: 10.0.1.%d, mac: 02:00:00:01:%02x:%02x, host: h%d}\n", n, 20+n, i, n, 1+(i+n)%3)
		}
		b.write(strings.Replace(base, "          - {vm: web3,", extra.String()+"          - {vm: web3,", 1))
		time.Sleep(rand.N(250 * time.Millisecond)) // a random moment is the point
		c.kill(syscall.SIGKILL)
		c = b.start()
		if i%3 == 0 {
			c.waitReady()
		}
	}
	b.write(base)
	c.kill(syscall.SIGKILL)
	c = b.ready()
	sent, lost, worst := finishAll(t, pings)
	t.Logf("%d kills, %d requests on %d pairs, %d lost", kills, sent, len(pings), lost)
	if lost > 0 {
		t.Errorf("%d of %d lost; worst %v", lost, sent, worst)
	}
	b.noForeignRemains()

	// A restart with nothing changed sends nothing but sentinels.
	c.kill(syscall.SIGTERM)
	b.ready()
	for _, op := range []string{"add", "change", "delete"} {
		if n := b.metric("nvgre_flow_mods_total", `kind="`+op+`"`); n != 0 {
			t.Errorf("a restart with nothing changed sent %v flow-mods %q", n, op)
		}
	}
	if n := b.metric("nvgre_flow_mods_total", `kind="sentinel"`); n < 1 || n > 2*float64(len(b.in.Hosts)) {
		t.Errorf("%v sentinels for %d hosts", n, len(b.in.Hosts))
	}
}

// noForeignRemains checks that each switch holds just what is wanted of ours.
func (b *bed) noForeignRemains() {
	b.t.Helper()
	var s hostStatus
	b.status(&s)
	if len(s.Hosts) != len(b.in.Hosts) {
		b.t.Fatalf("status has %d hosts of %d", len(s.Hosts), len(b.in.Hosts))
	}
	for _, h := range s.Hosts {
		if got, want := b.ourFlows(h.Name), h.FlowsWanted+1; got != want || want < 2 {
			b.t.Errorf("host %s holds %d flows of ours, want %d and the sentinel", h.Name, got, want-1)
		}
	}
}

// SIGTERM ends the controller and no flow.
func TestTerminatedControllerLeavesForwarding(t *testing.T) {
	b := up(t, "hnv-blue-red")
	c := b.ready()
	pings := b.pingers()
	before := b.ourFlows("host1")
	if err := c.kill(syscall.SIGTERM); err != nil {
		t.Errorf("exit after SIGTERM: %v", err)
	}
	now := time.Now()
	until(t, 5*time.Second, "answers without a controller", func() bool { return pings[0].answeredSince(now) }, nil)
	if after := b.ourFlows("host1"); after != before || before == 0 {
		t.Errorf("%d flows before, %d after", before, after)
	}
	if _, lost, worst := finishAll(t, pings); lost > 0 {
		t.Errorf("lost %d; %v", lost, worst)
	}
}

// A restart of ovsdb-server changes no flow and loses no packet. What comes while
// ovs-vswitchd, which runs the userspace datapath in its main loop, looks for its
// database waits for it in the sockets of the ports.
func TestRestartOfOVSDBServer(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	pings := b.pingers()
	for _, h := range b.in.Hosts {
		sw := b.Switch(h.Name)
		if err := sw.StopOVSDB(); err != nil {
			t.Fatal(err)
		}
		until(t, 10*time.Second, "status to show the outage", func() bool { return !b.ovsdbConnected(h.Name) }, nil)
		if err := sw.StartOVSDB(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, 20*time.Second, "status to show the recovery", func() bool { return b.ovsdbConnected(h.Name) }, nil)
		back := time.Now()
		until(t, 30*time.Second, "answers", func() bool { return allAnswered(pings, back) }, nil)
	}
	sent, lost, worst := finishAll(t, pings)
	t.Logf("%d requests, %d lost; %v", sent, lost, worst)
	if lost > 0 {
		t.Errorf("%d of %d lost; worst %v", lost, sent, worst)
	}
	for _, op := range []string{"change", "delete"} {
		if n := b.metric("nvgre_flow_mods_total", `kind="`+op+`"`); n != 0 {
			t.Errorf("the restarts caused %v flow-mods %q", n, op)
		}
	}
}

// After a crash of ovs-vswitchd the flows are back without anybody's doing. The
// gap is reported: it has the time that vswitchd and the testbed take.
func TestRestartOfVswitchd(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	host := "h2"
	p := b.pinger(b.vm("blue-web1"), b.vm("blue-web2"), 1)
	until(t, 5*time.Second, "answers", func() bool { return p.answeredSince(time.Time{}) }, nil)
	want := b.ourFlows(host)

	crash := time.Now()
	if err := b.RestartSwitch(t.Context(), host, true); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	until(t, 20*time.Second, "answers after the crash", func() bool { return p.answeredSince(back) }, nil)
	until(t, 10*time.Second, "all flows", func() bool { return b.ourFlows(host) == want }, nil)
	r := p.finish(time.Second)
	t.Logf("%v; ovs-vswitchd was away for %v", r, back.Sub(crash).Round(time.Millisecond))
	if r.Lost == 0 {
		t.Error("a crash of the switch lost nothing: the test does not do what it says")
	}
}
