package verify

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Tests of single fields, as terms.
var (
	untagged  = term{words.EthDst, tagBits, 0}
	tagged    = term{words.EthDst, tagPresent, tagPresent}
	isIPv4    = ethType(packet.TypeIPv4)
	isARP     = ethType(packet.TypeARP)
	isIPv6    = ethType(packet.TypeIPv6)
	isRequest = term{words.ARPSHA, 0xffff << 48, uint64(packet.ARPRequest) << 48}
	isReply   = term{words.ARPSHA, 0xffff << 48, uint64(packet.ARPReply) << 48}
	isGroup   = term{words.EthDst, 1 << 40, 1 << 40}
	isEcho    = []term{
		{words.Transit, 0xff, uint64(packet.ProtoICMP)},
		{words.Transit, 0xffff << 48, uint64(packet.EchoRequest) << 48},
	}
	isEcho6 = []term{icmpv6(packet.EchoRequest6), codeIsZero}

	codeIsZero     = term{words.Transit, 0xff << 56, 0}
	isSolicitation = []term{isIPv6, icmpv6(packet.NeighborSolicitation), codeIsZero}
	isDetection    = prefixTerms(flow.IPv6Src, single(netip.IPv6Unspecified()))
)

func ethType(t uint16) term { return term{words.EthSrc, 0xffff << 48, uint64(t) << 48} }

// icmpv6 tests for ICMPv6 and the type of the message.
func icmpv6(kind uint8) term {
	return term{words.Transit, 0xff | 0xff<<48, uint64(packet.ProtoICMPv6) | uint64(kind)<<48}
}

// prefixTerms tests that an address field lies in a prefix.
func prefixTerms(f flow.Field, p netip.Prefix) []term {
	mask := flow.PrefixMask(p.Bits(), p.Addr().BitLen())
	ts := spread(f, flow.Addr(p.Addr()).And(mask), mask)
	if p.Addr().Is4() && p.Bits() == 0 {
		return nil
	}
	return ts
}

func inPort(n uint32) term     { return term{words.InPort, low32, uint64(n)} }
func ethSrc(m tenant.MAC) term { return term{words.EthSrc, low48, m.Uint64()} }
func ethDst(m tenant.MAC) term { return term{words.EthDst, low48, m.Uint64()} }
func ttlIs(n uint64) term      { return term{words.Transit, ttlMask, n << ttlShift} }

func lower(word uint8, p netip.Prefix) term {
	mask := flow.PrefixMask(p.Bits(), 32).Lo
	return term{word, mask, uint64(number4(p.Addr())) & mask}
}

// want is what should become of all packets of a space.
type want struct {
	oracle.Verdict
	drop flows.DropReason
	out  *state // what comes out, as a function of what came in
	or   []want // what may as well become of them, where next hops share traffic
}

// DropReason returns the pipeline's word for the oracle's reason; zero where no
// flow of the pipeline drops for it.
func DropReason(r oracle.Reason) flows.DropReason { return wordFor[r] }

var wordFor = map[oracle.Reason]flows.DropReason{
	oracle.Tagged:         flows.DropVMTagged,
	oracle.UnknownPort:    flows.DropUnknownPort,
	oracle.SourceMAC:      flows.DropSourceMAC,
	oracle.SourceCA:       flows.DropSourceCA,
	oracle.Protocol:       flows.DropProtocol,
	oracle.ARPSender:      flows.DropARPSender,
	oracle.ARPOwn:         flows.DropARPOwn,
	oracle.ARPTarget:      flows.DropARPTarget,
	oracle.Group:          flows.DropMulticast,
	oracle.NoRoute:        flows.DropNoRoute,
	oracle.UnknownCA:      flows.DropUnknownCA,
	oracle.Unattached:     flows.DropUnattached,
	oracle.ToRouter:       flows.DropToRouter,
	oracle.TTL:            flows.DropTTL,
	oracle.ToItself:       flows.DropToItself,
	oracle.NoPath:         flows.DropUnknownPeer,
	oracle.NoTunnel:       flows.DropNoTunnel,
	oracle.TunnelTagged:   flows.DropTunnelTagged,
	oracle.UnknownPA:      flows.DropUnknownPA,
	oracle.TunnelGroup:    flows.DropTunnelMulticast,
	oracle.UnknownVSID:    flows.DropUnknownVSID,
	oracle.TunnelProtocol: flows.DropTunnelProtocol,
	oracle.TooBig:         flows.DropTooBig,
	oracle.NotHere:        flows.DropNotHere,
	oracle.BlackHole:      flows.DropBlackHole,
	oracle.NoCA:           flows.DropNoCA,

	oracle.RouterAdvertisement: flows.DropRouterAdvertisement,
	oracle.Redirect:            flows.DropRedirect,
	oracle.NDSender:            flows.DropNDSender,
	oracle.NDOwn:               flows.DropNDOwn,
	oracle.NDUnsolicited:       flows.DropNDUnsolicited,
	oracle.NDTarget:            flows.DropNDTarget,
	oracle.LinkLocal:           flows.DropLinkLocal,
}

