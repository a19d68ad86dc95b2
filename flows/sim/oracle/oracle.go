// Package oracle says what should become of a packet, from the policy, from
// where the VMs are attached, and from what Hyper-V Network Virtualization
// means. It knows nothing of tables, registers or switches: what it says is what
// the compiled flows are held to.
//
// The meaning, in short. A VM is its lookup record and sends in its own name
// only. Its subnet is an IP network without broadcast, in which the network
// answers ARP and neighbour solicitations for everybody; a question that is put to
// one VM alone, by its own MAC, the VM answers. A packet goes to the VM that has the destination's
// CA in the sender's routing domain, or to that of the wildcard of the subnet that
// has the address, or to the next hop of the longest matching
// customer route; the MAC that the sender wrote does not matter. From one subnet
// to another it passes the one distributed router, which every gateway address
// names: it counts down the TTL, writes its own MAC as the source, and answers
// echo requests. A link-local address means a VM, or the router, of the sender's
// own subnet. Hosts trust one another: what comes from another host's
// provider address goes to the VM that has the inner MAC in the virtual subnet.
package oracle

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Attachment is a VM's port on a host; a Port of 0 is not there yet.
type Attachment struct {
	IfaceID string
	Port    uint32
}

// Tunnels says which tunnel ports a host has.
type Tunnels struct {
	// Any is a port for all keys. In the mode of one port for each virtual
	// subnet it may be there, but nothing that it brings is taken.
	Any bool
	// PerVSID is the mode of one port for each subnet, which sends and takes
	// FlowID 0 only, with the subnets that have one.
	PerVSID bool
	VSIDs   map[tenant.VSID]bool
	// FlowID says that what the host sends has some FlowID, but in the mode of one
	// port for each subnet.
	FlowID bool
}

// HostState is what there is on a host.
type HostState struct {
	Attachments []Attachment
	Tunnels     Tunnels
}

// Oracle knows one policy and one state of its hosts. It does not change and
// may be used by many goroutines.
type Oracle struct {
	policy *tenant.Policy
	hosts  map[string]HostState
	byPort map[hostPort]*vm
	vms    map[string]*vm // by iface-id
	byCA   map[domainCA]*tenant.LookupRecord
	byLink map[subnetCA]*tenant.LookupRecord
	wild   map[subnetCA]*tenant.LookupRecord // wildcards
	byMAC  map[subnetMAC]*tenant.LookupRecord
	place  map[string]string // host of each iface-id
	port   map[string]uint32 // port of each iface-id, on its host
	router map[domainCA]bool // the distributed router's addresses
	owner  map[netip.Addr]string
	here   map[hostDomain]bool // the host has a VM of the routing domain at a port
	wanted map[hostDomain]bool // the host is where a VM of the routing domain is
	seen   map[string]string   // the first host, by name, that has each iface-id
	least  map[seat]uint32     // the lowest port of each iface-id on a host
}

type (
	hostPort struct {
		host string
		port uint32
	}
	domainCA struct {
		domain tenant.RDID
		ca     netip.Addr
	}
	subnetCA struct {
		vsid tenant.VSID
		ca   netip.Addr
	}
	subnetMAC struct {
		vsid tenant.VSID
		mac  tenant.MAC
	}
	hostDomain struct {
		host   string
		domain tenant.RDID
	}
	seat struct{ host, iface string }
)

// vm is a virtual network adapter with all its records, which have one MAC and
// one subnet.
type vm struct {
	*tenant.LookupRecord // the first
	own                  []netip.Addr
	v4, v6               bool // it has an address of the family
	forwards4, forwards6 bool // it may send from addresses of others
	wild4, wild6         bool // it may speak for them, too
}

// sends reports whether the VM may send packets from a.
func (v *vm) sends(a netip.Addr) bool {
	if v.has(a) {
		return true
	}
	if !(a.Is4() && v.forwards4 || a.Is6() && v.forwards6) {
		return false
	}
	return !slices.ContainsFunc(martians, func(p netip.Prefix) bool { return p.Contains(a) })
}

