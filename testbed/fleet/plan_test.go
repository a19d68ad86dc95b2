package fleet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func genPlan(t *rapid.T, hosts, domains int) Plan {
	p := Plan{Hosts: rapid.IntRange(1, hosts).Draw(t, "hosts"), Domains: rapid.IntRange(1, domains).Draw(t, "domains"),
		SubnetSize: rapid.SampledFrom([]int{0, 1, 7, 250}).Draw(t, "subnet size"), Seed: rapid.Uint64().Draw(t, "seed")}
	p.DomainsPerHost = rapid.IntRange(1, p.Domains).Draw(t, "domains per host")
	// Each domain must have a record for each of its hosts, at most all hosts.
	p.Records = p.Hosts*p.Domains + rapid.IntRange(0, 100).Draw(t, "more records")
	return p
}

// TestLayoutLaws: what a layout says of records, domains and hosts agrees.
func TestLayoutLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPlan(t, 30, 40)
		l, err := NewLayout(p)
		if err != nil {
			t.Fatal(err)
		}
		seen := make([]bool, p.Records)
		for h := range p.Hosts {
			domains := slices.Sorted(l.DomainsOf(h))
			if len(domains) != p.DomainsPerHost || len(slices.Compact(slices.Clone(domains))) != len(domains) {
				t.Fatalf("host %d has the domains %v, want %d", h, domains, p.DomainsPerHost)
			}
			for _, d := range domains {
				if !slices.Contains(slices.Collect(l.HostsOf(d)), h) {
					t.Fatalf("host %d has domain %d, which does not say so", h, d)
				}
				n := 0
				for r := range l.RecordsOn(h, d) {
					n++
					rec := l.Record(r)
					if seen[r] || rec.Host != h || rec.Domain != d || rec.Number != r {
						t.Fatalf("record %d on host %d in domain %d: %+v", r, h, d, rec)
					}
					seen[r] = true
				}
				if n == 0 {
					t.Fatalf("host %d has no record in its domain %d", h, d)
				}
			}
		}
		for r := range seen {
			if rec := l.Record(r); !seen[r] && rec.Host != -1 {
				t.Fatalf("record %d is on host %d and not found there", r, rec.Host)
			}
		}
		fewest, most := p.Hosts, 0
		for d := range p.Domains {
			n := len(slices.Collect(l.HostsOf(d)))
			fewest, most = min(fewest, n), max(most, n)
		}
		if most-fewest > 2 {
			t.Fatalf("a domain has %d hosts, another %d", fewest, most)
		}
	})
}

// TestPolicy: the file and the specification are the same policy, and a valid
// one.
func TestPolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, err := NewLayout(genPlan(t, 6, 8))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := l.WritePolicy(&b); err != nil {
			t.Fatal(err)
		}
		fromFile, err := policyfile.Parse("policy.yaml", b.Bytes(), 1)
		if err != nil {
			t.Fatal(err)
		}
		fromSpec, problems := tenant.New(l.Spec(), 1)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		a, err1 := policyfile.Marshal(fromFile)
		c, err2 := policyfile.Marshal(fromSpec)
		if err1 != nil || err2 != nil || !bytes.Equal(a, c) {
			t.Fatalf("file and specification differ: %v, %v", err1, err2)
		}
	})
}

func TestBadPlans(t *testing.T) {
	good := Plan{Hosts: 10, Records: 100, Domains: 5, DomainsPerHost: 2}
	for _, c := range []struct {
		name   string
		change func(*Plan)
		want   string
	}{
		{"good", func(*Plan) {}, ""},
		{"no hosts", func(p *Plan) { p.Hosts = 0 }, "0 hosts: want"},
		{"no domains", func(p *Plan) { p.Domains = 0 }, "0 routing domains: want"},
		{"too many domains on a host", func(p *Plan) { p.DomainsPerHost = 6 }, "want 1 to all 5"},
		{"few records", func(p *Plan) { p.Records = 19 }, "want at least 20"},
		{"uneven", func(p *Plan) { p.Records, p.Domains, p.DomainsPerHost, p.Hosts = 12, 5, 1, 12 }, "want more records"},
		{"wide subnets", func(p *Plan) { p.SubnetSize = 300 }, "want 1 to 250"},
		{"VSIDs", func(p *Plan) { p.Records, p.SubnetSize, p.Domains = 40_000_000, 1, 2000 }, "there are 16773119 VSIDs"},
		{"two things at once", func(p *Plan) { p.Hosts, p.SubnetSize = 0, 300 }, "250"},
	} {
		p := good
		c.change(&p)
		_, err := NewLayout(p)
		if got := fmt.Sprint(err); (c.want == "") != (err == nil) || !strings.Contains(got, c.want) && err != nil {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
