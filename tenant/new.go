package tenant

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// New checks spec and returns it as a policy, with the number revision. If
// anything is wrong it returns no policy and every problem there is.
func New(spec Spec, revision uint64) (*Policy, []Problem) {
	c := newChecker(&spec)
	c.run()
	if path, unread := firstUnread(&spec); unread && len(c.problems) == 0 {
		c.add(path, "could not be read: want a readable value")
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	p := &Policy{
		revision:      revision,
		gatewayMAC:    c.gatewayMAC,
		hosts:         make([]Host, 0, len(spec.Hosts)),
		domains:       make([]RoutingDomain, 0, len(spec.RoutingDomains)),
		records:       make([]LookupRecord, 0, c.count),
		hostByName:    c.hosts,
		domainByRDID:  c.rdids,
		subnetByVSID:  make(map[VSID]int, len(c.vsids)),
		recordByIface: c.ifaces,
		recordSpan:    make(map[VSID]span, len(c.vsids)),
		subnetsOf:     make(map[RDID][]int, len(spec.RoutingDomains)),
		routeSpan:     make(map[RDID]span, len(spec.RoutingDomains)),
	}
	p.fillHosts(&spec)
	p.fillDomains(&spec)
	p.fillSubnets(c)
	return p, nil
}

func (p *Policy) fillHosts(spec *Spec) {
	for i := range spec.Hosts {
		h := &spec.Hosts[i]
		out := Host{Name: h.Name, OVSDB: h.OVSDB, OpenFlow: h.OpenFlow, Source: h.Source,
			ProviderAddresses: make([]ProviderAddress, len(h.ProviderAddresses))}
		for j, pa := range h.ProviderAddresses {
			out.ProviderAddresses[j].PA = pa
		}
		p.hosts = append(p.hosts, out)
	}
	slices.SortFunc(p.hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	for i := range p.hosts {
		p.hostByName[p.hosts[i].Name] = i
	}
}

func (p *Policy) fillDomains(spec *Spec) {
	for i := range spec.RoutingDomains {
		d := &spec.RoutingDomains[i]
		name := d.Name
		if name == "" {
			name = d.RDID.String()
		}
		p.domains = append(p.domains, RoutingDomain{RDID: d.RDID, Name: name, Customer: d.Customer, Source: d.Source})
		for j := range d.Routes {
			r := &d.Routes[j]
			p.routes = append(p.routes, CustomerRoute{RDID: d.RDID, Prefix: r.Prefix, NextHop: r.NextHop, Metric: r.Metric, Source: r.Source})
		}
	}
	slices.SortFunc(p.domains, func(a, b RoutingDomain) int { return a.RDID.Compare(b.RDID) })
	for i := range p.domains {
		p.domainByRDID[p.domains[i].RDID] = i
	}
	slices.SortFunc(p.routes, func(a, b CustomerRoute) int {
		return cmp.Or(a.RDID.Compare(b.RDID), a.Prefix.Compare(b.Prefix), cmp.Compare(a.Metric, b.Metric), a.NextHop.Compare(b.NextHop))
	})
	for i := 0; i < len(p.routes); {
		from, id := i, p.routes[i].RDID
		for i < len(p.routes) && p.routes[i].RDID == id {
			i++
		}
		p.routeSpan[id] = span{from, i}
	}
}

// fillSubnets builds the subnets and their records, each in its order.
func (p *Policy) fillSubnets(c *checker) {
	order := make([]VSID, 0, len(c.vsids))
	for v := range c.vsids {
		order = append(order, VSID(v))
	}
	slices.Sort(order)
	p.subnets = make([]VirtualSubnet, 0, len(order))
	for _, v := range order {
		ref := c.vsids[uint32(v)]
		d := &c.spec.RoutingDomains[ref.domain]
		s := &d.Subnets[ref.subnet]
		out := VirtualSubnet{VSID: v, RDID: d.RDID, Name: s.Name, Source: s.Source,
			Prefixes: slices.Clone(s.Prefixes), Gateways: slices.Clone(s.Gateways)}
		if out.Name == "" {
			out.Name = v.String()
		}
		if len(out.Gateways) == 0 {
			out.Gateways = DefaultGateways(s.Prefixes)
		}
		p.subnetByVSID[v] = len(p.subnets)
		p.subnetsOf[d.RDID] = append(p.subnetsOf[d.RDID], len(p.subnets))
		p.subnets = append(p.subnets, out)
		p.fillRecords(c, d, s)
	}
}

func (p *Policy) fillRecords(c *checker, d *RoutingDomainSpec, s *SubnetSpec) {
	from := len(p.records)
	for i := range s.Records {
		r := &s.Records[i]
		out := LookupRecord{RDID: d.RDID, VSID: VSID(s.VSID), CA: r.CA, MAC: r.MAC, VM: r.VM, IfaceID: r.IfaceID,
			Customer: d.Customer, Source: r.Source}
		if out.IfaceID == "" {
			out.IfaceID = r.VM
		}
		// The name comes from the host, so that all records share one string.
		if r.Host != "" {
			out.Host = p.hosts[p.hostByName[r.Host]].Name
		} else if r.PA.IsValid() {
			out.Host = c.spec.Hosts[c.paOwner[r.PA]].Name
		}
		p.records = append(p.records, out)
	}
	mine := p.records[from:]
	byCA := func(a, b LookupRecord) int { return a.CA.Compare(b.CA) }
	if !slices.IsSortedFunc(mine, byCA) {
		slices.SortFunc(mine, byCA)
	}
	for i := range mine {
		p.recordByIface[mine[i].IfaceID] = from + i
	}
	p.recordSpan[VSID(s.VSID)] = span{from, len(p.records)}
}

// firstUnread returns the path of an object with unread fields.
func firstUnread(spec *Spec) (path string, unread bool) {
	if spec.Unread != 0 {
		return "policy", true
	}
	for i := range spec.Hosts {
		if spec.Hosts[i].Unread != 0 {
			return fmt.Sprintf("hosts[%d]", i), true
		}
	}
	for i := range spec.RoutingDomains {
		d := &spec.RoutingDomains[i]
		if d.Unread != 0 {
			return domainPath(i), true
		}
		for j := range d.Routes {
			if d.Routes[j].Unread != 0 {
				return routePath(i, j), true
			}
		}
		for j := range d.Subnets {
			s := &d.Subnets[j]
			if s.Unread != 0 {
				return subnetPath(i, j), true
			}
			for k := range s.Records {
				if s.Records[k].Unread != 0 {
					return recordPath(i, j, k), true
				}
			}
		}
	}
	return "", false
}

// Compare orders routing domain identifiers by the bytes of their text.
func (r RDID) Compare(q RDID) int { return bytes.Compare(r[:], q[:]) }

// Compare orders prefixes by address, then by length; IPv4 comes first.
func (p CAPrefix) Compare(q CAPrefix) int {
	return cmp.Or(p.prefix.Addr().Compare(q.prefix.Addr()), cmp.Compare(p.prefix.Bits(), q.prefix.Bits()))
}
