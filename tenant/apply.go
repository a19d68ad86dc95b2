package tenant

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Apply returns the policy that changes make of p, with the number revision. If
// that is no valid policy, it returns none and every problem there is: the
// problems that [New] would report of all the objects together, and those of
// objects that need one which is not there. Paths are keys with a field, such as
// records/5001/10.0.0.5/mac.
//
// Changes are applied as a whole, so that their order does not matter; an object
// may be changed once. To put an object that is there already, wherever it was
// read from, or to delete one that is not, changes nothing.
//
// p stays as it is, and may be read while Apply runs. The cost is that of the
// changes and of what hangs on them: the records of a subnet whose addresses
// change, the routes of its routing domain, the records on a host that goes or
// that loses a PA, and each subnet where the gateway MAC changes.
func (p *Policy) Apply(changes []Change, revision uint64) (*Policy, []Problem) {
	a := &applier{checker: newChecker(p, true), domainOf: make(map[RDID]*domainWork), subnetOf: make(map[VSID]*subnetWork)}
	a.take(a.sorted(changes))
	a.put()
	if len(a.problems) > 0 {
		return nil, a.problems
	}
	a.revision = revision
	return a.Policy, nil
}

// applier takes out of the policy what changes, and what hangs on it, and makes
// work for the checker of what is to be put in.
type applier struct {
	*checker
	domainOf map[RDID]*domainWork
	subnetOf map[VSID]*subnetWork
	orphaned []*domainWork // of records whose subnet is not there
}

// sorted returns the changes by key, each key once.
func (a *applier) sorted(changes []Change) []Change {
	byKey := func(c, d Change) int { return c.key.Compare(d.key) }
	if !slices.IsSortedFunc(changes, byKey) {
		changes = slices.Clone(changes)
		slices.SortStableFunc(changes, byKey)
	}
	for i := 1; i < len(changes); i++ {
		if changes[i].key != changes[i-1].key {
			continue
		}
		once := slices.Clone(changes[:i])
		for _, c := range changes[i:] {
			if c.key != once[len(once)-1].key {
				once = append(once, c)
				continue
			}
			a.add(c.key.String(), "is changed twice at once: want one change of each object")
		}
		return once
	}
	return changes
}

// take goes from the objects that need others to those that are needed, so that
// an object is still there while others are taken out of it.
func (a *applier) take(changes []Change) {
	of := func(k Kind) []Change {
		from, _ := slices.BinarySearchFunc(changes, k, compareKind)
		to, _ := slices.BinarySearchFunc(changes, k+1, compareKind)
		return changes[from:to]
	}
	for _, c := range of(0) {
		a.add(c.key.String(), "is a change of nothing: want one that Put or Delete returns")
	}
	before := a.gatewayMAC
	a.takeGatewayMAC(of(KindGatewayMAC))
	routes := a.takeRoutes(of(KindRoute))
	records := a.takeRecords(of(KindRecord))
	moved := a.takeHosts(of(KindHost))
	moved = append(moved, a.takeSubnets(of(KindSubnet))...)
	a.takeDomains(of(KindRoutingDomain))
	if a.gatewayMAC != before {
		a.recheckMACs()
	}
	for _, r := range records {
		a.putRecord(r)
	}
	for _, r := range moved {
		a.putRecord(r.object())
	}
	for _, r := range routes {
		w := a.workIn(r.RDID)
		w.routes = append(w.routes, RouteSpec{Prefix: r.Prefix, NextHop: r.NextHop, BlackHole: r.BlackHole, Metric: r.Metric,
			VSID: uint32(r.VSID), Source: r.Source})
	}
	a.finish()
}

func compareKind(c Change, k Kind) int { return cmp.Compare(c.key.kind, k) }

func (a *applier) takeGatewayMAC(changes []Change) {
	for _, c := range changes {
		path := a.field(c.key.String(), "gateway_mac")
		o, put := c.object.(GatewayMAC)
		switch {
		case !put:
			a.gatewayMAC = DefaultGatewayMAC
		case o.MAC == (MAC{}):
			a.add(path, fmt.Sprintf("is missing: want a unicast MAC, or this object deleted, which makes it %s", DefaultGatewayMAC))
		default:
			a.putGatewayMAC(path, o.MAC)
		}
	}
}

// recheckMACs reports the records that have the new MAC of the gateway.
func (a *applier) recheckMACs() {
	hash := hashMAC(a.gatewayMAC)
	for s := range a.subnets.All() {
		if r, ok := s.macs.Find(hash, func(r *record) bool { return r.mac == a.gatewayMAC }); ok {
			a.add(a.field(a.recordPath(r), "mac"), a.macProblem(r.mac))
		}
	}
}

