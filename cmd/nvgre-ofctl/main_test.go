package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// mainVariable makes this test binary be nvgre-ofctl.
const mainVariable = "BE_NVGRE_OFCTL"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	// Under the race detector a process otherwise lingers for a second at its end.
	cmd.Env = append(os.Environ(), mainVariable+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// ofctl runs nvgre-ofctl and returns what it wrote and its exit code.
func ofctl(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

const goodPolicy = `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
routing_domains:
  - rdid: "{11111111-2222-3333-4444-000000005001}"
    name: blue
    customer: Contoso
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:b0:00:00:01:12, host: h2}
          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}
  - rdid: "{11111111-2222-3333-4444-000000006001}"
    name: red
    customer: Fabrikam
    subnets:
      - vsid: 6001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: app1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11, host: h1}
`

func file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Each row of the table of exit codes has a test here, save 0 and those of the
// testbed, which its own tests cover.
func TestExitCodes(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	bad := file(t, "bad.yaml", strings.Replace(goodPolicy, "5001\n        prefixes", "7\n        prefixes", 1))
	badSettings := file(t, "nvgre.yaml", "polcy: x\n")
	none := filepath.Join(t.TempDir(), "none")
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":                    {[]string{"help"}, 0, ""},
		"nothing":                 {nil, 0, ""},
		"version":                 {[]string{"version"}, 0, ""},
		"version as a flag":       {[]string{"--version"}, 0, ""},
		"valid":                   {[]string{"validate", good}, 0, ""},
		"unknown command":         {[]string{"validte"}, 2, `unknown command "validte": did you mean validate?`},
		"unknown flag":            {[]string{"compile", "--hots", "h1"}, 2, "unknown flag: --hots"},
		"no argument":             {[]string{"validate"}, 2, "validate wants at least one policy file"},
		"surplus argument":        {[]string{"version", "x"}, 2, "wants no arguments, got 1"},
		"no host":                 {[]string{"compile", good}, 2, "--host is missing: want one of h1, h2"},
		"unknown host":            {[]string{"compile", good, "--host", "h9"}, 2, "the policy has no host h9: want one of h1, h2"},
		"unknown form":            {[]string{"compile", good, "--host", "h1", "-o", "xml"}, 2, `--output is "xml": want named, ovs, json`},
		"bad attach":              {[]string{"compile", good, "--host", "h1", "--attach", "web1"}, 2, "want IFACE-ID=PORT"},
		"attach of nobody":        {[]string{"compile", good, "--host", "h1", "--attach", "web9=5"}, 2, "no lookup record of the policy has iface-id web9"},
		"dump without an address": {[]string{"dump-flows", "h1"}, 2, "give --config, --policy or --openflow"},
		"dump of an unknown host": {[]string{"dump-flows", "h9", "--policy", good}, 2, "no host h9 in the settings or the policy: want one of h1, h2"},
		"dump without a channel":  {[]string{"dump-flows", "h1", "--policy", good}, 3, "host h1 has no OpenFlow address"},
		"dump of an odd table":    {[]string{"dump-flows", "h1", "--openflow", "unix:/x", "--table", "clasify"}, 2, "the name of a table, such as classify"},
		"dump of an odd tenant":   {[]string{"dump-flows", "h1", "--openflow", "unix:/x", "--policy", good, "--tenant", "green"}, 2, "want one of blue, red"},
		"dump of an odd VM":       {[]string{"dump-flows", "h1", "--openflow", "unix:/x", "--policy", good, "--vm", "web9"}, 2, "no lookup record of the policy has a VM of that name: want one of app1, roam, web1, web2"},
		"invalid policy":          {[]string{"validate", bad}, 3, "bad.yaml:10:15: "},
		"missing policy":          {[]string{"validate", none}, 3, "no such file"},
		"invalid to compile":      {[]string{"compile", bad, "--host", "h1"}, 3, "bad.yaml:10:15: "},
		"invalid settings":        {[]string{"controller", "--config", badSettings}, 3, "polcy is no setting; did you mean policy?"},
		"settings of status":      {[]string{"status", "--config", badSettings}, 3, "did you mean policy?"},
		"missing settings":        {[]string{"controller", "--config", none}, 3, "no such file"},
		"two sources of policy":   {[]string{"controller", "--policy", none, "--store-endpoints", "http://127.0.0.1:1"}, 3, "want the policy from a file or from the store"},
		"setting out of range":    {[]string{"controller", "--placement-grace", "2h"}, 3, "--placement-grace: placement-grace"},
		"no controller":           {[]string{"status", "--admin-socket", none}, 4, "is the controller running"},
		"no switch":               {[]string{"dump-flows", "h1", "--openflow", "unix:" + none}, 4, "is ovs-vswitchd running"},
	} {
		t.Run(name, func(t *testing.T) {
			_, stderr, code := ofctl(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("exit code %d, want %d; wrote: %s; want in it: %s", code, c.code, stderr, c.says)
			}
		})
	}
	// The table names each code that the program knows.
	out, _, _ := ofctl(t, "help", "exit-codes")
	for _, c := range []int{codeOK, codeFailed, codeUsage, codeInput, codeUnreachable, codeUnhealthy, codeInterrupted} {
		if !strings.Contains(out, fmt.Sprintf("\n  %-4d ", c)) {
			t.Errorf("help exit-codes does not tell of %d:\n%s", c, out)
		}
	}
}

func TestValidate(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	out, _, _ := ofctl(t, "validate", good)
	if want := good + ": valid: 2 hosts, 2 routing domains, 2 subnets, 4 records, 0 routes\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	cmd := command("validate", "-")
	cmd.Stdin = strings.NewReader(goodPolicy)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "-: valid") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCompile(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	named, stderr, code := ofctl(t, "compile", good, "--host", "h1")
	if code != 0 || !strings.Contains(named, "[record blue/web1 10.0.1.11 VSID 5001]") || !strings.Contains(named, "classify ") {
		t.Errorf("code %d, %s\n%s", code, stderr, named)
	}
	if want := "assumed: attached to h1 are web1 at port 101, roam at port 102 (its record names no host), app1 at port 103; --attach says otherwise\n"; stderr != want {
		t.Errorf("assumed %q, want %q", stderr, want)
	}
	// Only what is attached.
	one, stderr, _ := ofctl(t, "compile", good, "--host", "h1", "--attach", "web1=5")
	if stderr != "" {
		t.Errorf("with --attach: %s", stderr)
	}
	if strings.Contains(one, "red/") || !strings.Contains(one, "in_port=5") {
		t.Errorf("%s", one)
	}
	text, _, _ := ofctl(t, "compile", good, "--host", "h1", "-o", "json", "--attach", "web1=5")
	var js []jsonFlow
	if err := json.Unmarshal([]byte(text), &js); err != nil || len(js) != strings.Count(one, "\n") {
		t.Errorf("%v: %d flows in json, %d lines", err, len(js), strings.Count(one, "\n"))
	}
	if i := slices.IndexFunc(js, func(j jsonFlow) bool { return j.VM == "web1" && j.Drop == "" }); i < 0 || js[i].Source == "" || js[i].RoutingDomain != "blue" || js[i].OwnerKind != "record" {
		t.Errorf("no owner in %s", text)
	}
	schema, _, _ := ofctl(t, "schema")
	if !json.Valid([]byte(schema)) {
		t.Error("schema prints no JSON")
	}
}

func TestCompletion(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"compile", good, "--host", ""}, "h1\nh2\n"},
		{[]string{"dump-flows", "--policy", good, ""}, "h1\nh2\n"},
		{[]string{"dump-flows", "h1", "--policy", good, "--vm", ""}, "app1\nroam\nweb1\nweb2\n"},
		{[]string{"dump-flows", "h1", "--policy", good, "--tenant", ""}, "blue\nred\n"},
		{[]string{"dump-flows", "h1", "--table", ""}, "classify\n"},
		{[]string{"status", "-o", ""}, "table\njson\n"},
	} {
		out, stderr, _ := ofctl(t, append([]string{"__complete"}, c.args...)...)
		if !strings.HasPrefix(out, c.want) {
			t.Errorf("%q: got %q %s, want %q", c.args, out, stderr, c.want)
		}
	}
	if out, _, code := ofctl(t, "completion", "bash"); code != 0 || !strings.Contains(out, "nvgre-ofctl") {
		t.Errorf("completion bash: code %d", code)
	}
}

