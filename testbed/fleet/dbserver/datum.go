package dbserver

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// UUID names a row.
type UUID [16]byte

// newUUID returns a random UUID (RFC 4122 section 4.4).
func newUUID() (u UUID) {
	rand.Read(u[:]) // never fails
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// String returns the usual form with dashes.
func (u UUID) String() string {
	b := make([]byte, 0, 36)
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			b = append(b, '-')
		}
		start := [...]int{0, 4, 6, 8, 10}[i]
		b = hex.AppendEncode(b, u[start:start+n])
	}
	return string(b)
}

func parseUUID(s string) (u UUID, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("%q is no UUID", s)
	}
	n, err := hex.Decode(u[:], []byte(strings.ReplaceAll(s, "-", "")))
	if err != nil || n != len(u) {
		return UUID{}, fmt.Errorf("%q is no UUID", s)
	}
	return u, nil
}

// datum is the value of a column: atoms (int64, float64, bool, string or UUID)
// in ascending order without repetition; vals belong to them in a map.
type datum struct {
	keys []any
	vals []any
}

func compareAtoms(a, b any) int {
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case UUID:
		u := b.(UUID)
		return bytes.Compare(a[:], u[:])
	case bool:
		switch {
		case a == b.(bool):
			return 0
		case a:
			return 1
		}
		return -1
	}
	return 0
}

func (d datum) find(k any) (int, bool) { return slices.BinarySearchFunc(d.keys, k, compareAtoms) }

func (d datum) equal(e datum) bool {
	return slices.Equal(d.keys, e.keys) && slices.Equal(d.vals, e.vals)
}

// put returns d with k, whose value in a map is v; a key that is there keeps its
// value unless replace says otherwise.
func (d datum) put(k, v any, isMap, replace bool) datum {
	i, there := d.find(k)
	switch {
	case there && isMap && replace:
		d.vals = slices.Clone(d.vals)
		d.vals[i] = v
	case !there:
		d.keys = slices.Insert(slices.Clone(d.keys), i, k)
		if isMap {
			d.vals = slices.Insert(slices.Clone(d.vals), i, v)
		}
	}
	return d
}

func (d datum) remove(k any) datum {
	i, there := d.find(k)
	if !there {
		return d
	}
	d.keys = slices.Delete(slices.Clone(d.keys), i, i+1)
	if d.vals != nil {
		d.vals = slices.Delete(slices.Clone(d.vals), i, i+1)
	}
	return d
}