// martians are what no router forwards packets from (RFC 1812 section 5.3.7).
var martians = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

// Martians returns the prefixes that no VM may send packets from which it
// forwards.
func Martians() []netip.Prefix { return slices.Clone(martians) }

// has reports whether a is an address of the VM.
func (v *vm) has(a netip.Addr) bool { return slices.Contains(v.own, a) }

// New returns the oracle of a policy. A VM whose record names no host is on the
// first host, by name, that has its attachment. Of several ports of one VM on a
// host the one with the lowest number counts.
func New(p *tenant.Policy, hosts map[string]HostState) *Oracle {
	o := &Oracle{
		policy: p, hosts: hosts,
		byPort: make(map[hostPort]*vm),
		vms:    make(map[string]*vm),
		byLink: make(map[subnetCA]*tenant.LookupRecord),
		wild:   make(map[subnetCA]*tenant.LookupRecord),
		byCA:   make(map[domainCA]*tenant.LookupRecord),
		byMAC:  make(map[subnetMAC]*tenant.LookupRecord),
		place:  make(map[string]string),
		port:   make(map[string]uint32),
		router: make(map[domainCA]bool),
		owner:  make(map[netip.Addr]string),
		here:   make(map[hostDomain]bool),
		wanted: make(map[hostDomain]bool),
		seen:   make(map[string]string),
		least:  make(map[seat]uint32),
	}
	for h := range p.Hosts() {
		for _, a := range h.ProviderAddresses {
			o.owner[a.PA.Addr()] = h.Name
		}
	}
	for s := range p.Subnets() {
		for _, g := range s.Gateways {
			o.router[domainCA{s.RDID, g.Addr()}] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		for _, a := range hosts[name].Attachments {
			if o.seen[a.IfaceID] == "" {
				o.seen[a.IfaceID] = name
			}
			at := seat{name, a.IfaceID}
			if low := o.least[at]; a.Port != 0 && (low == 0 || a.Port < low) {
				o.least[at] = a.Port
			}
		}
	}
	for r := range p.Records() {
		o.byMAC[subnetMAC{r.VSID, r.MAC}] = &r
		v := o.vms[r.IfaceID]
		if v == nil {
			v = &vm{LookupRecord: &r}
			o.vms[r.IfaceID] = v
		}
		if r.Type == tenant.Dynamic {
			continue // its CA is yet to be learned
		}
		o.settle(v)
		wild := r.Type == tenant.Wildcard
		switch {
		case r.Type == tenant.L2Only:
			continue
		case wild:
			o.wild[subnetCA{r.VSID, r.CA.Addr()}] = &r
		default:
			o.byCA[domainCA{r.RDID, r.CA.Addr()}] = &r
			v.own = append(v.own, r.CA.Addr())
		}
		if r.CA.Addr().Is4() {
			v.v4 = true
			v.wild4 = v.wild4 || wild
			v.forwards4 = v.forwards4 || wild || r.Forwarding
		} else {
			v.wild6 = v.wild6 || wild
			v.forwards6 = v.forwards6 || wild || r.Forwarding
			if !v.v6 {
				v.own = append(v.own, tenant.LinkLocal(r.MAC))
			}
			v.v6 = true
			o.byLink[subnetCA{r.VSID, tenant.LinkLocal(r.MAC)}] = &r
		}
	}
	return o
}

// settle finds the host and the port of a VM.
func (o *Oracle) settle(r *vm) {
	host := cmp.Or(r.Host, o.seen[r.IfaceID])
	if host == "" {
		return
	}
	o.place[r.IfaceID] = host
	o.wanted[hostDomain{host, r.RDID}] = true
	if port := o.least[seat{host, r.IfaceID}]; port != 0 {
		o.port[r.IfaceID] = port
		o.byPort[hostPort{host, port}] = r
		o.here[hostDomain{host, r.RDID}] = true
	}
}

// Place returns the host that a VM is on, "" where nobody knows, and its port
// there, 0 where it has none.
func (o *Oracle) Place(iface string) (host string, port uint32) {
	return o.place[iface], o.port[iface]
}

// VM returns the record of the VM that belongs on a port of a host.
func (o *Oracle) VM(host string, port uint32) (tenant.LookupRecord, bool) {
	if r := o.byPort[hostPort{host, port}]; r != nil {
		return *r.LookupRecord, true
	}
	return tenant.LookupRecord{}, false
}

// SentAll is Sent where several next hops share traffic: it returns what each of
// them makes of the frame, any of which may become of it.
func (o *Oracle) SentAll(host string, port uint32, f packet.Frame) []Verdict {
	var all []Verdict
	for i, n := 0, 1; i < n; i++ {
		v, hops := o.sent(host, port, f, i)
		all, n = append(all, v), hops
	}
	return all
}

func drop(host string, r Reason) Verdict { return Verdict{Kind: Dropped, Reason: r, Host: host} }

// Sent says what should become of a frame that comes in by a port of a host
// that is no tunnel port.
func (o *Oracle) Sent(host string, port uint32, f packet.Frame) Verdict {
	v, _ := o.sent(host, port, f, 0)
	return v
}

// sent says what becomes of a frame where the choice-th of hops next hops is
// taken.
func (o *Oracle) sent(host string, port uint32, f packet.Frame, choice int) (v Verdict, hops int) {
	if f.Tagged {
		return drop(host, Tagged), 1
	}
	vm := o.byPort[hostPort{host, port}]
	if vm == nil {
		return drop(host, UnknownPort), 1
	}
	if f.Src != vm.MAC {
		return drop(host, SourceMAC), 1
	}
	from := sender{Oracle: o, vm: vm, host: host, port: port, choice: choice, hops: new(int)}
	*from.hops = 1
	if p := from.asks(&f); p != 0 {
		return Verdict{Kind: Asked, Punt: p, Host: host}, 1
	}
	switch {
	case f.Type == packet.TypeARP && vm.v4:
		v = from.arp(f)
	case f.Type == packet.TypeIPv4 && vm.v4:
		v = from.ip(f)
	case f.Type == packet.TypeIPv6 && vm.v6:
		v = from.ipv6(f)
	case !vm.v4 && !vm.v6:
		v = drop(host, NoCA)
	default:
		v = drop(host, Protocol)
	}
	return v, *from.hops
}

// sender is a VM at its port.
type sender struct {
	*Oracle
	vm   *vm
	host string
	port uint32

	choice int  // among next hops that share traffic
	hops   *int // how many there are
}

func (s sender) drop(r Reason) Verdict { return drop(s.host, r) }

// tell drops a packet and has the controller tell its sender.
func (s sender) tell(r Reason, p Punt) Verdict {
	v := s.drop(r)
	v.Punt = p
	return v
}

// asks says what the VM asks the controller, of which it may ask by any address;
// 0 for nothing.
func (s sender) asks(f *packet.Frame) Punt {
	if n, _ := s.policy.Subnet(s.vm.VSID); !n.DHCP {
		return 0
	}
	udp := f.HasL4(packet.ProtoUDP)
	switch {
	case s.vm.v4 && udp && f.HasIPv4() && f.L4.Src == 68 && f.L4.Dst == 67:
		return AskDHCP
	case s.vm.v6 && udp && f.HasIPv6() && f.L4.Src == 546 && f.L4.Dst == 547:
		return AskDHCPv6
	case s.vm.v6 && f.HasICMPv6() && f.L4.Type == packet.RouterSolicitation && f.L4.Code == 0:
		return AskForRouters
	}
	return 0
}

// absent drops what is for an address that nobody has, or nobody who is anywhere.
// A question for a MAC that nobody has stays without an answer.
func (s sender) absent(why Reason, question bool) Verdict {
	if question && why == UnknownCA {
		return s.drop(why)
	}
	return s.tell(why, TellNoHost)
}

func (s sender) answer(f packet.Frame) Verdict {
	return Verdict{Kind: Answered, Host: s.host, Port: s.port, Frame: f}
}

// toOne reports whether a frame is addressed to one machine.
func toOne(f *packet.Frame) bool { return f.Dst[0]&1 == 0 }

// asked finds whom the VM asks for by an address of its own subnet: the router,
// or the record of a VM that somebody knows to be somewhere.
func (s sender) asked(a netip.Addr, outside Reason) (to *tenant.LookupRecord, router bool, why Reason) {
	subnet, _ := s.policy.Subnet(s.vm.VSID)
	if !linkNet.Contains(a) && !slices.ContainsFunc(subnet.Prefixes, func(p tenant.CAPrefix) bool { return p.Prefix().Contains(a) }) {
		return nil, false, outside
	}
	return s.who(a)
}

// who finds who has an address.
func (s sender) who(a netip.Addr) (to *tenant.LookupRecord, router bool, why Reason) {
	if linkNet.Contains(a) {
		if a == tenant.GatewayLinkLocal() {
			return nil, true, 0
		}
		to = s.byLink[subnetCA{s.vm.VSID, a}]
	} else {
		if s.router[domainCA{s.vm.RDID, a}] {
			return nil, true, 0
		}
		if to = s.byCA[domainCA{s.vm.RDID, a}]; to == nil {
			to = s.wildcard(a)
		}
	}
	switch {
	case to == nil:
		return nil, false, UnknownCA
	case s.place[to.IfaceID] == "":
		return nil, false, Unattached
	}
	return to, false, 0
}

// wildcard returns the wildcard of the subnet of the sender's routing domain that
// has an address; nil where there is none.
func (s sender) wildcard(a netip.Addr) *tenant.LookupRecord {
	any := netip.IPv6Unspecified()
	if a.Is4() {
		any = netip.IPv4Unspecified()
	}
	for n := range s.policy.SubnetsOf(s.vm.RDID) {
		if slices.ContainsFunc(n.Prefixes, func(p tenant.CAPrefix) bool { return p.Prefix().Contains(a) }) {
			return s.wild[subnetCA{n.VSID, any}]
		}
	}
	return nil
}

// itself reports whether what the VM asks for comes to itself, by a wildcard.
func (s sender) itself(to *tenant.LookupRecord) bool { return to != nil && to.IfaceID == s.vm.IfaceID }

// arp answers a request for any address of the VM's own subnet that somebody
// has, unless it is put to one VM alone. A probe (RFC 5227 section 2.1.1) has no
// sender address. A VM's own answer goes to whom it is for.
func (s sender) arp(f packet.Frame) Verdict {
	m := f.ARP
	if f.HasARP() && s.vm.has(m.TPA) {
		return s.drop(ARPOwn)
	}
	probe := m.SPA == netip.IPv4Unspecified()
	request, reply := m.Op == packet.ARPRequest, m.Op == packet.ARPReply && !probe && toOne(&f)
	if !f.HasARP() || !request && !reply || m.SHA != s.vm.MAC || !s.vm.has(m.SPA) && !probe && !s.vm.wild4 {
		return s.drop(ARPSender)
	}
	to, router, why := s.asked(m.TPA, ARPTarget)
	switch {
	case why == ARPTarget:
		return s.drop(why)
	case why != 0:
		return s.absent(why, true)
	case s.itself(to):
		return s.drop(ARPOwn)
	case router && reply:
		return s.drop(ToRouter)
	case !router && (reply || toOne(&f) && !probe):
		f.Dst = to.MAC
		return s.deliver(to, f)
	}
	mac := s.policy.GatewayMAC()
	if !router {
		mac = to.MAC
	}
	f.Dst, f.Src = f.Src, mac
	f.ARP = packet.ARP{Op: packet.ARPReply, SHA: mac, SPA: m.TPA, THA: m.SHA, TPA: m.SPA}
	return s.answer(f)
}

var (
	linkNet = netip.MustParsePrefix("fe80::/64")
	linkAll = netip.MustParsePrefix("fe80::/10")
)

// ipv6 sorts neighbour discovery (RFC 4861) from what is forwarded.
func (s sender) ipv6(f packet.Frame) Verdict {
	if f.HasICMPv6() {
		switch f.L4.Type {
		case packet.RouterAdvertisement:
			return s.drop(RouterAdvertisement)
		case packet.Redirect:
			return s.drop(Redirect)
		case packet.NeighborSolicitation:
			return s.solicitation(f)
		case packet.NeighborAdvertisement:
			m := f.ND
			switch {
			case f.IP.Dst.IsMulticast():
				return s.drop(NDUnsolicited)
			case !f.HasND() || f.IP.TTL != 255 || !s.vm.wild6 && (f.IP.Src != m.Target || !s.vm.has(m.Target)) || m.TLL != s.vm.MAC && m.TLL != tenant.MAC{}:
				return s.drop(NDSender)
			}
			return s.forward(f)
		}
	}
	return s.ip(f)
}

// solicitation does for IPv6 what arp does. It wants the VM's MAC with any
// link-local source, which may be one that the policy cannot know (RFC 7217);
// duplicate address detection (RFC 4862 section 5.4.2) has no source and no MAC.
func (s sender) solicitation(f packet.Frame) Verdict {
	m := f.ND
	if f.HasND() && s.vm.has(m.Target) {
		return s.drop(NDOwn)
	}
	detection := f.IP.Src == netip.IPv6Unspecified()
	inOwnName := m.SLL == s.vm.MAC && (s.vm.has(f.IP.Src) || linkNet.Contains(f.IP.Src) || s.vm.wild6 && !detection)
	if !f.HasND() || f.IP.TTL != 255 || !inOwnName && !(detection && m.SLL == tenant.MAC{}) {
		return s.drop(NDSender)
	}
	to, router, why := s.asked(m.Target, NDTarget)
	switch {
	case why == NDTarget:
		return s.drop(why)
	case why != 0:
		return s.absent(why, true)
	case s.itself(to):
		return s.drop(NDOwn)
	}
	mac, flags := s.policy.GatewayMAC(), packet.NDRouter|packet.NDOverride
	if !router {
		mac, flags = to.MAC, packet.NDOverride
	}
	f.L4.Type = packet.NeighborAdvertisement
	switch {
	case detection:
		f.Dst, f.Src = tenant.MAC{0x33, 0x33, 0, 0, 0, 1}, mac
		f.IP.Src, f.IP.Dst = m.Target, netip.IPv6LinkLocalAllNodes()
		f.ND.Flags = flags
	case !router && toOne(&f):
		f.L4.Type, f.Dst = packet.NeighborSolicitation, to.MAC
		return s.deliver(to, f)
	default:
		f.Dst, f.Src = f.Src, mac
		f.IP.Src, f.IP.Dst = m.Target, f.IP.Src
		f.ND = packet.ND{Target: m.Target, TLL: mac, Flags: flags | packet.NDSolicited}
	}
	return s.answer(f)
}

// ip forwards a packet of either family that the VM may send.
func (s sender) ip(f packet.Frame) Verdict {
	if f.Cut || !s.vm.sends(f.IP.Src) {
		return s.drop(SourceCA)
	}
	return s.forward(f)
}

func (s sender) forward(f packet.Frame) Verdict {
	dst := f.IP.Dst
	if dst.IsMulticast() || dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return s.drop(Group)
	}
	hop, routed := dst, false
	if linkAll.Contains(dst) {
		if !linkNet.Contains(dst) {
			return s.drop(LinkLocal)
		}
	} else {
		var why Reason
		switch hop, routed, why = s.route(dst); why {
		case 0:
		case NoRoute:
			return s.tell(NoRoute, TellNoRoute)
		default:
			return s.drop(why)
		}
	}
	to, router, why := s.who(hop)
	switch {
	case why != 0:
		return s.absent(why, false)
	case router:
		return s.toRouter(f)
	}
	f.Dst = to.MAC
	if routed {
		if linkAll.Contains(f.IP.Src) {
			return s.drop(LinkLocal)
		}
		if f.IP.TTL <= 1 {
			return s.tell(TTL, TellTTL)
		}
		f.IP.TTL--
		f.Src = s.policy.GatewayMAC()
	}
	return s.deliver(to, f)
}

