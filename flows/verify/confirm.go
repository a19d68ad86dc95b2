package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// confirmer sends the packets that the proof stumbled over through the model of
// the switch, which knows nothing of classes.
type confirmer struct {
	mu       sync.Mutex
	e        *engine
	switches map[*host]*sim.Switch
	desired  map[*host]*sim.Switch
	compiler *flows.Compiler
}

func (c *confirmer) init(e *engine) {
	c.e = e
	c.switches = make(map[*host]*sim.Switch)
	c.desired = make(map[*host]*sim.Switch)
}

// refute looks for a packet of a class that is not treated as wanted, and records
// it. stop says that no more classes of this walk need to be looked at.
func (e *engine) refute(w *walker, h *host, sp space, x *want, why string) (stop bool) {
	found, ok, known := realize(sp)
	if !known {
		e.unprove(Unproved{Host: h.name, Why: "no packet was found that shows whether this matters: " + why})
		return true
	}
	if !ok {
		return false // no packet is in the class
	}
	if w.odd != nil {
		if c := e.confirm.leaked(h, found, slices.Clone(w.way), w.odd); c != nil {
			e.record(c)
			return true
		}
		f := *w.odd.rule.flow
		e.unprove(Unproved{Host: w.odd.host.name, Flow: &f, Why: w.odd.rule.odd})
		return false
	}
	way := slices.Clone(w.way)
	c, err := e.confirm.check(h, found, way, why)
	if err != nil {
		e.unprove(Unproved{Host: h.name, Why: err.Error()})
		return true
	}
	e.record(c)
	return true
}

func (e *engine) record(c *Counterexample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed++
	key := faultKey(c)
	e.seen[key]++
	if e.seen[key] == 1 && len(e.found) < e.max {
		e.found = append(e.found, *c)
	}
}

// faultKey is the same for counterexamples of one fault.
func faultKey(c *Counterexample) string {
	s := c.FlowHost
	if c.Flow != nil {
		s += c.Flow.Text()
	}
	if c.Instead != nil {
		s += c.Instead.Text()
	}
	return s
}

// fills is how many packets of a class are tried: where a flow leaves something
// as it was, a packet may have what was to be written.
const fills = 8

// check sends packets of a class through the model and holds them to the oracle,
// and returns the first that is not treated as wanted.
func (c *confirmer) check(h *host, found cube, way []trod, why string) (*Counterexample, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.e
	var in sim.Input
	var v oracle.Verdict
	var j sim.Journey
	var diff string
	// Of flows of one priority a switch may take any: the second time those on the
	// way of the class come first.
search:
	for _, first := range [][]trod{nil, way} {
		net, err := c.network(first)
		if err != nil {
			return nil, err
		}
		tries := uint64(fills)
		for _, h := range e.hosts {
			if len(h.groups) > 0 {
				tries = 64 * fills // which bucket takes a packet hangs on all of it
			}
		}
		for fill := range tries {
			in = inputOf(found, fill)
			if v, err = c.send(net, h, &in, &j); err != nil {
				return nil, err
			}
			diff = differJourney(&v, &in.Frame, &j)
			if diff != "" && !h.ports[in.Port].Tunnel {
				for _, other := range e.oracle.SentAll(h.name, in.Port, in.Frame) {
					if differJourney(&other, &in.Frame, &j) == "" {
						diff = ""
					}
				}
			}
			if diff != "" {
				break search
			}
		}
	}
	if diff == "" {
		return nil, fmt.Errorf("internal error, please report it: the model does not confirm that %s: %s", in.Frame, why)
	}
	x := c.counterexample(h, &in, &v, diff)
	x.Got = e.journey(&j)
	c.blame(x, &j)
	return x, nil
}

// network returns the model of the network; the flows of first come before all
// others of their priority.
func (c *confirmer) network(first []trod) (*sim.Network, error) {
	var hosts []sim.Host
	for ph := range c.e.policy.Hosts() {
		h := c.e.byName[ph.Name]
		sw, err := c.modelOf(h)
		if err != nil {
			return nil, err
		}
		var ahead []flow.Flow
		for _, t := range first {
			if t.host == h {
				ahead = append(ahead, *t.rule.flow)
			}
		}
		if len(ahead) > 0 {
			if sw, err = sim.NewSwitch(append(ahead, sw.Flows()...), portsOf(h.view), h.raw...); err != nil {
				return nil, err
			}
		}
		sh := sim.Host{Name: h.name, Switch: sw}
		for _, a := range ph.ProviderAddresses {
			sh.Addresses = append(sh.Addresses, a.PA.Addr())
		}
		hosts = append(hosts, sh)
	}
	return sim.NewNetwork(hosts)
}

