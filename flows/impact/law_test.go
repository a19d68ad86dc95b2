package impact_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// brute judges every pair of VMs by the oracle alone.
type brute struct {
	state  impact.State
	oracle *oracle.Oracle
}

func newBrute(s impact.State) brute {
	hosts := map[string]oracle.HostState{}
	for _, v := range s.Views {
		h := oracle.HostState{Tunnels: oracle.Tunnels{Any: v.Tunnels.Flow != 0, PerVSID: v.Tunnels.PerVSID != nil, VSIDs: map[tenant.VSID]bool{}}}
		for id := range v.Tunnels.PerVSID {
			h.Tunnels.VSIDs[id] = true
		}
		for _, a := range v.Attachments {
			h.Attachments = append(h.Attachments, oracle.Attachment{IfaceID: a.IfaceID, Port: a.OFPort})
		}
		hosts[v.Name] = h
	}
	return brute{s, oracle.New(s.Policy, hosts)}
}

type vmID struct {
	domain tenant.RDID
	iface  string
	ca     tenant.CA
}

// way is how a packet goes; the zero way: it does not arrive.
type way struct {
	from, to, outer string
	mac             [2]tenant.MAC
	ttl             uint8
	vsid            tenant.VSID
}

func (b brute) send(from tenant.LookupRecord, to netip.Addr, echo bool) (oracle.Verdict, string) {
	host, port := b.oracle.Place(from.IfaceID)
	if port == 0 {
		return oracle.Verdict{}, ""
	}
	f := packet.Frame{Src: from.MAC, Dst: from.MAC, Type: packet.TypeIPv4, IP: packet.IP{Src: from.CA.Addr(), Dst: to, TTL: 64, Proto: packet.ProtoUDP}}
	if from.CA.Addr().Is4() != to.Is4() {
		return oracle.Verdict{}, host
	}
	if to.Is6() {
		f.Type = packet.TypeIPv6
	}
	switch {
	case echo && to.Is6():
		f.IP.Proto, f.L4.Type = packet.ProtoICMPv6, packet.EchoRequest6
	case echo:
		f.IP.Proto, f.L4.Type = packet.ProtoICMP, packet.EchoRequest
	}
	return b.oracle.Sent(host, port, f), host
}

func wayOf(v oracle.Verdict, from string) way {
	w := way{from: from, to: v.Host, mac: [2]tenant.MAC{v.Frame.Src, v.Frame.Dst}, ttl: v.Frame.IP.TTL}
	if v.Tunnelled {
		w.outer, w.vsid = fmt.Sprint(v.Outer.Src, v.Outer.Dst), v.Outer.VSID()
	}
	return w
}

func (b brute) pairs() map[[2]vmID]way {
	out := map[[2]vmID]way{}
	for d := range b.state.Policy.RoutingDomains() {
		var all []tenant.LookupRecord
		for s := range b.state.Policy.SubnetsOf(d.RDID) {
			all = slices.AppendSeq(all, b.state.Policy.RecordsOf(s.VSID))
		}
		for _, from := range all {
			for _, to := range all {
				v, host := b.send(from, to.CA.Addr(), false)
				if at, _ := b.oracle.VM(v.Host, v.Port); from.CA != to.CA && v.Kind == oracle.Delivered && at.IfaceID == to.IfaceID {
					out[[2]vmID{{d.RDID, from.IfaceID, from.CA}, {d.RDID, to.IfaceID, to.CA}}] = wayOf(v, host)
				}
			}
		}
	}
	return out
}

func (b brute) gateways() map[vmID]map[string]way {
	out := map[vmID]map[string]way{}
	for r := range b.state.Policy.Records() {
		n, _ := b.state.Policy.Subnet(r.VSID)
		id := vmID{r.RDID, r.IfaceID, r.CA}
		for _, g := range n.Gateways {
			if v, host := b.send(r, g.Addr(), true); v.Kind == oracle.Answered {
				if out[id] == nil {
					out[id] = map[string]way{}
				}
				out[id][g.String()] = wayOf(v, host)
			}
		}
	}
	return out
}

