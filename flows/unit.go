package flows

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// UnitKind is the kind of object that a [Unit] is for.
type UnitKind uint8

// The kinds of units. The first three are parts of a routing domain, the same
// on every host that holds it; the pipeline is the same on every host.
const (
	UnitSubnet   UnitKind = iota + 1 // a virtual subnet: its VSID, prefixes and gateways
	UnitRecord                       // a lookup record: its CA
	UnitRoute                        // the customer routes of one prefix
	UnitPipeline                     // what every switch has
	UnitTunnel                       // a gre port
	UnitEncap                        // the way out by the gre port of one virtual subnet
	UnitVM                           // a VM's port on a host
	UnitPeer                         // a host, seen from another or from itself
)

// Unit is the part of the flows that one object makes. It is comparable. Which
// flows a unit has is a matter of the compiler alone: see [Compiler.Flows].
type Unit struct {
	kind   UnitKind
	port   uint32
	vsid   tenant.VSID
	rdid   tenant.RDID
	ca     tenant.CA
	mac    tenant.MAC // of a record without a CA
	prefix tenant.CAPrefix
	host   string
	name   string // of the peer, or an iface-id
	flowID bool   // of a tunnel port: its packets have FlowIDs
}

// SubnetUnit returns the unit of a virtual subnet in a routing domain.
func SubnetUnit(id tenant.RDID, v tenant.VSID) Unit { return Unit{kind: UnitSubnet, rdid: id, vsid: v} }

// RecordUnit returns the unit of the lookup record of a CA in a virtual subnet,
// while the subnet is in that routing domain.
func RecordUnit(id tenant.RDID, v tenant.VSID, ca tenant.CA) Unit {
	return Unit{kind: UnitRecord, rdid: id, vsid: v, ca: ca}
}

// RouteUnit returns the unit of the customer routes to one prefix: those of the
// whole routing domain and those of single subnets.
func RouteUnit(id tenant.RDID, p tenant.CAPrefix) Unit {
	return Unit{kind: UnitRoute, rdid: id, prefix: p}
}

// PipelineUnit returns the unit of the flows that every switch has.
func PipelineUnit() Unit { return Unit{kind: UnitPipeline} }

// VMUnit returns the unit of a VM that is attached to a host by that port.
func VMUnit(host, iface string, port uint32) Unit {
	return Unit{kind: UnitVM, host: host, name: iface, port: port}
}

// PeerUnit returns the unit of what a host has for a peer. The host has one for
// itself too.
func PeerUnit(host, peer string) Unit { return Unit{kind: UnitPeer, host: host, name: peer} }

// Kind returns the kind of the unit.
func (u Unit) Kind() UnitKind { return u.kind }

// Domain returns the routing domain that the unit is part of; zero for a unit of
// a host.
func (u Unit) Domain() tenant.RDID { return u.rdid }

// VSID returns the virtual subnet of a subnet or a record.
func (u Unit) VSID() tenant.VSID { return u.vsid }

// String names the unit for messages.
func (u Unit) String() string {
	switch u.kind {
	case UnitSubnet:
		return fmt.Sprintf("subnet %s of routing domain %s", u.vsid, u.rdid)
	case UnitRecord:
		name := u.ca.String()
		if !u.ca.IsValid() {
			name = u.mac.String()
		}
		return fmt.Sprintf("record %s of subnet %s of routing domain %s", name, u.vsid, u.rdid)
	case UnitRoute:
		return fmt.Sprintf("routes to %s of routing domain %s", u.prefix, u.rdid)
	case UnitPipeline:
		return "pipeline"
	case UnitTunnel:
		return fmt.Sprintf("tunnel port %d, VSID %s", u.port, u.vsid)
	case UnitEncap:
		return fmt.Sprintf("way out by port %d for VSID %s of routing domain %s", u.port, u.vsid, u.rdid)
	case UnitVM:
		return fmt.Sprintf("iface-id %s at port %d of host %s", u.name, u.port, u.host)
	case UnitPeer:
		return fmt.Sprintf("peer %s of host %s", u.name, u.host)
	}
	return "no unit"
}

// Units yields the units of a routing domain that are the same on every host:
// each subnet with its records, then the routes.
func (c *Compiler) Units(id tenant.RDID) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		for s := range c.policy.SubnetsOf(id) {
			if !yield(SubnetUnit(id, s.VSID)) {
				return
			}
			for r := range c.policy.RecordsOf(s.VSID) {
				if !yield(recordUnit(&r)) {
					return
				}
			}
		}
		for r := range firstOfPrefix(c.policy.RoutesOf(id)) {
			if !yield(RouteUnit(id, r.Prefix)) {
				return
			}
		}
	}
}

