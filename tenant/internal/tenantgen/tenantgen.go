// Package tenantgen draws specs for property tests.
package tenantgen

import (
	"fmt"
	"net/netip"
	"strings"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// name draws a name, often one that YAML takes for something else. Tag makes it
// unique.
func name(t *rapid.T, tag string, limit int) string {
	s := rapid.OneOf(
		rapid.Just(""),
		rapid.SampledFrom([]string{"no", "1", "0x", "null", "~", "- a", "a: b", "#", "'", `"\`, "{", "web, ", "*a", "&a", "!a", "Ä", "\u2028x", "<<"}),
		rapid.StringOfN(rapid.RuneFrom([]rune("abc-_.:,#'\"\\{}[]&*!|>%@` é世\u00a0\ufeff😀")), 0, 12, limit-len(tag)),
	).Draw(t, "name")
	return strings.TrimSpace(s + tag)
}

// Spec draws a sound spec with all that a policy can have.
func Spec(t *rapid.T) tenant.Spec { return SpecWith(t, All) }

// SpecWith draws a sound spec with some of the features.
func SpecWith(t *rapid.T, f Features) tenant.Spec {
	spec := plain(t)
	f.add(t, &spec)
	return spec
}

// plain draws a sound spec without any of the features.
func plain(t *rapid.T) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	if rapid.Bool().Draw(t, "gateway MAC") {
		spec.GatewayMAC = tenant.MAC{2, 0x4e, 5: rapid.Byte().Draw(t, "octet")}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "hosts") {
		h := tenant.HostSpec{Name: name(t, fmt.Sprint("h", i), tenant.MaxHostName)}
		for j := range rapid.IntRange(1, 2).Draw(t, "PAs") {
			h.ProviderAddresses = append(h.ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 99, byte(i), byte(j + 1)}))})
		}
		endpoint := rapid.SampledFrom([]string{"", "unix:/run/a b/db.sock", "tcp:10.0.0.1:6640", "ssl:[fd00::1]:6640"})
		h.OVSDB, h.OpenFlow = endpoint.Draw(t, "ovsdb"), endpoint.Draw(t, "openflow")
		spec.Hosts = append(spec.Hosts, h)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "routing domains") {
		d := tenant.RoutingDomainSpec{RDID: tenant.RDID{0: rapid.Byte().Draw(t, "octet"), 15: byte(i + 1)}}
		if rapid.Bool().Draw(t, "named") {
			d.Name = name(t, fmt.Sprint("d", i), tenant.MaxName)
		}
		if rapid.Bool().Draw(t, "customer") {
			d.Customer = name(t, "c", tenant.MaxName)
		}
		for j := range rapid.IntRange(0, 3).Draw(t, "subnets") {
			d.Subnets = append(d.Subnets, subnet(t, spec.Hosts, i, j))
		}
		spec.RoutingDomains = append(spec.RoutingDomains, d)
		routes(t, &spec.RoutingDomains[i])
	}
	return spec
}

func subnet(t *rapid.T, hosts []tenant.HostSpec, i, j int) tenant.SubnetSpec {
	s := tenant.SubnetSpec{VSID: uint32(0x1000 + 16*i + j)}
	if rapid.Bool().Draw(t, "named") {
		s.Name = name(t, fmt.Sprint("s", j), tenant.MaxName)
	}
	for k := range rapid.IntRange(1, 3).Draw(t, "prefixes") {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(j), byte(k), 0}), rapid.IntRange(24, 28).Draw(t, "length"))
		s.Prefixes = append(s.Prefixes, tenant.CAPrefixFrom(p))
	}
	gateway := byte(1)
	if rapid.Bool().Draw(t, "gateways") {
		gateway = byte(rapid.IntRange(1, 2).Draw(t, "gateway"))
		for _, p := range s.Prefixes {
			s.Gateways = append(s.Gateways, address(p, gateway))
		}
	}
	for n := range rapid.IntRange(0, 6).Draw(t, "records") {
		r := tenant.RecordSpec{
			VM:  name(t, fmt.Sprint("v", j, n), tenant.MaxName),
			CA:  address(s.Prefixes[n%len(s.Prefixes)], 3+byte(n)),
			MAC: tenant.MAC{6, rapid.Byte().Draw(t, "octet"), 5: byte(n)},
			// Names repeat between routing domains, interfaces do not.
			IfaceID: name(t, fmt.Sprint("i", i, j, n), tenant.MaxName),
		}
		if len(hosts) > 0 {
			h := &hosts[rapid.IntRange(0, len(hosts)-1).Draw(t, "host")]
			if rapid.Bool().Draw(t, "by host") {
				r.Host = h.Name
			}
			if rapid.Bool().Draw(t, "by PA") {
				r.PA = h.ProviderAddresses[rapid.IntRange(0, len(h.ProviderAddresses)-1).Draw(t, "PA")].PA
			}
		}
		s.Records = append(s.Records, r)
	}
	return s
}

// routes adds routes to d, each of its own prefix or metric.
func routes(t *rapid.T, d *tenant.RoutingDomainSpec) {
	if len(d.Subnets) == 0 {
		return
	}
	for n := range rapid.IntRange(0, 4).Draw(t, "routes") {
		via := d.Subnets[rapid.IntRange(0, len(d.Subnets)-1).Draw(t, "via")]
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, 0, 0}), rapid.SampledFrom([]int{0, 12, 16}).Draw(t, "length"))
		d.Routes = append(d.Routes, tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(p), NextHop: address(via.Prefixes[0], 5),
			Metric: rapid.Uint32().Draw(t, "metric")&^0xf | uint32(n)})
	}
}

func address(p tenant.CAPrefix, n byte) tenant.CA {
	a := p.Prefix().Addr().As4()
	a[3] += n
	return tenant.CAFrom(netip.AddrFrom4(a))
}
