package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestVerifyPolicy(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	out, stderr, code := ofctl(t, "verify", "--policy", good)
	if code != 0 || !strings.HasPrefix(out, "proved: 2 hosts, 4 VMs, ") {
		t.Errorf("code %d, %s%s", code, out, stderr)
	}
	for _, args := range [][]string{{"--policy", good, "--compiled"}, {"--max", "0"}, {"-o", "xml"}, {"x"}} {
		if _, stderr, code := ofctl(t, append([]string{"verify"}, args...)...); code != codeUsage {
			t.Errorf("%q: code %d, %s", args, code, stderr)
		}
	}
}

// Two real switches of one network, without a controller: the flows are put there
// as compile shows them, and then spoilt by hand.
func TestVerifyLive(t *testing.T) {
	hosts := map[string]*ovsproc.Switch{"h1": ovstest.Start(t), "h2": ovstest.Start(t)}
	attached := map[string][]string{"h1": {"web1", "app1", "roam"}, "h2": {"web2"}}
	policy := file(t, "policy.yaml", goodPolicy)
	conf := "policy: " + policy + "\nhosts:\n"
	for _, name := range []string{"h1", "h2"} {
		conf += fmt.Sprintf("  - {name: %s, ovsdb: 'unix:%s', openflow: 'unix:%s'}\n", name, hosts[name].DBSock(), hosts[name].MgmtSock("br-int"))
	}
	config := file(t, "nvgre.yaml", conf)

	socket := file(t, "x", "") + ".sock"
	daemon := command("controller", "--config", config, "--admin-socket", socket)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = daemon.Process.Kill(); _ = daemon.Wait() }()
	ofctlOf := func(host string, args ...string) {
		t.Helper()
		if _, err := hosts[host].Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for name, vms := range attached {
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if out, err := hosts[name].Vsctl(t.Context(), "list-br"); err == nil && strings.Contains(out, "br-int") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("waited in vain for the bridge")
			}
		}
		for _, id := range vms {
			if _, err := hosts[name].Vsctl(t.Context(), "add-port", "br-int", id, "--", "set", "interface", id, "type=dummy", "external_ids:iface-id="+id); err != nil {
				t.Fatal(err)
			}
		}
	}
	verify := func(args ...string) (string, int) {
		out, stderr, code := ofctl(t, append([]string{"verify", "--config", config}, args...)...)
		return out + stderr, code
	}
	await := func(what string, want func(out string, code int) bool) string {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			out, code := verify()
			if want(out, code) {
				return out
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain until %s: code %d\n%s", what, code, out)
			}
		}
	}
	proved := func(out string, code int) bool {
		return code == 0 && strings.HasPrefix(out, "proved: 2 hosts, 4 VMs, ")
	}
	await("all is proved", proved)
	if out, code := verify("--compiled"); !proved(out, code) {
		t.Errorf("--compiled: code %d, %s", code, out)
	}
	if out, code := verify("--wanted", "--admin-socket", socket); !proved(out, code) {
		t.Errorf("--wanted: code %d, %s", code, out)
	}
	if out, code := verify("--wanted", "--compiled"); code != codeUsage {
		t.Errorf("--wanted --compiled: code %d, %s", code, out)
	}

	// Nobody repairs what is spoilt from now on.
	_ = daemon.Process.Kill()
	_ = daemon.Wait()

	if out, code := verify("--wanted", "--admin-socket", socket); code != codeUnreachable || !strings.Contains(out, "the flows that the controller wants") {
		t.Errorf("--wanted of nobody: code %d, %s", code, out)
	}
	ofctlOf("h1", "-OOpenFlow13", "add-flow", "br-int", "table=20,priority=60000,ip,actions=drop")
	out, code := verify()
	for _, want := range []string{"counterexample 1: a packet from record blue/", "expected  delivered to VM blue/", "ca 60000: ip -> drop", "of foreign", "policy.yaml:"} {
		if code != codeFailed || !strings.Contains(out, want) {
			t.Errorf("foreign flow: code %d, want %q in\n%s", code, want, out)
		}
	}
	t.Log(out)
	ofctlOf("h1", "-OOpenFlow13", "--strict", "del-flows", "br-int", "table=20,priority=60000,ip")
	await("all is proved again", proved)

	// What the bridge does by itself no policy means.
	ofctlOf("h2", "add-flow", "br-int", "table=0,priority=300,in_port=77,actions=normal")
	if out, code := verify(); code != codeFailed || !strings.Contains(out, "on host h2 switched as by a learning bridge (NORMAL)") || !strings.Contains(out, "of foreign") || strings.Contains(out, "unproved") {
		t.Errorf("normal switching: code %d\n%s", code, out)
	}
	// What is no flow of ours' vocabulary is not ignored.
	ofctlOf("h2", "add-flow", "br-int", "table=0,priority=300,in_port=77,actions=learn(table=9)")
	if out, code := verify(); code != codeFailed || !strings.Contains(out, "unproved: host h2: ") {
		t.Errorf("odd flow: code %d\n%s", code, out)
	}
	ofctlOf("h2", "--strict", "del-flows", "br-int", "table=0,priority=300,in_port=77")

	ofctlOf("h2", "-OOpenFlow13", "del-flows", "br-int", "table=40,dl_dst=02:b0:00:00:01:12")
	out, code = verify("-o", "json", "--max", "1")
	var r jsonReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != codeFailed || r.Proved || len(r.Counterexamples) != 1 {
		t.Fatalf("lost flow: code %d, %v\n%s", code, err, out)
	}
	c := &r.Counterexamples[0]
	if c.Wanted == nil || c.Wanted.TableName != "local" || c.Wanted.VM != "web2" || !strings.Contains(c.Wanted.Source, "policy.yaml:14") || c.FlowHost != "h2" {
		t.Errorf("lost flow: %s", out)
	}

	if err := hosts["h2"].Stop(); err != nil {
		t.Fatal(err)
	}
	if out, code := verify(); code != codeUnreachable || !strings.Contains(out, "unproved: host h2: its flows are not known") {
		t.Errorf("a host is down: code %d\n%s", code, out)
	}
}
