// Package topology says what a testbed is made of: hosts, the underlay between
// them, and VMs. It reads a small file beside a policy file, and takes all that
// the policy already says (provider and customer addresses, MACs, gateways,
// placement) from there, so that nothing is said twice.
package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// A Plan is a testbed in full detail, ready to be built.
type Plan struct {
	Name         string   `json:"name"`
	TopologyFile string   `json:"topology_file"`  // absolute
	PolicyFile   string   `json:"policy_file"`    // absolute
	MTU          int      `json:"mtu"`            // of the underlay, in octets of IP packet
	Bond         bool     `json:"bond,omitempty"` // each host has two links into its segment, as one
	Subnets      []Subnet `json:"subnets"`
	Hosts        []Host   `json:"hosts"`
	VMs          []VM     `json:"vms"`
	Links        []Link   `json:"links,omitempty"`
}

// A Subnet is one layer-2 segment of the underlay. Where there are several, a
// router joins them.
type Subnet struct {
	Name   string       `json:"name"`
	Prefix netip.Prefix `json:"prefix"`
	Router netip.Addr   `json:"router,omitzero"` // invalid: no way out of the segment
	// Prefix6 and Router6 are those of IPv6, where the segment has both families.
	Prefix6 netip.Prefix `json:"prefix6,omitzero"`
	Router6 netip.Addr   `json:"router6,omitzero"`
	// VLAN is the 802.1Q tag of all frames in the segment, which then has no
	// router; 0: none.
	VLAN uint16 `json:"vlan,omitempty"`
}

// A Net is what a segment is for one address family.
type Net struct {
	Prefix netip.Prefix
	Router netip.Addr // invalid: no way out
}

// Nets returns what the segment is for each family that it has.
func (s *Subnet) Nets() []Net {
	all := []Net{{s.Prefix, s.Router}}
	if s.Prefix6.IsValid() {
		all = append(all, Net{s.Prefix6, s.Router6})
	}
	return all
}

// Net returns the segment's network that holds an address.
func (s *Subnet) Net(a netip.Addr) (Net, bool) {
	for _, n := range s.Nets() {
		if n.Prefix.Contains(a) {
			return n, true
		}
	}
	return Net{}, false
}

// String returns the segment's name and networks.
func (s *Subnet) String() string {
	text := s.Name
	for _, n := range s.Nets() {
		text += " " + n.Prefix.String()
		if n.Router.IsValid() {
			text += " (router " + n.Router.String() + ")"
		}
	}
	if s.VLAN != 0 {
		text += fmt.Sprintf(" VLAN %d", s.VLAN)
	}
	return text
}

// A Host is one Open vSwitch with an uplink into one segment of the underlay.
type Host struct {
	Name   string         `json:"name"`
	Subnet string         `json:"subnet"`
	PAs    []netip.Prefix `json:"provider_addresses"` // an address and the length of its subnet's prefix
}

// A VM is a machine with one network adapter, on br-int of its host.
type VM struct {
	IfaceID   string         `json:"iface_id"` // names the VM in the testbed
	Domain    string         `json:"routing_domain"`
	RDID      tenant.RDID    `json:"rdid"`
	VSID      tenant.VSID    `json:"vsid"`
	Name      string         `json:"vm"` // unique in the routing domain only
	Host      string         `json:"host"`
	MAC       tenant.MAC     `json:"mac"`
	Addresses []netip.Prefix `json:"addresses"` // customer addresses, each with the length of its subnet's prefix
	Gateways  []netip.Addr   `json:"gateways"`  // one for each address family
}

// CA returns the VM's first customer address, not valid where it has none.
func (v *VM) CA() netip.Addr {
	if len(v.Addresses) == 0 {
		return netip.Addr{}
	}
	return v.Addresses[0].Addr()
}

// QualifiedName returns ROUTING-DOMAIN/VM, which is unique.
func (v *VM) QualifiedName() string { return v.Domain + "/" + v.Name }

// A Link says how the link of a host or a VM differs from a perfect one.
type Link struct {
	Node     string  `json:"node"`
	RateMbps float64 `json:"rate_mbps,omitempty"` // of what leaves the node, in 10^6 bit/s; 0: unlimited
	Down     bool    `json:"down,omitempty"`      // from the beginning
}

// Host returns the host of that name.
func (p *Plan) Host(name string) (*Host, bool) {
	i := slices.IndexFunc(p.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return nil, false
	}
	return &p.Hosts[i], true
}

// Subnet returns the segment of that name.
func (p *Plan) Subnet(name string) (*Subnet, bool) {
	i := slices.IndexFunc(p.Subnets, func(s Subnet) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return &p.Subnets[i], true
}

// FindVM returns the VM that a user means: by its iface-id, by ROUTING-DOMAIN/VM,
// or by its VM name where only one VM has it. In domain near, unless that is
// empty, a VM name is tried first.
func (p *Plan) FindVM(name, near string) (*VM, error) {
	var found []*VM
	for i := range p.VMs {
		v := &p.VMs[i]
		switch name {
		case v.IfaceID, v.QualifiedName():
			return v, nil
		case v.Name:
			if v.Domain == near {
				return v, nil
			}
			found = append(found, v)
		}
	}
	switch len(found) {
	case 0:
		return nil, &UnknownNodeError{name}
	case 1:
		return found[0], nil
	}
	var names []string
	for _, v := range found {
		names = append(names, v.QualifiedName())
	}
	return nil, fmt.Errorf("several VMs are called %s: say %s", name, strings.Join(names, " or "))
}

// An UnknownNodeError names what is neither a host nor a VM of the testbed.
type UnknownNodeError struct{ Name string }

// Error implements error.
func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("%s is neither a host nor a VM of this testbed: `nvgre-ofctl testbed inspect` lists them", e.Name)
}

// Encapsulation overhead of NVGRE without an inner 802.1Q tag (RFC 7637 section
// 3.2): outer IP, GRE with key, inner Ethernet.
const (
	Overhead4 = 20 + 8 + 14
	Overhead6 = 40 + 8 + 14
)

// VMMTU returns the MTU that VMs must have so that their packets fit into the
// underlay with all that NVGRE puts around them.
func (p *Plan) VMMTU() int {
	for _, h := range p.Hosts {
		for _, pa := range h.PAs {
			if pa.Addr().Is6() {
				return p.MTU - Overhead6
			}
		}
	}
	return p.MTU - Overhead4
}