// route returns the next hop towards an address, and whether the way there
// leads through the router; or why there is none.
func (s sender) route(dst netip.Addr) (hop netip.Addr, routed bool, why Reason) {
	best := -1
	for n := range s.policy.SubnetsOf(s.vm.RDID) {
		for _, p := range n.Prefixes {
			if p := p.Prefix(); p.Contains(dst) && p.Bits() > best {
				best, hop, routed = p.Bits(), dst, n.VSID != s.vm.VSID
			}
		}
	}
	var ways []tenant.CustomerRoute // the best so far
	for r := range s.policy.RoutesOf(s.vm.RDID) {
		p := r.Prefix.Prefix()
		if !p.Contains(dst) || p.Bits() < best || r.VSID != 0 && r.VSID != s.vm.VSID {
			continue
		}
		// Of two routes to one prefix that of the sender's subnet, then the lower
		// metric; a subnet's own prefix has no route.
		order := -1
		if len(ways) > 0 && p.Bits() == best {
			order = cmp.Or(cmp.Compare(ways[0].VSID, r.VSID), cmp.Compare(r.Metric, ways[0].Metric))
		}
		switch {
		case order < 0:
			best, ways = p.Bits(), []tenant.CustomerRoute{r}
		case order == 0:
			ways = append(ways, r)
		}
	}
	switch {
	case best < 0:
		return hop, false, NoRoute
	case len(ways) == 0:
		return hop, routed, 0
	case ways[0].BlackHole:
		return hop, false, BlackHole
	}
	if live := s.live(ways); len(live) > 0 {
		ways = live
	}
	*s.hops = len(ways)
	return ways[s.choice%len(ways)].NextHop.Addr(), true, 0
}

