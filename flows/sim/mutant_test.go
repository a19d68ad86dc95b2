package sim_test

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// mutant is a host's flows with one fault in them.
type mutant struct {
	op    string
	host  string
	index int // the flow concerned, in the host's flows
	flows []flow.Flow
	dead  string // why no packet can tell the mutant from the original; "" if one can
}

// mutants returns every fault that the operators put into one host's flows.
// keys are the GRE keys that can come in; nil for any.
func mutants(host string, original []flow.Flow, keys []uint64) (all []mutant) {
	k := newKnowledge(original, keys)
	for i := range original {
		f := &original[i]
		add := func(op string, dead string, change func(g *flow.Flow)) {
			fs := slices.Clone(original)
			g := &fs[i]
			g.Match, g.Actions = slices.Clone(g.Match), slices.Clone(g.Actions)
			change(g)
			if dead == "" && slices.Equal(f.Match, g.Match) && g.Priority <= f.Priority {
				dead = k.unreachable(f)
			}
			all = append(all, mutant{op, host, i, fs, dead})
		}
		fs := slices.Delete(slices.Clone(original), i, i+1)
		all = append(all, mutant{"lost flow", host, i, fs, k.unreachable(f)})
		matchMutants(k, f, add)
		actionMutants(k, original, f, add)
		orderMutants(original, f, add)
	}
	return all
}

type adder func(op, dead string, change func(*flow.Flow))

func matchMutants(k *knowledge, f *flow.Flow, add adder) {
	for n, t := range f.Match {
		low := flow.Value{Lo: t.Mask.Lo & -t.Mask.Lo}
		if low.IsZero() {
			low.Hi = t.Mask.Hi & -t.Mask.Hi
		}
		wide := flow.Test{Field: t.Field, Value: t.Value.And(low.Not()), Mask: t.Mask.And(low.Not())}
		if !wide.Mask.IsZero() {
			add("widened mask", k.sameMatches(f, t, wide), func(g *flow.Flow) { g.Match[n] = wide })
		}
		add("lost test", k.sameMatches(f, t, flow.Test{Field: t.Field}), func(g *flow.Flow) { g.Match = slices.Delete(g.Match, n, n+1) })
		add("other value", "", func(g *flow.Flow) {
			g.Match[n].Value.Lo ^= low.Lo
			g.Match[n].Value.Hi ^= low.Hi
		})
	}
}

func actionMutants(k *knowledge, all []flow.Flow, f *flow.Flow, add adder) {
	if len(f.Actions) == 0 {
		reason, _ := flows.Reason(f.Cookie)
		add("other reason", "", func(g *flow.Flow) { g.Cookie = f.Cookie&^(0x7f<<40) | uint64(reason%30+1)<<40 })
		add("lets through", "", func(g *flow.Flow) { g.Actions = passage(all, f) })
		return
	}
	add("drops", "", func(g *flow.Flow) { g.Actions = nil })
	for n, a := range f.Actions {
		add("lost action", k.idle(f, n), func(g *flow.Flow) { g.Actions = slices.Delete(g.Actions, n, n+1) })
		switch a.Op {
		case flow.OpSet:
			add("other constant", k.unread(f, n), func(g *flow.Flow) { g.Actions[n].Value.Lo ^= 1 })
			// What another flow of the table writes: another VM's MAC, another
			// host's PA, another subnet's VSID.
			if o, ok := otherConstant(all, f, a); ok {
				add("swapped constant", k.unread(f, n), func(g *flow.Flow) { g.Actions[n].Value = o })
			}
		case flow.OpMove:
			if src, ok := sibling[a.Src.Field]; ok {
				add("moves another field", k.unread(f, n), func(g *flow.Flow) { g.Actions[n].Src.Field = src })
			}
		case flow.OpOutput:
			port := uint32(flow.PortInPort)
			if a.Port == port {
				port = flowPort
			}
			add("other port", "", func(g *flow.Flow) { g.Actions[n].Port = port })
			add("sends twice", "", func(g *flow.Flow) { g.Actions = append(g.Actions, flow.Output(flow.PortInPort)) })
		case flow.OpOutputReg:
			add("other register", "", func(g *flow.Flow) { g.Actions[n].Src = flow.All(flow.Reg2) })
			add("sends twice", "", func(g *flow.Flow) { g.Actions = append(g.Actions, a) })
		case flow.OpGoto:
			if next := tableAfter(a.Table); next != 0 {
				add("skips a table", "", func(g *flow.Flow) { g.Actions[n].Table = next })
			}
			add("floods", "", func(g *flow.Flow) {
				g.Actions = slices.Insert(g.Actions, n, flow.Output(flow.PortInPort))
			})
		}
	}
}

