package sim_test

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// dice decides for the generators: rapid in properties, which then shrink, and
// a plain random source where many packets are wanted.
type dice interface {
	pick(n int) int // 0 to n-1; 0 is the plainest choice
}

func one[T any](d dice, from []T) T { return from[d.pick(len(from))] }

// rarely is true once in n times.
func rarely(d dice, n int) bool { return d.pick(n) == n-1 }

// mode is which tunnel ports a host has.
type mode int

const (
	modeFlow   mode = iota // one port for all keys
	modeVSID               // one port for each subnet
	modeBoth               // likewise, and the port for all keys is there too
	modeNoPort             // none
	modeEach               // one port for each subnet, none of which is missing
	modeFlowID             // one port for all keys, and packets have FlowIDs
)

// world is a policy, the state of its hosts, and what follows: the compiled
// flows in a network of switches, and the oracle.
type world struct {
	policy *tenant.Policy
	views  map[string]flows.HostView
	flows  map[string]*flows.Result
	net    *sim.Network
	oracle *oracle.Oracle

	hosts   []string
	seats   []seat // the VMs' ports
	records []tenant.LookupRecord
	macs    []tenant.MAC
	addrs   []netip.Addr // worth sending to
	addrs6  []netip.Addr
	pas     []netip.Addr
	vsids   []tenant.VSID
}

// seat is a port with the record of the VM that is attached there, rightly or
// wrongly.
type seat struct {
	host string
	port uint32
	vm   tenant.LookupRecord
}

const flowPort = 1

// randomSpec draws a policy whose tenants use the same addresses and MACs.
func randomSpec(d dice) tenant.Spec {
	spec := tenant.Spec{Version: 1}
	if rarely(d, 3) {
		spec.GatewayMAC = tenant.MAC{0x0e, 0, 0, 0, 0, 1}
	}
	for h := range 1 + d.pick(4) {
		host := tenant.HostSpec{Name: fmt.Sprintf("h%d", h)}
		for i := range 1 + d.pick(2) {
			a := netip.AddrFrom4([4]byte{10, 99, byte(i), byte(h + 1)})
			if d.pick(2) == 1 {
				a = netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x99, 7: byte(i), 15: byte(h + 1)})
			}
			host.ProviderAddresses = append(host.ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(a)})
		}
		spec.Hosts = append(spec.Hosts, host)
	}
	vsid := uint32(5000)
	for n := range 1 + d.pick(3) {
		spec.RoutingDomains = append(spec.RoutingDomains, randomDomain(d, n, &vsid, spec.Hosts))
	}
	return spec
}

// crowd is how many VMs a subnet has: many, half of the time.
func crowd(d dice) int {
	if d.pick(2) == 1 {
		return 5 - d.pick(3)
	}
	return d.pick(4)
}

var prefixPool = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.1.0/24"), netip.MustParsePrefix("10.0.2.0/23"),
	netip.MustParsePrefix("10.0.4.0/30"), netip.MustParsePrefix("10.0.4.4/31"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("fd00:0:0:1::/64"), netip.MustParsePrefix("fd00:0:0:2::/64"), netip.MustParsePrefix("fd00:0:0:4::/62"),
	netip.MustParsePrefix("2001:db8::10/126"), netip.MustParsePrefix("2001:db8::14/127"), netip.MustParsePrefix("2001:db8::100/120"),
}

func randomDomain(d dice, n int, vsid *uint32, hosts []tenant.HostSpec) tenant.RoutingDomainSpec {
	rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: byte(n + 1)}, Name: fmt.Sprintf("rd%d", n)}
	pool := slices.Clone(prefixPool)
	taken := map[netip.Addr]bool{}
	for s := range 1 + d.pick(3) {
		*vsid += 1 + uint32(d.pick(3)*255)
		subnet := tenant.SubnetSpec{VSID: *vsid, DHCP: d.pick(2) == 1}
		for range 1 + d.pick(2) {
			i := d.pick(len(pool))
			subnet.Prefixes = append(subnet.Prefixes, tenant.CAPrefixFrom(pool[i]))
			pool = slices.Delete(pool, i, i+1)
		}
		for _, p := range subnet.Prefixes {
			g := tenant.CAFrom(nth(p.Prefix(), 1))
			if room(p.Prefix()) == 1 || rarely(d, 3) && room(p.Prefix()) > 2 {
				g = tenant.CAFrom(nth(p.Prefix(), -2))
			}
			subnet.Gateways = append(subnet.Gateways, g)
			taken[g.Addr()] = true
		}
		for r := range crowd(d) {
			p := one(d, subnet.Prefixes).Prefix()
			ca := nth(p, 2+d.pick(6))
			if room(p) == 1 {
				ca = nth(p, 1)
			}
			if taken[ca] || !p.Contains(ca) || p.Bits() == 30 && ca == nth(p, 3) {
				continue
			}
			taken[ca] = true
			rec := tenant.RecordSpec{VM: fmt.Sprintf("vm%d-%d", s, r), IfaceID: fmt.Sprintf("%d-%d-%d", n, s, r),
				CA: tenant.CAFrom(ca), MAC: tenant.MAC{2, 0, 0, 0, byte(d.pick(2)), byte(r)}}
			if rarely(d, 4) {
				rec.Options = &tenant.RecordOptions{Forwarding: true}
			}
			if h := d.pick(len(hosts) + 1); h < len(hosts) {
				rec.Host = hosts[h].Name
			}
			if n := len(subnet.Records); n > 0 && rarely(d, 4) { // one more address of the last VM
				last := subnet.Records[n-1]
				rec.VM, rec.IfaceID, rec.MAC, rec.Host = last.VM, last.IfaceID, last.MAC, last.Host
			}
			subnet.Records = append(subnet.Records, rec)
		}
		odd(d, &subnet, fmt.Sprintf("%d-%d", n, s), hosts)
		rd.Subnets = append(rd.Subnets, subnet)
	}
	rd.Routes = randomRoutes(d, &rd)
	return rd
}

