package ofswitch

// instrOrder is the order in which Open vSwitch reads instructions back.
var instrOrder = [...]uint16{instrMeter, instrApplyActions, instrClearActions, instrWriteActions, instrWriteMetadata, instrGoto}

// checkInstructions checks the instructions of a flow in this table with this
// match (OpenFlow 1.3.5 sections 7.2.4 and 7.2.5), and appends to b what is read
// back of them: ordered, and without empty lists of actions.
func checkInstructions(b, instr []byte, table uint8, m *match) ([]byte, *Error) {
	var found [instrMeter + 1][]byte
	for len(instr) > 0 {
		if len(instr) < 8 {
			return b, errInstrLen
		}
		kind, n := be.Uint16(instr), int(be.Uint16(instr[2:]))
		if n < 8 || n&7 != 0 || n > len(instr) {
			return b, errInstrLen
		}
		if kind == 0 || kind > instrMeter {
			return b, errInstrUnknown
		}
		if found[kind] != nil {
			return b, errInstrDup
		}
		found[kind] = instr[:n]
		instr = instr[n:]
		switch {
		case kind == instrWriteMetadata && n != 24, (kind == instrGoto || kind == instrClearActions || kind == instrMeter) && n != 8:
			return b, errInstrLen
		}
	}
	for _, kind := range instrOrder {
		one := found[kind]
		if one == nil {
			continue
		}
		start := len(b)
		switch kind {
		case instrGoto:
			if one[4] <= table && table != allTables {
				return b, errInstrTable
			}
		case instrMeter:
			return b, errMeterUnknown // there are no meters
		case instrApplyActions, instrWriteActions:
			if len(one) == 8 {
				continue
			}
			b = append(b, one...)
			if err := checkActions(b[start+8:], m); err != nil {
				return b, err
			}
			continue
		}
		b = append(b, one...)
	}
	return b, nil
}

// checkActions checks a list of actions and makes it what is read back.
func checkActions(b []byte, m *match) *Error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errActionLen
		}
		kind, n := be.Uint16(b), int(be.Uint16(b[2:]))
		if n < 8 || n&7 != 0 || n > len(b) {
			return errActionLen
		}
		if err := checkAction(kind, b[:n], m); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// The actions of eight octets that are accepted without more ado.
const (
	actionSetMPLSTTL = 15
	actionGroup      = 22
	actionSetNwTTL   = 23
	actionDecNwTTL   = 24
)

func checkAction(kind uint16, b []byte, m *match) *Error {
	switch {
	case kind == actionOutput:
		if len(b) != 16 {
			return errActionLen
		}
		return checkPort(be.Uint32(b[4:]))
	case kind == actionGroup:
		return errActionOutGroup // there are no groups
	case kind >= actionSetMPLSTTL && kind < actionSetField:
		if len(b) != 8 {
			return errActionLen
		}
		if (kind == actionSetNwTTL || kind == actionDecNwTTL) && !m.presupposed(fIPTTL) {
			return errActionInconsistent
		}
		return nil
	case kind == actionSetField:
		return checkSetField(b[4:], m, false)
	case kind == actionExperimenter:
		return checkExperimenter(b, m)
	}
	return errActionType
}

// checkPort checks an output port: a real one has a number below 0xff00.
func checkPort(port uint32) *Error {
	if port < 0xff00 || port >= portInPort && port <= portLocal {
		return nil
	}
	return errActionOutPort
}

// checkSetField checks the OXM entry of a set_field, padded, or of NXAST_REG_LOAD2
// where masked. (Open vSwitch reads a mask of ones back as none; the entry stays
// as it was sent here.)
func checkSetField(b []byte, m *match, masked bool) *Error {
	if len(b) < 4 {
		return errActionSetLen
	}
	h := be.Uint32(b)
	p, ok := lookup(h)
	n, want := int(h&0xff), p.octets()
	if h&0x100 != 0 {
		if ok && !masked {
			return errActionSetMask
		}
		want *= 2
	}
	if !ok || n != want {
		return errActionSetLen
	}
	if 4+n > len(b) {
		return errMatchLen
	}
	for _, c := range b[4+n:] {
		if c != 0 {
			return errActionSetArgument
		}
	}
	if p.parts == 1 && fields[p.first].readOnly {
		return errActionSetArgument
	}
	if !valid(p.first, b[4:4+n]) {
		return errActionSetArgument
	}
	if !m.presupposed(p.first) {
		return errActionInconsistent
	}
	if f := &fields[p.first]; !masked && p.parts == 1 {
		be.PutUint32(b, uint32(f.class)<<16|uint32(f.number)<<9|uint32(f.octets))
	}
	return nil
}

// checkExperimenter checks the Nicira actions that copy and load; of the others
// only the head.
func checkExperimenter(b []byte, m *match) *Error {
	if len(b) < 16 {
		return errActionLen
	}
	who, kind := be.Uint32(b[4:]), be.Uint16(b[8:])
	if who != nicira {
		if who == onf {
			return nil
		}
		return errActionExperimenter
	}
	switch kind {
	case nxRegMove:
		if len(b) != 24 {
			return errActionLen
		}
		n := be.Uint16(b[10:])
		if err := checkBits(b[16:], be.Uint16(b[12:]), n, m, false); err != nil {
			return err
		}
		return checkBits(b[20:], be.Uint16(b[14:]), n, m, true)
	case nxRegLoad:
		if len(b) != 24 {
			return errActionLen
		}
		packed := be.Uint16(b[10:])
		n := packed&0x3f + 1
		if n < 64 && be.Uint64(b[16:])>>n != 0 {
			return errActionArgument
		}
		return checkBits(b[12:], packed>>6, n, m, true)
	case nxOutputReg:
		if len(b) != 24 {
			return errActionLen
		}
		packed := be.Uint16(b[10:])
		return checkBits(b[12:], packed>>6, packed&0x3f+1, m, false)
	case nxRegLoad2:
		return checkSetField(b[10:], m, true)
	}
	return nil
}

// checkBits checks a range of bits of the field whose OXM header begins b, and
// makes the header the one that is read back.
func checkBits(b []byte, ofs, n uint16, m *match, write bool) *Error {
	header := be.Uint32(b)
	p, ok := lookup(header)
	octets := int(header & 0xff)
	if header&0x100 != 0 {
		octets /= 2
	}
	if !ok || octets != p.octets() {
		return errMatchField
	}
	bits := 8 * octets
	head := header&^0x1ff | uint32(octets)
	if p.parts == 1 {
		bits = int(fields[p.first].bits)
		head = niciraHeads[p.first]
	}
	be.PutUint32(b, head)
	switch {
	case n == 0 || int(ofs)+int(n) > bits:
		return errActionSetLen
	case write && p.parts == 1 && fields[p.first].readOnly:
		return errActionSetArgument
	case !m.presupposed(p.first):
		return errActionInconsistent
	}
	return nil
}
