//go:build linux

package testbed

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

func openNS(name string) (netns.NsHandle, error) { return netns.GetFromPath(netspace.Path(name)) }

// buildHost makes a host: its namespace, its uplink, its Open vSwitch with both
// bridges, its provider addresses and routes.
func (t *Testbed) buildHost(ctx context.Context, host *topology.Host) error {
	ns := t.HostNamespace(host.Name)
	if err := t.makeNamespace(ns); err != nil {
		return err
	}
	// br-int, br-phy and tunnel devices come and go: none shall speak IPv6 by
	// itself. br-phy gets it back below where it has an IPv6 address. Reverse
	// path filters would judge packets by routes that Open vSwitch does not use.
	if err := netspace.SetSysctl(ns, "ipv6/conf/default/disable_ipv6=1",
		"ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0",
		"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0"); err != nil {
		return err
	}
	if err := t.buildUplinks(ctx, host); err != nil {
		return err
	}
	sw := t.Switch(host.Name)
	if err := sw.StartOVSDB(ctx); err != nil {
		return err
	}
	var pas []string
	for _, pa := range host.PAs {
		pas = append(pas, pa.Addr().String())
	}
	dp := "datapath_type=" + t.Datapath()
	uplink := []string{"add-port", ProviderBridge, Uplink}
	if t.Plan().Bond {
		uplink = []string{"add-bond", ProviderBridge, "bond0", Uplink, Uplink2, "bond_mode=active-backup"}
	}
	if s, ok := t.Plan().Subnet(host.Subnet); ok && s.VLAN != 0 {
		// The provider addresses are on an access port; the links are trunks.
		uplink = append(uplink, "--", "set", "Port", ProviderBridge, fmt.Sprintf("tag=%d", s.VLAN))
	}
	args := append([]string{"--no-wait", "--",
		// By default, Open vSwitch takes what follows one 802.1Q tag for payload,
		// so a second tag would hide a frame from the pipeline.
		"set", "Open_vSwitch", ".", "other_config:vlan-limit=0",
		"external_ids:system-id=" + host.Name, "external_ids:hostname=" + host.Name,
		"external_ids:nvgre-encap-ip=" + quote(strings.Join(pas, ",")), "--",
		// Without a fixed address a bridge takes that of one of its ports, and
		// then the kernel's uplink and br-phy both answer to it.
		"add-br", ProviderBridge, "--", "set", "Bridge", ProviderBridge, dp, "fail_mode=standalone",
		"other_config:hwaddr=" + quote(t.hostMAC(host.Name).String()), "external_ids:nvgre-testbed=" + t.Name(), "--",
		// The label lets the controller take the bridge as its own.
		"add-br", IntegrationBridge, "--", "set", "Bridge", IntegrationBridge, dp, "fail_mode=secure",
		"external_ids:nvgre-ofctl=bridge", "external_ids:nvgre-testbed=" + t.Name(), "--",
	}, uplink...)
	if _, err := sw.Vsctl(ctx, args...); err != nil {
		return err
	}
	if err := sw.StartVswitchd(ctx); err != nil {
		return err
	}
	return t.setUpProvider(ctx, host)
}

// quote makes a value that ovs-vsctl takes whole.
func quote(s string) string { return `"` + s + `"` }

// uplinks returns the devices of a host towards the underlay, and for each of
// them the underlay's end.
func (t *Testbed) uplinks(host string) [][2]string {
	all := [][2]string{{Uplink, UnderlayPort(host)}}
	if t.Plan().Bond {
		all = append(all, [2]string{Uplink2, UnderlayPort2(host)})
	}
	return all
}

// buildUplinks connects a host to its subnet of the underlay.
func (t *Testbed) buildUplinks(ctx context.Context, host *topology.Host) error {
	var devices []string
	for _, u := range t.uplinks(host.Name) {
		if err := t.buildUplink(host, u[0], u[1]); err != nil {
			return err
		}
		devices = append(devices, u[0])
	}
	return t.deafen(ctx, host.Name, devices...)
}

func (t *Testbed) buildUplink(host *topology.Host, device, port string) error {
	ns, under := t.HostNamespace(host.Name), t.UnderlayNamespace()
	if err := connect(ns, device, under, port, t.Plan().MTU, nil); err != nil {
		return err
	}
	if err := netspace.OffloadOff(ns, device); err != nil {
		return err
	}
	if err := netspace.OffloadOff(under, port); err != nil {
		return err
	}
	if err := netspace.SetSysctl(under, "ipv6/conf/"+port+"/disable_ipv6=1"); err != nil {
		return err
	}
	h, err := netspace.Handle(under)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(port)
	if err != nil {
		return fmt.Errorf("%s in the underlay: %w", port, err)
	}
	bridge, err := h.LinkByName(UnderlayBridge(host.Subnet))
	if err == nil {
		err = h.LinkSetMaster(link, bridge)
	}
	if err == nil {
		err = h.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("joining %s to the underlay: %w", port, err)
	}
	hh, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer hh.Close()
	return setUp(hh, device)
}

