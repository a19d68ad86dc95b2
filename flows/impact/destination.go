package impact

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func (d *domain) lengths() {
	seen := make(map[int]bool)
	for p := range d.prefixes {
		seen[p.Bits()] = true
	}
	d.bits = slices.SortedFunc(maps.Keys(seen), func(a, b int) int { return cmp.Compare(b, a) })
}

// addresses finds for each prefix of a route an address that no more specific
// prefix has, and nobody else: what goes there goes where the prefix leads.
func (d *domain) addresses(taken map[netip.Addr]bool) {
	for p, q := range d.prefixes {
		if !q.route && !q.wild {
			continue
		}
		for a := p.Addr(); p.Contains(a) && !a.IsMulticast(); {
			at, _ := d.find(a)
			if at == p && !taken[a] {
				q.address = a
				break
			}
			if at == p {
				a = a.Next()
			} else {
				a = end(at).Next()
			}
		}
	}
}

// end returns the last address of a prefix.
func end(p netip.Prefix) netip.Addr {
	bits := p.Addr().BitLen()
	a, _ := netip.AddrFromSlice(flow.Addr(p.Masked().Addr()).Or(flow.Ones(bits - p.Bits())).Bytes(bits / 8))
	return a
}

// target is a destination that is no VM: a gateway of the sender's own virtual
// subnet, what a customer route leads to, or what a subnet with a wildcard has no
// record of.
type target struct {
	name    string // "router", "route" or "wildcard"
	text    string // address or prefix
	address netip.Addr
	own     [2]bool // the sender's subnet has it; a route is everybody's
}

func (t *target) router() bool { return t.name == "router" }

func (d *domain) routes() (all []target) {
	for p, q := range d.prefixes {
		if q.address.IsValid() {
			name := "wildcard"
			if q.route {
				name = "route"
			}
			all = append(all, target{name, p.String(), q.address, [2]bool{true, true}})
		}
	}
	slices.SortFunc(all, func(a, b target) int { return cmp.Compare(a.text, b.text) })
	return all
}

// gateways returns the gateways of the subnets that VMs of a class are in.
func (j *judge) gateways(c *class) (all []target) {
	for i, s := range j.sides() {
		n, ok := s.Policy.Subnet(c.vsid[i])
		if !ok || c.kind.state[i] == absent {
			continue
		}
		for _, g := range n.Gateways {
			k := slices.IndexFunc(all, func(t target) bool { return t.address == g.Addr() })
			if k < 0 {
				k = len(all)
				all = append(all, target{name: "router", text: g.String(), address: g.Addr()})
			}
			all[k].own[i] = true
		}
	}
	return all
}

// targets judges what VMs send to others than VMs.
func (j *judge) targets(d *domain, whole bool) {
	all := whole
	for _, c := range d.classes {
		all = all || c.kind.hop != "" && !c.kind.steady()
	}
	for _, v := range d.wild {
		k := j.kindOf(d, v)
		all = all || !k.steady()
	}
	routes := d.routes()
	type key struct {
		kind int
		vsid [2]tenant.VSID
		host [2]string
		n    int
	}
	memo := make(map[key]outcome)
	rows := make(map[[2]string]*Counts)
	for _, c := range d.classes {
		if !all && c.kind.steady() {
			continue
		}
		from := c.members[0]
		take := func(t *target, o outcome) {
			if o.change == 0 {
				return
			}
			n := len(c.members)
			j.out.Others.add(o.change, n)
			add(rows, j.subnetName(c), t.name+" "+t.text, o.change, n)
			if o.change == Lost && !o.allowed {
				j.out.Breaches += n
			}
			for _, v := range c.members {
				if !j.list(o.change, o.allowed, func() Pair { return j.pairTo(d, v, t) }) {
					break
				}
			}
		}
		for n := range routes {
			k := key{c.kindNo, c.vsid, c.host, n}
			o, ok := memo[k]
			if !ok {
				o = j.judgeTarget(from, &routes[n])
				memo[k] = o
			}
			take(&routes[n], o)
		}
		for _, t := range j.gateways(c) {
			take(&t, j.judgeTarget(from, &t))
		}
	}
	j.out.Destinations = append(j.out.Destinations, sortedRows(rows)...)
}

func add(rows map[[2]string]*Counts, from, to string, what Change, n int) {
	c := rows[[2]string{from, to}]
	if c == nil {
		c = &Counts{}
		rows[[2]string{from, to}] = c
	}
	c.add(what, n)
}
