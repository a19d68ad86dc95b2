package openflow

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

func genGroup(t *rapid.T) flow.Group {
	g := flow.Group{ID: rapid.Uint32Range(0x4e000000, 0x4e000005).Draw(t, "id"),
		Type: rapid.SampledFrom([]flow.GroupType{flow.GroupAll, flow.GroupSelect, flow.GroupIndirect}).Draw(t, "type")}
	n := 1
	if g.Type != flow.GroupIndirect {
		n = rapid.IntRange(0, 5).Draw(t, "buckets")
	}
	for range n {
		var b flow.Bucket
		if g.Type == flow.GroupSelect {
			b.Weight = rapid.Uint16Range(0, 100).Draw(t, "weight")
		}
		b.Actions = genActions(t, []flow.Field{flow.Reg0, flow.Reg7, flow.TunID, flow.TunDst, flow.EthDst, flow.XXReg2}, 250, false)
		b.Actions = slices.DeleteFunc(b.Actions, func(a flow.Action) bool { return a.Op == flow.OpGroup })
		if len(b.Actions) == 0 {
			b.Actions = nil
		}
		g.Buckets = append(g.Buckets, b)
	}
	return g
}

func encGroup(tb interface{ Fatal(...any) }, g flow.Group) Encoded {
	e, err := EncodeGroup(&g)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func encMeter(tb interface{ Fatal(...any) }, m flow.Meter) Encoded {
	e, err := EncodeMeter(&m)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func readGroups(t *testing.T, s *Session) (out []Encoded) {
	t.Helper()
	if err := s.ReadGroups(soon(t), func(e *Entry) error {
		if Encoded(e.Octets).Entry() != string(e.Key()) || e.Cookie() != 0 {
			t.Errorf("%x", e.Octets)
		}
		out = append(out, Encoded(e.Octets))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out, Encoded.Compare)
	return out
}

// TestGroupsRoundTrip: groups are applied in bundles, with the flows that use
// them, and come back as they were sent; ovs-ofctl means the same by their text.
func TestGroupsRoundTrip(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	file := filepath.Join(t.TempDir(), "groups")
	addGroups(t, sw) // 1 to 3, others'
	foreign := readGroups(t, s)
	rapid.Check(t, func(rt *rapid.T) {
		var want []Encoded
		var text strings.Builder
		mods := []Mod{}
		for range rapid.IntRange(1, 4).Draw(rt, "n") {
			g := genGroup(rt)
			e := encGroup(rt, g)
			if back, err := e.Group(); err != nil || !back.Equal(&g) || e.Kind() != KindGroup || e.Number() != g.ID {
				rt.Fatalf("%s became %s, %v", g.Text(), back.Text(), err)
			}
			mods = append(mods, Mod{Op: Add, Flow: e})
			if i, found := slices.BinarySearchFunc(want, e, Encoded.Compare); found {
				want[i] = e
			} else {
				want = slices.Insert(want, i, e)
			}
			uses := flow.Flow{Table: 3, Priority: uint16(g.ID), Actions: []flow.Action{flow.ToGroup(g.ID)}}
			mods = append(mods, Mod{Op: Add, Flow: enc(&uses)})
		}
		if err := s.Apply(soon(t), slices.Values(mods)); err != nil {
			rt.Fatal(err)
		}
		got := slices.DeleteFunc(readGroups(t, s), func(e Encoded) bool { return slices.Contains(foreign, e) })
		if !slices.Equal(got, want) {
			rt.Fatalf("sent %q\nread %q", want, got)
		}
		var remove []Mod
		for _, e := range want {
			remove = append(remove, Mod{Op: DeleteStrict, Flow: e})
			text.WriteString("add " + e.Text() + "\n")
		}
		if err := s.Apply(soon(t), slices.Values(remove)); err != nil {
			rt.Fatal(err)
		}
		if left := readAll(t, s); len(left) != 0 {
			rt.Fatalf("%d flows outlived their groups", len(left))
		}
		if slices.ContainsFunc(want, func(e Encoded) bool {
			return unspeakable(e)
		}) {
			return // what ovs-ofctl cannot say
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			rt.Fatal(err)
		}
		if _, err := sw.Ofctl(t.Context(), "--bundle", "add-groups", "br-int", file); err != nil {
			rt.Fatalf("%v\n%s", err, text.String())
		}
		if got := slices.DeleteFunc(readGroups(t, s), func(e Encoded) bool { return slices.Contains(foreign, e) }); !slices.Equal(got, want) {
			rt.Fatalf("gave %s\nread %q", text.String(), got)
		}
		if err := s.Apply(soon(t), slices.Values(remove)); err != nil {
			rt.Fatal(err)
		}
	})
}

// unspeakable reports whether ovs-ofctl cannot say an action in a group: more than
// 64 bits at once, a check_pkt_larger at the end of a line, or a plain controller
// action, which it takes for an output.
func unspeakable(e Encoded) bool {
	g, _ := e.Group()
	return slices.ContainsFunc(g.Buckets, func(b flow.Bucket) bool {
		return slices.ContainsFunc(b.Actions, func(a flow.Action) bool {
			return a.Op == flow.OpSet && !a.Dst.IsAll() && a.Dst.N > 64 || a.Op == flow.OpCheckLarger ||
				a.Op == flow.OpController && a.Controller == 0 && a.Meter == 0 && a.UserData == ""
		})
	})
}

// TestMeters: meters are added, changed and read back, outside of bundles.
func TestMeters(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	a, b := encMeter(t, flow.Meter{ID: 0x4e000007, Rate: 10, Burst: 20}), encMeter(t, flow.Meter{ID: 5, Rate: 1 << 20, Burst: 1})
	if m, err := a.Meter(); err != nil || m != (flow.Meter{ID: 0x4e000007, Rate: 10, Burst: 20}) || a.Kind() != KindMeter {
		t.Fatal(m, err)
	}
	if err := s.Load(soon(t), modsOf(Mod{Op: Add, Flow: a}, Mod{Op: Add, Flow: b})); err != nil {
		t.Fatal(err)
	}
	if _, err := sw.Ofctl(t.Context(), "add-meter", "br-int", "meter=9 kbps bands=type=drop rate=10"); err != nil {
		t.Fatal(err)
	}
	got := readGroups(t, s)
	if len(got) != 3 || got[0] != b || got[2] != a || got[1].Number() != 9 {
		t.Fatalf("%q", got)
	}
	if _, err := got[1].Meter(); err == nil || !strings.Contains(got[1].Text(), "not of ours") {
		t.Errorf("%s", got[1].Text())
	}
	c := encMeter(t, flow.Meter{ID: 0x4e000007, Rate: 11, Burst: 1})
	if err := s.Load(soon(t), modsOf(Mod{Op: ModifyStrict, Flow: c}, Mod{Op: DeleteStrict, Flow: b})); err != nil {
		t.Fatal(err)
	}
	if got := readGroups(t, s); len(got) != 2 || got[1] != c {
		t.Fatalf("%q", got)
	}
	// Refusals name the meter.
	var refused *ApplyError
	if err := s.Load(soon(t), modsOf(Mod{Op: Add, Flow: c})); !errors.As(err, &refused) || refused.Mods[0].Mod.Flow != c || !refused.Applied {
		t.Errorf("added twice: %v", err)
	}
	if err := s.Apply(soon(t), modsOf(Mod{Op: Add, Flow: b})); !errors.As(err, &refused) || !errors.Is(refused.Mods[0], errBundledMeter) {
		t.Errorf("in a bundle: %v", err)
	}
	out, err := sw.Ofctl(t.Context(), "dump-meters", "br-int")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), "meter=1308622855 pktps burst stats bands= type=drop rate=11") {
		t.Errorf("%s, %v", out, err)
	}
	// Its text means the same to ovs-ofctl.
	if _, err := sw.Ofctl(t.Context(), "mod-meter", "br-int", (&flow.Meter{ID: 0x4e000007, Rate: 10, Burst: 20}).Text()); err != nil {
		t.Fatal(err)
	}
	if got := readGroups(t, s); len(got) != 2 || got[1] != a {
		t.Errorf("%q", got)
	}
}

// A meter that is added behind the flow that names it has no effect on it, as
// long as the flow is not added again: hence the order of a plan.
func TestMeterLimitsPackets(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	c := packetChannel(t, sw, ourController, Options{EventQueue: 2000})
	f := flow.Flow{Actions: []flow.Action{flow.ToController(ourController, 0x4e000007)}}
	if ids := slices.Collect(enc(&f).Meters()); len(ids) != 1 || ids[0] != 0x4e000007 {
		t.Errorf("uses meters %x", ids)
	}
	count := func() int {
		t.Helper()
		for range 200 {
			if err := c.Send(soon(t), fromPort7()); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.s.Barrier(soon(t)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for len(c.s.events) > 0 {
			next(t, c)
			n++
		}
		return n
	}
	meter := Mod{Op: Add, Flow: encMeter(t, flow.Meter{ID: 0x4e000007, Rate: 1, Burst: 10})}
	add := func() {
		t.Helper()
		if err := s.Apply(soon(t), adds([]flow.Flow{f})); err != nil {
			t.Fatal(err)
		}
	}
	add()
	if n := count(); n != 200 {
		t.Errorf("%d packets of 200 without a meter", n)
	}
	if err := s.Load(soon(t), modsOf(meter)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d packets of 200 where the meter came behind the flow", count())
	add()
	if n := count(); n < 1 || n > 30 {
		t.Errorf("%d packets of 200 through a meter of 1/s, burst 10", n)
	}
}

// TestGroupsRefused: what the wire cannot carry is refused.
func TestGroupsRefused(t *testing.T) {
	many := flow.Group{}
	for range 5000 {
		many.Buckets = append(many.Buckets, flow.Bucket{})
	}
	for name, c := range map[string]struct {
		g    flow.Group
		want error
	}{
		"number":   {flow.Group{ID: flow.MaxGroup + 1}, errGroupNumber},
		"type":     {flow.Group{Type: 3}, errGroupType},
		"indirect": {flow.Group{Type: flow.GroupIndirect}, errOneBucket},
		"weight":   {flow.Group{Buckets: []flow.Bucket{{Weight: 1}}}, errWeight},
		"goto":     {flow.Group{Buckets: []flow.Bucket{{Actions: []flow.Action{flow.Goto(1)}}}}, errGotoLast},
		"long":     {many, errTooLong},
	} {
		if e, err := EncodeGroup(&c.g); !errors.Is(err, c.want) || e != "" {
			t.Errorf("%s: %q, %v", name, e, err)
		}
	}
	for _, m := range []flow.Meter{{Rate: 1, Burst: 1}, {ID: 1, Burst: 1}, {ID: 1, Rate: 1}, {ID: flow.MaxMeter + 1, Rate: 1, Burst: 1}} {
		if e, err := EncodeMeter(&m); err == nil {
			t.Errorf("%+v: %q", m, e)
		}
	}
	g, m, f := encGroup(t, flow.Group{ID: 5}), encMeter(t, flow.Meter{ID: 5, Rate: 1, Burst: 1}), enc(&flow.Flow{Table: 254})
	if f.Kind() != KindFlow || !(f < g && g.Compare(m) < 0) || g.SameEntry(m) || g.Drops() || m.Drops() {
		t.Error("the order is flows, groups, meters")
	}
	if _, err := g.Decode(); err == nil {
		t.Error("a group decodes as a flow")
	}
	if _, err := g.Meter(); err == nil {
		t.Error("a group is a meter")
	}
	if _, err := f.Group(); err == nil {
		t.Error("a flow is a group")
	}
	if _, err := Encode(&flow.Flow{Table: 255}); !errors.Is(err, errTable255) {
		t.Error(err)
	}
	for _, mod := range []Mod{{Op: ModifyStrict, Flow: g}, {Op: 9, Flow: m}, {Op: Add, Flow: m[:len(m)-1]}, {Op: Add, Flow: g[:len(g)-1]}} {
		if b, err := appendMod([]byte("x"), 1, &mod); err == nil || string(b) != "x" {
			t.Errorf("%s %q: %q, %v", mod.Op, mod.Flow, b, err)
		}
	}
}

// FuzzGroups: whatever a switch says of groups and meters, decoding ends, and what
// it could express can be sent.
func FuzzGroups(f *testing.F) {
	f.Add([]byte("\x00\x20\x00\x00\x4e\x00\x00\x01\x00\x18\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x16\x00\x08\x00\x00\x00\x02"))
	f.Add([]byte("\x00\x18\x00\x0e\x4e\x00\x00\x01\x00\x01\x00\x10\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := newDecoder()
		check := func(e *Entry) error {
			x := Encoded(e.Octets)
			_ = x.Text()
			for _, op := range []Op{Add, DeleteStrict} {
				_, err := appendMod(nil, 1, &Mod{Op: op, Flow: x})
				g, gerr := x.Group()
				m, merr := x.Meter()
				if known := gerr == nil || merr == nil; (known || op == DeleteStrict) && err != nil && !errors.Is(err, errTooLong) {
					t.Errorf("%s %q: %v", op, x, err)
				}
				if again, err := EncodeGroup(&g); gerr == nil && err == nil && again != x {
					t.Errorf("%q, again %q", x, again)
				}
				if again, err := EncodeMeter(&m); merr == nil && err == nil && again != x {
					t.Errorf("%q, again %q", x, again)
				}
			}
			return nil
		}
		if err := d.groups(body, check); err == nil && len(body) > 0 && len(body) < 8 {
			t.Error("no error")
		}
		if err := d.meters(body, check); err != nil && fmt.Sprint(err) == "" {
			t.Error("an error without words")
		}
	})
}
