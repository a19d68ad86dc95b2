package policyfile

import (
	"math"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The parts of objects that are objects themselves, and what few objects have.

// providerAddress reads an address, or an object with one.
func (r *reader) providerAddress(n *yaml.Node, a *tenant.ProviderAddress) bool {
	if t, ok := r.follow(n); !ok || t.Kind != yaml.MappingNode {
		return ok && value(r, t, wantPA, tenant.ParsePA, &a.PA)
	}
	return r.object(n, "a provider address", providerAddressFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldPA:
			return value(r, v, wantPA, tenant.ParsePA, &a.PA)
		case tenant.FieldWeight:
			return positive(r, v, "a number from 1 to 4294967295", &a.Weight)
		case tenant.FieldUplink:
			return r.text(v, "the name of a network device", &a.Uplink)
		default:
			return positive(r, v, wantVLAN, &a.VLAN)
		}
	}) == 0
}

func (r *reader) providerRoute(n *yaml.Node, route *tenant.ProviderRoute) bool {
	return r.object(n, "a provider route", providerRouteFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldPrefix:
			return value(r, v, "a prefix such as 10.99.0.0/16", tenant.ParsePAPrefix, &route.Prefix)
		case tenant.FieldNextHop:
			return value(r, v, wantPA, tenant.ParsePA, &route.NextHop)
		default:
			return r.number(v, wantNumber, math.MaxUint32, &route.Metric)
		}
	}) == 0
}

// service reads what a subnet says beside its addresses.
func (r *reader) service(f tenant.FieldSet, v *yaml.Node, s *tenant.SubnetSpec) bool {
	switch f {
	case tenant.FieldMulticast:
		return r.multicast(v, &s.Multicast)
	case tenant.FieldDHCP:
		return r.boolean(v, &s.DHCP)
	case tenant.FieldDNS:
		return r.list(v, "a list of addresses of resolvers, such as [10.0.1.53]", func(n int) { s.DNS = make([]tenant.CA, n) },
			func(i int, item *yaml.Node) bool { return value(r, item, wantCA, tenant.ParseCA, &s.DNS[i]) })
	case tenant.FieldDomain:
		return r.text(v, "a DNS domain such as blue.example", &s.Domain)
	case tenant.FieldLease:
		return positive(r, v, "a number of seconds, from 60 to 4294967295", &s.Lease)
	default:
		return positive(r, v, wantMTU, &s.MTU)
	}
}

func (r *reader) multicast(n *yaml.Node, m *tenant.Multicast) bool {
	return r.object(n, "what becomes of multicast", multicastFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldMode:
			return value(r, v, "off, unicast or group", tenant.ParseMulticastMode, &m.Mode)
		case tenant.FieldGroup:
			return value(r, v, wantGroup, tenant.ParsePAGroup, &m.Group)
		case tenant.FieldGroups:
			return r.list(v, "a list of groups, such as [{ca: 239.0.0.1, pa: 239.1.2.3}]", func(n int) { m.Groups = make([]tenant.GroupMapping, n) },
				func(i int, item *yaml.Node) bool { return r.group(item, &m.Groups[i]) })
		case tenant.FieldRate:
			return positive(r, v, "packets per second, from 1 to 4294967295", &m.Rate)
		default:
			return r.boolean(v, &m.Snooping)
		}
	}) == 0
}

func (r *reader) group(n *yaml.Node, g *tenant.GroupMapping) bool {
	return r.object(n, "a group", groupFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		if f == tenant.FieldCA {
			return value(r, v, wantGroup, tenant.ParseCAGroup, &g.CA)
		}
		return value(r, v, wantGroup, tenant.ParsePAGroup, &g.PA)
	}) == 0
}

// option reads what few lookup records have.
func (r *reader) option(f tenant.FieldSet, v *yaml.Node, o *tenant.RecordOptions) bool {
	switch f {
	case tenant.FieldType:
		return value(r, v, "static, dynamic, l2only or wildcard", tenant.ParseRecordType, &o.Type)
	case tenant.FieldRule:
		return value(r, v, "encap or nat", tenant.ParseRule, &o.Rule)
	case tenant.FieldForwarding:
		return r.boolean(v, &o.Forwarding)
	case tenant.FieldVLANs:
		return r.list(v, "a list of VLANs, such as [10, 20]", func(n int) { o.VLANs = make([]uint16, n) },
			func(i int, item *yaml.Node) bool { return positive(r, item, wantVLAN, &o.VLANs[i]) })
	case tenant.FieldUseVMMAC:
		return r.boolean(v, &o.UseVMMAC)
	case tenant.FieldNatPA:
		return value(r, v, wantPA, tenant.ParsePA, &o.NatPA)
	case tenant.FieldContext:
		return r.text(v, "text", &o.Context)
	default:
		return r.list(v, "a list of prefixes, such as [10.0.1.0/28]", func(n int) { o.Allow = make([]tenant.CAPrefix, n) },
			func(i int, item *yaml.Node) bool {
				return value(r, item, wantPrefix, tenant.ParseCAPrefix, &o.Allow[i])
			})
	}
}

// positive reads a number that is not left to tenant where it is zero, which
// says "not given" there.
func positive[T uint16 | uint32](r *reader, n *yaml.Node, want string, out *T) bool {
	var u uint32
	if !r.number(n, want, uint32(^T(0)), &u) {
		return false
	}
	if u == 0 {
		r.problem(n, "0 is out of range: want %s", want)
	}
	*out = T(u)
	return u != 0
}

// boolean reads true or false, as YAML 1.2 writes them and every reader takes them.
func (r *reader) boolean(n *yaml.Node, out *bool) bool {
	const want = "true or false"
	n, ok := r.follow(n)
	if !ok || !r.kind(n, yaml.ScalarNode, want) {
		return false
	}
	switch {
	case isNull(n):
		r.problem(n, "is null: want %s%s", want, r.orNothing())
	case n.Style != 0:
		r.problem(n, "%s is text because of the quotes: want %s, without quotes", strconv.Quote(n.Value), want)
	case n.Value != "true" && n.Value != "false":
		r.problem(n, "%s is no boolean: want %s", shown(n), want)
	default:
		*out = n.Value == "true"
		return true
	}
	return false
}