// sibling is a field that a hasty hand could take for another.
var sibling = map[flow.Field]flow.Field{
	flow.ARPSPA: flow.ARPTPA, flow.ARPTPA: flow.ARPSPA, flow.ARPSHA: flow.ARPTHA,
	flow.EthSrc: flow.EthDst, flow.IPv4Src: flow.IPv4Dst, flow.IPv4Dst: flow.IPv4Src,
	flow.Reg2: flow.Reg1, flow.Reg7: flow.Reg6,
}

// orderMutants changes which of two overlapping flows comes first.
func orderMutants(all []flow.Flow, f *flow.Flow, add adder) {
	var above, below *flow.Flow
	for i := range all {
		g := &all[i]
		if g.Table != f.Table || !overlap(f, g) {
			continue
		}
		if g.Priority > f.Priority {
			above = g // the flows come by falling priority: the lowest above
		} else if g.Priority < f.Priority && below == nil {
			below = g
		}
	}
	if above != nil {
		add("shadows", "", func(g *flow.Flow) { g.Priority = 65535 })
	}
	if below != nil && below.Priority > 0 {
		add("shadowed", "", func(g *flow.Flow) { g.Priority = below.Priority - 1 })
	}
}

func overlap(f, g *flow.Flow) bool {
	for _, t := range f.Match {
		if u, ok := g.Match.Find(t.Field); ok && t.Value.And(t.Mask).And(u.Mask) != u.Value.And(u.Mask).And(t.Mask) {
			return false
		}
	}
	return true
}

// passage returns what a flow of the same table does that lets packets on.
func passage(all []flow.Flow, f *flow.Flow) []flow.Action {
	for i := range all {
		if g := &all[i]; g.Table == f.Table && len(g.Actions) > 0 && (len(g.Match) == 0 || overlap(f, g)) {
			return g.Actions
		}
	}
	return []flow.Action{flow.Output(flow.PortInPort)}
}

func otherConstant(all []flow.Flow, f *flow.Flow, a flow.Action) (flow.Value, bool) {
	for i := range all {
		for _, b := range all[i].Actions {
			if all[i].Table == f.Table && b.Op == flow.OpSet && b.Dst == a.Dst && b.Value != a.Value {
				return b.Value, true
			}
		}
	}
	return flow.Value{}, false
}

func tableAfter(id uint8) uint8 {
	p := flows.Pipeline()
	for i, t := range p {
		if t.ID == id && i+1 < len(p)-1 {
			return p[i+1].ID
		}
	}
	return 0
}

// knowledge is what can be said of all packets on a host from its flows alone.
// With it mutants are recognised that no packet can tell from the original.
type knowledge struct {
	flows []flow.Flow
	held  map[tableField]values // what a field can hold where a packet enters a table
	keyed bool
}

type tableField struct {
	table uint8
	field flow.Field
}

// values are what a field can hold.
type values struct {
	any bool
	of  map[uint64]bool
}

func (v *values) add(o values) {
	v.any = v.any || o.any
	if v.of == nil {
		v.of = make(map[uint64]bool)
	}
	for x := range o.of {
		v.of[x] = true
	}
}

// followed are the fields whose values are followed through the tables.
func followed() []flow.Field {
	fs := []flow.Field{flow.InPort, flow.TunID}
	for r := flow.Reg0; r <= flow.Reg15; r++ {
		fs = append(fs, r)
	}
	return fs
}

func newKnowledge(fs []flow.Flow, keys []uint64) *knowledge {
	k := &knowledge{flows: fs, held: make(map[tableField]values), keyed: keys != nil}
	for _, f := range followed() {
		v := values{any: f == flow.InPort || f == flow.TunID, of: map[uint64]bool{0: true}}
		if f == flow.TunID && k.keyed {
			v = values{of: make(map[uint64]bool)}
			for _, key := range keys {
				v.of[key] = true
			}
		}
		k.held[tableField{0, f}] = v
	}
	for i := range fs { // by rising table, and packets only go forward
		f := &fs[i]
		n := len(f.Actions)
		if n == 0 || f.Actions[n-1].Op != flow.OpGoto {
			continue
		}
		for _, field := range followed() {
			v := k.held[tableField{f.Table, field}]
			if t, ok := f.Match.Find(field); ok && t.IsExact() {
				v = values{of: map[uint64]bool{t.Value.Lo: true}}
			}
			to := tableField{f.Actions[n-1].Table, field}
			have := k.held[to]
			have.add(after(v, f, field))
			k.held[to] = have
		}
	}
	// Nothing else passes port security.
	for _, t := range flows.Pipeline()[4:] {
		k.held[tableField{t.ID, flow.EthType}] = values{of: map[uint64]bool{0x0800: true, 0x0806: true, 0x86dd: true}}
	}
	return k
}

