package hnv_test

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/hnv"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// expressible returns what of a policy Network Virtualization has words for, with
// records in the form that Import gives them.
func expressible(s tenant.Spec) tenant.Spec {
	for i := range s.Hosts {
		h := &s.Hosts[i]
		h.OVSDB, h.OpenFlow, h.MTU = "", "", 0
		h.ProviderAddresses = slices.Clone(h.ProviderAddresses)
		for j := range h.ProviderAddresses {
			h.ProviderAddresses[j].Weight, h.ProviderAddresses[j].Uplink = 0, ""
		}
	}
	var domains []tenant.RoutingDomainSpec
	gateways := false
	for _, d := range s.RoutingDomains {
		if len(d.Subnets) == 0 || len(s.Hosts) == 0 {
			continue
		}
		d.Name = ""
		records := 0
		for i := range d.Subnets {
			v := &d.Subnets[i]
			v.Name, gateways = "", true
			v.Multicast, v.DHCP, v.DNS, v.Domain, v.Lease, v.MTU = tenant.Multicast{}, false, nil, "", 0, 0
			var kept []tenant.RecordSpec
			for _, r := range v.Records {
				h := -1
				for j := range s.Hosts {
					for k, pa := range s.Hosts[j].ProviderAddresses {
						if r.Host == s.Hosts[j].Name || r.PA == pa.PA {
							if h = j; r.PA == pa.PA && k == 0 {
								r.PA = tenant.PA{}
							}
						}
					}
				}
				if h >= 0 {
					r.Host = s.Hosts[h].Name
					if r.Options != nil && r.Options.Rule == tenant.Nat {
						r.PA = tenant.PA{}
					}
					kept = append(kept, r)
				}
			}
			v.Records = kept
			records += len(kept)
		}
		if records == 0 {
			d.Customer = ""
		}
		slices.SortFunc(d.Routes, func(a, b tenant.RouteSpec) int { return cmp.Compare(a.Metric, b.Metric) })
		var routes []tenant.RouteSpec
		for _, r := range d.Routes {
			in := slices.IndexFunc(d.Subnets, func(s tenant.SubnetSpec) bool {
				return slices.ContainsFunc(s.Prefixes, func(p tenant.CAPrefix) bool { return p.Contains(r.NextHop) })
			})
			if r.BlackHole || r.VSID == d.Subnets[in].VSID {
				continue
			}
			if !slices.ContainsFunc(routes, func(q tenant.RouteSpec) bool {
				return q.Prefix == r.Prefix && q.NextHop == r.NextHop && q.VSID == r.VSID
			}) {
				routes = append(routes, r)
			}
		}
		d.Routes = routes
		domains = append(domains, d)
	}
	s.RoutingDomains = domains
	if !gateways {
		s.GatewayMAC = tenant.MAC{}
	}
	return s
}

// TestExportAndImport checks that a policy survives its script, and that a policy
// with more than a script can say loses just that, and says so.
func TestExportAndImport(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := tenantgen.Spec(t)
		full, problems := tenant.New(spec, 0)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		want, problems := tenant.New(expressible(spec), 0)
		if len(problems) > 0 {
			t.Fatalf("what is expressible has problems: %v", problems)
		}
		for i, p := range []*tenant.Policy{want, full} {
			script, lost := hnv.Export(p)
			if i == 0 && len(lost) > 0 {
				t.Fatalf("lost: %v", lost)
			}
			if i == 1 && len(lost) == 0 && full.NumRecords() != want.NumRecords() {
				t.Fatal("records are lost, and nothing says so")
			}
			got, notes, err := hnv.Import("p.ps1", script, hnv.Options{})
			if err != nil {
				t.Fatalf("%v\n%s", err, script)
			}
			for _, n := range notes {
				if n.Kind != hnv.Skipped {
					t.Fatalf("%s\n%s", n, script)
				}
			}
			if !got.Equal(want) {
				a, _ := policyfile.Marshal(want)
				b, _ := policyfile.Marshal(got)
				t.Fatalf("want\n%s\ngot\n%s\nby\n%s", a, b, script)
			}
		}
	})
}
