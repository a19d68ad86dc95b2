package explain

import (
	"fmt"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Place says where the policy has an owner of flows: file:line:column, or the
// object's key where it comes from no file; "" for the pipeline itself.
func (t *Tracer) Place(o flows.Owner) string { return Place(t.policy, o) }

// Place is [Tracer.Place] for a policy, which may be nil.
func Place(p *tenant.Policy, o flows.Owner) string {
	if at := o.Source.String(); at != "" || p == nil {
		return at
	}
	switch o.Kind {
	case flows.OwnerSubnet:
		return tenant.SubnetKey(o.VSID).String()
	case flows.OwnerHost:
		return tenant.HostKey(strings.TrimPrefix(o.Text, "host ")).String()
	case flows.OwnerDomain:
		if d, ok := domainNamed(p, o.RoutingDomain); ok {
			return tenant.RoutingDomainKey(d.RDID).String()
		}
	case flows.OwnerRecord:
		if d, ok := domainNamed(p, o.RoutingDomain); ok {
			if r, ok := p.RecordByVM(d.RDID, o.VM); ok {
				return r.Key().String()
			}
		}
	case flows.OwnerRoute:
		if d, ok := domainNamed(p, o.RoutingDomain); ok {
			for r := range p.RoutesOf(d.RDID) {
				if o.Text == fmt.Sprintf("route %s %s", d.Name, r.Prefix) {
					return r.Key().String()
				}
			}
		}
	}
	return ""
}

func domainNamed(p *tenant.Policy, name string) (tenant.RoutingDomain, bool) {
	for d := range p.RoutingDomains() {
		if d.Name == name {
			return d, true
		}
	}
	return tenant.RoutingDomain{}, false
}
