package explain_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func planned(t *testing.T, file string) (*tenant.Policy, []explain.Host) {
	t.Helper()
	p, err := policyfile.Load(file, 1)
	if err != nil {
		t.Fatal(err)
	}
	at := flows.PlannedPlacement(p)
	var hosts []explain.Host
	for h := range p.Hosts() {
		hosts = append(hosts, explain.Host{View: flows.PlannedView(p, at, h.Name)})
	}
	return p, hosts
}

// Of whatever any VM sends to any address of a policy, by any protocol, the trace
// in the compiled flows says what the oracle does.
func TestCompiledFlowsAreAsIntended(t *testing.T) {
	kinds := map[explain.Kind]int{}
	for _, file := range []string{"../testdata/routed.yaml", "../testdata/hnv-blue-red.yaml"} {
		p, hosts := planned(t, file)
		tr := explain.NewTracer(p, hosts, explain.Desired(p, hosts))
		targets := []netip.Addr{netip.MustParseAddr("10.0.1.99"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("224.0.0.1"), netip.MustParseAddr("10.0.1.1")}
		for r := range p.Records() {
			targets = append(targets, r.CA.Addr())
		}
		for r := range p.Records() {
			host, port, ok := tr.Seat(&r)
			if !ok {
				continue
			}
			for _, to := range targets {
				for _, proto := range []string{"icmp", "tcp", "udp", "arp"} {
					for _, ttl := range []uint8{0, 1, 64} {
						q := explain.Query{From: r, To: to, Proto: proto, TTL: ttl}
						f, err := q.Frame(p)
						if err != nil {
							t.Fatal(err)
						}
						got := tr.Send(host, port, f)
						if !got.AsIntended {
							var b strings.Builder
							_ = got.WriteText(&b)
							t.Fatalf("%s", b.String())
						}
						kinds[got.Outcomes[0].Kind]++
					}
				}
			}
		}
	}
	for _, k := range []explain.Kind{explain.Delivered, explain.Answered, explain.Dropped} {
		if kinds[k] == 0 {
			t.Errorf("no packet was %s: %v", k, kinds)
		}
	}
}

// What spoils a table shows as what it is, and never as what was intended.
func TestFaults(t *testing.T) {
	p, hosts := planned(t, "../testdata/routed.yaml")
	from, err := explain.FindVM(p, "shop/web1")
	if err != nil {
		t.Fatal(err)
	}
	to, err := explain.FindVM(p, "shop/web2")
	if err != nil {
		t.Fatal(err)
	}
	q := explain.Query{From: from, To: to.CA.Addr(), TTL: 64}
	f, _ := q.Frame(p)
	desired := explain.Desired(p, hosts)
	right := explain.NewTracer(p, hosts, desired)
	host, port, _ := right.Seat(&from)
	good := right.Send(host, port, f)
	if !good.AsIntended || len(good.Hops) != 2 {
		t.Fatalf("%+v", good)
	}
	change := func(at string, table uint8, act func(fs []flow.Flow, i int) []flow.Flow) explain.Table {
		return func(h string) (explain.Contents, error) {
			has, err := desired(h)
			if h != at {
				return has, err
			}
			fs := has.Flows
			for _, s := range append(good.Hops[0].Steps, good.Hops[1].Steps...) {
				for i := range fs {
					if fs[i].Equal(&s.Flow) && fs[i].Table == table {
						c := append([]flow.Flow(nil), fs...)
						return explain.Contents{Flows: act(c, i)}, err
					}
				}
			}
			t.Fatalf("no flow of table %d", table)
			return explain.Contents{}, nil
		}
	}
	there := good.Hops[1].Host
	foreign := flow.Flow{Table: 20, Priority: 60000, Actions: []flow.Action{flow.Output(0xfffffffa)}}
	with := func(more flow.Flow) func([]flow.Flow, int) []flow.Flow {
		return func(fs []flow.Flow, _ int) []flow.Flow { return append(fs, more) }
	}
	unknown := func(matchKnown bool) explain.Table {
		return func(h string) (explain.Contents, error) {
			has, err := desired(h)
			return explain.Contents{Flows: has.Flows, Odd: []verify.OddFlow{{Flow: flow.Flow{Table: 15, Priority: 60000}, MatchKnown: matchKnown, Why: "action 22"}}}, err
		}
	}
	for _, c := range []struct {
		name  string
		table explain.Table
		kind  explain.Kind
		says  string
		note  string
	}{
		{"lost flow", change(there, 40, func(fs []flow.Flow, i int) []flow.Flow { return append(fs[:i], fs[i+1:]...) }), explain.Dropped, "dropped at h2/local: no VM with MAC", ""},
		{"no flows", func(string) (explain.Contents, error) { return explain.Contents{}, nil }, explain.Dropped, "no flows of ours", ""},
		{"normal switching", change(host, 20, with(foreign)), explain.Undecided, "normal, learning switching", ""},
		{"foreign port", change(host, 20, with(flow.Flow{Table: 20, Priority: 60000, Actions: []flow.Action{flow.Output(77)}})), explain.Undecided, "to port 77, where OVSDB shows", ""},
		{"foreign drop", change(host, 20, with(flow.Flow{Table: 20, Priority: 60000})), explain.Dropped, "by a flow that is not ours", ""},
		{"unknown action", unknown(true), explain.Undecided, "action 22", ""},
		{"unknown match", unknown(false), explain.Delivered, "delivered", "is not known: action 22"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := explain.NewTracer(p, hosts, c.table).Send(host, port, f)
			if len(tr.Outcomes) != 1 || tr.Outcomes[0].Kind != c.kind || tr.AsIntended != (c.kind == explain.Delivered) {
				t.Fatalf("%+v", tr.Outcomes)
			}
			if !strings.Contains(tr.Outcomes[0].Text, c.says) {
				t.Errorf("got %q, want %q", tr.Outcomes[0].Text, c.says)
			}
			if !strings.Contains(strings.Join(tr.Notes, "\n"), c.note) {
				t.Errorf("notes %q, want %q", tr.Notes, c.note)
			}
			if d := explain.Differences(tr, good, "live", "desired"); (len(d) > 0) != (c.kind != explain.Delivered) {
				t.Errorf("differences %q", d)
			}
		})
	}
}

