package sim_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// randomTables draws flows with no meaning, in three tables, that use all that
// the model knows: masks on anything, parts of registers of every width, moves
// between fields, dec_ttl, several outputs, ports that are not there. No two
// flows have one priority, since a switch may choose between such.
func randomTables(d dice) []flow.Flow {
	var fs []flow.Flow
	for i := range 4 + d.pick(12) {
		f := flow.Flow{Table: uint8(d.pick(3)), Priority: uint16(10 + i), Cookie: uint64(i + 1)}
		et := one(d, []uint16{0, packet.TypeIPv4, packet.TypeIPv4, packet.TypeARP})
		f.Match = randomMatch(d, et)
		for range d.pick(5) {
			f.Actions = append(f.Actions, randomAction(d, et))
		}
		if f.Table < 2 && d.pick(3) != 2 {
			f.Actions = append(f.Actions, flow.Goto(f.Table+1+uint8(d.pick(2-int(f.Table)))))
		}
		fs = append(fs, f)
	}
	return fs
}

// sparse returns a random value of so many bits, with few of them set.
func sparse(d dice, bits int) flow.Value {
	v := flow.Value{}
	for range 1 + d.pick(3) {
		v = v.Or(flow.Uint(1).Shl(d.pick(bits)))
	}
	return v
}

func randomMatch(d dice, et uint16) (m flow.Match) {
	choices := []flow.Field{flow.Reg0, flow.Reg9, flow.Reg13, flow.EthSrc, flow.EthDst, flow.VLANTCI, flow.TunID, flow.Metadata}
	switch et {
	case packet.TypeIPv4:
		choices = append(choices, flow.IPv4Src, flow.IPv4Dst, flow.IPv4Dst, flow.IPTTL, flow.IPProto)
	case packet.TypeARP:
		choices = append(choices, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA, flow.ARPOp)
	}
	if et != 0 {
		m = append(m, flow.Exact(flow.EthType, flow.Uint(uint64(et))))
	}
	if rarely(d, 3) {
		m = append(m, flow.Exact(flow.InPort, flow.Uint(uint64(1+d.pick(3)))))
	}
	for range d.pick(3) {
		f := one(d, choices)
		if _, twice := m.Find(f); twice {
			continue
		}
		switch f {
		case flow.IPTTL, flow.ARPOp:
			m = append(m, flow.Exact(f, flow.Uint(uint64(d.pick(3)))))
		case flow.IPProto:
			m = append(m, flow.Exact(f, flow.Uint(uint64(one(d, []uint8{1, 6, 17})))))
		case flow.VLANTCI:
			m = append(m, flow.Masked(f, flow.Uint(uint64(d.pick(2)*0x1000)), flow.Uint(0x1000)))
		default:
			mask := sparse(d, f.Info().Bits)
			v := flow.Value{}
			if d.pick(3) == 2 {
				v = mask
			}
			m = append(m, flow.Masked(f, v, mask))
		}
	}
	return m.Canonical()
}

func randomBits(d dice, f flow.Field, n int) flow.Bits {
	return flow.Bits{Field: f, Ofs: uint8(d.pick(f.Info().Bits - n + 1)), N: uint8(n)}
}

func randomAction(d dice, et uint16) flow.Action {
	fields := []flow.Field{flow.Reg0, flow.Reg1, flow.Reg9, flow.XReg0, flow.XReg4, flow.XReg6, flow.XXReg0, flow.XXReg2,
		flow.EthSrc, flow.EthDst, flow.TunID, flow.TunSrc, flow.TunDst, flow.Metadata}
	switch et {
	case packet.TypeIPv4:
		fields = append(fields, flow.IPv4Src, flow.IPv4Dst, flow.IPTTL)
		if rarely(d, 4) {
			return flow.DecTTL()
		}
	case packet.TypeARP:
		fields = append(fields, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA)
	}
	dst := one(d, fields)
	switch d.pick(6) {
	case 0, 1:
		n := 1 + d.pick(dst.Info().Bits)
		b := randomBits(d, dst, n)
		return flow.Set(b, sparse(d, n))
	case 2, 3:
		src := one(d, fields)
		n := 1 + d.pick(min(dst.Info().Bits, src.Info().Bits))
		return flow.Move(randomBits(d, src, n), randomBits(d, dst, n))
	case 4:
		return flow.Output(one(d, []uint32{1, 2, 3, 9, flow.PortInPort}))
	}
	return flow.OutputReg(randomBits(d, one(d, []flow.Field{flow.Reg0, flow.Reg1, flow.XReg4}), 1+d.pick(32)))
}

func randomAny(d dice) packet.Frame {
	f := packet.Frame{Src: tenant.MAC{2, 0, 0, 0, 0, byte(d.pick(4))}, Dst: tenant.MAC{2, 0, 0, 0, 0, byte(d.pick(4))},
		Tagged: rarely(d, 6), Type: packet.TypeIPv4}
	a := func() (b [4]byte) { return [4]byte{10, byte(d.pick(3)), 0, byte(d.pick(8))} }
	switch d.pick(4) {
	case 0, 1:
		f.IP = packet.IP{Src: addr(a()), Dst: addr(a()), TTL: uint8(d.pick(4)), Proto: one(d, []uint8{packet.ProtoUDP, packet.ProtoTCP, packet.ProtoICMP, 89})}
	case 2:
		f.Type = packet.TypeARP
		f.ARP = packet.ARP{Op: uint16(d.pick(3)), SPA: addr(a()), TPA: addr(a()), SHA: f.Src, THA: f.Dst}
	case 3:
		f.Type = 0x88cc
	}
	return f
}

// A real switch and the model agree on tables of which nothing makes sense.
func TestModelIsTrueOfRandomTables(t *testing.T) {
	r := newReal(t)
	tables := 25
	if soak {
		tables = 500
	}
	setRapid(t, "checks", fmt.Sprint(tables))
	ports := []sim.Port{{Number: 1}, {Number: 2}, {Number: 3}}
	ends := make(map[sim.End]int)
	skips, outs := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		model, err := sim.NewSwitch(randomTables(d), ports)
		if err != nil {
			t.Fatal(err)
		}
		bridges, err := r.load([]*sim.Switch{model}, [][]sim.Port{ports})
		if err != nil {
			t.Fatal(err)
		}
		var res sim.Result
		for range 30 {
			in := sim.Input{Port: uint32(1 + d.pick(3)), Frame: randomAny(d)}
			model.Run(&in, &res)
			if diff := bridges[0].compare(&in, &res); diff != "" {
				t.Fatalf("%s\n%s\nmodel:\n%s", in.Frame, diff, &res)
			}
			ends[res.End]++
			skips += len(res.Skipped)
			outs += len(res.Outputs)
		}
	})
	t.Logf("%d traces, ends %v, %d outputs, %d skipped", r.traces, ends, outs, skips)
}