// deafen makes the kernel of a host deaf on devices that Open vSwitch reads: a
// switch in user space sees copies of the frames, and the kernel would answer
// them as well, for ARP with its own MACs, for GRE with "protocol unreachable".
// The hook is behind the one by which Open vSwitch reads. With the kernel's
// datapath it would be before it, and the kernel leaves such frames alone.
func (t *Testbed) deafen(ctx context.Context, host string, devices ...string) error {
	if t.Datapath() != DatapathNetdev || len(devices) == 0 {
		return nil
	}
	ns := t.HostNamespace(host)
	settings := []string{"ipv4/conf/all/arp_ignore=1"}
	var rules strings.Builder
	rules.WriteString("table netdev nvgre_testbed {\n")
	for _, d := range devices {
		settings = append(settings, "ipv6/conf/"+d+"/disable_ipv6=1", "ipv4/conf/"+d+"/arp_ignore=8")
		fmt.Fprintf(&rules, "\tchain %s {\n\t\ttype filter hook ingress device \"%s\" priority 0; policy drop;\n\t\tcounter\n\t}\n", chainName(d), d)
	}
	rules.WriteString("}\n")
	if err := netspace.SetSysctl(ns, settings...); err != nil {
		return err
	}
	return t.nft(ctx, host, rules.String())
}

// undeafen forgets a device that is about to go, if [Testbed.deafen] knows it.
func (t *Testbed) undeafen(ctx context.Context, host, device string) error {
	if t.Datapath() != DatapathNetdev {
		return nil
	}
	// Adding what exists is no error, so this deletes it whether it exists or not.
	c := "chain netdev nvgre_testbed " + chainName(device)
	return t.nft(ctx, host, "add table netdev nvgre_testbed\nadd "+c+"\ndelete "+c+"\n")
}

// chainName makes the name of an nft chain out of a device's.
func chainName(device string) string {
	return "in_" + strings.NewReplacer("-", "_", "+", "__", ".", "_").Replace(device)
}

func (t *Testbed) nft(ctx context.Context, host, rules string) error {
	path, err := ovsproc.LookPath("nft")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := netspace.Do(t.HostNamespace(host), cmd.Start); err != nil {
		return fmt.Errorf("nft: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("nft: %w: %s; the rules were:\n%s", err, strings.TrimSpace(out.String()), rules)
	}
	return nil
}

// setUpProvider gives br-phy the host's provider addresses, and makes known and
// fast who the next hops are, and widens the buffers of its ports. It is all
// that a new ovs-vswitchd has forgotten.
func (t *Testbed) setUpProvider(ctx context.Context, host *topology.Host) error {
	ns := t.HostNamespace(host.Name)
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ProviderBridge)
	if err != nil {
		return fmt.Errorf("%s: %w", ProviderBridge, err)
	}
	if err := h.LinkSetMTU(link, t.Plan().MTU); err != nil {
		return fmt.Errorf("setting the MTU of %s: %w", ProviderBridge, err)
	}
	if slices.ContainsFunc(host.PAs, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		if err := netspace.SetSysctl(ns, "ipv6/conf/"+ProviderBridge+"/disable_ipv6=0", "ipv6/conf/"+ProviderBridge+"/accept_ra=0"); err != nil {
			return err
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", ProviderBridge, err)
	}
	for _, pa := range host.PAs {
		if has, err := hasAddress(h, link, pa.Addr()); err != nil {
			return err
		} else if !has {
			if err := addAddress(h, link, pa); err != nil {
				return err
			}
		}
	}
	for _, s := range t.Plan().Subnets {
		for _, n := range s.Nets() {
			if n.Router.IsValid() && slices.ContainsFunc(host.PAs, func(p netip.Prefix) bool { return n.Prefix.Contains(p.Addr()) }) {
				if err := addDefaultRoute(h, link, n.Router); err != nil {
					return err
				}
			}
		}
	}
	if err := t.pinNeighbours(ctx, host); err != nil {
		return err
	}
	return t.widenBuffers(host.Name)
}

func hasAddress(h *netlink.Handle, link netlink.Link, a netip.Addr) (bool, error) {
	addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return false, fmt.Errorf("listing the addresses of %s: %w", link.Attrs().Name, err)
	}
	return slices.ContainsFunc(addrs, func(x netlink.Addr) bool { return x.IP.Equal(net.IP(a.AsSlice())) }), nil
}

// neighbour is an address of the underlay and the MAC that stands for it in a
// host's subnet.
type neighbour struct {
	addr    netip.Addr
	mac     net.HardwareAddr
	nextHop bool // in the host's own subnet
}