// live returns the routes, of several that share traffic, whose next hops are
// attached to some host.
func (s sender) live(ways []tenant.CustomerRoute) (live []tenant.CustomerRoute) {
	for _, r := range ways {
		if to := s.byCA[domainCA{s.vm.RDID, r.NextHop.Addr()}]; to != nil && s.seen[to.IfaceID] != "" {
			live = append(live, r)
		}
	}
	return live
}

// toRouter answers echo requests. A packet for the router itself goes through
// no router, whatever its subnet, so its TTL does not count.
func (s sender) toRouter(f packet.Frame) Verdict {
	switch {
	case f.HasICMP() && f.L4.Type == packet.EchoRequest && f.L4.Code == 0:
		f.L4.Type = packet.EchoReply
	case f.HasICMPv6() && f.L4.Type == packet.EchoRequest6 && f.L4.Code == 0:
		f.L4.Type = packet.EchoReply6
	case !f.Cut && (f.IP.Proto == packet.ProtoTCP || f.IP.Proto == packet.ProtoUDP):
		return s.tell(ToRouter, TellNoPort)
	default:
		return s.drop(ToRouter)
	}
	f.Dst, f.Src = f.Src, s.policy.GatewayMAC()
	f.IP.Src, f.IP.Dst = f.IP.Dst, f.IP.Src
	f.IP.TTL = 64 // RFC 1700
	return s.answer(f)
}