// PuntReason returns the pipeline's word for what the controller gets a packet for;
// zero for nothing.
func PuntReason(p oracle.Punt) flows.PuntReason { return puntFor[p] }

var puntFor = map[oracle.Punt]flows.PuntReason{
	oracle.TellTTL:       flows.PuntTTL,
	oracle.TellNoRoute:   flows.PuntNoRoute,
	oracle.TellNoHost:    flows.PuntNoHost,
	oracle.TellNoPort:    flows.PuntToRouter,
	oracle.TellTooBig:    flows.PuntTooBig,
	oracle.AskDHCP:       flows.PuntDHCP,
	oracle.AskDHCPv6:     flows.PuntDHCPv6,
	oracle.AskForRouters: flows.PuntRouterQuery,
}

func dropWord(v *oracle.Verdict, f *packet.Frame) flows.DropReason {
	if v.Kind != oracle.Dropped {
		return 0
	}
	if v.Reason == oracle.UnknownCA {
		return UnknownCA(f)
	}
	return DropReason(v.Reason)
}

// UnknownCA returns the pipeline's word for an address that nobody has: it tells
// questions for the address from other packets.
func UnknownCA(f *packet.Frame) flows.DropReason {
	switch {
	case f.Type == packet.TypeARP:
		return flows.DropARPUnknownCA
	case f.HasND() && f.L4.Type == packet.NeighborSolicitation:
		return flows.DropNDUnknownCA
	}
	return flows.DropUnknownCA
}

var echoTTL = uint64(64)

// newWant makes of the verdict on one packet what should become of all packets
// that the policy does not tell from it.
func newWant(v oracle.Verdict, f *packet.Frame) (want, error) {
	w := want{Verdict: v, drop: dropWord(&v, f)}
	if v.Kind == oracle.Dropped || v.Kind == oracle.Asked {
		return w, nil
	}
	g := *f
	st := &state{}
	w.out = st
	put := func(word uint8, m tenant.MAC) { st.set(word, low48, m.Uint64()) }
	move := func(dst, src flow.Field, from *state) {
		for _, r := range runs(flow.All(dst), flow.All(src)) {
			st.copyFrom(from, r)
		}
	}
	write := func(f flow.Field, v flow.Value) {
		for _, t := range spread(f, v, flow.Ones(f.Info().Bits)) {
			st.set(t.word, t.mask, t.val)
		}
	}
	mac, in := v.Frame.Src, state{}
	reply := func() { // to the sender, from the MAC asked for
		move(flow.EthDst, flow.EthSrc, &in)
		put(words.EthSrc, mac)
		g.Dst, g.Src = f.Src, mac
	}
	echo := func(src, dst, kind flow.Field, t uint8) {
		reply()
		move(src, dst, &in)
		move(dst, src, &in)
		write(flow.IPTTL, flow.Uint(echoTTL))
		write(kind, flow.Uint(uint64(t)))
		g.IP.Src, g.IP.Dst, g.IP.TTL, g.L4.Type = f.IP.Dst, f.IP.Src, uint8(echoTTL), t
	}
	switch {
	case v.Kind == oracle.Delivered:
		put(words.EthDst, v.Frame.Dst)
		g.Dst = v.Frame.Dst
		if v.Frame.Src != f.Src {
			put(words.EthSrc, v.Frame.Src)
			g.Src = v.Frame.Src
		}
		if (f.HasIPv4() || f.HasIPv6()) && v.Frame.IP.TTL != f.IP.TTL {
			st.dec = 1
			g.IP.TTL--
		}
	case f.HasARP():
		reply()
		write(flow.ARPOp, flow.Uint(uint64(packet.ARPReply)))
		move(flow.ARPTHA, flow.ARPSHA, &in)
		put(words.ARPSHA, mac)
		move(flow.ARPSPA, flow.ARPTPA, &in)
		move(flow.ARPTPA, flow.ARPSPA, &in)
		g.ARP = packet.ARP{Op: packet.ARPReply, SHA: mac, SPA: f.ARP.TPA, THA: f.ARP.SHA, TPA: f.ARP.SPA}
	case f.HasND():
		flags := v.Frame.ND.Flags
		if f.IP.Src.IsUnspecified() {
			put(words.EthDst, tenant.MAC{0x33, 0x33, 0, 0, 0, 1})
			put(words.EthSrc, mac)
			write(flow.IPv6Dst, flow.Addr(netip.IPv6LinkLocalAllNodes()))
			g.Dst, g.Src, g.IP.Dst = tenant.MAC{0x33, 0x33, 0, 0, 0, 1}, mac, netip.IPv6LinkLocalAllNodes()
			g.ND.Flags = flags
		} else {
			reply()
			move(flow.IPv6Dst, flow.IPv6Src, &in)
			write(flow.NDOptType, flow.Uint(2))
			put(words.NDTLL, mac)
			g.IP.Dst = f.IP.Src
			g.ND = packet.ND{Target: f.ND.Target, TLL: mac, Flags: flags}
		}
		move(flow.IPv6Src, flow.NDTarget, &in)
		write(flow.ICMPv6Type, flow.Uint(uint64(packet.NeighborAdvertisement)))
		write(flow.NDReserved, flow.Uint(uint64(flags)))
		g.IP.Src, g.L4.Type = f.ND.Target, packet.NeighborAdvertisement
	case f.HasIPv4():
		echo(flow.IPv4Src, flow.IPv4Dst, flow.ICMPType, packet.EchoReply)
	default:
		echo(flow.IPv6Src, flow.IPv6Dst, flow.ICMPv6Type, packet.EchoReply6)
	}
	if g != v.Frame {
		return w, fmt.Errorf("internal error, please report it: %s should become %s, and the proof expects %s", f, v.Frame, g)
	}
	return w, nil
}