// HostUnits yields the units of a host's own flows: all that are not the same on
// every host with its routing domains, and those of the pipeline.
func (c *Compiler) HostUnits(h HostView) iter.Seq[Unit] {
	vms := c.localVMs(&builder{}, h)
	return c.hostUnits(h, vms, c.domainsOf(vms, h.Hold))
}

func (c *Compiler) hostUnits(h HostView, vms []Unit, ids []tenant.RDID) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		if !yield(PipelineUnit()) || !yield(PeerUnit(h.Name, h.Name)) {
			return
		}
		for _, u := range vms {
			if !yield(u) {
				return
			}
		}
		for _, p := range c.peersOf(h.Name, ids) {
			if !yield(PeerUnit(h.Name, p)) {
				return
			}
		}
		for u := range c.TunnelUnits(h.Tunnels, func(id tenant.RDID) bool {
			_, here := slices.BinarySearchFunc(ids, id, tenant.RDID.Compare)
			return here
		}) {
			if !yield(u) {
				return
			}
		}
	}
}

// TunnelUnits yields the units of a host's gre ports. here says whether the host
// holds a routing domain.
func (c *Compiler) TunnelUnits(t TunnelPorts, here func(tenant.RDID) bool) iter.Seq[Unit] {
	return func(yield func(Unit) bool) {
		if t.PerVSID == nil {
			if t.Flow != 0 {
				yield(Unit{kind: UnitTunnel, port: t.Flow, flowID: t.FlowID})
			}
			return
		}
		for _, v := range slices.Sorted(maps.Keys(t.PerVSID)) {
			port := t.PerVSID[v]
			if port == 0 {
				continue
			}
			if !yield(Unit{kind: UnitTunnel, port: port, vsid: v}) {
				return
			}
			s, ok := c.policy.Subnet(v)
			if ok && here(s.RDID) && !yield(Unit{kind: UnitEncap, port: port, vsid: v, rdid: s.RDID}) {
				return
			}
		}
	}
}

// Parts is what a unit makes: flows, canonical, and the groups and meters that
// they use, each in no order.
type Parts struct {
	Flows  []flow.Flow
	Groups []flow.Group
	Meters []flow.Meter
}

func (b *builder) parts() Parts { return Parts{b.flows, b.groups, b.meters} }

// Parts returns what a unit makes; nothing where the policy does not have the
// object. Problems are faults of the program.
func (c *Compiler) Parts(u Unit) (Parts, []Problem) {
	b := &builder{host: u.host}
	c.make(b, u)
	return b.parts(), b.problems
}

// Flows returns the flows of what [Compiler.Parts] returns.
func (c *Compiler) Flows(u Unit) ([]flow.Flow, []Problem) {
	p, problems := c.Parts(u)
	return p.Flows, problems
}

// Make calls fn with what [Compiler.Parts] returns, in memory that is used again
// when fn has returned.
func (c *Compiler) Make(u Unit, fn func(Parts, []Problem)) {
	b := c.room.Get().(*builder)
	b.reset()
	b.host = u.host
	c.make(b, u)
	fn(b.parts(), b.problems)
	c.room.Put(b)
}

// Domain yields all units of a routing domain with what they make, which is valid
// until the next step only. The faults of the program go to fault.
func (c *Compiler) Domain(id tenant.RDID, fault func(Problem)) iter.Seq2[Unit, Parts] {
	return func(yield func(Unit, Parts) bool) {
		b := &builder{}
		for m := range c.each(b, id) {
			for _, p := range b.problems {
				fault(p)
			}
			if !yield(m.u, b.parts()) {
				return
			}
			b.reset()
		}
	}
}

// made is a unit whose flows were made, with its record if it is one.
type made struct {
	u      Unit
	record *tenant.LookupRecord
}

// each makes the flows of a routing domain unit by unit.
func (c *Compiler) each(b *builder, id tenant.RDID) iter.Seq[made] {
	return func(yield func(made) bool) {
		number, ok := c.domains.of(id)
		if !ok {
			return
		}
		for s := range c.policy.SubnetsOf(id) {
			c.subnetFlows(b, number, s)
			if !yield(made{u: SubnetUnit(id, s.VSID)}) {
				return
			}
			for r := range c.policy.RecordsOf(s.VSID) {
				c.recordFlows(b, number, &r)
				if !yield(made{recordUnit(&r), &r}) {
					return
				}
			}
		}
		for r := range firstOfPrefix(c.policy.RoutesOf(id)) {
			c.customerRouteFlows(b, number, id, r.Prefix)
			if !yield(made{u: RouteUnit(id, r.Prefix)}) {
				return
			}
		}
	}
}

