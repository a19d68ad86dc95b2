package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// realNetwork is switches of one network, with the flows that a controller gave
// them, and their settings.
type realNetwork struct {
	t      *testing.T
	hosts  map[string]*ovsproc.Switch
	config string
	policy string
	end    func() // ends the controller, so that nobody repairs what is spoilt
}

// newRealNetwork starts a switch for each host, attaches VMs, and runs a
// controller until all is proved, or, where the policy is not to be proved, until
// all is in sync.
func newRealNetwork(t *testing.T, policy string, attached map[string][]string) *realNetwork {
	t.Helper()
	n := &realNetwork{t: t, hosts: make(map[string]*ovsproc.Switch), policy: file(t, "policy.yaml", policy)}
	conf := "policy: " + n.policy + "\nhosts:\n"
	for name := range attached {
		n.hosts[name] = ovstest.Start(t)
		conf += fmt.Sprintf("  - {name: %s, ovsdb: 'unix:%s', openflow: 'unix:%s'}\n", name, n.hosts[name].DBSock(), n.hosts[name].MgmtSock("br-int"))
	}
	n.config = file(t, "nvgre.yaml", conf)
	admin := file(t, "x", "") + ".sock"
	daemon := command("controller", "--config", n.config, "--admin-socket", admin)
	var log strings.Builder
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	n.end = func() { _ = daemon.Process.Kill(); _ = daemon.Wait() }
	t.Cleanup(n.end)
	for name, vms := range attached {
		n.await("the bridge is there", func() (string, bool) {
			out, err := n.hosts[name].Vsctl(t.Context(), "list-br")
			return out, err == nil && strings.Contains(out, "br-int")
		})
		for _, id := range vms {
			n.vsctl(name, "add-port", "br-int", id, "--", "set", "interface", id, "type=dummy", "external_ids:iface-id="+id)
		}
	}
	n.await("all is in sync", func() (string, bool) {
		out, _, _ := ofctl(t, "status", "--admin-socket", admin, "-o", "json")
		var s struct {
			Hosts []struct {
				InSync bool                       `json:"in_sync"`
				Wanted int                        `json:"flows_wanted"`
				Ports  []struct{ Installed bool } `json:"attachments"`
			}
		}
		if json.Unmarshal([]byte(out), &s) != nil {
			return out, false
		}
		for _, h := range s.Hosts {
			if !h.InSync || h.Wanted == 0 {
				return out, false
			}
		}
		for name, vms := range attached {
			for _, id := range vms {
				if ids, err := n.hosts[name].Vsctl(t.Context(), "get", "interface", id, "external_ids"); err != nil || !strings.Contains(ids, "nvgre-installed") {
					return ids, false
				}
			}
		}
		return out, len(s.Hosts) == len(attached)
	})
	return n
}

func (n *realNetwork) await(what string, done func() (string, bool)) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		out, ok := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("waited in vain until %s\n%s", what, out)
		}
	}
}

func (n *realNetwork) vsctl(host string, args ...string) {
	n.t.Helper()
	if _, err := n.hosts[host].Vsctl(n.t.Context(), args...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *realNetwork) flows(host string, args ...string) {
	n.t.Helper()
	if _, err := n.hosts[host].Ofctl(n.t.Context(), append([]string{"-OOpenFlow13"}, args...)...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *realNetwork) run(args ...string) (string, int) {
	n.t.Helper()
	out, stderr, code := ofctl(n.t, append(args, "--config", n.config)...)
	return out + stderr, code
}

// says fails the test unless the command says all that is wanted.
func (n *realNetwork) says(code int, args []string, want ...string) {
	n.t.Helper()
	out, got := n.run(args...)
	for _, w := range want {
		if !strings.Contains(out, w) {
			n.t.Errorf("%q: want %q in\n%s", args, w, out)
		}
	}
	if got != code {
		n.t.Errorf("%q: code %d, want %d:\n%s", args, got, code, out)
	}
}

// What trace shows of a policy alone is as it was.
func TestTraceGolden(t *testing.T) {
	const policy = "../../testbed/examples/two-tenants.policy.yaml"
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"routed", []string{"blue/web1", "db1"}, 0},
		{"arp", []string{"blue-web1", "blue/web2", "--proto", "arp"}, 0},
		{"spoofed", []string{"red/web1", "10.0.2.13", "--proto", "udp", "--src-ca", "10.0.1.99"}, 0},
		{"nobody", []string{"red/web1", "10.0.1.77", "--proto", "tcp"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, stderr, code := ofctl(t, append([]string{"trace", "--policy", policy}, c.args...)...)
			golden := "testdata/trace-" + c.name + ".golden"
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || out != string(want) || code != c.code {
				t.Errorf("code %d, %v, %s\ngot\n%s\nwant\n%s", code, err, stderr, out, want)
			}
		})
	}
}

func TestTraceUsage(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	for _, c := range []struct {
		args string
		says string
	}{
		{"web7 web1", "the policy has no VM web7: want one of blue/roam, blue/web1"},
		{"blue/web1 nobody", "no VM nobody"},
		{"blue/web1 web2 --proto sctp", "--proto"},
		{"blue/web1 web2 --src-mac 1", "--src-mac"},
		{"blue/web1 web2 --src-ca 1", "--src-ca"},
		{"blue/web1 web2 --live", "--policy"},
		{"blue/web1", "wants a VM and a destination"},
	} {
		_, stderr, code := ofctl(t, append([]string{"trace", "--policy", good}, strings.Fields(c.args)...)...)
		if code != codeUsage || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: code %d, %s", c.args, code, stderr)
		}
	}
}

