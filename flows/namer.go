package flows

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Owner is the object that a flow exists for, in the tenant's words.
type Owner struct {
	Kind          OwnerKind
	Text          string // such as "record blue/web-1 10.0.0.5"
	RoutingDomain string // name; "" where the owner is in none
	VSID          tenant.VSID
	VM            string
	Source        tenant.Position // where the policy has it
}

// Namer writes flows in the words of one policy. It may be used by many
// goroutines.
type Namer struct {
	policy  *tenant.Policy
	domains map[uint32]string
	peers   map[uint32]string
	ports   map[uint32]string

	once   sync.Once
	owners map[owner][]Owner
}

// NewNamer returns a Namer for a policy. It names ports where ports has a name
// for their number; ports may be nil. Without a policy (nil) it shows numbers
// in place of names.
func NewNamer(p *tenant.Policy, ports map[uint32]string) *Namer {
	n := &Namer{policy: p, domains: make(map[uint32]string), peers: make(map[uint32]string), ports: ports}
	if p == nil {
		return n
	}
	c := NewCompiler(p, Placement{})
	for d := range p.RoutingDomains() {
		if i, ok := c.domains.of(d.RDID); ok {
			n.domains[i] = d.Name
		}
	}
	for h := range p.Hosts() {
		if i, ok := c.peers.of(h.Name); ok {
			n.peers[i] = h.Name
		}
	}
	return n
}

// Flow writes a flow as one line: the table's name, the priority, the match and
// the actions with the pipeline's names for registers and their values.
func (n *Namer) Flow(f *flow.Flow) string {
	var b strings.Builder
	b.WriteString(TableName(f.Table))
	b.WriteByte(' ')
	b.WriteString(strconv.Itoa(int(f.Priority)))
	b.WriteString(": ")
	if m := n.match(f.Match); len(m) > 0 {
		b.WriteString(strings.Join(m, ", "))
	} else if f.Table == tableSentinel {
		b.WriteString("revision " + strconv.FormatUint(f.Cookie&^CookieMask, 10))
	} else {
		b.WriteString("any")
	}
	b.WriteString(" -> ")
	b.WriteString(n.actions(f))
	return b.String()
}

// match names the registers in a match; what is left keeps its OVS name.
func (n *Namer) match(m flow.Match) []string {
	rest := make(flow.Match, len(m))
	copy(rest, m)
	var out []string
	for _, r := range Registers() {
		if v, ok := takeRegister(rest, r); ok {
			out = append(out, r.Name+"="+n.value(r.Kind, v))
		}
	}
	left := rest[:0]
	for _, t := range rest {
		switch {
		case t.Mask.IsZero():
		case t.Field == flow.InPort && n.ports[uint32(t.Value.Lo)] != "":
			out = append(out, "in_port="+n.ports[uint32(t.Value.Lo)])
		case t.Field == flow.TunID && t.Mask == flow.Uint(0xffffff00):
			out = append(out, "tun_vsid="+strconv.FormatUint(t.Value.Lo>>8, 10))
		default:
			left = append(left, t)
		}
	}
	if t := left.Text(); t != "" {
		out = append(out, strings.Split(t, ",")...)
	}
	return out
}

// takeRegister removes a register's bits from the tests, where these test all
// of them, and returns its value.
func takeRegister(m flow.Match, r Register) (flow.Value, bool) {
	want := r.Bits.Mask()
	var have, value flow.Value
	ps, n := parts(r.Bits.Field)
	for _, p := range ps[:n] {
		for _, t := range m {
			if t.Field == p.reg {
				have = have.Or(t.Mask.Shl(p.shift))
				value = value.Or(t.Value.Shl(p.shift))
			}
		}
	}
	if have.And(want) != want {
		return flow.Value{}, false
	}
	for _, p := range ps[:n] {
		for i := range m {
			if m[i].Field == p.reg {
				keep := want.Shr(p.shift).And(flow.Ones(32)).Not()
				m[i].Mask, m[i].Value = m[i].Mask.And(keep), m[i].Value.And(keep)
			}
		}
	}
	return value.And(want).Shr(int(r.Bits.Ofs)), true
}

func (n *Namer) value(k Kind, v flow.Value) string {
	switch k {
	case KindDomain:
		if name, ok := n.domains[uint32(v.Lo)]; ok {
			return name
		}
	case KindPeer:
		if name, ok := n.peers[uint32(v.Lo)]; ok {
			return name
		}
	case KindPort:
		if name, ok := n.ports[uint32(v.Lo)]; ok {
			return name
		}
		return strconv.FormatUint(v.Lo, 10)
	case KindPunt:
		if r := PuntReason(v.Lo); r.String() != "unknown" {
			return r.String()
		}
	case KindVSID, KindFlag, KindOctets:
		return strconv.FormatUint(v.Lo, 10)
	case KindCA:
		return netip.AddrFrom16([16]byte(v.Bytes(16))).Unmap().String()
	case KindMAC:
		return flow.FormatMAC(v)
	}
	return v.String()
}

