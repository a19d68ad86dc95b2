package tenant

import (
	"cmp"
	"fmt"
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// Position is a place in a policy file. Line and Column count from 1; a zero
// Line means that the object came from no file.
type Position struct {
	File         string
	Line, Column int
}

// String returns file:line:column, or "" where there is no position.
func (p Position) String() string {
	if p.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// ProviderAddress is one address of a host in the underlay.
type ProviderAddress struct {
	PA PA
}

// Host is one Open vSwitch: a hypervisor that carries VMs, or a peer that only
// terminates tunnels.
type Host struct {
	Name              string
	ProviderAddresses []ProviderAddress // at least one, the preferred first
	// OVSDB and OpenFlow say how a controller reaches the host, in OVS address
	// syntax (unix:, tcp:, ssl:). Both empty: the host is a peer that this
	// policy does not drive, unless the controller's settings name it.
	OVSDB, OpenFlow string
	Source          Position
}

// RoutingDomain is one tenant's closed routing space. Customer addresses are
// unique inside it and may repeat in others.
type RoutingDomain struct {
	RDID     RDID
	Name     string // unique in the policy; the RDID where the policy gives none
	Customer string
	Source   Position
}

// VirtualSubnet is one broadcast-free subnet of a routing domain.
type VirtualSubnet struct {
	VSID     VSID
	RDID     RDID
	Name     string     // unique in the routing domain; the VSID where the policy gives none
	Prefixes []CAPrefix // at least one; disjoint in the routing domain
	Gateways []CA       // the distributed router's address, one for each prefix, in the order of Prefixes
	Source   Position
}

// LookupRecord says that a customer address is a VM's, and where that VM is:
// New-NetVirtualizationLookupRecord of Hyper-V.
type LookupRecord struct {
	RDID     RDID
	VSID     VSID
	CA       CA
	MAC      MAC
	VM       string // the VM's name, unique in the routing domain
	IfaceID  string // external_ids:iface-id of the VM's port, unique in the policy
	Customer string
	// Host is the name of the host that the policy puts the VM on, whether the
	// record named the host or its PA. Empty: the VM is where its attachment
	// appears.
	Host   string
	Source Position
}

// CustomerRoute sends a destination prefix of a routing domain to a next hop
// that is a customer address in it: New-NetVirtualizationCustomerRoute.
type CustomerRoute struct {
	RDID    RDID
	Prefix  CAPrefix
	NextHop CA
	Metric  uint32 // the lowest wins among routes of one prefix
	Source  Position
}

// Policy is an immutable snapshot of all that tenants and provider want, valid
// as a whole. It is made by [New] or, from another, by [Policy.Apply], with which
// it then shares all that they have in common. It is safe for use by many
// goroutines. The slices inside the objects it returns must not be modified.
type Policy struct {
	revision    uint64
	gatewayMAC  MAC
	hosts       persist.Tree[*host]      // by name
	pas         persist.Tree[paRef]      // by PA
	domains     persist.Tree[*domain]    // by RDID
	domainNames persist.Tree[domainName] // by name
	subnets     persist.Tree[*subnet]    // by VSID
	ifaces      persist.Hash[*record]    // by iface-id
	numRecords  int
}

// DefaultGatewayMAC is the MAC of the distributed router in every subnet, where
// a policy gives no other. It is locally administered.
var DefaultGatewayMAC = MAC{0x02, 0x4e, 0x56, 0x00, 0x00, 0x01}

// Empty returns a policy without objects, of revision 0.
func Empty() *Policy { return &Policy{gatewayMAC: DefaultGatewayMAC} }

// Revision returns the number of this snapshot; a later one has a greater number.
func (p *Policy) Revision() uint64 { return p.revision }

// GatewayMAC returns the MAC of the distributed router in every subnet.
func (p *Policy) GatewayMAC() MAC { return p.gatewayMAC }

// Hosts yields the hosts by name.
func (p *Policy) Hosts() iter.Seq[Host] {
	return each(p.hosts.All(), func(h *host) Host { return h.is })
}

// RoutingDomains yields the routing domains by RDID.
func (p *Policy) RoutingDomains() iter.Seq[RoutingDomain] {
	return each(p.domains.All(), func(d *domain) RoutingDomain { return d.is })
}

// Subnets yields the virtual subnets by VSID.
func (p *Policy) Subnets() iter.Seq[VirtualSubnet] {
	return each(p.subnets.All(), func(s *subnet) VirtualSubnet { return s.is })
}

// Records yields the lookup records by VSID and CA.
func (p *Policy) Records() iter.Seq[LookupRecord] {
	return func(yield func(LookupRecord) bool) {
		for s := range p.subnets.All() {
			if !p.yieldRecords(s, yield) {
				return
			}
		}
	}
}

func (p *Policy) yieldRecords(s *subnet, yield func(LookupRecord) bool) bool {
	d, _ := p.domains.Find(byRDID(s.is.RDID))
	for r := range s.records.All() {
		if !yield(r.lookup(&d.is)) {
			return false
		}
	}
	return true
}

// Routes yields the customer routes by RDID, prefix and metric.
func (p *Policy) Routes() iter.Seq[CustomerRoute] {
	return func(yield func(CustomerRoute) bool) {
		for d := range p.domains.All() {
			for r := range d.routes.All() {
				if !yield(r.is) {
					return
				}
			}
		}
	}
}

// NumRecords returns the number of lookup records.
func (p *Policy) NumRecords() int { return p.numRecords }

// Host returns the host of that name.
func (p *Policy) Host(name string) (Host, bool) {
	if h, ok := p.hosts.Find(byHost(name)); ok {
		return h.is, true
	}
	return Host{}, false
}

// RoutingDomain returns the routing domain with that identifier.
func (p *Policy) RoutingDomain(id RDID) (RoutingDomain, bool) {
	if d, ok := p.domains.Find(byRDID(id)); ok {
		return d.is, true
	}
	return RoutingDomain{}, false
}

// Subnet returns the virtual subnet with that identifier.
func (p *Policy) Subnet(v VSID) (VirtualSubnet, bool) {
	if s, ok := p.subnets.Find(byVSID(v)); ok {
		return s.is, true
	}
	return VirtualSubnet{}, false
}

// Record returns the record of that customer address in a virtual subnet.
func (p *Policy) Record(v VSID, ca CA) (LookupRecord, bool) { return p.lookup(p.record(v, ca)) }

func (p *Policy) record(v VSID, ca CA) (*record, bool) {
	s, ok := p.subnets.Find(byVSID(v))
	if !ok {
		return nil, false
	}
	return s.records.Find(byCA(ca))
}

// lookup returns a record of the policy with what is said of it elsewhere.
func (p *Policy) lookup(r *record, ok bool) (LookupRecord, bool) {
	if !ok {
		return LookupRecord{}, false
	}
	s, _ := p.subnets.Find(byVSID(r.vsid))
	d, _ := p.domains.Find(byRDID(s.is.RDID))
	return r.lookup(&d.is), true
}

// RecordByIfaceID returns the record whose VM attaches with that iface-id.
func (p *Policy) RecordByIfaceID(id string) (LookupRecord, bool) {
	return p.lookup(p.ifaces.Find(hashString(id), func(r *record) bool { return r.iface == id }))
}

// RecordByMAC returns the record of that MAC in a virtual subnet.
func (p *Policy) RecordByMAC(v VSID, m MAC) (LookupRecord, bool) {
	s, ok := p.subnets.Find(byVSID(v))
	if !ok {
		return LookupRecord{}, false
	}
	return p.lookup(s.macs.Find(hashMAC(m), func(r *record) bool { return r.mac == m }))
}

// RecordByVM returns the record of the VM of that name in a routing domain.
func (p *Policy) RecordByVM(id RDID, vm string) (LookupRecord, bool) {
	d, ok := p.domains.Find(byRDID(id))
	if !ok {
		return LookupRecord{}, false
	}
	return p.lookup(d.vms.Find(hashString(vm), func(r *record) bool { return r.vm == vm }))
}

// RecordsOf yields the records of one virtual subnet by CA.
func (p *Policy) RecordsOf(v VSID) iter.Seq[LookupRecord] {
	return func(yield func(LookupRecord) bool) {
		if s, ok := p.subnets.Find(byVSID(v)); ok {
			p.yieldRecords(s, yield)
		}
	}
}

// RecordsOn yields the records that put their VMs on one host, by VSID and CA.
func (p *Policy) RecordsOn(host string) iter.Seq[LookupRecord] {
	return func(yield func(LookupRecord) bool) {
		h, ok := p.hosts.Find(byHost(host))
		if !ok {
			return
		}
		for r := range h.placed.All() {
			if out, _ := p.lookup(r, true); !yield(out) {
				return
			}
		}
	}
}

// SubnetsOf yields the virtual subnets of one routing domain by VSID.
func (p *Policy) SubnetsOf(id RDID) iter.Seq[VirtualSubnet] {
	return func(yield func(VirtualSubnet) bool) {
		d, ok := p.domains.Find(byRDID(id))
		if !ok {
			return
		}
		for v := range d.subnets.All() {
			if s, _ := p.subnets.Find(byVSID(v)); !yield(s.is) {
				return
			}
		}
	}
}

// RoutesOf yields the customer routes of one routing domain by prefix and metric.
func (p *Policy) RoutesOf(id RDID) iter.Seq[CustomerRoute] {
	return func(yield func(CustomerRoute) bool) {
		d, ok := p.domains.Find(byRDID(id))
		if !ok {
			return
		}
		for r := range d.routes.All() {
			if !yield(r.is) {
				return
			}
		}
	}
}

// RoutesTo yields the customer routes of one routing domain to one prefix by metric.
func (p *Policy) RoutesTo(id RDID, to CAPrefix) iter.Seq[CustomerRoute] {
	return func(yield func(CustomerRoute) bool) {
		d, ok := p.domains.Find(byRDID(id))
		if !ok {
			return
		}
		for r := range d.routes.From(func(r *route) int { return cmp.Or(r.is.Prefix.Compare(to), 1) }) {
			if r.is.Prefix != to || !yield(r.is) {
				return
			}
		}
	}
}

func each[T, V any](all iter.Seq[T], of func(T) V) iter.Seq[V] {
	return func(yield func(V) bool) {
		for v := range all {
			if !yield(of(v)) {
				return
			}
		}
	}
}
