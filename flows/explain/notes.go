package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Remarks says what is odd about a VM and the ports that hosts have for it, as
// far as OVSDB tells: no port, a port on another host than the record says,
// another MAC.
func (t *Tracer) Remarks(r *tenant.LookupRecord) (notes []string) {
	name := VMText(t.policy, r)
	seats := t.seats(r)
	var unknown []string
	for h := range t.policy.Hosts() {
		if t.hosts[h.Name] == nil {
			unknown = append(unknown, h.Name)
		}
	}
	asked := ""
	if len(unknown) > 0 {
		asked = " (not known: " + strings.Join(unknown, ", ") + ")"
	}
	if len(seats) == 0 {
		notes = append(notes, fmt.Sprintf("no host has a port with iface-id %s%s: is VM %s running, and is iface-id set on its port?", r.IfaceID, asked, name))
	}
	here := false
	for _, s := range seats {
		if s.host == r.Host {
			here = true
		}
	}
	for i, s := range seats {
		switch {
		case r.Host != "" && s.host != r.Host:
			notes = append(notes, fmt.Sprintf("the record of VM %s says host %s, and its port (iface-id %s) is on %s: move the record or the VM", name, r.Host, r.IfaceID, s.host))
		case r.Host == "" && i > 0 && s.host != seats[0].host:
			notes = append(notes, fmt.Sprintf("VM %s has ports on %s and %s: the first counts", name, seats[0].host, s.host))
		}
		if s.port == 0 {
			notes = append(notes, fmt.Sprintf("the port of VM %s on %s has no OpenFlow number: Open vSwitch could not open the device", name, s.host))
		}
		mac := t.hosts[s.host].MACs[r.IfaceID]
		if m, err := tenant.ParseMAC(mac); mac != "" && err == nil && m != r.MAC {
			notes = append(notes, fmt.Sprintf("the record of VM %s says MAC %s, and its port on %s says %s (attached-mac): the VM's own packets are dropped as source-mac", name, r.MAC, s.host, m))
		}
	}
	if r.Host != "" && !here && t.hosts[r.Host] != nil && len(seats) > 0 {
		notes = append(notes, fmt.Sprintf("host %s has no port of VM %s", r.Host, name))
	}
	return notes
}

// Underlay says which hosts on a trace's way have other provider addresses than
// the policy says.
func (t *Tracer) Underlay(tr *Trace) (notes []string) {
	seen := map[string]bool{}
	for i := range tr.Hops {
		name := tr.Hops[i].Host
		h := t.hosts[name]
		if h == nil || len(h.PAs) == 0 || seen[name] {
			continue
		}
		seen[name] = true
		ph, _ := t.policy.Host(name)
		for _, a := range ph.ProviderAddresses {
			if !slices.ContainsFunc(h.PAs, func(b tenant.PA) bool { return a.PA.Addr() == b.Addr() }) {
				notes = append(notes, fmt.Sprintf("the policy says that host %s has provider address %s, and the host itself says it has %s (nvgre-encap-ip): packets to the former are lost", name, a.PA, join(h.PAs)))
			}
		}
	}
	return notes
}

func join[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].String()
	}
	return strings.Join(texts, ", ")
}

// Differences says where two traces of one packet part, in the order of the
// hosts passed: nameA and nameB say what they are traces of.
func Differences(a, b *Trace, nameA, nameB string) (diffs []string) {
	n := max(len(a.Hops), len(b.Hops))
	for i := range n {
		switch {
		case i >= len(a.Hops):
			return append(diffs, fmt.Sprintf("%s: the packet comes to %s; %s: it does not", nameB, b.Hops[i].Host, nameA))
		case i >= len(b.Hops):
			return append(diffs, fmt.Sprintf("%s: the packet comes to %s; %s: it does not", nameA, a.Hops[i].Host, nameB))
		}
		x, y := &a.Hops[i], &b.Hops[i]
		if x.Host != y.Host {
			return append(diffs, fmt.Sprintf("%s: the packet goes to %s; %s: to %s", nameA, x.Host, nameB, y.Host))
		}
		for k := range max(len(x.Steps), len(y.Steps)) {
			s, u := stepText(x, k), stepText(y, k)
			if s != u {
				return append(diffs, fmt.Sprintf("at %s: %s: %s; %s: %s", x.Host, nameA, s, nameB, u))
			}
		}
	}
	return diffs
}

func stepText(h *Hop, k int) string {
	switch {
	case h.Unknown != "":
		return h.Unknown
	case k >= len(h.Steps):
		return "no flow takes it any further"
	}
	s := &h.Steps[k]
	owner := s.Owner
	if s.Source != "" {
		owner += ", " + s.Source
	}
	return s.Text + " [" + owner + "]"
}
