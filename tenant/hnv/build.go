package hnv

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// builder makes a policy of what the hosts have at the end of the script.
type builder struct {
	*evaluator
	local    string
	spec     tenant.Spec
	hosts    map[netip.Addr]int // the host of a PA, in spec.Hosts
	byName   map[string]int
	domains  map[string]int // by RDID
	subnets  map[string]*subnet
	gateways []gateway
}

// subnet is a virtual subnet in the making.
type subnet struct {
	vsid, rdid string
	at         int // of the route that names the routing domain
	tenant.SubnetSpec
	own map[netip.Prefix]netip.Addr // gateways that differ from the rule
}

type gateway struct {
	at  int
	mac tenant.MAC
}

// policy returns the policy, or nil with problems.
func (b *builder) policy() *tenant.Policy {
	b.spec.Version = 1
	b.hosts, b.byName, b.domains, b.subnets = map[netip.Addr]int{}, map[string]int{}, map[string]int{}, map[string]*subnet{}
	b.providers()
	routes := b.merged("customerroute")
	b.onLink(routes)
	records := b.records(b.merged("lookuprecord"))
	b.gatewayMAC()
	b.place(records)
	b.routes(routes)
	for _, a := range b.state.attachments {
		if !a.used {
			b.note(Lost, a.at, "attachment of VM %q to VSID %s: there is no lookup record of that VM in that subnet", a.vm, a.vsid)
		}
	}
	if len(b.problems) > 0 {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(b.subnets)) {
		s := b.subnets[k]
		if len(s.own) > 0 {
			prefixes := s.Prefixes
			s.Gateways = tenant.DefaultGateways(prefixes)
			for i, p := range prefixes {
				if g, ok := s.own[p.Prefix()]; ok {
					s.Gateways[i] = tenant.CAFrom(g)
				}
			}
		}
		d := &b.spec.RoutingDomains[b.domains[s.rdid]]
		d.Subnets = append(d.Subnets, s.SubnetSpec)
	}
	p, bad := tenant.New(b.spec, 0)
	for _, q := range bad {
		out := Problem{Position: b.locate(q.Path), Message: q.Message}
		if field := q.Path[strings.LastIndexByte(q.Path, '.')+1:]; field != "" {
			out.Message = field + " " + out.Message
		}
		for _, r := range q.Related {
			if at := b.locate(r); at.Line > 0 {
				out.Related = append(out.Related, at)
			}
		}
		b.problems = append(b.problems, out)
	}
	return p
}

// merged returns the objects of all hosts, each once: the policy of a virtual
// subnet is the same on every host that has it.
func (b *builder) merged(kind string) []*object {
	n := b.state.nouns[kind]
	first := map[string]*object{}
	seen := map[*object]bool{}
	var out []*object
	for _, h := range b.state.hosts {
		for _, o := range b.state.has[kind][strings.ToLower(h)] {
			if seen[o] {
				continue
			}
			seen[o] = true
			key := ""
			for _, k := range n.key {
				key += o.get(k) + " "
			}
			if ca, err := netip.ParseAddr(o.get("customeraddress")); err == nil && ca.IsUnspecified() {
				key += o.get("macaddress") + " " + o.get("type")
			}
			old, ok := first[key]
			if !ok {
				first[key] = o
				out = append(out, o)
				continue
			}
			for _, f := range n.fields {
				v, w := old.get(f.name), o.get(f.name)
				if v == w || f.remark && (v == "" || w == "") || f.form == "any" {
					continue
				}
				b.problems = append(b.problems, Problem{Position: b.position(o.at),
					Message: "this " + n.what + " is there already with another -" + f.name + ": want it the same on every host",
					Related: []tenant.Position{b.position(old.at)}})
				break
			}
		}
	}
	slices.SortStableFunc(out, func(a, c *object) int { return cmp.Compare(a.at, c.at) })
	return out
}

// addHost returns the host of that name.
func (b *builder) addHost(name string, at int) int {
	if name == "" {
		name = b.local
	}
	k := strings.ToLower(name)
	i, ok := b.byName[k]
	if !ok {
		i = len(b.spec.Hosts)
		b.byName[k] = i
		b.spec.Hosts = append(b.spec.Hosts, tenant.HostSpec{Name: name, Source: b.position(at)})
	}
	return i
}

func (b *builder) providers() {
	for _, h := range b.state.hosts {
		k := strings.ToLower(h)
		for _, o := range b.state.has["provideraddress"][k] {
			a := netip.MustParseAddr(o.get("provideraddress"))
			i := b.addHost(h, o.at)
			if slices.ContainsFunc(b.spec.Hosts[i].ProviderAddresses, func(h tenant.ProviderAddress) bool { return h.PA == tenant.PAFrom(a) }) {
				continue
			}
			vlan, _ := strconv.ParseUint(o.get("vlanid"), 10, 16)
			if m := o.get("macaddress"); m != "" {
				b.note(Lost, o.at, "MAC %s of PA %s: the host's adapter has its own", m, a)
			}
			b.spec.Hosts[i].ProviderAddresses = append(b.spec.Hosts[i].ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(a), VLAN: uint16(vlan)})
			if _, ok := b.hosts[a]; !ok {
				b.hosts[a] = i
			}
		}
		for _, o := range b.state.has["providerroute"][k] {
			b.providerRoute(&b.spec.Hosts[b.addHost(h, o.at)], o)
		}
	}
}

