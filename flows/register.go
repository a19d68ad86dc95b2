package flows

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Kind says what the value of a register means, so that it can be shown.
type Kind uint8

// The meanings of register values.
const (
	KindFlag   Kind = iota // 0 or 1
	KindDomain             // number of a routing domain
	KindVSID               // virtual subnet identifier
	KindPeer               // number of a host
	KindPort               // OpenFlow port number
	KindCA                 // customer address, IPv4 as ::ffff:a.b.c.d
	KindMAC                // Ethernet address
	KindPunt               // reason why a packet goes to the controller
	KindOctets             // number of octets
	KindScratch
)

// Register is a named range of bits of OVS's general-purpose registers
// (ovs-fields(7), "Register fields"). They are zero when a packet enters the
// pipeline and live until it leaves.
type Register struct {
	Name    string
	Bits    flow.Bits
	Kind    Kind
	Purpose string
}

// The registers of the pipeline. None overlaps another: a test and the
// initialisation of the package see to it.
var (
	regDomain = Register{"rd", flow.All(flow.Reg0), KindDomain, "routing domain of the packet"}
	regSource = Register{"src_vsid", flow.All(flow.Reg1), KindVSID, "virtual subnet of the port that the packet came in by"}
	regDest   = Register{"dst_vsid", flow.All(flow.Reg2), KindVSID, "virtual subnet of the packet's destination"}
	regPeer   = Register{"pa", flow.All(flow.Reg3), KindPeer, "host whose provider address the packet goes to"}
	regRouted = Register{"routed", flow.Bits{Field: flow.Reg4, Ofs: 0, N: 1}, KindFlag, "the packet leaves its virtual subnet"}
	regRouter = Register{"router", flow.Bits{Field: flow.Reg4, Ofs: 1, N: 1}, KindFlag, "the next hop is the distributed router itself"}
	regTooBig = Register{"too_big", flow.Bits{Field: flow.Reg4, Ofs: 2, N: 1}, KindFlag, "the packet is larger than the way to the destination's host takes"}
	regOutput = Register{"out_port", flow.All(flow.Reg5), KindPort, "local port to deliver to"}
	regPunt   = Register{"punt", flow.Bits{Field: flow.Reg6, Ofs: 0, N: 8}, KindPunt, "why the packet goes to the controller"}
	regMTU    = Register{"mtu", flow.Bits{Field: flow.Reg6, Ofs: 16, N: 16}, KindOctets, "largest IP packet that the way to the destination's host takes, in octets"}
	regSwap   = Register{"scratch", flow.All(flow.Reg7), KindScratch, "holds an address while two are swapped"}
	regHop    = Register{"next_hop", flow.All(flow.XXReg2), KindCA, "customer address of the next hop; IPv4 as ::ffff:a.b.c.d, so that both families are one lookup"}
	regHopMAC = Register{"next_hop_mac", flow.Bits{Field: flow.XReg6, Ofs: 0, N: 48}, KindMAC, "MAC of the next hop"}
)

// Registers lists the registers of the pipeline.
func Registers() []Register {
	return []Register{regDomain, regSource, regDest, regPeer, regRouted, regRouter, regTooBig, regOutput, regPunt, regMTU, regSwap, regHop, regHopMAC}
}

// hop4 is where an IPv4 next hop stands in the next_hop register, and hopTag the
// half-word before it that marks it as IPv4.
var (
	hop4   = flow.All(flow.Reg11)
	hopTag = flow.All(flow.Reg10)
)

// appendTests appends the tests that the register holds v. A range of an
// extended register is tested as the registers that it is made of, which is how
// a switch reports it.
func (r Register) appendTests(tests []flow.Test, v flow.Value) []flow.Test {
	return r.appendMasked(tests, v, flow.Ones(int(r.Bits.N)))
}

// appendMasked appends the tests that those bits of the register that mask has
// are as in v.
func (r Register) appendMasked(tests []flow.Test, v, mask flow.Value) []flow.Test {
	mask = mask.And(flow.Ones(int(r.Bits.N))).Shl(int(r.Bits.Ofs))
	v = v.Shl(int(r.Bits.Ofs)).And(mask)
	ps, n := parts(r.Bits.Field)
	for _, p := range ps[:n] {
		if m := mask.Shr(p.shift).And(flow.Ones(32)); !m.IsZero() {
			tests = append(tests, flow.Masked(p.reg, v.Shr(p.shift), m))
		}
	}
	return tests
}

// is returns the test that the register, which lies in one 32-bit register,
// holds n.
func (r Register) is(n uint64) flow.Test {
	return flow.Masked(r.Bits.Field, flow.Uint(n).Shl(int(r.Bits.Ofs)), r.Bits.Mask())
}

// set returns the action that puts v into the register.
func (r Register) set(v flow.Value) flow.Action { return flow.Set(r.Bits, v) }

// part is a 32-bit register inside a wider one, shift bits from the right.
type part struct {
	reg   flow.Field
	shift int
}

// parts returns the n 32-bit registers that f is made of, in rising order
// (ovs-fields(7): xxreg0 is reg0 to reg3, reg0 the most significant).
func parts(f flow.Field) (ps [4]part, n int) {
	first := f
	n = 1
	switch {
	case f >= flow.XXReg0 && f <= flow.XXReg3:
		first, n = flow.Reg0+4*(f-flow.XXReg0), 4
	case f >= flow.XReg0 && f <= flow.XReg7:
		first, n = flow.Reg0+2*(f-flow.XReg0), 2
	}
	for i := range n {
		ps[i] = part{first + flow.Field(i), 32 * (n - 1 - i)}
	}
	return ps, n
}

// checkRegisters reports registers that overlap or exceed their field.
func checkRegisters(regs []Register) error {
	var owner [flow.NumFields][32]string
	for _, r := range regs {
		if w := r.Bits.Field.Info().Bits; r.Bits.N == 0 || int(r.Bits.Ofs)+int(r.Bits.N) > w {
			return fmt.Errorf("register %s: %s exceeds the %d bits of %s", r.Name, r.Bits.Text(), w, r.Bits.Field)
		}
		ps, n := parts(r.Bits.Field)
		for _, p := range ps[:n] {
			m := r.Bits.Mask().Shr(p.shift).Lo
			for bit := range 32 {
				if m>>bit&1 == 0 {
					continue
				}
				if o := owner[p.reg][bit]; o != "" {
					return fmt.Errorf("registers %s and %s share %s[%d]", o, r.Name, p.reg, bit)
				}
				owner[p.reg][bit] = r.Name
			}
		}
	}
	return nil
}
