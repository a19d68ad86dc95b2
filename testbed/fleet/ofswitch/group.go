package ofswitch

import (
	"bytes"
	"maps"
	"slices"
)

// The commands of group-mods (OpenFlow 1.3.5 section 7.3.4.2) and meter-mods
// (section 7.3.4.5); the last one is Open vSwitch's own.
const (
	modAdd, modModify, modDelete = 0, 1, 2
	groupAddOrModify             = 0x8000

	groupAll    = 0xfffffffc // OFPG_ALL
	maxGroup    = 0xffffff00
	maxMeter    = 0xffff0000
	groupSelect = 1
	groupKinds  = 4
)

// otherMod handles a group-mod or a meter-mod that comes alone.
func (c *conn) otherMod(msg []byte) *Error {
	s := c.sw
	c.outstand()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.writable(); err != nil {
		return err
	}
	if c.dead {
		return nil
	}
	if msg[1] == typeMeterMod {
		return s.meterMod(msg)
	}
	log, err := s.groupMod(msg, nil)
	if err != nil {
		return err
	}
	s.settle(log)
	s.noteWrite(c, 1)
	s.notify()
	return nil
}

// checkGroupMod checks what needs no table, and returns the buckets.
func checkGroupMod(msg []byte) ([]byte, *Error) {
	if len(msg) < headerLen+8 {
		return nil, errBadLen
	}
	command, kind, id := be.Uint16(msg[8:]), msg[10], be.Uint32(msg[12:])
	if command > modDelete && command != groupAddOrModify {
		return nil, errGroupCommand
	}
	buckets := msg[16:]
	n := 0
	for b := buckets; len(b) > 0; n++ {
		if len(b) < 16 {
			return nil, errGroupBucket
		}
		size := int(be.Uint16(b))
		if size < 16 || size&7 != 0 || size > len(b) {
			return nil, errGroupBucket
		}
		any := checker{match: &match{}}
		if err := any.actions(bytes.Clone(b[16:size])); err != nil { // what a match presupposes shows with the packet
			return nil, err
		}
		if kind != groupSelect && be.Uint16(b[2:]) != 0 && command != modDelete {
			return nil, errGroupInvalid
		}
		b = b[size:]
	}
	switch {
	case command == modDelete:
	case kind >= groupKinds:
		return nil, errGroupType
	case id > maxGroup, kind == 2 && n != 1:
		return nil, errGroupInvalid
	}
	return buckets, nil
}

// groupMod makes one group-mod's changes. A group that goes takes the flows that
// name it with it. The caller holds the lock.
func (s *Switch) groupMod(msg []byte, log []change) ([]change, *Error) {
	buckets, err := checkGroupMod(msg)
	if err != nil {
		return log, err
	}
	id := be.Uint32(msg[12:])
	_, there := s.groups[id]
	switch be.Uint16(msg[8:]) {
	case modAdd:
		if there {
			return log, errGroupExists
		}
	case modModify:
		if !there {
			return log, errGroupUnknown
		}
	case modDelete:
		ids := []uint32{id}
		if id == groupAll {
			ids = slices.Collect(maps.Keys(s.groups))
		}
		for _, id := range ids {
			delete(s.groups, id)
			var gone []*Body
			for f := range s.flows.all {
				if leadsTo(f.instructions(), actionGroup, id) {
					gone = append(gone, f)
				}
			}
			for _, f := range gone {
				s.flows.remove(f)
				log = append(log, change{f, nil})
			}
		}
		return log, nil
	}
	if s.groups == nil {
		s.groups = make(map[uint32][]byte)
	}
	s.groups[id] = append([]byte{msg[10]}, buckets...)
	return log, nil
}

// meterMod makes a meter-mod's change. The caller holds the lock.
func (s *Switch) meterMod(msg []byte) *Error {
	if len(msg) < headerLen+8 || len(msg)&7 != 0 {
		return errBadLen
	}
	command, id := be.Uint16(msg[8:]), be.Uint32(msg[12:])
	_, there := s.meters[id]
	switch {
	case command > modDelete:
		return errMeterCommand
	case command == modDelete && id == 0xffffffff:
		s.meters = nil
		return nil
	case id == 0 || id > maxMeter:
		return errMeterInvalid
	case command == modDelete:
		delete(s.meters, id)
		return nil
	case command == modAdd && there:
		return errMeterExists
	case command == modModify && !there:
		return errMeterAbsent
	}
	if s.meters == nil {
		s.meters = make(map[uint32][]byte)
	}
	s.meters[id] = append(bytes.Clone(msg[10:12]), msg[16:]...)
	return nil
}

func (c *conn) groupDesc(msg []byte) {
	c.sw.mu.Lock()
	all := maps.Clone(c.sw.groups)
	c.sw.mu.Unlock()
	c.multipartHead(msg)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		g := all[id]
		n := 8 + len(g) - 1
		c.more(msg, n)
		c.reply = be.AppendUint16(c.reply, uint16(n))
		c.reply = append(c.reply, g[0], 0)
		c.reply = be.AppendUint32(c.reply, id)
		c.reply = append(c.reply, g[1:]...)
	}
	c.answer()
}

func (c *conn) meterConfig(msg []byte, which uint32) {
	c.sw.mu.Lock()
	all := maps.Clone(c.sw.meters)
	c.sw.mu.Unlock()
	c.multipartHead(msg)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if which != 0xffffffff && which != id {
			continue
		}
		m := all[id]
		n := 8 + len(m) - 2
		c.more(msg, n)
		c.reply = be.AppendUint16(c.reply, uint16(n))
		c.reply = append(c.reply, m[0], m[1])
		c.reply = be.AppendUint32(c.reply, id)
		c.reply = append(c.reply, m[2:]...)
	}
	c.answer()
}
