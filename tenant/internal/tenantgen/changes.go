package tenantgen

import (
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Changes draws changes of p, each of another object: many of them sound, many
// in conflict with p, with one another or with the rules. Some of the objects
// come from other, which is a policy of [Spec] too.
func Changes(t *rapid.T, p, other *tenant.Policy) []tenant.Change {
	have, foreign := slices.Collect(p.Objects()), slices.Collect(other.Objects())
	var out []tenant.Change
	seen := map[tenant.Key]bool{}
	for range rapid.SampledFrom([]int{0, 1, 1, 1, 2, 3, 5, 9}).Draw(t, "changes") {
		var c tenant.Change
		switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
		case kind == 0 && len(foreign) > 0:
			c = tenant.Put(rapid.SampledFrom(foreign).Draw(t, "foreign"))
		case kind <= 2 && len(have) > 0:
			c = tenant.Delete(rapid.SampledFrom(have).Draw(t, "deleted").Key())
		case kind == 3:
			c = tenant.Put(tenant.GatewayMAC{MAC: rapid.SampledFrom(macs(p)).Draw(t, "gateway MAC")})
		case len(have) > 0:
			c = tenant.Put(mutate(t, p, rapid.SampledFrom(have).Draw(t, "changed")))
		default:
			c = tenant.Delete(tenant.SubnetKey(0x1000))
		}
		if !seen[c.Key()] {
			seen[c.Key()] = true
			out = append(out, c)
		}
	}
	return out
}

// macs returns MACs that are taken, free or wrong.
func macs(p *tenant.Policy) []tenant.MAC {
	all := []tenant.MAC{{2, 9, 9, 9, 9, 9}, {3, 9, 9, 9, 9, 9}, {}, tenant.DefaultGatewayMAC, p.GatewayMAC()}
	for r := range p.Records() {
		all = append(all, r.MAC)
	}
	return all
}

// mutate returns an object like o that differs from it in one or two fields,
// often in its key or in what others take part in.
func mutate(t *rapid.T, p *tenant.Policy, o tenant.Object) tenant.Object {
	for range rapid.IntRange(1, 2).Draw(t, "mutations") {
		switch v := o.(type) {
		case tenant.HostObject:
			o = mutateHost(t, p, v)
		case tenant.RoutingDomainObject:
			o = mutateDomain(t, p, v)
		case tenant.SubnetObject:
			o = mutateSubnet(t, p, v)
		case tenant.RecordObject:
			o = mutateRecord(t, p, v)
		case tenant.RouteObject:
			o = mutateRoute(t, p, v)
		}
	}
	return o
}

func mutateHost(t *rapid.T, p *tenant.Policy, o tenant.HostObject) tenant.Object {
	pas := []tenant.ProviderAddress{{}, {PA: tenant.PAFrom(netip.MustParseAddr("10.97.0.1"))}, {PA: tenant.PAFrom(netip.MustParseAddr("fd00::1"))}}
	for h := range p.Hosts() {
		pas = append(pas, h.ProviderAddresses...)
	}
	switch rapid.IntRange(0, 6).Draw(t, "field") {
	case 5:
		o.MTU = rapid.SampledFrom([]uint16{0, 1, 1500, 9000}).Draw(t, "mtu")
		o.Routes = nil
	case 6:
		o.ProviderAddresses = slices.Clone(o.ProviderAddresses)
		for i := range o.ProviderAddresses {
			o.ProviderAddresses[i].Weight = rapid.Uint32Range(0, 2).Draw(t, "weight")
			o.ProviderAddresses[i].VLAN = rapid.SampledFrom([]uint16{0, 5, 4095}).Draw(t, "vlan")
		}
	case 0:
		o.Name = rapid.SampledFrom([]string{"h0", "hx", "", " h"}).Draw(t, "name")
	case 1:
		o.ProviderAddresses = rapid.SliceOfN(rapid.SampledFrom(pas), 0, 2).Draw(t, "PAs")
	case 2:
		o.ProviderAddresses = slices.Clone(o.ProviderAddresses[:len(o.ProviderAddresses)/2])
	case 3:
		o.ProviderAddresses = append(slices.Clone(o.ProviderAddresses), rapid.SampledFrom(pas).Draw(t, "PA"))
	default:
		o.OVSDB = rapid.SampledFrom([]string{"", "unix:/x", "x"}).Draw(t, "ovsdb")
	}
	return o
}

