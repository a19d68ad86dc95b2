//go:build linux

package simbed

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// tunnelPort is the OpenFlow number of a host's gre port; VMs follow.
const tunnelPort = 1

// seat is where a VM is plugged in.
type seat struct {
	host string
	port uint32
}

// network returns the switches with the flows of the policy file as it is now,
// and where each VM, by iface-id, is plugged in.
func (t *Testbed) network() (*sim.Network, map[string]seat, error) {
	plan := t.state.Plan
	policy, err := policyfile.Load(plan.PolicyFile, 1)
	if err != nil {
		return nil, nil, err
	}
	seats := make(map[string]seat)
	attached := make(map[string][]flows.Attachment)
	for _, v := range plan.VMs {
		port := tunnelPort + 1 + uint32(len(attached[v.Host]))
		seats[v.IfaceID] = seat{v.Host, port}
		attached[v.Host] = append(attached[v.Host], flows.Attachment{IfaceID: v.IfaceID, OFPort: port})
	}
	at, _ := flows.Place(policy, attached)
	c := flows.NewCompiler(policy, at)
	var hosts []sim.Host
	for _, h := range plan.Hosts {
		made := c.Host(flows.HostView{Name: h.Name, Tunnels: flows.TunnelPorts{Flow: tunnelPort}, Attachments: attached[h.Name]})
		host, err := t.host(&h, made, attached[h.Name])
		if err != nil {
			return nil, nil, err
		}
		hosts = append(hosts, host)
	}
	n, err := sim.NewNetwork(hosts)
	return n, seats, err
}

// host returns one host. One whose link is down has its flows all the same, but
// neither a tunnel nor an address.
func (t *Testbed) host(h *topology.Host, made *flows.Result, attached []flows.Attachment) (sim.Host, error) {
	var ports []sim.Port
	var pas []netip.Addr
	if !t.state.Down[h.Name] {
		ports = append(ports, sim.Port{Number: tunnelPort, Tunnel: true, AnyKey: true})
		for _, pa := range h.PAs {
			pas = append(pas, pa.Addr())
		}
	}
	for _, a := range attached {
		ports = append(ports, sim.Port{Number: a.OFPort})
	}
	s, err := sim.NewSwitch(made.Flows, ports)
	if err != nil {
		return sim.Host{}, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return sim.Host{Name: h.Name, Switch: s, Addresses: pas}, nil
}
