package hnv

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

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
		case ca.IsUnspecified() && typ == "Static":
			typ = "GatewayWildcard"
		case !ca.IsUnspecified() && (typ == "GatewayWildcard" || typ == "L2Only"):
			b.problem(o.at, "%sa record of type %s has no CA of its own: want -CustomerAddress 0.0.0.0", what, typ)
			continue
		}
		switch {
		case o.get("rule") == "TranslationMethodNone":
			b.note(Lost, o.at, "%srule %s has no meaning here", what, o.get("rule"))
			continue
		}
		s := b.subnets[vsid]
		if s == nil {
			b.problem(o.at, "VSID %s has no customer route: want one with next hop 0.0.0.0 that gives its routing domain and its prefix", vsid)
			continue
		}
		if p := s.prefixOf(ca); p != nil && typ == "Static" {
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
	type adapter struct {
		vsid string
		mac  tenant.MAC
	}
	vms, ifaces := map[vmKey]adapter{}, map[string]adapter{}
	first := map[adapter]tenant.RecordSpec{}
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
		more := parseContext(o.get("context"))
		r.IfaceID = more.IfaceID
		r.VM = cmp.Or(r.VM, more.Context)
		b.options(o, more, &r)
		own := fmt.Sprintf("vm-%s-%s", s.vsid, ca)
		me := adapter{s.vsid, mac}
		if same, ok := first[me]; ok {
			if r.VM != "" && r.VM != same.VM {
				b.note(Assumed, o.at, "VM %q: its adapter has CA %s too, as VM %q: it is called that", r.VM, same.CA, same.VM)
			}
			r.VM, r.IfaceID = same.VM, same.IfaceID
		}
		r.VM = cmp.Or(r.VM, own)
		if by, taken := vms[vmKey{s.rdid, r.VM}]; taken && by != me {
			b.note(Assumed, o.at, "VM %q: its name is taken in the routing domain: it is called %q", r.VM, r.VM+"-"+own)
			r.VM += "-" + own
		}
		vms[vmKey{s.rdid, r.VM}] = me
		if by, taken := ifaces[cmp.Or(r.IfaceID, r.VM)]; taken && by != me && more.IfaceID == "" {
			r.IfaceID = r.VM + "-" + own
			b.note(Assumed, o.at, "VM %q: its iface-id is %q, as another VM has the name", r.VM, r.IfaceID)
		}
		ifaces[cmp.Or(r.IfaceID, r.VM)] = me
		if _, ok := first[me]; !ok {
			first[me] = r
		}
		if r.Options != nil && !r.Options.Type.HasCA() {
			r.CA = tenant.CA{}
		}
		b.placeRecord(o, a, &r)
		if c := o.get("customerid"); true {
			if customers[s.rdid] == nil {
				customers[s.rdid] = map[string]bool{}
			}
			customers[s.rdid][c] = true
		}
		if len(s.Records) > 0 && !r.CA.IsValid() {
			if i := slices.IndexFunc(s.Records, func(q tenant.RecordSpec) bool { return !q.CA.IsValid() && q.MAC == r.MAC }); i >= 0 {
				b.joinDynamic(o, &s.Records[i], &r)
				continue
			}
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

// options sets what few records have.
func (b *builder) options(o *object, more extra, r *tenant.RecordSpec) {
	p := tenant.RecordOptions{Context: more.Context, Forwarding: more.Forwarding, VLANs: more.VLANs, Allow: more.Allow,
		UseVMMAC: o.get("usevmmacaddress") == "true"}
	if o.get("rule") == "TranslationMethodNat" {
		p.Rule, p.NatPA = tenant.Nat, tenant.PAFrom(netip.MustParseAddr(o.get("provideraddress")))
	}
	switch o.get("type") {
	case "Dynamic":
		p.Type = tenant.Dynamic
		if !r.CA.Addr().IsUnspecified() { // what it was seen with
			p.Allow = append(p.Allow, tenant.CAPrefixFrom(netip.PrefixFrom(r.CA.Addr(), r.CA.Addr().BitLen())))
		}
	case "L2Only":
		p.Type = tenant.L2Only
	default:
		if r.CA.Addr().IsUnspecified() {
			p.Type = tenant.Wildcard
		}
	}
	if !p.IsDefault() {
		r.Options = &p
	}
}

// joinDynamic makes one record of two without a CA of one adapter.
func (b *builder) joinDynamic(o *object, first, r *tenant.RecordSpec) {
	if first.Options.Type != tenant.Dynamic || r.Options.Type != tenant.Dynamic {
		b.problem(o.at, "MAC %s has several records without a CA: want one", r.MAC)
		return
	}
	for _, a := range r.Options.Allow {
		if len(first.Options.Allow) > 0 && !slices.Contains(first.Options.Allow, a) {
			first.Options.Allow = append(first.Options.Allow, a)
		}
	}
}

// placeRecord sets the host of r.
func (b *builder) placeRecord(o *object, a *attachment, r *tenant.RecordSpec) {
	pa := netip.MustParseAddr(o.get("provideraddress"))
	i, known := b.hosts[pa]
	switch {
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
	if h.ProviderAddresses[0].PA != tenant.PAFrom(pa) && (r.Options == nil || r.Options.Rule != tenant.Nat) {
		r.PA = tenant.PAFrom(pa)
	}
}