// deliver brings a finished frame to a VM.
func (s sender) deliver(to *tenant.LookupRecord, f packet.Frame) Verdict {
	there := s.place[to.IfaceID]
	if there == s.host {
		switch port := s.portOf(to); port {
		case 0:
			return s.drop(NotHere)
		case s.port:
			return s.drop(ToItself)
		default:
			return Verdict{Kind: Delivered, Host: there, Port: port, Frame: f}
		}
	}
	outer, ok := s.outer(s.host, there, to.VSID)
	if !ok {
		return s.drop(NoPath)
	}
	if f.Type != packet.TypeARP && f.Size > s.largest(there, outer) {
		return s.tell(TooBig, TellTooBig)
	}
	if !s.hosts[s.host].Tunnels.sends(to.VSID) {
		return s.drop(NoTunnel)
	}
	v := s.Received(there, outer, f)
	v.Tunnelled, v.Outer = true, outer
	t := s.hosts[s.host].Tunnels
	v.AnyFlowID = t.FlowID && !t.PerVSID
	return v
}

// largest returns the size of the largest frame that the underlay takes to
// another host: GRE with a key has 8 octets (RFC 7637 section 3.2).
func (s sender) largest(there string, outer packet.Outer) uint16 {
	a, _ := s.policy.Host(s.host)
	b, _ := s.policy.Host(there)
	if outer.Src.Is4() {
		return min(a.MTU, b.MTU) - 20 - 8
	}
	return min(a.MTU, b.MTU) - 40 - 8
}

