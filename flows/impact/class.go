package impact

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// vm is a VM of a routing domain, before and after. It is the same VM where its
// iface-id and its CA are the same: one that changes its address is another, as
// those who know the old address see it.
type vm struct {
	rec  [2]*tenant.LookupRecord // nil: not there
	host [2]string
	port [2]uint32
}

type identity struct {
	iface string
	ca    tenant.CA
}

// any returns the record before, or else the one after.
func (v *vm) any() *tenant.LookupRecord {
	if v.rec[0] != nil {
		return v.rec[0]
	}
	return v.rec[1]
}

// hostKind is all of a host that decides whether a packet passes, in short.
type hostKind struct {
	families string // of its provider addresses, the preferred first: "4", "46", ...
	any, per bool   // tunnel ports
}

// kind is what tells VMs of a routing domain apart, save which hosts and virtual
// subnets they are in. Whether two VMs are in the same decides the rest: the
// outcome for a pair is a function of the kinds of both and of that.
type kind struct {
	state   [2]state
	host    [2]hostKind
	moved   bool // to another host
	pas     bool // the host has other provider addresses, or with other weights
	tunnels bool // the host has other tunnel ports
	vsid    bool // is in another virtual subnet
	mac     bool // has another MAC
	macWas  bool // has, after, the MAC that the gateways had before
	macIs   bool // had, before, the MAC that the gateways have after
	six     bool // its CA is IPv6
	allowed bool
	// region is which prefix its CA is in; 0 for its subnet's, where no customer
	// route is in the way.
	region int
	hop    string   // its iface-id, if one of its addresses is a next hop
	hops   bool     // others of its addresses are next hops
	exact  [2]exact // itself, where subnets and hosts are not alike
}

type exact struct {
	vsid tenant.VSID
	host string
}

type state uint8

const (
	absent   state = iota
	nowhere        // nobody knows its host
	portless       // its host has no port for it
	attached
)

// steady reports whether nothing is different, as far as the VM and its host go.
func (k *kind) steady() bool {
	return k.state[0] == k.state[1] && k.host[0] == k.host[1] && !(k.moved || k.pas || k.tunnels || k.vsid || k.mac || k.hops)
}

// class is VMs that nothing tells apart.
type class struct {
	classKey
	kindNo  int
	members []*vm
	subnet  int // the number of its group
	place   int
}

type classKey struct {
	kind kind
	vsid [2]tenant.VSID
	host [2]string
}

// domain is a routing domain before and after.
type domain struct {
	id       tenant.RDID
	name     string
	vms      []*vm
	prefixes map[netip.Prefix]*prefix
	bits     []int // the lengths of prefixes, the longest first
	hops     map[tenant.CA]bool
	adapters map[string]*adapter // by iface-id
	same     map[[2]*class]int   // how many pairs from one class to another are of one adapter
	wild     map[identity]*vm    // VMs as wildcards
	classes  []*class
	kinds    int
}

// adapter is what the VMs of one iface-id, which are addresses of one virtual
// network adapter, have in common.
type adapter struct {
	vms     int
	hops    [2][]tenant.CA // those of its addresses that are next hops
	classes []*class       // of its VMs, where it has several
}

// prefix is one that a subnet or a route has, before or after.
type prefix struct {
	number  int
	subnet  [2]bool
	route   bool
	wild    bool       // of a subnet with a wildcard
	address netip.Addr // of a packet to it that nothing more specific takes; not valid where there is none
}

func (j *judge) sides() [2]*side { return [2]*side{j.before, j.after} }

func (j *judge) newDomain(id tenant.RDID) *domain {
	d := &domain{id: id, prefixes: make(map[netip.Prefix]*prefix), hops: make(map[tenant.CA]bool), adapters: make(map[string]*adapter), wild: make(map[identity]*vm)}
	byID := make(map[identity]*vm)
	taken := make(map[netip.Addr]bool)
	for i, s := range j.sides() {
		if rd, ok := s.Policy.RoutingDomain(id); ok && d.name == "" {
			d.name = rd.Name
		}
		for n := range s.Policy.SubnetsOf(id) {
			for _, p := range n.Prefixes {
				d.prefix(p.Prefix()).subnet[i] = true
			}
			for _, g := range n.Gateways {
				taken[g.Addr()] = true
			}
			for r := range s.Policy.RecordsOf(n.VSID) {
				if !r.CA.IsValid() {
					continue // nobody sends there
				}
				if r.CA.Addr().IsUnspecified() {
					d.wildcard(i, s, &r, &n)
					continue
				}
				taken[r.CA.Addr()] = true
				v := byID[identity{r.IfaceID, r.CA}]
				if v == nil {
					v = &vm{}
					byID[identity{r.IfaceID, r.CA}] = v
					d.vms = append(d.vms, v)
				}
				v.rec[i] = &r
				v.host[i], v.port[i] = s.oracle.Place(r.IfaceID)
			}
		}
		for r := range s.Policy.RoutesOf(id) {
			d.prefix(r.Prefix.Prefix()).route = true
			if !r.BlackHole {
				d.hops[r.NextHop] = true
			}
		}
	}
	d.lengths()
	d.addresses(taken)
	d.adapt()
	j.classify(d)
	return d
}

