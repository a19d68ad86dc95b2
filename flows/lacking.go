package flows

import "github.com/nvgre-ofctl/nvgre-ofctl/tenant"

// A policy may ask for more than this version has flows for. It is taken as it
// is, since it comes from elsewhere and will be right later, and what is not
// carried out is a problem of each host that it concerns.

// lackOfVM reports what the records of a VM ask for that nothing is done about.
func lackOfVM(b *builder, p *tenant.Policy, iface string) {
	for r := range p.RecordsByIfaceID(iface) {
		if r.Type == tenant.Dynamic {
			b.lack(iface, "record %s: addresses of type dynamic are not learned yet: give the record a CA, and the VM gets its packets", r.Key())
		}
		if r.Rule == tenant.Nat {
			b.lack(iface, "record %s: rule nat is not carried out yet: the packets of the VM go as NVGRE", r.Key())
		}
		if len(r.VLANs) > 0 {
			b.lack(iface, "record %s: vlans are not carried out yet: tagged frames of the VM are dropped", r.Key())
		}
		if r.UseVMMAC {
			b.lack(iface, "record %s: use_vm_mac is not carried out yet: routed packets come from the gateway's MAC", r.Key())
		}
	}
}

// lackOfSubnet reports what a virtual subnet asks for that nothing is done about.
func lackOfSubnet(b *builder, s *tenant.VirtualSubnet) {
	if m := s.Multicast.Mode; m != tenant.MulticastOff {
		b.lack("", "subnet %s: multicast mode %s is not carried out yet: broadcast and multicast are dropped", s.VSID, m)
	}
}