// after returns what a field can hold once a flow is done, from what it can
// before.
func after(v values, f *flow.Flow, field flow.Field) values {
	for _, a := range f.Actions {
		if a.Op != flow.OpSet && a.Op != flow.OpMove {
			continue
		}
		shift, ok := registers(a.Dst.Field)[field]
		switch {
		case !ok:
		case a.Op == flow.OpMove:
			v = values{any: true}
		case a.Dst.Field == field && !a.Dst.IsAll(): // a flag among others
			flags := values{any: v.any, of: make(map[uint64]bool)}
			for x := range v.of {
				flags.of[x|a.Value.Lo<<a.Dst.Ofs] = true
			}
			v = flags
		default:
			v = values{of: map[uint64]bool{a.Value.Shl(int(a.Dst.Ofs)).Shr(shift).Lo & 0xffffffff: true}}
		}
	}
	return v
}

// registers returns the 32-bit registers in a field, with their place in it.
func registers(f flow.Field) map[flow.Field]int {
	m := make(map[flow.Field]int)
	switch {
	case f >= flow.Reg0 && f <= flow.Reg15:
		m[f] = 0
	case f >= flow.XReg0 && f <= flow.XReg7:
		first := flow.Reg0 + 2*(f-flow.XReg0)
		m[first], m[first+1] = 32, 0
	case f >= flow.XXReg0 && f <= flow.XXReg3:
		first := flow.Reg0 + 4*(f-flow.XXReg0)
		m[first], m[first+1], m[first+2], m[first+3] = 96, 64, 32, 0
	}
	return m
}

// sameMatches says why it does not matter that a flow has test b in place of a.
func (k *knowledge) sameMatches(f *flow.Flow, a, b flow.Test) string {
	if _, own := f.Match.Find(flow.Reg1); own && a.Field == flow.Reg0 {
		return "the subnet that is also tested lies in one domain"
	}
	if why := k.sameForVM(f, a, b); why != "" {
		return why
	}
	if t, ok := f.Match.Find(flow.Reg8); ok && t.Value.Lo == 0xfe800000 && a.Field == flow.Reg0 {
		return "the subnet that is the scope of the address lies in one domain"
	}
	if flows.TableName(f.Table) == "ca" && a.Field >= flow.Reg8 && a.Field <= flow.Reg11 {
		return k.sameHop(f, a, b)
	}
	v, ok := k.held[tableField{f.Table, a.Field}]
	if !ok || v.any {
		return ""
	}
	why := "no value that the field can have tells the tests apart"
	for x := range v.of {
		if (x&a.Mask.Lo == a.Value.Lo) == (x&b.Mask.Lo == b.Value.Lo) {
			continue
		}
		if !k.doneAlike(f, a.Field, x) {
			return ""
		}
		why = "what more it takes, another flow treats alike"
	}
	return why
}

// hop is what the next hop register can hold where table ca is reached: bits that
// are known, others that may be anything.
type hop struct{ value, mask flow.Value }

// hops returns what the flows of table route make the next hop of a domain.
func (k *knowledge) hops(domain flow.Value) (all []hop) {
	for i := range k.flows {
		f := &k.flows[i]
		in, ok := f.Match.Find(flow.Reg0)
		if flows.TableName(f.Table) != "route" || !ok || in.Value != domain {
			continue
		}
		var h hop
		for _, a := range f.Actions {
			switch {
			case a.Op == flow.OpMove:
				t, _ := f.Match.Find(a.Src.Field)
				if a.Src.Field.Info().Bits == 128 {
					h = hop{t.Value, t.Mask}
				} else {
					h.value, h.mask = h.value.Or(t.Value), h.mask.Or(t.Mask).Or(flow.Ones(96).Shl(32))
				}
			case a.Dst.Field == flow.XXReg2:
				h = hop{a.Value, flow.Ones(128)}
			case a.Dst.Field == flow.Reg10:
				h.value = h.value.Or(a.Value.Shl(32))
			case a.Dst.Field == flow.Reg9:
				word := flow.Ones(32).Shl(64)
				h.value, h.mask = h.value.And(word.Not()).Or(a.Value.Shl(64)), h.mask.Or(word)
			}
		}
		all = append(all, h)
	}
	return all
}

