package main

import (
	"os"
	"strings"
	"testing"
)

// Where the policy is in the store, the commands get it from the API, and objects
// have keys for places.
func TestPolicyFromTheAPI(t *testing.T) {
	n := newRealNetwork(t, goodPolicy, map[string][]string{"h1": {"web1", "app1", "roam"}, "h2": {"web2"}})
	n.end()
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	_, hosts, _ := strings.Cut(string(text), "\n") // without the policy
	n.config = file(t, "store.yaml", hosts)
	n.says(codeUnreachable, []string{"verify"}, "the policy in force is that of the controller's API")
	n.says(0, []string{"dump-flows", "h1"}, "owners are shown without names", "classify 100: ")

	serveAPI(t)
	mustRun(t, 0, []string{"apply", "-f", n.policy, "-m", "the first"})
	n.says(0, []string{"verify"}, "proved: 2 hosts, 4 VMs, ")
	n.says(0, []string{"dump-flows", "h1", "--vm", "web1"}, "record blue/web1 10.0.1.11")
	n.says(0, []string{"trace", "blue/web1", "web2", "--live"}, "intended  yes", "of record blue/web1 10.0.1.11 VSID 5001, records/5001/10.0.1.11",
		"of subnet blue/5001 VSID 5001, subnets/5001", "of host h2, hosts/h2")
	n.says(0, []string{"drops"}, "dropped")
	n.says(0, []string{"explain", "unknown-ca"}, "drop      unknown-ca")
}
