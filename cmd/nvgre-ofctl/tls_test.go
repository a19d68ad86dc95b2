package main

import (
	"bufio"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
)

// Every client command does over TLS what it does over the socket.
func TestClientsOverTLS(t *testing.T) {
	t.Setenv("NVGRE_API_SOCKET", "/nowhere/api.sock")
	b := apitest.New()
	b.SetStatus(admin.Status{Name: "c1", Policy: admin.Policy{Revision: 4},
		Hosts:       []admin.Host{{Name: "h1", InSync: true, RevisionWanted: 4, RevisionInstalled: 4, OVSDB: admin.Channel{Connected: true}, OpenFlow: admin.Channel{Connected: true}}},
		Attachments: []admin.Attachment{{Host: "h1", IfaceID: "web1", Interface: "tap1", VM: "web1", RoutingDomain: "blue", CA: "10.0.1.11", VSID: 5001, Installed: true}}})
	dir, address := serveTLS(t, b)
	identity := func(ca, name string) []string {
		return []string{"--api", address, "--tls-ca", filepath.Join(dir, ca+".pem"), "--tls-certificate", filepath.Join(dir, name+".pem"), "--tls-private-key", filepath.Join(dir, name+".key")}
	}
	good := file(t, "good.yaml", goodPolicy)
	// Those that work with switches besides are in TestPolicyFromTheAPI.
	tried := []string{"verify", "trace", "drops", "explain", "ping"}
	do := func(code int, command string, texts ...string) {
		t.Helper()
		args := words(command)
		tried = append(tried, args[0])
		mustRun(t, code, append(args, identity("ca", "c")...), texts...)
	}
	do(1, "diff -f "+good, "+ hosts/h1 {")
	do(0, "apply -f "+good+" --dry-run", "dry run: 10 changes")
	do(0, "apply -f "+good+" -m first", "revision 4: 10 changes")
	do(0, "delete records/5001/10.0.1.12", "deleted  records/5001/10.0.1.12")
	do(1, "diff --from 4", "- records/5001/10.0.1.12")
	do(0, "rollback --to 4", "created  records/5001/10.0.1.12")
	do(0, "history record 10.0.1.12 --routing-domain blue", "web2", "(nobody)")
	do(0, "history hosts/h1", `{"name":"h1"`)
	do(0, "get hosts", "h1", "10.99.0.1")
	do(0, "get routing-domains", "blue", "Contoso")
	do(0, "get subnets", "5001")
	do(0, "get records -o wide", "web1", "IFACE-ID")
	do(0, "get routes") // there are none
	do(0, "get attachments -o wide", "tap1")
	do(0, "get status", "All is well.")
	do(0, "get status h1", "in sync")
	do(0, "get revisions -o json", `"author": "c"`) // the certificate's name
	do(0, "get records --revision 4 -o name", "records/5001/10.0.1.12")
	do(0, "wait --installed web1", "web1 is installed")
	do(5, "wait --installed web2 --timeout 100ms", "is the VM running")

	tried = append(tried, "watch")
	cmd := command(append([]string{"watch", "--from", "1"}, identity("ca", "c")...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.Contains(lines.Text(), "revision 4, 10 changes by c: first") {
		t.Errorf("watch: %q", lines.Text())
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed

	// Who is nobody's friend is told what is wanted.
	for _, args := range [][]string{identity("c", "c"), identity("ca", "ca")[:3]} {
		_, errs, code := ofctl(t, append([]string{"get", "hosts"}, args...)...)
		if code != codeUnreachable && code != codeUsage || !strings.Contains(errs, "--tls-c") {
			t.Errorf("%v: code %d: %s", args, code, errs)
		}
	}

	var look func(*cobra.Command)
	look = func(c *cobra.Command) {
		if c.Flags().Lookup("api") != nil && !slices.Contains(tried, c.Name()) {
			t.Errorf("%s takes --api, and nothing tries it", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRoot("test"))
}