// sameHop says why it does not matter that a flow of table ca has test b of the
// next hop in place of a.
func (k *knowledge) sameHop(f *flow.Flow, a, b flow.Test) string {
	whole := func(t flow.Test) (v, m flow.Value) {
		for _, u := range f.Match {
			if u.Field >= flow.Reg8 && u.Field <= flow.Reg11 {
				if u.Field == a.Field {
					u = t
				}
				by := 32 * int(flow.Reg11-u.Field)
				v, m = v.Or(u.Value.Shl(by)), m.Or(u.Mask.Shl(by))
			}
		}
		return v, m
	}
	if t, ok := f.Match.Find(flow.Reg8); ok && t.Value.Lo == 0xfe800000 && a.Field == flow.Reg9 && k.toRouter(f) {
		return "the router's link-local address is the same in every subnet"
	}
	in, _ := f.Match.Find(flow.Reg0)
	was, before := whole(a)
	v, after := whole(b)
	for _, h := range k.hops(in.Value) {
		both, lost := h.mask.And(after), before.And(after.Not())
		if h.value.And(both) != v.And(both) {
			continue // neither takes it
		}
		if !lost.And(h.mask.Not()).IsZero() || h.value.And(lost) != was.And(lost) {
			return ""
		}
	}
	return "no next hop of the domain tells the tests apart"
}

// sameForVM is sameMatches for the flows of table local that test for the port
// of a VM. What comes from there has been through table ca, and has the VSID and
// the MAC of a lookup record of the VM's routing domain.
func (k *knowledge) sameForVM(f *flow.Flow, a, b flow.Test) string {
	port, ok := f.Match.Find(flow.InPort)
	if !ok || flows.TableName(f.Table) != "local" || a.Field != flow.EthDst && a.Field != flow.Reg2 {
		return ""
	}
	from := slices.IndexFunc(k.flows, func(g flow.Flow) bool {
		return flows.TableName(g.Table) == "classify" && slices.Equal(g.Match, flow.Match{port})
	})
	for i := range k.flows {
		g := &k.flows[i]
		in, ok := g.Match.Find(flow.Reg0)
		if flows.TableName(g.Table) != "ca" || !ok || !slices.Contains(k.flows[from].Actions, flow.Set(flow.All(flow.Reg0), in.Value)) {
			continue
		}
		held := make(map[flow.Field]flow.Value)
		for _, set := range g.Actions {
			switch {
			case set.Op == flow.OpSet && set.Dst.Field == flow.Reg2:
				held[flow.Reg2] = set.Value
			case set.Op == flow.OpSet && set.Dst.Field == flow.XReg6:
				held[flow.EthDst] = set.Value
			}
		}
		takes := func(t flow.Test) bool { return held[t.Field].And(t.Mask) == t.Value }
		others := true
		for _, t := range f.Match {
			others = others && (t.Field == flow.InPort || t == a || takes(t))
		}
		if len(held) == 2 && others && takes(a) != takes(b) {
			return ""
		}
	}
	return "no lookup record of the domain has a VSID and a MAC that tell the tests apart"
}

// doneAlike reports whether there is a flow that does with value x of a field
// what f does with its own.
func (k *knowledge) doneAlike(f *flow.Flow, field flow.Field, x uint64) bool {
	for i := range k.flows {
		g := &k.flows[i]
		if g.Table != f.Table || g.Priority != f.Priority || len(g.Match) != len(f.Match) || !k.sameActions(f, g) ||
			g.Cookie>>40 != f.Cookie>>40 {
			continue
		}
		alike := true
		for n, t := range g.Match {
			if t.Field == field {
				alike = alike && x&t.Mask.Lo == t.Value.Lo && f.Match[n].Field == field
				continue
			}
			alike = alike && t == f.Match[n]
		}
		if alike {
			return true
		}
	}
	return false
}

// sameActions reports whether two flows do the same; the VSID of what is for the
// router is read by nobody.
func (k *knowledge) sameActions(f, g *flow.Flow) bool {
	a, b := slices.Clone(f.Actions), slices.Clone(g.Actions)
	if k.toRouter(f) && k.toRouter(g) && flows.TableName(f.Table) == "ca" {
		vsid := func(a flow.Action) bool { return a.Op == flow.OpSet && a.Dst.Field == flow.Reg2 }
		a, b = slices.DeleteFunc(a, vsid), slices.DeleteFunc(b, vsid)
	}
	return slices.Equal(a, b)
}