// routeTargets returns an address for each prefix of a route of either policy, that
// no more specific prefix has, and no VM or gateway, where there is one.
func routeTargets(p, q *tenant.Policy) map[tenant.RDID]map[netip.Prefix]netip.Addr {
	out := map[tenant.RDID]map[netip.Prefix]netip.Addr{}
	prefixes, taken := map[tenant.RDID][]netip.Prefix{}, map[tenant.RDID]map[netip.Addr]bool{}
	take := func(id tenant.RDID, a tenant.CA) {
		if taken[id] == nil {
			taken[id] = map[netip.Addr]bool{}
		}
		taken[id][a.Addr()] = true
	}
	for _, p := range []*tenant.Policy{p, q} {
		for s := range p.Subnets() {
			for _, x := range s.Prefixes {
				prefixes[s.RDID] = append(prefixes[s.RDID], x.Prefix())
			}
			for _, g := range s.Gateways {
				take(s.RDID, g)
			}
		}
		for r := range p.Records() {
			take(r.RDID, r.CA)
		}
		for r := range p.Routes() {
			prefixes[r.RDID] = append(prefixes[r.RDID], r.Prefix.Prefix())
			if out[r.RDID] == nil {
				out[r.RDID] = map[netip.Prefix]netip.Addr{}
			}
			out[r.RDID][r.Prefix.Prefix()] = netip.Addr{}
		}
	}
	for id, all := range out {
		for p := range all {
			// The first address, or one next to where something more specific ends.
			tries := []netip.Addr{p.Addr()}
			for _, q := range prefixes[id] {
				if p.Contains(q.Addr()) && q.Bits() > p.Bits() {
					a := q.Addr()
					for q.Contains(a) && a.BitLen()-q.Bits() <= 16 {
						a = a.Next()
					}
					if q.Contains(a) && a.Is6() { // the subnet's /64
						b := a.As16()
						b[7]++
						a = netip.AddrFrom16(b)
					}
					tries = append(tries, a)
				}
			}
			for i := 0; i < len(tries); i++ {
				a := tries[i]
				free := p.Contains(a) && !taken[id][a] && !slices.ContainsFunc(prefixes[id], func(q netip.Prefix) bool { return q.Bits() > p.Bits() && q.Contains(a) })
				if free {
					all[p] = a
					break
				}
				if p.Contains(a) && taken[id][a] {
					tries = append(tries, a.Next())
				}
			}
		}
	}
	return out
}

// routes says how packets go to what customer routes lead to.
func (b brute) routes(targets map[tenant.RDID]map[netip.Prefix]netip.Addr) map[string]way {
	out := map[string]way{}
	for r := range b.state.Policy.Records() {
		for p, a := range targets[r.RDID] {
			if !a.IsValid() || a.IsMulticast() {
				continue
			}
			if v, host := b.send(r, a, false); v.Kind == oracle.Delivered {
				out[fmt.Sprint(r.RDID, r.IfaceID, r.CA, p)] = wayOf(v, host)
			}
		}
	}
	return out
}

func counts[K comparable](before, after map[K]way) (c impact.Counts) {
	for k, b := range before {
		a, still := after[k]
		if !still {
			c.Lost++
			continue
		}
		path, mac, ttl := b.from != a.from || b.to != a.to || b.outer != a.outer, b.mac != a.mac, b.ttl != a.ttl
		vsid := b.vsid != a.vsid && b.outer != "" && a.outer != ""
		for _, f := range []struct {
			is bool
			to *int
		}{{path, &c.Path}, {mac, &c.MAC}, {ttl, &c.TTL}, {vsid, &c.VSID}, {path || mac || ttl || vsid, &c.Changed}} {
			if f.is {
				*f.to++
			}
		}
	}
	for k := range after {
		if _, old := before[k]; !old {
			c.Gained++
		}
	}
	return c
}

func flat(m map[vmID]map[string]way) map[string]way {
	out := map[string]way{}
	for id, ways := range m {
		for to, w := range ways {
			out[fmt.Sprint(id, to)] = w
		}
	}
	return out
}

func sum(rows []impact.Row) (c impact.Counts) {
	for _, r := range rows {
		c.Lost += r.Lost
		c.Gained += r.Gained
		c.Changed += r.Changed
		c.Path += r.Path
		c.MAC += r.MAC
		c.TTL += r.TTL
		c.VSID += r.VSID
	}
	return c
}