func TestParseSubject(t *testing.T) {
	for text, want := range map[string]explain.Subject{
		"source-ca":          {Reason: flows.DropSourceCA, Table: -1, Priority: -1},
		"0x4e56000000000005": {Cookie: 0x4e56000000000005, HasCookie: true, Table: -1, Priority: -1},
		" cookie=0x12, duration=1.5s, table=5, n_packets=3, n_bytes=9, priority=30,in_port=104 actions=drop": {Cookie: 0x12, HasCookie: true, Table: 5, Priority: 30},
		"cookie=0x12,table=ca,ip actions=resubmit(,table=9)":                                                 {Cookie: 0x12, HasCookie: true, Table: 20, Priority: 32768},
		"ip actions=drop": {HasCookie: true, Priority: 32768},
	} {
		if got, err := explain.ParseSubject(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

// Every flow of a host is explained: its owner has a place, its table a purpose,
// and where it drops it says why.
func TestEveryFlowIsExplained(t *testing.T) {
	p, hosts := planned(t, "../testdata/routed.yaml")
	n := flows.NewNamer(p, nil)
	for _, h := range hosts {
		has, err := explain.Desired(p, hosts)(h.View.Name)
		fs := has.Flows
		if err != nil {
			t.Fatal(err)
		}
		for i := range fs {
			s, err := explain.ParseSubject(fs[i].Text())
			if err != nil {
				t.Fatal(err)
			}
			a := explain.Explain(n, p, s)
			if a.Foreign || len(a.Owners) != 1 || a.Table != flows.TableName(fs[i].Table) || a.Purpose == "" ||
				(a.Why == "") != (a.Drop == "") || len(fs[i].Actions) == 0 && a.Why == "" || (a.Owners[0].Source == "") != (a.Owners[0].Text == "pipeline") {
				t.Errorf("%s: %+v", fs[i].Text(), a)
			}
		}
	}
}
