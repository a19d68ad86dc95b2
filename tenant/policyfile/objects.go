package policyfile

import (
	"fmt"
	"math"

	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The keys of the objects of a policy file, and whether they may be left out. A
// test compares them with tenant.Spec and the schema.
var (
	policyFields = []field{
		{"version", tenant.FieldVersion, false},
		{"gateway_mac", tenant.FieldGatewayMAC, true},
		{"hosts", tenant.FieldHosts, true},
		{"routing_domains", tenant.FieldRoutingDomains, true},
	}
	hostFields = []field{
		{"name", tenant.FieldName, false},
		{"provider_addresses", tenant.FieldProviderAddresses, false},
		{"ovsdb", tenant.FieldOVSDB, true},
		{"openflow", tenant.FieldOpenFlow, true},
		{"mtu", tenant.FieldMTU, true},
		{"routes", tenant.FieldRoutes, true},
	}
	providerAddressFields = []field{
		{"pa", tenant.FieldPA, false},
		{"weight", tenant.FieldWeight, true},
		{"uplink", tenant.FieldUplink, true},
		{"vlan", tenant.FieldVLAN, true},
	}
	providerRouteFields = []field{
		{"prefix", tenant.FieldPrefix, false},
		{"next_hop", tenant.FieldNextHop, false},
		{"metric", tenant.FieldMetric, true},
	}
	domainFields = []field{
		{"rdid", tenant.FieldRDID, false},
		{"name", tenant.FieldName, true},
		{"customer", tenant.FieldCustomer, true},
		{"subnets", tenant.FieldSubnets, true},
		{"routes", tenant.FieldRoutes, true},
	}
	subnetFields = []field{
		{"vsid", tenant.FieldVSID, false},
		{"name", tenant.FieldName, true},
		{"prefixes", tenant.FieldPrefixes, false},
		{"gateways", tenant.FieldGateways, true},
		{"multicast", tenant.FieldMulticast, true},
		{"dhcp", tenant.FieldDHCP, true},
		{"dns", tenant.FieldDNS, true},
		{"domain", tenant.FieldDomain, true},
		{"lease", tenant.FieldLease, true},
		{"mtu", tenant.FieldMTU, true},
		{"records", tenant.FieldRecords, true},
	}
	multicastFields = []field{
		{"mode", tenant.FieldMode, false},
		{"group", tenant.FieldGroup, true},
		{"groups", tenant.FieldGroups, true},
		{"rate", tenant.FieldRate, true},
		{"snooping", tenant.FieldSnooping, true},
	}
	groupFields = []field{
		{"ca", tenant.FieldCA, false},
		{"pa", tenant.FieldPA, false},
	}
	recordFields = []field{
		{"vm", tenant.FieldVM, false},
		{"ca", tenant.FieldCA, true}, // of the types that have one
		{"mac", tenant.FieldMAC, false},
		{"iface_id", tenant.FieldIfaceID, true},
		{"host", tenant.FieldHost, true},
		{"pa", tenant.FieldPA, true},
		{"type", tenant.FieldType, true},
		{"rule", tenant.FieldRule, true},
		{"forwarding", tenant.FieldForwarding, true},
		{"vlans", tenant.FieldVLANs, true},
		{"use_vm_mac", tenant.FieldUseVMMAC, true},
		{"nat_pa", tenant.FieldNatPA, true},
		{"context", tenant.FieldContext, true},
		{"allow", tenant.FieldAllow, true},
	}
	routeFields = []field{
		{"prefix", tenant.FieldPrefix, false},
		{"next_hop", tenant.FieldNextHop, true}, // of all but black holes
		{"black_hole", tenant.FieldBlackHole, true},
		{"metric", tenant.FieldMetric, true},
		{"vsid", tenant.FieldVSID, true},
	}
)

// maxFields is the largest number of keys that an object has.
const maxFields = 14

// What a value must be, for messages.
const (
	wantMAC      = "a MAC such as 02:00:00:00:00:05"
	wantRDID     = `a GUID such as 11111111-2222-3333-4444-000000005001`
	wantCA       = "a customer address such as 10.0.1.11"
	wantPA       = "a provider address such as 10.99.0.1"
	wantPrefix   = "a prefix such as 10.0.1.0/24"
	wantEndpoint = "unix:PATH, tcp:IP:PORT or ssl:IP:PORT"
	wantName     = "a name"
	wantMTU      = "a number of octets, such as 1500"
	wantNumber   = "a number from 0 to 4294967295"
	wantVLAN     = "a number from 1 to 4094"
	wantGroup    = "a multicast address such as 239.1.2.3"
)

func (r *reader) policy(n *yaml.Node) (spec tenant.Spec) {
	spec.Unread = r.object(n, "the policy", policyFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldVersion:
			var u uint32
			if !r.number(v, "the number 1", math.MaxInt32, &u) {
				return false
			}
			spec.Version = int(u)
			if u == 0 {
				r.problem(v, "0 is not a version of the policy file: want 1")
			}
			return u != 0
		case tenant.FieldGatewayMAC:
			return value(r, v, wantMAC, tenant.ParseMAC, &spec.GatewayMAC)
		case tenant.FieldHosts:
			return r.list(v, "a list of hosts", func(n int) { spec.Hosts = make([]tenant.HostSpec, n) },
				func(i int, item *yaml.Node) bool { r.host(item, &spec.Hosts[i]); return true })
		default:
			return r.list(v, "a list of routing domains", func(n int) { spec.RoutingDomains = make([]tenant.RoutingDomainSpec, n) },
				func(i int, item *yaml.Node) bool { r.domain(item, &spec.RoutingDomains[i]); return true })
		}
	})
	return spec
}

