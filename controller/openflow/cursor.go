package openflow

import (
	"encoding/binary"
	"fmt"
)

// cursor reads a message from its start to its end. After its first error it
// returns only zeros, so that callers check err once. It never reads beyond
// the slice that it was given.
type cursor struct {
	b   []byte
	err error
}

// fail latches the first error and empties the cursor.
func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	c.b = nil
}

// bytes returns the next n octets, which stay part of the message.
func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail("want %d octets, have %d", n, len(c.b))
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) skip(n int) { c.bytes(n) }

func (c *cursor) u8() uint8 {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sub returns a cursor over the next n octets.
func (c *cursor) sub(n int) cursor {
	b := c.bytes(n)
	return cursor{b: b, err: c.err}
}

// more reports whether something is left to read.
func (c *cursor) more() bool { return len(c.b) > 0 }
