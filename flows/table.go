package flows

import (
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Table declares one table of the pipeline. Everything that is said of a table
// anywhere, in dumps, in the switch's database and in docs/PIPELINE.md, comes
// from its declaration, and no flow may exceed it.
type Table struct {
	ID      uint8
	Name    string // at most 32 octets, unique, as OVS demands of Flow_Table.name
	Purpose string
	Matches []flow.Bits // what its flows may test
	Sets    []flow.Bits // what its flows may write
	Next    []uint8     // tables that its flows may go to, each greater than ID
	Outputs bool        // whether its flows may send a packet out
	Groups  bool        // whether its flows may do groups
	Punts   bool        // whether its flows may send a packet to the controller
	Miss    string      // what becomes of a packet that no other flow takes
}

// fields and regs put declarations of packet fields and registers together.
func fields(fs ...flow.Field) []flow.Bits {
	bs := make([]flow.Bits, len(fs))
	for i, f := range fs {
		bs[i] = flow.All(f)
	}
	return bs
}

func regs(rs ...Register) []flow.Bits {
	bs := make([]flow.Bits, len(rs))
	for i, r := range rs {
		bs[i] = r.Bits
	}
	return bs
}

// rules is a declaration in the form that flows are checked against.
type rules struct {
	table      *Table
	match, set [flow.NumFields]flow.Value // the bits allowed
	next       [4]uint64                  // a bit for each table
}

func newRules(t *Table) *rules {
	r := &rules{table: t}
	allow := func(to *[flow.NumFields]flow.Value, bs []flow.Bits) {
		for _, b := range bs {
			to[b.Field] = to[b.Field].Or(b.Mask())
			ps, n := parts(b.Field)
			for _, p := range ps[:n] {
				if p.reg != b.Field {
					to[p.reg] = to[p.reg].Or(b.Mask().Shr(p.shift).And(flow.Ones(32)))
				}
			}
		}
	}
	allow(&r.match, t.Matches)
	allow(&r.set, t.Sets)
	for _, n := range t.Next {
		r.next[n/64] |= 1 << (n % 64)
	}
	return r
}

// check returns an error where f does what its table's declaration does not
// allow.
func (r *rules) check(f *flow.Flow) error {
	for _, t := range f.Match {
		if !t.Mask.And(r.match[t.Field].Not()).IsZero() {
			return fmt.Errorf("table %s may not match %s", r.table.Name, t.Text())
		}
	}
	for i, a := range f.Actions {
		switch a.Op {
		case flow.OpSet, flow.OpMove, flow.OpCheckLarger:
			if !a.Dst.Mask().And(r.set[a.Dst.Field].Not()).IsZero() {
				return fmt.Errorf("table %s may not set %s", r.table.Name, a.Dst.Text())
			}
			if a.Dst.Field.Info().ReadOnly {
				return fmt.Errorf("table %s sets %s, which cannot be written", r.table.Name, a.Dst.Text())
			}
		case flow.OpDecTTL:
			if r.set[flow.IPTTL].IsZero() {
				return fmt.Errorf("table %s may not change the TTL", r.table.Name)
			}
		case flow.OpOutput, flow.OpOutputReg:
			if !r.table.Outputs {
				return fmt.Errorf("table %s may not send packets out", r.table.Name)
			}
		case flow.OpGroup:
			if !r.table.Groups {
				return fmt.Errorf("table %s may not do groups", r.table.Name)
			}
		case flow.OpController:
			if !r.table.Punts {
				return fmt.Errorf("table %s may not send packets to the controller", r.table.Name)
			}
		case flow.OpPopVLAN:
			if r.set[flow.VLANTCI].IsZero() {
				return fmt.Errorf("table %s may not take tags off", r.table.Name)
			}
		case flow.OpGoto:
			if a.Table <= f.Table || r.next[a.Table/64]>>(a.Table%64)&1 == 0 {
				return fmt.Errorf("table %s may not go to table %d", r.table.Name, a.Table)
			}
			if i != len(f.Actions)-1 {
				return fmt.Errorf("table %s: goto_table must come last", r.table.Name)
			}
		default:
			return fmt.Errorf("table %s: no such action: %s", r.table.Name, a.Text())
		}
	}
	return nil
}

// checkBucket is check for the actions of a bucket, which go on by a resubmit in
// place of a goto.
func (r *rules) checkBucket(f *flow.Flow) error {
	g := *f
	g.Actions = nil
	for _, a := range f.Actions {
		switch a.Op {
		case flow.OpGoto, flow.OpGroup:
			return fmt.Errorf("table %s: a bucket does not %s", r.table.Name, a.Text())
		case flow.OpResubmit:
			if a.Table <= f.Table || r.next[a.Table/64]>>(a.Table%64)&1 == 0 {
				return fmt.Errorf("table %s may not go to table %d", r.table.Name, a.Table)
			}
			continue
		}
		g.Actions = append(g.Actions, a)
	}
	return r.check(&g)
}

// checkTables reports declarations that contradict themselves or each other.
func checkTables(ts []*Table) error {
	for i, t := range ts {
		if t.Name == "" || len(t.Name) > 32 || t.Purpose == "" || t.Miss == "" {
			return fmt.Errorf("table %d: wants a name of 1 to 32 octets, a purpose and a miss", t.ID)
		}
		if i > 0 && ts[i-1].ID >= t.ID {
			return fmt.Errorf("table %s: tables must be listed by rising number", t.Name)
		}
		for _, n := range t.Next {
			if n <= t.ID {
				return fmt.Errorf("table %s goes back to table %d", t.Name, n)
			}
			if !slices.ContainsFunc(ts, func(u *Table) bool { return u.ID == n }) {
				return fmt.Errorf("table %s goes to table %d, which is not declared", t.Name, n)
			}
		}
		for _, u := range ts[:i] {
			if u.Name == t.Name {
				return fmt.Errorf("tables %d and %d are both named %s", u.ID, t.ID, t.Name)
			}
		}
	}
	return nil
}