func (r *reader) host(n *yaml.Node, h *tenant.HostSpec) {
	h.Source = r.position(n)
	h.Unread = r.object(n, "a host", hostFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldName:
			return r.text(v, wantName, &h.Name)
		case tenant.FieldProviderAddresses:
			return r.list(v, "a list of provider addresses, such as [10.99.0.1]", func(n int) { h.ProviderAddresses = make([]tenant.ProviderAddress, n) },
				func(i int, item *yaml.Node) bool { return r.providerAddress(item, &h.ProviderAddresses[i]) })
		case tenant.FieldOVSDB:
			return r.text(v, wantEndpoint, &h.OVSDB)
		case tenant.FieldOpenFlow:
			return r.text(v, wantEndpoint, &h.OpenFlow)
		case tenant.FieldMTU:
			return positive(r, v, wantMTU, &h.MTU)
		default:
			return r.list(v, "a list of provider routes", func(n int) { h.Routes = make([]tenant.ProviderRoute, n) },
				func(i int, item *yaml.Node) bool { return r.providerRoute(item, &h.Routes[i]) })
		}
	})
}

func (r *reader) domain(n *yaml.Node, d *tenant.RoutingDomainSpec) {
	d.Source = r.position(n)
	d.Unread = r.object(n, "a routing domain", domainFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldRDID:
			if v.Kind == yaml.MappingNode {
				r.problem(v, "is a mapping, because braces begin one in YAML: want the RDID in quotes, or without braces")
				return false
			}
			return value(r, v, wantRDID, tenant.ParseRDID, &d.RDID)
		case tenant.FieldName:
			return r.text(v, wantName, &d.Name)
		case tenant.FieldCustomer:
			return r.text(v, wantName, &d.Customer)
		case tenant.FieldSubnets:
			return r.list(v, "a list of subnets", func(n int) { d.Subnets = make([]tenant.SubnetSpec, n) },
				func(i int, item *yaml.Node) bool { r.subnet(item, &d.Subnets[i]); return true })
		default:
			return r.list(v, "a list of routes", func(n int) { d.Routes = make([]tenant.RouteSpec, n) },
				func(i int, item *yaml.Node) bool { r.route(item, &d.Routes[i]); return true })
		}
	})
}

