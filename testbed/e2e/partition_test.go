package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// office is the network between three controllers, each in a namespace of its
// own; the members of etcd talk through it. The hosts' sockets are in the file
// system: a controller that is cut off from the others still reaches them all,
// which is the case where two could write to one.
type office struct {
	b          *bed
	namespaces []string // the switch's last
	addresses  []string
}

func (b *bed) office() *office {
	b.t.Helper()
	o := &office{b: b}
	for i := range 4 {
		name := fmt.Sprintf("%s.office%d", b.Name(), i+1)
		if _, err := netspace.Create(name, b.Name()); err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() {
			if err := netspace.Delete(name, b.Name()); err != nil {
				b.t.Error(err)
			}
		})
		o.namespaces = append(o.namespaces, name)
	}
	o.run(3, "ip link add br0 up type bridge")
	for i := range 3 {
		o.run(3, fmt.Sprintf("ip link add p%d up master br0 type veth peer name eth0 netns %s", i, o.namespaces[i]))
		o.run(i, fmt.Sprintf("ip addr add 10.250.0.%d/24 dev eth0", i+1))
		o.run(i, "ip link set eth0 up")
		o.addresses = append(o.addresses, fmt.Sprintf("10.250.0.%d:2380", i+1))
	}
	return o
}

// run runs a command in a namespace.
func (o *office) run(i int, command string) {
	o.b.t.Helper()
	words := strings.Fields(command)
	cmd := exec.Command(words[0], words[1:]...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := netspace.Do(o.namespaces[i], cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		o.b.t.Fatalf("%s: %v: %s", command, err, out.String())
	}
}

// partition is a way to cut a controller off: commands on the switch's side, or
// in its own namespace.
type partition struct {
	name      string
	far       bool // on the switch's side
	cut, heal []string
}

func partitions(i int) []partition {
	drop := func(name string, hooks ...string) partition {
		p := partition{name: name, cut: []string{"nft add table inet cut"}, heal: []string{"nft delete table inet cut"}}
		for _, h := range hooks {
			device := map[string]string{"input": "iifname", "output": "oifname"}[h]
			p.cut = append(p.cut, fmt.Sprintf("nft add chain inet cut %s { type filter hook %s priority 0 ; }", h, h),
				fmt.Sprintf("nft add rule inet cut %s %s eth0 drop", h, device))
		}
		return p
	}
	return []partition{
		{"its link is down", true, []string{fmt.Sprintf("ip link set p%d down", i)}, []string{fmt.Sprintf("ip link set p%d up", i)}},
		drop("its packets are dropped, both ways", "input", "output"),
		drop("nothing reaches it, and it is still heard", "input"),
	}
}

func (o *office) do(i int, p partition, commands []string) {
	o.b.t.Helper()
	if p.far {
		i = 3
	}
	for _, c := range commands {
		o.run(i, c)
	}
}

// trioStatus is what these tests read of a controller's status.
type trioStatus struct {
	Policy struct {
		Revision uint64 `json:"revision"`
	} `json:"policy"`
	Store struct {
		Frozen  bool `json:"frozen"`
		Members []struct {
			Name   string `json:"name"`
			Leader bool   `json:"leader"`
		} `json:"members"`
	} `json:"store"`
	Hosts []struct {
		Name   string `json:"name"`
		InSync bool   `json:"in_sync"`
	} `json:"hosts"`
}

func (b *bed) trioStatus(i int) (st trioStatus) {
	b.t.Helper()
	out, _ := b.trioReady(i)
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		b.t.Logf("status of %s: %v: %s", trioName(i), err, out)
	}
	return st
}

// driven returns the hosts that controllers drive, all flows in place.
func (b *bed) driven(controllers ...int) (hosts []string) {
	for _, i := range controllers {
		for _, h := range b.trioStatus(i).Hosts {
			if h.InSync {
				hosts = append(hosts, h.Name)
			}
		}
	}
	slices.Sort(hosts)
	return hosts
}

