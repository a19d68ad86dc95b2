package ofswitch

// change is one replaced entry, to be undone or to be completed: old, new or
// neither is nil.
type change struct{ old, new *Body }

// apply makes one flow-mod's changes and appends them to log; on an error it has
// made none. The caller holds the switch's lock.
func (s *Switch) apply(f *flowMod, log []change) ([]change, *Error) {
	if f.table == tableInternal {
		return log, errEPerm // whichever of its flows it would mean
	}
	if f.command != cmdDelete && f.command != cmdDeleteStrict {
		for _, id := range f.groups {
			if _, ok := s.groups[id]; !ok {
				return log, errActionOutGroup
			}
		}
	}
	switch f.command {
	case cmdAdd:
		return s.add(f, log)
	case cmdModify, cmdModifyStrict:
		for _, old := range s.chosen(f, f.command == cmdModifyStrict) {
			var key int
			s.scratch, key = old.withInstructions(s.scratch[:0], f.instr)
			b := s.pool.get(s.scratch, key)
			s.flows.put(b)
			log = append(log, change{old, b})
		}
	default:
		for _, old := range s.chosen(f, f.command == cmdDeleteStrict) {
			s.flows.remove(old)
			log = append(log, change{old, nil})
		}
	}
	return log, nil
}

func (s *Switch) add(f *flowMod, log []change) ([]change, *Error) {
	var key int
	s.scratch, key = f.appendBody(s.scratch[:0])
	b := s.pool.get(s.scratch, key)
	if f.flags&flagCheckOverlap != 0 && s.flows.get(b) == nil && s.overlaps(f) {
		s.pool.release(b)
		return log, errFlowOverlap
	}
	return append(log, change{s.flows.put(b), b}), nil
}

// overlaps reports whether a flow of the same priority takes packets that f
// would take (OpenFlow 1.3.5 section 6.4).
func (s *Switch) overlaps(f *flowMod) bool {
	for o := range s.flows.all {
		if o.Table() == f.table && o.Priority() == f.priority {
			s.scratchMatch.decodeEntries(o.matchEntries())
			if f.match.overlaps(&s.scratchMatch) {
				return true
			}
		}
	}
	return false
}

// chosen returns the flows that a modify or delete means. The slice is good
// until the next call.
func (s *Switch) chosen(f *flowMod, strict bool) []*Body {
	clear(s.selected)
	s.selected = s.selected[:0]
	r := request{f.table, f.cookie, f.mask, anyPort, anyGroup, &f.match}
	if f.command == cmdDelete || f.command == cmdDeleteStrict {
		r.outPort, r.outGroup = f.outPort, f.outGroup
	}
	if strict && f.table != allTables {
		var key int
		s.scratch, key = f.appendBody(s.scratch[:0])
		if o := s.flows.get(s.pool.probe(s.scratch, key, &s.key)); o != nil && (o.Cookie()^r.cookie)&r.mask == 0 && r.outputs(o) {
			s.selected = append(s.selected, o)
		}
		return s.selected
	}
	for o := range s.flows.all {
		if strict {
			if o.Priority() != f.priority {
				continue
			}
			s.scratchMatch.decodeEntries(o.matchEntries())
			if !s.scratchMatch.equal(&f.match) {
				continue
			}
		}
		if r.selects(o, &s.scratchMatch) {
			s.selected = append(s.selected, o)
		}
	}
	return s.selected
}

// settle gives back what changes have replaced.
func (s *Switch) settle(log []change) {
	for _, c := range log {
		if c.old != nil {
			s.pool.release(c.old)
		}
	}
}

// undo takes changes back, the last one first.
func (s *Switch) undo(log []change) {
	for i := len(log) - 1; i >= 0; i-- {
		c := log[i]
		if c.old != nil {
			s.flows.put(c.old)
		} else {
			s.flows.remove(c.new)
		}
		if c.new != nil {
			s.pool.release(c.new)
		}
	}
}