func (r *reader) subnet(n *yaml.Node, s *tenant.SubnetSpec) {
	s.Source = r.position(n)
	s.Unread = r.object(n, "a subnet", subnetFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldVSID:
			return r.vsid(v, &s.VSID)
		case tenant.FieldName:
			return r.text(v, wantName, &s.Name)
		case tenant.FieldPrefixes:
			return r.list(v, "a list of prefixes, such as [10.0.1.0/24]", func(n int) { s.Prefixes = make([]tenant.CAPrefix, n) },
				func(i int, item *yaml.Node) bool {
					return value(r, item, wantPrefix, tenant.ParseCAPrefix, &s.Prefixes[i])
				})
		case tenant.FieldGateways:
			return r.list(v, "a list of customer addresses, such as [10.0.1.1]", func(n int) { s.Gateways = make([]tenant.CA, n) },
				func(i int, item *yaml.Node) bool {
					return value(r, item, wantCA, tenant.ParseCA, &s.Gateways[i])
				})
		case tenant.FieldMulticast, tenant.FieldDHCP, tenant.FieldDNS, tenant.FieldDomain, tenant.FieldLease, tenant.FieldMTU:
			return r.service(f, v, s)
		default:
			return r.list(v, "a list of lookup records", func(n int) { s.Records = make([]tenant.RecordSpec, n) },
				func(i int, item *yaml.Node) bool { r.record(item, &s.Records[i]); return true })
		}
	})
}

// vsid reads a VSID. Zero is not left to tenant, where it says "not given".
func (r *reader) vsid(n *yaml.Node, out *uint32) bool {
	if !r.number(n, fmt.Sprintf("a number from %d to %d", tenant.MinVSID, tenant.MaxVSID), math.MaxUint32, out) {
		return false
	}
	if *out == 0 {
		r.problem(n, "VSID 0 is reserved (RFC 7637 section 3.4): want %d to %d", tenant.MinVSID, tenant.MaxVSID)
	}
	return *out != 0
}

func (r *reader) record(n *yaml.Node, rec *tenant.RecordSpec) {
	rec.Source = r.position(n)
	rec.Unread = r.object(n, "a lookup record", recordFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldVM:
			return r.text(v, "the VM's name", &rec.VM)
		case tenant.FieldCA:
			return value(r, v, wantCA, tenant.ParseRecordCA, &rec.CA)
		case tenant.FieldMAC:
			return value(r, v, wantMAC, tenant.ParseMAC, &rec.MAC)
		case tenant.FieldIfaceID:
			return r.text(v, "the iface-id of the VM's port", &rec.IfaceID)
		case tenant.FieldHost:
			return r.text(v, "a host's name", &rec.Host)
		case tenant.FieldPA:
			return value(r, v, wantPA, tenant.ParsePA, &rec.PA)
		default:
			if rec.Options == nil {
				rec.Options = new(tenant.RecordOptions)
			}
			return r.option(f, v, rec.Options)
		}
	})
}

func (r *reader) route(n *yaml.Node, route *tenant.RouteSpec) {
	route.Source = r.position(n)
	route.Unread = r.object(n, "a customer route", routeFields, func(f tenant.FieldSet, v *yaml.Node) bool {
		switch f {
		case tenant.FieldPrefix:
			return value(r, v, wantPrefix, tenant.ParseCAPrefix, &route.Prefix)
		case tenant.FieldNextHop:
			return r.nextHop(v, &route.NextHop)
		case tenant.FieldBlackHole:
			return r.boolean(v, &route.BlackHole)
		case tenant.FieldMetric:
			return r.number(v, wantNumber, math.MaxUint32, &route.Metric)
		default:
			return r.vsid(v, &route.VSID)
		}
	})
}

// nextHop reads the next hop of a route. Hyper-V writes 0.0.0.0 for on-link.
func (r *reader) nextHop(n *yaml.Node, out *tenant.CA) bool {
	if n.Kind == yaml.ScalarNode && (n.Value == "0.0.0.0" || n.Value == "::") {
		r.problem(n, "next hop %s means on-link, which a prefix of a subnet says: want the CA of a VM, or no route", n.Value)
		return false
	}
	return value(r, n, wantCA, tenant.ParseCA, out)
}
