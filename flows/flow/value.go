package flow

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Value is an unsigned number of up to 128 bits: the value or the mask of any
// field, right-aligned.
type Value struct{ Hi, Lo uint64 }

// Uint returns n as a Value.
func Uint(n uint64) Value { return Value{Lo: n} }

// Addr returns an address as a Value: 32 bits for IPv4, 128 for IPv6.
func Addr(a netip.Addr) Value {
	if a.Is4() {
		b := a.As4()
		return Value{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return Value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// Mapped returns an address as 128 bits, IPv4 as ::ffff:a.b.c.d.
func Mapped(a netip.Addr) Value { return Addr(netip.AddrFrom16(a.As16())) }

// Ones returns a Value of n one bits, right-aligned; n from 0 to 128.
func Ones(n int) Value {
	switch {
	case n <= 0:
		return Value{}
	case n < 64:
		return Value{Lo: 1<<n - 1}
	case n == 64:
		return Value{Lo: ^uint64(0)}
	case n < 128:
		return Value{Hi: 1<<(n-64) - 1, Lo: ^uint64(0)}
	}
	return Value{Hi: ^uint64(0), Lo: ^uint64(0)}
}

// PrefixMask returns the mask of a prefix of plen bits in a field of width bits.
func PrefixMask(plen, width int) Value { return Ones(plen).Shl(width - plen) }

// And returns v & m.
func (v Value) And(m Value) Value { return Value{v.Hi & m.Hi, v.Lo & m.Lo} }

// Or returns v | m.
func (v Value) Or(m Value) Value { return Value{v.Hi | m.Hi, v.Lo | m.Lo} }

// Not returns ^v over all 128 bits.
func (v Value) Not() Value { return Value{^v.Hi, ^v.Lo} }

// Shl returns v << n; n from 0 to 128.
func (v Value) Shl(n int) Value {
	switch {
	case n >= 128:
		return Value{}
	case n >= 64:
		return Value{Hi: v.Lo << (n - 64)}
	}
	return Value{v.Hi<<n | v.Lo>>(64-n), v.Lo << n}
}

// Shr returns v >> n; n from 0 to 128.
func (v Value) Shr(n int) Value {
	switch {
	case n >= 128:
		return Value{}
	case n >= 64:
		return Value{Lo: v.Hi >> (n - 64)}
	}
	return Value{v.Hi >> n, v.Lo>>n | v.Hi<<(64-n)}
}

// IsZero reports whether no bit is set.
func (v Value) IsZero() bool { return v == Value{} }

// Bytes returns the low bits of v, big-endian, in n octets; n from 1 to 16.
func (v Value) Bytes(n int) []byte { return v.AppendBytes(nil, n) }

// AppendBytes appends what [Value.Bytes] returns.
func (v Value) AppendBytes(b []byte, n int) []byte {
	var w [16]byte
	binary.BigEndian.PutUint64(w[:8], v.Hi)
	binary.BigEndian.PutUint64(w[8:], v.Lo)
	return append(b, w[16-n:]...)
}

// FromBytes reads a big-endian number of up to 16 octets.
func FromBytes(b []byte) Value {
	var w [16]byte
	copy(w[16-len(b):], b)
	return Value{binary.BigEndian.Uint64(w[:8]), binary.BigEndian.Uint64(w[8:])}
}

// String returns the hexadecimal form with 0x.
func (v Value) String() string {
	if v.Hi == 0 {
		return "0x" + strconv.FormatUint(v.Lo, 16)
	}
	lo := strconv.FormatUint(v.Lo, 16)
	const zeros = "0000000000000000"
	return "0x" + strconv.FormatUint(v.Hi, 16) + zeros[len(lo):] + lo
}
