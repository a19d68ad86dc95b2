package tenant

import (
	"bytes"
	"strconv"
)

// fastRecord reads a record in the form that MarshalJSON writes, of plain ASCII:
// nearly all that a store of a million holds. It is not ok for all else, which is
// then read, or refused with the reasons, by the general reader.
func fastRecord(k Key, data []byte) (o RecordObject, ok bool) {
	o.VSID, o.CA = k.vsid, k.ca
	if len(data) < 2 || data[0] != '{' || data[len(data)-1] != '}' {
		return o, false
	}
	last := 0
	for rest := data[1 : len(data)-1]; len(rest) > 0; {
		if last > 0 {
			if rest[0] != ',' {
				return o, false
			}
			rest = rest[1:]
		}
		name, after, found := plainText(rest)
		if !found || len(after) < 2 || after[0] != ':' {
			return o, false
		}
		var value []byte
		number := string(name) == "vsid"
		if after = after[1:]; number {
			value, rest = plainNumber(after)
		} else if value, rest, found = plainText(after); !found {
			return o, false
		}
		// In the order of the fields: none comes twice.
		place := recordPlace(name)
		if len(value) == 0 || place <= last || !o.setPlain(place, value) {
			return o, false
		}
		last = place
	}
	return o, true
}

func recordPlace(name []byte) int {
	switch string(name) {
	case "vsid":
		return 1
	case "ca":
		return 2
	case "vm":
		return 3
	case "mac":
		return 4
	case "iface_id":
		return 5
	case "host":
		return 6
	case "pa":
		return 7
	}
	return 0
}

// setPlain sets the field at a place. What is in the key must be as it is there.
func (o *RecordObject) setPlain(place int, value []byte) bool {
	var err error
	var buf [64]byte
	switch place {
	case 1:
		return bytes.Equal(strconv.AppendUint(buf[:0], uint64(o.VSID), 10), value)
	case 2:
		return o.CA.IsValid() && bytes.Equal(o.CA.addr.AppendTo(buf[:0]), value)
	case 3:
		o.VM = string(value)
	case 4:
		o.MAC, err = ParseMAC(string(value))
	case 5:
		o.IfaceID = string(value)
	case 6:
		o.Host = string(value)
	case 7:
		o.PA, err = ParsePA(string(value))
	}
	return place != 0 && err == nil
}

// plainText reads a string of JSON that stands for itself.
func plainText(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[1:i], b[i+1:], true
		case c < ' ' || c == '\\' || c >= 0x7f:
			return nil, nil, false
		}
	}
	return nil, nil, false
}

func plainNumber(b []byte) (number, rest []byte) {
	i := 0
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return b[:i], b[i:]
}

// plain reports whether s stands for itself in a string of JSON, as
// encoding/json would write it.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '<', '>', '&':
			return false
		default:
			if c < ' ' || c >= 0x7f {
				return false
			}
		}
	}
	return true
}
