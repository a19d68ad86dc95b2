package tenant

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

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
	PA PA `yaml:"pa"`
	// Weight is this address's share among the host's addresses of one family,
	// from 1. 0 in a [Spec] or an [Object]: 1.
	Weight uint32 `yaml:"weight"`
	// Uplink is the network device or bond that has the address. Empty: any.
	Uplink string `yaml:"uplink"`
	// VLAN is the 802.1Q tag of the address in the underlay, 1 to 4094. 0: none.
	VLAN uint16 `yaml:"vlan"`
}

// resolved returns a with its defaults.
func (a ProviderAddress) resolved() ProviderAddress {
	a.Weight = max(a.Weight, 1)
	return a
}

// Host is one Open vSwitch: a hypervisor that carries VMs, or a peer that only
// terminates tunnels.
type Host struct {
	Name              string
	ProviderAddresses []ProviderAddress // at least one, the preferred family first; see [Path]
	// OVSDB and OpenFlow say how a controller reaches the host, in OVS address
	// syntax (unix:, tcp:, ssl:). Both empty: the host is a peer that this
	// policy does not drive, unless the controller's settings name it.
	OVSDB, OpenFlow string
	MTU             uint16 // of its underlay, in octets
	Routes          []ProviderRoute
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
	// Multicast says what becomes of multicast and broadcast.
	Multicast Multicast
	// DHCP says that VMs are told their addresses and what follows, by DHCP and
	// router advertisements.
	DHCP   bool
	DNS    []CA   // the resolvers, which may lie outside the routing domain
	Domain string // the DNS domain
	Lease  uint32 // for how long VMs may use what they are told, in seconds
	MTU    uint16 // in octets; 0: what the underlay leaves
	Source Position
}

// LookupRecord says that a customer address is a VM's, and where that VM is:
// New-NetVirtualizationLookupRecord of Hyper-V. Several records may be of one
// network adapter: these are in one subnet, have VM, MAC, IfaceID and Host in
// common, and what one of them permits the adapter may do.
type LookupRecord struct {
	RDID     RDID
	VSID     VSID
	CA       CA // none where Type is dynamic or l2only; 0.0.0.0 or :: of a wildcard
	MAC      MAC
	VM       string // the VM's name, of one adapter in the routing domain
	IfaceID  string // external_ids:iface-id of the VM's port, of one adapter in the policy
	Customer string
	// Host is the name of the host that the policy puts the VM on, whether the
	// record named the host or its PA. Empty: the VM is where its attachment
	// appears.
	Host string
	RecordOptions
	Source Position
}

// CustomerRoute sends a destination prefix of a routing domain to a next hop
// that is a customer address in it: New-NetVirtualizationCustomerRoute. Of one
// prefix, the routes of the sender's own subnet win over those of the whole
// domain, then the lowest metric. Routes that then differ in the next hop alone
// share the traffic (ECMP).
type CustomerRoute struct {
	RDID RDID
	// VSID is the subnet whose packets the route is for. 0: the whole domain.
	VSID      VSID
	Prefix    CAPrefix
	NextHop   CA   // none of a black hole
	BlackHole bool // packets are dropped
	Metric    uint32
	Source    Position
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
	nats        persist.Tree[natRef]     // by PA
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

// Routes yields the customer routes by RDID, prefix, VSID, metric and next hop,
// those of the whole domain before those of a subnet.
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

// Record returns the record of that customer address in a virtual subnet; of
// 0.0.0.0 or ::, the wildcard.
func (p *Policy) Record(v VSID, ca CA) (LookupRecord, bool) { return p.lookup(p.record(v, ca)) }

func (p *Policy) record(v VSID, ca CA) (*record, bool) {
	s, ok := p.subnets.Find(byVSID(v))
	if !ok {
		return nil, false
	}
	return s.records.Find(byCA(ca))
}

func (p *Policy) recordOf(k Key) (*record, bool) {
	s, ok := p.subnets.Find(byVSID(k.vsid))
	if !ok {
		return nil, false
	}
	return s.records.Find(byRecord(&record{vsid: k.vsid, ca: k.ca, mac: k.mac}))
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

// RecordByIfaceID returns the first record, by CA, whose VM attaches with that
// iface-id.
func (p *Policy) RecordByIfaceID(id string) (LookupRecord, bool) {
	return p.lookup(first(p.ifaces.Same(hashString(id), func(r *record) bool { return r.iface == id })))
}

// RecordsByIfaceID yields the records whose VM attaches with that iface-id, by CA.
func (p *Policy) RecordsByIfaceID(id string) iter.Seq[LookupRecord] {
	return func(yield func(LookupRecord) bool) {
		all := slices.SortedFunc(p.ifaces.Same(hashString(id), func(r *record) bool { return r.iface == id }), (*record).Compare)
		for _, r := range all {
			if out, _ := p.lookup(r, true); !yield(out) {
				return
			}
		}
	}
}

// RecordByMAC returns the first record, by CA, of that MAC in a virtual subnet.
func (p *Policy) RecordByMAC(v VSID, m MAC) (LookupRecord, bool) {
	s, ok := p.subnets.Find(byVSID(v))
	if !ok {
		return LookupRecord{}, false
	}
	return p.lookup(first(s.macs.Same(hashMAC(m), func(r *record) bool { return r.mac == m })))
}

// RecordByVM returns the first record, by CA, of the VM of that name in a routing
// domain.
func (p *Policy) RecordByVM(id RDID, vm string) (LookupRecord, bool) {
	d, ok := p.domains.Find(byRDID(id))
	if !ok {
		return LookupRecord{}, false
	}
	return p.lookup(first(d.vms.Same(hashString(vm), func(r *record) bool { return r.vm == vm })))
}

// first returns the first of all records.
func first(all iter.Seq[*record]) (r *record, found bool) {
	for q := range all {
		if r == nil || q.Compare(r) < 0 {
			r = q
		}
	}
	return r, r != nil
}

// RecordByKey returns the record of that key.
func (p *Policy) RecordByKey(k Key) (LookupRecord, bool) {
	if k.kind != KindRecord {
		return LookupRecord{}, false
	}
	return p.lookup(p.recordOf(k))
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

// SubnetOf returns the virtual subnet of a routing domain that has ca.
func (p *Policy) SubnetOf(id RDID, ca CA) (VSID, bool) {
	d, ok := p.domains.Find(byRDID(id))
	if !ok {
		return 0, false
	}
	r, ok := d.prefixes.Floor(func(r prefixRef) int { return r.prefix.Addr().Compare(ca.addr) })
	return r.vsid, ok && r.prefix.Contains(ca.addr)
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

// RoutesOf yields the customer routes of one routing domain in the order of [Policy.Routes].
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

// RoutesTo yields the customer routes of one routing domain to one prefix in the
// order of [Policy.Routes].
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
