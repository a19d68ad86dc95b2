package tenantgen

import (
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Features are what few policies have.
type Features uint

// The features.
const (
	Underlay     Features = 1 << iota // attributes of provider addresses, MTU and provider routes
	Services                          // multicast, DHCP and MTU of subnets
	SeveralCAs                        // of one network adapter
	Types                             // records that are not static
	NatRule                           // records of rule nat
	Options                           // forwarding, VLANs, MACs that are kept, context
	SubnetRoutes                      // routes for one subnet alone
	BlackHoles                        // routes without a next hop
	ECMP                              // several next hops of one metric

	All Features = 1<<iota - 1
)

func (f Features) has(g Features) bool { return f&g != 0 }

func (f Features) add(t *rapid.T, spec *tenant.Spec) {
	if f == 0 || rapid.IntRange(0, 3).Draw(t, "plain") == 0 {
		return
	}
	if f.has(Underlay) {
		for i := range spec.Hosts {
			underlay(t, &spec.Hosts[i])
		}
	}
	nats := map[tenant.PA]bool{}
	for i := range spec.RoutingDomains {
		d := &spec.RoutingDomains[i]
		for j := range d.Subnets {
			s := &d.Subnets[j]
			if f.has(Services) {
				services(t, s)
			}
			f.records(t, spec, s, nats)
		}
		f.routes(t, d)
	}
}

func sometimes(t *rapid.T, what string) bool { return rapid.IntRange(0, 3).Draw(t, what) == 0 }

func underlay(t *rapid.T, h *tenant.HostSpec) {
	for i := range h.ProviderAddresses {
		a := &h.ProviderAddresses[i]
		if sometimes(t, "attributes of a PA") {
			a.Weight = rapid.Uint32Range(0, 3).Draw(t, "weight")
			a.Uplink = rapid.SampledFrom([]string{"", "bond0", "no", "a b"}).Draw(t, "uplink")
			a.VLAN = rapid.Uint16Range(0, 4094).Draw(t, "vlan")
		}
	}
	if sometimes(t, "MTU of a host") {
		h.MTU = rapid.SampledFrom([]uint16{0, 576, 1500, 9000}).Draw(t, "mtu")
	}
	for n := range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "provider routes") {
		h.Routes = append(h.Routes, tenant.ProviderRoute{Prefix: tenant.PAPrefixFrom(netip.MustParsePrefix("10.99.0.0/16")),
			NextHop: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 98, 0, 1})), Metric: uint32(n)})
	}
}

func services(t *rapid.T, s *tenant.SubnetSpec) {
	group := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{239, 1, 2, last}) }
	m := &s.Multicast
	m.Mode = tenant.MulticastMode(rapid.SampledFrom([]uint8{0, 0, 0, 1, 2}).Draw(t, "multicast"))
	if m.Mode != tenant.MulticastOff {
		m.Rate = rapid.SampledFrom([]uint32{0, 1, 1000}).Draw(t, "rate")
		m.Snooping = rapid.Bool().Draw(t, "snooping")
	}
	if m.Mode == tenant.MulticastGroup {
		m.Group = tenant.PAFrom(group(1))
		for n := range rapid.IntRange(0, 2).Draw(t, "groups") {
			m.Groups = append(m.Groups, tenant.GroupMapping{CA: tenant.CAFrom(group(byte(9 - n))), PA: tenant.PAFrom(group(byte(2 + n)))})
		}
	}
	if s.DHCP = sometimes(t, "dhcp"); s.DHCP {
		s.DNS = []tenant.CA{address(s.Prefixes[0], 7)}
		s.Domain = rapid.SampledFrom([]string{"", "blue.example", "no", "1"}).Draw(t, "domain")
		s.Lease = rapid.SampledFrom([]uint32{0, 60, 3600}).Draw(t, "lease")
	}
	if sometimes(t, "MTU of a subnet") {
		s.MTU = rapid.SampledFrom([]uint16{576, 1400}).Draw(t, "mtu")
	}
}

func (f Features) records(t *rapid.T, spec *tenant.Spec, s *tenant.SubnetSpec, nats map[tenant.PA]bool) {
	plain := len(s.Records)
	wildcard := false
	for n := range plain {
		r := &s.Records[n]
		if f.has(SeveralCAs) && sometimes(t, "several CAs") && n < 3 {
			again := *r // one host, whichever way it is said
			again.CA = address(s.Prefixes[n%len(s.Prefixes)], 10+byte(n))
			s.Records = append(s.Records, again)
			r = &s.Records[n]
		}
		if f.has(Options) && sometimes(t, "options") {
			r.Options = options(t)
		}
		if f.has(NatRule) && sometimes(t, "nat") {
			nat(t, spec, r, nats)
			continue
		}
		if !f.has(Types) || !sometimes(t, "type") {
			continue
		}
		if r.Options == nil {
			r.Options = new(tenant.RecordOptions)
		}
		switch r.Options.Type = tenant.RecordType(rapid.IntRange(1, 3).Draw(t, "type")); {
		case r.Options.Type != tenant.Wildcard:
			if r.CA = (tenant.CA{}); r.Options.Type == tenant.Dynamic && rapid.Bool().Draw(t, "allow") {
				r.Options.Allow = s.Prefixes[:1]
			}
		case wildcard:
			r.Options.Type = tenant.Static
		default:
			wildcard = true
			r.CA = tenant.CAFrom(netip.IPv4Unspecified())
		}
	}
}

func options(t *rapid.T) *tenant.RecordOptions {
	return &tenant.RecordOptions{
		Forwarding: rapid.Bool().Draw(t, "forwarding"),
		UseVMMAC:   rapid.Bool().Draw(t, "MAC"),
		VLANs:      rapid.SampledFrom([][]uint16{nil, {1}, {4094, 7}}).Draw(t, "VLANs"),
		Context:    rapid.SampledFrom([]string{"", "a: b", "no", "x"}).Draw(t, "context"),
	}
}

// nat gives r a PA of its own where its host has one left.
func nat(t *rapid.T, spec *tenant.Spec, r *tenant.RecordSpec, taken map[tenant.PA]bool) {
	for _, h := range spec.Hosts {
		here := r.Host == h.Name || slices.ContainsFunc(h.ProviderAddresses, func(a tenant.ProviderAddress) bool { return a.PA == r.PA })
		for _, a := range h.ProviderAddresses {
			if here && !taken[a.PA] {
				taken[a.PA] = true
				if r.Options == nil {
					r.Options = new(tenant.RecordOptions)
				}
				r.Options.Rule, r.Options.NatPA = tenant.Nat, a.PA
				return
			}
		}
	}
}

// routes changes some of the routes of d and adds others.
func (f Features) routes(t *rapid.T, d *tenant.RoutingDomainSpec) {
	for n := range d.Routes {
		r := &d.Routes[n]
		if f.has(SubnetRoutes) && sometimes(t, "route of a subnet") {
			r.VSID = rapid.SampledFrom(d.Subnets).Draw(t, "subnet").VSID
		}
		if f.has(BlackHoles) && sometimes(t, "black hole") {
			r.BlackHole, r.NextHop = true, tenant.CA{}
			continue
		}
		if f.has(ECMP) && sometimes(t, "ECMP") {
			other := *r
			other.NextHop = address(rapid.SampledFrom(d.Subnets).Draw(t, "via").Prefixes[0], 6)
			d.Routes = append(d.Routes, other)
		}
	}
}
