package verify_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// small returns two tenants with the same addresses, each with two subnets and
// VMs on each of three hosts.
func small(tb testing.TB) (*tenant.Policy, []flows.HostView) {
	tb.Helper()
	p, views := large(tb, 3, 2, 2, 24)
	return p, views
}

func verifyAll(tb testing.TB, n verify.Network) *verify.Report {
	tb.Helper()
	r, err := verify.Verify(context.Background(), n, verify.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// find returns the place of the first flow of a table that is fit.
func find(tb testing.TB, fs []flow.Flow, table string, fit func(*flow.Flow) bool) int {
	tb.Helper()
	for i := range fs {
		if flows.TableName(fs[i].Table) == table && (fit == nil || fit(&fs[i])) {
			return i
		}
	}
	tb.Fatalf("no such flow in table %s", table)
	return -1
}

func drops(why flows.DropReason) func(*flow.Flow) bool {
	return func(f *flow.Flow) bool { r, ok := flows.Reason(f.Cookie); return ok && r == why }
}

func sets(f flow.Field) func(*flow.Flow) bool {
	return func(x *flow.Flow) bool {
		return slices.ContainsFunc(x.Actions, func(a flow.Action) bool { return a.Op == flow.OpSet && a.Dst.Field == f })
	}
}

func has(op flow.Op) func(*flow.Flow) bool {
	return func(x *flow.Flow) bool {
		return slices.ContainsFunc(x.Actions, func(a flow.Action) bool { return a.Op == op })
	}
}

func tests(fs ...flow.Field) func(*flow.Flow) bool {
	return func(x *flow.Flow) bool {
		return len(x.Actions) > 0 && !slices.ContainsFunc(fs, func(f flow.Field) bool { _, ok := x.Match.Find(f); return !ok })
	}
}

// plant is a fault in the flows of host h000.
type plant struct {
	name  string
	table string // where the fault is
	fit   func(*flow.Flow) bool
	do    func(fs []flow.Flow, i int) []flow.Flow
}

func lost(fs []flow.Flow, i int) []flow.Flow { return slices.Delete(fs, i, i+1) }

// changed lets do change a copy of the flow.
func changed(do func(f *flow.Flow)) func([]flow.Flow, int) []flow.Flow {
	return func(fs []flow.Flow, i int) []flow.Flow {
		f := &fs[i]
		f.Match, f.Actions = slices.Clone(f.Match), slices.Clone(f.Actions)
		do(f)
		return fs
	}
}

func value(field flow.Field, v func(flow.Value) flow.Value) func([]flow.Flow, int) []flow.Flow {
	return changed(func(f *flow.Flow) {
		for n := range f.Actions {
			if a := &f.Actions[n]; a.Op == flow.OpSet && a.Dst.Field == field {
				a.Value = v(a.Value)
			}
		}
	})
}

func tested(field flow.Field, do func(t *flow.Test)) func([]flow.Flow, int) []flow.Flow {
	return changed(func(f *flow.Flow) {
		for n := range f.Match {
			if f.Match[n].Field == field {
				do(&f.Match[n])
			}
		}
	})
}

func untested(field flow.Field) func([]flow.Flow, int) []flow.Flow {
	return changed(func(f *flow.Flow) {
		f.Match = slices.DeleteFunc(f.Match, func(t flow.Test) bool { return t.Field == field })
	})
}

func without(op flow.Op) func([]flow.Flow, int) []flow.Flow {
	return changed(func(f *flow.Flow) {
		f.Actions = slices.DeleteFunc(f.Actions, func(a flow.Action) bool { return a.Op == op })
	})
}

func one(v flow.Value) flow.Value { v.Lo ^= 1; return v }

// foreign adds a flow that is not ours.
func foreign(priority uint16, match flow.Match, actions ...flow.Action) func([]flow.Flow, int) []flow.Flow {
	return func(fs []flow.Flow, i int) []flow.Flow {
		return append(fs, flow.Flow{Table: fs[i].Table, Priority: priority, Match: match.Canonical(), Actions: actions})
	}
}

var isIP = flow.Exact(flow.EthType, flow.Uint(0x0800))

func plants() []plant {
	addr := func(s string) flow.Value { return flow.Addr(netip.MustParseAddr(s)) }
	swapped := func(fs []flow.Flow, i int) []flow.Flow { // the MACs of two records
		for k := i + 1; ; k++ {
			a, b := fs[i].Actions, fs[k].Actions
			if fs[k].Table == fs[i].Table && sets(flow.Reg3)(&fs[k]) {
				mac := func(as []flow.Action) int {
					return slices.IndexFunc(as, func(a flow.Action) bool { return a.Op == flow.OpSet && a.Dst.Field == flow.XReg6 })
				}
				a, b = slices.Clone(a), slices.Clone(b)
				a[mac(a)], b[mac(b)] = b[mac(b)], a[mac(a)]
				fs[i].Actions, fs[k].Actions = a, b
				return fs
			}
		}
	}
	return []plant{
		{"lost record", "ca", sets(flow.Reg3), lost},
		{"lost gateway", "ca", sets(flow.Reg4), lost},
		{"lost route", "route", has(flow.OpMove), lost},
		{"lost port", "classify", tests(flow.InPort), lost},
		{"lost drop flow for tags", "classify", drops(flows.DropVMTagged), lost},
		{"lost drop flow for tags from the tunnel", "classify", drops(flows.DropTunnelTagged), lost},
		{"lost drop flow for multicast", "route", drops(flows.DropMulticast), lost},
		{"lost drop flow for spoofed MACs", "port-security", drops(flows.DropSourceMAC), lost},
		{"lost drop flow for TTL 1", "act", drops(flows.DropTTL), lost},
		{"lost drop flow back to the sender", "local", drops(flows.DropToItself), lost},
		{"lost miss", "ca", drops(flows.DropUnknownCA), lost},
		{"lost peer", "pa", sets(flow.TunDst), lost},
		{"wrong PA", "pa", sets(flow.TunDst), value(flow.TunDst, func(flow.Value) flow.Value { return addr("172.16.0.77") })},
		{"another host's PA", "pa", func(f *flow.Flow) bool {
			return slices.Contains(f.Actions, flow.Set(flow.All(flow.TunDst), addr("172.16.0.2")))
		},
			value(flow.TunDst, func(flow.Value) flow.Value { return addr("172.16.0.3") })},
		{"wrong outer source", "pa", sets(flow.TunSrc), value(flow.TunSrc, func(flow.Value) flow.Value { return addr("172.16.0.99") })},
		{"swapped MACs", "ca", sets(flow.Reg3), swapped},
		{"wrong VSID key", "ca", sets(flow.Reg3), value(flow.Reg2, one)},
		{"VM on the wrong host", "ca", sets(flow.Reg3), value(flow.Reg3, one)},
		{"key not from the VSID", "encap", has(flow.OpOutput), without(flow.OpMove)},
		{"wrong key from the tunnel", "tunnel-vsid", sets(flow.Reg2), value(flow.Reg2, one)},
		{"widened mask of the key", "tunnel-vsid", sets(flow.Reg2), tested(flow.TunID, func(t *flow.Test) { t.Mask = flow.Uint(0xfffffe00); t.Value = t.Value.And(t.Mask) })},
		{"FlowID not ignored", "tunnel-vsid", sets(flow.Reg2), tested(flow.TunID, func(t *flow.Test) { t.Mask = flow.Uint(0xffffffff) })},
		{"tunnel source too wide", "tunnel-source", tests(flow.TunSrc), tested(flow.TunSrc, func(t *flow.Test) { t.Mask = flow.Uint(0xffffff00); t.Value = t.Value.And(t.Mask) })},
		{"tunnel source not tested", "tunnel-source", tests(flow.TunSrc), untested(flow.TunSrc)},
		{"port security without the CA", "port-security", tests(flow.IPv4Src), untested(flow.IPv4Src)},
		{"port security with a prefix", "port-security", tests(flow.IPv4Src), tested(flow.IPv4Src, func(t *flow.Test) { t.Mask = flow.Uint(0xffffff00); t.Value = t.Value.And(t.Mask) })},
		{"port security without the MAC", "port-security", tests(flow.IPv4Src), untested(flow.EthSrc)},
		{"ARP replies let through", "port-security", tests(flow.ARPOp), untested(flow.ARPOp)},
		{"wrong in_port", "classify", tests(flow.InPort), tested(flow.InPort, func(t *flow.Test) { t.Value.Lo += 1000 })},
		{"another tenant's domain", "classify", sets(flow.Reg0), value(flow.Reg0, one)},
		{"missing TTL decrement", "act", has(flow.OpDecTTL), without(flow.OpDecTTL)},
		{"TTL decremented twice", "act", has(flow.OpDecTTL), changed(func(f *flow.Flow) { f.Actions = append([]flow.Action{flow.DecTTL()}, f.Actions...) })},
		{"ARP answer with wrong MAC", "act", sets(flow.ARPOp), changed(func(f *flow.Flow) {
			f.Actions = slices.Insert(f.Actions, len(f.Actions)-1, flow.Set(flow.All(flow.ARPSHA), flow.Uint(0x020000000001)))
		})},
		{"router's MAC not written", "act", has(flow.OpDecTTL), without(flow.OpSet)},
		{"output to the wrong port", "local", sets(flow.Reg5), value(flow.Reg5, one)},
		{"sent to two ports", "local", sets(flow.Reg5), changed(func(f *flow.Flow) { f.Actions = slices.Insert(f.Actions, 0, flow.Output(101)) })},
		{"flooded into the tunnel", "local", sets(flow.Reg5), changed(func(f *flow.Flow) { f.Actions = slices.Insert(f.Actions, 0, flow.Output(1)) })},
		{"extra goto", "port-security", drops(flows.DropSourceCA), changed(func(f *flow.Flow) { f.Actions = []flow.Action{flow.Goto(15)} })},
		{"wrong goto", "port-security", tests(flow.IPv4Src), changed(func(f *flow.Flow) { f.Actions = []flow.Action{flow.Goto(20)} })},
		{"shadowing priority", "route", drops(flows.DropNoRoute), changed(func(f *flow.Flow) { f.Priority = 65535 })},
		{"shadowed by its own drop", "port-security", tests(flow.IPv4Src), changed(func(f *flow.Flow) { f.Priority = 5 })},
		{"wrong reason", "ca", drops(flows.DropUnknownCA), changed(func(f *flow.Flow) { f.Cookie ^= 1 << 40 })},
		{"foreign flow steals IP", "classify", nil, foreign(40000, flow.Match{isIP}, flow.Output(102))},
		{"foreign flow of one VM", "route", nil, foreign(40000, flow.Match{flow.Exact(flow.InPort, flow.Uint(103)), isIP})},
		{"foreign flow of one port of TCP", "act", nil, foreign(40000, flow.Match{isIP, flow.Exact(flow.IPProto, flow.Uint(6)), flow.Exact(flow.TCPDst, flow.Uint(22))})},
		{"foreign flow of IPv6", "port-security", nil, foreign(40000, flow.Match{flow.Exact(flow.EthType, flow.Uint(0x86dd))}, flow.Output(101))},
		{"foreign flow of equal priority", "ca", nil, func(fs []flow.Flow, i int) []flow.Flow {
			g := fs[i]
			g.Cookie, g.Match, g.Actions = 0, flow.Match{isIP}, nil
			return append(fs, g)
		}},
		{"foreign flow for a port that is no VM's", "classify", nil, foreign(40000, flow.Match{flow.Exact(flow.InPort, flow.Uint(999))}, flow.Output(101))},
		{"foreign flow by an odd mask", "local", nil, foreign(40000, flow.Match{flow.Masked(flow.EthDst, flow.Uint(3), flow.Uint(3))})},
	}
}

// Each planted fault is found, on the host where it is.
func TestPlantedFaults(t *testing.T) {
	p, views := small(t)
	if r := verifyAll(t, verify.Compiled(p, views)); !r.Proved {
		t.Fatalf("not proved without a fault: %v %v", r.Counterexamples, r.Unproved)
	}
	for _, c := range plants() {
		t.Run(c.name, func(t *testing.T) {
			n := verify.Compiled(p, views)
			fs := slices.Clone(n.Hosts[0].Flows)
			n.Hosts[0].Flows = c.do(fs, find(t, fs, c.table, c.fit))
			r := verifyAll(t, n)
			if r.Proved || len(r.Counterexamples) == 0 || len(r.Unproved) > 0 {
				t.Fatalf("proved %v, %d counterexamples, unproved: %v", r.Proved, len(r.Counterexamples), r.Unproved)
			}
			x := &r.Counterexamples[0]
			if x.FlowHost != "h000" || x.Flow == nil && x.Instead == nil || x.Expected == "" || x.Got == "" {
				t.Errorf("named: %s", x)
			}
			if strings.HasPrefix(c.name, "foreign") && (x.Owner != "foreign" || len(r.Remarks) == 0) {
				t.Errorf("the foreign flow is not named: %s, remarks %v", x, r.Remarks)
			}
		})
	}
}

// A VM that the policy has no more: its flows are found wherever they are left.
func TestStaleFlows(t *testing.T) {
	old, oldViews := small(t)
	gone, _ := old.RecordByIfaceID("0-0-1")
	spec := largeSpec(3, 2, 2, 24)
	for d := range spec.RoutingDomains {
		for s := range spec.RoutingDomains[d].Subnets {
			sub := &spec.RoutingDomains[d].Subnets[s]
			sub.Records = slices.DeleteFunc(slices.Clone(sub.Records), func(r tenant.RecordSpec) bool { return r.IfaceID == gone.IfaceID })
		}
	}
	p := tenanttest.New(t, spec)
	before := verify.Compiled(old, oldViews)
	after := verify.Compiled(p, oldViews)
	stray := func(u verify.Unmet) bool { return u.Stray }
	if r := verifyAll(t, after); !r.Proved || slices.ContainsFunc(r.Unmet, stray) {
		t.Fatalf("not proved: %v %v, unmet %v", r.Counterexamples, r.Unproved, r.Unmet)
	}
	found := map[string]int{}
	for i := range after.Hosts {
		n := verify.Network{Policy: p, Hosts: slices.Clone(after.Hosts)}
		n.Hosts[i].Flows = slices.Clone(n.Hosts[i].Flows)
		for _, f := range before.Hosts[i].Flows {
			if slices.ContainsFunc(after.Hosts[i].Flows, func(g flow.Flow) bool { return g.SameEntry(&f) }) {
				continue
			}
			n.Hosts[i].Flows = append(n.Hosts[i].Flows, f)
			one := verify.Network{Policy: p, Hosts: slices.Clone(after.Hosts)}
			one.Hosts[i].Flows = append(slices.Clone(after.Hosts[i].Flows), f)
			// Alone, the flows for what the VM sends do no harm (that to the controller
			// is looked at for whoever sends): without the first,
			// which knows its port, no packet meets the others; and without the
			// others all that the first lets in is dropped for the same reason.
			r := verifyAll(t, one)
			if table := flows.TableName(f.Table); !r.Proved {
				found[table]++
			} else if table != "classify" && table != "punt" && !slices.ContainsFunc(r.Unmet, stray) {
				t.Errorf("host %s: neither found nor noted: %s", one.Hosts[i].View.Name, f.Text())
			} else if table == "ca" || f.Table == 40 && len(f.Actions) > 0 {
				t.Errorf("host %s: not found: %s", one.Hosts[i].View.Name, f.Text())
			}
		}
		if verifyAll(t, n).Proved {
			t.Errorf("host %s: not found: all flows of the VM", n.Hosts[i].View.Name)
		}
	}
	if found["ca"] != 3 || found["local"] != 1 {
		t.Errorf("found alone: %v", found)
	}
}

// What cannot be expressed is not ignored where packets meet it, and does no harm
// where they do not.
func TestOddFlows(t *testing.T) {
	p, views := small(t)
	for name, c := range map[string]struct {
		odd      verify.OddFlow
		unproved bool
	}{
		"met":           {verify.OddFlow{Flow: flow.Flow{Table: 20, Priority: 500, Match: flow.Match{isIP}}, MatchKnown: true, Why: "learn"}, true},
		"match unknown": {verify.OddFlow{Flow: flow.Flow{Table: 20, Priority: 500}, Why: "ct_state"}, true},
		"behind others": {verify.OddFlow{Flow: flow.Flow{Table: 50, Priority: 0, Match: nil}, MatchKnown: true, Why: "learn"}, true},
		"never met":     {verify.OddFlow{Flow: flow.Flow{Table: 99, Priority: 500}, Why: "learn"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := verify.Compiled(p, views)
			n.Hosts[1].Odd = []verify.OddFlow{c.odd}
			r := verifyAll(t, n)
			if r.Proved == c.unproved || len(r.Counterexamples) > 0 {
				t.Fatalf("proved %v: %v", r.Proved, r.Counterexamples)
			}
			if c.unproved && (len(r.Unproved) != 1 || r.Unproved[0].Host != "h001" || r.Unproved[0].Why != c.odd.Why) {
				t.Errorf("unproved: %v", r.Unproved)
			}
		})
	}
}

// A host that nobody has asked makes unproved what goes there, and nothing else.
func TestMissingHost(t *testing.T) {
	p, views := small(t)
	n := verify.Compiled(p, views)
	n.Hosts = n.Hosts[:2]
	r := verifyAll(t, n)
	if r.Proved || len(r.Counterexamples) > 0 || len(r.Unproved) != 1 || r.Unproved[0].Host != "h002" {
		t.Errorf("proved %v: %v, %v", r.Proved, r.Counterexamples, r.Unproved)
	}
}

func TestCancel(t *testing.T) {
	p, views := small(t)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	_, err := verify.Verify(ctx, verify.Compiled(p, views), verify.Options{Workers: 1, Progress: func(done, total int) {
		if calls++; done != calls || done > total {
			t.Errorf("progress: %d of %d at call %d", done, total, calls)
		}
		cancel()
	}})
	if err != context.Canceled || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