// Faults planted by hand in real switches show in live traces.
func TestTraceLive(t *testing.T) {
	n := newRealNetwork(t, goodPolicy, map[string][]string{"h1": {"web1", "app1", "roam"}, "h2": {"web2"}})
	n.end()
	web := []string{"trace", "blue/web1", "web2"}
	n.says(0, web, "flows     desired", "delivered to VM blue/web2 10.0.1.12 at h2", "intended  yes")
	n.says(0, append(web, "--live"), "flows     live", "on the wire   NVGRE 10.99.0.1 > 10.99.0.2 key 0x138900 (VSID 5001, FlowID 0)", "intended  yes")
	n.says(0, append(web, "--ofproto"), "datapath  h1: the same flows", "datapath  h2: the same flows")

	n.says(0, append(web, "--size", "1458"), "intended  yes")
	n.says(0, append(web, "--size", "1459"), "dropped at h1/mtu", "the controller tells the sender that it wants an MTU of 1458", "dropped on h1: too big")
	n.says(1, append(web, "--size", "1400", "--underlay-mtu", "1400"), "lost on the way out of h1: an IP packet of 1400 octets is one of 1442", "the VM wants an MTU of 1358")

	n.flows("h1", "add-flow", "br-int", "table=20,priority=60000,ip,actions=drop")
	n.says(1, append(web, "--live"), "dropped at h1/ca by a flow that is not ours: ca 60000: ip -> drop", "intended  delivered to VM blue/web2",
		"note      at h1: live: ca 60000: ip -> drop [foreign]; desired: ca 100: ", "policy.yaml:14")
	n.says(1, append(web, "--ofproto"), "datapath  h1: the same flows; actions drop")
	n.says(0, web, "flows     desired", "intended  yes")
	n.flows("h1", "--strict", "del-flows", "br-int", "table=20,priority=60000,ip")

	// What the model does not know is no drop.
	for action, says := range map[string]string{"NORMAL": "normal, learning switching", "FLOOD": "floods the packet", "CONTROLLER:100": "controller"} {
		n.flows("h1", "add-flow", "br-int", "table=0,priority=60000,in_port=web1,actions="+action)
		n.says(1, append(web, "--live"), "verdict   undecided at h1/classify", says)
		n.flows("h1", "--strict", "del-flows", "br-int", "table=0,priority=60000,in_port=web1")
	}

	n.flows("h2", "del-flows", "br-int", "table=40,dl_dst=02:b0:00:00:01:12")
	n.says(1, append(web, "--live"), "dropped at h2/local: no VM with MAC 02:b0:00:00:01:12 in its virtual subnet is attached to h2", "desired: local 100")
	out, code := n.run(append(web, "--live", "-o", "json")...)
	var tr struct {
		Hops     []struct{ Host string }
		Outcomes []struct{ Kind, Table, Reason string }
		Intended struct{ Kind, Host string }
	}
	if err := json.Unmarshal([]byte(out), &tr); err != nil || code != 1 || len(tr.Hops) != 2 || len(tr.Outcomes) != 1 ||
		tr.Outcomes[0].Reason != "not-here" || tr.Outcomes[0].Table != "local" || tr.Intended.Kind != "delivered" || tr.Intended.Host != "h2" {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}

	// A provider address that the host does not have any more.
	n.flows("h2", "add-flow", "br-int", "cookie=0,table=40,priority=60000,dl_dst=02:b0:00:00:01:12,actions=output:web2")
	n.says(0, append(web, "--live"), "verdict   delivered")
	n.vsctl("h2", "set", "open_vswitch", ".", "external_ids:nvgre-encap-ip=10.99.0.7")
	n.says(1, append(web, "--live"), "lost in the underlay: host h2 does not have provider address 10.99.0.2 any more", "the host itself says it has 10.99.0.7")

	// A VM on the wrong host, one with another MAC, and an address that the host
	// does not have.
	n.vsctl("h2", "del-port", "web2")
	n.vsctl("h1", "add-port", "br-int", "web2", "--", "set", "interface", "web2", "type=dummy", "external_ids:iface-id=web2", "external_ids:attached-mac=02:00:00:00:00:99")
	n.says(0, web, "dropped at h2/tunnel-source", "intended  yes, with the policy and the ports as they are", "note      the record of VM blue/web2 10.0.1.12 says host h2, and its port (iface-id web2) is on h1",
		"says MAC 02:b0:00:00:01:12, and its port on h1 says 02:00:00:00:00:99", "host h2 has provider address 10.99.0.2, and the host itself says it has 10.99.0.7")

	if err := n.hosts["h2"].Stop(); err != nil {
		t.Fatal(err)
	}
	n.says(codeUnreachable, append(web, "--live"), "undecided at h2: host h2 is not known")
}

// What the underlay's bridge does is no difference.
func TestCompareOfproto(t *testing.T) {
	h := &explain.Hop{Steps: []explain.Step{{ID: 0, Priority: 100, Cookie: "0x4e56000000000001"}}}
	const text = "bridge(\"br-int\")\n----\n 0. in_port=1, priority 100, cookie 0x4e56000000000001\n\nbridge(\"br-phy\")\n----\n 0. priority 0\n    NORMAL\n\nDatapath actions: 3\n"
	if actions, diff := compareOfproto(h, text); actions != "3" || diff != "" {
		t.Errorf("%q, %q", actions, diff)
	}
	if _, diff := compareOfproto(h, strings.Replace(text, "priority 100", "priority 90", 1)); !strings.Contains(diff, "priority 90") {
		t.Errorf("%q", diff)
	}
	h.Sent = []explain.Sent{{Wire: &explain.Wire{}}}
	if _, diff := compareOfproto(h, strings.Replace(text, "actions: 3", "actions: drop", 1)); !strings.Contains(diff, "nothing is sent") {
		t.Errorf("%q", diff)
	}
}
