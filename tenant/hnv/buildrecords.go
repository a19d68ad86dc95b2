package hnv

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// ifacePrefix begins the -Context of a record that gives the iface-id of its VM.
const ifacePrefix = "iface_id="

// records keeps those that are VMs' and takes those that are gateways.
func (b *builder) records(all []*object) []*object {
	var out []*object
	for _, o := range all {
		vsid, ca := o.get("virtualsubnetid"), netip.MustParseAddr(o.get("customeraddress"))
		what := fmt.Sprintf("record of CA %s in VSID %s: ", ca, vsid)
		typ := cmp.Or(o.get("type"), "Static")
		mac, _ := tenant.ParseMAC(o.get("macaddress"))
		pa := netip.MustParseAddr(o.get("provideraddress"))
		switch {
		case ca.IsUnspecified() && typ != "L2Only":
			b.note(Lost, o.at, "%swildcard records are not supported yet", what)
			continue
		case typ != "Static":
			b.note(Lost, o.at, "%srecords of type %s are not supported yet", what, typ)
			continue
		case o.get("rule") != "TranslationMethodEncap":
			b.note(Lost, o.at, "%srule %s is not supported yet", what, o.get("rule"))
			continue
		case ca.Is6():
			b.note(Lost, o.at, "%sIPv6 CAs are not supported yet", what)
			continue
		}
		s := b.subnets[vsid]
		if s == nil {
			b.problem(o.at, "VSID %s has no customer route: want one with next hop 0.0.0.0 that gives its routing domain and its prefix", vsid)
			continue
		}
		if o.get("usevmmacaddress") == "true" {
			b.note(Lost, o.at, "%s-UseVmMACAddress has a meaning for rule TranslationMethodNat alone", what)
		}
		if p := s.prefixOf(ca); p != nil {
			_, known := b.hosts[pa]
			first := tenant.DefaultGateways([]tenant.CAPrefix{tenant.CAPrefixFrom(*p)})[0].Addr() == ca
			if first || !known && pa.IsLinkLocalUnicast() {
				if !first {
					s.own[*p] = ca
				}
				if known || !pa.IsLinkLocalUnicast() {
					b.note(Assumed, o.at, "CA %s is the first address of %s: the gateway of the subnet, and no VM", ca, p)
				}
				b.gateways = append(b.gateways, gateway{o.at, mac})
				continue
			}
		}
		if s.macs[mac] {
			b.note(Lost, o.at, "%sMAC %s has a CA already, and several CAs of one adapter are not supported yet", what, mac)
			continue
		}
		s.macs[mac] = true
		out = append(out, o)
	}
	return out
}

// attached returns the attachment of a record's VM.
func (b *builder) attached(o *object) *attachment {
	var byName *attachment
	for _, a := range b.state.attachments {
		if a.vsid != o.get("virtualsubnetid") {
			continue
		}
		if a.mac != "" {
			if a.mac == o.get("macaddress") {
				return a
			}
			continue
		}
		if a.vm != "" && (strings.EqualFold(a.vm, o.get("vmname")) || strings.EqualFold(a.vm, o.get("context"))) {
			byName = a
		}
	}
	return byName
}

