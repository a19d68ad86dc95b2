package routeradv

import (
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

const (
	hopLimit = 255 // RFC 4861 section 4.2: what is less was routed
	// curHopLimit is what VMs shall send with (RFC 1700).
	curHopLimit = 64
	// mostServers and mostPrefixes keep an advertisement below the least MTU.
	mostServers  = 8
	mostPrefixes = 16

	typeSolicitation = 133

	// Lifetime is how long a VM keeps its default route, prefixes and name servers
	// without hearing of the router again: the most that RFC 8319 section 4
	// allows. The way out must not end with the controller.
	Lifetime = 65535 * time.Second
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = tenant.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// Answer returns the advertisement that answers a frame with a router
// solicitation that a VM sent, as a frame for that VM. The returned error is a
// [responder.Reason].
func Answer(b []byte, vm *responder.VM) ([]byte, error) {
	p, ok := frame.Read(b)
	if !ok {
		return nil, responder.Malformed
	}
	if !p.Src.Is6() || p.Proto != frame.ICMPv6 {
		return nil, responder.NotForUs
	}
	m, ok := p.ICMPv6Message()
	if !ok || len(m) < 8 {
		return nil, responder.Malformed
	}
	if m[0] != typeSolicitation || m[1] != 0 {
		return nil, responder.NotForUs
	}
	if p.EthSrc != vm.MAC || !p.Src.IsUnspecified() && !p.Src.IsLinkLocalUnicast() {
		return nil, responder.WrongSender
	}
	if p.TTL != hopLimit || !validOptions(m[8:], p.Src.IsUnspecified()) {
		return nil, responder.Malformed
	}
	to := p.Src
	if to.IsUnspecified() {
		to = allNodes
	}
	return build(vm, to, nil)
}

// validOptions checks the options of a solicitation (RFC 4861 section 6.1.1): none
// has length zero, and who has no address gives no link-layer address either.
func validOptions(b []byte, nobody bool) bool {
	const sourceLinkLayerAddress = 1
	for len(b) > 0 {
		if len(b) < 2 || b[1] == 0 || 8*int(b[1]) > len(b) || nobody && b[0] == sourceLinkLayerAddress {
			return false
		}
		b = b[8*int(b[1]):]
	}
	return true
}

// Unsolicited returns an advertisement for a VM that did not ask, to all nodes.
// Prefixes of gone are no longer on its link.
func Unsolicited(vm *responder.VM, gone []netip.Prefix) ([]byte, error) {
	return build(vm, allNodes, gone)
}

func build(vm *responder.VM, to netip.Addr, gone []netip.Prefix) ([]byte, error) {
	mac := allNodesMAC
	if to != allNodes {
		mac = vm.MAC
	}
	ra := &ndp.RouterAdvertisement{
		CurrentHopLimit:      curHopLimit,
		ManagedConfiguration: true,
		OtherConfiguration:   true,
		Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: vm.RouterMAC[:]},
		},
	}
	if vm.MTU != 0 {
		ra.Options = append(ra.Options, ndp.NewMTU(uint32(max(vm.MTU, 1280))))
	}
	n := 0
	for _, p := range vm.Prefixes {
		if p.Prefix.Addr().Is6() && n < mostPrefixes {
			ra.Options = append(ra.Options, &ndp.PrefixInformation{
				PrefixLength: uint8(p.Prefix.Bits()), OnLink: true, Prefix: p.Prefix.Masked().Addr(),
				ValidLifetime: Lifetime, PreferredLifetime: Lifetime,
			})
			n++
		}
	}
	if n == 0 && len(gone) == 0 {
		return nil, responder.NoRouter
	}
	if n > 0 {
		ra.RouterLifetime = Lifetime
	}
	for i, p := range gone {
		if p.Addr().Is6() && i < mostPrefixes {
			ra.Options = append(ra.Options, &ndp.PrefixInformation{PrefixLength: uint8(p.Bits()), OnLink: true, Prefix: p.Masked().Addr()})
		}
	}
	var dns []netip.Addr
	for _, s := range vm.DNS {
		if s.Is6() && len(dns) < mostServers {
			dns = append(dns, s)
		}
	}
	if len(dns) > 0 {
		ra.Options = append(ra.Options, &ndp.RecursiveDNSServer{Lifetime: Lifetime, Servers: dns})
	}
	if name := vm.DomainName(); name != "" {
		ra.Options = append(ra.Options, &ndp.DNSSearchList{Lifetime: Lifetime, DomainNames: []string{name}})
	}
	m, err := ndp.MarshalMessage(ra)
	if err != nil {
		return nil, responder.Unbuildable
	}
	out := frame.Header{EthDst: mac, EthSrc: vm.RouterMAC, Src: responder.RouterLinkLocal, Dst: to, TTL: hopLimit}.ICMP(m)
	if out == nil {
		return nil, responder.Unbuildable
	}
	return out, nil
}
