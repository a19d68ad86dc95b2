package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
)

// run runs a program in a VM and returns what it says.
func (b *bed) run(vm, name string, args ...string) string {
	b.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", b.VM(vm).Namespace, name}, args...)...).CombinedOutput()
	b.t.Logf("%s$ %s %s\n%s(%v)", vm, name, strings.Join(args, " "), out, err)
	return string(out)
}

func needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no %s here: make deps", program)
	}
}

// A traceroute shows the distributed router and the VM behind it, and tells where
// the way ends.
func TestTraceroute(t *testing.T) {
	needs(t, "traceroute")
	b := up(t, "two-tenants")
	b.ready()
	hops := func(to string) (addresses, notes []string) {
		for _, line := range strings.Split(b.run("blue-web1", "traceroute", "-n", "-w", "1", "-q", "1", "-m", "4", to), "\n")[1:] {
			if m := regexp.MustCompile(`^ *\d+  (\S+)(?:.* ms(?: (!\S*))?)?`).FindStringSubmatch(line); m != nil {
				addresses, notes = append(addresses, m[1]), append(notes, m[2])
			}
		}
		return addresses, notes
	}
	// The channel for packets is there a moment after the flows.
	until(t, 10*time.Second, "the router to answer", func() bool { got, _ := hops("192.0.2.1"); return len(got) == 1 && got[0] == "10.0.1.1" }, nil)
	for to, want := range map[string]string{
		"10.0.2.14": "10.0.1.1 10.0.2.14", // another host, another subnet
		"10.0.1.12": "10.0.1.12",          // the same subnet: no router
		"10.0.1.1":  "10.0.1.1",           // the router itself
	} {
		if got, _ := hops(to); strings.Join(got, " ") != want {
			t.Errorf("to %s by %v, want %s", to, got, want)
		}
	}
	if got, notes := hops("10.0.2.99"); len(got) != 1 || got[0] != "10.0.1.1" || notes[0] != "!H" {
		t.Errorf("to nobody: %v %v", got, notes)
	}
	if got, notes := hops("192.0.2.1"); len(got) != 1 || got[0] != "10.0.1.1" || notes[0] != "!N" {
		t.Errorf("to nowhere: %v %v", got, notes)
	}
}

// A VM that sends more than the underlay takes is told, and a connection of its
// goes on. Packets that may be fragmented arrive.
func TestPathMTU(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	for _, vm := range []string{"blue-web1", "blue-web2", "blue-web3"} {
		v := b.VM(vm)
		b.run(vm, "ip", "link", "set", "eth0", "mtu", "1500")
		if out, err := exec.Command("ip", "-n", b.HostNamed(v.Host).Namespace, "link", "set", v.Port, "mtu", "1500").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	if out := b.run("blue-web1", "ping", "-n", "-c", "2", "-W", "2", "-M", "do", "-s", "1472", "10.0.1.12"); !strings.Contains(out, "From 10.0.1.1") || !strings.Contains(out, "mtu = 1458") && !strings.Contains(out, "mtu=1458") {
		t.Errorf("not told of the MTU: %s", out)
	}
	if out := b.run("blue-web1", "ip", "route", "get", "10.0.1.12"); !strings.Contains(out, "mtu 1458") {
		t.Errorf("the kernel did not learn: %s", out)
	}
	// Between VMs of one host nothing is too big.
	if out := b.run("blue-web1", "ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1472", "10.0.1.13"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("%s", out)
	}
	if out := b.run("blue-web2", "ping", "-n", "-c", "2", "-W", "2", "-M", "dont", "-s", "1472", "10.0.1.11"); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("what may be fragmented is lost: %s", out)
	}
}

// A real DHCP client gets what the policy says, and after a renumbering the new
// address.
func TestDHCP(t *testing.T) {
	needs(t, "udhcpc")
	b := up(t, "two-tenants")
	b.Edit("name: web\n        prefixes: [10.0.1.0/24]\n        records:\n          # A", "name: web\n        prefixes: [10.0.1.0/24]\n        dhcp: true\n        dns: [10.0.9.53]\n        domain: blue.example\n        lease: 60\n        records:\n          # A")
	b.ready()
	ask := func() string {
		dir := t.TempDir()
		script := filepath.Join(dir, "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && env > "+dir+"/env\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		b.run("blue-web1", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "3", "-T", "1", "-s", script)
		env, _ := os.ReadFile(filepath.Join(dir, "env"))
		return string(env)
	}
	env := ask()
	for _, want := range []string{"ip=10.0.1.11", "router=10.0.1.1", "subnet=255.255.255.0", "dns=10.0.9.53", "domain=blue.example", "lease=60", "mtu=1458", "serverid=10.0.1.1"} {
		if !strings.Contains("\n"+env, "\n"+want+"\n") {
			t.Errorf("lacks %s:\n%s", want, env)
		}
	}
	b.Edit("ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: blue-web1", "ca: 10.0.1.77, mac: 02:00:00:00:01:11, iface_id: blue-web1")
	drive.Until(t, 20*time.Second, "the new address", func() bool { return strings.Contains(ask(), "ip=10.0.1.77\n") }, nil)
	if n := b.Metric("nvgre_punts_total", "reason", "dhcp", "result", "answered"); n < 3 {
		t.Errorf("%v questions answered", n)
	}
}
