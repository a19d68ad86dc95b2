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
	isIPv4    = term{words.EthSrc, 0xffff << 48, uint64(packet.TypeIPv4) << 48}
	isARP     = term{words.EthSrc, 0xffff << 48, uint64(packet.TypeARP) << 48}
	isRequest = term{words.ARPSHA, 0xffff << 48, uint64(packet.ARPRequest) << 48}
	isGroup   = term{words.EthDst, 1 << 40, 1 << 40}
	isEcho    = []term{
		{words.Transit, 0xff, uint64(packet.ProtoICMP)},
		{words.Transit, 0xffff << 48, uint64(packet.EchoRequest) << 48},
	}
)

func inPort(n uint32) term     { return term{words.InPort, low32, uint64(n)} }
func ethSrc(m tenant.MAC) term { return term{words.EthSrc, low48, m.Uint64()} }
func ethDst(m tenant.MAC) term { return term{words.EthDst, low48, m.Uint64()} }
func ttlIs(n uint64) term      { return term{words.Transit, ttlMask, n << ttlShift} }

func upper(word uint8, a netip.Addr) term {
	return term{word, low32 << 32, uint64(number4(a)) << 32}
}

func lower(word uint8, p netip.Prefix) term {
	mask := flow.PrefixMask(p.Bits(), 32).Lo
	return term{word, mask, uint64(number4(p.Addr())) & mask}
}

// want is what should become of all packets of a space.
type want struct {
	oracle.Verdict
	drop flows.DropReason
	out  *state // what comes out, as a function of what came in
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
	oracle.NotHere:        flows.DropNotHere,
}

func dropWord(v *oracle.Verdict, f *packet.Frame) flows.DropReason {
	if v.Kind != oracle.Dropped {
		return 0
	}
	if v.Reason == oracle.UnknownCA && f.Type == packet.TypeARP {
		return flows.DropARPUnknownCA
	}
	return DropReason(v.Reason)
}

var echoTTL = uint64(64)

// newWant makes of the verdict on one packet what should become of all packets
// that the policy does not tell from it.
func newWant(v oracle.Verdict, f *packet.Frame) (want, error) {
	w := want{Verdict: v, drop: dropWord(&v, f)}
	if v.Kind == oracle.Dropped {
		return w, nil
	}
	g := *f
	st := &state{}
	w.out = st
	put := func(word uint8, m tenant.MAC) { st.set(word, low48, m.Uint64()) }
	half := func(word uint8, dst, src int) run { return run{word, word, dst, src, 32} }
	switch {
	case v.Kind == oracle.Delivered:
		put(words.EthDst, v.Frame.Dst)
		g.Dst = v.Frame.Dst
		if v.Frame.Src != f.Src {
			put(words.EthSrc, v.Frame.Src)
			g.Src = v.Frame.Src
		}
		if f.HasIPv4() && v.Frame.IP.TTL != f.IP.TTL {
			st.dec = 1
			g.IP.TTL--
		}
	case f.HasARP():
		mac := v.Frame.Src
		in := state{}
		st.move(run{words.EthDst, words.EthSrc, 0, 0, 48})
		put(words.EthSrc, mac)
		st.set(words.ARPSHA, 0xffff<<48, uint64(packet.ARPReply)<<48)
		st.move(run{words.ARPTHA, words.ARPSHA, 0, 0, 48})
		put(words.ARPSHA, mac)
		st.copyFrom(&in, half(words.ARPAddrs, 0, 32))
		st.copyFrom(&in, half(words.ARPAddrs, 32, 0))
		g.Dst, g.Src = f.Src, mac
		g.ARP = packet.ARP{Op: packet.ARPReply, SHA: mac, SPA: f.ARP.TPA, THA: f.ARP.SHA, TPA: f.ARP.SPA}
	default:
		mac := v.Frame.Src
		in := state{}
		st.move(run{words.EthDst, words.EthSrc, 0, 0, 48})
		put(words.EthSrc, mac)
		st.copyFrom(&in, half(words.IPv4, 0, 32))
		st.copyFrom(&in, half(words.IPv4, 32, 0))
		st.set(words.Transit, ttlMask|0xff<<48, echoTTL<<ttlShift|uint64(packet.EchoReply)<<48)
		g.Dst, g.Src = f.Src, mac
		g.IP.Src, g.IP.Dst, g.IP.TTL = f.IP.Dst, f.IP.Src, uint8(echoTTL)
		g.L4.Type = packet.EchoReply
	}
	if g != v.Frame {
		return w, fmt.Errorf("internal error, please report it: %s should become %s, and the proof expects %s", f, v.Frame, g)
	}
	return w, nil
}

// pieces cuts the IPv4 addresses into prefixes none of which any of ps cuts.
func pieces(ps []netip.Prefix) []netip.Prefix {
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
		low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
		high := netip.PrefixFrom(addr4(number4(p.Addr())|1<<(31-p.Bits())), p.Bits()+1)
		// What lies in the high half comes last, by address.
		at, _ := slices.BinarySearchFunc(within, high.Addr(), func(q netip.Prefix, a netip.Addr) int { return q.Addr().Compare(a) })
		cut(low, within[:at])
		cut(high, within[at:])
	}
	cut(netip.PrefixFrom(netip.IPv4Unspecified(), 0), ps)
	return out
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// destinations returns the prefixes of IPv4 destinations that the policy tells
// apart in a routing domain.
func (e *engine) destinations(id tenant.RDID) []netip.Prefix {
	ps := []netip.Prefix{netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32")}
	for s := range e.policy.SubnetsOf(id) {
		ps = append(ps, e.addresses(s)...)
	}
	for r := range e.policy.RoutesOf(id) {
		ps = append(ps, r.Prefix.Prefix())
	}
	return pieces(slices.DeleteFunc(ps, func(p netip.Prefix) bool { return !p.Addr().Is4() }))
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
		ps = append(ps, single(r.CA.Addr()))
	}
	return ps
}

// targets returns the prefixes of ARP targets that the policy tells apart in a
// subnet.
func (e *engine) targets(v tenant.VSID) []netip.Prefix {
	s, _ := e.policy.Subnet(v)
	return pieces(slices.DeleteFunc(e.addresses(s), func(p netip.Prefix) bool { return !p.Addr().Is4() }))
}
