package tenant

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// checker puts objects into a policy in the making, and reports all that keeps
// them out. The indexes of the policy hold the claims to names and addresses: a
// second claim is a problem that points to the first.
//
// [New] puts a whole spec into the empty policy, and names objects by their
// place in the spec. [Policy.Apply] has taken out of the policy what changes and
// what hangs on it, puts its successors in, and names objects by their keys. The
// rules are the same ones.
type checker struct {
	edit
	problems []Problem
	byKey    bool

	putHosts []*HostSpec
	work     []*domainWork

	hostsKnown      bool // every host's name could be read
	pasKnown        bool // every host's provider addresses could be read
	gatewayMACKnown bool

	// Where in putHosts and work an object claimed something first.
	hostAt   map[string]int
	paAt     map[PA]int
	rdidAt   map[RDID]int
	domainAt map[string]int
	vsidAt   map[VSID]subnetRef

	places map[placeKey]*placement

	// Claims of records are made together, of all records of a subnet, of a
	// routing domain and of the policy: see persist.Hash.InsertAll.
	macClaims, vmClaims, ifaceClaims claims
	unclaimed                        map[*record]*record // another adapter has the VM's name
	unplaced                         map[*record]bool    // where it says that its VM is, is nowhere

	// made are the records in the order of the work; bases and numbers find the
	// place of one again.
	made    []*record
	bases   []recordBase
	numbers map[*record]int

	// Problems are found in another order than that of the work: turn says where
	// the work stands, and turns where each problem belongs.
	turn  int
	turns []int
}

type claims = []persist.Hashed[*record]

// The turns of what is checked of a record.
const (
	turnVM = iota
	turnIface
	turnCA
	turnMAC
	turnPlace
	turnsOfRecord
)

// domainWork is what is put into one routing domain.
type domainWork struct {
	spec    *RoutingDomainSpec // put, but for what is in it; nil: it stays as it is
	rdid    RDID
	d       *domain // nil until there is one
	subnets []*subnetWork
	routes  []RouteSpec
	// recheck says that addresses of subnets changed, on which routes hang.
	recheck bool
}

// subnetWork is what is put into one virtual subnet.
type subnetWork struct {
	spec    *SubnetSpec // put, but for what is in it; nil: it stays as it is
	vsid    VSID
	s       *subnet // nil until there is one
	records []RecordSpec
	// recheck says that the addresses of the subnet changed, on which records hang.
	recheck bool

	prefixes []CAPrefix
	gateways []CA
	known    bool // every prefix could be read and is sound
}

type subnetRef struct{ domain, subnet int }

type recordBase struct {
	subnetRef
	from int
}

// placement is a place that is in order, the host there, and the records to be
// placed there.
type placement struct {
	place   *place
	host    *host
	records []*record
}

func newChecker(base *Policy, byKey bool) *checker {
	return &checker{
		edit:            newEdit(base),
		byKey:           byKey,
		hostsKnown:      true,
		pasKnown:        true,
		gatewayMACKnown: true,
		hostAt:          make(map[string]int),
		paAt:            make(map[PA]int),
		rdidAt:          make(map[RDID]int),
		domainAt:        make(map[string]int),
		vsidAt:          make(map[VSID]subnetRef),
		places:          make(map[placeKey]*placement),
	}
}

func (c *checker) add(path, message string, related ...string) {
	c.problems = append(c.problems, Problem{Path: path, Message: message, Related: related})
	c.turns = append(c.turns, c.turn)
}

// addLate reports a problem of a record that was checked before.
func (c *checker) addLate(r *record, turn int, path, message string, related ...string) {
	now := c.turn
	c.turn = c.number(r)*turnsOfRecord + turn
	c.add(path, message, related...)
	c.turn = now
}

// put puts all work into the policy.
func (c *checker) put() {
	for i := range c.putHosts {
		c.host(i)
	}
	for i := range c.work {
		c.domain(i)
	}
	c.claimIfaces()
	for _, p := range c.places {
		for _, r := range p.records {
			p.host.placed.Insert(c.o, r)
		}
	}
	if !slices.IsSorted(c.turns) {
		sort.Stable(inTurn{c})
	}
}

// inTurn sorts problems.
type inTurn struct{ c *checker }

