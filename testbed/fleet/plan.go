package fleet

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Plan says what the policy of a fleet is. The zero values of what is optional
// stand for defaults.
type Plan struct {
	Hosts          int
	Records        int // lookup records in all, spread evenly over the domains
	Domains        int // routing domains
	DomainsPerHost int // in how many a host has records

	SubnetSize int    // most records of a virtual subnet, 1 to 250; default 250
	Seed       uint64 // of how domains are spread over hosts
}

// Layout is a plan worked out. It never changes.
type Layout struct {
	plan    Plan
	ofHost  [][]int32 // domains of each host
	holders [][]int32 // hosts of each domain
	first   []int     // number of each domain's first record, and one more
	subnets int       // of a domain
}

// maxSubnets is how many prefixes /24 a domain has in 10.0.0.0/8.
const maxSubnets = 1 << 16

// NewLayout works a plan out. It says everything that is wrong with it.
func NewLayout(p Plan) (*Layout, error) {
	p.SubnetSize = cmp.Or(p.SubnetSize, 250)
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("plan of a fleet: "+format, args...)) }
	if p.Hosts < 1 || p.Hosts > 1<<20 {
		bad("%d hosts: want 1 to %d", p.Hosts, 1<<20)
	}
	if p.Domains < 1 || p.Domains > 1<<23 {
		bad("%d routing domains: want 1 to %d", p.Domains, 1<<23)
	}
	if p.DomainsPerHost < 1 || p.DomainsPerHost > p.Domains {
		bad("%d routing domains on a host: want 1 to all %d", p.DomainsPerHost, p.Domains)
	}
	if p.SubnetSize < 1 || p.SubnetSize > 250 {
		bad("%d records in a subnet: want 1 to 250, which a /24 holds", p.SubnetSize)
	}
	if len(errs) == 0 && p.Records < p.Hosts*p.DomainsPerHost {
		bad("%d records: want at least %d, one for each of %d hosts in each of its %d routing domains", p.Records, p.Hosts*p.DomainsPerHost, p.Hosts, p.DomainsPerHost)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l := &Layout{plan: p, ofHost: make([][]int32, p.Hosts), holders: make([][]int32, p.Domains), first: make([]int, p.Domains+1)}
	for d := range p.Domains {
		n := p.Records / p.Domains
		if d < p.Records%p.Domains {
			n++
		}
		l.first[d+1] = l.first[d] + n
		l.subnets = max(l.subnets, (n+p.SubnetSize-1)/p.SubnetSize)
	}
	if l.subnets > maxSubnets {
		bad("%d records in a routing domain: want at most %d", l.first[1], maxSubnets*p.SubnetSize)
	}
	if last := int(tenant.MinVSID) + p.Domains*l.subnets - 1; last > int(tenant.MaxVSID) {
		bad("%d virtual subnets: there are %d VSIDs", p.Domains*l.subnets, tenant.MaxVSID-tenant.MinVSID+1)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.spread()
	for d, hosts := range l.holders {
		if n := l.first[d+1] - l.first[d]; n < len(hosts) {
			return nil, fmt.Errorf("plan of a fleet: %d hosts share routing domain %d of %d records: want more records", len(hosts), d, n)
		}
	}
	return l, nil
}

// spread gives each host its domains: rounds of all domains in a random order
// are dealt out, so that every domain has about the same number of hosts, and
// hosts share domains with many others.
func (l *Layout) spread() {
	random := rand.New(rand.NewPCG(l.plan.Seed, 0))
	var deck []int
	for h := range l.ofHost {
		mine := make(map[int]bool, l.plan.DomainsPerHost)
		for len(mine) < l.plan.DomainsPerHost {
			if len(deck) == 0 {
				deck = random.Perm(l.plan.Domains)
			}
			// Where a host has the next one already, it takes a later one.
			i := len(deck) - 1
			for i >= 0 && mine[deck[i]] {
				i--
			}
			if i < 0 {
				deck = append(random.Perm(l.plan.Domains), deck...)
				continue
			}
			d := deck[i]
			deck = append(deck[:i], deck[i+1:]...)
			mine[d] = true
			l.ofHost[h] = append(l.ofHost[h], int32(d))
			l.holders[d] = append(l.holders[d], int32(h))
		}
	}
}

// Plan returns the plan, with its defaults in place.
func (l *Layout) Plan() Plan { return l.plan }

// DomainsOf returns the routing domains that a host has records of.
func (l *Layout) DomainsOf(host int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, d := range l.ofHost[host] {
			if !yield(int(d)) {
				return
			}
		}
	}
}

// HostsOf returns the hosts that have records of a routing domain.
func (l *Layout) HostsOf(domain int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, h := range l.holders[domain] {
			if !yield(int(h)) {
				return
			}
		}
	}
}

// RecordsOf returns the numbers of a routing domain's records: from the first up
// to, and without, the end.
func (l *Layout) RecordsOf(domain int) (first, end int) { return l.first[domain], l.first[domain+1] }

// RecordsOn returns the numbers of a routing domain's records on a host.
func (l *Layout) RecordsOn(host, domain int) iter.Seq[int] {
	return func(yield func(int) bool) {
		hosts := l.holders[domain]
		for pos, h := range hosts {
			if int(h) != host {
				continue
			}
			for n := l.first[domain] + pos; n < l.first[domain+1]; n += len(hosts) {
				if !yield(n) {
					return
				}
			}
			return
		}
	}
}