func (o *Oracle) portOf(r *tenant.LookupRecord) uint32 { return o.port[r.IfaceID] }

// outer returns the header between two hosts.
func (o *Oracle) outer(from, to string, v tenant.VSID) (packet.Outer, bool) {
	a, _ := o.policy.Host(from)
	b, _ := o.policy.Host(to)
	src, dst, ok := tenant.Path(&a, &b)
	if !ok {
		return packet.Outer{}, false
	}
	return packet.Outer{Src: src.Addr(), Dst: dst.Addr(), Key: v.Key(0)}, true
}

func (t Tunnels) sends(v tenant.VSID) bool {
	if t.PerVSID {
		return t.VSIDs[v]
	}
	return t.Any
}

// share reports whether a host that receives has a VM of a routing domain that
// the sending one is to have VMs of: that of a virtual subnet, most likely.
func (o *Oracle) share(receiver, sender string, v tenant.VSID) bool {
	if s, ok := o.policy.Subnet(v); ok && o.here[hostDomain{receiver, s.RDID}] && o.wanted[hostDomain{sender, s.RDID}] {
		return true
	}
	for d := range o.policy.RoutingDomains() {
		if o.here[hostDomain{receiver, d.RDID}] && o.wanted[hostDomain{sender, d.RDID}] {
			return true
		}
	}
	return false
}