func (s inTurn) Len() int           { return len(s.c.turns) }
func (s inTurn) Less(i, j int) bool { return s.c.turns[i] < s.c.turns[j] }
func (s inTurn) Swap(i, j int) {
	s.c.turns[i], s.c.turns[j] = s.c.turns[j], s.c.turns[i]
	s.c.problems[i], s.c.problems[j] = s.c.problems[j], s.c.problems[i]
}

func (c *checker) host(i int) {
	h := c.putHosts[i]
	path := c.hostPath(i)
	cur := c.editHost(h.Name)
	if h.Unread.Has(FieldName) {
		c.hostsKnown = false
	} else if m := nameProblem("the host's name", h.Name, MaxHostName); m != "" {
		c.add(c.field(path, "name"), m)
		c.hostsKnown = false
	} else if first, taken := c.hostAt[h.Name]; taken {
		c.add(c.field(path, "name"), fmt.Sprintf("host %q is given twice: want a name of its own for each host", h.Name),
			c.field(c.hostPath(first), "name"))
	} else {
		c.hostAt[h.Name] = i
		if cur == nil {
			cur = &host{owner: c.o, is: Host{Name: h.Name}}
			c.hosts.Insert(c.o, cur)
		}
		cur.is = Host{Name: h.Name, OVSDB: h.OVSDB, OpenFlow: h.OpenFlow, MTU: cmp.Or(h.MTU, DefaultMTU), Routes: slices.Clone(h.Routes),
			Source: h.Source, ProviderAddresses: make([]ProviderAddress, len(h.ProviderAddresses))}
		for j, a := range h.ProviderAddresses {
			cur.is.ProviderAddresses[j] = a.resolved()
		}
	}
	c.endpoint(c.field(path, "ovsdb"), h.OVSDB)
	c.endpoint(c.field(path, "openflow"), h.OpenFlow)
	if h.Unread.Has(FieldProviderAddresses) {
		c.pasKnown = false
	} else if len(h.ProviderAddresses) == 0 {
		c.add(c.field(path, "provider_addresses"), "is missing: want at least one address of the host in the underlay, such as [10.99.0.1]")
		c.pasKnown = false
	}
	for j := range h.ProviderAddresses {
		c.hostPA(h, i, j, h.ProviderAddresses[j].PA)
	}
	c.hostUnderlay(h, path)
}

func (c *checker) hostPA(h *HostSpec, i, j int, pa PA) {
	path := c.paPath(c.hostPath(i), j)
	if m := addrProblem("PA", pa.addr); m != "" {
		if pa.IsValid() || !h.Unread.Has(FieldProviderAddresses) {
			c.add(path, m)
		}
		c.pasKnown = false
		return
	}
	old, taken := c.pas.Insert(c.o, paRef{pa, h.Name, j})
	if !taken {
		c.paAt[pa] = i
		return
	}
	first, here := c.paAt[pa]
	related := HostKey(old.host).String()
	if here {
		related = c.hostPath(first)
	}
	if here && first == i {
		c.add(path, fmt.Sprintf("PA %s is given twice: want each address once", pa), c.paPath(related, old.index))
	} else {
		c.add(path, fmt.Sprintf("PA %s belongs to host %q already: want an address that no other host has", pa, old.host), c.paPath(related, old.index))
	}
}

// endpoint checks the scheme only: the transport's package reads the rest.
func (c *checker) endpoint(path, s string) {
	if s == "" {
		return
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "unix", "tcp", "ssl":
		if strings.TrimSpace(rest) != "" {
			return
		}
	}
	c.add(path, fmt.Sprintf("%q does not say how to reach the host: want unix:PATH, tcp:IP:PORT or ssl:IP:PORT", s))
}

func (c *checker) domain(i int) {
	w := c.work[i]
	if w.spec != nil {
		c.domainHeader(i, w)
	}
	if w.d == nil {
		// There is no such routing domain, which is reported elsewhere. What is
		// in it is checked all the same.
		w.d = &domain{owner: c.o}
	}
	dc := &domainChecker{checker: c, i: i, w: w, d: w.d,
		prefixesKnown: w.spec == nil || !w.spec.Unread.Has(FieldSubnets)}
	for j := range w.subnets {
		dc.subnet(j)
	}
	dc.overlaps()
	for j := range w.subnets {
		dc.records(j)
	}
	dc.claimVMs()
	c.turn = len(c.made) * turnsOfRecord
	dc.routes()
	dc.keepPrefixes()
}

