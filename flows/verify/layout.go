package verify

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

const (
	low32      = 1<<32 - 1
	low48      = 1<<48 - 1
	all64      = ^uint64(0)
	tagPresent = 0x1000 << 48 // in words.EthDst: there is a tag (OpenFlow 1.3.5 section 7.2.3.8)
	tagBits    = 0xffff << 48
	ttlShift   = 8
	ttlMask    = 0xff << ttlShift
)

// isInput reports whether a word is part of what comes in; the others, registers
// and metadata, are zero at first.
func isInput(word int) bool {
	return word != words.Metadata && (word < words.Regs || word >= words.Regs+8)
}

// isFrame reports whether a word is part of the frame.
func isFrame(word int) bool { return word >= words.EthDst }

// spread returns value v under mask m of field f as terms.
func spread(f flow.Field, v, m flow.Value) (ts []term) {
	p := words.Of(f)
	if !p.Wide {
		return []term{{p.Word, m.Lo << p.Shift, v.Lo << p.Shift}}
	}
	if m.Hi != 0 {
		ts = append(ts, term{p.Word, m.Hi, v.Hi})
	}
	if m.Lo != 0 {
		ts = append(ts, term{p.Word + 1, m.Lo, v.Lo})
	}
	return ts
}

// bitAt returns the word and the bit in it of the i-th bit of a field.
func bitAt(f flow.Field, i int) (word uint8, bit int) {
	p := words.Of(f)
	switch {
	case !p.Wide:
		return p.Word, int(p.Shift) + i
	case i < 64:
		return p.Word + 1, i
	}
	return p.Word, i - 64
}

// run is a row of bits that a move copies from one word to another.
type run struct {
	dst, src uint8
	dstBit   int
	srcBit   int
	n        int
}

// runs returns the rows that a move of src to dst consists of.
func runs(dst, src flow.Bits) (rs []run) {
	for i := range int(dst.N) {
		dw, db := bitAt(dst.Field, int(dst.Ofs)+i)
		sw, sb := bitAt(src.Field, int(src.Ofs)+i)
		if n := len(rs); n > 0 {
			l := &rs[n-1]
			if l.dst == dw && l.src == sw && l.dstBit+l.n == db && l.srcBit+l.n == sb {
				l.n++
				continue
			}
		}
		rs = append(rs, run{dw, sw, db, sb, 1})
	}
	return rs
}