// The addresses of each family.
var (
	all4 = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	all6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// pieces cuts the addresses of whole into prefixes none of which any of ps cuts;
// those of another family do not count.
func pieces(whole netip.Prefix, ps []netip.Prefix) []netip.Prefix {
	ps = slices.DeleteFunc(ps, func(p netip.Prefix) bool { return p.Addr().Is4() != whole.Addr().Is4() })
	slices.SortFunc(ps, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	ps = slices.Compact(ps)
	var out []netip.Prefix
	var cut func(p netip.Prefix, within []netip.Prefix)
	cut = func(p netip.Prefix, within []netip.Prefix) {
		for len(within) > 0 && within[0] == p {
			within = within[1:]
		}
		if len(within) == 0 {
			out = append(out, p)
			return
		}
		n := p.Addr().BitLen()
		low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
		high := netip.PrefixFrom(number(flow.Addr(p.Addr()).Or(flow.Uint(1).Shl(n-1-p.Bits())), n), p.Bits()+1)
		// What lies in the high half comes last, by address.
		at, _ := slices.BinarySearchFunc(within, high.Addr(), func(q netip.Prefix, a netip.Addr) int { return q.Addr().Compare(a) })
		cut(low, within[:at])
		cut(high, within[at:])
	}
	cut(whole, ps)
	return out
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// What the policy does not say but means something.
var wellKnown = []netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("ff00::/8"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fe80::/64"), single(tenant.GatewayLinkLocal()),
}

// destinations returns the prefixes of destinations of both families that the
// policy tells apart in a routing domain.
func (e *engine) destinations(id tenant.RDID) []netip.Prefix {
	ps := slices.Clone(wellKnown)
	for s := range e.policy.SubnetsOf(id) {
		ps = append(ps, e.addresses(s)...)
	}
	for r := range e.policy.RoutesOf(id) {
		ps = append(ps, r.Prefix.Prefix())
	}
	return append(pieces(all4, slices.Clone(ps)), pieces(all6, ps)...)
}

// addresses returns the prefixes of a subnet and who is in it.
func (e *engine) addresses(s tenant.VirtualSubnet) (ps []netip.Prefix) {
	for _, p := range s.Prefixes {
		ps = append(ps, p.Prefix())
	}
	for _, g := range s.Gateways {
		ps = append(ps, single(g.Addr()))
	}
	for r := range e.policy.RecordsOf(s.VSID) {
		if !r.CA.IsValid() {
			continue
		}
		ps = append(ps, single(r.CA.Addr()))
		if r.CA.Addr().Is6() {
			ps = append(ps, single(tenant.LinkLocal(r.MAC)))
		}
	}
	return ps
}

// targets returns the prefixes of ARP or ND targets that the policy tells apart
// in a subnet.
func (e *engine) targets(v tenant.VSID, whole netip.Prefix) []netip.Prefix {
	s, _ := e.policy.Subnet(v)
	return pieces(whole, append(slices.Clone(wellKnown), e.addresses(s)...))
}
