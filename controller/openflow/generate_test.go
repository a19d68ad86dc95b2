package openflow

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// drawValue draws a number of n bits, small ones and extremes often.
func drawValue(t *rapid.T, n int) flow.Value {
	v := flow.Value{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
	return v.And(flow.Ones(n))
}

// maskable are the fields that Open vSwitch matches under any mask; of the
// registers those of 32 bits, see the package's documentation.
var maskable = []flow.Field{flow.Metadata, flow.TunID, flow.TunSrc, flow.TunDst, flow.TunIPv6Src, flow.TunIPv6Dst,
	flow.Reg0, flow.Reg1, flow.Reg2, flow.Reg3, flow.Reg4, flow.Reg5, flow.Reg6, flow.Reg7, flow.Reg8, flow.Reg9, flow.Reg10, flow.Reg11, flow.Reg12, flow.Reg13, flow.Reg14, flow.Reg15,
	flow.EthDst, flow.EthSrc}

// genFlow draws a flow that a switch accepts: prerequisites are respected.
func genFlow(t *rapid.T) flow.Flow {
	f := flow.Flow{
		Table:    rapid.Uint8Range(0, 250).Draw(t, "table"),
		Priority: rapid.Uint16().Draw(t, "priority"),
		Cookie:   rapid.Uint64Range(0, 1<<64-2).Draw(t, "cookie"), // all ones means "keep" to a modify
	}
	have := map[flow.Field]bool{}
	masked := func(field flow.Field) {
		n := field.Info().Bits
		mask := flow.Ones(n)
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			mask = flow.PrefixMask(rapid.IntRange(1, n).Draw(t, "plen"), n)
		case 1:
			if mask = drawValue(t, n); mask.IsZero() {
				mask = flow.Ones(1)
			}
		}
		have[field] = true
		f.Match = append(f.Match, flow.Masked(field, drawValue(t, n), mask))
	}
	exact := func(field flow.Field, v flow.Value) {
		have[field] = true
		f.Match = append(f.Match, flow.Exact(field, v))
	}
	for _, field := range rapid.SliceOfNDistinct(rapid.SampledFrom(maskable), 0, 6, rapid.ID[flow.Field]).Draw(t, "fields") {
		// Open vSwitch keeps one family of tunnel addresses.
		if field == flow.TunIPv6Src || field == flow.TunIPv6Dst {
			if have[flow.TunSrc] || have[flow.TunDst] {
				continue
			}
		}
		if field == flow.TunSrc || field == flow.TunDst {
			if have[flow.TunIPv6Src] || have[flow.TunIPv6Dst] {
				continue
			}
		}
		masked(field)
	}
	if rapid.Bool().Draw(t, "in_port") {
		exact(flow.InPort, flow.Uint(rapid.Uint64Range(1, 0xfeff).Draw(t, "port")))
	}
	switch rapid.IntRange(0, 3).Draw(t, "vlan") {
	case 0:
		f.Match = append(f.Match, flow.Masked(flow.VLANTCI, flow.Uint(0x1000), flow.Uint(0x1000)))
	case 1:
		exact(flow.VLANTCI, flow.Uint(0x1000|rapid.Uint64Range(0, 4095).Draw(t, "vid")))
	case 2:
		exact(flow.VLANTCI, flow.Uint(0))
	}
	maybe := func(fields ...flow.Field) {
		for _, field := range fields {
			if rapid.Bool().Draw(t, field.String()) {
				masked(field)
			}
		}
	}
	var writable []flow.Field
	some := func(field flow.Field, n uint64) {
		if rapid.Bool().Draw(t, field.String()) {
			exact(field, flow.Uint(rapid.Uint64Range(0, n).Draw(t, "v")))
		}
	}
	ip := false
	switch rapid.IntRange(0, 9).Draw(t, "protocol") {
	case 0:
		exact(flow.EthType, flow.Uint(0x806))
		some(flow.ARPOp, 2)
		maybe(flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA)
		writable = []flow.Field{flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA}
	case 1, 2, 3, 4:
		ip = true
		exact(flow.EthType, flow.Uint(0x800))
		maybe(flow.IPv4Src, flow.IPv4Dst)
		some(flow.IPTTL, 255)
		writable = []flow.Field{flow.IPv4Src, flow.IPv4Dst, flow.IPTTL}
		switch rapid.IntRange(0, 3).Draw(t, "transport") {
		case 0:
			exact(flow.IPProto, flow.Uint(1))
			some(flow.ICMPType, 255)
			some(flow.ICMPCode, 255)
			writable = append(writable, flow.ICMPType, flow.ICMPCode)
		case 1:
			exact(flow.IPProto, flow.Uint(6))
			maybe(flow.TCPSrc, flow.TCPDst)
			writable = append(writable, flow.TCPSrc, flow.TCPDst)
		case 2:
			exact(flow.IPProto, flow.Uint(17))
			maybe(flow.UDPSrc, flow.UDPDst)
			writable = append(writable, flow.UDPSrc, flow.UDPDst)
		}
	case 5, 6, 7:
		ip = true
		exact(flow.EthType, flow.Uint(0x86dd))
		maybe(flow.IPv6Src, flow.IPv6Dst)
		writable = []flow.Field{flow.IPv6Src, flow.IPv6Dst, flow.IPTTL}
		if rapid.Bool().Draw(t, "icmp6") {
			exact(flow.IPProto, flow.Uint(58))
			kind := rapid.Uint64Range(134, 137).Draw(t, "type")
			exact(flow.ICMPv6Type, flow.Uint(kind))
			exact(flow.ICMPv6Code, flow.Uint(0))
			writable = append(writable, flow.ICMPv6Type, flow.ICMPv6Code)
			if kind == 135 {
				maybe(flow.NDTarget, flow.NDSLL)
				writable = append(writable, flow.NDTarget, flow.NDSLL)
			} else if kind == 136 {
				maybe(flow.NDTarget, flow.NDTLL)
				writable = append(writable, flow.NDTarget, flow.NDTLL)
			}
		}
	}
	f.Match = f.Match.Canonical()
	writable = append(writable, flow.XXReg0, flow.XXReg2, flow.XReg6, flow.Reg0, flow.Reg7, flow.Reg11, flow.Reg14, flow.TunID, flow.TunSrc,
		flow.TunDst, flow.TunIPv6Dst, flow.Metadata, flow.EthDst, flow.EthSrc)
	f.Actions = genActions(t, writable, f.Table, ip)
	if tag, ok := f.Match.Find(flow.VLANTCI); ok && !tag.Value.IsZero() && rapid.Bool().Draw(t, "pop") {
		f.Actions = append([]flow.Action{flow.PopVLAN()}, f.Actions...)
	}
	return f
}

