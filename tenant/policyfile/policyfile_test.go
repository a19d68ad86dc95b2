package policyfile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func TestLoad(t *testing.T) {
	p, err := policyfile.Load("testdata/policy.yaml", 42)
	if err != nil {
		t.Fatal(err)
	}
	if p.Revision() != 42 || p.NumRecords() != 4 {
		t.Errorf("revision %d, %d records, want 42 and 4", p.Revision(), p.NumRecords())
	}
	r, ok := p.RecordByIfaceID("db1")
	want := tenant.LookupRecord{VSID: 5002, VM: "db1", IfaceID: "db1", Customer: "Contoso", Host: "h2",
		MAC:    tenant.MAC{0x02, 0xb0, 0, 0, 0x02, 0x11},
		Source: tenant.Position{File: "testdata/policy.yaml", Line: 26, Column: 13}}
	want.RDID, _ = tenant.ParseRDID("11111111-2222-3333-4444-000000005001")
	want.CA, _ = tenant.ParseCA("10.0.2.11")
	if !ok || !reflect.DeepEqual(r, want) {
		t.Errorf("record db1 is\n%+v, want\n%+v", r, want)
	}
	if r, _ := p.RecordByIfaceID("blue-web2"); r.Host != "h2" {
		t.Errorf("the record with pa 10.99.0.2 is on host %q, want h2", r.Host)
	}
	s, _ := p.Subnet(5002)
	if got := fmt.Sprint(s.Name, s.Gateways, s.Source); got != "db[10.0.2.1 10.0.3.1] testdata/policy.yaml:22:9" {
		t.Error(got)
	}
	s, _ = p.Subnet(6001)
	if s.Name != "6001" {
		t.Errorf("the subnet without a name is called %q, want 6001", s.Name)
	}
}

// TestHyperVSample reads the published sample network: its on-link routes are
// the prefixes of the subnets.
func TestHyperVSample(t *testing.T) {
	p, err := policyfile.Load("testdata/hnv-blue-red.yaml", 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := range p.Records() {
		d, _ := p.RoutingDomain(r.RDID)
		h, _ := p.Host(r.Host)
		got = append(got, fmt.Sprintf("%s %d %s %s %s %s", d.Name, r.VSID, r.VM, r.CA, r.MAC, h.ProviderAddresses[0].PA))
	}
	want := []string{
		"Blue 5001 Blue1 10.0.0.5 06:06:00:00:00:05 192.168.4.11",
		"Blue 5001 Blue2 10.0.0.7 06:06:00:00:00:07 192.168.4.22",
		"Red 6001 Red1 10.0.0.5 08:08:00:00:00:05 192.168.4.11",
		"Red 6001 Red2 10.0.0.7 08:08:00:00:00:07 192.168.4.22",
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := policyfile.Load(filepath.Join(dir, "none.yaml"), 1)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := policyfile.Load(dir, 1); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, policyfile.MaxSize+1); err != nil { // sparse
		t.Fatal(err)
	}
	var e *policyfile.Error
	_, err = policyfile.Load(big, 1)
	if !errors.As(err, &e) || e.Error() != big+":1:1: the file is larger than 128 MiB: want a policy file" {
		t.Errorf("a file that is too large: %.200v", err)
	}
}

func TestAliases(t *testing.T) {
	const data = `version: 1
hosts:
  - {name: &n h1, provider_addresses: &pas [10.99.0.1]}
routing_domains:
  - rdid: 11111111-2222-3333-4444-000000005001
    subnets: &subnets
      - vsid: 5001
        prefixes: &p [10.0.1.0/24]
        records: [{vm: a, ca: 10.0.1.2, mac: 02:00:00:00:00:01, host: *n}]
  - rdid: 11111111-2222-3333-4444-000000006001
    subnets: [{vsid: &v 6001, prefixes: *p}]
`
	p, err := policyfile.Parse("p.yaml", []byte(data), 1)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := p.Subnet(6001); len(s.Prefixes) != 1 || s.Prefixes[0].String() != "10.0.1.0/24" {
		t.Errorf("prefixes by alias: %v", s.Prefixes)
	}

	// A value that is wrong through an alias is reported where the value is.
	_, err = policyfile.Parse("p.yaml", []byte(strings.Replace(data, "vsid: &v 6001, prefixes: *p", "vsid: 5001, prefixes: *n", 1)), 1)
	want := `p.yaml:3:12: routing_domains[1].subnets[0].prefixes: is the single value h1: want a list of prefixes, such as [10.0.1.0/24]
p.yaml:11:22: routing_domains[1].subnets[0].vsid: VSID 5001 is given twice: want a VSID of its own for each subnet of the policy (see p.yaml:7:15)`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestAliasBomb reads a small file that aliases would make a large policy.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nrouting_domains:\n  - &d\n    subnets: &s\n      - records: &r\n")
	for range 1000 {
		b.WriteString("          - {vm: a}\n")
	}
	for range 1000 {
		b.WriteString("      - {records: *r}\n")
	}
	for range 1000 {
		b.WriteString("  - *d\n")
	}
	_, err := policyfile.Parse("p.yaml", []byte(b.String()), 1)
	var e *policyfile.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	said := 0
	for _, p := range e.Problems {
		if strings.HasPrefix(p.Message, "aliases repeat more than 100000 values") {
			said++
		}
	}
	if said != 1 || len(e.Problems) > 300_000 {
		t.Errorf("%d problems, %d of them about the aliases, want 1", len(e.Problems), said)
	}
}

// TestDeepNesting checks that nesting ends in an error and not in the stack.
func TestDeepNesting(t *testing.T) {
	for _, data := range []string{
		strings.Repeat("[", 200_000),
		strings.Repeat("{a: ", 200_000),
		strings.Repeat("- ", 200_000),
	} {
		if _, err := policyfile.Parse("p.yaml", []byte(data), 1); err == nil {
			t.Errorf("%.20q is a policy", data)
		}
	}
}

func TestMarshal(t *testing.T) {
	for _, f := range []string{"testdata/policy.yaml", "testdata/hnv-blue-red.yaml"} {
		p, err := policyfile.Load(f, 1)
		if err != nil {
			t.Fatal(err)
		}
		data, err := policyfile.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := policyfile.Parse("out.yaml", data, 1)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !p.Equal(q) {
			t.Errorf("%s does not survive Marshal:\n%s", f, data)
		}
	}
}