// leader returns which of three controllers has the leader of etcd in it.
func (b *bed) leader() int {
	b.t.Helper()
	found := -1
	until(b.t, 30*time.Second, "etcd to have a leader", func() bool {
		for _, m := range b.trioStatus(0).Store.Members {
			if m.Leader {
				found = slices.Index([]string{trioName(0), trioName(1), trioName(2)}, m.Name)
			}
		}
		return found >= 0
	}, nil)
	return found
}

// Each of three controllers is cut off from the other two in turn, first the one
// with etcd's leader. The others take its hosts, and change them, while it still
// reaches them; when the network heals, all is as before. Nothing is lost, and
// nobody but its own controller ever writes to a switch.
func TestPartitionedControllers(t *testing.T) {
	b := up(t, "two-tenants")
	writes := b.watchWriters()
	o := b.office()
	var all []*controller
	for i, file := range b.trioAt(o.addresses) {
		all = append(all, b.startIn(o.namespaces[i], file))
	}
	apply := func(i int) (string, int) {
		_, out, code := b.cli("apply", "-f", b.policy, "--api-socket", b.trioSocket(i, "api"))
		return out, code
	}
	until(t, 30*time.Second, "the API to take the policy", func() bool { _, code := apply(0); return code == 0 }, nil)
	ready := func() {
		t.Helper()
		for i := range all {
			why := ""
			until(t, 30*time.Second, trioName(i)+" to be ready", func() (ok bool) { why, ok = b.trioReady(i); return ok }, func() string { return why })
		}
	}
	ready()
	pings := b.pingers()
	base := b.readPolicy()
	victim := b.leader()
	for round := range 3 {
		p := partitions(victim)[round]
		others := []int{(victim + 1) % 3, (victim + 2) % 3}
		had, leads := b.driven(victim), b.leader() == victim
		start := time.Now()
		o.do(victim, p, p.cut)
		until(t, 10*time.Second, "the others to drive all hosts", func() bool { return len(b.driven(others...)) == len(b.in.Hosts) }, nil)
		took := time.Since(start)
		t.Logf("%s (with etcd's leader: %v) is cut off, %s: its hosts %v are driven by others after %v", trioName(victim), leads, p.name, had, took.Round(time.Millisecond))
		if took > 4*time.Second {
			t.Errorf("hosts were without a driver for %v", took)
		}
		// The majority changes all hosts; the minority cannot.
		var extra strings.Builder
		for n := range 50 {
			fmt.Fprintf(&extra, "          - {vm: x%d, ca: 10.0.1.%d, mac: 02:00:00:01:%02x:%02x, host: h%d}\n", n, 20+n, round, n, 1+n%3)
		}
		b.write(strings.Replace(base, "          - {vm: web3,", extra.String()+"          - {vm: web3,", 1))
		if out, code := apply(others[0]); code != 0 {
			t.Errorf("a change through the majority: %s", out)
		}
		want := b.trioStatus(others[0]).Policy.Revision
		until(t, 10*time.Second, "the change on all hosts", func() bool {
			return b.trioStatus(others[1]).Policy.Revision == want && len(b.driven(others...)) == len(b.in.Hosts)
		}, nil)
		begin := time.Now()
		if out, code := apply(victim); code != 4 || time.Since(begin) > 4*time.Second {
			t.Errorf("a change through the minority: code %d after %v: %s", code, time.Since(begin), out)
		}
		if st := b.trioStatus(victim); !st.Store.Frozen || st.Policy.Revision == want {
			t.Errorf("the minority: %+v", st)
		}
		o.do(victim, p, p.heal)
		start = time.Now()
		ready()
		until(t, 10*time.Second, "all to have the change", func() bool { return b.trioStatus(victim).Policy.Revision == want }, nil)
		t.Logf("healed: all is well after %v", time.Since(start).Round(time.Millisecond))
		victim = others[0]
	}
	sent, lost, worst := finishAll(t, pings)
	t.Logf("%d requests on %d pairs at 100/s, %d lost", sent, len(pings), lost)
	if lost > 0 {
		t.Errorf("%d of %d lost; worst %v", lost, sent, worst)
	}
	writes.check()
}