// unreachable says why no packet meets a flow. The classes are argued for from
// the meaning of the tables; what remains is no excuse.
func (k *knowledge) unreachable(f *flow.Flow) string {
	reason, drops := flows.Reason(f.Cookie)
	switch table := flows.TableName(f.Table); {
	case !drops:
	case table == "port-security" && reason == flows.DropUnknownPort:
		return "every port that comes here has a flow of its own for all packets"
	case table == "act" && reason == flows.DropNoAction:
		return "only IP and ARP come here, and all have a flow for all"
	case table == "nd-reply" && reason == flows.DropNoAction:
		return "only neighbour advertisements come here"
	case table == "pa" && reason == flows.DropUnknownPeer:
		return "every host that is in table ca has a flow"
	case table == "encap" && reason == flows.DropNoTunnel:
		return "every subnet has a port, or one flow takes all"
	case table == "tunnel-vsid" && reason == flows.DropUnknownVSID && k.keyed:
		return "a port brings its own key only, and every domain is here"
	}
	return ""
}

// unread says why it does not matter what a flow's n-th action writes.
func (k *knowledge) unread(f *flow.Flow, n int) string {
	b := f.Actions[n].Dst
	if b.Field == flow.TunID && k.keyed {
		return "the port has its own key"
	}
	if b.Field == flow.Reg2 && flows.TableName(f.Table) == "ca" {
		if k.toRouter(f) {
			return "what is for the router is answered or dropped before its VSID is read"
		}
		if k.notHere(f) {
			return "the VM should be here and is not, whatever its VSID"
		}
	}
	regs := registers(b.Field)
	if len(regs) == 0 {
		return ""
	}
	for _, a := range f.Actions[n+1:] {
		for r := range registers(a.Src.Field) {
			if _, ok := regs[r]; ok && a.Op == flow.OpMove {
				return ""
			}
		}
	}
	for i := range k.flows {
		g := &k.flows[i]
		if g.Table <= f.Table || !k.leads(f, g.Table) {
			continue
		}
		for _, t := range g.Match {
			if _, ok := regs[t.Field]; ok {
				return ""
			}
		}
		for _, a := range g.Actions {
			for r := range registers(a.Src.Field) {
				if _, ok := regs[r]; ok && (a.Op == flow.OpMove || a.Op == flow.OpOutputReg) {
					return ""
				}
			}
		}
	}
	return "nothing reads the register from here on"
}

// leads reports whether a packet can come from f to a table.
func (k *knowledge) leads(f *flow.Flow, table uint8) bool {
	to := map[uint8]bool{}
	for _, a := range f.Actions {
		if a.Op == flow.OpGoto {
			to[a.Table] = true
		}
	}
	for i := range k.flows { // by rising table
		if !to[k.flows[i].Table] {
			continue
		}
		for _, a := range k.flows[i].Actions {
			if a.Op == flow.OpGoto {
				to[a.Table] = true
			}
		}
	}
	return to[table]
}

// notHere reports whether a flow of table ca is for a VM of this host that is
// not attached: table pa sends it to table local, where nobody has its MAC.
func (k *knowledge) notHere(f *flow.Flow) bool {
	var peer, mac flow.Value
	for _, a := range f.Actions {
		switch a.Dst.Field {
		case flow.Reg3:
			peer = a.Value
		case flow.XReg6:
			mac = a.Value
		}
	}
	here := false
	for i := range k.flows {
		g := &k.flows[i]
		switch flows.TableName(g.Table) {
		case "pa":
			t, ok := g.Match.Find(flow.Reg3)
			here = here || ok && t.Value == peer && len(g.Actions) == 1
		case "local":
			if t, ok := g.Match.Find(flow.EthDst); ok && t.Value == mac {
				return false
			}
		}
	}
	return here
}

func (k *knowledge) toRouter(f *flow.Flow) bool {
	return slices.ContainsFunc(f.Actions, func(a flow.Action) bool { return a.Op == flow.OpSet && a.Dst.Field == flow.Reg4 })
}

// idle says why it does not matter whether a flow does its n-th action.
func (k *knowledge) idle(f *flow.Flow, n int) string {
	a := f.Actions[n]
	if a.Op != flow.OpSet && a.Op != flow.OpMove {
		return ""
	}
	if a.Op == flow.OpSet && a.Dst.Field == flow.TunID && a.Value.IsZero() {
		return "only VMs' packets come here, whose tun_id is zero"
	}
	return k.unread(f, n)
}