func (n *Namer) actions(f *flow.Flow) string {
	if len(f.Actions) == 0 {
		if r, ok := Reason(f.Cookie); ok {
			return "drop (" + r.String() + ")"
		}
		return "drop"
	}
	if r, ok := Reason(f.Cookie); ok && f.Actions[len(f.Actions)-1] == flow.Goto(tablePunt) {
		return "drop (" + r.String() + "), its sender is told by the controller"
	}
	out := make([]string, len(f.Actions))
	for i, a := range f.Actions {
		switch a.Op {
		case flow.OpSet:
			name, kind := bitsName(a.Dst)
			v := flow.FormatValue(a.Dst.Field, a.Value)
			if kind >= 0 {
				v = n.value(Kind(kind), a.Value)
			}
			out[i] = name + ":=" + v
		case flow.OpMove:
			dst, _ := bitsName(a.Dst)
			src, _ := bitsName(a.Src)
			out[i] = dst + ":=" + src
		case flow.OpOutput:
			out[i] = "output " + n.value(KindPort, flow.Uint(uint64(a.Port)))
			if a.Port == flow.PortInPort {
				out[i] = "output in_port"
			}
		case flow.OpOutputReg:
			src, _ := bitsName(a.Src)
			out[i] = "output " + src
		case flow.OpGoto:
			out[i] = "goto " + TableName(a.Table)
		case flow.OpResubmit:
			out[i] = "resubmit " + TableName(a.Table)
		case flow.OpCheckLarger:
			dst, _ := bitsName(a.Dst)
			out[i] = dst + ":=larger than " + strconv.Itoa(int(a.MaxLen))
		default:
			out[i] = a.Text()
		}
	}
	return strings.Join(out, ", ")
}

// bitsName names a range of bits by the register that it is or lies in. The
// kind is that of the register where b is all of it, else -1.
func bitsName(b flow.Bits) (name string, kind int) {
	for _, r := range Registers() {
		if r.Bits == b {
			return r.Name, int(r.Kind)
		}
		ps, n := parts(r.Bits.Field)
		for _, p := range ps[:n] {
			lo := p.shift + int(b.Ofs) - int(r.Bits.Ofs)
			if p.reg == b.Field && p.reg != r.Bits.Field && lo >= 0 && lo+int(b.N) <= int(r.Bits.N) {
				return fmt.Sprintf("%s[%d..%d]", r.Name, lo, lo+int(b.N)-1), -1
			}
		}
	}
	if b.IsAll() {
		return b.Field.Info().Long, -1
	}
	return b.Text(), -1
}

// Owners returns the objects that a flow with that cookie may belong to: one,
// save where two natural keys have one hash; none where the cookie is not ours
// or the policy has no such object any more.
func (n *Namer) Owners(cookie uint64) []Owner {
	if !Ours(cookie) {
		return nil
	}
	n.once.Do(n.index)
	o := owner(cookie & ownerMask)
	if OwnerKind(o>>kindShift) == OwnerPipeline {
		return []Owner{{Kind: OwnerPipeline, Text: "pipeline"}}
	}
	return n.owners[o]
}

// OwnerText returns the owners of a cookie in one line.
func (n *Namer) OwnerText(cookie uint64) string {
	switch {
	case Probe(cookie):
		return "a ping under way"
	case !Ours(cookie):
		return "foreign"
	}
	owners := n.Owners(cookie)
	if len(owners) == 0 {
		return OwnerKind(cookie>>kindShift&0xf).String() + " that the policy no longer has"
	}
	texts := make([]string, len(owners))
	for i, o := range owners {
		texts[i] = o.Text
	}
	return strings.Join(texts, " or ")
}

func (n *Namer) index() {
	n.owners = make(map[owner][]Owner)
	if n.policy == nil {
		return
	}
	p := n.policy
	add := func(key owner, o Owner) {
		o.Kind = OwnerKind(key >> kindShift)
		n.owners[key] = append(n.owners[key], o)
	}
	names := make(map[tenant.RDID]string)
	for d := range p.RoutingDomains() {
		names[d.RDID] = d.Name
		add(domainOwner(d.RDID), Owner{Text: "routing domain " + d.Name, RoutingDomain: d.Name, Source: d.Source})
	}
	for s := range p.Subnets() {
		rd := names[s.RDID]
		add(subnetOwner(s.VSID), Owner{Text: fmt.Sprintf("subnet %s/%s VSID %d", rd, s.Name, s.VSID), RoutingDomain: rd, VSID: s.VSID, Source: s.Source})
	}
	for r := range p.Records() {
		rd := names[r.RDID]
		address := r.CA.String()
		if !r.CA.IsValid() {
			address = r.MAC.String()
		}
		o := Owner{Text: fmt.Sprintf("record %s/%s %s VSID %d", rd, r.VM, address, r.VSID), RoutingDomain: rd, VSID: r.VSID, VM: r.VM, Source: r.Source}
		add(recordOwner(&r), o)
		if key := linkOwner(&r); r.CA.Addr().Is6() && n.owners[key] == nil {
			o.Text = fmt.Sprintf("link-local address of record %s/%s %s VSID %d", rd, r.VM, r.CA, r.VSID)
			add(key, o)
		}
	}
	for r := range p.Routes() {
		add(routeOwner(r), Owner{Text: fmt.Sprintf("route %s %s", names[r.RDID], r.Prefix), RoutingDomain: names[r.RDID], Source: r.Source})
	}
	for h := range p.Hosts() {
		add(hostOwner(h.Name), Owner{Text: "host " + h.Name, Source: h.Source})
	}
}
