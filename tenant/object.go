package tenant

import "slices"

// Object is one object of a policy as somebody gave it: of the types below, with
// nothing in it that another object says. A zero value of a field means that the
// field was not given. Changes and policies share the slices in an object: these
// must not be modified.
type Object interface {
	// Key returns the natural key of the object.
	Key() Key
	// Equal reports whether o is of the same type and says the same: a default
	// may be left out or given. Where either was read from does not count.
	Equal(o Object) bool
	// canonical returns the object without what is as the default has it.
	canonical() Object
	// MarshalJSON returns the object in its one JSON form: keys as in the policy
	// file and in the order of its type, what is as the default has it left out.
	MarshalJSON() ([]byte, error)
}

// GatewayMAC is the object that gives the distributed router its MAC. A policy
// without it has [DefaultGatewayMAC].
type GatewayMAC struct{ MAC MAC }

// HostObject is a host.
type HostObject struct {
	Name              string
	ProviderAddresses []ProviderAddress
	OVSDB, OpenFlow   string
	MTU               uint16 // in octets; default: [DefaultMTU]
	Routes            []ProviderRoute
	Source            Position
}

// RoutingDomainObject is a routing domain without what is in it.
type RoutingDomainObject struct {
	RDID     RDID
	Name     string // default: the RDID
	Customer string
	Source   Position
}

// SubnetObject is a virtual subnet without its records.
type SubnetObject struct {
	VSID     VSID
	RDID     RDID   // of its routing domain
	Name     string // default: the VSID
	Prefixes []CAPrefix
	Gateways []CA // default: the first usable address of each prefix

	Multicast Multicast
	DHCP      bool
	DNS       []CA
	Domain    string
	Lease     uint32 // in seconds; default: [DefaultLease]
	MTU       uint16 // in octets; default: what the underlay leaves
	Source    Position
}

// RecordObject is a lookup record. It names its host, or its PA, or neither.
type RecordObject struct {
	VSID    VSID
	CA      CA // none where the type has none
	VM      string
	MAC     MAC
	IfaceID string // default: the VM's name
	Host    string
	PA      PA
	Options *RecordOptions // nil: the default
	Source  Position
}

// RouteObject is a customer route. It has a next hop, or is a black hole.
type RouteObject struct {
	RDID      RDID
	Prefix    CAPrefix
	Metric    uint32
	NextHop   CA
	BlackHole bool
	VSID      VSID // of the subnet whose packets it is for; 0: the whole domain
	Source    Position
}

// Key implements [Object].
func (GatewayMAC) Key() Key { return GatewayMACKey() }

// Key implements [Object].
func (o HostObject) Key() Key { return HostKey(o.Name) }

// Key implements [Object].
func (o RoutingDomainObject) Key() Key { return RoutingDomainKey(o.RDID) }

// Key implements [Object].
func (o SubnetObject) Key() Key { return SubnetKey(o.VSID) }

// Key implements [Object].
func (o RecordObject) Key() Key { return recordKey(o.VSID, o.CA, o.MAC) }

// Key implements [Object].
func (o RouteObject) Key() Key {
	k := RouteKey(o.RDID, o.Prefix, o.Metric, o.NextHop)
	k.vsid, k.blackHole = o.VSID, o.BlackHole
	return k
}

func (o GatewayMAC) canonical() Object { return o }

func (o HostObject) canonical() Object {
	if o.MTU == DefaultMTU {
		o.MTU = 0
	}
	if slices.ContainsFunc(o.ProviderAddresses, func(a ProviderAddress) bool { return a.Weight == 1 }) {
		o.ProviderAddresses = slices.Clone(o.ProviderAddresses)
		for i := range o.ProviderAddresses {
			if a := &o.ProviderAddresses[i]; a.Weight == 1 {
				a.Weight = 0
			}
		}
	}
	return o
}

func (o RoutingDomainObject) canonical() Object {
	if o.Name == o.RDID.String() {
		o.Name = ""
	}
	return o
}

func (o SubnetObject) canonical() Object {
	if o.Name == o.VSID.String() {
		o.Name = ""
	}
	if slices.Equal(o.Gateways, DefaultGateways(o.Prefixes)) {
		o.Gateways = nil
	}
	if o.Lease == DefaultLease {
		o.Lease = 0
	}
	o.Multicast = o.Multicast.canonical()
	return o
}