// The whole way of an operator: controller, status, dump-flows, with and
// without the controller.
func TestOperator(t *testing.T) {
	s := ovstest.Start(t)
	dir, err := os.MkdirTemp("", "cli")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	policy := filepath.Join(dir, "policy.yaml")
	config := filepath.Join(dir, "nvgre.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(policy, goodPolicy)
	write(config, fmt.Sprintf("policy: policy.yaml\nadmin-socket: admin.sock\nlog: {format: json}\nhosts:\n  - {name: h1, ovsdb: 'unix:%s', openflow: 'unix:%s'}\n", s.DBSock(), s.MgmtSock("br-int")))

	daemon := command("controller", "--config", config)
	var log bytes.Buffer
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = daemon.Process.Kill()
			_ = daemon.Wait()
		}
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	awaitStatus := func(what string, cond func(*admin.Status) bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			st, err := admin.FetchStatus(ctx, filepath.Join(dir, "admin.sock"))
			cancel()
			if err == nil && cond(st) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain until %s: %v, %+v", what, err, st)
			}
		}
	}
	awaitStatus("the host is in sync", func(s *admin.Status) bool { return s.Ready && len(s.Hosts) == 1 })
	for _, id := range []string{"web1", "app1"} {
		if _, err := s.Vsctl(t.Context(), "add-port", "br-int", id, "--", "set", "interface", id, "type=dummy", "external_ids:iface-id="+id); err != nil {
			t.Fatal(err)
		}
	}
	awaitStatus("both VMs are installed", func(s *admin.Status) bool {
		return s.Healthy && len(s.Attachments) == 2 && s.Attachments[0].Installed && s.Attachments[1].Installed
	})
	out, stderr, code := ofctl(t, "status", "--config", config)
	if code != 0 || !strings.Contains(out, "All is well.") || !strings.Contains(out, "web1") ||
		!strings.Contains(out, "\nattached to no host: blue/web2, blue/roam\n") {
		t.Errorf("status: code %d, %s%s", code, stderr, out)
	}
	out, _, _ = ofctl(t, "status", "--config", config, "-o", "json")
	var st admin.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil || !st.Healthy {
		t.Errorf("status -o json: %v", err)
	}
	// Trouble: a policy that is refused.
	write(policy, "nonsense")
	awaitStatus("the policy is refused", func(s *admin.Status) bool { return s.Policy.Error != "" })
	if out, _, code = ofctl(t, "status", "--config", config); code != codeUnhealthy || !strings.Contains(out, "! the policy file is refused") {
		t.Errorf("status of trouble: code %d, %s", code, out)
	}
	// dump-flows works all the same, without names.
	if out, stderr, code = ofctl(t, "dump-flows", "h1", "--config", config); code != 0 || !strings.Contains(stderr, "without names") || !strings.Contains(out, "classify") {
		t.Errorf("dump-flows without a policy: code %d, %s", code, stderr)
	}
	write(policy, goodPolicy)
	var revision uint64
	awaitStatus("the policy is good again", func(s *admin.Status) bool { revision = s.Policy.Revision; return s.Healthy })
	if err := daemon.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitStatus("SIGHUP has the policy read again", func(s *admin.Status) bool { return s.Healthy && s.Policy.Revision > revision })

	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = daemon.Wait()
	if ended = true; err != nil {
		t.Errorf("the controller ended with %v", err)
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON in the log: %s", line)
		}
	}

	// Now the controller is dead, and somebody wonders at 3 a.m.
	if _, err := s.Ofctl(t.Context(), "add-flow", "br-int", "table=0,priority=9,cookie=0x99,tcp,actions=learn(table=9),normal"); err != nil {
		t.Fatal(err)
	}
	dump := func(args ...string) string {
		t.Helper()
		out, stderr, code := ofctl(t, append([]string{"dump-flows", "h1", "--config", config}, args...)...)
		if code != 0 {
			t.Fatalf("dump-flows %q: code %d: %s", args, code, stderr)
		}
		return out
	}
	all := dump()
	for _, want := range []string{"[record blue/web1 10.0.1.11 VSID 5001; 0 packets, 0 bytes]", "[record red/app1 ", "[foreign; ", "[controller; ",
		"classify 100: in_port=web1 ->", "out_port:=app1", "in_port=nvgre0"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "no longer has") {
		t.Errorf("an owner is unknown:\n%s", all)
	}
	lines := strings.Count(all, "\n")
	for _, c := range []struct {
		args     []string
		has, not string
	}{
		{[]string{"--tenant", "blue"}, "blue/web1", "red/app1"},
		{[]string{"--routing-domain", "Fabrikam"}, "red/app1", "blue/web1"},
		{[]string{"--tenant", "11111111-2222-3333-4444-000000006001"}, "red/app1", "blue/web1"},
		{[]string{"--vm", "web1"}, "blue/web1", "app1"},
		{[]string{"--table", "classify"}, "classify ", "ca "},
		{[]string{"--table", "20"}, "ca ", "classify "},
		{[]string{"--drops"}, "drop (", "goto"},
		{[]string{"--foreign"}, "[foreign", "[pipeline"},
		{[]string{"-o", "ovs", "--table", "classify"}, "actions=", "["},
	} {
		got := dump(c.args...)
		if !strings.Contains(got, c.has) || strings.Contains(got, c.not) || strings.Count(got, "\n") >= lines {
			t.Errorf("%q: want %q and not %q in\n%s", c.args, c.has, c.not, got)
		}
	}
	var js []jsonFlow
	if err := json.Unmarshal([]byte(dump("-o", "json", "--foreign")), &js); err != nil || len(js) != 1 || !js[0].Foreign || js[0].Unknown == "" || js[0].Packets == nil {
		t.Errorf("%v: %+v", err, js)
	}
	// What -o ovs prints, ovs-ofctl takes.
	ovs := filepath.Join(dir, "flows.txt")
	write(ovs, dump("-o", "ovs"))
	if _, err := s.Ofctl(t.Context(), "parse-flows", ovs); err != nil {
		t.Error(err)
	}
	// With OVSDB out of reach there are numbers.
	dead := filepath.Join(dir, "dead.yaml")
	write(dead, fmt.Sprintf("policy: policy.yaml\nhosts:\n  - {name: h1, ovsdb: 'unix:%s', openflow: 'unix:%s'}\n", filepath.Join(dir, "none"), s.MgmtSock("br-int")))
	if out, stderr, code := ofctl(t, "dump-flows", "h1", "--config", dead, "--vm", "web1"); code != 0 || !strings.Contains(out, "classify 100: in_port=") || strings.Contains(out, "in_port=web1") {
		t.Errorf("without OVSDB: code %d, %s%s", code, stderr, out)
	}
	// The command is told by nothing but an address.
	if out, _, code := ofctl(t, "dump-flows", "any", "--openflow", "unix:"+s.MgmtSock("br-int")); code != 0 || strings.Count(out, "\n") != lines {
		t.Errorf("--openflow: code %d, %d lines, want %d", code, strings.Count(out, "\n"), lines)
	}
}

func TestInterrupt(t *testing.T) {
	s := ovstest.Start(t)
	if _, err := s.Vsctl(t.Context(), "add-br", "br-int"); err != nil {
		t.Fatal(err)
	}
	if err := s.StopOVSDB(); err != nil { // without it ovs-vswitchd answers no OpenFlow
		t.Fatal(err)
	}
	cmd := command("dump-flows", "h1", "--openflow", "unix:"+s.MgmtSock("br-int"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Interrupt it when it waits for the switch: it holds a socket then.
	waiting := func() bool {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid))
		return slices.ContainsFunc(fds, func(e os.DirEntry) bool {
			to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", cmd.Process.Pid, e.Name()))
			return strings.HasPrefix(to, "socket:")
		})
	}
	for deadline := time.Now().Add(10 * time.Second); !waiting() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	start := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != codeInterrupted || time.Since(start) > 3*time.Second {
		t.Errorf("exit code %d after %s", code, time.Since(start))
	}
}
