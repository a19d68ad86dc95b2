package openflow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	of "github.com/contiv/libOpenflow/openflow13"
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// change is a Mod before its flow was encoded.
type change struct {
	Op         Op
	Flow       *flow.Flow
	CookieMask uint64
}

func (c *change) mod() *Mod { return &Mod{Op: c.Op, Flow: enc(c.Flow), CookieMask: c.CookieMask} }

// encodeFlowModLib builds by libOpenflow what appendFlowMod builds by hand.
func encodeFlowModLib(xid uint32, m *change) ([]byte, error) {
	f, err := flowModLib(m)
	if err != nil {
		return nil, err
	}
	return marshal(xid, &f.Header, f)
}

// encodeBundleAddLib is the same for appendBundleAdd.
func encodeBundleAddLib(xid, bundle uint32, m *change) ([]byte, error) {
	f, err := flowModLib(m)
	if err != nil {
		return nil, err
	}
	f.Header.Xid = xid // not its default: must equal the outer one
	add := of.NewBundleAdd(&of.BundleAdd{BundleID: bundle, Flags: of.OFPBCT_ATOMIC | of.OFPBCT_ORDERED, Message: f})
	return marshal(xid, &add.Header, add)
}

func flowModLib(m *change) (*of.FlowMod, error) {
	f := of.NewFlowMod()
	f.Command = map[Op]uint8{Add: of.FC_ADD, ModifyStrict: of.FC_MODIFY_STRICT, DeleteStrict: of.FC_DELETE_STRICT}[m.Op]
	f.Cookie, f.TableId, f.Priority = m.Flow.Cookie, m.Flow.Table, m.Flow.Priority
	if m.Op != Add {
		f.CookieMask = m.CookieMask
	}
	for _, t := range m.Flow.Match {
		f.Match.AddField(*fieldLib(t.Field, t.Value, t.Mask))
	}
	if m.Op == DeleteStrict {
		return f, nil
	}
	apply := of.NewInstrApplyActions()
	for i, a := range m.Flow.Actions {
		if a.Op == flow.OpGoto {
			if i > 0 {
				f.AddInstruction(apply)
			}
			f.AddInstruction(of.NewInstrGotoTable(a.Table))
			return f, nil
		}
		act, err := actionLib(a)
		if err != nil {
			return nil, err
		}
		if err := apply.AddAction(act, false); err != nil {
			return nil, err
		}
	}
	if len(m.Flow.Actions) > 0 {
		f.AddInstruction(apply)
	}
	return f, nil
}

func fieldLib(f flow.Field, v, mask flow.Value) *of.MatchField {
	i := f.Info()
	bytesOf := func(v flow.Value) *of.ByteArrayField {
		return &of.ByteArrayField{Data: v.Bytes(i.Len), Length: uint8(i.Len)}
	}
	m := &of.MatchField{Class: i.Class, Field: i.Number, Length: uint8(i.Len), Value: bytesOf(v)}
	if mask != flow.Ones(i.Bits) {
		m.HasMask, m.Mask, m.Length = true, bytesOf(mask), uint8(2*i.Len)
	}
	return m
}

func headerLib(f flow.Field) *of.MatchField {
	return fieldLib(f, flow.Value{}, flow.Ones(f.Info().Bits))
}

// actionLib builds one action other than goto.
func actionLib(a flow.Action) (of.Action, error) {
	switch a.Op {
	case flow.OpSet:
		if a.Dst.IsAll() {
			return of.NewActionSetField(*fieldLib(a.Dst.Field, a.Value, a.Dst.Mask())), nil
		}
		return of.NewNXActionRegLoad2(fieldLib(a.Dst.Field, a.Value.Shl(int(a.Dst.Ofs)), a.Dst.Mask())), nil
	case flow.OpMove:
		return of.NewNXActionRegMove(uint16(a.Src.N), uint16(a.Src.Ofs), uint16(a.Dst.Ofs), headerLib(a.Src.Field), headerLib(a.Dst.Field)), nil
	case flow.OpDecTTL:
		return of.NewActionDecNwTtl(), nil
	case flow.OpOutput:
		o := of.NewActionOutput(a.Port)
		o.MaxLen = 0
		if a.Port == of.P_CONTROLLER {
			o.MaxLen = 0xffff
		}
		return o, nil
	case flow.OpOutputReg:
		return of.NewOutputFromField(headerLib(a.Src.Field), of.NewNXRangeByOfsNBits(int(a.Src.Ofs), int(a.Src.N)).ToOfsBits()), nil
	case flow.OpGroup:
		return of.NewActionGroup(a.Group), nil
	case flow.OpResubmit:
		return of.NewNXActionResubmitTableAction(portInPort16, a.Table), nil
	case flow.OpPopVLAN:
		return of.NewActionPopVlan(), nil
	case flow.OpController:
		c := of.NewNXActionController(a.Controller)
		c.MaxLen, c.Reason = a.MaxLen, reasonAction
		return c, nil
	}
	return nil, fmt.Errorf("action %d", a.Op)
}