// neighbours returns the hosts and routers that a host hears of.
func (t *Testbed) neighbours(host *topology.Host) []neighbour {
	var all []neighbour
	segment, ok := t.Plan().Subnet(host.Subnet)
	if !ok {
		return nil
	}
	router := t.routerMAC(segment)
	local := make(map[bool]topology.Net) // by IPv4 or not
	for _, pa := range host.PAs {
		n, ok := segment.Net(pa.Addr())
		if _, known := local[pa.Addr().Is4()]; !ok || known {
			continue
		}
		local[pa.Addr().Is4()] = n
		if n.Router.IsValid() {
			all = append(all, neighbour{n.Router, router, true})
		}
	}
	for _, peer := range t.Plan().Hosts {
		if peer.Name == host.Name {
			continue
		}
		for _, pa := range peer.PAs {
			n, ok := local[pa.Addr().Is4()]
			switch {
			case !ok: // no provider address of that family here
			case n.Prefix.Contains(pa.Addr()):
				all = append(all, neighbour{pa.Addr(), t.hostMAC(peer.Name), true})
			default: // behind the router
				all = append(all, neighbour{pa.Addr(), router, false})
			}
		}
	}
	return all
}

// pinNeighbours tells a host's Open vSwitch the MACs of its next hops, so that
// the first packet to each is not lost while they are resolved, and lets no
// frame change them: Open vSwitch learns them from ARP and from the source of
// any GRE packet, so whoever can send one packet into the underlay could send
// tunnels elsewhere.
func (t *Testbed) pinNeighbours(ctx context.Context, host *topology.Host) error {
	sw := t.Switch(host.Name)
	var flows strings.Builder
	for _, u := range t.uplinks(host.Name) {
		// By a frame with the host's own MAC as its source the bridge would learn
		// that the host is out there, and send it nothing more.
		fmt.Fprintf(&flows, "priority=300,in_port=%s,dl_src=%s actions=drop\n", u[0], t.hostMAC(host.Name))
	}
	for _, n := range t.neighbours(host) {
		for _, u := range t.uplinks(host.Name) {
			flows.WriteString(pinFlows(n, u[0]))
		}
		if !n.nextHop {
			continue
		}
		if t.Datapath() == DatapathSystem { // the kernel's tunnels use the kernel's neighbours
			if err := t.pinKernelNeighbour(host.Name, n); err != nil {
				return err
			}
		} else if _, err := sw.Appctl(ctx, "tnl/neigh/set", ProviderBridge, n.addr.String(), n.mac.String()); err != nil {
			return err
		}
	}
	if t.Datapath() == DatapathNetdev {
		if _, err := sw.Appctl(ctx, "tnl/neigh/aging", "3600"); err != nil { // the maximum, in seconds
			return err
		}
	}
	file := filepath.Join(sw.Dir(), ProviderBridge+".flows")
	if err := os.WriteFile(file, []byte(flows.String()), 0o644); err != nil {
		return err
	}
	_, err := sw.Ofctl(ctx, "--bundle", "add-flows", sw.MgmtSock(ProviderBridge), file)
	return err
}

// pinFlows lets only frames with the right MAC say anything of a neighbour.
func pinFlows(n neighbour, uplink string) string {
	ip, src := "ip", "nw_src"
	if n.addr.Is6() {
		ip, src = "ipv6", "ipv6_src"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "priority=200,in_port=%s,%s,%s=%s,dl_src=%s actions=NORMAL\n", uplink, ip, src, n.addr, n.mac)
	fmt.Fprintf(&b, "priority=190,in_port=%s,%s,%s=%s actions=drop\n", uplink, ip, src, n.addr)
	if n.addr.Is4() {
		fmt.Fprintf(&b, "priority=200,in_port=%s,arp,arp_spa=%s,arp_sha=%s,dl_src=%s actions=NORMAL\n", uplink, n.addr, n.mac, n.mac)
		fmt.Fprintf(&b, "priority=190,in_port=%s,arp,arp_spa=%s actions=drop\n", uplink, n.addr)
	} else {
		fmt.Fprintf(&b, "priority=210,in_port=%s,icmp6,icmp_type=136,nd_target=%s,nd_tll=%s,dl_src=%s actions=NORMAL\n", uplink, n.addr, n.mac, n.mac)
		fmt.Fprintf(&b, "priority=205,in_port=%s,icmp6,icmp_type=136,nd_target=%s actions=drop\n", uplink, n.addr)
	}
	return b.String()
}

func (t *Testbed) pinKernelNeighbour(host string, n neighbour) error {
	h, err := netspace.Handle(t.HostNamespace(host))
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ProviderBridge)
	if err != nil {
		return err
	}
	return h.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: n.addr.AsSlice(), HardwareAddr: n.mac, State: netlink.NUD_PERMANENT})
}