func mutateDomain(t *rapid.T, p *tenant.Policy, o tenant.RoutingDomainObject) tenant.Object {
	names := []string{"", "d0", "dx", " x", o.RDID.String()}
	for d := range p.RoutingDomains() {
		names = append(names, d.Name)
	}
	switch rapid.IntRange(0, 2).Draw(t, "field") {
	case 0:
		o.RDID = tenant.RDID{15: rapid.ByteRange(0, 4).Draw(t, "rdid")}
	case 1:
		o.Name = rapid.SampledFrom(names).Draw(t, "name")
	default:
		o.Customer = rapid.SampledFrom([]string{"", "c", "c "}).Draw(t, "customer")
	}
	return o
}

func rdid(t *rapid.T, p *tenant.Policy) tenant.RDID {
	all := []tenant.RDID{{15: 9}, {}}
	for d := range p.RoutingDomains() {
		all = append(all, d.RDID, d.RDID)
	}
	return rapid.SampledFrom(all).Draw(t, "rdid")
}

func vsid(t *rapid.T, p *tenant.Policy) tenant.VSID {
	all := []tenant.VSID{0, 0xfff, 0x2000}
	for s := range p.Subnets() {
		all = append(all, s.VSID, s.VSID, s.VSID)
	}
	return rapid.SampledFrom(all).Draw(t, "vsid")
}

func mutateSubnet(t *rapid.T, p *tenant.Policy, o tenant.SubnetObject) tenant.Object {
	var prefixes []tenant.CAPrefix
	names := []string{"", "s0", "sx", "4096", "4097"}
	for s := range p.Subnets() {
		prefixes = append(prefixes, s.Prefixes...)
		names = append(names, s.Name)
	}
	for _, s := range []string{"10.0.0.0/8", "10.0.1.0/25", "10.1.1.0/30", "10.9.0.0/24", "172.16.0.0/12", "127.0.0.0/16", "10.1.2.4/32"} {
		prefixes = append(prefixes, tenant.CAPrefixFrom(netip.MustParsePrefix(s)))
	}
	switch rapid.IntRange(0, 8).Draw(t, "field") {
	case 7:
		o.Multicast.Mode = tenant.MulticastMode(rapid.IntRange(0, 2).Draw(t, "mode"))
		o.DHCP = !o.DHCP
	case 8:
		o.Lease = rapid.SampledFrom([]uint32{0, 1, 3600, 7200}).Draw(t, "lease")
		o.MTU = rapid.SampledFrom([]uint16{0, 500, 1400}).Draw(t, "mtu")
	case 0:
		o.VSID = vsid(t, p)
	case 1:
		o.RDID = rdid(t, p)
	case 2:
		o.Name = rapid.SampledFrom(names).Draw(t, "name")
	case 3:
		o.Prefixes = append(slices.Clone(o.Prefixes), rapid.SampledFrom(prefixes).Draw(t, "prefix"))
		o.Gateways = nil
	case 4:
		o.Prefixes = rapid.SliceOfN(rapid.SampledFrom(prefixes), 0, 2).Draw(t, "prefixes")
		o.Gateways = nil
	case 5:
		o.Gateways = nil
		for _, p := range o.Prefixes {
			o.Gateways = append(o.Gateways, address(p, rapid.SampledFrom([]byte{0, 1, 2, 3, 4, 14, 15, 200}).Draw(t, "gateway")))
		}
	default:
		o.Prefixes = slices.Clone(o.Prefixes[:len(o.Prefixes)/2])
		o.Gateways = nil
	}
	return o
}