func genBits(t *rapid.T, fields []flow.Field, most int) flow.Bits {
	field := rapid.SampledFrom(fields).Draw(t, "field")
	all := field.Info().Bits
	if all <= most && rapid.Bool().Draw(t, "whole") {
		return flow.All(field)
	}
	n := rapid.IntRange(1, min(all, most)).Draw(t, "n")
	return flow.Bits{Field: field, Ofs: uint8(rapid.IntRange(0, all-n).Draw(t, "ofs")), N: uint8(n)}
}

// numGroups is how many groups addGroups makes.
const numGroups = 3

func genActions(t *rapid.T, fields []flow.Field, table uint8, ip bool) []flow.Action {
	var actions []flow.Action
	for range rapid.IntRange(0, 8).Draw(t, "actions") {
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0, 1:
			dst := genBits(t, fields, 128)
			v := drawValue(t, int(dst.N))
			if dst.Field == flow.ARPOp { // 8 bits of it exist for Open vSwitch
				v = v.And(flow.Uint(0xff).Shr(int(dst.Ofs)))
			}
			actions = append(actions, flow.Set(dst, v))
		case 2:
			src := genBits(t, fields, 128)
			dst := genBits(t, fields, int(src.N))
			src.N = dst.N
			actions = append(actions, flow.Move(src, dst))
		case 3:
			if ip {
				actions = append(actions, flow.DecTTL())
			}
		case 4:
			port := rapid.Uint32Range(1, 0xfeff).Draw(t, "port")
			if rapid.Bool().Draw(t, "back") {
				port = flow.PortInPort
			}
			actions = append(actions, flow.Output(port))
		case 5:
			actions = append(actions, flow.OutputReg(genBits(t, []flow.Field{flow.Reg5, flow.Reg14, flow.XXReg2}, 32)))
		case 6:
			actions = append(actions, flow.ToGroup(rapid.Uint32Range(1, numGroups).Draw(t, "group")))
		case 7:
			actions = append(actions, flow.Resubmit(rapid.Uint8Range(0, 250).Draw(t, "table")))
		case 8:
			a := flow.ToController(rapid.Uint16().Draw(t, "controller"), rapid.Uint32Range(0, 3).Draw(t, "meter"))
			if rapid.Bool().Draw(t, "cut") {
				a.MaxLen = rapid.Uint16().Draw(t, "max_len")
			}
			if rapid.Bool().Draw(t, "userdata") {
				a.UserData = string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data"))
			}
			actions = append(actions, a)
		case 9:
			dst := genBits(t, []flow.Field{flow.Reg4, flow.Reg15, flow.XReg6, flow.XXReg2}, 128)
			dst.N = 1
			actions = append(actions, flow.CheckLarger(rapid.Uint16().Draw(t, "octets"), dst))
		}
	}
	if table < 250 && rapid.Bool().Draw(t, "goto") {
		actions = append(actions, flow.Goto(rapid.Uint8Range(table+1, 251).Draw(t, "next")))
	}
	return actions
}

// distinct removes flows that would replace one another.
func distinct(flows []flow.Flow) []flow.Flow {
	slices.SortFunc(flows, func(f, g flow.Flow) int { return flow.Compare(&f, &g) })
	return slices.CompactFunc(flows, func(f, g flow.Flow) bool { return f.SameEntry(&g) })
}

// enc encodes a flow that is known to be good.
func enc(f *flow.Flow) Encoded {
	e, err := Encode(f)
	if err != nil {
		panic(err)
	}
	return e
}

// addGroups makes the groups that drawn flows name.
func addGroups(tb testing.TB, sw *ovsproc.Switch) {
	tb.Helper()
	for i := range numGroups {
		if _, err := sw.Ofctl(tb.Context(), "add-group", "br-int", fmt.Sprintf("group_id=%d,type=all", i+1)); err != nil {
			tb.Fatal(err)
		}
	}
}

// adds yields an Add for each flow.
func adds(flows []flow.Flow) iter.Seq[Mod] {
	return func(yield func(Mod) bool) {
		for i := range flows {
			if !yield(Mod{Op: Add, Flow: enc(&flows[i])}) {
				return
			}
		}
	}
}

// deletes yields a DeleteStrict for each flow.
func deletes(flows []flow.Flow) iter.Seq[Mod] {
	return func(yield func(Mod) bool) {
		for i := range flows {
			if !yield(Mod{Op: DeleteStrict, Flow: enc(&flows[i]), CookieMask: ^uint64(0)}) {
				return
			}
		}
	}
}
