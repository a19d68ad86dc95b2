package flows

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// A flow that exceeds its table's declaration is refused, whatever it exceeds.
func TestDeclarationsAreEnforced(t *testing.T) {
	for _, c := range []struct {
		name string
		flow flow.Flow
		want string // part of the error; "" for none
	}{
		{"allowed", flow.Flow{Table: tableCA, Match: flow.Match{regDomain.is(1)}, Actions: []flow.Action{regDest.set(flow.Uint(1)), flow.Goto(tableAct)}}, ""},
		{"foreign match", flow.Flow{Table: tableCA, Match: flow.Match{flow.Exact(flow.IPv4Dst, flow.Uint(1))}}, "may not match nw_dst"},
		{"more bits than declared", flow.Flow{Table: tableTunnelVSID, Match: flow.Match{flow.Exact(flow.EthDst, flow.Uint(1))}}, "may not match dl_dst"},
		{"foreign register", flow.Flow{Table: tablePA, Match: flow.Match{regDomain.is(1)}}, "may not match reg0"},
		{"foreign set", flow.Flow{Table: tableCA, Actions: []flow.Action{regOutput.set(flow.Uint(1))}}, "may not set reg5"},
		{"set beside the register", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.Set(flow.All(flow.Reg4), flow.Uint(1))}}, "may not set reg4"},
		{"move", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.Move(flow.All(flow.EthSrc), flow.All(flow.EthDst))}}, "may not set eth_dst"},
		{"ttl", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.DecTTL()}}, "TTL"},
		{"output", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.Output(1)}}, "send packets out"},
		{"undeclared next", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.Goto(tableLocal)}}, "may not go to table 40"},
		{"backwards", flow.Flow{Table: tableCA, Actions: []flow.Action{flow.Goto(tableRoute)}}, "may not go to table 15"},
		{"goto in the middle", flow.Flow{Table: tableAct, Actions: []flow.Action{flow.Goto(tablePA), flow.DecTTL()}}, "must come last"},
		{"no such action", flow.Flow{Table: tableCA, Actions: []flow.Action{{}}}, "no such action"},
		{"undeclared table", flow.Flow{Table: 7}, "not in the pipeline"},
	} {
		err := Check(&c.flow)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

// The builder leaves out what Check refuses and says so.
func TestBuilderRefusesWhatIsNotDeclared(t *testing.T) {
	b := &builder{host: "h1"}
	b.add(&ca, 1, 1, nil, flow.Output(1))
	if len(b.flows) != 0 || len(b.problems) != 1 || !strings.Contains(b.problems[0].Text, "internal error") {
		t.Errorf("flows %v, problems %v", b.flows, b.problems)
	}
}

func TestRegistersMustNotOverlap(t *testing.T) {
	if err := checkRegisters(Registers()); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ a, b flow.Bits }{
		{flow.All(flow.Reg8), flow.All(flow.XXReg2)},
		{flow.All(flow.Reg13), flow.Bits{Field: flow.XReg6, Ofs: 0, N: 1}},
		{flow.Bits{Field: flow.Reg4, Ofs: 0, N: 2}, flow.Bits{Field: flow.Reg4, Ofs: 1, N: 1}},
		{flow.All(flow.XReg0), flow.Bits{Field: flow.XXReg0, Ofs: 64, N: 1}},
	} {
		if err := checkRegisters([]Register{{Name: "a", Bits: c.a}, {Name: "b", Bits: c.b}}); err == nil {
			t.Errorf("%s and %s do not clash", c.a.Text(), c.b.Text())
		}
	}
	if err := checkRegisters([]Register{{Name: "a", Bits: flow.Bits{Field: flow.Reg1, Ofs: 30, N: 3}}}); err == nil {
		t.Error("33 bits fit into 32")
	}
}

func TestTablesMustBeSound(t *testing.T) {
	good := func() []*Table {
		return []*Table{{ID: 1, Name: "a", Purpose: "p", Miss: "m", Next: []uint8{2}}, {ID: 2, Name: "b", Purpose: "p", Miss: "m"}}
	}
	if err := checkTables(good()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]*Table){
		"no name":         func(ts []*Table) { ts[0].Name = "" },
		"long name":       func(ts []*Table) { ts[0].Name = strings.Repeat("x", 33) },
		"no miss":         func(ts []*Table) { ts[1].Miss = "" },
		"goes back":       func(ts []*Table) { ts[1].Next = []uint8{1} },
		"goes to nowhere": func(ts []*Table) { ts[0].Next = []uint8{9} },
		"same name":       func(ts []*Table) { ts[1].Name = "a" },
		"out of order":    func(ts []*Table) { ts[0].ID = 3 },
	} {
		ts := good()
		spoil(ts)
		if checkTables(ts) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Cookies carry what they are said to carry.
func TestCookies(t *testing.T) {
	o := subnetOwner(0xABCDEF)
	if c := o.cookie(); c != 0x4e56_0020_00ab_cdef || !Ours(c) {
		t.Errorf("cookie %#x", c)
	}
	c := o.drop(DropNotHere)
	if r, ok := Reason(c); !ok || r != DropNotHere || c&DropMask != DropMark {
		t.Errorf("drop cookie %#x: reason %v %v", c, r, ok)
	}
	if _, ok := Reason(o.cookie()); ok {
		t.Error("a forwarding cookie has a reason")
	}
	f := Sentinel(1 << 47)
	if r, ok := SentinelRevision(&f); !ok || r != 1<<47 {
		t.Errorf("sentinel %#x: revision %d %v", f.Cookie, r, ok)
	}
	for name, spoil := range map[string]func(*flow.Flow){
		"priority": func(f *flow.Flow) { f.Priority = 1 },
		"table":    func(f *flow.Flow) { f.Table = tableOutput },
		"cookie":   func(f *flow.Flow) { f.Cookie = 0x4e57_0000_0000_0001 },
		"match":    func(f *flow.Flow) { f.Match = flow.Match{flow.Exact(flow.Reg0, flow.Uint(0))} },
		"actions":  func(f *flow.Flow) { f.Actions = []flow.Action{flow.Goto(254)} },
	} {
		f := Sentinel(7)
		if spoil(&f); f.Equal(new(Sentinel(7))) {
			t.Fatal(name, "is not spoiled")
		}
		if r, ok := SentinelRevision(&f); ok {
			t.Errorf("a flow that differs from the sentinel in its %s names revision %d", name, r)
		}
	}
	seen := map[string]bool{}
	for _, r := range DropReasons() {
		if r.String() == "" || r.Text() == "" || seen[r.String()] {
			t.Errorf("reason %d: %q %q", r, r, r.Text())
		}
		seen[r.String()] = true
	}
}

// Two objects that want one entry: the lower cookie is in force, whatever came
// first, and the other is reported.
func TestConflicts(t *testing.T) {
	x := flow.Flow{Table: 1, Priority: 2, Cookie: 1}
	y := flow.Flow{Table: 1, Priority: 2, Cookie: 2, Actions: []flow.Action{flow.Goto(tableTunnelVSID)}}
	for _, blocks := range [][][]flow.Flow{{{x}, {y}}, {{y}, {x}}, {{x, y}}, {{x}, {x}, {y}}} {
		kept, conflicts := merge(blocks)
		if len(kept) != 1 || kept[0].Cookie != 1 || len(conflicts) != 1 || conflicts[0].Refused.Cookie != 2 {
			t.Errorf("%v: kept %v, conflicts %v", blocks, kept, conflicts)
		}
	}
}
