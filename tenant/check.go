package tenant

import (
	"fmt"
	"net/netip"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits on names, in octets.
const (
	MaxHostName = 63
	MaxName     = 255
)

// Check reports everything that keeps spec from being a policy, in the order of
// the policy file's nesting. It reports nothing that hangs on an unread field.
func Check(spec Spec) []Problem {
	c := newChecker(&spec)
	c.run()
	return c.problems
}

// checker goes over one Spec. Its indexes hold the first claim to a name or an
// address; a second claim is a problem that points back to the first.
type checker struct {
	spec       *Spec
	problems   []Problem
	gatewayMAC MAC

	hosts      map[string]int
	paOwner    map[PA]int
	hostsKnown bool // every host's name could be read
	pasKnown   bool // every host's provider addresses could be read

	rdids   map[RDID]int
	domains map[string]int
	vsids   map[uint32]subnetRef

	// ifaces numbers the records in the order of the spec; bases finds the
	// record of a number again. New reuses ifaces for the policy.
	ifaces map[string]int
	bases  []recordBase
	count  int
}

type subnetRef struct{ domain, subnet int }

type recordBase struct {
	subnetRef
	from int
}

func newChecker(spec *Spec) *checker {
	c := &checker{
		spec:       spec,
		gatewayMAC: spec.GatewayMAC,
		hosts:      make(map[string]int, len(spec.Hosts)),
		paOwner:    make(map[PA]int, len(spec.Hosts)),
		hostsKnown: !spec.Unread.Has(FieldHosts),
		pasKnown:   !spec.Unread.Has(FieldHosts),
		rdids:      make(map[RDID]int, len(spec.RoutingDomains)),
		domains:    make(map[string]int, len(spec.RoutingDomains)),
		vsids:      make(map[uint32]subnetRef, len(spec.RoutingDomains)),
	}
	if c.gatewayMAC == (MAC{}) {
		c.gatewayMAC = DefaultGatewayMAC
	}
	records := 0
	for i := range spec.RoutingDomains {
		for j := range spec.RoutingDomains[i].Subnets {
			records += len(spec.RoutingDomains[i].Subnets[j].Records)
		}
	}
	c.ifaces = make(map[string]int, records)
	return c
}

func (c *checker) run() {
	if !c.spec.Unread.Has(FieldVersion) && c.spec.Version != 1 {
		if c.spec.Version == 0 {
			c.add("version", "is missing: want version: 1")
		} else {
			c.add("version", fmt.Sprintf("%d is not a version of the policy file that this program knows: want 1", c.spec.Version))
		}
	}
	if m := c.spec.GatewayMAC; m[0]&1 != 0 {
		c.add("gateway_mac", fmt.Sprintf("MAC %s is a group (multicast) address: want a unicast address", m))
	}
	for i := range c.spec.Hosts {
		c.host(i)
	}
	for i := range c.spec.RoutingDomains {
		c.domain(i)
	}
}

func (c *checker) add(path, message string, related ...string) {
	c.problems = append(c.problems, Problem{Path: path, Message: message, Related: related})
}

func (c *checker) host(i int) {
	h := &c.spec.Hosts[i]
	path := fmt.Sprintf("hosts[%d]", i)
	if h.Unread.Has(FieldName) {
		c.hostsKnown = false
	} else if m := nameProblem("the host's name", h.Name, MaxHostName); m != "" {
		c.add(path+".name", m)
		c.hostsKnown = false
	} else if first, taken := c.hosts[h.Name]; taken {
		c.add(path+".name", fmt.Sprintf("host %q is given twice: want a name of its own for each host", h.Name),
			fmt.Sprintf("hosts[%d].name", first))
	} else {
		c.hosts[h.Name] = i
	}
	c.endpoint(path+".ovsdb", h.OVSDB)
	c.endpoint(path+".openflow", h.OpenFlow)
	if h.Unread.Has(FieldProviderAddresses) {
		c.pasKnown = false
	} else if len(h.ProviderAddresses) == 0 {
		c.add(path+".provider_addresses", "is missing: want at least one address of the host in the underlay, such as [10.99.0.1]")
		c.pasKnown = false
	}
	for j, pa := range h.ProviderAddresses {
		paPath := fmt.Sprintf("%s.provider_addresses[%d]", path, j)
		if m := addrProblem("PA", pa.addr); m != "" {
			if pa.IsValid() || !h.Unread.Has(FieldProviderAddresses) {
				c.add(paPath, m)
			}
			c.pasKnown = false
			continue
		}
		first, taken := c.paOwner[pa]
		if !taken {
			c.paOwner[pa] = i
			continue
		}
		rel := fmt.Sprintf("hosts[%d].provider_addresses[%d]", first, indexPA(c.spec.Hosts[first].ProviderAddresses, pa))
		if first == i {
			c.add(paPath, fmt.Sprintf("PA %s is given twice: want each address once", pa), rel)
		} else {
			c.add(paPath, fmt.Sprintf("PA %s belongs to host %q already: want an address that no other host has", pa, c.spec.Hosts[first].Name), rel)
		}
	}
}

func indexPA(all []PA, pa PA) int {
	for i := range all {
		if all[i] == pa {
			return i
		}
	}
	return 0
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
	d := &c.spec.RoutingDomains[i]
	path := domainPath(i)
	switch first, taken := c.rdids[d.RDID]; {
	case d.Unread.Has(FieldRDID):
	case d.RDID == (RDID{}):
		c.add(path+".rdid", "is missing: want the routing domain's GUID, such as 11111111-2222-3333-4444-000000005001")
	case taken:
		c.add(path+".rdid", fmt.Sprintf("RDID %s is given twice: want a GUID of its own for each routing domain", d.RDID),
			domainPath(first)+".rdid")
	default:
		c.rdids[d.RDID] = i
	}
	name, named := d.Name, d.Name != ""
	if !named && d.RDID != (RDID{}) {
		name = d.RDID.String()
	}
	if d.Unread.Has(FieldName) {
		name = ""
	}
	if name != "" {
		if m := nameProblem("the routing domain's name", name, MaxName); m != "" {
			c.add(path+".name", m)
		} else if first, taken := c.domains[name]; !taken {
			c.domains[name] = i
		} else if named {
			c.add(path+".name", fmt.Sprintf("routing domain %q is given twice: want a name of its own for each routing domain", name),
				domainPath(first)+".name")
		}
	}
	if d.Customer != "" {
		if m := nameProblem("the customer's name", d.Customer, MaxName); m != "" {
			c.add(path+".customer", m)
		}
	}

	dc := newDomainChecker(c, i)
	for j := range d.Subnets {
		dc.subnet(j)
	}
	dc.overlaps()
	for j := range d.Subnets {
		dc.records(j)
	}
	dc.routes()
}

// recordPath returns the path of the record with that number.
func (c *checker) recordPath(n int) string {
	i := sort.Search(len(c.bases), func(i int) bool { return c.bases[i].from > n }) - 1
	b := c.bases[i]
	return recordPath(b.domain, b.subnet, n-b.from)
}

func domainPath(d int) string         { return fmt.Sprintf("routing_domains[%d]", d) }
func subnetPath(d, s int) string      { return fmt.Sprintf("routing_domains[%d].subnets[%d]", d, s) }
func (r subnetRef) path() string      { return subnetPath(r.domain, r.subnet) }
func prefixPath(d, s, p int) string   { return fmt.Sprintf("%s.prefixes[%d]", subnetPath(d, s), p) }
func recordPath(d, s, rec int) string { return fmt.Sprintf("%s.records[%d]", subnetPath(d, s), rec) }
func routePath(d, r int) string       { return fmt.Sprintf("routing_domains[%d].routes[%d]", d, r) }

// nameProblem says what is wrong with a name, or "".
func nameProblem(what, s string, limit int) string {
	switch {
	case s == "":
		return fmt.Sprintf("is missing: want %s", what)
	case len(s) > limit:
		return fmt.Sprintf("%s has %d octets: want at most %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Sprintf("%s %q is not UTF-8: want text", what, s)
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Sprintf("%s %q has a control character: want printable text in one line", what, s)
	case strings.TrimSpace(s) != s:
		return fmt.Sprintf("%s %q begins or ends with white space: want %q", what, s, strings.TrimSpace(s))
	}
	return ""
}

// addrProblem says what keeps an address from use as a CA or a PA, or "".
func addrProblem(what string, a netip.Addr) string {
	switch {
	case !a.IsValid():
		return fmt.Sprintf("is missing: want a %s, such as 10.0.1.11", what)
	case !supported(a):
		return fmt.Sprintf("%s %s: IPv6 is not supported yet: want an IPv4 address", what, a)
	case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s %s is no unicast address: want the address of one machine", what, a)
	}
	return ""
}

// supported is the one place that knows which address families the product
// forwards. The types and all other rules take both.
func supported(a netip.Addr) bool { return a.Is4() }
