package impact

import (
	"cmp"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Planned returns the state in which every VM is attached where the policy puts
// it, and those that it puts nowhere are spread over the hosts in turn. Every
// host has a tunnel port for all keys.
func Planned(p *tenant.Policy) State {
	s := State{Policy: p}
	at := make(map[string][]flows.Attachment)
	place := flows.PlannedPlacement(p)
	seen := make(map[string]bool)
	for r := range p.Records() {
		if seen[r.IfaceID] {
			continue // one more address
		}
		seen[r.IfaceID] = true
		host := cmp.Or(r.Host, place.Host(r.IfaceID))
		at[host] = append(at[host], flows.Attachment{IfaceID: r.IfaceID, OFPort: uint32(101 + len(at[host]))})
	}
	for h := range p.Hosts() {
		s.Views = append(s.Views, flows.HostView{Name: h.Name, Tunnels: flows.TunnelPorts{Flow: 1}, Attachments: at[h.Name]})
	}
	return s
}

// PlannedStep returns the states before and after a change of the policy, with
// all VMs attached as [Planned] has it; but a VM that no policy puts on a host
// is on the same host in both, if it has it.
func PlannedStep(before, after *tenant.Policy) (State, State) {
	b, a := Planned(before), Planned(after)
	home := make(map[string]string)
	for _, v := range b.Views {
		for _, at := range v.Attachments {
			if r, _ := before.RecordByIfaceID(at.IfaceID); r.Host == "" {
				home[at.IfaceID] = v.Name
			}
		}
	}
	stays := func(iface, now string) (string, bool) {
		r, _ := after.RecordByIfaceID(iface)
		old := home[iface]
		if _, ok := after.Host(old); !ok || r.Host != "" || old == now {
			return "", false
		}
		return old, true
	}
	more := make(map[string][]flows.Attachment)
	for i := range a.Views {
		v := &a.Views[i]
		v.Attachments = slices.DeleteFunc(v.Attachments, func(at flows.Attachment) bool {
			old, ok := stays(at.IfaceID, v.Name)
			if ok {
				more[old] = append(more[old], at)
			}
			return ok
		})
	}
	// The ports that the VMs have before they keep.
	port := make(map[[2]string]uint32)
	for _, v := range b.Views {
		for _, at := range v.Attachments {
			port[[2]string{v.Name, at.IfaceID}] = at.OFPort
		}
	}
	for i := range a.Views {
		v := &a.Views[i]
		v.Attachments = append(v.Attachments, more[v.Name]...)
		taken, next := make(map[uint32]bool), uint32(101)
		for k := range v.Attachments {
			at := &v.Attachments[k]
			at.OFPort = port[[2]string{v.Name, at.IfaceID}]
			taken[at.OFPort] = true
		}
		for k := range v.Attachments {
			for ; v.Attachments[k].OFPort == 0; next++ {
				if !taken[next] {
					v.Attachments[k].OFPort = next
				}
			}
		}
	}
	return b, a
}

// AttachedStep returns the states before and after a change of the policy on
// hosts as they are. A VM that only the policy after has, and that is attached
// nowhere yet, counts as attached where that policy puts it.
func AttachedStep(before, after *tenant.Policy, views []flows.HostView) (State, State) {
	b, a := State{before, views}, State{Policy: after}
	attached := make(map[string]bool)
	at := make(map[string]*flows.HostView)
	for _, v := range views {
		v.Attachments = slices.Clone(v.Attachments)
		at[v.Name] = &v
		for _, x := range v.Attachments {
			attached[x.IfaceID] = true
		}
	}
	for h := range after.Hosts() {
		if at[h.Name] == nil {
			at[h.Name] = &flows.HostView{Name: h.Name, Tunnels: flows.TunnelPorts{Flow: 1}}
		}
	}
	next := make(map[string]uint32)
	for name, v := range at {
		next[name] = 101
		for _, x := range v.Attachments {
			if x.OFPort < flow.PortMax {
				next[name] = max(next[name], x.OFPort+1)
			}
		}
	}
	for r := range after.Records() {
		if _, old := before.RecordByIfaceID(r.IfaceID); old || r.Host == "" || attached[r.IfaceID] {
			continue
		}
		attached[r.IfaceID] = true
		v := at[r.Host]
		v.Attachments = append(v.Attachments, flows.Attachment{IfaceID: r.IfaceID, OFPort: next[r.Host]})
		next[r.Host]++
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		a.Views = append(a.Views, *at[name])
	}
	return b, a
}

// side is one of the two states, as the judge knows it.
type side struct {
	State
	oracle *oracle.Oracle
	views  map[string]flows.HostView
	place  flows.Placement
	exact  bool // some host has a port for each subnet, or some subnet routes of its own: subnets are not alike
}

func newSide(s State) *side {
	d := &side{State: s, views: make(map[string]flows.HostView)}
	hosts := make(map[string]oracle.HostState)
	seen := make(map[string][]flows.Attachment)
	for _, v := range s.Views {
		d.views[v.Name] = v
		seen[v.Name] = v.Attachments
		h := oracle.HostState{Tunnels: oracle.Tunnels{Any: v.Tunnels.Flow != 0, PerVSID: v.Tunnels.PerVSID != nil, FlowID: v.Tunnels.FlowID}}
		if h.Tunnels.PerVSID {
			d.exact = true
			h.Tunnels.VSIDs = make(map[tenant.VSID]bool)
			for id, port := range v.Tunnels.PerVSID {
				h.Tunnels.VSIDs[id] = port != 0
			}
		}
		for _, a := range v.Attachments {
			if a.OFPort > flow.PortMax {
				a.OFPort = 0 // no port that a VM can have
			}
			h.Attachments = append(h.Attachments, oracle.Attachment{IfaceID: a.IfaceID, Port: a.OFPort})
		}
		hosts[v.Name] = h
	}
	for r := range s.Policy.Routes() {
		d.exact = d.exact || r.VSID != 0
	}
	d.oracle = oracle.New(s.Policy, hosts)
	d.place, _ = flows.Place(s.Policy, seen)
	return d
}