func (c *confirmer) modelOf(h *host) (*sim.Switch, error) {
	if sw := c.switches[h]; sw != nil {
		return sw, nil
	}
	var fs []flow.Flow
	for i := range h.flows {
		t := h.tables[h.flows[i].Table]
		if !t.rules[i-h.base[h.flows[i].Table]].any && sim.Check(&h.flows[i]) == nil && flow.GroupsThere(&h.flows[i], h.raw) {
			fs = append(fs, h.flows[i])
		}
	}
	ports := portsOf(h.view)
	if !h.given {
		ports = []sim.Port{h.ports[1]}
	}
	sw, err := sim.NewSwitch(fs, ports, h.raw...)
	c.switches[h] = sw
	return sw, err
}

// blame finds the flow at fault: the first that the packet would not meet if the
// switches had what the policy gives them. Else it is the last.
func (c *confirmer) blame(x *Counterexample, j *sim.Journey) {
	var last *flow.Flow
	for i := range j.Hops {
		hop := &j.Hops[i]
		h := c.e.byName[hop.Host]
		if f := hop.Result.Last(); f != nil {
			last, x.FlowHost = f, hop.Host
		}
		sw, err := c.desiredOf(h)
		if err != nil || !h.given {
			continue
		}
		var r sim.Result
		sw.Run(&hop.In, &r)
		for k := range max(len(r.Path), len(hop.Result.Path)) {
			var met, meant *flow.Flow
			if k < len(hop.Result.Path) {
				met = hop.Result.Path[k].Flow
			}
			if k < len(r.Path) {
				meant = r.Path[k].Flow
			}
			if met != nil && meant != nil && met.Equal(meant) {
				continue
			}
			c.name(x, h, met, meant)
			return
		}
	}
	if last != nil {
		c.name(x, c.e.byName[x.FlowHost], last, nil)
	}
}

func (c *confirmer) name(x *Counterexample, h *host, met, meant *flow.Flow) {
	x.FlowHost = h.name
	if met != nil {
		f := *met
		x.Flow = &f
		x.Owner, x.Source = c.owner(f.Cookie)
	}
	if meant != nil {
		f := *meant
		x.Instead = &f
		x.InsteadOwner, x.InsteadSource = c.owner(f.Cookie)
	}
}

func (c *confirmer) owner(cookie uint64) (string, tenant.Position) {
	if os := c.e.namer.Owners(cookie); len(os) == 1 {
		return os[0].Text, os[0].Source
	}
	return c.e.namer.OwnerText(cookie), tenant.Position{}
}

// desiredOf returns the model of a host with the flows that the policy gives it.
func (c *confirmer) desiredOf(h *host) (*sim.Switch, error) {
	if sw := c.desired[h]; sw != nil {
		return sw, nil
	}
	if c.compiler == nil {
		at := make(map[string][]flows.Attachment)
		for _, h := range c.e.hosts {
			at[h.name] = h.view.Attachments
		}
		place, _ := flows.Place(c.e.policy, at)
		c.compiler = flows.NewCompiler(c.e.policy, place)
	}
	res := c.compiler.Host(h.view)
	sw, err := sim.NewSwitch(res.Flows, portsOf(h.view), res.Groups...)
	c.desired[h] = sw
	return sw, err
}

// differJourney returns what distinguishes a journey from what is wanted.
func differJourney(v *oracle.Verdict, f *packet.Frame, j *sim.Journey) string {
	wanted, hops := 0, 1
	if v.Kind != oracle.Dropped && v.Kind != oracle.Asked {
		wanted = 1
	}
	if v.Tunnelled {
		hops = 2
	}
	switch {
	case j.Loops():
		return "it loops"
	case len(j.Deliveries) != wanted:
		return fmt.Sprintf("%d packets are delivered, not %d", len(j.Deliveries), wanted)
	case v.Tunnelled && (len(j.Hops) == 0 || len(j.Hops[0].Result.Outputs) != 1 || !v.Through(j.Hops[0].Result.Outputs[0].Outer)):
		return "it goes another way through the underlay"
	}
	if why := DifferPunt(v, j); why != "" {
		return why
	}
	if v.Kind == oracle.Asked {
		return ""
	}
	if v.Kind == oracle.Dropped {
		if v.Reason == oracle.NoTunnel && len(j.Losses) == 1 && j.Losses[0].Reason == sim.LossNoTunnel && j.Losses[0].Host == v.Host {
			return ""
		}
		if len(j.Losses) > 0 || len(j.Hops) == 0 {
			return "it is lost in the underlay"
		}
		last := &j.Hops[len(j.Hops)-1]
		switch {
		case last.Host != v.Host || len(j.Hops) != hops:
			return "it is dropped on host " + last.Host
		case DropOf(last.Result) == nil:
			return "it ends without a drop flow: " + last.Result.End.String()
		}
		if word, ok := flows.Reason(DropOf(last.Result).Cookie); !ok || word != dropWord(v, f) {
			return "it is dropped for another reason: " + word.String()
		}
		return ""
	}
	d := &j.Deliveries[0]
	switch {
	case len(j.Losses) > 0 || len(j.Hops) != hops:
		return "it becomes more than one packet"
	case d.Host != v.Host || d.Port != v.Port || d.Back != (v.Kind == oracle.Answered):
		return "it is delivered to another port"
	case d.Frame != v.Frame:
		return "it is delivered with other headers"
	}
	return ""
}