// odd draws records without an address of their own: wildcards, of VMs with other
// addresses or without, and a VM that has no address yet.
func odd(d dice, subnet *tenant.SubnetSpec, name string, hosts []tenant.HostSpec) {
	add := func(ca tenant.CA, typ tenant.RecordType, mac byte) {
		rec := tenant.RecordSpec{VM: "odd" + name, IfaceID: fmt.Sprintf("%s-%d", name, mac), CA: ca, MAC: tenant.MAC{2, 0, 0, 0, 0, mac},
			Options: &tenant.RecordOptions{Type: typ}}
		rec.VM = rec.IfaceID
		if h := d.pick(len(hosts) + 1); h < len(hosts) {
			rec.Host = hosts[h].Name
		}
		if n := len(subnet.Records); n > 0 && d.pick(2) == 1 {
			last := subnet.Records[n-1]
			rec.VM, rec.IfaceID, rec.MAC, rec.Host = last.VM, last.IfaceID, last.MAC, last.Host
		}
		subnet.Records = append(subnet.Records, rec)
	}
	for i, any := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		same := func(p tenant.CAPrefix) bool { return p.Prefix().Addr().Is4() == any.Is4() }
		if slices.ContainsFunc(subnet.Prefixes, same) && rarely(d, 4) {
			add(tenant.CAFrom(any), tenant.Wildcard, byte(0x80+i))
		}
	}
	if rarely(d, 6) {
		add(tenant.CA{}, tenant.L2Only, 0x90)
	}
}

// room returns how many bits of an address a prefix leaves open.
func room(p netip.Prefix) int { return p.Addr().BitLen() - p.Bits() }

// nth returns the address at an offset from the start of p, or from behind its
// end where n is negative.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Addr()
	if n < 0 {
		a = number(flow.Addr(a).Or(flow.Ones(room(p))), a.BitLen())
		for n++; n < 0; n++ {
			a = a.Prev()
		}
		return a
	}
	for ; n > 0; n-- {
		a = a.Next()
	}
	return a
}

// number returns the address of so many bits that is v.
func number(v flow.Value, bits int) netip.Addr {
	a, _ := netip.AddrFromSlice(v.Bytes(bits / 8))
	return a
}

var routePool = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/29"), netip.MustParsePrefix("10.0.1.3/32"), netip.MustParsePrefix("192.0.0.0/2"),
	netip.MustParsePrefix("10.0.2.0/24"), netip.MustParsePrefix("10.0.0.1/32"),
	netip.MustParsePrefix("::/0"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("fd00:0:0:1::/125"),
	netip.MustParsePrefix("fd00:0:0:2::3/128"), netip.MustParsePrefix("f000::/4"),
}