// What is reported is what all pairs show that are judged one by one.
func TestLikeBruteForce(t *testing.T) {
	var seen impact.Counts
	rapid.Check(t, func(t *rapid.T) {
		before, after := states(t)
		r := impact.Between(before, after, impact.Options{Max: 1 << 20})
		b, a := newBrute(before), newBrute(after)
		if want := counts(b.pairs(), a.pairs()); r.VMs != want {
			t.Fatalf("%+v\nby brute force %+v", r.VMs, want)
		}
		var routers impact.Counts
		for _, row := range r.Destinations {
			if row.To[:6] == "router" {
				routers = sum([]impact.Row{{Counts: routers}, row})
			}
		}
		if want := counts(flat(b.gateways()), flat(a.gateways())); routers != want {
			t.Fatalf("gateways %+v\nby brute force %+v", routers, want)
		}
		routes := r.Destinations
		routes = slices.DeleteFunc(slices.Clone(routes), func(row impact.Row) bool { return strings.HasPrefix(row.To, "router") })
		targets := routeTargets(before.Policy, after.Policy)
		if want := counts(b.routes(targets), a.routes(targets)); sum(routes) != want {
			t.Fatalf("routes %+v\nby brute force %+v", sum(routes), want)
		}
		for what, rows := range map[string][]impact.Row{"subnets": r.Subnets, "hosts": r.Hosts} {
			if got := sum(rows); got != r.VMs {
				t.Fatalf("the rows of %s have %+v of %+v", what, got, r.VMs)
			}
		}
		if sum(r.Destinations) != r.Others {
			t.Fatalf("the rows have %+v of %+v", sum(r.Destinations), r.Others)
		}
		listed := map[impact.Change]int{}
		for _, p := range r.Listed {
			listed[p.Change&(impact.Lost|impact.Gained)]++
			if p.Before == p.After {
				t.Fatalf("nothing has changed: %+v", p)
			}
		}
		if listed[impact.Lost] != r.VMs.Lost+r.Others.Lost || listed[impact.Gained] != r.VMs.Gained+r.Others.Gained || listed[0] != r.VMs.Changed+r.Others.Changed {
			t.Fatalf("listed %v of %+v and %+v", listed, r.VMs, r.Others)
		}
		if r.Breaches != listed[impact.Lost] {
			t.Fatalf("%d breaches, %d lost", r.Breaches, listed[impact.Lost])
		}
		seen = sum([]impact.Row{{Counts: seen}, {Counts: r.VMs}})
	})
	if seen.Lost == 0 || seen.Gained == 0 || seen.Path == 0 || seen.MAC == 0 || seen.TTL == 0 || seen.VSID == 0 {
		t.Errorf("the test has not seen all changes: %+v", seen)
	}
}

// A change back undoes what the change did; no change does nothing.
func TestSymmetry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := states(t)
		if r := impact.Between(before, before, impact.Options{Max: 9}); !r.Empty() || r.Domains > 0 || len(r.Listed) > 0 {
			t.Fatalf("no change does %+v", r)
		}
		there, back := impact.Between(before, after, impact.Options{}), impact.Between(after, before, impact.Options{})
		turn := func(c impact.Counts) impact.Counts { c.Lost, c.Gained = c.Gained, c.Lost; return c }
		if there.VMs != turn(back.VMs) || there.Others != turn(back.Others) {
			t.Fatalf("there %+v, %+v\nback %+v, %+v", there.VMs, there.Others, back.VMs, back.Others)
		}
		for i := range back.Flows {
			back.Flows[i].Added, back.Flows[i].Deleted = back.Flows[i].Deleted, back.Flows[i].Added
		}
		if !slices.Equal(there.Flows, back.Flows) {
			t.Fatalf("flows there %v, back %v", there.Flows, back.Flows)
		}
	})
}

// The flows that are counted are those that a compilation of each host shows.
func TestFlowsLikeCompile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := states(t)
		all := func(s impact.State) map[string][]flow.Flow {
			at := map[string][]flows.Attachment{}
			for _, v := range s.Views {
				at[v.Name] = v.Attachments
			}
			place, _ := flows.Place(s.Policy, at)
			out := map[string][]flow.Flow{}
			for _, v := range s.Views {
				res := flows.Compile(s.Policy, place, v)
				if len(res.Conflicts) > 0 {
					t.Skip("conflicts")
				}
				out[v.Name] = res.Flows
			}
			return out
		}
		b, a := all(before), all(after)
		names := map[string]bool{}
		for name := range b {
			names[name] = true
		}
		for name := range a {
			names[name] = true
		}
		var want []impact.HostFlows
		for _, name := range slices.Sorted(maps.Keys(names)) {
			h := impact.HostFlows{Host: name}
			entries := map[string]flow.Flow{}
			entry := func(f flow.Flow) string { return fmt.Sprint(f.Table, f.Priority, f.Match) }
			for _, f := range b[name] {
				entries[entry(f)] = f
			}
			for _, f := range a[name] {
				old, there := entries[entry(f)]
				switch {
				case !there:
					h.Added++
				case !old.Equal(&f):
					h.Changed++
				}
				delete(entries, entry(f))
			}
			if h.Deleted = len(entries); h.Added+h.Changed+h.Deleted > 0 {
				want = append(want, h)
			}
		}
		if got := impact.Between(before, after, impact.Options{}).Flows; !slices.Equal(got, want) {
			t.Fatalf("%v\nby compiling %v", got, want)
		}
	})
}
