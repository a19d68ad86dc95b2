package controller

import (
	"cmp"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// installedKey names an attachment for as long as nothing about it changes that
// would need flows anew.
type installedKey struct {
	iface, ifaceID string
	ofport         uint32
}

// installedMark is the value of external_ids:nvgre-installed.
const installedMark = "true"

// markInstalled works out which VMs have every flow in place on every host that
// needs it, which are the hosts with a VM in their routing domain, and has that
// written to their Interfaces. Once written it stays for as long as the VM is
// attached and has its record: a later change of the policy is no reason to
// think that the VM does not work.
func (c *Controller) markInstalled() {
	if c.policy == nil {
		return
	}
	lacking := map[tenant.RDID]bool{} // a host that needs the domain's flows is not there yet
	status := map[string]reconcile.Status{}
	refused := map[string]bool{} // "" stands for all VMs
	for name, h := range c.hosts {
		s := h.driver.Status()
		status[name] = s
		inPlace := h.compiled && s.Installed == h.revision
		for _, id := range c.domainsOf(name, attached(&h.state)) {
			if !inPlace {
				lacking[id] = true
			}
		}
		for _, r := range s.Refused {
			owners := c.namer.Owners(r.Cookie)
			if len(owners) == 0 {
				refused[""] = true
			}
			for _, o := range owners {
				if o.Kind == flows.OwnerRecord {
					refused[o.RoutingDomain+"/"+o.VM] = true
				} else {
					refused[""] = true
				}
			}
		}
	}
	for name, h := range c.hosts {
		if !h.connected {
			continue
		}
		marks := map[string]string{}
		now := map[installedKey]bool{}
		for _, a := range h.state.Attachments {
			r, ok := c.policy.RecordByIfaceID(a.IfaceID)
			if !ok || a.Inactive || a.OFPort == 0 || cmp.Or(r.Host, c.placement.Host(a.IfaceID)) != name {
				if a.Installed != "" {
					marks[a.Interface] = ""
				}
				continue
			}
			k := installedKey{a.Interface, a.IfaceID, a.OFPort}
			d, _ := c.policy.RoutingDomain(r.RDID)
			compiledHere := slices.Contains(h.input.attachments, flows.Attachment{IfaceID: a.IfaceID, OFPort: a.OFPort}) && h.input.policy == c.policy
			switch {
			case h.installed[k],
				compiledHere && !lacking[r.RDID] && !refused[""] && !refused[d.Name+"/"+r.VM]:
				now[k] = true
				marks[a.Interface] = installedMark
			case a.Installed != "" && compiledHere && status[name].InSync:
				// From another daemon's time, and found wrong.
				marks[a.Interface] = ""
			}
		}
		c.mu.Lock()
		h.installed = now
		c.mu.Unlock()
		h.setMarks(marks)
	}
}
