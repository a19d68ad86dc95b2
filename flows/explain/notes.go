package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
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
// the policy says. A packet that would be delivered only by way of such an address
// is lost.
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
				notes = append(notes, fmt.Sprintf("the policy says that host %s has provider address %s, and the host itself says it has %s (nvgre-encap-ip)", name, a.PA, join(h.PAs)))
				if tr.Hops[i].Input.Outer.Dst == a.PA.Addr() {
					tr.misled(name, a.PA)
				}
			}
		}
	}
	return notes
}

// misled says that packets to a provider address come to nobody.
func (tr *Trace) misled(host string, pa tenant.PA) {
	for i := range tr.Outcomes {
		if o := &tr.Outcomes[i]; o.Kind == Delivered {
			*o = Outcome{Kind: Lost, Host: host, Text: fmt.Sprintf("lost in the underlay: host %s does not have provider address %s any more", host, pa)}
			tr.AsIntended = false
		}
	}
}

func join[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].String()
	}
	return strings.Join(texts, ", ")
}

// Octets that NVGRE puts around an IP packet within the IP packet of the underlay:
// the inner Ethernet header, GRE with its key, and the outer IPv4 or IPv6 header
// (RFC 7637 section 3.2).
const overhead4, overhead6 = 14 + 8 + 20, 14 + 8 + 40

// Fit makes an IP packet of so many octets lost where it does not fit through an
// underlay of that MTU. Switches drop such packets without a flow and a counter.
// A size of 0 fits.
func (tr *Trace) Fit(size, mtu int) {
	if tr.Frame.Type != packet.TypeIPv4 {
		return
	}
	for i := range tr.Hops {
		for _, s := range tr.Hops[i].Sent {
			if s.Wire == nil {
				continue
			}
			overhead := overhead4
			if s.Wire.Dst.Is6() {
				overhead = overhead6
			}
			if size+overhead > mtu && size > 0 {
				tr.Outcomes = []Outcome{{Kind: Lost, Host: tr.Hops[i].Host, Text: fmt.Sprintf(
					"lost on the way out of %s: an IP packet of %d octets is one of %d in the underlay, whose MTU is %d: the VM wants an MTU of %d", tr.Hops[i].Host, size, size+overhead, mtu, mtu-overhead)}}
				tr.AsIntended = false
				return
			}
		}
	}
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