func mutateRecord(t *rapid.T, p *tenant.Policy, o tenant.RecordObject) tenant.Object {
	vms, ifaces := []string{"vx", "vy", "", "v "}, []string{"", "ix", "vx", "v "}
	cas := []tenant.CA{tenant.CAFrom(netip.MustParseAddr("10.200.0.1")), {}}
	for r := range p.Records() {
		vms, ifaces, cas = append(vms, r.VM), append(ifaces, r.IfaceID), append(cas, r.CA)
	}
	if s, ok := p.Subnet(o.VSID); ok {
		for _, p := range s.Prefixes {
			for _, n := range []byte{0, 1, 2, 3, 9, 10, 11, 12, 15} {
				cas = append(cas, address(p, n))
			}
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "field") {
	case 7: // another CA of its adapter
		o.CA = rapid.SampledFrom(cas).Draw(t, "ca")
		if o.IfaceID == "" {
			o.IfaceID = o.VM
		}
	case 8:
		options := tenant.RecordOptions{Type: tenant.RecordType(rapid.IntRange(0, 3).Draw(t, "type")), Forwarding: true}
		if o.Options != nil {
			options.Rule, options.NatPA, options.VLANs = o.Options.Rule, o.Options.NatPA, o.Options.VLANs
		}
		if o.Options = &options; options.Type == tenant.Wildcard {
			o.CA = tenant.CAFrom(netip.IPv4Unspecified())
		} else if !options.Type.HasCA() && rapid.Bool().Draw(t, "without CA") {
			o.CA = tenant.CA{}
		}
	case 9:
		options := tenant.RecordOptions{Rule: tenant.Nat, Allow: rapid.SampledFrom([][]tenant.CAPrefix{nil, {{}}}).Draw(t, "allow")}
		for h := range p.Hosts() {
			if rapid.Bool().Draw(t, "host's") {
				options.NatPA = h.ProviderAddresses[0].PA
			}
		}
		o.Options = &options
	case 0:
		o.VSID = vsid(t, p)
	case 1:
		o.CA = rapid.SampledFrom(cas).Draw(t, "ca")
	case 2:
		o.VM = rapid.SampledFrom(vms).Draw(t, "vm")
	case 3:
		o.IfaceID = rapid.SampledFrom(ifaces).Draw(t, "iface")
	case 4:
		o.MAC = rapid.SampledFrom(macs(p)).Draw(t, "mac")
	default:
		hosts, pas := []string{"", "hz"}, []tenant.PA{{}, {}, tenant.PAFrom(netip.MustParseAddr("10.97.0.9"))}
		for h := range p.Hosts() {
			hosts, pas = append(hosts, h.Name), append(pas, h.ProviderAddresses[0].PA)
		}
		o.Host, o.PA = rapid.SampledFrom(hosts).Draw(t, "host"), rapid.SampledFrom(pas).Draw(t, "pa")
	}
	return o
}

func mutateRoute(t *rapid.T, p *tenant.Policy, o tenant.RouteObject) tenant.Object {
	hops := []tenant.CA{o.NextHop, {}, tenant.CAFrom(netip.MustParseAddr("10.200.0.1"))}
	prefixes := []tenant.CAPrefix{o.Prefix, {}}
	for s := range p.Subnets() {
		hops = append(hops, s.Gateways[0], address(s.Prefixes[0], 6))
		prefixes = append(prefixes, s.Prefixes[0])
	}
	switch rapid.IntRange(0, 5).Draw(t, "field") {
	case 4:
		o.BlackHole = !o.BlackHole
		if rapid.Bool().Draw(t, "alone") {
			o.NextHop = tenant.CA{}
		}
	case 5:
		o.VSID = vsid(t, p)
	case 0:
		o.RDID = rdid(t, p)
	case 1:
		o.Prefix = rapid.SampledFrom(prefixes).Draw(t, "prefix")
	case 2:
		o.NextHop = rapid.SampledFrom(hops).Draw(t, "next hop")
	default:
		o.Metric = rapid.Uint32Range(0, 3).Draw(t, "metric")
	}
	return o
}