// decodeJSON reads JSON and keeps integers exact.
func decodeJSON(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// names resolves named UUIDs in a transaction; nil where there are none.
type names func(string) UUID

// parse reads a value from JSON (RFC 7047 section 5.1) and checks it against the
// column's type.
func (c *column) parse(v any, named names) (datum, *txError) {
	var d datum
	if list, ok := v.([]any); ok && len(list) == 2 && (list[0] == "set" || list[0] == "map") {
		items, ok := list[1].([]any)
		if !ok || (list[0] == "map") != (c.value != nil) && !(c.value != nil && len(items) == 0) {
			return d, syntax("column %s takes no such %s", c.name, list[0])
		}
		for _, item := range items {
			var val any
			if c.value != nil {
				pair, ok := item.([]any)
				if !ok || len(pair) != 2 {
					return d, syntax("column %s: a map's entry is no pair", c.name)
				}
				var err *txError
				if val, err = c.value.parse(pair[1], named); err != nil {
					return d, err
				}
				item = pair[0]
			}
			k, err := c.key.parse(item, named)
			if err != nil {
				return d, err
			}
			if _, twice := d.find(k); twice {
				return d, &txError{"ovsdb error", fmt.Sprintf("column %s: %v is there twice", c.name, k)}
			}
			d = d.put(k, val, c.value != nil, true)
		}
		return d, c.size(d, "syntax error")
	}
	if c.value != nil {
		return d, syntax("column %s wants a map", c.name)
	}
	k, err := c.key.parse(v, named)
	if err != nil {
		return d, err
	}
	return datum{keys: []any{k}}, nil
}

// size checks the number of atoms; its error is of this kind.
func (c *column) size(d datum, kind string) *txError {
	if len(d.keys) < c.min || len(d.keys) > c.max {
		return &txError{kind, fmt.Sprintf("column %s holds %d values: want %d to %d", c.name, len(d.keys), c.min, c.max)}
	}
	return nil
}

func (b *base) parse(v any, named names) (any, *txError) {
	var a any
	switch b.kind {
	case "integer":
		if n, ok := v.(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				if i < b.minInt || i > b.maxInt {
					return nil, constraint("%d is not between %d and %d", i, b.minInt, b.maxInt)
				}
				a = i
			}
		}
	case "real":
		if n, ok := v.(json.Number); ok {
			if f, err := n.Float64(); err == nil && f >= b.minReal && f <= b.maxReal {
				a = f
			}
		}
	case "boolean":
		if x, ok := v.(bool); ok {
			a = x
		}
	case "string":
		if x, ok := v.(string); ok && len(x) >= b.minLen && len(x) <= b.maxLen {
			a = x
		}
	case "uuid":
		if pair, ok := v.([]any); ok && len(pair) == 2 {
			s, ok := pair[1].(string)
			switch {
			case ok && pair[0] == "uuid":
				u, err := parseUUID(s)
				if err != nil {
					return nil, syntax("%v", err)
				}
				a = u
			case ok && pair[0] == "named-uuid" && named != nil:
				a = named(s)
			}
		}
	}
	if a == nil {
		return nil, syntax("%v is no %s", v, b.kind)
	}
	if b.enum != nil && !slices.Contains(b.enum, a) {
		return nil, constraint("%v is not one of the values allowed", a)
	}
	return a, nil
}

func atomJSON(a any) any {
	if u, ok := a.(UUID); ok {
		return [2]string{"uuid", u.String()}
	}
	return a
}

// json returns d as it is written in JSON.
func (c *column) json(d datum) any {
	if c.value != nil {
		pairs := make([][2]any, len(d.keys))
		for i, k := range d.keys {
			pairs[i] = [2]any{atomJSON(k), atomJSON(d.vals[i])}
		}
		return [2]any{"map", pairs}
	}
	if len(d.keys) == 1 {
		return atomJSON(d.keys[0])
	}
	all := make([]any, len(d.keys))
	for i, k := range d.keys {
		all[i] = atomJSON(k)
	}
	return [2]any{"set", all}
}

// zero is the value of a column that an insert leaves out.
func (c *column) zero() datum {
	if c.min == 0 {
		return datum{}
	}
	var a any
	switch c.key.kind {
	case "integer":
		a = int64(0)
	case "real":
		a = float64(0)
	case "boolean":
		a = false
	case "string":
		a = ""
	default:
		a = UUID{}
	}
	return datum{keys: []any{a}}
}

// diff returns what has changed, as update2 tells it: the elements that are in
// one of the two only, and keys of maps with their new values; of a value that is
// one atom at most, the new one (ovsdb-server(7)).
func (c *column) diff(old, now datum) datum {
	if !c.composite() {
		return now
	}
	var d datum
	isMap := c.value != nil
	for i, k := range old.keys {
		j, there := now.find(k)
		switch {
		case !there && isMap:
			d = d.put(k, old.vals[i], true, true)
		case !there:
			d = d.put(k, nil, false, false)
		case isMap && old.vals[i] != now.vals[j]:
			d = d.put(k, now.vals[j], true, true)
		}
	}
	for i, k := range now.keys {
		if _, there := old.find(k); !there {
			if isMap {
				d = d.put(k, now.vals[i], true, true)
			} else {
				d = d.put(k, nil, false, false)
			}
		}
	}
	return d
}
