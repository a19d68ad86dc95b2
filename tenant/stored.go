package tenant

import (
	"cmp"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// The forms in which a policy keeps its objects. Each is immutable once its
// policy is; owner is the edit that may change it before.

// record is a lookup record without what its subnet and routing domain say, so
// that a change of these leaves it as it is. There are a million of them.
type record struct {
	ca     CA
	vm     string
	iface  string
	place  *place // nil: the VM is where its attachment appears, and the options are the default
	source source
	vsid   VSID
	mac    MAC
}

// place is how a record says where its VM is. Records share it, but for those
// with options, which stand here because nearly no record has any.
type place struct {
	host    string // the host, whether the record names it or its PA; or ""
	pa      PA     // as the record has it
	named   bool   // the record names the host
	options *RecordOptions
}

// source is a Position in less memory.
type source struct {
	file         *string
	line, column int32
}

func (s source) position() Position {
	if s.file == nil {
		return Position{}
	}
	return Position{File: *s.file, Line: int(s.line), Column: int(s.column)}
}

// sourceOf returns p as a source, which shares its file name with last.
func sourceOf(p Position, last *string) source {
	if p == (Position{}) {
		return source{}
	}
	if last == nil || *last != p.File {
		last = &p.File
	}
	clamp := func(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }
	return source{last, clamp(p.Line), clamp(p.Column)}
}

// Compare orders records by VSID and CA, and those without a CA, which come
// first, by MAC.
func (r *record) Compare(q *record) int {
	if r.vsid != q.vsid {
		return cmp.Compare(r.vsid, q.vsid)
	}
	if c := r.ca.Compare(q.ca); c != 0 || r.ca.IsValid() {
		return c
	}
	return r.mac.Compare(q.mac)
}

// same reports whether r and q say the same, wherever they were read.
func (r *record) same(q *record) bool {
	return r.vsid == q.vsid && r.ca == q.ca && r.mac == q.mac && r.vm == q.vm && r.iface == q.iface &&
		(r.place == q.place || r.place.given() == q.place.given() && r.options().Equal(q.options()))
}

// given returns what the record itself says of its place.
func (p *place) given() placeKey {
	switch {
	case p == nil:
		return placeKey{}
	case p.named:
		return placeKey{p.host, p.pa}
	}
	return placeKey{"", p.pa}
}

// placeKey is the host and the PA that a record gives; either may be missing.
type placeKey struct {
	host string
	pa   PA
}

func (r *record) host() string {
	if r.place == nil {
		return ""
	}
	return r.place.host
}

func (r *record) options() *RecordOptions {
	if r.place == nil {
		return nil
	}
	return r.place.options
}

// shown names r in a message: by its CA where it has one.
func (r *record) shown() string {
	if r.ca.IsValid() {
		return r.ca.String()
	}
	return r.mac.String()
}

func (r *record) spec() RecordSpec {
	given := r.place.given()
	s := RecordSpec{VM: r.vm, CA: r.ca, MAC: r.mac, Host: given.host, PA: given.pa, Options: r.options(), Source: r.source.position()}
	if r.iface != r.vm {
		s.IfaceID = r.iface
	}
	return s
}

func (r *record) lookup(d *RoutingDomain) LookupRecord {
	return LookupRecord{RDID: d.RDID, VSID: r.vsid, CA: r.ca, MAC: r.mac, VM: r.vm, IfaceID: r.iface,
		Customer: d.Customer, Host: r.host(), RecordOptions: r.options().value(), Source: r.source.position()}
}

// subnet is a virtual subnet with its records.
type subnet struct {
	owner   *persist.Owner
	is      VirtualSubnet
	records persist.Tree[*record] // by CA
	macs    persist.Hash[*record]
}

func (s *subnet) Compare(t *subnet) int { return cmp.Compare(s.is.VSID, t.is.VSID) }

func (s *subnet) same(t *subnet) bool {
	return s.is.VSID == t.is.VSID && s.is.RDID == t.is.RDID && s.is.Name == t.is.Name && s.sameAddresses(t) &&
		s.is.DHCP == t.is.DHCP && s.is.Domain == t.is.Domain && s.is.Lease == t.is.Lease && s.is.MTU == t.is.MTU &&
		slices.Equal(s.is.DNS, t.is.DNS) && s.is.Multicast.Equal(t.is.Multicast)
}

func (s *subnet) sameAddresses(t *subnet) bool {
	return slices.Equal(s.is.Prefixes, t.is.Prefixes) && slices.Equal(s.is.Gateways, t.is.Gateways)
}

// domain is a routing domain with what must be unique in it. Its subnets are in
// the policy's tree: a change of a record does not copy this list.
type domain struct {
	owner    *persist.Owner
	is       RoutingDomain
	subnets  persist.Tree[VSID]
	names    persist.Tree[subnetName]
	prefixes persist.Tree[prefixRef]
	vms      persist.Hash[*record]
	routes   persist.Tree[*route]
}

func (d *domain) Compare(e *domain) int { return d.is.RDID.Compare(e.is.RDID) }

func (d *domain) same(e *domain) bool {
	a, b := d.is, e.is
	a.Source, b.Source = Position{}, Position{}
	return a == b
}

// subnetName is a name that is taken in a routing domain.
type subnetName struct {
	name string
	vsid VSID
}

func (n subnetName) Compare(m subnetName) int { return cmp.Compare(n.name, m.name) }

// domainName is a name that is taken in the policy.
type domainName struct {
	name string
	rdid RDID
}

func (n domainName) Compare(m domainName) int { return cmp.Compare(n.name, m.name) }

// prefixRef is prefix number index of a subnet.
type prefixRef struct {
	prefix netip.Prefix
	vsid   VSID
	index  int
}

func (r prefixRef) Compare(q prefixRef) int {
	return cmp.Or(comparePrefix(r.prefix, q.prefix), cmp.Compare(r.vsid, q.vsid), cmp.Compare(r.index, q.index))
}

// route is a customer route.
type route struct{ is CustomerRoute }

func (r *route) Compare(q *route) int { return r.is.compare(&q.is) }

func (r *route) same(q *route) bool { return r.Compare(q) == 0 }

func (r *CustomerRoute) compare(q *CustomerRoute) int {
	return cmp.Or(r.RDID.Compare(q.RDID), r.Prefix.Compare(q.Prefix), cmp.Compare(r.VSID, q.VSID), cmp.Compare(r.Metric, q.Metric),
		r.NextHop.Compare(q.NextHop), compareBool(r.BlackHole, q.BlackHole))
}

// route returns the route that r is in a routing domain.
func (r *RouteSpec) route(id RDID) *CustomerRoute {
	return &CustomerRoute{RDID: id, VSID: VSID(r.VSID), Prefix: r.Prefix, NextHop: r.NextHop, BlackHole: r.BlackHole, Metric: r.Metric, Source: r.Source}
}

func (r *route) spec() RouteSpec {
	return RouteSpec{Prefix: r.is.Prefix, NextHop: r.is.NextHop, BlackHole: r.is.BlackHole, Metric: r.is.Metric,
		VSID: uint32(r.is.VSID), Source: r.is.Source}
}

// host is a host with the records that put their VMs there.
type host struct {
	owner  *persist.Owner
	is     Host
	placed persist.Tree[*record] // by VSID and CA
}

func (h *host) Compare(g *host) int { return cmp.Compare(h.is.Name, g.is.Name) }

func (h *host) same(g *host) bool {
	return h.is.Name == g.is.Name && h.is.OVSDB == g.is.OVSDB && h.is.OpenFlow == g.is.OpenFlow &&
		h.is.MTU == g.is.MTU && slices.Equal(h.is.ProviderAddresses, g.is.ProviderAddresses) && slices.Equal(h.is.Routes, g.is.Routes)
}

// paRef is PA number index of a host.
type paRef struct {
	pa    PA
	host  string
	index int
}

func (r paRef) Compare(q paRef) int { return r.pa.Compare(q.pa) }

// natRef is a PA that stands for the CA of a record of rule nat.
type natRef struct {
	pa PA
	by *record
}

func (r natRef) Compare(q natRef) int { return r.pa.Compare(q.pa) }

// seed keeps those who choose names and MACs from choosing their hashes too.
var seed = maphash.MakeSeed()

func hashString(s string) uint64 { return maphash.String(seed, s) }
func hashMAC(m MAC) uint64       { return maphash.Bytes(seed, m[:]) }

func byVSID(v VSID) func(*subnet) int {
	return func(s *subnet) int { return cmp.Compare(s.is.VSID, v) }
}
func byRDID(id RDID) func(*domain) int { return func(d *domain) int { return d.is.RDID.Compare(id) } }
func byHost(name string) func(*host) int {
	return func(h *host) int { return cmp.Compare(h.is.Name, name) }
}
func byCA(ca CA) func(*record) int { return func(r *record) int { return r.ca.Compare(ca) } }
func byPA(pa PA) func(paRef) int   { return func(r paRef) int { return r.pa.Compare(pa) } }
func byRecord(q *record) func(*record) int {
	return func(r *record) int { return r.Compare(q) }
}