// takeRoutes takes out the routes that change and returns those to be put.
func (a *applier) takeRoutes(changes []Change) (put []RouteObject) {
	for _, c := range changes {
		old, found := a.route(c.key)
		if o, ok := c.object.(RouteObject); ok {
			if !found { // all of a route is in its key
				put = append(put, o)
			}
		} else if found {
			a.editDomain(c.key.rdid).routes.Delete(a.o, func(r *route) int { return r.Compare(old) })
		}
	}
	return put
}

// takeRecords takes out the records that change and returns those to be put.
func (a *applier) takeRecords(changes []Change) (put []RecordObject) {
	for _, c := range changes {
		old, found := a.recordOf(c.key)
		if o, ok := c.object.(RecordObject); ok {
			if found && old.object().Equal(o) {
				continue
			}
			put = append(put, o)
		}
		if found {
			a.dropRecord(old)
		}
	}
	return put
}

// takeHosts makes work of the hosts that are put, and takes out those that are
// deleted. It returns the records that hang on what a host loses, taken out.
func (a *applier) takeHosts(changes []Change) (moved []*record) {
	var gone []string
	for _, c := range changes {
		old, found := a.hosts.Find(byHost(c.key.host))
		o, put := c.object.(HostObject)
		if found && put && old.object().Equal(o) {
			continue
		}
		if found {
			for r := range old.placed.All() {
				if !put || loses(&o, r.place.pa) || r.place.options != nil && loses(&o, r.place.options.NatPA) {
					moved = append(moved, r)
				}
			}
			a.freePAs(old)
			if !put {
				gone = append(gone, c.key.host)
			}
		}
		if put {
			a.putHosts = append(a.putHosts, &HostSpec{Name: o.Name, ProviderAddresses: o.ProviderAddresses,
				OVSDB: o.OVSDB, OpenFlow: o.OpenFlow, MTU: o.MTU, Routes: o.Routes, Source: o.Source})
		}
	}
	for _, r := range moved {
		a.dropRecord(r)
	}
	for _, name := range gone {
		a.hosts.Delete(a.o, byHost(name))
	}
	return moved
}

// loses reports whether a record has a PA that its host has no longer.
func loses(h *HostObject, pa PA) bool {
	return pa.IsValid() && !slices.ContainsFunc(h.ProviderAddresses, func(a ProviderAddress) bool { return a.PA == pa })
}

// takeSubnets makes work of the subnets that are put, and takes out those that
// are deleted. It returns the records of subnets that move to another routing
// domain, taken out.
func (a *applier) takeSubnets(changes []Change) (moved []*record) {
	for _, c := range changes {
		old, found := a.subnets.Find(byVSID(c.key.vsid))
		o, put := c.object.(SubnetObject)
		switch {
		case found && put:
			if !old.object().Equal(o) {
				moved = append(moved, a.replaceSubnet(old, o)...)
			}
		case put:
			a.putSubnet(o, &subnetWork{}).recheck = true
		case found:
			if n := old.records.Len(); n > 0 {
				a.stillHas(c.key, "record", n, some(old.records.All(), (*record).shown))
			}
			a.workIn(old.is.RDID).recheck = true
			a.dropSubnet(old)
		}
	}
	return moved
}

func (a *applier) replaceSubnet(old *subnet, o SubnetObject) (moved []*record) {
	gateways := o.Gateways
	if len(gateways) == 0 {
		gateways = DefaultGateways(o.Prefixes)
	}
	from, w := a.workIn(old.is.RDID), &subnetWork{}
	if old.is.RDID != o.RDID {
		// What its records claim in the routing domain they now claim in another.
		moved = slices.Collect(old.records.All())
		for _, r := range moved {
			a.dropRecord(r)
		}
		from.recheck = true
		a.workIn(o.RDID).recheck = true
	} else if !slices.Equal(old.is.Prefixes, o.Prefixes) || !slices.Equal(old.is.Gateways, gateways) {
		w.recheck, from.recheck = true, true
	}
	a.detachSubnet(old)
	w.s = a.editSubnet(o.VSID)
	a.putSubnet(o, w)
	return moved
}

