package impact_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// step draws two policies, mostly one that a change makes of the other.
func step(t *rapid.T) (p, q *tenant.Policy) {
	p, problems := tenant.New(tenanttest.Spec(t), 1)
	if len(problems) > 0 {
		t.Skip("not sound")
	}
	other, problems := tenant.New(tenanttest.Spec(t), 1)
	if len(problems) > 0 {
		t.Skip("not sound")
	}
	switch rapid.IntRange(0, 9).Draw(t, "policies") {
	case 0:
		return p, other
	case 1, 2, 3, 4:
		return sound(t, dense(t)), sound(t, dense(t))
	}
	q = p
	for range rapid.IntRange(1, 3).Draw(t, "steps") {
		if next, problems := q.Apply(tenanttest.Changes(t, q, other), q.Revision()+1); len(problems) == 0 {
			q = next
		}
	}
	return p, q
}

func sound(t *rapid.T, spec tenant.Spec) *tenant.Policy {
	p, problems := tenant.New(spec, 1)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return p
}

// dense draws a policy whose VMs, routes and hosts are few of many: two of them
// have most in common.
func dense(t *rapid.T) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	if rapid.Bool().Draw(t, "gateway MAC") {
		spec.GatewayMAC = tenant.MAC{2, 0, 0, 0, 9, 9}
	}
	for h := range 3 {
		addresses := rapid.SampledFrom([]string{"10.9.0.%d", "10.9.0.%d", "10.9.1.%d", "10.9.0.%d 10.9.1.%d", "fd09::%d", "fd09::%d 10.9.0.%d"}).Draw(t, "PAs")
		host := tenant.HostSpec{Name: fmt.Sprint("h", h)}
		for _, a := range strings.Fields(addresses) {
			host.ProviderAddresses = append(host.ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(netip.MustParseAddr(fmt.Sprintf(a, h+1)))})
		}
		spec.Hosts = append(spec.Hosts, host)
	}
	rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: 1}, Name: "blue"}
	// The same VMs are now in one virtual subnet, now in another.
	six := rapid.Bool().Draw(t, "IPv6")
	homes := rapid.SampledFrom([][2]int{{0, 1}, {0, 1}, {1, 0}, {0, 0}, {1, 1}}).Draw(t, "homes")
	subnets := [2]tenant.SubnetSpec{{VSID: 5001}, {VSID: 5002}}
	for x, n := range homes {
		p := netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", x))
		if x == 1 && six {
			p = netip.MustParsePrefix("fd00:0:0:1::/64")
		}
		s := &subnets[n]
		s.Prefixes = append(s.Prefixes, tenant.CAPrefixFrom(p))
		s.Gateways = append(s.Gateways, tenant.CAFrom(nth(p, rapid.SampledFrom([]int{1, 1, 254}).Draw(t, "gateway"))))
		for r := range 4 {
			if rapid.IntRange(0, 5).Draw(t, "gone") == 5 {
				continue
			}
			iface := fmt.Sprintf("vm%d-%d", x, r)
			mac := tenant.MAC{2, 0, 0, 0, 0, byte(4*x + r)}
			if x == 0 && r == 3 && spec.GatewayMAC == (tenant.MAC{}) {
				mac = tenant.MAC{2, 0, 0, 0, 9, 9} // which the gateways may have on the other side
			}
			record := tenant.RecordSpec{VM: iface, CA: tenant.CAFrom(nth(p, 10+r)), MAC: mac}
			if h := rapid.SampledFrom([]int{-1, 0, 0, 1, 2}).Draw(t, "host"); h >= 0 {
				record.Host = fmt.Sprint("h", h)
			}
			s.Records = append(s.Records, record)
			if rapid.IntRange(0, 4).Draw(t, "another address") == 4 {
				record.IfaceID = record.VM
				s.Records[len(s.Records)-1] = record
				record.CA = tenant.CAFrom(nth(p, 8+r%2*12))
				if !slices.ContainsFunc(s.Records, func(o tenant.RecordSpec) bool { return o.CA == record.CA }) {
					s.Records = append(s.Records, record)
				}
			}
		}
	}
	for _, s := range subnets {
		if len(s.Prefixes) > 0 {
			rd.Subnets = append(rd.Subnets, s)
		}
	}
	for _, to := range []string{"0.0.0.0/0", "10.0.0.10/32", "10.0.0.8/29", "10.0.0.0/16", "10.0.1.12/31", "::/0", "fd00:0:0:1::c/127"} {
		if rapid.IntRange(0, 3).Draw(t, "route") > 0 {
			continue
		}
		hop := nth(netip.MustParsePrefix(rapid.SampledFrom([]string{"10.0.0.0/24", "10.0.1.0/24"}).Draw(t, "hop's subnet")), 10+rapid.IntRange(0, 4).Draw(t, "hop"))
		if six && hop.As4()[2] == 1 {
			hop = nth(netip.MustParsePrefix("fd00:0:0:1::/64"), 10)
		}
		if hop.Is4() != netip.MustParsePrefix(to).Addr().Is4() {
			continue
		}
		route := tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(netip.MustParsePrefix(to)), NextHop: tenant.CAFrom(hop)}
		switch rapid.IntRange(0, 7).Draw(t, "sort of route") {
		case 5:
			route.BlackHole, route.NextHop = true, tenant.CA{}
		case 6:
			route.VSID = rapid.SampledFrom(rd.Subnets).Draw(t, "route's subnet").VSID
		case 7: // shares traffic
			other := route
			other.NextHop = tenant.CAFrom(hop.Next())
			rd.Routes = append(rd.Routes, other)
		}
		rd.Routes = append(rd.Routes, route)
	}
	spec.RoutingDomains = append(spec.RoutingDomains, rd)
	return spec
}