// make adds the flows of a unit.
func (c *Compiler) make(b *builder, u Unit) {
	switch u.kind {
	case UnitSubnet, UnitRecord, UnitRoute:
		if number, ok := c.domains.of(u.rdid); ok {
			c.makeShared(b, number, u)
		}
	case UnitPipeline:
		c.pipelineFlows(b)
	case UnitTunnel:
		tunnelPortFlows(b, u)
	case UnitEncap:
		if s, ok := c.policy.Subnet(u.vsid); ok && s.RDID == u.rdid {
			encapFlow(b, u)
		}
	case UnitVM:
		if r, ok := c.policy.RecordByIfaceID(u.name); ok && usable(u.port) && c.HostOf(&r) == u.host {
			lackOfVM(b, c.policy, u.name)
		}
		vm := present(c.policy, u.name)
		if len(vm) == 0 || !usable(u.port) || c.HostOf(&vm[0]) != u.host {
			return
		}
		if number, ok := c.domains.of(vm[0].RDID); ok {
			classifyFlow(b, number, &vm[0], u.port)
			portSecurityFlows(b, vm, u.port)
			if s, ok := c.policy.Subnet(vm[0].VSID); ok && s.DHCP {
				dhcpFlows(b, vm, u.port)
			}
			actOwnFlows(b, vm, u.port)
			localFlows(b, &vm[0], u.port)
			c.puntFlow(b, &vm[0], u.port)
		}
	case UnitPeer:
		self, _ := c.policy.Host(u.host)
		peer, ok := c.policy.Host(u.name)
		if number, known := c.peers.of(u.name); ok && known {
			tunnelSourceFlows(b, &self, &peer)
			paFlow(b, number, &self, &peer)
		}
	}
}

func (c *Compiler) makeShared(b *builder, number uint32, u Unit) {
	switch u.kind {
	case UnitSubnet:
		if s, ok := c.policy.Subnet(u.vsid); ok && s.RDID == u.rdid {
			c.subnetFlows(b, number, s)
		}
	case UnitRecord:
		if r, ok := c.Record(u); ok {
			c.recordFlows(b, number, &r)
		}
	case UnitRoute:
		c.customerRouteFlows(b, number, u.rdid, u.prefix)
	}
}

// Record returns the record of a [UnitRecord], where the policy has it.
func (c *Compiler) Record(u Unit) (tenant.LookupRecord, bool) {
	if u.kind != UnitRecord {
		return tenant.LookupRecord{}, false
	}
	key := tenant.RecordKey(u.vsid, u.ca)
	if !u.ca.IsValid() {
		key = tenant.RecordMACKey(u.vsid, u.mac)
	}
	r, ok := c.policy.RecordByKey(key)
	return r, ok && r.RDID == u.rdid
}

func (c *Compiler) subnetFlows(b *builder, number uint32, s tenant.VirtualSubnet) {
	tunnelVSIDFlows(b, number, s)
	routeFlows(b, number, s)
	c.gatewayFlows(b, number, s)
	lackOfSubnet(b, &s)
}

// pipelineFlows makes what every switch has, whatever it holds.
func (c *Compiler) pipelineFlows(b *builder) {
	classifyMisses(b)
	b.miss(&tunnelSource, DropUnknownPA)
	tunnelVSIDMisses(b)
	b.miss(&portSecurity, DropUnknownPort)
	routeMisses(b)
	caMisses(b)
	c.actFlows(b)
	ndReplyFlows(b)
	b.miss(&pa, DropUnknownPeer)
	mtuFlows(b)
	b.miss(&encap, DropNoTunnel)
	b.miss(&local, DropNotHere)
	outputFlows(b)
	b.miss(&punt, DropNoPunt)
}

// firstOfPrefix yields the first of the routes of each prefix.
func firstOfPrefix(all iter.Seq[tenant.CustomerRoute]) iter.Seq[tenant.CustomerRoute] {
	return func(yield func(tenant.CustomerRoute) bool) {
		var last tenant.CAPrefix
		for r := range all {
			if r.Prefix != last && !yield(r) {
				return
			}
			last = r.Prefix
		}
	}
}
