package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// serveAPI serves the API of a backend in memory, where commands find it.
func serveAPI(t *testing.T) *apitest.Backend {
	t.Helper()
	dir, err := os.MkdirTemp("", "cli") // short enough for unix(7)
	if err != nil {
		t.Fatal(err)
	}
	b := apitest.New()
	socket := filepath.Join(dir, "api.sock")
	s, err := api.Listen(api.Options{Socket: socket}, b, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	t.Setenv("NVGRE_API_SOCKET", socket)
	return b
}

// run runs a command that must end with a code, and returns all that it wrote,
// which must have the texts.
func mustRun(t *testing.T, code int, args []string, texts ...string) string {
	t.Helper()
	out, errs, got := ofctl(t, args...)
	if got != code {
		t.Errorf("%v: exit code %d, want %d: %s%s", args, got, code, out, errs)
	}
	for _, want := range texts {
		if !strings.Contains(out+errs, want) {
			t.Errorf("%v: no %q in:\n%s%s", args, want, out, errs)
		}
	}
	return out
}

func words(s string) []string { return strings.Fields(s) }

func TestApplyDiffDelete(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	mustRun(t, 1, []string{"diff", "-f", good}, "+ hosts/h1 {", `+ records/5001/10.0.1.11 {"vsid":5001,"ca":"10.0.1.11","vm":"web1"`)
	mustRun(t, 0, []string{"apply", "-f", good, "--dry-run"}, "created  hosts/h1", "dry run: 10 changes")
	if b.Policy().NumRecords() != 0 {
		t.Fatal("a dry run stored something")
	}
	mustRun(t, 0, []string{"apply", "-f", good, "-m", "the first"}, "created  records/6001/10.0.1.11", "revision 4: 10 changes")
	mustRun(t, 0, []string{"apply", "-f", good}, "nothing to change: revision 4")
	mustRun(t, 0, []string{"diff", "-f", good, "--replace"})

	less := file(t, "less.yaml", strings.Replace(strings.Replace(goodPolicy, "02:b0:00:00:01:12, host: h2", "02:b0:00:00:01:44, host: h2", 1),
		"          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}\n", "", 1))
	mustRun(t, 1, []string{"diff", "-f", less}, `~ records/5001/10.0.1.12 {"vsid":5001,"ca":"10.0.1.12","vm":"web2","mac":"02:b0:00:00:01:12"`, "02:b0:00:00:01:44")
	if out := mustRun(t, 1, []string{"diff", "-f", less, "--replace", "-o", "json"}); strings.Count(out, `"op"`) != 2 || !strings.Contains(out, `"op": "delete"`) {
		t.Error(out)
	}
	mustRun(t, 1, []string{"apply", "-f", less, "--replace", "--if-revision", "1"}, "in force is 4", "nvgre-ofctl diff")
	mustRun(t, 0, []string{"apply", "-f", less, "--replace", "--if-revision", "4"}, "changed  records/5001/10.0.1.12", "deleted  records/5001/10.0.1.13")
	mustRun(t, 0, []string{"delete", "records/5001/10.0.1.12", "records/5001/10.0.1.99"}, "deleted  records/5001/10.0.1.12", "1 change\n")
	mustRun(t, 3, []string{"delete", "subnets/5001"}, "subnets/5001: still has 1 record")
	mustRun(t, 1, []string{"diff", "--from", "4"}, "- records/5001/10.0.1.12", "- records/5001/10.0.1.13")
	mustRun(t, 0, []string{"diff", "--from", "10", "--to", "10"})
	mustRun(t, 0, []string{"rollback", "--to", "4", "-m", "back"}, "created  records/5001/10.0.1.13")
	if !b.Policy().Equal(must(b.PolicyAt(t.Context(), store.At{Revision: 4}))) {
		t.Error("a rollback does not return to what was")
	}
	mustRun(t, 0, []string{"delete", "-f", good}, "deleted  routing-domains/")
	mustRun(t, 0, []string{"get", "revisions"}, "REVISION", "the first", "back")
	if out := mustRun(t, 0, []string{"get", "revisions", "-o", "name", "--limit", "2"}); out != "16\n13\n" {
		t.Errorf("%q", out)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// What the controller refuses is said with the place in the file.
func TestApplyRefused(t *testing.T) {
	b := serveAPI(t)
	good := file(t, "good.yaml", goodPolicy)
	mustRun(t, 0, []string{"apply", "-f", good})
	// Valid by itself, but its VMs have what others have.
	clash := file(t, "clash.yaml", `version: 1
hosts: []
routing_domains:
  - rdid: "{11111111-2222-3333-4444-000000007001}"
    name: green
    subnets:
      - vsid: 7001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11}
          - {vm: web2, ca: 10.0.1.12, mac: 02:b0:00:00:01:12}
`)
	mustRun(t, 3, []string{"apply", "-f", clash}, "clash.yaml:10:", "records/7001/10.0.1.11/iface_id: iface-id \"web1\"", "clash.yaml:11:", "nothing was stored")
	mustRun(t, 3, []string{"apply", "-f", file(t, "bad.yaml", "version: 1\nhots: []\n")}, "bad.yaml:2:1")
	mustRun(t, 2, []string{"apply"}, "-f is missing")
	mustRun(t, 2, []string{"apply", "-f", good, "-o", "xml"}, "want table, json")
	mustRun(t, 2, []string{"delete"}, "either keys of objects, or -f FILE")
	mustRun(t, 2, []string{"delete", "vms/5"}, "is no kind of object")
	mustRun(t, 2, []string{"diff", "-f", good, "--from", "3"}, "either -f FILE")
	mustRun(t, 2, []string{"rollback"}, "either --to")
	mustRun(t, 1, []string{"rollback", "--to", "999"}, "no such revision")
	b.Fail(store.ErrReadOnly)
	mustRun(t, 1, []string{"delete", "records/5001/10.0.1.11"}, store.ErrReadOnly.Error())
	mustRun(t, 1, []string{"diff", "-f", clash, "--replace"}, "- hosts/h1") // reading needs no leave
	b.Fail(store.ErrUnavailable)
	mustRun(t, 4, []string{"delete", "records/5001/10.0.1.11"}, store.ErrUnavailable.Error())
	b.Fail(nil)
	b.Compact(4)
	mustRun(t, 1, []string{"get", "hosts", "--revision", "2"}, "no longer kept", "get revisions")
	t.Setenv("NVGRE_API_SOCKET", filepath.Join(t.TempDir(), "none.sock"))
	for _, args := range []string{"get hosts", "apply -f " + good, "diff -f " + good, "watch", "wait --installed web1"} {
		mustRun(t, 4, words(args), "none.sock", "is the controller running (nvgre-ofctl controller)")
	}
	mustRun(t, 2, words("get hosts --api localhost:1"), "--tls-ca")
}

func TestGet(t *testing.T) {
	b := serveAPI(t)
	mustRun(t, 0, []string{"apply", "-f", file(t, "good.yaml", goodPolicy)})
	for args, want := range map[string][]string{
		"get records": {"ROUTING DOMAIN  VSID  CA         VM    MAC                HOST", "blue            5001  10.0.1.12  web2  02:b0:00:00:01:12  h2", "roam  02:b0:00:00:01:13  -"},
		"get records --routing-domain red -o wide":   {"IFACE-ID", "app1"},
		"get records -o name --vsid 5001 --host h2":  {"records/5001/10.0.1.12\n"},
		"get records web2 -o name":                   {"records/5001/10.0.1.12\n"},
		"get record 5001/10.0.1.13 -o name":          {"records/5001/10.0.1.13\n"},
		"get records records/5001/10.0.1.13 -o name": {"records/5001/10.0.1.13\n"},
		"get records 10.0.1.11 -o name":              {"records/5001/10.0.1.11\nrecords/6001/10.0.1.11\n"},
		"get records --ca 10.0.1.12/31 -o name":      {"records/5001/10.0.1.12\nrecords/5001/10.0.1.13\n"},
		"get records web2 -o yaml":                   {"items:\n", "key: records/5001/10.0.1.12\n", "mac: 02:b0:00:00:01:12\n", "vsid: 5001\n"},
		"get subnets":                                {"blue            5001  5001  10.0.1.0/24"},
		"get subnets 6001 -o wide":                   {"10.0.1.1"},
		"get rd blue":                                {"11111111-2222-3333-4444-000000005001  Contoso"},
		"get routing-domains --customer Fabrikam":    {"red"},
		"get hosts h2":                               {"10.99.0.2"},
		"get policy":                                 {"version: 1", "{vm: web2, ca: 10.0.1.12"},
		"get hosts --at -1m":                         {"h1"},
		"get hosts --revision 4 -o name":             {"hosts/h1\nhosts/h2\n"},
	} {
		mustRun(t, 0, words(args), want...)
	}
	if out := mustRun(t, 0, words("get routes -o json")); !strings.Contains(out, `"items": []`) {
		t.Error(out)
	}
	mustRun(t, 2, words("get vms"), `"vms" is nothing to get: want one of records, subnets`)
	mustRun(t, 2, words("get hosts --vsid 5"), "--vsid is not for hosts")
	mustRun(t, 2, words("get"), "get wants a kind")
	mustRun(t, 2, []string{"get", "hosts", "--at", "yesterday"}, "want a time such as")
	mustRun(t, 1, words("get records web9"), "there is no record web9")
	mustRun(t, 3, words("get records --routing-domain green"), "green")
	out := mustRun(t, 0, words("get policy"))
	if p, err := loadText(out); err != nil || !p.Equal(b.Policy()) {
		t.Errorf("get policy: %v\n%s", err, out)
	}
	for args, want := range map[string]string{
		"get ":                          "records\nsubnets\n",
		"get hosts ":                    "h1\nh2\n",
		"get records --routing-domain ": "blue\nred\n",
		"delete records/5001/":          "records/5001/10.0.1.11\n",
	} {
		if out, _, _ := ofctl(t, append([]string{"__complete"}, strings.Split(args, " ")...)...); !strings.Contains(out, want) {
			t.Errorf("completion of %q: %s", args, out)
		}
	}
}

func loadText(text string) (*tenant.Policy, error) {
	cmd := validateCmd()
	cmd.SetIn(strings.NewReader(text))
	return loadPolicy(cmd, "-")
}

func status(installed bool) admin.Status {
	up := admin.Channel{Address: "unix:/x", Connected: true}
	return admin.Status{Policy: admin.Policy{Revision: 4}, Started: time.Now(),
		Hosts:       []admin.Host{{Name: "h1", OVSDB: up, OpenFlow: up, InSync: installed, RevisionWanted: 4, RevisionInstalled: 3}},
		Attachments: []admin.Attachment{{Host: "h1", IfaceID: "web1", Interface: "vnet0", OFPort: 5, RoutingDomain: "blue", VM: "web1", CA: "10.0.1.11", VSID: 5001, Installed: installed}}}
}

func TestStatusAndWait(t *testing.T) {
	b := serveAPI(t)
	b.SetStatus(status(false))
	mustRun(t, 5, words("get status"), "h1", "revision 4 is on its way")
	mustRun(t, 5, words("get status h1"), "4 wanted, 3 installed")
	mustRun(t, 1, words("get status h9"), "h9")
	mustRun(t, 0, words("get attachments"), "web1  blue            10.0.1.11  5001  h1    NO")
	mustRun(t, 0, words("get attachments web1 -o wide --routing-domain blue"), "vnet0")
	mustRun(t, 1, words("get attachments web9"), "iface-id")
	mustRun(t, 5, words("wait --installed web1 --timeout 100ms"), "web1 is not installed after 100ms: its flows are not in place")
	mustRun(t, 5, words("wait --installed web9 --timeout 50ms"), "no port with its iface-id")
	mustRun(t, 2, words("wait"), "--installed is missing")

	cmd := command("wait", "--installed", "web1", "--routing-domain", "blue")
	out := new(strings.Builder)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.SetStatus(status(true))
	if err := cmd.Wait(); err != nil || out.String() != "web1 is installed\n" {
		t.Errorf("%v: %s", err, out)
	}
	mustRun(t, 0, words("get status"), "All is well")
	mustRun(t, 0, words("get status h1 -o yaml"), "name: h1\n", "in_sync: true\n")
}

func TestHistory(t *testing.T) {
	b := serveAPI(t)
	mustRun(t, 0, []string{"apply", "-f", file(t, "good.yaml", goodPolicy), "-m", "the first"})
	mustRun(t, 0, []string{"delete", "records/5001/10.0.1.11", "-m", "web1 moves out"})
	changes := []tenant.Change{tenant.Put(tenant.RecordObject{VSID: 5001, CA: must(tenant.ParseCA("10.0.1.11")), VM: "web7", MAC: must(tenant.ParseMAC("02:b0:00:00:01:77")), PA: must(tenant.ParsePA("10.99.0.2"))})}
	if _, err := b.Apply(t.Context(), changes, store.ApplyOptions{Author: "orchestrator"}); err != nil {
		t.Fatal(err)
	}
	out := mustRun(t, 0, words("history record 10.0.1.11 --routing-domain blue"), "web7", "at 10.99.0.2", "orchestrator", "(nobody)", "web1 moves out", "web1", "h1", "the first")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 4 || !strings.Contains(lines[1], "now") || strings.Contains(out, "app1") {
		t.Error(out)
	}
	mustRun(t, 0, words("history hosts/h1"), `{"name":"h1"`)
	mustRun(t, 0, words("history hosts/h9"), "nothing is known")
	mustRun(t, 2, words("history record 10.0.1.11"), "--routing-domain is missing")
	mustRun(t, 2, words("history"), "history wants")
	mustRun(t, 3, words("history vms/1"), "no kind of object")
}

func TestWatchCommand(t *testing.T) {
	b := serveAPI(t)
	cmd := command("watch", "-o", "json")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.Contains(line, "watching from revision 1") {
		t.Fatalf("%v: %s", err, line)
	}
	if _, err := b.Apply(t.Context(), []tenant.Change{tenant.Put(tenant.HostObject{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA("10.99.0.1"))}}})}, store.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(pipe).ReadString('\n')
	var e api.Event
	if err != nil || json.Unmarshal([]byte(line), &e) != nil || e.Revision != 4 || len(e.Effective) != 1 || e.Effective[0].Key != "hosts/h1" {
		t.Errorf("%v: %s", err, line)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != codeInterrupted {
		t.Errorf("exit code %d: %v", cmd.ProcessState.ExitCode(), err)
	}
}

// A large apply goes through, and is not listed line by line.
func TestLargeApply(t *testing.T) {
	b := serveAPI(t)
	const n = 20000
	var text strings.Builder
	text.WriteString("version: 1\nhosts: []\nrouting_domains:\n  - rdid: \"{11111111-2222-3333-4444-000000005001}\"\n    subnets:\n      - vsid: 5001\n        prefixes: [10.0.0.0/16]\n        records:\n")
	for i := range n {
		fmt.Fprintf(&text, "          - {vm: v%d, ca: 10.0.%d.%d, mac: 02:b0:00:00:%02x:%02x}\n", i, 1+i/200, 1+i%200, i>>8, i&255)
	}
	large := file(t, "large.yaml", text.String())
	mustRun(t, 0, []string{"apply", "-f", large}, fmt.Sprintf("created  %d records", n), fmt.Sprintf("%d changes", n+2))
	if b.Policy().NumRecords() != n {
		t.Error(b.Policy().NumRecords())
	}
	if out := mustRun(t, 0, words("get records -o name")); strings.Count(out, "\n") != n {
		t.Error(strings.Count(out, "\n"))
	}
	b.Slow(func(context.Context, store.ApplyOptions) error { return errors.New("etcd says no") })
	mustRun(t, 1, []string{"delete", "-f", large}, "etcd says no")
}