// putSubnet makes w the work of putting o, and returns that of its routing domain.
func (a *applier) putSubnet(o SubnetObject, w *subnetWork) *domainWork {
	w.vsid = o.VSID
	w.spec = &SubnetSpec{VSID: uint32(o.VSID), Name: o.Name, Prefixes: o.Prefixes, Gateways: o.Gateways, Multicast: o.Multicast,
		DHCP: o.DHCP, DNS: o.DNS, Domain: o.Domain, Lease: o.Lease, MTU: o.MTU, Source: o.Source}
	a.subnetOf[o.VSID] = w
	d := a.workIn(o.RDID)
	d.subnets = append(d.subnets, w)
	return d
}

// takeDomains makes work of the routing domains that are put, and takes out
// those that are deleted.
func (a *applier) takeDomains(changes []Change) {
	for _, c := range changes {
		old, found := a.domains.Find(byRDID(c.key.rdid))
		o, put := c.object.(RoutingDomainObject)
		if found && put && old.object().Equal(o) {
			continue
		}
		if found {
			a.freeDomainName(old)
		}
		if put {
			a.workIn(o.RDID).spec = &RoutingDomainSpec{RDID: o.RDID, Name: o.Name, Customer: o.Customer, Source: o.Source}
		} else if found {
			if n := old.subnets.Len(); n > 0 {
				a.stillHas(c.key, "subnet", n, some(old.subnets.All(), VSID.String))
			}
			if n := old.routes.Len(); n > 0 {
				a.stillHas(c.key, "route", n, some(old.routes.All(), func(r *route) string { return r.is.Prefix.String() }))
			}
			a.domains.Delete(a.o, byRDID(c.key.rdid))
		}
	}
}

// putRecord adds o to the work of its subnet.
func (a *applier) putRecord(o RecordObject) {
	w := a.subnetOf[o.VSID]
	if w == nil {
		w = &subnetWork{vsid: o.VSID, s: a.editSubnet(o.VSID)}
		a.subnetOf[o.VSID] = w
		if w.s != nil {
			d := a.workIn(w.s.is.RDID)
			d.subnets = append(d.subnets, w)
		} else {
			a.orphaned = append(a.orphaned, &domainWork{subnets: []*subnetWork{w}})
		}
	}
	if w.s == nil && w.spec == nil {
		a.add(a.field(o.Key().String(), "vsid"), fmt.Sprintf("subnet %s is unknown: want the VSID of a subnet of the policy", o.VSID))
	}
	w.records = append(w.records, RecordSpec{VM: o.VM, CA: o.CA, MAC: o.MAC, IfaceID: o.IfaceID, Host: o.Host, PA: o.PA, Options: o.Options, Source: o.Source})
}

// workIn returns the work of a routing domain.
func (a *applier) workIn(id RDID) *domainWork {
	w := a.domainOf[id]
	if w == nil {
		w = &domainWork{rdid: id}
		a.domainOf[id] = w
		a.work = append(a.work, w)
	}
	return w
}

// finish puts the work in order, and reports what is put into a routing domain
// that is not there.
func (a *applier) finish() {
	slices.SortFunc(a.work, func(v, w *domainWork) int { return v.rdid.Compare(w.rdid) })
	for _, w := range a.work {
		slices.SortFunc(w.subnets, func(s, t *subnetWork) int { return s.vsid.Compare(t.vsid) })
		w.d = a.editDomain(w.rdid)
		if w.d != nil || w.spec != nil {
			continue
		}
		want := fmt.Sprintf("routing domain %s is unknown: want the RDID of a routing domain of the policy", w.rdid)
		if w.rdid == (RDID{}) {
			want = "is missing: want the RDID of a routing domain of the policy"
		}
		for _, s := range w.subnets {
			a.add(a.field(SubnetKey(s.vsid).String(), "rdid"), want)
		}
		for _, r := range w.routes {
			a.add(a.field(r.route(w.rdid).Key().String(), "rdid"), want)
		}
	}
	a.work = append(a.work, a.orphaned...)
}

// stillHas reports that an object is deleted but not what is in it.
func (a *applier) stillHas(k Key, what string, n int, names []string) {
	list := strings.Join(names, ", ")
	if n > len(names) {
		list += fmt.Sprintf(" and %d more", n-len(names))
	}
	a.add(k.String(), fmt.Sprintf("still has %s (%s): want them deleted or moved too, or this kept", plural(n, what), list))
}

// some returns the names of a few of all.
func some[T any](all iter.Seq[T], name func(T) string) (names []string) {
	const most = 5
	for v := range all {
		if len(names) == most {
			break
		}
		names = append(names, name(v))
	}
	return names
}
