package impact

import "github.com/nvgre-ofctl/nvgre-ofctl/tenant"

// domain judges a routing domain: all its pairs if whole, else those that have a
// VM of which something differs.
func (j *judge) domain(id tenant.RDID, whole bool) {
	d := j.newDomain(id)
	t := &tally{judge: j, d: d, memo: newMemo(d.kinds)}
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
	bySubnet       counters // of one class of senders
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
	n := len(from.members) * len(to.members)
	if from == to {
		n -= len(to.members) // nobody sends to itself
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
	at := t.memo.at(from.kindNo, to.kindNo, relation)
	what, ok := t.memo.get(at)
	if !ok {
		other := to.members[0]
		if from == to {
			other = to.members[1]
		}
		what = t.judgePair(from.members[0], other)
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
			if a != b && !t.list(what, allowed, func() Pair { return t.pair(t.d, a, b) }) {
				return
			}
		}
	}
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
// before and after.
const relations = 16

const fewKinds = 1024

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