// place makes the records of the policy, with the names and the places of the VMs.
func (b *builder) place(records []*object) {
	type vmKey struct{ rdid, vm string }
	vms, ifaces := map[vmKey]bool{}, map[string]bool{}
	customers := map[string]map[string]bool{}
	attached := make([]*attachment, len(records))
	byVSID := map[string]bool{}
	for _, a := range b.state.attachments {
		byVSID[a.vsid] = true
	}
	for i, o := range records {
		if byVSID[o.get("virtualsubnetid")] && b.step(at(o.at), len(b.state.attachments)/16) {
			attached[i] = b.attached(o)
		}
	}
	for i, o := range records {
		s := b.subnets[o.get("virtualsubnetid")]
		ca := netip.MustParseAddr(o.get("customeraddress"))
		mac, _ := tenant.ParseMAC(o.get("macaddress"))
		r := tenant.RecordSpec{VM: o.get("vmname"), CA: tenant.CAFrom(ca), MAC: mac, Source: b.position(o.at)}
		a := attached[i]
		if a != nil {
			a.used = true
			r.VM = cmp.Or(r.VM, a.vm)
		}
		iface, isIface := strings.CutPrefix(o.get("context"), ifacePrefix)
		if isIface {
			r.IfaceID = iface
		} else {
			r.VM = cmp.Or(r.VM, strings.TrimSpace(o.get("context")))
		}
		own := fmt.Sprintf("vm-%s-%s", s.vsid, ca)
		r.VM = cmp.Or(r.VM, own)
		if vms[vmKey{s.rdid, r.VM}] {
			b.note(Assumed, o.at, "VM %q: its name is taken in the routing domain: it is called %q", r.VM, r.VM+"-"+own)
			r.VM += "-" + own
		}
		vms[vmKey{s.rdid, r.VM}] = true
		if ifaces[cmp.Or(r.IfaceID, r.VM)] && !isIface {
			r.IfaceID = r.VM + "-" + own
			b.note(Assumed, o.at, "VM %q: its iface-id is %q, as another VM has the name", r.VM, r.IfaceID)
		}
		ifaces[cmp.Or(r.IfaceID, r.VM)] = true
		b.placeRecord(o, a, &r)
		if c := o.get("customerid"); true {
			if customers[s.rdid] == nil {
				customers[s.rdid] = map[string]bool{}
			}
			customers[s.rdid][c] = true
		}
		s.Records = append(s.Records, r)
	}
	for rdid, all := range customers {
		delete(all, "")
		if len(all) == 1 {
			for c := range all {
				b.spec.RoutingDomains[b.domains[rdid]].Customer = strings.TrimSpace(c)
			}
		} else if len(all) > 1 {
			i := slices.IndexFunc(records, func(o *object) bool {
				return b.subnets[o.get("virtualsubnetid")].rdid == rdid && o.get("customerid") != ""
			})
			b.note(Lost, records[i].at, "-CustomerID: the records of routing domain %s have several, and it has one customer", rdid)
		}
	}
}

// placeRecord sets the host of r.
func (b *builder) placeRecord(o *object, a *attachment, r *tenant.RecordSpec) {
	pa := netip.MustParseAddr(o.get("provideraddress"))
	i, known := b.hosts[pa]
	switch {
	case pa.Is6():
		b.note(Lost, o.at, "PA %s: IPv6 PAs are not supported yet: the VM is where it is attached", pa)
		return
	case !known && pa.IsLinkLocalUnicast():
		b.note(Assumed, o.at, "PA %s is no host's: the VM is where it is attached", pa)
		return
	case !known:
		name := "host-" + pa.String()
		if a != nil {
			name = a.host
		}
		i = b.addHost(name, o.at)
		h := &b.spec.Hosts[i]
		h.ProviderAddresses = append(h.ProviderAddresses, tenant.ProviderAddress{PA: tenant.PAFrom(pa)})
		b.hosts[pa] = i
		b.note(Assumed, o.at, "PA %s is set on no host in this script: it is taken for one of host %q", pa, h.Name)
	}
	h := &b.spec.Hosts[i]
	if a != nil && !strings.EqualFold(cmp.Or(a.host, b.local), h.Name) {
		b.problems = append(b.problems, Problem{Position: b.position(a.at), Related: []tenant.Position{b.position(o.at)},
			Message: fmt.Sprintf("VM %q is attached on host %q, but the PA %s of its lookup record is one of host %q: want the two alike", r.VM, cmp.Or(a.host, b.local), pa, h.Name)})
		return
	}
	r.Host = h.Name
	if h.ProviderAddresses[0].PA != tenant.PAFrom(pa) {
		r.PA = tenant.PAFrom(pa)
	}
}
