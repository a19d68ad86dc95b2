package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// VMText names a VM: its routing domain, name and address.
func VMText(p *tenant.Policy, r *tenant.LookupRecord) string {
	d, _ := p.RoutingDomain(r.RDID)
	return fmt.Sprintf("%s/%s %s", d.Name, r.VM, r.CA)
}

// vmAt names the VM whose attachment is at a port, by the record of that address
// where it has several; "" where none is.
func (t *Tracer) vmAt(host string, port uint32, ca netip.Addr) string {
	h := t.hosts[host]
	if h == nil {
		return ""
	}
	for _, a := range h.View.Attachments {
		if a.OFPort == port {
			if r, ok := t.policy.RecordByIfaceID(a.IfaceID); ok {
				for own := range t.policy.RecordsByIfaceID(a.IfaceID) {
					if own.CA.Addr() == ca {
						r = own
					}
				}
				return VMText(t.policy, &r)
			}
			return "iface-id " + a.IfaceID + ", of no record"
		}
	}
	return ""
}

func (t *Tracer) portName(host string, port uint32) string {
	if h := t.hosts[host]; h != nil {
		return h.Names[port]
	}
	return ""
}

func (t *Tracer) portText(host string, port uint32, ca netip.Addr) string {
	s := fmt.Sprintf("%s port %d", host, port)
	if name := t.portName(host, port); name != "" {
		s += " (" + name + ")"
	}
	if vm := t.vmAt(host, port, ca); vm != "" {
		s = vm + " at " + s
	}
	return s
}

// arrived is the outcome of a packet that leaves by a port that is no tunnel.
func (t *Tracer) arrived(host string, port uint32, back bool, f *packet.Frame) Outcome {
	o := Outcome{Kind: Delivered, Host: host, Port: port, VM: t.vmAt(host, port, f.IP.Dst), Frame: f.String()}
	o.Text = fmt.Sprintf("delivered to VM %s at %s port %d", o.VM, host, port)
	switch {
	case back:
		o.Kind = Answered
		o.Text = fmt.Sprintf("answered by the network on %s, back to %s: %s", host, cmp.Or(o.VM, fmt.Sprintf("port %d", port)), f)
	case o.VM == "":
		o.Text = fmt.Sprintf("sent out at %s port %d, which is no VM's", host, port)
	}
	return o
}

// intended is what the oracle says.
func (t *Tracer) intended(v *oracle.Verdict) Outcome {
	if v.Kind == oracle.Dropped {
		return Outcome{Kind: Dropped, Host: v.Host, Reason: v.Reason.String(), Text: fmt.Sprintf("dropped on %s: %s", v.Host, v.Reason)}
	}
	if v.Kind == oracle.Asked {
		return Outcome{Kind: Asked, Host: v.Host, Text: fmt.Sprintf("handed to the controller on %s: %s", v.Host, verify.PuntReason(v.Punt).Text())}
	}
	return t.arrived(v.Host, v.Port, v.Kind == oracle.Answered, &v.Frame)
}

// same reports whether the one outcome of a trace is what the oracle says.
func (t *Tracer) same(tr *Trace, v *oracle.Verdict) bool {
	o := &tr.Outcomes[0]
	if o.Kind != tr.Intended.Kind {
		return false
	}
	if o.Kind == Dropped || o.Kind == Asked {
		return true
	}
	crossed := false
	for i := range tr.Hops {
		if w := tr.Hops[i].Input.Outer; newWire(w) != nil {
			crossed = true
			if !v.Through(w) {
				return false
			}
		}
	}
	return o.Host == v.Host && o.Port == v.Port && o.Frame == v.Frame.String() && crossed == v.Tunnelled
}

// ended is the outcome of a packet of which nothing left the host.
func (t *Tracer) ended(h *Hop) Outcome {
	end, id := h.Result.Final()
	table := flows.TableName(id)
	o := Outcome{Kind: Dropped, Host: h.Host, Table: table}
	at := fmt.Sprintf("dropped at %s/%s", h.Host, table)
	switch last := len(h.Steps) - 1; {
	case len(h.Result.Punts) > 0:
		return t.punted(h)
	case end == sim.EndMiss:
		o.Text = at + ": no flow of the table takes the packet: the table is not complete"
		if last < 0 {
			o.Text = at + ": no flow takes the packet: the switch has no flows of ours"
		}
	case end == sim.EndTTL:
		o.Reason = flows.DropTTL.String()
		o.Text = at + ": " + flows.DropTTL.Text()
	case h.Steps[last].Foreign:
		o.Text = fmt.Sprintf("%s by a flow that is not ours: %s", at, h.Steps[last].Text)
	case len(h.Skipped) > 0:
		o.Text = fmt.Sprintf("%s: the only output sends nothing: %s", at, strings.Join(h.Skipped, "; "))
	case h.Steps[last].Drop != "":
		o.Reason = h.Steps[last].Drop
		o.Text = at + ": " + t.why(h, &h.Steps[last])
	default:
		o.Text = fmt.Sprintf("%s: flow %s sends it nowhere", at, h.Steps[last].Text)
	}
	return o
}

