//go:build linux

package testbedcmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl/testbedcmd"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topologyFile = "../../../testbed/examples/hnv-blue-red.yaml"

// user runs commands as a user does.
type user struct {
	t    *testing.T
	root string
	in   string
}

// do returns the exit code, what was printed, and what was printed to standard
// error.
func (u *user) do(args ...string) (code int, out, errOut string) {
	u.t.Helper()
	var o, e bytes.Buffer
	cmd := testbedcmd.New()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"--state-dir", u.root}, args...))
	cmd.SetIn(strings.NewReader(u.in))
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	err := cmd.ExecuteContext(u.t.Context())
	var own *testbedcmd.ExitError
	switch {
	case errors.As(err, &own):
		code = own.ExitCode()
	case err != nil:
		code = 1
	}
	if err != nil {
		e.WriteString(err.Error())
	}
	return code, o.String(), e.String()
}

func (u *user) must(args ...string) string {
	u.t.Helper()
	code, out, errOut := u.do(args...)
	if code != 0 {
		u.t.Fatalf("%v: exit code %d: %s", args, code, errOut)
	}
	return out
}

func newUser(t *testing.T) *user {
	t.Helper()
	root, err := os.MkdirTemp("", "tbc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	return &user{t: t, root: root}
}

func TestCommands(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	u := newUser(t)
	defer u.do("down", "t-cmd")
	code, out, progress := u.do("up", "-f", topologyFile, "--name", "t-cmd", "--datapath", "netdev")
	if code != 0 || out != "" || !strings.Contains(progress, "host host2: Open vSwitch runs") || !strings.Contains(progress, "t-cmd is up") {
		t.Fatalf("up: %d, %q, %s", code, out, progress)
	}
	if code, _, errOut := u.do("up", "-f", topologyFile, "--name", "t-cmd"); code != 1 || !strings.Contains(errOut, "testbed down t-cmd") {
		t.Errorf("up again: %d, %s", code, errOut)
	}
	if out := u.must("ls"); !strings.Contains(out, "t-cmd") || !strings.Contains(out, "up") {
		t.Errorf("ls:\n%s", out)
	}
	var in testbed.Inspection
	if err := json.Unmarshal([]byte(u.must("inspect", "-o", "json")), &in); err != nil {
		t.Fatal(err)
	}
	if len(in.Hosts) != 2 || len(in.VMs) != 4 || in.Hosts[0].PAs[0] != "192.168.4.11" || in.Underlay.Capture[0].Device == "" {
		t.Errorf("inspect: %+v", in)
	}
	for _, h := range in.Hosts {
		for _, path := range []string{h.OVSDBPid, h.VswitchdPid, strings.TrimPrefix(h.OVSDB, "unix:"), strings.TrimPrefix(h.OpenFlow, "unix:")} {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
	}
	if out := u.must("inspect"); !strings.Contains(out, "06:06:00:00:00:05") {
		t.Errorf("inspect:\n%s", out)
	}
	settings, err := os.ReadFile(in.Settings)
	if err != nil || !strings.Contains(string(settings), "ovsdb: unix:"+u.root) {
		t.Errorf("controller settings: %v\n%s", err, settings)
	}

	if code, out, _ := u.do("exec", "Blue1", "--", "sh", "-c", "cat /sys/class/net/nothing 2>/dev/null; echo here; exit 3"); code != 3 || out != "here\n" {
		t.Errorf("exec: %d, %q", code, out)
	}
	if code, out, errOut := u.do("pingall"); code != 1 || !strings.Contains(out, "--!") || !strings.Contains(errOut, "4 of 12") {
		t.Errorf("pingall without a controller: %d, %s\n%s", code, errOut, out)
	}
	var m testbed.Matrix
	code, out, _ = u.do("pingall", "-o", "json")
	if err := json.Unmarshal([]byte(out), &m); err != nil || code != 1 || m.Differences != 4 || len(m.Pairs) != 12 {
		t.Errorf("pingall -o json: %d, %v, %d differences", code, err, m.Differences)
	}
	u.must("link", "Blue1", "down")
	if out := u.must("inspect"); !strings.Contains(out, "down") {
		t.Errorf("after link down:\n%s", out)
	}
	u.must("link", "Blue1", "up")
	if code, _, _ := u.do("link", "Blue1", "sideways"); code != 2 {
		t.Errorf("link sideways: %d, want 2", code)
	}

	// A capture sees what a host sends, and writes it for other tools.
	file := filepath.Join(t.TempDir(), "x.pcap")
	captured := make(chan string, 1)
	go func() {
		_, _, errOut := u.do("capture", "host1", "-c", "1", "-w", file)
		captured <- errOut
	}()
	for done := false; !done; {
		u.do("exec", "host1", "--", "ping", "-c1", "-W1", "192.168.4.22")
		select {
		case errOut := <-captured:
			if !strings.Contains(errOut, "1 frames, 0 missed") {
				t.Errorf("capture: %s", errOut)
			}
			done = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if data, _, err := r.ReadPacketData(); err != nil || len(data) < 14 {
		t.Errorf("the written frame: %d octets, %v", len(data), err)
	}

	if out := u.must("graph"); !strings.HasPrefix(out, "flowchart") || strings.Count(out, "VSID 5001") != 2 {
		t.Errorf("graph:\n%s", out)
	}
	if out := u.must("graph", "--format", "dot"); !strings.HasPrefix(out, "graph ") {
		t.Errorf("graph:\n%s", out)
	}
	u.must("restart", "host1", "--crash")
	u.must("move", "Blue1", "host2")
	u.must("unplug", "Red1")
	u.must("plug", "Red1")

	u.must("down", "t-cmd")
	if code, _, errOut := u.do("down", "t-cmd"); code != 1 || !strings.Contains(errOut, "testbed ls") {
		t.Errorf("down again: %d, %s", code, errOut)
	}
	if out := u.must("ls", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("ls after down: %s", out)
	}
}

func TestShellFromAPipe(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	u := newUser(t)
	defer u.do("down", "t-shell")
	u.must("up", "-f", topologyFile, "--name", "t-shell", "--datapath", "netdev")
	u.in = `# a comment
nodes
links
Blue1 echo Blue2 Red2 host1 | tr ' ' ,
Blue1 sh -c 'exit 3'
nobody ping Blue1
iperf Blue1
help
exit
dump
`
	code, out, errOut := u.do("shell")
	if code != 1 {
		t.Errorf("exit code %d, want 1: commands failed", code)
	}
	for _, want := range []string{"hosts: host1 host2", "VMs: Blue1 Blue2 Red1 Red2", "Blue1:eth0", "10.0.0.7,10.0.0.7,192.168.4.11", "pingall"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	for _, want := range []string{"exit code 3", "nobody: no such command or node", "usage: iperf"} {
		if !strings.Contains(errOut, want) {
			t.Errorf("the errors lack %q:\n%s", want, errOut)
		}
	}
	if strings.Contains(out, "NAMESPACE") {
		t.Error("commands after exit were run")
	}
}

func TestSimulated(t *testing.T) {
	u := newUser(t)
	code, out, progress := u.do("up", "-f", topologyFile, "--backend", "sim")
	if code != 0 || out != "" || !strings.Contains(progress, "needs no controller") {
		t.Fatalf("up: %d, %q, %s", code, out, progress)
	}
	if out := u.must("ls"); !strings.Contains(out, "sim") {
		t.Errorf("ls:\n%s", out)
	}
	if out := u.must("pingall"); !strings.Contains(out, "12 of 12 as expected: 4 reachable") {
		t.Errorf("pingall:\n%s", out)
	}
	u.must("link", "Blue1", "down")
	if code, out, errOut := u.do("pingall"); code != 1 || !strings.Contains(out, "--!") || !strings.Contains(errOut, "2 of 12") {
		t.Errorf("pingall with a link down: %d, %s\n%s", code, errOut, out)
	}
	u.must("link", "Blue1", "up")
	u.must("move", "Blue1", "host2")
	if out := u.must("inspect"); !strings.Contains(out, "datapath sim") {
		t.Errorf("inspect:\n%s", out)
	}
	for _, args := range [][]string{{"exec", "Blue1", "--", "true"}, {"shell"}, {"capture"}, {"restart", "host1"}} {
		if code, _, errOut := u.do(args...); code != 1 || !strings.Contains(errOut, "is simulated: nothing runs in it") {
			t.Errorf("%v: %d, %s", args, code, errOut)
		}
	}
	u.must("up", "-f", topologyFile, "--backend", "sim", "--name", "other")
	if code, _, errOut := u.do("pingall"); code != 1 || !strings.Contains(errOut, "--name hnv-blue-red or --name other") {
		t.Errorf("two testbeds: %d, %s", code, errOut)
	}
	u.must("down", "other")
	u.must("down")
	if out := u.must("ls", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("ls after down: %s", out)
	}
}

func TestBadInput(t *testing.T) {
	u := newUser(t)
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("policy: nowhere.yaml\ncolour: blue\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"up", "-f", "/no/such/file"}, 3, "no such file"},
		{[]string{"up", "-f", file}, 3, "colour: unknown key"},
		{[]string{"up"}, 1, "required flag"},
		{[]string{"up", "-f", topologyFile, "--backend", "xen"}, 2, "ovs or sim"},
		{[]string{"inspect", "-o", "xml"}, 2, "table or json"},
		{[]string{"inspect"}, 1, "testbed up -f FILE"},
		{[]string{"inspect", "--name", "x"}, 1, "testbed ls"},
		{[]string{"graph", "-f", topologyFile, "--format", "png"}, 2, "mermaid or dot"},
	}
	for _, tt := range tests {
		code, _, errOut := u.do(tt.args...)
		if code != tt.code || !strings.Contains(errOut, tt.want) {
			t.Errorf("%v: exit code %d, want %d; %q does not say %q", tt.args, code, tt.code, errOut, tt.want)
		}
	}
}
