package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// sent returns how many flow-mods of each kind the controller sent so far.
func (b *bed) sent() map[string]float64 {
	b.t.Helper()
	n := make(map[string]float64)
	for _, op := range []string{"add", "change", "delete"} {
		n[op] = b.metric("nvgre_flow_mods_total", `kind="`+op+`"`)
	}
	return n
}

// apply edits the policy and waits until the new version is in force on all
// hosts; it returns the flow-mods that this took.
func (b *bed) apply(oldnew ...string) map[string]float64 {
	b.t.Helper()
	before := b.sent()
	var s struct {
		Ready  bool
		Policy struct{ Revision uint64 }
	}
	b.status(&s)
	old := s.Policy.Revision
	b.edit(oldnew...)
	until(b.t, 10*time.Second, "the new policy to be in force", func() bool {
		b.status(&s)
		return s.Policy.Revision > old && s.Ready
	}, nil)
	after := b.sent()
	for op := range after {
		after[op] -= before[op]
	}
	return after
}

// An edit of the policy sends the flows that differ and no others, and harms no
// traffic.
func TestChangeSendsOnlyTheDifference(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	pings := b.pingers()
	// The second address gets no share of the packets that could be seen here: the
	// testbed's host does not have it.
	const several = "[{pa: 10.99.0.2, weight: 4294967295}, 10.99.0.102]"
	const web3 = "          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: blue-web3, host: h1}\n"
	// Blue is on all three hosts.
	for _, c := range []struct {
		name             string
		oldnew           []string
		add, change, del float64
	}{
		{"a VM is added that is attached nowhere", []string{web3, web3 + "          - {vm: new, ca: 10.0.1.77, mac: 02:00:00:00:01:77, host: h2}\n"}, 3, 0, 0},
		{"it moves", []string{"01:77, host: h2", "01:77, host: h3"}, 0, 3, 0},
		{"it changes its MAC", []string{"02:00:00:00:01:77", "02:00:00:00:01:78"}, 0, 3, 0},
		{"it goes", []string{"          - {vm: new, ca: 10.0.1.77, mac: 02:00:00:00:01:78, host: h3}\n", ""}, 0, 0, 3},
		{"a comment changes nothing", []string{"version: 1", "version: 1 # still"}, 0, 0, 0},
		// On each of the other two hosts the tunnel source (one flow goes, one
		// comes) and the peer's outer addresses; on h2 itself two tunnel sources
		// and two peers.
		{"a PA gains a second address", []string{"[10.99.0.2]", several}, 4, 0, 0},
		{"and loses it", []string{several, "[10.99.0.2]"}, 0, 0, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := b.apply(c.oldnew...)
			want := map[string]float64{"add": c.add, "change": c.change, "delete": c.del}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("sent %v, want %v", got, want)
			}
		})
	}
	if _, lost, worst := finishAll(t, pings); lost > 0 {
		t.Errorf("%d lost; %v", lost, worst)
	}
	b.noForeignRemains()
}

// A policy that is not valid reaches no switch; the old one stays in force, and
// status says what is wrong and where.
func TestInvalidPolicyIsRefused(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	pings := b.pingers()
	before := b.sent()
	b.edit("ca: 10.0.1.13,", "ca: 10.77.1.13,", "vsid: 6002", "vsid: 77")
	var s struct{ Policy struct{ Error string } }
	until(t, 10*time.Second, "the error to show", func() bool { b.status(&s); return s.Policy.Error != "" }, nil)
	for _, part := range []string{"two-tenants.policy.yaml:", "10.77.1.13", "vsid"} {
		if !strings.Contains(s.Policy.Error, part) {
			t.Errorf("the error lacks %q: %s", part, s.Policy.Error)
		}
	}
	if out, _, code := b.cli("status", "--config", b.Settings()); code == 0 || !strings.Contains(out, "10.77.1.13") {
		t.Errorf("status exits with %d and says\n%s", code, out)
	}
	if after := b.sent(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("flow-mods %v before, %v after", before, after)
	}
	b.edit("ca: 10.77.1.13,", "ca: 10.0.1.13,", "vsid: 77", "vsid: 6002")
	until(t, 10*time.Second, "the error to go", func() bool { b.status(&s); return s.Policy.Error == "" }, nil)
	if _, lost, worst := finishAll(t, pings); lost > 0 {
		t.Errorf("%d lost; %v", lost, worst)
	}
}

// A VM's port that moves to another host takes its CA along.
func TestAttachmentMoves(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	from, vm := b.vm("blue-web1"), b.vm("blue-db2") // db2 is where its port appears: on h2
	p := b.pinger(from, vm, 1)
	until(t, 5*time.Second, "answers", func() bool { return p.answeredSince(time.Time{}) }, nil)

	port := b.Switch(vm.Host)
	if _, err := port.Vsctl(t.Context(), "remove", "interface", vm.Port, "external_ids", "iface-id"); err != nil {
		t.Fatal(err)
	}
	var silent time.Time
	until(t, 5*time.Second, "silence", func() bool {
		silent = time.Now()
		time.Sleep(100 * time.Millisecond)
		return !p.answeredSince(silent)
	}, nil)
	if _, err := port.Vsctl(t.Context(), "set", "interface", vm.Port, "external_ids:iface-id="+vm.IfaceID); err != nil {
		t.Fatal(err)
	}
	until(t, 5*time.Second, "answers again", func() bool { return p.answeredSince(silent) }, nil)
}
