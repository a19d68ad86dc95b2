package ofswitch

// multipart answers a request for descriptions and statistics (OpenFlow 1.3.5
// section 7.3.5).
func (c *conn) multipart(msg []byte) *Error {
	if len(msg) < headerLen+8 {
		return errBadLen
	}
	kind, flags := be.Uint16(msg[8:]), be.Uint16(msg[10:])
	body := msg[16:]
	if flags != 0 {
		return errBadMultipart // requests in several parts
	}
	switch kind {
	case multipartDesc:
		if len(body) != 0 {
			return errBadLen
		}
		c.multipartHead(msg)
		for _, t := range []struct {
			text string
			n    int
		}{{"Nicira, Inc.", 256}, {"Open vSwitch", 256}, {"3.1.0", 256}, {"None", 32}, {"None", 256}} {
			c.reply = append(c.reply, make([]byte, t.n)...)
			copy(c.reply[len(c.reply)-t.n:], t.text)
		}
		c.answer()
	case multipartFlow:
		return c.flowStats(msg, body)
	case multipartAggregate:
		return c.aggregate(msg, body)
	case multipartTable:
		if len(body) != 0 {
			return errBadLen
		}
		c.tableStats(msg)
	case multipartGroupDesc:
		if len(body) != 0 {
			return errBadLen
		}
		c.groupDesc(msg)
	case multipartMeterConfig:
		if len(body) != 8 {
			return errBadLen
		}
		c.meterConfig(msg, be.Uint32(body))
	case multipartPortDesc:
		if len(body) != 0 {
			return errBadLen
		}
		c.portDesc(msg)
	default:
		return errBadMultipart
	}
	return nil
}

// multipartHead begins a part of the reply to msg.
func (c *conn) multipartHead(msg []byte) {
	c.head(typeMultipartReply, msg)
	c.reply = append(c.reply, msg[8], msg[9], 0, 0, 0, 0, 0, 0)
}

// more sends a part of a reply if an entry of n octets no longer fits in it.
func (c *conn) more(msg []byte, n int) {
	if len(c.reply)+n <= maxLen {
		return
	}
	be.PutUint16(c.reply[10:], multipartMore)
	c.answer()
	c.multipartHead(msg)
}

// flowRequest reads what flow and aggregate statistics are asked for.
func flowRequest(body []byte, m *match) (request, *Error) {
	if len(body) < 32+8 {
		return request{}, errBadLen
	}
	r := request{table: body[0], outPort: be.Uint32(body[4:]), outGroup: be.Uint32(body[8:]), cookie: be.Uint64(body[16:]), mask: be.Uint64(body[24:]), match: m}
	n, err := m.decode(body[32:])
	if err == nil && n != len(body)-32 {
		err = errBadLen
	}
	if err == nil && r.table != allTables && r.table > tableInternal {
		err = errReqBadTable
	}
	return r, err
}

// selectFlows returns the flows that a request means.
func (s *Switch) selectFlows(r *request) []*Body {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if len(r.match.tests) == 0 && r.table == allTables && r.mask == 0 {
		n = s.flows.n
	}
	chosen := make([]*Body, 0, n)
	for f := range s.flows.all {
		if r.selects(f, &s.scratchMatch) {
			chosen = append(chosen, f)
		}
	}
	return chosen
}

func (c *conn) flowStats(msg, body []byte) *Error {
	var m match
	r, err := flowRequest(body, &m)
	if err != nil {
		return err
	}
	flows := c.sw.selectFlows(&r)
	c.multipartHead(msg)
	for _, f := range flows {
		match, instr := f.matchEntries(), f.instructions()
		n := 48 + roundUp(4+len(match)) + len(instr)
		c.more(msg, n)
		b := be.AppendUint16(c.reply, uint16(n))
		b = append(b, f.Table(), 0)
		b = be.AppendUint64(b, 0) // age
		b = be.AppendUint16(b, f.Priority())
		flags, idle, hard := f.meta()
		b = be.AppendUint16(b, idle)
		b = be.AppendUint16(b, hard)
		b = be.AppendUint16(b, flags)
		b = be.AppendUint32(b, 0)
		b = be.AppendUint64(b, f.Cookie())
		b = be.AppendUint64(b, 0) // packets
		b = be.AppendUint64(b, 0) // octets
		b = be.AppendUint16(b, 1)
		b = be.AppendUint16(b, uint16(4+len(match)))
		b = append(b, match...)
		for i := 4 + len(match); i < roundUp(4+len(match)); i++ {
			b = append(b, 0)
		}
		c.reply = append(b, instr...)
	}
	c.answer()
	if cap(c.reply) > bufferSize {
		c.reply = nil // read back seldom, idle mostly
	}
	c.count(func(k *Counters) {
		k.FlowRequests++
		k.FlowsRead += uint64(len(flows))
	})
	return nil
}

func (c *conn) aggregate(msg, body []byte) *Error {
	var m match
	r, err := flowRequest(body, &m)
	if err != nil {
		return err
	}
	n := len(c.sw.selectFlows(&r))
	c.multipartHead(msg)
	c.reply = be.AppendUint64(c.reply, 0)
	c.reply = be.AppendUint64(c.reply, 0)
	c.reply = be.AppendUint32(c.reply, uint32(n))
	c.reply = be.AppendUint32(c.reply, 0)
	c.answer()
	return nil
}

func (c *conn) tableStats(msg []byte) {
	var active [numTables]uint32
	c.sw.mu.Lock()
	for f := range c.sw.flows.all {
		active[f.Table()]++
	}
	c.sw.mu.Unlock()
	c.multipartHead(msg)
	for i, n := range active {
		c.more(msg, 24)
		c.reply = append(c.reply, uint8(i), 0, 0, 0)
		c.reply = be.AppendUint32(c.reply, n)
		c.reply = be.AppendUint64(c.reply, 0)
		c.reply = be.AppendUint64(c.reply, 0)
	}
	c.answer()
}

func (c *conn) portDesc(msg []byte) {
	c.multipartHead(msg)
	var ports []Port
	if c.sw.config.Ports != nil {
		ports = c.sw.config.Ports()
	}
	for _, p := range ports {
		c.more(msg, 64)
		b := be.AppendUint32(c.reply, p.Number)
		b = append(b, 0, 0, 0, 0)
		b = append(b, p.MAC[:]...)
		b = append(b, 0, 0)
		var name [16]byte
		copy(name[:15], p.Name)
		b = append(b, name[:]...)
		c.reply = append(b, make([]byte, 32)...)
	}
	c.answer()
}