// journey says what became of a packet.
func (e *engine) journey(j *sim.Journey) string {
	var parts []string
	for _, d := range j.Deliveries {
		to := e.vmText(d.Host, d.Port)
		if to == "" {
			to = "no VM"
		}
		parts = append(parts, fmt.Sprintf("delivered to %s on host %s, port %d: %s", to, d.Host, d.Port, d.Frame))
	}
	for _, l := range j.Losses {
		parts = append(parts, fmt.Sprintf("lost in the underlay: %s: %s", l.Outer, l.Reason))
	}
	if len(parts) == 0 && len(j.Hops) > 0 {
		h := &j.Hops[len(j.Hops)-1]
		end, table := h.Result.Final()
		text := fmt.Sprintf("dropped on host %s in table %s", h.Host, flows.TableName(table))
		if f := h.Result.Last(); f != nil && end == sim.EndDrop {
			if r, ok := flows.Reason(f.Cookie); ok {
				text += ": " + r.Text()
			}
		} else {
			text += ": " + end.String()
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// Shapes are the kinds of packets that there are, by what their words may hold.
// Between them they have every packet.
var shapes = func() (all []shape) {
	zeroWords := func(from, to int) (ts []term) {
		for w := from; w < to; w++ {
			ts = append(ts, term{uint8(w), all64, 0})
		}
		return ts
	}
	typ := func(t uint16) term { return term{words.EthSrc, 0xffff << 48, uint64(t) << 48} }
	join := func(parts ...[]term) (ts []term) {
		for _, p := range parts {
			ts = append(ts, p...)
		}
		return ts
	}
	noARP := zeroWords(words.ARPAddrs, words.NDTarget)
	noND := zeroWords(words.NDTarget, words.Count)
	no6 := zeroWords(words.IPv6Src, words.Transit)
	noIP := append(zeroWords(words.IPv4, words.Transit), term{words.Transit, all64, 0})
	no4 := []term{{words.IPv4, all64, 0}}
	proto := func(n uint64) term { return term{words.Transit, 0xff, n} }
	ports := term{words.Transit, low32 << 16, 0} // there are none
	icmp := term{words.Transit, 0xffff << 48, 0} // likewise
	nd := func(kind uint64) term { return term{words.Transit, 0xffff << 48, kind << 48} }
	for _, tag := range []term{{words.EthDst, tagBits, 0}, {words.EthDst, 0xf<<60&^tagPresent | tagPresent, tagPresent}} {
		add := func(negs []cube, ts ...term) { all = append(all, shape{append(ts, tag), negs}) }
		v4 := join([]term{typ(packet.TypeIPv4)}, no6, noARP, noND)
		add(nil, join(v4, []term{proto(17), icmp})...)
		add(nil, join(v4, []term{proto(1), ports})...)
		add(nil, join(v4, []term{proto(6), icmp})...)
		add(nil, join(v4, []term{ports, icmp})...)
		add(nil, join([]term{typ(packet.TypeARP), {words.ARPSHA, 0xff00 << 48, 0}, {words.ARPTHA, 0xffff << 48, 0}}, noIP, noND)...)
		v6 := join([]term{typ(packet.TypeIPv6)}, no4, noARP)
		add(nil, join(v6, noND, []term{proto(17), icmp})...)
		add(nil, join(v6, noND, []term{proto(6), icmp})...)
		add([]cube{{nd(135)}, {nd(136)}}, join(v6, noND, []term{proto(58), ports})...)
		for _, m := range []struct {
			kind         uint64
			option, none uint8
			optionType   uint64
		}{{135, words.NDSLL, words.NDTLL, 1}, {136, words.NDTLL, words.NDSLL, 2}} {
			ts := join(v6, []term{proto(58), ports, nd(m.kind), {m.none, all64, 0}, {m.option, tagBits, 0}})
			left := term{m.option, all64, 0}
			add(nil, append(slices.Clip(ts), left, term{words.NDExt, all64 &^ low32, 0})...)
			add([]cube{{left}}, append(ts, term{words.NDExt, all64 &^ low32, m.optionType << 32})...)
		}
		add(nil, join(v6, noND, []term{ports, icmp})...)
		add([]cube{{typ(packet.TypeIPv4)}, {typ(packet.TypeARP)}, {typ(packet.TypeIPv6)}}, join(noIP, noARP, noND)...)
	}
	return all
}()

type shape struct {
	terms []term
	negs  []cube
}

// usual is what a packet holds where it may hold anything.
var usual = [words.Count]uint64{
	words.InPort:   1,
	words.TunAddrs: 0xc0000201_c0000202,
	words.Tun6Src:  0x20010db8 << 32, words.Tun6Src + 1: 0xa01,
	words.Tun6Dst: 0x20010db8 << 32, words.Tun6Dst + 1: 0xa02,
	words.EthDst:  0x02ff_ffff_fffe,
	words.EthSrc:  0x88cc_02ff_ffff_fffd,
	words.IPv4:    0xc0000209_c000020a,
	words.IPv6Src: 0x20010db8 << 32, words.IPv6Src + 1: 1,
	words.IPv6Dst: 0x20010db8 << 32, words.IPv6Dst + 1: 2,
	words.Transit:  253 | 64<<ttlShift | 1000<<16 | 53<<32,
	words.ARPAddrs: 0xc0000209_c000020a,
	words.ARPSHA:   1<<48 | 0x02ff_ffff_fffd,
}

// realize finds packets of a space, as real packets are.
func realize(sp space) (packets cube, ok, known bool) {
	known = true
	for i := range shapes {
		s := &shapes[i]
		part, some := sp.narrow(s.terms...)
		for _, n := range s.negs {
			if some {
				part, some = part.without(n...)
			}
		}
		if !some {
			continue
		}
		c, found, sure := part.witness()
		if found {
			return c, true, true
		}
		known = known && sure
	}
	return nil, false, known
}

// inputOf returns a packet of a cube: where it may be anything, the usual for
// fill 0, and something else for each other fill.
func inputOf(c cube, fill uint64) sim.Input {
	w := usual
	for word := range w {
		if fill > 0 && word != words.InPort {
			w[word] = mix(mix(hashStart, fill), uint64(word))
		}
	}
	for _, t := range c {
		w[t.word] = w[t.word]&^t.mask | t.val
	}
	in := sim.Input{Port: uint32(w[words.InPort]), Outer: packet.Outer{
		Src: addr4(uint32(w[words.TunAddrs] >> 32)), Dst: addr4(uint32(w[words.TunAddrs])), Key: uint32(w[words.TunID])}}
	if w[words.TunAddrs] == 0 {
		in.Outer.Src, in.Outer.Dst = addr16(w[words.Tun6Src], w[words.Tun6Src+1]), addr16(w[words.Tun6Dst], w[words.Tun6Dst+1])
	}
	f := &in.Frame
	f.Dst, f.Src, f.Type = toMAC(w[words.EthDst]), toMAC(w[words.EthSrc]), uint16(w[words.EthSrc]>>48)
	if w[words.EthDst]&tagPresent != 0 {
		f.Tagged, f.VID = true, uint16(w[words.EthDst]>>48)&0xfff
	}
	switch f.Type {
	case packet.TypeARP:
		f.ARP = packet.ARP{Op: uint16(w[words.ARPSHA] >> 48), SHA: toMAC(w[words.ARPSHA]), THA: toMAC(w[words.ARPTHA]),
			SPA: addr4(uint32(w[words.ARPAddrs] >> 32)), TPA: addr4(uint32(w[words.ARPAddrs]))}
		return in
	case packet.TypeIPv4:
		f.IP.Src, f.IP.Dst = addr4(uint32(w[words.IPv4]>>32)), addr4(uint32(w[words.IPv4]))
	case packet.TypeIPv6:
		f.IP.Src, f.IP.Dst = addr16(w[words.IPv6Src], w[words.IPv6Src+1]), addr16(w[words.IPv6Dst], w[words.IPv6Dst+1])
	default:
		return in
	}
	x := w[words.Transit]
	f.IP.Proto, f.IP.TTL = uint8(x), uint8(x>>ttlShift)
	switch {
	case f.HasL4(packet.ProtoTCP), f.HasL4(packet.ProtoUDP):
		f.L4.Src, f.L4.Dst = uint16(x>>16), uint16(x>>32)
	case f.HasICMP(), f.HasICMPv6():
		f.L4.Type, f.L4.Code = uint8(x>>48), uint8(x>>56)
		if f.HasND() {
			f.ND = packet.ND{Target: addr16(w[words.NDTarget], w[words.NDTarget+1]), SLL: toMAC(w[words.NDSLL]), TLL: toMAC(w[words.NDTLL]),
				Flags: uint32(w[words.NDExt])}
		}
	}
	return in
}

func toMAC(v uint64) tenant.MAC {
	return tenant.MAC{byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

func addr16(hi, lo uint64) netip.Addr {
	return netip.AddrFrom16([16]byte(flow.Value{Hi: hi, Lo: lo}.Bytes(16)))
}
