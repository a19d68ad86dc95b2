package impact_test

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// A wildcard that comes makes the addresses that no record has reachable, and one
// that moves changes the way there, whether or not its VM has an address too.
func TestWildcard(t *testing.T) {
	const head = "version: 1\nhosts:\n  - {name: h1, provider_addresses: [10.99.0.1]}\n  - {name: h2, provider_addresses: [10.99.0.2]}\n" +
		"routing_domains:\n  - rdid: \"{11111111-2222-3333-4444-000000005001}\"\n    name: shop\n    subnets:\n      - name: web\n        vsid: 5001\n        prefixes: [10.0.1.0/24]\n        records:\n" +
		"          - {vm: web1, ca: 10.0.1.11, mac: 02-b0-00-00-01-11, host: h1}\n"
	const gw = "          - {vm: gw, ca: 0.0.0.0, type: wildcard, mac: 02-b0-00-00-01-12, host: h1}\n"
	state := func(text string) impact.State {
		p, err := policyfile.Parse("policy.yaml", []byte(text), 1)
		if err != nil {
			t.Fatal(err)
		}
		return impact.Planned(p)
	}
	none, here, there := state(head), state(head+gw), state(head+strings.Replace(gw, "h1", "h2", 1))
	for _, c := range []struct {
		name          string
		before, after impact.State
		want          impact.Counts
	}{
		{"comes", none, here, impact.Counts{Gained: 1}},
		{"moves", here, there, impact.Counts{Changed: 1, Path: 1}},
		{"goes", there, none, impact.Counts{Lost: 1}},
	} {
		if got := impact.Between(c.before, c.after, impact.Options{Max: 10}).Others; got != c.want {
			t.Errorf("it %s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