func randomRoutes(d dice, rd *tenant.RoutingDomainSpec) (routes []tenant.RouteSpec) {
	var hops []tenant.CA
	for _, s := range rd.Subnets {
		for _, r := range s.Records {
			if r.CA.IsValid() && !r.CA.Addr().IsUnspecified() {
				hops = append(hops, r.CA)
			}
		}
		if p := s.Prefixes[0].Prefix(); room(p) > 2 {
			hops = append(hops, tenant.CAFrom(nth(p, 9))) // nobody's
		}
	}
	if len(hops) == 0 {
		return nil
	}
	type key struct {
		p netip.Prefix
		v uint32
		m uint32
	}
	seen := map[key]tenant.RouteSpec{}
	for range d.pick(6) {
		r := tenant.RouteSpec{Prefix: tenant.CAPrefixFrom(one(d, routePool)), NextHop: one(d, hops), Metric: uint32(d.pick(3))}
		if rarely(d, 3) {
			r.VSID = one(d, rd.Subnets).VSID
		}
		k := key{r.Prefix.Prefix(), r.VSID, r.Metric}
		old, taken := seen[k]
		if r.NextHop.Addr().Is4() != k.p.Addr().Is4() || taken && old.BlackHole || slices.ContainsFunc(routes, func(q tenant.RouteSpec) bool { return q == r }) {
			continue
		}
		if !taken && rarely(d, 4) {
			r.BlackHole, r.NextHop = true, tenant.CA{}
		}
		seen[k] = r
		routes = append(routes, r)
		for range d.pick(3) { // others that share its traffic
			more := r
			if more.NextHop = one(d, hops); !r.BlackHole && !taken && more.NextHop != r.NextHop && more.NextHop.Addr().Is4() == k.p.Addr().Is4() &&
				!slices.Contains(routes, more) {
				routes = append(routes, more)
			}
		}
	}
	return routes
}

// attach draws where the VMs of a policy are attached: mostly where the policy
// wants them, but also nowhere, elsewhere, twice, or not yet with a number.
func attach(d dice, p *tenant.Policy, hosts []string) map[string][]flows.Attachment {
	at := make(map[string][]flows.Attachment)
	port := uint32(100)
	add := func(host string, r tenant.LookupRecord) {
		port++
		at[host] = append(at[host], flows.Attachment{IfaceID: r.IfaceID, OFPort: port})
	}
	seen := map[string]bool{}
	for r := range p.Records() {
		if seen[r.IfaceID] {
			continue
		}
		seen[r.IfaceID] = true
		home := r.Host
		if home == "" {
			home = one(d, hosts)
		}
		switch d.pick(10) {
		default:
			add(home, r)
		case 5:
			add(one(d, hosts), r)
		case 6:
			add(home, r)
			add(one(d, hosts), r)
		case 7:
			at[home] = append(at[home], flows.Attachment{IfaceID: r.IfaceID})
		case 8:
			add(home, r)
			at[home] = append(at[home], flows.Attachment{IfaceID: r.IfaceID})
		case 9: // nowhere
		}
	}
	if rarely(d, 4) {
		at[hosts[0]] = append(at[hosts[0]], flows.Attachment{IfaceID: "stranger", OFPort: 99})
	}
	return at
}

// newWorld compiles a policy for all its hosts.
func newWorld(p *tenant.Policy, at map[string][]flows.Attachment, modes func(host string) mode) (*world, error) {
	w := &world{policy: p, views: make(map[string]flows.HostView), flows: make(map[string]*flows.Result)}
	place, _ := flows.Place(p, at)
	states := make(map[string]oracle.HostState)
	var hosts []sim.Host
	for h := range p.Hosts() {
		v, state := view(p, h.Name, at[h.Name], modes(h.Name))
		res := flows.Compile(p, place, v)
		// Two ports of one VM are a problem that is reported and survived.
		for _, problem := range res.Problems {
			if problem.IfaceID == "" {
				return nil, fmt.Errorf("host %s: %s", h.Name, problem.Text)
			}
		}
		if len(res.Conflicts) > 0 {
			return nil, fmt.Errorf("host %s: conflicts %v", h.Name, res.Conflicts)
		}
		sw, err := sim.NewSwitch(res.Flows, ports(v), res.Groups...)
		if err != nil {
			return nil, err
		}
		w.hosts = append(w.hosts, h.Name)
		w.views[h.Name], w.flows[h.Name], states[h.Name] = v, res, state
		host := sim.Host{Name: h.Name, Switch: sw}
		for _, a := range h.ProviderAddresses {
			host.Addresses = append(host.Addresses, a.PA.Addr())
			w.pas = append(w.pas, a.PA.Addr())
		}
		hosts = append(hosts, host)
	}
	net, err := sim.NewNetwork(hosts)
	if err != nil {
		return nil, err
	}
	w.net, w.oracle = net, oracle.New(p, states)
	w.collect()
	return w, nil
}