func (o RecordObject) canonical() Object {
	if o.IfaceID == o.VM {
		o.IfaceID = ""
	}
	o.Options = o.Options.given()
	return o
}

func (o RouteObject) canonical() Object { return o }

// as returns o as a T in its canonical form. Pointers to objects are objects
// too; the canonical form is a value.
func as[T Object](o Object) (t T, ok bool) {
	if o == nil {
		return t, false
	}
	t, ok = o.canonical().(T)
	return t, ok
}

// Equal implements [Object].
func (o GatewayMAC) Equal(p Object) bool {
	q, ok := as[GatewayMAC](p)
	return ok && o == q
}

// Equal implements [Object].
func (o HostObject) Equal(p Object) bool {
	q, ok := as[HostObject](p)
	o, _ = as[HostObject](o)
	return ok && o.Name == q.Name && o.OVSDB == q.OVSDB && o.OpenFlow == q.OpenFlow && o.MTU == q.MTU &&
		slices.Equal(o.ProviderAddresses, q.ProviderAddresses) && slices.Equal(o.Routes, q.Routes)
}

// Equal implements [Object].
func (o RoutingDomainObject) Equal(p Object) bool {
	q, ok := as[RoutingDomainObject](p)
	o, _ = as[RoutingDomainObject](o)
	o.Source, q.Source = Position{}, Position{}
	return ok && o == q
}

// Equal implements [Object].
func (o SubnetObject) Equal(p Object) bool {
	q, ok := as[SubnetObject](p)
	o, _ = as[SubnetObject](o)
	return ok && o.VSID == q.VSID && o.RDID == q.RDID && o.Name == q.Name &&
		slices.Equal(o.Prefixes, q.Prefixes) && slices.Equal(o.Gateways, q.Gateways) &&
		o.Multicast.Equal(q.Multicast) && o.DHCP == q.DHCP && slices.Equal(o.DNS, q.DNS) && o.Domain == q.Domain &&
		o.Lease == q.Lease && o.MTU == q.MTU
}

// Equal implements [Object].
func (o RecordObject) Equal(p Object) bool {
	q, ok := as[RecordObject](p)
	o, _ = as[RecordObject](o)
	if !ok || !o.Options.Equal(q.Options) {
		return false
	}
	o.Source, q.Source = Position{}, Position{}
	o.Options, q.Options = nil, nil
	return o == q
}

// Equal implements [Object].
func (o RouteObject) Equal(p Object) bool {
	q, ok := as[RouteObject](p)
	o.Source, q.Source = Position{}, Position{}
	return ok && o == q
}

// The objects of a policy, as they were given.

func (h *host) object() HostObject {
	return HostObject(h.is).canonical().(HostObject)
}

func (d *domain) object() RoutingDomainObject {
	return RoutingDomainObject(d.is).canonical().(RoutingDomainObject)
}

func (s *subnet) object() SubnetObject {
	return SubnetObject(s.is).canonical().(SubnetObject)
}

func (r *record) object() RecordObject {
	s := r.spec()
	return RecordObject{VSID: r.vsid, CA: r.ca, VM: s.VM, MAC: s.MAC, IfaceID: s.IfaceID, Host: s.Host, PA: s.PA, Options: s.Options, Source: s.Source}
}

func (r *route) object() RouteObject {
	return RouteObject{RDID: r.is.RDID, VSID: r.is.VSID, Prefix: r.is.Prefix, Metric: r.is.Metric, NextHop: r.is.NextHop,
		BlackHole: r.is.BlackHole, Source: r.is.Source}
}

// Change puts an object into a policy, in place of the one of the same key if
// there is one, or deletes an object.
type Change struct {
	key    Key
	object Object
}

// Put returns the change that puts o.
func Put(o Object) Change { return Change{o.Key(), o.canonical()} }

// Delete returns the change that deletes the object of that key.
func Delete(k Key) Change { return Change{key: k} }

// Key returns the key of the object that c is about.
func (c Change) Key() Key { return c.key }

// Object returns the object that c puts; nil where c deletes one.
func (c Change) Object() Object { return c.object }

// IsDelete reports whether c deletes an object.
func (c Change) IsDelete() bool { return c.object == nil }
