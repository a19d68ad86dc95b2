package punt

import (
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// View returns what a policy says of the VM that attaches with an iface-id; false
// where it says nothing. mtu, in octets, is what the underlay leaves.
func View(p *tenant.Policy, iface string, mtu uint16) (*Port, bool) {
	r, ok := p.RecordByIfaceID(iface)
	if !ok {
		return nil, false
	}
	s, ok := p.Subnet(r.VSID)
	if !ok {
		return nil, false
	}
	at := &Port{DHCP: s.DHCP, VM: responder.VM{
		MAC: r.MAC, RouterMAC: p.GatewayMAC(), Domain: s.Domain, Lease: time.Duration(s.Lease) * time.Second, MTU: mtu,
	}}
	if s.MTU != 0 {
		at.VM.MTU = s.MTU
	}
	for r := range p.RecordsByIfaceID(iface) {
		if a := r.CA.Addr(); a.IsValid() && !a.IsUnspecified() {
			at.VM.CAs = append(at.VM.CAs, a)
		}
	}
	for i, prefix := range s.Prefixes {
		at.VM.Prefixes = append(at.VM.Prefixes, responder.Prefix{Prefix: prefix.Prefix(), Router: s.Gateways[i].Addr()})
	}
	for _, d := range s.DNS {
		at.VM.DNS = append(at.VM.DNS, d.Addr())
	}
	return at, true
}
