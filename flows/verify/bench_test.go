package verify_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

var soak = os.Getenv("NVGRE_SOAK") == "1"

// large returns a policy with so many VMs in all, spread evenly over hosts,
// routing domains and their subnets, and what its hosts see.
func large(tb testing.TB, hosts, domains, subnets, vms int) (*tenant.Policy, []flows.HostView) {
	tb.Helper()
	p := tenanttest.New(tb, largeSpec(hosts, domains, subnets, vms))
	var views []flows.HostView
	for h := range p.Hosts() {
		views = append(views, flows.PlannedView(p, flows.Placement{}, h.Name))
	}
	return p, views
}

func largeSpec(hosts, domains, subnets, vms int) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	for h := range hosts {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%03d", h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{172, 16, byte(h >> 8), byte(h + 1)}))}}})
	}
	n := 0
	for d := range domains {
		rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{14: byte(d >> 8), 15: byte(d + 1)}, Name: fmt.Sprintf("rd%d", d)}
		for s := range subnets {
			base := [4]byte{10, byte(s >> 4), byte(s << 4), 0}
			subnet := tenant.SubnetSpec{VSID: uint32(5000 + d*subnets + s), DHCP: s%2 == 1,
				Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4(base), 20))}}
			for v := range vms / domains / subnets {
				at := v + 10
				subnet.Records = append(subnet.Records, tenant.RecordSpec{
					VM: fmt.Sprintf("vm%d-%d", s, v), IfaceID: fmt.Sprintf("%d-%d-%d", d, s, v), Host: spec.Hosts[n%hosts].Name,
					CA:  tenant.CAFrom(netip.AddrFrom4([4]byte{base[0], base[1], base[2] + byte(at>>8), byte(at)})),
					MAC: tenant.MAC{2, 0, byte(d), byte(s), byte(v >> 8), byte(v)},
				})
				n++
			}
			rd.Subnets = append(rd.Subnets, subnet)
		}
		rd.Routes = []tenant.RouteSpec{{Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix("0.0.0.0/0")), NextHop: rd.Subnets[0].Records[0].CA}}
		spec.RoutingDomains = append(spec.RoutingDomains, rd)
	}
	return spec
}

func TestSizes(t *testing.T) {
	sizes := []struct {
		hosts, domains, subnets, vms int
		limit                        time.Duration
	}{
		{3, 2, 2, 120, 10 * time.Second},
	}
	if soak {
		sizes = append(sizes, []struct {
			hosts, domains, subnets, vms int
			limit                        time.Duration
		}{
			{3, 1, 4, 1000, 10 * time.Second},
			{3, 10, 2, 3000, 10 * time.Second},
			{3, 1, 4, 3000, 10 * time.Second},
			{100, 20, 5, 10_000, 10 * time.Minute},
			{100, 1, 10, 10_000, 10 * time.Minute},
		}...)
	}
	for _, s := range sizes {
		t.Run(fmt.Sprintf("%d hosts, %d domains, %d subnets, %d VMs", s.hosts, s.domains, s.subnets, s.vms), func(t *testing.T) {
			p, views := large(t, s.hosts, s.domains, s.subnets, s.vms)
			start := time.Now()
			n := verify.Compiled(p, views)
			compiled := time.Since(start)
			r, err := verify.Verify(context.Background(), n, verify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			t.Logf("%d flows compiled in %v; %d classes proved in %v", r.Flows, compiled.Round(time.Millisecond), r.Classes, (took - compiled).Round(time.Millisecond))
			if !r.Proved {
				t.Errorf("not proved: %v %v", r.Counterexamples, r.Unproved)
			}
			if took > s.limit {
				t.Errorf("it took %v, want at most %v", took, s.limit)
			}
		})
	}
}
