package controller

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/punt"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// inForce is the policy in force as those see it who answer VMs.
type inForce struct {
	policy *tenant.Policy
	mtu    uint16 // see [flows.OverlayMTU]
}

// vmPorts says which VMs are at the ports of a host.
type vmPorts struct {
	c    *Controller
	host string

	mu     sync.Mutex
	ifaces map[uint32]string // iface-id of each port
}

// set takes over what is attached to the host.
func (v *vmPorts) set(attached []flows.Attachment) {
	ifaces := make(map[uint32]string, len(attached))
	for _, a := range attached {
		if a.OFPort != 0 {
			ifaces[a.OFPort] = a.IfaceID
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ifaces = ifaces
}

func (v *vmPorts) list() []uint32 {
	v.mu.Lock()
	defer v.mu.Unlock()
	ports := make([]uint32, 0, len(v.ifaces))
	for p := range v.ifaces {
		ports = append(ports, p)
	}
	slices.Sort(ports)
	return ports
}

// lookup returns what the policy in force says of the VM at a port.
func (v *vmPorts) lookup(port uint32) (*punt.Port, bool) {
	v.mu.Lock()
	iface, ok := v.ifaces[port]
	v.mu.Unlock()
	f := v.c.inForce.Load()
	if !ok || f == nil {
		return nil, false
	}
	if r, ok := f.policy.RecordByIfaceID(iface); !ok || r.Host != "" && r.Host != v.host {
		return nil, false // its flows are not here
	}
	return punt.View(f.policy, iface, f.mtu)
}

// newPunts returns the service that answers the VMs of a host, with the ports that
// it looks at.
func (c *Controller) newPunts(host string, a address, log *slog.Logger, mayAnswer func() bool) (*punt.Service, *vmPorts) {
	ports := &vmPorts{c: c, host: host}
	return punt.New(punt.Options{
		Log: log,
		Dial: func(ctx context.Context) (punt.Channel, error) {
			limited, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			conn, err := a.openflow.Dial(limited, c.tls)
			if err != nil {
				return nil, err
			}
			return openflow.NewPacketChannel(ctx, conn, flows.ControllerID, openflow.Options{Log: log})
		},
		Lookup: ports.lookup, Ports: ports.list, MayAnswer: mayAnswer, ReconnectMax: c.settings.ReconnectMax,
		Count: func(why flows.PuntReason, result string) { c.metrics.punts.WithLabelValues(why.String(), result).Inc() },
	}), ports
}

// tellVMs has VMs told of what has changed between two policies, where it concerns
// what they are told unasked.
func (c *Controller) tellVMs(before, after *tenant.Policy) {
	for ch := range tenant.Diff(before, after) {
		switch k := ch.Key().Kind(); {
		case k == tenant.KindGatewayMAC || k == tenant.KindHost || k == tenant.KindSubnet:
			for _, h := range c.hosts {
				h.punts.Changed()
			}
			return
		case k > tenant.KindSubnet: // changes come in the order of kinds
			return
		}
	}
}
