package impact

import "github.com/nvgre-ofctl/nvgre-ofctl/tenant"

// domain judges a routing domain: all its pairs if whole, else those that have a
// VM of which something differs.
func (j *judge) domain(id tenant.RDID, whole bool) {
	d := j.newDomain(id)
	t := &tally{judge: j, d: d, memo: newMemo(d.kinds), paths: make(map[[2]string]bool)}
	t.name()
	for _, from := range d.classes {
		for _, to := range d.classes {
			if whole || !from.kind.steady() || !to.kind.steady() {
				t.pairs(from, to)
			}
		}
		t.flush(from)
	}
	j.out.Subnets = append(j.out.Subnets, sortedRows(t.rowsOfSubnets)...)
	j.targets(d, whole)
}

// tally counts the pairs of a routing domain.
type tally struct {
	*judge
	d              *domain
	memo           memo
	subnets, hosts []string // names of the groups
	rowsOfSubnets  map[[2]string]*Counts
	paths          map[[2]string]bool // between which hosts outer addresses are others
	bySubnet       counters           // of one class of senders
	byHost         counters
}

// counters counts changes of each sort by the receiver's group.
type counters struct {
	n    []int // group*changes + change
	used []int // which are not 0
}

const changes = 1 << 6 // sets of bits of Change

func (c *counters) add(group int, what Change, n int) {
	i := group*changes + int(what)
	if c.n[i] == 0 {
		c.used = append(c.used, i)
	}
	c.n[i] += n
}

// name numbers the groups.
func (t *tally) name() {
	subnets, hosts := make(map[string]int), make(map[string]int)
	number := func(m map[string]int, all *[]string, name string) int {
		n, ok := m[name]
		if !ok {
			n = len(*all)
			m[name] = n
			*all = append(*all, name)
		}
		return n
	}
	for _, c := range t.d.classes {
		c.subnet = number(subnets, &t.subnets, t.subnetName(c))
		c.place = number(hosts, &t.hosts, placeName(c))
	}
	t.rowsOfSubnets = make(map[[2]string]*Counts)
	t.bySubnet.n = make([]int, len(t.subnets)*changes)
	t.byHost.n = make([]int, len(t.hosts)*changes)
}

// pairs counts the pairs from one class to another: all of them are alike.
func (t *tally) pairs(from, to *class) {
	// Nobody sends to itself, nor to another address of its adapter.
	n := len(from.members) * len(to.members)
	if from == to {
		n -= len(to.members)
	}
	if len(t.d.same) > 0 {
		n -= t.d.same[[2]*class{from, to}]
	}
	if n == 0 {
		return
	}
	relation := 0
	for i := range 2 {
		if from.host[i] == to.host[i] {
			relation |= 1 << (2 * i)
		}
		if from.vsid[i] == to.vsid[i] {
			relation |= 2 << (2 * i)
		}
	}
	if t.otherPath(from, to) {
		relation |= 1 << 4
	}
	at := t.memo.at(from.kindNo, to.kindNo, relation)
	what, ok := t.memo.get(at)
	if !ok {
		what = t.judgePair(apart(from, to))
		t.memo.put(at, what)
	}
	if what == 0 {
		return
	}
	t.out.VMs.add(what, n)
	t.bySubnet.add(to.subnet, what, n)
	t.byHost.add(to.place, what, n)
	allowed := from.kind.allowed || to.kind.allowed
	if what == Lost && !allowed {
		t.out.Breaches += n
	}
	for _, a := range from.members {
		for _, b := range to.members {
			if a.apart(b) && !t.list(what, allowed, func() Pair { return t.pair(t.d, a, b) }) {
				return
			}
		}
	}
}

// otherPath reports whether two hosts, on which VMs of the classes stay, have
// other outer addresses between them: which of a host's addresses those are is
// another matter for each two hosts.
func (t *tally) otherPath(from, to *class) bool {
	if !from.kind.pas && !to.kind.pas || from.kind.moved || to.kind.moved || from.host == to.host {
		return false
	}
	between := [2]string{from.host[0], to.host[0]}
	other, ok := t.paths[between]
	if !ok {
		other = t.before.path(between) != t.after.path(between)
		t.paths[between] = other
	}
	return other
}

// path returns the outer addresses between two hosts.
func (s *side) path(between [2]string) (outer [2]tenant.PA) {
	from, _ := s.Policy.Host(between[0])
	to, _ := s.Policy.Host(between[1])
	outer[0], outer[1], _ = tenant.Path(&from, &to)
	return outer
}

// apart reports whether two VMs are of two adapters.
func (v *vm) apart(w *vm) bool { return v.any().IfaceID != w.any().IfaceID }

// apart returns a VM of each class. There must be two that are of two adapters.
func apart(from, to *class) (a, b *vm) {
	for _, a = range from.members {
		for _, b = range to.members {
			if a.apart(b) {
				return a, b
			}
		}
	}
	return a, b
}

// flush adds what was counted of a class of senders to the rows.
func (t *tally) flush(from *class) {
	for _, i := range t.bySubnet.used {
		add(t.rowsOfSubnets, t.subnets[from.subnet], t.subnets[i/changes], Change(i%changes), t.bySubnet.n[i])
		t.bySubnet.n[i] = 0
	}
	for _, i := range t.byHost.used {
		add(t.rowsOfHosts, t.hosts[from.place], t.hosts[i/changes], Change(i%changes), t.byHost.n[i])
		t.byHost.n[i] = 0
	}
	t.bySubnet.used, t.byHost.used = t.bySubnet.used[:0], t.byHost.used[:0]
}

// memo has the outcomes that are known, by the kinds of both VMs and by what
// they share.
type memo struct {
	kinds int
	few   []uint8 // outcome + 1, where there are few kinds
	many  map[uint64]Change
}

// relations is how many ways there are for two VMs to share hosts and subnets,
// before and after, and for the path between them to be another.
const relations = 32

const fewKinds = 700

func newMemo(kinds int) memo {
	if kinds <= fewKinds {
		return memo{kinds: kinds, few: make([]uint8, kinds*kinds*relations)}
	}
	return memo{kinds: kinds, many: make(map[uint64]Change)}
}

func (m *memo) at(from, to, relation int) uint64 {
	return (uint64(from)*uint64(m.kinds)+uint64(to))*relations + uint64(relation)
}

func (m *memo) get(at uint64) (Change, bool) {
	if m.few == nil {
		c, ok := m.many[at]
		return c, ok
	}
	n := m.few[at]
	return Change(n - 1), n != 0
}

func (m *memo) put(at uint64, c Change) {
	if m.few == nil {
		m.many[at] = c
		return
	}
	m.few[at] = uint8(c) + 1
}