// Received says what should become of a frame that comes to a host in NVGRE.
func (o *Oracle) Received(host string, outer packet.Outer, f packet.Frame) Verdict {
	t := o.hosts[host].Tunnels
	if t.PerVSID && !(t.VSIDs[outer.VSID()] && outer.FlowID() == 0) {
		// It comes by the port for all keys, if any, which is then nobody's.
		switch {
		case !t.Any:
			return drop(host, NoTunnel)
		case f.Tagged:
			return drop(host, Tagged)
		}
		return drop(host, UnknownPort)
	}
	if !t.PerVSID && !t.Any {
		return drop(host, NoTunnel)
	}
	if f.Tagged {
		return drop(host, TunnelTagged)
	}
	if peer := o.owner[outer.Src]; cmp.Or(peer, host) == host || !o.share(host, peer, outer.VSID()) || o.owner[outer.Dst] != host {
		return drop(host, UnknownPA)
	}
	if f.Dst[0]&1 != 0 {
		return drop(host, TunnelGroup)
	}
	subnet, ok := o.policy.Subnet(outer.VSID())
	if !ok || !o.here[hostDomain{host, subnet.RDID}] {
		return drop(host, UnknownVSID)
	}
	four, six := false, false
	for _, p := range subnet.Prefixes {
		is4 := p.Prefix().Addr().Is4()
		four, six = four || is4, six || !is4
	}
	if !(four && (f.Type == packet.TypeIPv4 || f.Type == packet.TypeARP) || six && f.Type == packet.TypeIPv6) {
		return drop(host, TunnelProtocol)
	}
	to := o.byMAC[subnetMAC{subnet.VSID, f.Dst}]
	if to == nil || o.place[to.IfaceID] != host || o.portOf(to) == 0 {
		return drop(host, NotHere)
	}
	return Verdict{Kind: Delivered, Host: host, Port: o.portOf(to), Frame: f}
}