func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr().AsSlice()
	a[len(a)-1] += byte(n)
	b, _ := netip.AddrFromSlice(a)
	return b
}

// attach draws the ports of a policy's hosts.
func attach(t *rapid.T, p *tenant.Policy) impact.State {
	s := impact.State{Policy: p}
	var names []string
	for h := range p.Hosts() {
		names = append(names, h.Name)
	}
	at := map[string][]flows.Attachment{}
	port := uint32(100)
	for r := range p.Records() {
		if len(names) == 0 {
			break
		}
		home := cmp.Or(r.Host, names[0])
		for range rapid.SampledFrom([]int{1, 1, 1, 1, 0, 2}).Draw(t, "ports") {
			if rapid.IntRange(0, 7).Draw(t, "elsewhere") == 7 {
				home = rapid.SampledFrom(names).Draw(t, "host")
			}
			port++
			n := port
			if rapid.IntRange(0, 9).Draw(t, "no number") == 9 {
				n = 0
			}
			at[home] = append(at[home], flows.Attachment{IfaceID: r.IfaceID, OFPort: n})
		}
	}
	for _, name := range names {
		v := flows.HostView{Name: name, Attachments: at[name], Tunnels: flows.TunnelPorts{Flow: 1}}
		switch rapid.IntRange(0, 7).Draw(t, "tunnels") {
		case 6:
			v.Tunnels = flows.TunnelPorts{}
		case 7:
			v.Tunnels = flows.TunnelPorts{PerVSID: map[tenant.VSID]uint32{}}
			for n := range p.Subnets() {
				if rapid.Bool().Draw(t, "port of the subnet") {
					v.Tunnels.PerVSID[n.VSID] = 1000 + uint32(len(v.Tunnels.PerVSID))
				}
			}
		}
		s.Views = append(s.Views, v)
	}
	return s
}

func states(t *rapid.T) (before, after impact.State) {
	p, q := step(t)
	if rapid.IntRange(0, 2).Draw(t, "planned") == 0 {
		return impact.PlannedStep(p, q)
	}
	before = attach(t, p)
	if rapid.Bool().Draw(t, "the same ports") {
		return impact.AttachedStep(p, q, before.Views)
	}
	return before, attach(t, q)
}
