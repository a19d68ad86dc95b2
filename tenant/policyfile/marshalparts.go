package policyfile

import (
	"fmt"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// services writes what a subnet says beside its addresses.
func (w *writer) services(s tenant.VirtualSubnet) {
	if m := s.Multicast; m.Mode != tenant.MulticastOff {
		w.line("        multicast:")
		w.line("          mode: %s", quote(m.Mode.String()))
		if m.Group.IsValid() {
			w.line("          group: %s", address(m.Group))
		}
		if len(m.Groups) > 0 {
			w.line("          groups:")
		}
		for _, g := range m.Groups {
			w.line("            - {ca: %s, pa: %s}", address(g.CA), address(g.PA))
		}
		if m.Rate != tenant.DefaultMulticastRate {
			w.line("          rate: %d", m.Rate)
		}
		if m.Snooping {
			w.line("          snooping: true")
		}
	}
	if s.DHCP {
		w.line("        dhcp: true")
	}
	if len(s.DNS) > 0 {
		w.line("        dns: [%s]", join(s.DNS))
	}
	if s.Domain != "" {
		w.line("        domain: %s", quote(s.Domain))
	}
	if s.Lease != tenant.DefaultLease {
		w.line("        lease: %d", s.Lease)
	}
	if s.MTU != 0 {
		w.line("        mtu: %d", s.MTU)
	}
}

// appendOptions appends what few lookup records have.
func appendOptions(b []byte, o *tenant.RecordOptions) []byte {
	if o.Type != tenant.Static {
		b = append(b, ", type: "+o.Type.String()...)
	}
	if o.Rule != tenant.Encap {
		b = append(b, ", rule: "+o.Rule.String()...)
	}
	if o.Forwarding {
		b = append(b, ", forwarding: true"...)
	}
	if len(o.VLANs) > 0 {
		b = append(b, ", vlans: "+strings.ReplaceAll(fmt.Sprint(o.VLANs), " ", ", ")...)
	}
	if o.UseVMMAC {
		b = append(b, ", use_vm_mac: true"...)
	}
	if o.NatPA.IsValid() {
		b = append(b, ", nat_pa: "+address(o.NatPA)...)
	}
	if o.Context != "" {
		b = append(b, ", context: "+quote(o.Context)...)
	}
	if len(o.Allow) > 0 {
		b = append(b, ", allow: ["+join(o.Allow)+"]"...)
	}
	return b
}