// HostName returns the name of a host: "h1" and so on.
func HostName(host int) string { return fmt.Sprintf("h%d", host+1) }

// HostPA returns a host's provider address, in 100.64.0.0/10.
func HostPA(host int) netip.Addr {
	n := 100<<24 | 64<<16 + uint32(host) + 1
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// RDID returns the identifier of a routing domain.
func RDID(domain int) tenant.RDID {
	var id tenant.RDID
	copy(id[:], "nvgre-fleet\x00")
	n := uint32(domain) + 1
	id[12], id[13], id[14], id[15] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return id
}

// DomainName returns the name of a routing domain: "tenant1" and so on.
func DomainName(domain int) string { return fmt.Sprintf("tenant%d", domain+1) }

// Record is one lookup record of a plan.
type Record struct {
	Number int
	VM     string // its iface-id too
	Domain int
	VSID   tenant.VSID
	CA     netip.Addr
	MAC    tenant.MAC
	Host   int // -1: no host has the domain
}

// Record returns a record by its number, from 0.
func (l *Layout) Record(n int) Record {
	// The first domains have one record more, so a division is close.
	d := min(n*l.plan.Domains/l.plan.Records, l.plan.Domains-1)
	for n < l.first[d] {
		d--
	}
	for n >= l.first[d+1] {
		d++
	}
	return l.record(d, n-l.first[d])
}

func (l *Layout) record(d, i int) Record {
	n := l.first[d] + i
	subnet := i / l.plan.SubnetSize
	r := Record{
		Number: n, VM: fmt.Sprintf("vm%d", n), Domain: d, VSID: l.VSID(d, subnet), Host: -1,
		CA:  netip.AddrFrom4([4]byte{10, byte(subnet >> 8), byte(subnet), byte(2 + i%l.plan.SubnetSize)}),
		MAC: tenant.MAC{2, byte(n >> 32), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
	}
	if hosts := l.holders[d]; len(hosts) > 0 {
		r.Host = int(hosts[i%len(hosts)])
	}
	return r
}

// VSID returns the identifier of a routing domain's subnet, from 0.
func (l *Layout) VSID(domain, subnet int) tenant.VSID {
	return tenant.MinVSID + tenant.VSID(domain*l.subnets+subnet)
}

// subnetsOf returns how many subnets a domain has: one at least.
func (l *Layout) subnetsOf(d int) int {
	return max(1, (l.first[d+1]-l.first[d]+l.plan.SubnetSize-1)/l.plan.SubnetSize)
}

func subnetPrefix(subnet int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(subnet >> 8), byte(subnet), 0}), 24)
}

// Spec returns the plan as a policy that was not yet checked, for whoever wants
// it without the detour over a file.
func (l *Layout) Spec() tenant.Spec {
	s := tenant.Spec{Version: 1}
	for h := range l.plan.Hosts {
		s.Hosts = append(s.Hosts, tenant.HostSpec{Name: HostName(h), ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(HostPA(h))}}})
	}
	for d := range l.plan.Domains {
		dom := tenant.RoutingDomainSpec{RDID: RDID(d), Name: DomainName(d)}
		for n := range l.subnetsOf(d) {
			sub := tenant.SubnetSpec{VSID: uint32(l.VSID(d, n)), Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(subnetPrefix(n))}}
			for i := n * l.plan.SubnetSize; i < min((n+1)*l.plan.SubnetSize, l.first[d+1]-l.first[d]); i++ {
				r := l.record(d, i)
				rec := tenant.RecordSpec{VM: r.VM, CA: tenant.CAFrom(r.CA), MAC: r.MAC, IfaceID: r.VM}
				if r.Host >= 0 {
					rec.Host = HostName(r.Host)
				}
				sub.Records = append(sub.Records, rec)
			}
			dom.Subnets = append(dom.Subnets, sub)
		}
		s.RoutingDomains = append(s.RoutingDomains, dom)
	}
	return s
}

// WritePolicy writes the plan as a policy file.
func (l *Layout) WritePolicy(to io.Writer) error {
	w := bufio.NewWriterSize(to, 64<<10)
	fmt.Fprintf(w, "# A simulated fleet: %d hosts, %d records in %d routing domains, %d of them on each host.\nversion: 1\nhosts:\n",
		l.plan.Hosts, l.plan.Records, l.plan.Domains, l.plan.DomainsPerHost)
	for h := range l.plan.Hosts {
		fmt.Fprintf(w, "  - {name: %s, provider_addresses: [%s]}\n", HostName(h), HostPA(h))
	}
	fmt.Fprintln(w, "routing_domains:")
	for d := range l.plan.Domains {
		fmt.Fprintf(w, "  - rdid: %s\n    name: %s\n    subnets:\n", RDID(d), DomainName(d))
		for n := range l.subnetsOf(d) {
			fmt.Fprintf(w, "      - vsid: %d\n        prefixes: [%s]\n", l.VSID(d, n), subnetPrefix(n))
			first, end := n*l.plan.SubnetSize, min((n+1)*l.plan.SubnetSize, l.first[d+1]-l.first[d])
			if first < end {
				fmt.Fprintln(w, "        records:")
			}
			for i := first; i < end; i++ {
				r := l.record(d, i)
				fmt.Fprintf(w, "          - {vm: %s, ca: %s, mac: %s", r.VM, r.CA, r.MAC)
				if r.Host >= 0 {
					fmt.Fprintf(w, ", host: %s", HostName(r.Host))
				}
				fmt.Fprintln(w, "}")
			}
		}
	}
	return w.Flush()
}
