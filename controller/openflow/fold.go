package openflow

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// folding says for each 32-bit register which wide register holds it, if any.
type folding struct {
	wide  [16]flow.Field // flow.NumFields: none
	shift [16]int        // of the 32-bit register inside the wide one
}

// newFolding returns the folding into the wide registers given.
func newFolding(wide []flow.Field) (*folding, error) {
	var fo folding
	for i := range fo.wide {
		fo.wide[i] = flow.NumFields
	}
	for _, w := range wide {
		var first, n int
		switch {
		case w >= flow.XReg0 && w <= flow.XReg7:
			first, n = 2*int(w-flow.XReg0), 2
		case w >= flow.XXReg0 && w <= flow.XXReg3:
			first, n = 4*int(w-flow.XXReg0), 4
		default:
			return nil, fmt.Errorf("openflow: WideRegisters: %s is no 64- or 128-bit register", w)
		}
		for i := range n {
			if fo.wide[first+i] != flow.NumFields {
				return nil, fmt.Errorf("openflow: WideRegisters: %s and %s overlap", fo.wide[first+i], w)
			}
			fo.wide[first+i] = w
			fo.shift[first+i] = 32 * (n - 1 - i) // the first register is the most significant
		}
	}
	return &fo, nil
}

// apply replaces, in place, tests of 32-bit registers by tests of the wide
// registers that hold them. m is canonical, and so is the result.
func (fo *folding) apply(m flow.Match) flow.Match {
	out := m[:0]
	folded := false
	for _, t := range m {
		if t.Field >= flow.Reg0 && t.Field <= flow.Reg15 {
			i := int(t.Field - flow.Reg0)
			if w := fo.wide[i]; w != flow.NumFields {
				t = flow.Test{Field: w, Value: t.Value.Shl(fo.shift[i]), Mask: t.Mask.Shl(fo.shift[i])}
				if n := len(out); n > 0 && out[n-1].Field == w && out[n-1].Mask.And(t.Mask).IsZero() {
					out[n-1].Value = out[n-1].Value.Or(t.Value)
					out[n-1].Mask = out[n-1].Mask.Or(t.Mask)
					continue
				}
				folded = true
			}
		}
		out = append(out, t)
	}
	if folded {
		out = out.Canonical()
	}
	return out
}
