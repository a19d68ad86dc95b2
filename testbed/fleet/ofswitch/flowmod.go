package ofswitch

// flowMod is a decoded flow-mod (OpenFlow 1.3.5 section 7.3.4.1).
type flowMod struct {
	command  uint8
	table    uint8
	priority uint16
	cookie   uint64
	mask     uint64
	idle     uint16
	hard     uint16
	outPort  uint32
	outGroup uint32
	flags    uint16
	match    match
	instr    []byte   // as they are read back
	groups   []uint32 // that the actions name
}

// decode reads a flow-mod, with its head. What it holds afterwards shares
// nothing with b.
func (f *flowMod) decode(b []byte) *Error {
	if len(b) < headerLen+40+8 || len(b)&7 != 0 {
		return errBadLen
	}
	*f = flowMod{
		cookie: be.Uint64(b[8:]), mask: be.Uint64(b[16:]), table: b[24], command: b[25],
		idle: be.Uint16(b[26:]), hard: be.Uint16(b[28:]), priority: be.Uint16(b[30:]),
		outPort: be.Uint32(b[36:]), outGroup: be.Uint32(b[40:]), flags: be.Uint16(b[44:]),
		instr: f.instr[:0], groups: f.groups[:0],
	}
	n, err := f.match.decode(b[48:])
	if err != nil {
		return err
	}
	if f.table == allTables && f.command != cmdDelete && f.command != cmdDeleteStrict {
		return errFlowTable
	}
	if f.command > cmdDeleteStrict {
		return errFlowCommand
	}
	c := checker{match: &f.match, groups: f.groups}
	f.instr, err = c.instructions(f.instr, b[48+n:], f.table)
	f.groups = c.groups
	switch {
	case err != nil:
		return err
	case f.flags&^flagsKnown != 0:
		return errFlowFlags
	case c.later != nil:
		return c.later
	case f.table == tableInternal && f.command == cmdAdd:
		return errEPerm
	}
	return nil
}

// request is what a delete, a modify or a request for statistics selects flows
// by (OpenFlow 1.3.5 sections 6.4 and 7.3.5.2).
type request struct {
	table    uint8
	cookie   uint64
	mask     uint64
	outPort  uint32
	outGroup uint32
	match    *match
}

// selects reports whether the flow is meant.
func (r *request) selects(f *Body, scratch *match) bool {
	if r.table != allTables && r.table != f.Table() || (f.Cookie()^r.cookie)&r.mask != 0 {
		return false
	}
	if len(r.match.tests) > 0 {
		scratch.decodeEntries(f.matchEntries())
		if !r.match.covers(scratch) {
			return false
		}
	}
	return r.outputs(f)
}

// outputs applies the filters by port and by group.
func (r *request) outputs(f *Body) bool {
	return (r.outGroup == anyGroup || leadsTo(f.instructions(), actionGroup, r.outGroup)) &&
		(r.outPort == anyPort || leadsTo(f.instructions(), actionOutput, r.outPort))
}

// leadsTo reports whether one of the actions is of that kind, an output or a
// group, and names that number.
func leadsTo(instr []byte, what uint16, number uint32) bool {
	for len(instr) >= 8 {
		kind, n := be.Uint16(instr), int(be.Uint16(instr[2:]))
		if kind == instrApplyActions || kind == instrWriteActions {
			for a := instr[8:n]; len(a) >= 8; a = a[be.Uint16(a[2:]):] {
				if be.Uint16(a) == what && be.Uint32(a[4:]) == number {
					return true
				}
			}
		}
		instr = instr[n:]
	}
	return false
}
