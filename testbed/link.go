//go:build linux

package testbed

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// SetLink takes the link of a host or a VM up or down, as pulling and plugging
// its cable would: it is the far end that changes, so the node keeps its
// addresses and routes. HOST:1 and HOST:2 are the two links of a host whose
// uplinks are bonded; HOST alone is the first.
func (t *Testbed) SetLink(node string, up bool) error {
	ns, device, err := t.farEnd(node)
	if err != nil {
		return err
	}
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s in %s: %w", device, ns, err)
	}
	if up {
		return h.LinkSetUp(link)
	}
	return h.LinkSetDown(link)
}

// LinkUp reports whether the link of a host or a VM is up.
func (t *Testbed) LinkUp(node string) (bool, error) {
	ns, device, err := t.farEnd(node)
	if err != nil {
		return false, err
	}
	h, err := netspace.Handle(ns)
	if err != nil {
		return false, err
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		return false, fmt.Errorf("%s in %s: %w", device, ns, err)
	}
	return link.Attrs().OperState == netlink.OperUp, nil
}

// farEnd returns the device at the other end of a node's link.
func (t *Testbed) farEnd(node string) (ns, device string, err error) {
	name, member, isMember := strings.Cut(node, ":")
	if _, isHost := t.Plan().Host(name); isMember && isHost {
		links := t.uplinks(name)
		i, err := strconv.Atoi(member)
		if err != nil || i < 1 || i > len(links) {
			return "", "", fmt.Errorf("host %s has no link %q: want 1 to %d", name, member, len(links))
		}
		return t.UnderlayNamespace(), links[i-1][1], nil
	}
	n, err := t.Node(node)
	if err != nil {
		return "", "", err
	}
	if n.VM != nil {
		return t.HostNamespace(n.VM.Host), VMPort(n.VM.IfaceID), nil
	}
	return t.UnderlayNamespace(), UnderlayPort(n.Host.Name), nil
}

// applyLink gives a link what the topology says of it.
func (t *Testbed) applyLink(l topology.Link) error {
	if l.RateMbps > 0 {
		n, err := t.Node(l.Node)
		if err != nil {
			return err
		}
		device := Uplink
		if n.VM != nil {
			device = VMDevice
		}
		if err := limitRate(n.Namespace, device, l.RateMbps); err != nil {
			return fmt.Errorf("limiting the rate of %s: %w", l.Node, err)
		}
	}
	if l.Down {
		return t.SetLink(l.Node, false)
	}
	return nil
}

// limitRate limits what leaves a device, with a token bucket (tc-tbf(8)).
func limitRate(ns, device string, mbps float64) error {
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		return err
	}
	rate := uint64(mbps * 1e6 / 8)
	return h.QdiscReplace(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       rate,
		Limit:      uint32(max(rate/20, 32<<10)),                          // up to 50 ms wait
		Buffer:     netlink.Xmittime(rate, uint32(max(rate/100, 16<<10))), // a burst of 10 ms
	})
}