func (b *builder) providerRoute(h *tenant.HostSpec, o *object) {
	p, hop := netip.MustParsePrefix(o.get("destinationprefix")), netip.MustParseAddr(o.get("nexthop"))
	switch {
	case hop.IsUnspecified():
		b.note(Skipped, o.at, "provider route to %s: it is on-link, which the host's own address says", p)
		return
	}
	n, _ := strconv.ParseUint(o.get("metric"), 10, 32)
	h.Routes = append(h.Routes, tenant.ProviderRoute{Prefix: tenant.PAPrefixFrom(p), NextHop: tenant.PAFrom(hop), Metric: uint32(n)})
}

// onLink makes the routing domains, the subnets and their prefixes of the routes.
func (b *builder) onLink(routes []*object) {
	for _, o := range routes {
		rdid, vsid := o.get("routingdomainid"), o.get("virtualsubnetid")
		if _, ok := b.domains[rdid]; !ok {
			id, _ := tenant.ParseRDID(rdid)
			b.domains[rdid] = len(b.spec.RoutingDomains)
			b.spec.RoutingDomains = append(b.spec.RoutingDomains, tenant.RoutingDomainSpec{RDID: id, Source: b.position(o.at)})
		}
		s := b.subnets[vsid]
		if s == nil {
			n, _ := strconv.ParseUint(vsid, 10, 32)
			s = &subnet{vsid: vsid, rdid: rdid, at: o.at, own: map[netip.Prefix]netip.Addr{},
				SubnetSpec: tenant.SubnetSpec{VSID: uint32(n), Source: b.position(o.at)}}
			b.subnets[vsid] = s
		} else if s.rdid != rdid {
			b.problems = append(b.problems, Problem{Position: b.position(o.at), Related: []tenant.Position{b.position(s.at)},
				Message: "VSID " + vsid + " is in routing domain " + s.rdid + " already: want one routing domain for each VSID"})
			continue
		}
		p := netip.MustParsePrefix(o.get("destinationprefix"))
		hop := netip.MustParseAddr(o.get("nexthop"))
		if !hop.IsUnspecified() {
			continue
		}
		if !slices.Contains(s.Prefixes, tenant.CAPrefixFrom(p)) {
			s.Prefixes = append(s.Prefixes, tenant.CAPrefixFrom(p))
		}
	}
}

func (b *builder) routes(routes []*object) {
	type key struct {
		domain int
		tenant.RouteSpec
	}
	taken := map[key]bool{}
	for _, o := range routes {
		hop := netip.MustParseAddr(o.get("nexthop"))
		if hop.IsUnspecified() {
			continue
		}
		p := netip.MustParsePrefix(o.get("destinationprefix"))
		n, _ := strconv.ParseUint(o.get("metric"), 10, 32)
		r := tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(p), NextHop: tenant.CAFrom(hop), Metric: uint32(n)}
		// A route of the subnet that the next hop is in is the whole domain's: it
		// stands there because every route names a subnet.
		if s := b.subnets[o.get("virtualsubnetid")]; s != nil && s.prefixOf(hop) == nil {
			r.VSID = s.VSID
		}
		d := b.domains[o.get("routingdomainid")]
		if taken[key{d, r}] {
			continue
		}
		taken[key{d, r}] = true
		r.Source = b.position(o.at)
		b.spec.RoutingDomains[d].Routes = append(b.spec.RoutingDomains[d].Routes, r)
	}
}

// prefixOf returns the subnet's prefix that has a, or nil.
func (s *subnet) prefixOf(a netip.Addr) *netip.Prefix {
	for _, p := range s.Prefixes {
		if q := p.Prefix(); q.Contains(a) {
			return &q
		}
	}
	return nil
}

// gatewayMAC sets the gateway's MAC where the script has one for all subnets.
func (b *builder) gatewayMAC() {
	for i, g := range b.gateways {
		if g.mac != b.gateways[0].mac {
			for _, h := range b.gateways[:max(i, 1)] {
				b.note(Lost, h.at, "gateway MAC %s: the gateways of the subnets have different MACs, and the policy has one for all", h.mac)
			}
			for _, h := range b.gateways[max(i, 1):] {
				b.note(Lost, h.at, "gateway MAC %s: the gateways of the subnets have different MACs, and the policy has one for all", h.mac)
			}
			return
		}
	}
	if len(b.gateways) > 0 {
		b.spec.GatewayMAC = b.gateways[0].mac
	}
}

// locate returns the place in the script of what a path in the spec names.
func (b *builder) locate(path string) tenant.Position {
	var where tenant.Position
	var d *tenant.RoutingDomainSpec
	var s *tenant.SubnetSpec
	for part := range strings.SplitSeq(path, ".") {
		name, rest, ok := strings.Cut(part, "[")
		if !ok {
			if part == "gateway_mac" && len(b.gateways) > 0 {
				where = b.position(b.gateways[0].at)
			}
			continue
		}
		i, _ := strconv.Atoi(strings.TrimSuffix(rest, "]"))
		switch {
		case name == "hosts":
			where = b.spec.Hosts[i].Source
		case name == "routing_domains":
			d = &b.spec.RoutingDomains[i]
			where = d.Source
		case name == "subnets" && d != nil:
			s = &d.Subnets[i]
			where = s.Source
		case name == "routes" && d != nil:
			where = d.Routes[i].Source
		case name == "records" && s != nil:
			where = s.Records[i].Source
		}
	}
	if where.Line == 0 {
		where = b.position(0)
	}
	return where
}
