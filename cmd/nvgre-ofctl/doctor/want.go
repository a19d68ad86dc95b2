package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Want is what the policy expects of a host.
type Want struct {
	Host   string
	Bridge string // the bridge of the VMs' ports
	PAs    []tenant.ProviderAddress
	MTU    int // of the underlay, in octets of IP packet
	Routes []tenant.ProviderRoute
	Peers  []Peer
}

// Peer is another host, and where it is to be reached.
type Peer struct {
	Name string
	PAs  []netip.Addr
	MTU  int
}

// WantOf reads what a policy expects of a host. With peers, only these hosts
// are.
func WantOf(p *tenant.Policy, host, bridge string, peers []string) (Want, error) {
	h, ok := p.Host(host)
	if !ok {
		return Want{}, fmt.Errorf("the policy has no host %q: want one of %s", host, strings.Join(hostNames(p), ", "))
	}
	w := Want{Host: host, Bridge: bridge, PAs: h.ProviderAddresses, MTU: int(h.MTU), Routes: h.Routes}
	for _, name := range peers {
		if _, ok := p.Host(name); !ok || name == host {
			return Want{}, fmt.Errorf("%q is no other host of the policy: want one of %s", name, strings.Join(hostNames(p), ", "))
		}
	}
	for o := range p.Hosts() {
		if o.Name == host || len(peers) > 0 && !slices.Contains(peers, o.Name) {
			continue
		}
		peer := Peer{Name: o.Name, MTU: int(o.MTU)}
		for _, a := range o.ProviderAddresses {
			peer.PAs = append(peer.PAs, a.PA.Addr())
		}
		w.Peers = append(w.Peers, peer)
	}
	return w, nil
}

func hostNames(p *tenant.Policy) (names []string) {
	for h := range p.Hosts() {
		names = append(names, h.Name)
	}
	return names
}

// from returns the host's first address of a family.
func (w *Want) from(to netip.Addr) (netip.Addr, bool) {
	for _, a := range w.PAs {
		if a.PA.Addr().Is4() == to.Is4() {
			return a.PA.Addr(), true
		}
	}
	return netip.Addr{}, false
}
