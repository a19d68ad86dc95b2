package ofswitch

// instrOrder is the order in which Open vSwitch reads instructions back.
var instrOrder = [...]uint16{instrMeter, instrApplyActions, instrClearActions, instrWriteActions, instrWriteMetadata, instrGoto}

// checker checks instructions in the two rounds of Open vSwitch: whether they
// can be understood, which is returned, and then whether they make sense in their
// flow, which is kept in later.
type checker struct {
	match  *match
	later  *Error
	groups []uint32 // that the actions name
}

func (c *checker) complain(e *Error) {
	if c.later == nil {
		c.later = e
	}
}

// presupposes complains where the match lacks what the field needs.
func (c *checker) presupposes(f uint8) {
	if !c.match.presupposed(f) {
		c.complain(errActionInconsistent)
	}
}

// instructions checks the instructions of a flow in this table (OpenFlow 1.3.5
// sections 7.2.4 and 7.2.5), and appends to b what is read back of them: ordered,
// and without empty lists of actions.
func (c *checker) instructions(b, instr []byte, table uint8) ([]byte, *Error) {
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
				c.complain(errInstrTable)
			}
		case instrMeter:
			c.complain(errMeterUnknown) // there are no meters
		case instrApplyActions, instrWriteActions:
			if len(one) == 8 {
				continue
			}
			b = append(b, one...)
			if err := c.actions(b[start+8:]); err != nil {
				return b, err
			}
			continue
		}
		b = append(b, one...)
	}
	return b, nil
}

// actions checks a list of actions and makes it what is read back.
func (c *checker) actions(b []byte) *Error {
	for len(b) > 0 {
		if len(b) < 8 {
			return errActionLen
		}
		kind, n := be.Uint16(b), int(be.Uint16(b[2:]))
		if n < 8 || n&7 != 0 || n > len(b) {
			return errActionLen
		}
		if err := c.action(kind, b[:n]); err != nil {
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

func (c *checker) action(kind uint16, b []byte) *Error {
	switch {
	case kind == actionOutput:
		if len(b) != 16 {
			return errActionLen
		}
		return c.port(be.Uint32(b[4:]))
	case kind == actionGroup:
		if len(b) != 8 {
			return errActionLen
		}
		c.groups = append(c.groups, be.Uint32(b[4:]))
		return nil
	case kind >= actionSetMPLSTTL && kind < actionSetField:
		if len(b) != 8 {
			return errActionLen
		}
		if kind == actionSetNwTTL || kind == actionDecNwTTL {
			c.presupposes(fIPTTL)
		}
		return nil
	case kind == actionSetField:
		return c.setField(b[4:], false)
	case kind == actionExperimenter:
		return c.experimenter(b)
	}
	return errActionType
}

// port checks an output port: a real one has a number below 0xff00.
func (c *checker) port(port uint32) *Error {
	switch {
	case port >= 0xff00 && port < portMax:
		return errActionOutPort // Open vSwitch has no such number
	case port >= 0xff00 && (port < portInPort || port > portLocal):
		c.complain(errActionOutPort)
	}
	return nil
}

// setField checks the OXM entry of a set_field, padded, or of NXAST_REG_LOAD2
// where masked. (Open vSwitch reads a mask of ones back as none; the entry stays
// as it was sent here.)
func (c *checker) setField(b []byte, masked bool) *Error {
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
	for _, zero := range b[4+n:] {
		if zero != 0 {
			return errActionSetArgument
		}
	}
	if p.parts == 1 && fields[p.first].readOnly {
		return errActionSetArgument
	}
	if !valid(p.first, b[4:4+n]) {
		return errActionSetArgument
	}
	c.presupposes(p.first)
	if f := &fields[p.first]; !masked && p.parts == 1 {
		be.PutUint32(b, uint32(f.class)<<16|uint32(f.number)<<9|uint32(f.octets))
	}
	return nil
}

// experimenter checks the Nicira actions that copy and load; of the others
// only the head.
func (c *checker) experimenter(b []byte) *Error {
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
		if err := c.bits(b[16:], be.Uint16(b[12:]), n, false); err != nil {
			return err
		}
		return c.bits(b[20:], be.Uint16(b[14:]), n, true)
	case nxRegLoad:
		if len(b) != 24 {
			return errActionLen
		}
		packed := be.Uint16(b[10:])
		n := packed&0x3f + 1
		if n < 64 && be.Uint64(b[16:])>>n != 0 {
			return errActionArgument
		}
		return c.bits(b[12:], packed>>6, n, true)
	case nxOutputReg:
		if len(b) != 24 {
			return errActionLen
		}
		packed := be.Uint16(b[10:])
		return c.bits(b[12:], packed>>6, packed&0x3f+1, false)
	case nxRegLoad2:
		return c.setField(b[10:], true)
	}
	return nil
}

// bits checks a range of bits of the field whose OXM header begins b, and
// makes the header the one that is read back.
func (c *checker) bits(b []byte, ofs, n uint16, write bool) *Error {
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
		c.complain(errActionSetLen)
	case write && p.parts == 1 && fields[p.first].readOnly:
		c.complain(errActionSetArgument)
	default:
		c.presupposes(p.first)
	}
	return nil
}
