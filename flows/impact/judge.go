package impact

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// judge compares two states.
type judge struct {
	o             Options
	before, after *side
	out           *Report
	rowsOfHosts   map[[2]string]*Counts
	listed        [4]int // of each rank
}

// outcome is what became of a pair.
type outcome struct {
	change  Change
	allowed bool
}

// sentTTL is the TTL of the packets that are judged, as guests send them.
const sentTTL = 64

// sent says what becomes of a packet of a VM on one side: a UDP datagram, or an
// echo request to the router.
func (s *side) sent(i int, from *vm, to netip.Addr, router bool) (v oracle.Verdict, why string) {
	r := from.rec[i]
	switch {
	case r == nil:
		return v, "the sender does not exist"
	case from.host[i] == "":
		return v, "nobody knows where the sender is"
	case from.port[i] == 0:
		return v, "the sender has no port on host " + from.host[i]
	}
	if r.CA.Addr().Is4() != to.Is4() {
		return v, "the addresses are of two families"
	}
	f := packet.Frame{Src: r.MAC, Dst: s.Policy.GatewayMAC(), Type: packet.TypeIPv4,
		IP: packet.IP{Src: r.CA.Addr(), Dst: to, TTL: sentTTL, Proto: packet.ProtoUDP}, L4: packet.L4{Src: 1024, Dst: 1024}}
	if to.Is6() {
		f.Type = packet.TypeIPv6
	}
	switch {
	case router && to.Is6():
		f.IP.Proto, f.L4 = packet.ProtoICMPv6, packet.L4{Type: packet.EchoRequest6}
	case router:
		f.IP.Proto, f.L4 = packet.ProtoICMP, packet.L4{Type: packet.EchoRequest}
	}
	v = s.oracle.Sent(from.host[i], from.port[i], f)
	if v.Kind == oracle.Dropped {
		return v, fmt.Sprintf("dropped on host %s: %s", v.Host, v.Reason)
	}
	return v, ""
}

// reach says whether a VM reaches another on one side, and how, or why not.
func (s *side) reach(i int, from, to *vm) (v oracle.Verdict, why string) {
	if to.rec[i] == nil {
		return v, "the destination does not exist"
	}
	v, why = s.sent(i, from, to.rec[i].CA.Addr(), false)
	if why != "" {
		return v, why
	}
	if at, _ := s.oracle.VM(v.Host, v.Port); v.Kind != oracle.Delivered || at.IfaceID != to.rec[i].IfaceID {
		return v, fmt.Sprintf("goes to %s on host %s, by a customer route or a wildcard", cmp.Or(at.VM, "the router"), v.Host)
	}
	return v, ""
}

func (s *side) reachTarget(i int, from *vm, t *target) (v oracle.Verdict, why string) {
	if from.rec[i] != nil && !t.own[i] {
		return v, "is no gateway of the sender's subnet"
	}
	v, why = s.sent(i, from, t.address, t.router())
	if want := oracle.Answered; why == "" && t.router() != (v.Kind == want) {
		return v, "does not answer"
	}
	return v, why
}

// compare says what became of a packet; whyB and whyA are empty where it arrives.
func compare(from *vm, b, a oracle.Verdict, whyB, whyA string) (c Change) {
	switch {
	case whyB != "" && whyA != "":
		return 0
	case whyA != "":
		return Lost
	case whyB != "":
		return Gained
	}
	if from.host[0] != from.host[1] || b.Host != a.Host || b.Tunnelled != a.Tunnelled || b.Outer.Src != a.Outer.Src || b.Outer.Dst != a.Outer.Dst {
		c |= Path
	}
	if b.Frame.Src != a.Frame.Src || b.Frame.Dst != a.Frame.Dst {
		c |= MAC
	}
	if b.Frame.IP.TTL != a.Frame.IP.TTL {
		c |= TTL
	}
	if b.Tunnelled && a.Tunnelled && b.Outer.VSID() != a.Outer.VSID() {
		c |= VSID
	}
	return c
}

func (j *judge) judgePair(from, to *vm) Change {
	b, whyB := j.before.reach(0, from, to)
	a, whyA := j.after.reach(1, from, to)
	return compare(from, b, a, whyB, whyA)
}

func (j *judge) judgeTarget(from *vm, t *target) outcome {
	b, whyB := j.before.reachTarget(0, from, t)
	a, whyA := j.after.reachTarget(1, from, t)
	o := outcome{change: compare(from, b, a, whyB, whyA), allowed: j.allows(from)}
	if o.change == Lost && !t.router() {
		hop, _ := j.before.oracle.VM(b.Host, b.Port)
		o.allowed = o.allowed || j.o.AllowLoss != nil && j.o.AllowLoss(&hop)
	}
	return o
}

func (j *judge) allows(v *vm) bool {
	for _, r := range v.rec {
		if r != nil && j.o.AllowLoss != nil && j.o.AllowLoss(r) {
			return true
		}
	}
	return false
}

// list adds a pair to the listed ones, and reports whether there may be room for
// more of its kind.
func (j *judge) list(c Change, allowed bool, pair func() Pair) bool {
	rank := (&Pair{Change: c, Allowed: allowed}).rank()
	if j.listed[rank] >= j.o.Max {
		return false
	}
	j.listed[rank]++
	p := pair()
	p.Change, p.Allowed = c, allowed && c == Lost
	j.out.Listed = append(j.out.Listed, p)
	return true
}

func (j *judge) pair(d *domain, from, to *vm) Pair {
	p := pairFrom(d, from)
	p.To, p.ToCA = to.any().VM, to.any().CA.String()
	p.Before = describe(j.before.reach(0, from, to))
	p.After = describe(j.after.reach(1, from, to))
	return p
}

func (j *judge) pairTo(d *domain, from *vm, t *target) Pair {
	p := pairFrom(d, from)
	p.To, p.ToCA = t.name, t.text
	p.Before = describe(j.before.reachTarget(0, from, t))
	p.After = describe(j.after.reachTarget(1, from, t))
	return p
}

func pairFrom(d *domain, from *vm) Pair {
	return Pair{Domain: d.name, From: from.any().VM, FromCA: from.any().CA.String()}
}

// describe says in words what becomes of a packet.
func describe(v oracle.Verdict, why string) string {
	if why != "" {
		return why
	}
	s := fmt.Sprintf("arrives on host %s", v.Host)
	if v.Kind == oracle.Answered {
		s = fmt.Sprintf("answered on host %s", v.Host)
	}
	if v.Tunnelled {
		s += fmt.Sprintf(" by VSID %s, %s to %s", v.Outer.VSID(), v.Outer.Src, v.Outer.Dst)
	}
	return s + fmt.Sprintf(", MAC %s to %s, TTL %d", v.Frame.Src, v.Frame.Dst, v.Frame.IP.TTL)
}

// subnetName names the group of a class: ROUTING-DOMAIN/SUBNET.
func (j *judge) subnetName(c *class) string {
	s, v := j.before, c.vsid[0]
	if c.kind.state[0] == absent {
		s, v = j.after, c.vsid[1]
	}
	return s.subnetName(v)
}

func (s *side) subnetName(v tenant.VSID) string {
	n, _ := s.Policy.Subnet(v)
	d, _ := s.Policy.RoutingDomain(n.RDID)
	return d.Name + "/" + n.Name
}

func placeName(c *class) string {
	return cmp.Or(c.host[0], c.host[1], "-")
}