// adapt puts together what belongs to one adapter.
func (d *domain) adapt() {
	for _, v := range d.vms {
		r := v.any()
		a := d.adapters[r.IfaceID]
		if a == nil {
			a = &adapter{}
			d.adapters[r.IfaceID] = a
		}
		a.vms++
		for i := range v.rec {
			if v.rec[i] != nil && d.hops[r.CA] {
				a.hops[i] = append(a.hops[i], r.CA)
			}
		}
	}
	for _, a := range d.adapters {
		for i := range a.hops {
			slices.SortFunc(a.hops[i], tenant.CA.Compare)
		}
	}
}

// wildcard notes a wildcard of one side: what its subnet has no record of is a
// destination.
func (d *domain) wildcard(i int, s *side, r *tenant.LookupRecord, n *tenant.VirtualSubnet) {
	for _, p := range n.Prefixes {
		if p.Prefix().Addr().Is4() == r.CA.Addr().Is4() {
			d.prefix(p.Prefix()).wild = true
		}
	}
	id := identity{r.IfaceID, r.CA}
	v := d.wild[id]
	if v == nil {
		v = &vm{}
		d.wild[id] = v
	}
	v.rec[i] = r
	v.host[i], v.port[i] = s.oracle.Place(r.IfaceID)
}

func (d *domain) prefix(p netip.Prefix) *prefix {
	q := d.prefixes[p]
	if q == nil {
		q = &prefix{number: len(d.prefixes) + 1}
		d.prefixes[p] = q
	}
	return q
}

// find returns the most specific prefix that has an address.
func (d *domain) find(a netip.Addr) (netip.Prefix, *prefix) {
	for _, n := range d.bits {
		if p, err := a.Prefix(n); err == nil {
			if q := d.prefixes[p]; q != nil {
				return p, q
			}
		}
	}
	return netip.Prefix{}, nil
}

func (j *judge) classify(d *domain) {
	kinds := make(map[kind]int)
	classes := make(map[classKey]*class)
	for _, v := range d.vms {
		k := classKey{kind: j.kindOf(d, v), host: v.host}
		for i, r := range v.rec {
			if r != nil {
				k.vsid[i] = r.VSID
			}
		}
		c := classes[k]
		if c == nil {
			n, ok := kinds[k.kind]
			if !ok {
				n = len(kinds)
				kinds[k.kind] = n
			}
			c = &class{classKey: k, kindNo: n}
			classes[k] = c
			d.classes = append(d.classes, c)
		}
		c.members = append(c.members, v)
		if a := d.adapters[v.any().IfaceID]; a.vms > 1 {
			a.classes = append(a.classes, c)
		}
	}
	d.kinds = len(kinds)
	d.same = make(map[[2]*class]int)
	for _, a := range d.adapters {
		for i, from := range a.classes {
			for k, to := range a.classes {
				if i != k {
					d.same[[2]*class{from, to}]++
				}
			}
		}
	}
}

func (j *judge) kindOf(d *domain, v *vm) (k kind) {
	var pas [2][]tenant.ProviderAddress // on each side
	direct := true
	k.six = v.any().CA.Addr().Is6()
	_, q := d.find(v.any().CA.Addr())
	for i, s := range j.sides() {
		r := v.rec[i]
		if r == nil {
			continue
		}
		switch {
		case v.host[i] == "":
			k.state[i] = nowhere
		case v.port[i] == 0:
			k.state[i] = portless
		default:
			k.state[i] = attached
		}
		k.host[i], pas[i] = s.hostKind(v.host[i])
		direct = direct && q != nil && q.subnet[i]
		k.allowed = k.allowed || j.o.AllowLoss != nil && j.o.AllowLoss(r)
		if s.exact {
			k.exact[i] = exact{r.VSID, v.host[i]}
		}
	}
	if !direct && q != nil {
		k.region = q.number
	}
	if a := d.adapters[v.any().IfaceID]; a != nil && len(a.hops[0])+len(a.hops[1]) > 0 {
		k.hop = v.any().IfaceID
		k.hops = !slices.Equal(a.hops[0], a.hops[1])
	}
	for w := range d.wild { // what is for others comes to it
		if w.iface == v.any().IfaceID {
			k.hop = v.any().IfaceID
		}
	}
	if b, a := v.rec[0], v.rec[1]; b != nil && a != nil {
		k.moved = v.host[0] != v.host[1]
		k.pas = !slices.Equal(pas[0], pas[1])
		k.tunnels = !sameTunnels(j.before.views[v.host[0]], j.after.views[v.host[1]])
		k.vsid = b.VSID != a.VSID
		k.mac = b.MAC != a.MAC
		k.macWas, k.macIs = a.MAC == j.before.Policy.GatewayMAC(), b.MAC == j.after.Policy.GatewayMAC()
	}
	return k
}

// hostKind returns the kind of a host, and its provider addresses.
func (s *side) hostKind(name string) (k hostKind, pas []tenant.ProviderAddress) {
	v := s.views[name]
	k.any, k.per = v.Tunnels.Flow != 0, v.Tunnels.PerVSID != nil
	h, _ := s.Policy.Host(name)
	for _, pa := range h.ProviderAddresses {
		family := "4"
		if !pa.PA.Addr().Is4() {
			family = "6"
		}
		if !strings.Contains(k.families, family) {
			k.families += family
		}
	}
	return k, h.ProviderAddresses
}