// punted is the outcome of a packet that the controller gets.
func (t *Tracer) punted(h *Hop) Outcome {
	for i := range h.Steps {
		if s := &h.Steps[i]; s.Drop != "" {
			told := "the controller tells the sender"
			if s.Drop == flows.DropTooBig.String() {
				m := flow.Match{flow.Exact(flow.InPort, flow.Uint(uint64(h.Port))), flow.Exact(flow.Reg6, h.Result.Punts[0].Field(flow.Reg6))}
				if p, ok := flows.ReadPunt(m); ok {
					told += fmt.Sprintf(" that it wants an MTU of %d", p.MTU)
				}
			}
			return Outcome{Kind: Dropped, Host: h.Host, Table: s.Table, Reason: s.Drop,
				Text: fmt.Sprintf("dropped at %s/%s: %s; %s", h.Host, s.Table, t.why(h, s), told)}
		}
	}
	p := &h.Result.Punts[0]
	why := flows.PuntReason(p.Field(flow.Reg6).Lo & 0xff)
	return Outcome{Kind: Asked, Host: h.Host, Table: flows.TableName(h.Result.Table), Reason: why.String(),
		Text: fmt.Sprintf("handed to the controller on %s: %s", h.Host, why.Text())}
}

// why says why a drop flow took this packet.
func (t *Tracer) why(h *Hop, s *Step) string {
	reason, _ := flows.Reason(s.Flow.Cookie)
	f := h.Result.Frame(h.Input.Frame)
	who, own := t.recordOf(h)
	switch reason {
	case flows.DropSourceMAC:
		if own != nil {
			return fmt.Sprintf("record %s has MAC %s, and the packet comes from %s", who, own.MAC, f.Src)
		}
	case flows.DropSourceCA:
		if own != nil {
			return fmt.Sprintf("VM %s may send from %s only", who, t.addresses(own, f.HasIPv6()))
		}
	case flows.DropARPSender:
		if own != nil {
			return fmt.Sprintf("VM %s may ask by ARP from MAC %s and %s only", who, own.MAC, t.addresses(own, false))
		}
	case flows.DropNDSender:
		if own != nil {
			return fmt.Sprintf("VM %s may ask and answer from MAC %s and %s only, with hop limit 255 (this one has %d)", who, own.MAC, t.addresses(own, true), f.IP.TTL)
		}
	case flows.DropUnknownCA, flows.DropARPUnknownCA, flows.DropNDUnknownCA:
		if own != nil {
			to := f.IP.Dst
			if f.HasARP() {
				to = f.ARP.TPA
			} else if f.HasND() {
				to = f.ND.Target
			}
			d, _ := t.policy.RoutingDomain(own.RDID)
			return fmt.Sprintf("no record of routing domain %s has the next hop towards %s", d.Name, to)
		}
	case flows.DropNoRoute:
		if own != nil {
			d, _ := t.policy.RoutingDomain(own.RDID)
			return fmt.Sprintf("routing domain %s has no subnet and no route for %s", d.Name, f.IP.Dst)
		}
	case flows.DropUnknownPA:
		return fmt.Sprintf("outer addresses %s > %s: %s", h.Input.Outer.Src, h.Input.Outer.Dst, reason.Text())
	case flows.DropUnknownVSID:
		return fmt.Sprintf("VSID %d: %s", h.Input.Outer.VSID(), reason.Text())
	case flows.DropNotHere:
		return fmt.Sprintf("no VM with MAC %s in its virtual subnet is attached to %s", f.Dst, h.Host)
	}
	return reason.Text()
}

// addresses lists the addresses of a family that a VM has.
func (t *Tracer) addresses(r *tenant.LookupRecord, six bool) string {
	var all []string
	for o := range t.policy.RecordsByIfaceID(r.IfaceID) {
		if o.CA.IsValid() && o.CA.Addr().Is6() == six {
			all = append(all, o.CA.String())
		}
	}
	all = slices.DeleteFunc(all, func(ca string) bool { return ca == "0.0.0.0" || ca == "::" })
	if six && len(all) > 0 {
		all = append(all, tenant.LinkLocal(r.MAC).String())
	}
	return strings.Join(all, ", ")
}

// recordOf returns the record of the VM at the port by which the packet came to
// a hop.
func (t *Tracer) recordOf(h *Hop) (string, *tenant.LookupRecord) {
	for _, a := range t.hosts[h.Host].View.Attachments {
		if a.OFPort == h.Port {
			if r, ok := t.policy.RecordByIfaceID(a.IfaceID); ok {
				return r.VM, &r
			}
		}
	}
	return "", nil
}

// rewritten tells the headers in which two frames differ.
func rewritten(a, b *packet.Frame) []string {
	out := []string{}
	add := func(name string, x, y any) {
		if x != y {
			out = append(out, fmt.Sprintf("%s %v -> %v", name, x, y))
		}
	}
	add("eth_src", a.Src, b.Src)
	add("eth_dst", a.Dst, b.Dst)
	if a.HasARP() {
		add("arp_op", a.ARP.Op, b.ARP.Op)
		add("arp_sha", a.ARP.SHA, b.ARP.SHA)
		add("arp_spa", a.ARP.SPA, b.ARP.SPA)
		add("arp_tha", a.ARP.THA, b.ARP.THA)
		add("arp_tpa", a.ARP.TPA, b.ARP.TPA)
		return out
	}
	add("ip_src", a.IP.Src, b.IP.Src)
	add("ip_dst", a.IP.Dst, b.IP.Dst)
	add("ttl", a.IP.TTL, b.IP.TTL)
	add("icmp_type", a.L4.Type, b.L4.Type)
	if a.HasND() {
		add("nd_target", a.ND.Target, b.ND.Target)
		add("nd_sll", a.ND.SLL, b.ND.SLL)
		add("nd_tll", a.ND.TLL, b.ND.TLL)
	}
	return out
}
