package flows_test

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// What a policy asks for and nothing is done about is said, on the hosts that it
// concerns.
func TestWhatIsLackingIsSaid(t *testing.T) {
	p, err := policyfile.Parse("p.yaml", []byte(`
version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
routing_domains:
  - rdid: 22222222-0000-0000-0000-000000000001
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: a, mac: 02:00:00:00:00:01, host: h1, type: dynamic}
          - {vm: b, ca: 10.0.1.2, mac: 02:00:00:00:00:02, host: h1, use_vm_mac: true, vlans: [7]}
          - {vm: c, ca: 10.0.1.3, mac: 02:00:00:00:00:03, host: h2}
      - vsid: 5002
        prefixes: [10.0.2.0/24]
        multicast: {mode: group, group: 239.1.1.1}
        records:
          - {vm: d, ca: 10.0.2.2, mac: 02:00:00:00:00:04, host: h1}
`), 1)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string][]string{
		"h1": {"type dynamic", "use_vm_mac", "vlans", "multicast mode group"},
		"h2": {"multicast mode group"},
	} {
		var got []string
		for _, p := range flows.Compile(p, flows.Placement{}, flows.PlannedView(p, flows.Placement{}, host)).Problems {
			got = append(got, p.Text)
		}
		all := strings.Join(got, "\n")
		for _, w := range want {
			if strings.Count(all, w) != 1 {
				t.Errorf("host %s: %q is not said once in:\n%s", host, w, all)
			}
		}
		if len(got) != len(want) {
			t.Errorf("host %s: %d problems:\n%s", host, len(got), all)
		}
	}
}
