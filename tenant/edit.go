package tenant

import "github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"

// edit is a policy in the making. It began as a copy of another, which it
// leaves as it is: what it changes it copies first, once.
type edit struct {
	*Policy
	o *persist.Owner
}

func newEdit(base *Policy) edit {
	p := *base
	return edit{&p, &persist.Owner{}}
}

// editHost returns the host of that name to be changed, or nil.
func (e *edit) editHost(name string) *host {
	h, ok := e.hosts.Find(byHost(name))
	if !ok || h.owner == e.o {
		return h
	}
	c := *h
	c.owner = e.o
	e.hosts.Replace(e.o, &c)
	return &c
}

func (e *edit) editDomain(id RDID) *domain {
	d, ok := e.domains.Find(byRDID(id))
	if !ok || d.owner == e.o {
		return d
	}
	c := *d
	c.owner = e.o
	e.domains.Replace(e.o, &c)
	return &c
}

func (e *edit) editSubnet(v VSID) *subnet {
	s, ok := e.subnets.Find(byVSID(v))
	if !ok || s.owner == e.o {
		return s
	}
	c := *s
	c.owner = e.o
	e.subnets.Replace(e.o, &c)
	return &c
}

// The drop functions take an object of the policy, and all that it claims, out
// of the policy. What is in it stays and may be put into its successor.

func (e *edit) dropRecord(r *record) {
	s := e.editSubnet(r.vsid)
	s.records.Delete(e.o, byRecord(r))
	is := func(q *record) bool { return q == r }
	s.macs.Delete(e.o, hashMAC(r.mac), is)
	e.editDomain(s.is.RDID).vms.Delete(e.o, hashString(r.vm), is)
	e.ifaces.Delete(e.o, hashString(r.iface), is)
	if r.host() != "" {
		e.editHost(r.place.host).placed.Delete(e.o, byRecord(r))
	}
	if o := r.options(); o != nil && o.NatPA.IsValid() {
		e.nats.Delete(e.o, func(n natRef) int { return n.pa.Compare(o.NatPA) })
	}
	e.numRecords--
}

// detachSubnet frees what the subnet claims in its routing domain.
func (e *edit) detachSubnet(s *subnet) {
	d := e.editDomain(s.is.RDID)
	d.subnets.Delete(e.o, func(v VSID) int { return v.Compare(s.is.VSID) })
	d.names.Delete(e.o, func(n subnetName) int { return n.Compare(subnetName{name: s.is.Name}) })
	for i, p := range s.is.Prefixes {
		d.prefixes.Delete(e.o, func(r prefixRef) int { return r.Compare(prefixRef{p.prefix, s.is.VSID, i}) })
	}
}

func (e *edit) dropSubnet(s *subnet) {
	e.detachSubnet(s)
	e.subnets.Delete(e.o, byVSID(s.is.VSID))
}

func (e *edit) freeDomainName(d *domain) {
	e.domainNames.Delete(e.o, func(n domainName) int { return n.Compare(domainName{name: d.is.Name}) })
}

func (e *edit) freePAs(h *host) {
	for _, pa := range h.is.ProviderAddresses {
		e.pas.Delete(e.o, byPA(pa.PA))
	}
}