// genAny draws any change that can be expressed, whether or not it makes sense
// to a switch.
func genAny(t *rapid.T) change {
	every := make([]flow.Field, flow.NumFields)
	var matched []flow.Field
	for i := range every {
		every[i] = flow.Field(i)
		if !wide(every[i]) {
			matched = append(matched, every[i])
		}
	}
	f := flow.Flow{Table: rapid.Uint8Range(0, 254).Draw(t, "table"), Priority: rapid.Uint16().Draw(t, "priority"), Cookie: rapid.Uint64().Draw(t, "cookie")}
	for _, field := range rapid.SliceOfNDistinct(rapid.SampledFrom(matched), 0, 10, rapid.ID[flow.Field]).Draw(t, "fields") {
		n := field.Info().Bits
		mask := flow.Ones(n)
		if rapid.Bool().Draw(t, "masked") {
			if m := drawValue(t, n); !m.IsZero() {
				mask = m
			}
		}
		f.Match = append(f.Match, flow.Masked(field, drawValue(t, n), mask))
	}
	f.Match = f.Match.Canonical()
	f.Actions = genActions(t, every, f.Table, true)
	for i, a := range f.Actions {
		if a.Op == flow.OpOutput && rapid.Bool().Draw(t, "any port") {
			f.Actions[i].Port = rapid.SampledFrom([]uint32{portController, 0, 0xffffffff, 0xfffffffb}).Draw(t, "port")
		}
	}
	return change{Op: rapid.SampledFrom([]Op{Add, ModifyStrict, DeleteStrict}).Draw(t, "op"), Flow: &f, CookieMask: rapid.Uint64().Draw(t, "cookie mask")}
}

// TestEncodingMatchesLibrary: the hand encoder and libOpenflow make the same
// octets of every change.
func TestEncodingMatchesLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genAny(t)
		m.Flow.Actions = slices.DeleteFunc(m.Flow.Actions, func(a flow.Action) bool {
			// What the library lacks is held to a real switch: see TestRoundTrip.
			return a.Op == flow.OpCheckLarger || a.Op == flow.OpController && a.Meter|uint32(len(a.UserData)) != 0
		})
		xid := rapid.Uint32().Draw(t, "xid")
		got, err := appendFlowMod([]byte("before"), xid, m.mod())
		if err != nil {
			t.Fatal(err)
		}
		want, err := encodeFlowModLib(xid, &m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[6:], want) {
			t.Fatalf("%s %s\nby hand %x\nlibrary %x", m.Op, m.Flow.Text(), got[6:], want)
		}
		bundle := rapid.Uint32().Draw(t, "bundle")
		if got, err = appendBundleAdd(nil, xid, bundle, m.mod()); err != nil {
			t.Fatal(err)
		}
		if want, err = encodeBundleAddLib(xid, bundle, &m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("bundle-add by hand %x\nlibrary            %x", got, want)
		}
	})
}

// TestDecodingInvertsEncoding: what was encoded is decoded to the same flow,
// without a switch in between.
func TestDecodingInvertsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genAny(t)
		m.Op = Add
		b, err := appendFlowMod(nil, 1, m.mod())
		if err != nil {
			t.Fatal(err)
		}
		var s Stat
		if err := newDecoder().flowStat(asStat(m.Flow, b), &s); err != nil {
			t.Fatal(err)
		}
		if s.Unknown != "" || !s.Equal(m.Flow) {
			t.Fatalf("encoded %s\ndecoded %s\nunknown: %s", m.Flow.Text(), s.Text(), s.Unknown)
		}
		if f, err := enc(m.Flow).Decode(); err != nil || !f.Equal(m.Flow) {
			t.Fatalf("encoded %s\ndecoded %s, %v", m.Flow.Text(), f.Text(), err)
		}
	})
}

