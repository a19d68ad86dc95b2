package flows

import (
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var portSecurity = Table{
	ID:      tablePortSecurity,
	Name:    "port-security",
	Purpose: "Lets a VM send only what its lookup records say is its own: source MAC, source CA, and ARP and neighbour discovery in its own name. A VM that forwards, or gets what a subnet has no record of, may send from any address, the latter ask and answer for any too. A VM with an IPv6 CA has the link-local address of its MAC too. Each VM has drop flows of its own, so that their counters name the offender.",
	Matches: append(fields(flow.InPort, flow.EthType, flow.EthSrc, flow.IPProto, flow.IPTTL, flow.IPv4Src, flow.IPv6Src, flow.IPv6Dst,
		flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ICMPv6Type, flow.ICMPv6Code, flow.NDTarget, flow.NDSLL, flow.NDTLL, flow.UDPSrc, flow.UDPDst), groupBit),
	Sets: regs(regPunt),
	Next: []uint8{tableRoute, tablePunt},
	Miss: "drop: the port has no lookup record",
}

const (
	prioSecurityRouter   = 130 // what only routers send
	prioSecurityOwn      = 125 // questions for a VM's own address
	prioSecurityND       = 120
	prioSecurityNoSource = 117 // of a VM that speaks for others: it must say for whom
	prioSecurityNDOthers = 115
	prioSecurityNDSender = 110
	prioSecurityAllow    = 100
	prioSecurityNoSender = 95
	prioSecurityOthers   = 90
	prioSecurityMartian  = 60
	prioSecuritySender   = 50
	prioSecurityProtocol = 40
	prioSecurityMAC      = 30
)

// security makes the flows of one port in table port-security.
type security struct {
	b    *builder
	port uint32
	mac  flow.Value
	vm   owner // who is to blame
}

// portSecurityFlows makes the flows of a port whose VM has these records, which
// have one MAC.
func portSecurityFlows(b *builder, vm []tenant.LookupRecord, port uint32) {
	s := security{b, port, flow.Uint(vm[0].MAC.Uint64()), recordOwner(&vm[0])}
	var v4, v6 []*tenant.LookupRecord
	for i := range vm {
		switch r := &vm[i]; {
		case !r.CA.IsValid():
		case r.CA.Addr().Is4():
			v4 = append(v4, r)
		default:
			v6 = append(v6, r)
		}
	}
	if len(v4) > 0 {
		s.ipv4(v4)
	}
	if len(v6) > 0 {
		s.ipv6(v6)
	}
	why := DropProtocol
	if len(v4)+len(v6) == 0 {
		why = DropNoCA
	}
	s.drop(prioSecurityProtocol, why)
	b.add(&portSecurity, prioSecurityMAC, s.vm.drop(DropSourceMAC), b.match(inPort(port)))
}

func (s *security) match(tests ...flow.Test) flow.Match {
	return s.b.match(append(tests, inPort(s.port), flow.Exact(flow.EthSrc, s.mac))...)
}

func (s *security) allow(priority uint16, o owner, tests ...flow.Test) {
	s.b.add(&portSecurity, priority, o.cookie(), s.match(tests...), flow.Goto(tableRoute))
}

func (s *security) drop(priority uint16, why DropReason, tests ...flow.Test) {
	s.b.add(&portSecurity, priority, s.vm.drop(why), s.match(tests...))
}

func (s *security) ipv4(records []*tenant.LookupRecord) {
	sha := flow.Exact(flow.ARPSHA, s.mac)
	request, reply := flow.Exact(flow.ARPOp, flow.Uint(1)), flow.Exact(flow.ARPOp, flow.Uint(2))
	for _, r := range records {
		if isWildcard(r) {
			// It may be asked for any address by unicast, and says so in its answer.
			s.drop(prioSecurityNoSender, DropARPSender, isARP, reply, flow.Exact(flow.ARPSPA, flow.Uint(0)))
			s.allow(prioSecurityOthers, recordOwner(r), isARP, request, sha)
			s.allow(prioSecurityOthers, recordOwner(r), isARP, reply, sha, toUnicast)
			continue
		}
		o, address := recordOwner(r), flow.Addr(r.CA.Addr())
		sender := flow.Exact(flow.ARPSPA, address)
		s.drop(prioSecurityOwn, DropARPOwn, isARP, flow.Exact(flow.ARPTPA, address))
		s.allow(prioSecurityAllow, o, isIPv4, flow.Exact(flow.IPv4Src, address))
		s.allow(prioSecurityAllow, o, isARP, request, sha, sender)
		// It answers a request that was put to it alone.
		s.allow(prioSecurityAllow, o, isARP, reply, sha, sender, toUnicast)
	}
	// RFC 5227 section 2.1.1: a probe has no sender address.
	s.allow(prioSecurityAllow, s.vm, isARP, request, sha, flow.Exact(flow.ARPSPA, flow.Uint(0)))
	s.others(records, isIPv4)
	s.drop(prioSecuritySender, DropARPSender, isARP)
}

func (s *security) ipv6(records []*tenant.LookupRecord) {
	icmp := func(kind uint64) []flow.Test {
		return []flow.Test{isIPv6, isICMPv6, flow.Exact(flow.ICMPv6Type, flow.Uint(kind))}
	}
	// A message of neighbour discovery that has passed a router is void (RFC 4861
	// section 7.1).
	nd := func(kind uint64, more ...flow.Test) []flow.Test {
		return append(append(icmp(kind), flow.Exact(flow.ICMPv6Code, flow.Uint(0)), flow.Exact(flow.IPTTL, flow.Uint(255))), more...)
	}
	from := func(a netip.Addr) flow.Test { return flow.Exact(flow.IPv6Src, flow.Addr(a)) }
	target := func(a netip.Addr) flow.Test { return flow.Exact(flow.NDTarget, flow.Addr(a)) }
	sll := flow.Exact(flow.NDSLL, s.mac)

	s.drop(prioSecurityRouter, DropRouterAdvertisement, icmp(ndRouterAdvertisement)...)
	s.drop(prioSecurityRouter, DropRedirect, icmp(ndRedirect)...)
	s.drop(prioSecurityOwn, DropNDUnsolicited, append(icmp(ndAdvertisement), prefixTest(flow.IPv6Dst, multicast6))...)

	own := func(o owner, a netip.Addr) {
		s.drop(prioSecurityOwn, DropNDOwn, append(icmp(ndSolicitation), flow.Exact(flow.ICMPv6Code, flow.Uint(0)), target(a))...)
		for _, tll := range []flow.Value{s.mac, {}} { // the option may be left out
			s.allow(prioSecurityND, o, nd(ndAdvertisement, from(a), target(a), flow.Exact(flow.NDTLL, tll))...)
		}
		s.allow(prioSecurityAllow, o, isIPv6, from(a))
	}
	for _, r := range records {
		o := recordOwner(r)
		if isWildcard(r) {
			s.drop(prioSecurityNoSource, DropNDSender, append(icmp(ndSolicitation), from(netip.IPv6Unspecified()))...)
			s.allow(prioSecurityNDOthers, o, nd(ndSolicitation, sll)...)
			for _, tll := range []flow.Value{s.mac, {}} {
				s.allow(prioSecurityNDOthers, o, nd(ndAdvertisement, flow.Exact(flow.NDTLL, tll))...)
			}
			continue
		}
		own(o, r.CA.Addr())
		s.allow(prioSecurityND, o, nd(ndSolicitation, from(r.CA.Addr()), sll)...)
	}
	own(s.vm, tenant.LinkLocal(tenant.MAC(s.mac.Bytes(6))))
	// A VM may have link-local addresses that nobody can know (RFC 7217): it may
	// ask by them, with its MAC.
	s.allow(prioSecurityND, s.vm, nd(ndSolicitation, prefixTest(flow.IPv6Src, linkLocalNet), sll)...)
	// RFC 4862 section 5.4.2: duplicate address detection has no source.
	s.allow(prioSecurityND, s.vm, nd(ndSolicitation, from(netip.IPv6Unspecified()), flow.Exact(flow.NDSLL, flow.Value{}))...)
	s.drop(prioSecurityNDSender, DropNDSender, icmp(ndSolicitation)...)
	s.drop(prioSecurityNDSender, DropNDSender, icmp(ndAdvertisement)...)
	s.others(records, isIPv6)
}

// martians are source addresses of packets that no router forwards (RFC 1812
// section 5.3.7, RFC 4291 section 2.5). Packets without a whole header count as
// from address 0.
var martians = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
	netip.MustParsePrefix("::/127"), linkLocal, multicast6,
}

// others makes the flows of what the VM sends from addresses that are not its own:
// a VM that forwards for others does that, and so does the one that a wildcard
// makes the gateway to machines without records.
func (s *security) others(records []*tenant.LookupRecord, family flow.Test) {
	i := slices.IndexFunc(records, func(r *tenant.LookupRecord) bool { return r.Forwarding || isWildcard(r) })
	if i < 0 {
		s.drop(prioSecuritySender, DropSourceCA, family)
		return
	}
	for _, p := range martians {
		if f := familyOf(p.Addr()); f.is == family {
			s.drop(prioSecurityMartian, DropSourceCA, family, prefixTest(f.src, p))
		}
	}
	s.allow(prioSecuritySender, recordOwner(records[i]), family)
}
