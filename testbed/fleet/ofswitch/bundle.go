package ofswitch

import (
	"bytes"
	"maps"
	"time"
)

// bundle is a bundle that was opened and is neither committed nor discarded.
type bundle struct {
	flags  uint16
	closed bool
	mods   [][]byte // bundle-adds: their octets cost less than their decoded form
}

// bundleControl handles an ofp_bundle_ctrl_msg (EXT-230).
func (c *conn) bundleControl(msg []byte) *Error {
	if len(msg) < 24 {
		return errBadLen
	}
	c.sw.mu.Lock()
	err := c.writable()
	c.sw.mu.Unlock()
	if err != nil {
		return err
	}
	id, kind, flags := be.Uint32(msg[16:]), be.Uint16(msg[20:]), be.Uint16(msg[22:])
	b := c.bundles[id]
	switch kind {
	case bundleOpen:
		if b != nil {
			delete(c.bundles, id)
			return errBundleBadID
		}
		c.bundles[id] = &bundle{flags: flags}
	case bundleClose:
		switch {
		case b == nil:
			return errBundleBadID
		case b.closed:
			delete(c.bundles, id)
			return errBundleClosed
		case b.flags != flags:
			delete(c.bundles, id)
			return errBundleBadFlags
		}
		b.closed = true
	case bundleCommit:
		if b == nil {
			return errBundleBadID
		}
		delete(c.bundles, id)
		if b.flags != flags {
			return errBundleBadFlags
		}
		mod, cause, err := c.commit(b)
		if cause != nil {
			c.fail(cause, mod)
		}
		if err != nil {
			return err
		}
	case bundleDiscard:
		if b == nil {
			return errBundleBadID
		}
		delete(c.bundles, id)
	case bundleOpen + 1, bundleClose + 1, bundleCommit + 1, bundleDiscard + 1:
		return errBundleBadType
	default:
		kind = 0xffff // Open vSwitch answers what it does not know with 0
	}
	c.head(typeExperimenter, msg)
	c.reply = append(c.reply, msg[headerLen:24]...)
	be.PutUint16(c.reply[20:], kind+1)
	be.PutUint16(c.reply[22:], 0)
	c.answer()
	return nil
}

// bundleAdd handles an ofp_bundle_add_msg: the message inside is checked as far
// as that needs no flow table. A bundle that is not there is opened.
func (c *conn) bundleAdd(msg []byte) *Error {
	c.outstand()
	if len(msg) < 24+headerLen {
		return errBundleMsgLen
	}
	c.sw.mu.Lock()
	err := c.writable()
	c.sw.mu.Unlock()
	if err != nil {
		return err
	}
	id, flags := be.Uint32(msg[16:]), be.Uint16(msg[22:])
	inner := msg[24:]
	if n := int(be.Uint16(inner[2:])); n < headerLen || n > len(inner) {
		return errBundleMsgLen
	} else {
		inner = inner[:n]
	}
	if inner[0] != version13 {
		return errUnencodable // BUNDLE_FAILED/BAD_VERSION, which OpenFlow 1.3 lacks
	}
	if !bytes.Equal(inner[4:8], msg[4:8]) {
		return errBundleMsgXID
	}
	c.count(func(k *Counters) { k.Messages++ })
	switch inner[1] {
	case typeFlowMod:
		if err := c.mod.decode(inner); err != nil {
			return err
		}
		c.sw.mu.Lock()
		err = c.sw.faults.refuse(&c.mod, true, false)
		if err != nil {
			c.sw.counters.RefusedByFaults++
		}
		c.sw.mu.Unlock()
	case typeGroupMod:
		_, err = checkGroupMod(inner)
	default:
		err = errBundleMsgUnsup
	}
	if err != nil {
		return err
	}
	b := c.bundles[id]
	switch {
	case b == nil:
		b = &bundle{flags: flags}
		c.bundles[id] = b
	case b.closed:
		delete(c.bundles, id)
		return errBundleClosed
	case b.flags != flags:
		delete(c.bundles, id)
		return errBundleBadFlags
	}
	b.mods = append(b.mods, bytes.Clone(msg[:24+len(inner)]))
	return nil
}

// commit makes all the changes of a bundle, or none. Where one of them is refused
// it returns that one and why.
func (c *conn) commit(b *bundle) (mod []byte, cause, err *Error) {
	if !c.gate(func(f *Faults) time.Duration { return f.BundleDelay }) {
		return nil, nil, nil // the connection has ended, and nobody hears the answer
	}
	c.outstanding = 0
	s := c.sw
	s.mu.Lock()
	defer s.mu.Unlock()
	// Somebody may have claimed the switch, or it restarted, during the delay.
	if err := c.writable(); err != nil {
		return nil, nil, err
	}
	if c.dead {
		return nil, nil, errBundleBadID
	}
	before := s.counters
	var log []change
	groups := maps.Clone(s.groups)
	for _, m := range b.mods {
		if m[24+1] == typeGroupMod {
			var err *Error
			if log, err = s.groupMod(m[24:], log); err != nil {
				s.undo(log)
				s.counters, s.groups = before, groups
				s.counters.BundlesFailed++
				return m, err, errBundleFailed
			}
			continue
		}
		err := c.mod.decode(m[24:])
		if err == nil {
			if err = s.faults.refuse(&c.mod, true, true); err != nil {
				before.RefusedByFaults++
			}
		}
		if err == nil {
			log, err = s.apply(&c.mod, log)
		}
		if err == nil {
			err = s.limit()
		}
		if err != nil {
			s.undo(log)
			s.counters, s.groups = before, groups
			s.counters.BundlesFailed++
			return m, err, errBundleFailed
		}
		s.countMod(&c.mod)
	}
	s.settle(log)
	s.counters.Bundles++
	if s.config.Observe != nil {
		for _, m := range b.mods {
			if m[24+1] == typeFlowMod && c.mod.decode(m[24:]) == nil {
				s.config.Observe(c.mod.mod(true))
			}
		}
	}
	if len(b.mods) > 0 {
		s.noteWrite(c, len(b.mods))
	}
	s.notify()
	return nil, nil, nil
}
