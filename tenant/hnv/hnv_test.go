package hnv_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/hnv"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden compares the policy and the notes of each script in testdata.
func TestGolden(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.ps1")
	if err != nil || len(scripts) < 2 {
		t.Fatal(scripts, err)
	}
	for _, file := range scripts {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, notes, err := hnv.Import(filepath.Base(file), data, hnv.Options{})
			var got strings.Builder
			for _, n := range notes {
				got.WriteString("# " + n.String() + "\n")
			}
			if err != nil {
				got.WriteString("error:\n" + err.Error() + "\n")
			} else {
				out, err := policyfile.Marshal(p)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(out)
			}
			golden := strings.TrimSuffix(file, ".ps1") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got.String() != string(want) {
				t.Errorf("%v: got\n%swant\n%s", err, got.String(), want)
			}
		})
	}
}

// TestSampleNetwork checks that the script of the sample network gives the network
// that the testbed has, fact by fact; a script has no names for routing domains.
func TestSampleNetwork(t *testing.T) {
	data, err := os.ReadFile("testdata/two-node.ps1")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := hnv.Import("two-node.ps1", data, hnv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := policyfile.Load("../../testbed/examples/hnv-blue-red.policy.yaml", 0)
	if err != nil {
		t.Fatal(err)
	}
	facts := func(p *tenant.Policy) []tenant.LookupRecord {
		var out []tenant.LookupRecord
		for r := range p.Records() {
			r.Source, r.Customer = tenant.Position{}, ""
			out = append(out, r)
		}
		return out
	}
	if !reflect.DeepEqual(facts(got), facts(want)) {
		t.Errorf("got %v, want %v", facts(got), facts(want))
	}
	for s := range want.Subnets() {
		g, ok := got.Subnet(s.VSID)
		if !ok || g.RDID != s.RDID || !slices.Equal(g.Prefixes, s.Prefixes) || !slices.Equal(g.Gateways, s.Gateways) {
			t.Errorf("subnet %v, want %v", g, s)
		}
	}
	for h := range want.Hosts() {
		if g, ok := got.Host(h.Name); !ok || !slices.Equal(g.ProviderAddresses, h.ProviderAddresses) {
			t.Errorf("host %v, want %v", g, h)
		}
	}
}

// TestPlaces checks that problems of meaning stand at their commands.
func TestPlaces(t *testing.T) {
	const route = "New-NetVirtualizationCustomerRoute -RoutingDomainID 11111111-2222-3333-4444-000000005001 -VirtualSubnetID 5001 -DestinationPrefix 10.0.0.0/24 -NextHop 0.0.0.0\n"
	const pa = "New-NetVirtualizationProviderAddress -InterfaceIndex 3 -PrefixLength 24 -ProviderAddress 192.168.4.11\n"
	record := func(ca, mac string) string {
		return "New-NetVirtualizationLookupRecord -VirtualSubnetID 5001 -CustomerAddress " + ca + " -MACAddress " + mac + " -ProviderAddress 192.168.4.11 -Rule TranslationMethodEncap\n"
	}
	for name, c := range map[string]struct{ script, want string }{
		"a CA outside":        {route + pa + record("10.9.0.5", "020000000005"), "x.ps1:3:1: ca CA 10.9.0.5 is outside"},
		"a bad MAC":           {record("10.0.0.5", "02000000000g"), "x.ps1:1:83: -macaddress: MAC \"02000000000g\""},
		"two MACs":            {route + pa + record("10.0.0.5", "020000000005") + record("10.0.0.5", "020000000006"), "x.ps1:4:1: this lookup record is there already with another -macaddress: want it the same on every host (see x.ps1:3:1)"},
		"no route":            {pa + record("10.0.0.5", "020000000005"), "x.ps1:2:1: VSID 5001 has no customer route"},
		"two routing domains": {route + strings.ReplaceAll(route, "05001 -V", "05002 -V"), "x.ps1:2:1: VSID 5001 is in routing domain"},
		"a reserved VSID":     {strings.ReplaceAll(route, "ID 5001", "ID 50"), "x.ps1:1:1: vsid VSID 50 is reserved"},
		"a missing parameter": {"New-NetVirtualizationLookupRecord -CustomerAddress 10.0.0.5", "wants -virtualsubnetid, -macaddress, -provideraddress, -rule"},
		"no such parameter":   {"New-NetVirtualizationCustomerRoute -Gateway 1.2.3.4", "there is no parameter -gateway"},
		"a string":            {"$a = 1\n$b = \"abc\n\n", "x.ps1:2:6: the string has no end"},
		"a brace":             {"foreach ($a in 1,2) {\n", "x.ps1:2:1: the script ends inside a block"},
		"a bracket":           {"$a = (1 + 2\n$b = )\n", "x.ps1:1:6: '(' is never closed"},
		"a comment":           {"<# no end", "x.ps1:1:1: the comment <# has no end"},
		"an endless loop":     {"while ($true) { $a = 1 }", "takes more steps than are allowed"},
		"a gateway MAC":       {route + pa + record("10.0.0.1", "020000000005") + record("10.0.0.5", "020000000005"), "x.ps1:4:1: mac MAC 02:00:00:00:00:05 is the gateway's"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, err := hnv.Import("x.ps1", []byte(c.script), hnv.Options{})
			var e *hnv.Error
			if p != nil || !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("policy %v, error %v\nwant %s", p, err, c.want)
			}
		})
	}
}