// TestEncodedIsCanonical: equality and order of flows are those of their
// octets, and the order of a match does not matter.
func TestEncodedIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := genAny(t).Flow
		b := genAny(t).Flow
		if rapid.Bool().Draw(t, "alike") {
			c := *a
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				c.Cookie = b.Cookie
			case 1:
				c.Actions = b.Actions
			case 2:
				c.Priority = b.Priority
			}
			b = &c
		}
		x, y := enc(a), enc(b)
		if (x == y) != a.Equal(b) || x.SameEntry(y) != a.SameEntry(b) || (x.Compare(y) == 0) != a.SameEntry(b) || x.Compare(y) != -y.Compare(x) {
			t.Fatalf("%s\n%s\n%d", a.Text(), b.Text(), x.Compare(y))
		}
		if a.Table != b.Table && (x.Compare(y) < 0) != (a.Table < b.Table) ||
			a.Table == b.Table && a.Priority != b.Priority && (x.Compare(y) < 0) != (a.Priority > b.Priority) {
			t.Fatalf("%s\n%s\n%d", a.Text(), b.Text(), x.Compare(y))
		}
		c := *a
		c.Match = rapid.Permutation(a.Match).Draw(t, "match")
		if enc(&c) != x {
			t.Fatal("the order of the match matters")
		}
		if x.Table() != a.Table || x.Priority() != a.Priority || x.Cookie() != a.Cookie || x.Drops() != (len(a.Actions) == 0) {
			t.Fatalf("%s: table %d, priority %d, cookie %x", a.Text(), x.Table(), x.Priority(), x.Cookie())
		}
	})
}

// asStat makes the ofp_flow_stats of a flow-mod.
func asStat(f *flow.Flow, mod []byte) []byte {
	rest := mod[flowModLen:]
	b := binary.BigEndian.AppendUint16(nil, uint16(flowStatsLen+len(rest)))
	b = append(b, f.Table, 0)
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint16(b, f.Priority)
	b = append(b, make([]byte, 10)...)
	b = binary.BigEndian.AppendUint64(b, f.Cookie)
	b = append(b, make([]byte, 16)...)
	return append(b, rest...)
}

// TestEncodingRefuses: what the wire cannot carry is refused, and the buffer
// stays as it was.
func TestEncodingRefuses(t *testing.T) {
	long := make([]flow.Action, 5000)
	for i := range long {
		long[i] = flow.Output(1)
	}
	for name, c := range map[string]struct {
		flow flow.Flow
		want error
	}{
		"field":           {flow.Flow{Match: flow.Match{{Field: flow.NumFields}}}, errUnknownField},
		"zero mask":       {flow.Flow{Match: flow.Match{{Field: flow.Reg0}}}, errBadTest},
		"wide mask":       {flow.Flow{Match: flow.Match{{Field: flow.Reg0, Mask: flow.Ones(33)}}}, errBadTest},
		"wide register":   {flow.Flow{Match: flow.Match{flow.Exact(flow.XReg6, flow.Uint(3))}}, errWideMatch},
		"wider register":  {flow.Flow{Match: flow.Match{flow.Exact(flow.XXReg2, flow.Uint(3))}}, errWideMatch},
		"value over mask": {flow.Flow{Match: flow.Match{{Field: flow.Reg0, Value: flow.Uint(3), Mask: flow.Uint(1)}}}, errBadTest},
		"value too wide":  {flow.Flow{Match: flow.Match{flow.Exact(flow.ICMPType, flow.Uint(256))}}, errBadTest},
		"action":          {flow.Flow{Actions: []flow.Action{{}}}, errUnknownAction},
		"bits":            {flow.Flow{Actions: []flow.Action{flow.Set(flow.Bits{Field: flow.Reg0, Ofs: 1, N: 32}, flow.Value{})}}, errBadBits},
		"no bits":         {flow.Flow{Actions: []flow.Action{flow.Set(flow.Bits{Field: flow.Reg0}, flow.Value{})}}, errBadBits},
		"set value":       {flow.Flow{Actions: []flow.Action{flow.Set(flow.Bits{Field: flow.Reg0, N: 2}, flow.Uint(4))}}, errBadValue},
		"move":            {flow.Flow{Actions: []flow.Action{flow.Move(flow.All(flow.Reg0), flow.All(flow.XReg0))}}, errMoveWidth},
		"wide output":     {flow.Flow{Actions: []flow.Action{flow.OutputReg(flow.All(flow.XReg0))}}, errBadBits},
		"group":           {flow.Flow{Actions: []flow.Action{flow.ToGroup(flow.MaxGroup + 1)}}, errGroupNumber},
		"meter":           {flow.Flow{Actions: []flow.Action{flow.ToController(1, flow.MaxMeter+1)}}, errMeterNumber},
		"user data":       {flow.Flow{Actions: []flow.Action{{Op: flow.OpController, UserData: string(make([]byte, 60_001))}}}, errTooLong},
		"larger":          {flow.Flow{Actions: []flow.Action{flow.CheckLarger(1500, flow.All(flow.Reg4))}}, errOneBit},
		"resubmit 255":    {flow.Flow{Actions: []flow.Action{flow.Resubmit(255)}}, errGotoNumber},
		"goto":            {flow.Flow{Actions: []flow.Action{flow.Goto(1), flow.Output(1)}}, errGotoLast},
		"long":            {flow.Flow{Actions: long}, errTooLong},
		"goto 255":        {flow.Flow{Actions: []flow.Action{flow.Goto(255)}}, errGotoNumber},
		"twice":           {flow.Flow{Match: flow.Match{flow.Exact(flow.Reg0, flow.Uint(1)), flow.Exact(flow.Reg1, flow.Uint(1)), flow.Exact(flow.Reg0, flow.Uint(2))}}, errTwice},
	} {
		if e, err := Encode(&c.flow); !errors.Is(err, c.want) || e != "" {
			t.Errorf("%s: got %q, %v, want %v", name, e, err, c.want)
		}
	}
	good := enc(&flow.Flow{})
	for name, c := range map[string]struct {
		mod  Mod
		want error
	}{
		"no flow":        {Mod{Op: Add}, errEncoded},
		"short":          {Mod{Op: Add, Flow: good[:len(good)-1]}, errEncoded},
		"match too long": {Mod{Op: Add, Flow: "\x00\x00\x00\xff\xff" + good[5:]}, errEncoded},
		"no op":          {Mod{Flow: good}, errUnknownOp},
		"raw":            {Mod{Op: DeleteStrict, Flow: good, RawMatch: []byte{0, 1, 0, 4, 0, 0, 0}}, errRawMatch},
		"raw length":     {Mod{Op: DeleteStrict, Flow: good, RawMatch: []byte{0, 1, 0, 9, 0, 0, 0, 0}}, errRawMatch},
	} {
		if b, err := appendFlowMod([]byte("x"), 1, &c.mod); err != c.want || string(b) != "x" {
			t.Errorf("%s: got %q, %v, want %v", name, b, err, c.want)
		}
		if b, err := appendBundleAdd([]byte("x"), 1, 1, &c.mod); err != c.want || string(b) != "x" {
			t.Errorf("%s in a bundle: got %q, %v, want %v", name, b, err, c.want)
		}
	}
}

