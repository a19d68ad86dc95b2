package dbserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Schema is a database schema (RFC 7047 section 3.2). It never changes; all
// servers may share one.
type Schema struct {
	raw    json.RawMessage
	Name   string
	tables map[string]*table
}

type table struct {
	name    string
	columns map[string]*column
	order   []*column // by index
	root    bool
	maxRows int
	indexes [][]*column
}

type column struct {
	name     string
	index    int
	key      base
	value    *base // nil: no map
	min, max int
	mutable  bool
	def      datum // what an insert that leaves it out gives
}

// composite reports whether changes of it are told as differences.
func (c *column) composite() bool { return c.max > 1 }

type base struct {
	kind             string // integer, real, boolean, string, uuid
	enum             []any
	minInt, maxInt   int64
	minLen, maxLen   int
	refTable         string
	weak             bool
	minReal, maxReal float64
}

// ReadSchema reads a schema, such as the vswitch.ovsschema that comes with Open
// vSwitch.
func ReadSchema(data []byte) (*Schema, error) {
	var in struct {
		Name   string
		Tables map[string]struct {
			Columns map[string]struct {
				Type    json.RawMessage
				Mutable *bool
			}
			IsRoot  bool
			MaxRows *int
			Indexes [][]string
		}
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("reading an OVSDB schema: %w", err)
	}
	if in.Name == "" || len(in.Tables) == 0 {
		return nil, errors.New("reading an OVSDB schema: it has no name or no tables")
	}
	s := &Schema{Name: in.Name, tables: make(map[string]*table)}
	roots := false
	for name, t := range in.Tables {
		out := &table{name: name, columns: make(map[string]*column), root: t.IsRoot, maxRows: math.MaxInt}
		roots = roots || t.IsRoot
		if t.MaxRows != nil {
			out.maxRows = *t.MaxRows
		}
		for cname, c := range t.Columns {
			col := &column{name: cname, mutable: c.Mutable == nil || *c.Mutable}
			if err := col.readType(c.Type); err != nil {
				return nil, fmt.Errorf("reading an OVSDB schema: table %s, column %s: %w", name, cname, err)
			}
			col.def = col.zero()
			out.columns[cname] = col
			out.order = append(out.order, col)
		}
		slices.SortFunc(out.order, func(a, b *column) int { return compareAtoms(a.name, b.name) })
		for i, c := range out.order {
			c.index = i
		}
		for _, index := range t.Indexes {
			var cols []*column
			for _, c := range index {
				cols = append(cols, out.columns[c])
			}
			if slices.Contains(cols, nil) {
				return nil, fmt.Errorf("reading an OVSDB schema: table %s has an index on a column that it lacks", name)
			}
			out.indexes = append(out.indexes, cols)
		}
		s.tables[name] = out
	}
	if !roots { // RFC 7047 section 3.2
		for _, t := range s.tables {
			t.root = true
		}
	}
	var compact json.RawMessage
	compact, err := json.Marshal(json.RawMessage(data))
	s.raw = compact
	return s, err
}

func (c *column) readType(raw json.RawMessage) error {
	c.min, c.max = 1, 1
	var atomic string
	if json.Unmarshal(raw, &atomic) == nil {
		return c.key.read(raw)
	}
	var t struct {
		Key, Value json.RawMessage
		Min        *int
		Max        any
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return err
	}
	if err := c.key.read(t.Key); err != nil {
		return err
	}
	if t.Value != nil {
		c.value = new(base)
		if err := c.value.read(t.Value); err != nil {
			return err
		}
	}
	assign(&c.min, t.Min)
	switch m := t.Max.(type) {
	case float64:
		c.max = int(m)
	case string:
		c.max = math.MaxInt
	}
	return nil
}

func (b *base) read(raw json.RawMessage) error {
	*b = base{minInt: math.MinInt64, maxInt: math.MaxInt64, maxLen: math.MaxInt, minReal: -math.MaxFloat64, maxReal: math.MaxFloat64}
	if json.Unmarshal(raw, &b.kind) == nil {
		return b.checkKind()
	}
	var t struct {
		Type                   string
		Enum                   json.RawMessage
		MinInteger, MaxInteger *int64
		MinLength, MaxLength   *int
		MinReal, MaxReal       *float64
		RefTable, RefType      string
	}
	if err := json.Unmarshal(raw, &t); err != nil {
		return err
	}
	b.kind, b.refTable, b.weak = t.Type, t.RefTable, t.RefType == "weak"
	assign(&b.minInt, t.MinInteger)
	assign(&b.maxInt, t.MaxInteger)
	assign(&b.minLen, t.MinLength)
	assign(&b.maxLen, t.MaxLength)
	assign(&b.minReal, t.MinReal)
	assign(&b.maxReal, t.MaxReal)
	if err := b.checkKind(); err != nil {
		return err
	}
	if t.Enum != nil {
		v, err := decodeJSON(t.Enum)
		if err != nil {
			return err
		}
		d, terr := (&column{key: base{kind: b.kind, minInt: math.MinInt64, maxInt: math.MaxInt64, maxLen: math.MaxInt}, max: math.MaxInt}).parse(v, nil)
		if terr != nil {
			return terr
		}
		b.enum = d.keys
	}
	return nil
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

func (b *base) checkKind() error {
	switch b.kind {
	case "integer", "real", "boolean", "string", "uuid":
		return nil
	}
	return fmt.Errorf("unknown type %q", b.kind)
}