func (c *checker) domainHeader(i int, w *domainWork) {
	d := w.spec
	path := c.domainPath(i)
	name, named := d.Name, d.Name != ""
	if !named && d.RDID != (RDID{}) {
		name = d.RDID.String()
	}
	replaces := w.d != nil
	if !replaces {
		w.d = &domain{owner: c.o}
	}
	w.d.is = RoutingDomain{RDID: d.RDID, Name: name, Customer: d.Customer, Source: d.Source}
	switch first, taken := c.rdidAt[d.RDID]; {
	case d.Unread.Has(FieldRDID):
	case d.RDID == (RDID{}):
		c.add(c.field(path, "rdid"), "is missing: want the routing domain's GUID, such as 11111111-2222-3333-4444-000000005001")
	case taken:
		c.add(c.field(path, "rdid"), fmt.Sprintf("RDID %s is given twice: want a GUID of its own for each routing domain", d.RDID),
			c.field(c.domainPath(first), "rdid"))
	default:
		c.rdidAt[d.RDID] = i
		if !replaces {
			c.domains.Insert(c.o, w.d)
		}
	}
	if name != "" && !d.Unread.Has(FieldName) {
		c.domainName(i, domainName{name, d.RDID}, named)
	}
	if d.Customer != "" {
		if m := nameProblem("the customer's name", d.Customer, MaxName); m != "" {
			c.add(c.field(path, "customer"), m)
		}
	}
}

func (c *checker) domainName(i int, n domainName, named bool) {
	path := c.field(c.domainPath(i), "name")
	if m := nameProblem("the routing domain's name", n.name, MaxName); m != "" {
		c.add(path, m)
		return
	}
	old, taken := c.domainNames.Insert(c.o, n)
	if !taken {
		c.domainAt[n.name] = i
		return
	}
	if !named && old.rdid == n.rdid {
		return // two without a name: the RDID is given twice
	}
	related := RoutingDomainKey(old.rdid).String()
	if first, here := c.domainAt[n.name]; here {
		related = c.domainPath(first)
	}
	c.add(path, fmt.Sprintf("routing domain %q is given twice: want a name of its own for each routing domain", n.name),
		c.field(related, "name"))
}

// The paths of objects, as the policy file nests them or by key.

func (c *checker) field(path, name string) string {
	if c.byKey {
		return path + "/" + name
	}
	return path + "." + name
}

func (c *checker) paPath(host string, j int) string {
	return c.field(host, fmt.Sprintf("provider_addresses[%d]", j))
}

func (c *checker) hostPath(i int) string {
	if c.byKey {
		return HostKey(c.putHosts[i].Name).String()
	}
	return hostPath(i)
}

func (c *checker) domainPath(i int) string {
	if c.byKey {
		return RoutingDomainKey(c.work[i].rdid).String()
	}
	return domainPath(i)
}

func (c *checker) subnetPath(r subnetRef) string {
	if c.byKey {
		return SubnetKey(c.work[r.domain].subnets[r.subnet].vsid).String()
	}
	return subnetPath(r.domain, r.subnet)
}

// recordPath returns the path of a record of the policy in the making.
func (c *checker) recordPath(r *record) string {
	if c.byKey {
		return recordKey(r.vsid, r.ca, r.mac).String()
	}
	n := c.number(r)
	i := sort.Search(len(c.bases), func(i int) bool { return c.bases[i].from > n }) - 1
	b := c.bases[i]
	return recordPath(b.domain, b.subnet, n-b.from)
}

// number returns the place of a record that was made here.
func (c *checker) number(r *record) int {
	if c.numbers == nil {
		c.numbers = make(map[*record]int, len(c.made))
	}
	for n := len(c.numbers); n < len(c.made); n++ {
		c.numbers[c.made[n]] = n
	}
	return c.numbers[r]
}

func hostPath(i int) string           { return fmt.Sprintf("hosts[%d]", i) }
func domainPath(d int) string         { return fmt.Sprintf("routing_domains[%d]", d) }
func subnetPath(d, s int) string      { return fmt.Sprintf("routing_domains[%d].subnets[%d]", d, s) }
func recordPath(d, s, rec int) string { return fmt.Sprintf("%s.records[%d]", subnetPath(d, s), rec) }
func routePath(d, r int) string       { return fmt.Sprintf("routing_domains[%d].routes[%d]", d, r) }