// benchFlow has 9 tests and 8 actions.
func benchFlow() *flow.Flow {
	return &flow.Flow{Table: 20, Priority: 100, Cookie: 0x4e56000000000007,
		Match: flow.Match{
			flow.Exact(flow.InPort, flow.Uint(7)), flow.Exact(flow.Reg0, flow.Uint(1)),
			flow.Exact(flow.Reg8, flow.Uint(0)), flow.Exact(flow.Reg9, flow.Uint(0)), flow.Exact(flow.Reg10, flow.Uint(0xffff)), flow.Exact(flow.Reg11, flow.Uint(0x0a00010c)),
			flow.Exact(flow.EthSrc, flow.Uint(0x020000000005)), flow.Exact(flow.EthType, flow.Uint(0x800)),
			flow.Masked(flow.IPv4Dst, flow.Uint(0x0a000100), flow.PrefixMask(24, 32)),
		},
		Actions: []flow.Action{
			flow.Set(flow.All(flow.Reg2), flow.Uint(5001)), flow.Set(flow.All(flow.Reg3), flow.Uint(2)),
			flow.Set(flow.Bits{Field: flow.XReg6, N: 48}, flow.Uint(0x020000000005)),
			flow.Move(flow.Bits{Field: flow.Reg2, N: 24}, flow.Bits{Field: flow.TunID, Ofs: 8, N: 24}),
			flow.Set(flow.All(flow.TunDst), flow.Uint(0x0a630002)), flow.DecTTL(), flow.OutputReg(flow.All(flow.Reg5)), flow.Goto(25),
		}}
}

func BenchmarkEncodeFlow(b *testing.B) {
	m := change{Op: Add, Flow: benchFlow()}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(m.Flow); err != nil {
				b.Fatal(err)
			}
		}
	})
	mod := m.mod()
	b.Run("send", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 4096)
		for b.Loop() {
			var err error
			if buf, err = appendBundleAdd(buf[:0], 1, 1, mod); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encodeBundleAddLib(1, 1, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeFlow(b *testing.B) {
	m := change{Op: Add, Flow: benchFlow()}
	mod, err := appendFlowMod(nil, 1, m.mod())
	if err != nil {
		b.Fatal(err)
	}
	raw := asStat(m.Flow, mod)
	d := newDecoder()
	b.Run("flow", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := d.flowStats(raw, func(*Stat) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := d.entries(raw, func(*Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestBundleControlLikeTheLibrary: what is built by hand is what libOpenflow builds.
func TestBundleControlLikeTheLibrary(t *testing.T) {
	for _, kind := range []uint16{bundleOpen, bundleClose, bundleCommit, bundleDiscard} {
		m := of.NewBundleControl(&of.BundleControl{BundleID: 7, Type: kind, Flags: bundleAtomic | bundleOrdered})
		want, err := marshal(0x01020304, &m.Header, m)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendBundleControl(nil, 0x01020304, 7, kind); !bytes.Equal(got, want) {
			t.Errorf("kind %d: %x, want %x", kind, got, want)
		}
	}
}
