package tenant

import (
	"fmt"
	"iter"
	"slices"
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
// as a whole. It is made by [New] and safe for use by many goroutines. The
// slices inside the objects it returns must not be modified.
type Policy struct {
	revision   uint64
	gatewayMAC MAC
	hosts      []Host          // by Name
	domains    []RoutingDomain // by RDID
	subnets    []VirtualSubnet // by VSID
	records    []LookupRecord  // by VSID, then CA
	routes     []CustomerRoute // by RDID, Prefix, Metric, NextHop

	hostByName    map[string]int
	domainByRDID  map[RDID]int
	subnetByVSID  map[VSID]int
	recordByIface map[string]int
	recordSpan    map[VSID]span // a subnet's records in records
	subnetsOf     map[RDID][]int
	routeSpan     map[RDID]span
}

type span struct{ from, to int }

// DefaultGatewayMAC is the MAC of the distributed router in every subnet, where
// a policy gives no other. It is locally administered.
var DefaultGatewayMAC = MAC{0x02, 0x4e, 0x56, 0x00, 0x00, 0x01}

// Revision returns the number of this snapshot; a later one has a greater number.
func (p *Policy) Revision() uint64 { return p.revision }

// GatewayMAC returns the MAC of the distributed router in every subnet.
func (p *Policy) GatewayMAC() MAC { return p.gatewayMAC }

// Hosts yields the hosts by name.
func (p *Policy) Hosts() iter.Seq[Host] { return slices.Values(p.hosts) }

// RoutingDomains yields the routing domains by RDID.
func (p *Policy) RoutingDomains() iter.Seq[RoutingDomain] { return slices.Values(p.domains) }

// Subnets yields the virtual subnets by VSID.
func (p *Policy) Subnets() iter.Seq[VirtualSubnet] { return slices.Values(p.subnets) }

// Records yields the lookup records by VSID and CA.
func (p *Policy) Records() iter.Seq[LookupRecord] { return slices.Values(p.records) }

// Routes yields the customer routes by RDID, prefix and metric.
func (p *Policy) Routes() iter.Seq[CustomerRoute] { return slices.Values(p.routes) }

// NumRecords returns the number of lookup records.
func (p *Policy) NumRecords() int { return len(p.records) }

// Host returns the host of that name.
func (p *Policy) Host(name string) (Host, bool) { return at(p.hosts, p.hostByName, name) }

// RoutingDomain returns the routing domain with that identifier.
func (p *Policy) RoutingDomain(id RDID) (RoutingDomain, bool) {
	return at(p.domains, p.domainByRDID, id)
}

// Subnet returns the virtual subnet with that identifier.
func (p *Policy) Subnet(v VSID) (VirtualSubnet, bool) { return at(p.subnets, p.subnetByVSID, v) }

// RecordByIfaceID returns the record whose VM attaches with that iface-id.
func (p *Policy) RecordByIfaceID(id string) (LookupRecord, bool) {
	return at(p.records, p.recordByIface, id)
}

// RecordsOf yields the records of one virtual subnet by CA.
func (p *Policy) RecordsOf(v VSID) iter.Seq[LookupRecord] {
	s := p.recordSpan[v]
	return slices.Values(p.records[s.from:s.to])
}

// SubnetsOf yields the virtual subnets of one routing domain by VSID.
func (p *Policy) SubnetsOf(id RDID) iter.Seq[VirtualSubnet] {
	return func(yield func(VirtualSubnet) bool) {
		for _, i := range p.subnetsOf[id] {
			if !yield(p.subnets[i]) {
				return
			}
		}
	}
}

// RoutesOf yields the customer routes of one routing domain by prefix and metric.
func (p *Policy) RoutesOf(id RDID) iter.Seq[CustomerRoute] {
	s := p.routeSpan[id]
	return slices.Values(p.routes[s.from:s.to])
}

func at[K comparable, V any](all []V, index map[K]int, k K) (V, bool) {
	i, ok := index[k]
	if !ok {
		var zero V
		return zero, false
	}
	return all[i], true
}
