//go:build linux

package testbed

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// buildUnderlay makes the namespace of the underlay: one Linux bridge for each
// subnet, and the router between them.
func (t *Testbed) buildUnderlay(_ context.Context) error {
	plan := t.Plan()
	ns := t.UnderlayNamespace()
	if err := t.makeNamespace(ns); err != nil {
		return err
	}
	// No duplicate address detection: until it is over, a second or two, a router
	// has no link-local address and so finds no neighbour.
	if err := netspace.SetSysctl(ns, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1",
		"ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0"); err != nil {
		return err
	}
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, s := range plan.Subnets {
		name := UnderlayBridge(s.Name)
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: plan.MTU, HardwareAddr: t.routerMAC(&s)}}
		noSnooping := false
		br.MulticastSnooping = &noSnooping // its queries would be noise in every capture
		if err := h.LinkAdd(br); err != nil {
			return fmt.Errorf("underlay subnet %s: adding bridge %s: %w", s.Name, name, err)
		}
		if err := setUp(h, name); err != nil {
			return err
		}
		if err := t.addRouter(ns, h, &s, br); err != nil {
			return fmt.Errorf("underlay subnet %s: %w", s.Name, err)
		}
	}
	return nil
}

// addRouter gives the router its addresses in a segment.
func (t *Testbed) addRouter(ns string, h *netlink.Handle, s *topology.Subnet, br netlink.Link) error {
	has6 := false
	for _, n := range s.Nets() {
		if !n.Router.IsValid() {
			continue
		}
		if s.VLAN != 0 {
			return fmt.Errorf("its frames are tagged with VLAN %d: it can have no router", s.VLAN)
		}
		has6 = has6 || n.Router.Is6()
		if err := addAddress(h, br, netip.PrefixFrom(n.Router, n.Prefix.Bits())); err != nil {
			return err
		}
	}
	if has6 {
		return nil
	}
	return netspace.SetSysctl(ns, "ipv6/conf/"+br.Attrs().Name+"/disable_ipv6=1")
}

// routerMAC returns the MAC of a subnet's router.
func (t *Testbed) routerMAC(s *topology.Subnet) net.HardwareAddr {
	m := macOf(t.Name(), "router of "+s.Name)
	return m[:]
}

// hostMAC returns the MAC of a host's br-phy, which answers for its provider
// addresses.
func (t *Testbed) hostMAC(host string) net.HardwareAddr {
	m := macOf(t.Name(), "host "+host)
	return m[:]
}

// addAddress adds an address, IPv6 without duplicate address detection: it would
// keep the address from use for a second.
func addAddress(h *netlink.Handle, link netlink.Link, p netip.Prefix) error {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = 0x02 // IFA_F_NODAD, linux/if_addr.h
	}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("adding %s to %s: %w", p, link.Attrs().Name, err)
	}
	return nil
}

func addDefaultRoute(h *netlink.Handle, link netlink.Link, via netip.Addr) error {
	dst := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if via.Is6() {
		dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: via.AsSlice()}
	if err := h.RouteReplace(route); err != nil {
		return fmt.Errorf("adding the default route via %s on %s: %w", via, link.Attrs().Name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setUp(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	return nil
}

// connect makes a pair of devices, one in each of two namespaces.
func connect(ns, name, peerNS, peerName string, mtu int, peerMAC net.HardwareAddr) error {
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	peer, err := openNS(peerNS)
	if err != nil {
		return err
	}
	defer peer.Close()
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu, TxQLen: -1},
		PeerName:  peerName, PeerNamespace: netlink.NsFd(int(peer)), PeerHardwareAddr: peerMAC, PeerMTU: uint32(mtu),
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("connecting %s in %s with %s in %s: %w", name, ns, peerName, peerNS, err)
	}
	return nil
}
