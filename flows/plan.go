package flows

import (
	"cmp"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// PlannedView returns what a host would look like with every VM attached that
// the policy puts there, in the order of VSID and CA, from OpenFlow port 101
// on, and with the flow-based tunnel port as port 1. VMs whose records name no
// host are where at says. It lets a policy be compiled with no switch at hand.
func PlannedView(p *tenant.Policy, at Placement, host string) HostView {
	v := HostView{Name: host, Tunnels: TunnelPorts{Flow: 1}}
	seen := make(map[string]bool)
	for r := range p.Records() {
		if cmp.Or(r.Host, at.Host(r.IfaceID)) == host && !seen[r.IfaceID] {
			seen[r.IfaceID] = true
			v.Attachments = append(v.Attachments, Attachment{r.IfaceID, uint32(101 + len(v.Attachments))})
		}
	}
	return v
}

// PlannedPlacement puts the VMs where their records say, and those whose records
// name no host on the policy's hosts in turn, for a first look at a policy with no host at hand.
func PlannedPlacement(p *tenant.Policy) Placement {
	at := make(map[string]string)
	var hosts []string
	for h := range p.Hosts() {
		hosts = append(hosts, h.Name)
	}
	if len(hosts) == 0 {
		return Placement{}
	}
	slices.Sort(hosts)
	turn := 0
	for r := range p.Records() {
		switch {
		case r.Host != "":
			at[r.IfaceID] = r.Host
		case at[r.IfaceID] == "":
			at[r.IfaceID] = hosts[turn%len(hosts)]
			turn++
		}
	}
	return NewPlacement(at)
}