// view returns a host as the compiler sees it and as the oracle does.
func view(p *tenant.Policy, host string, at []flows.Attachment, m mode) (flows.HostView, oracle.HostState) {
	v := flows.HostView{Name: host, Attachments: at}
	state := oracle.HostState{Tunnels: oracle.Tunnels{Any: m == modeFlow || m == modeBoth || m == modeFlowID, PerVSID: m == modeVSID || m == modeBoth || m == modeEach, FlowID: m == modeFlowID}}
	if state.Tunnels.Any {
		v.Tunnels.Flow, v.Tunnels.FlowID = flowPort, m == modeFlowID
	}
	if state.Tunnels.PerVSID {
		v.Tunnels.PerVSID = make(map[tenant.VSID]uint32)
		state.Tunnels.VSIDs = make(map[tenant.VSID]bool)
		port := uint32(10)
		for s := range p.Subnets() {
			if port++; port%5 == 0 && m != modeEach {
				continue // not there yet
			}
			v.Tunnels.PerVSID[s.VSID], state.Tunnels.VSIDs[s.VSID] = port, true
		}
	}
	for _, a := range at {
		state.Attachments = append(state.Attachments, oracle.Attachment{IfaceID: a.IfaceID, Port: a.OFPort})
	}
	return v, state
}

// ports returns the ports of a host for the model.
func ports(v flows.HostView) (all []sim.Port) {
	if v.Tunnels.Flow != 0 {
		all = append(all, sim.Port{Number: v.Tunnels.Flow, Tunnel: true, AnyKey: true})
	}
	for _, vsid := range slices.Sorted(maps.Keys(v.Tunnels.PerVSID)) {
		all = append(all, sim.Port{Number: v.Tunnels.PerVSID[vsid], Tunnel: true, Key: vsid.Key(0)})
	}
	for _, a := range v.Attachments {
		if a.OFPort != 0 {
			all = append(all, sim.Port{Number: a.OFPort})
		}
	}
	return all
}

// spoken gives a record without a CA an address that its VM may try.
func spoken(r *tenant.LookupRecord) {
	if !r.CA.IsValid() {
		r.CA = tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, 0, 6}))
	}
}

// collect gathers what packets are made of.
func (w *world) collect() {
	w.records = slices.Collect(w.policy.Records())
	for i := range w.records {
		spoken(&w.records[i])
	}
	macs := map[tenant.MAC]bool{}
	addrs := map[netip.Addr]bool{}
	for _, r := range w.records {
		macs[r.MAC] = true
		for _, a := range []netip.Addr{r.CA.Addr(), r.CA.Addr().Next(), r.CA.Addr().Prev(), tenant.LinkLocal(r.MAC)} {
			addrs[a] = true
		}
	}
	for s := range w.policy.Subnets() {
		w.vsids = append(w.vsids, s.VSID)
		for i, g := range s.Gateways {
			p := s.Prefixes[i].Prefix()
			for _, a := range []netip.Addr{g.Addr(), p.Addr(), p.Addr().Prev(), nth(p, -1), nth(p, -1).Next()} {
				addrs[a] = true
			}
		}
	}
	for r := range w.policy.Routes() {
		addrs[r.NextHop.Addr()], addrs[nth(r.Prefix.Prefix(), -1)] = true, true
	}
	for _, s := range []string{"8.8.8.8", "172.16.3.4", "10.0.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1",
		"fe80::1", "fe80::2", "fe80:1::1", "febf::1", "ff02::1", "ff02::2", "ff02::1:ff00:5", "::", "::1", "::ffff:10.0.0.3", "2001:db8:9::9", "ffff::1"} {
		addrs[netip.MustParseAddr(s)] = true
	}
	for _, h := range w.hosts {
		for _, a := range w.views[h].Attachments {
			for r := range w.policy.RecordsByIfaceID(a.IfaceID) {
				if spoken(&r); a.OFPort != 0 {
					w.seats = append(w.seats, seat{h, a.OFPort, r}) // one for each address
				}
			}
		}
	}
	w.macs = slices.SortedFunc(maps.Keys(macs), func(a, b tenant.MAC) int { return slices.Compare(a[:], b[:]) })
	w.macs = append(w.macs, w.policy.GatewayMAC())
	for _, a := range slices.SortedFunc(maps.Keys(addrs), netip.Addr.Compare) {
		if a.Is4() {
			w.addrs = append(w.addrs, a)
		} else if a.IsValid() {
			w.addrs6 = append(w.addrs6, a)
		}
	}
}

// randomWorld draws a world in which every host has one of the modes.
func randomWorld(d dice, modes ...mode) (*world, error) {
	p, problems := tenant.New(randomSpec(d), 1)
	if len(problems) > 0 {
		return nil, fmt.Errorf("the random policy is not valid: %v", problems)
	}
	var hosts []string
	for h := range p.Hosts() {
		hosts = append(hosts, h.Name)
	}
	at := attach(d, p, hosts)
	chosen := make(map[string]mode)
	for _, h := range hosts {
		chosen[h] = one(d, modes)
	}
	return newWorld(p, at, func(h string) mode { return chosen[h] })
}

func writeFile(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }
