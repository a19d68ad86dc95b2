package dbserver

import "fmt"

// Row is a row as it is or was. The zero Row is none.
type Row struct {
	t *table
	r *row
}

// Exists reports whether there is a row.
func (r Row) Exists() bool { return r.r != nil }

// UUID returns the row's name.
func (r Row) UUID() UUID { return r.r.uuid }

// Table returns the name of the row's table.
func (r Row) Table() string { return r.t.name }

func (r Row) datum(column string) datum {
	if r.r == nil {
		return datum{}
	}
	c := r.t.columns[column]
	if c == nil {
		return datum{}
	}
	return r.r.get(c)
}

// String returns the text in a column, or "" where there is none.
func (r Row) String(column string) string {
	if d := r.datum(column); len(d.keys) == 1 {
		s, _ := d.keys[0].(string)
		return s
	}
	return ""
}

// Int returns the number in a column; false where there is none.
func (r Row) Int(column string) (int, bool) {
	if d := r.datum(column); len(d.keys) == 1 {
		n, ok := d.keys[0].(int64)
		return int(n), ok
	}
	return 0, false
}

// Map returns a copy of the map of text to text in a column.
func (r Row) Map(column string) map[string]string {
	d := r.datum(column)
	m := make(map[string]string, len(d.keys))
	for i, k := range d.keys {
		key, _ := k.(string)
		m[key], _ = d.vals[i].(string)
	}
	return m
}

// Key returns what a map of text to text has for a key, or "".
func (r Row) Key(column, key string) string {
	d := r.datum(column)
	if i, ok := d.find(key); ok && d.vals != nil {
		s, _ := d.vals[i].(string)
		return s
	}
	return ""
}

// UUIDs returns the references in a column.
func (r Row) UUIDs(column string) []UUID {
	d := r.datum(column)
	out := make([]UUID, 0, len(d.keys))
	for _, k := range d.keys {
		if u, ok := k.(UUID); ok {
			out = append(out, u)
		}
	}
	return out
}

func (tx *Tx) fail(format string, args ...any) {
	if tx.err == nil {
		tx.err = fmt.Errorf(format, args...)
	}
}

// table returns the table of a name; it fails the transaction where there is
// none.
func (tx *Tx) table(name string) *table {
	t := tx.s.schema.tables[name]
	if t == nil {
		tx.fail("no table is called %s", name)
	}
	return t
}

// Each calls fn for every row of a table, in no order, until it returns false.
// fn must not change the table.
func (tx *Tx) Each(table string, fn func(Row) bool) {
	if t := tx.table(table); t != nil {
		tx.rows(t, func(r *row) bool { return fn(Row{t, r}) })
	}
}

// Get returns a row.
func (tx *Tx) Get(table string, u UUID) Row {
	t := tx.table(table)
	if t == nil {
		return Row{}
	}
	return Row{t, tx.row(t, u)}
}

// Find returns a row whose column has this text.
func (tx *Tx) Find(table, column, text string) (found Row) {
	tx.Each(table, func(r Row) bool {
		if r.String(column) == text {
			found = r
		}
		return !found.Exists()
	})
	return found
}

// Changed calls fn for every row that the transaction reacted to has changed: old
// is none for a new row, now for one that is gone.
func (tx *Tx) Changed(fn func(old, now Row)) {
	if tx.cause == nil {
		return
	}
	for _, u := range tx.cause.order {
		c := tx.cause.changes[u]
		if c.old != nil || c.now != nil {
			fn(Row{c.table, c.old}, Row{c.table, c.now})
		}
	}
}

// Insert adds a row with values by column: text, int, bool, UUID, []UUID,
// []string, or a map of text to text, nil for an empty set.
func (tx *Tx) Insert(table string, values map[string]any) UUID {
	t := tx.table(table)
	if t == nil {
		return UUID{}
	}
	r := &row{uuid: newUUID()}
	tx.set(t, r.uuid, tx.assign(t, r, values))
	return r.uuid
}

// Update gives columns of a row other values, also immutable ones.
func (tx *Tx) Update(r Row, values map[string]any) {
	now := tx.row(r.t, r.r.uuid)
	if now == nil {
		tx.fail("row %s of table %s is gone", r.r.uuid, r.t.name)
		return
	}
	tx.set(r.t, r.r.uuid, tx.assign(r.t, now, values))
}

// Link adds a reference to a set, Unlink takes it out.
func (tx *Tx) Link(r Row, column string, to UUID) { tx.link(r, column, to, true) }

// Unlink takes a reference out of a set.
func (tx *Tx) Unlink(r Row, column string, to UUID) { tx.link(r, column, to, false) }

func (tx *Tx) link(r Row, column string, to UUID, add bool) {
	c, now := r.t.columns[column], tx.row(r.t, r.r.uuid)
	if c == nil || now == nil {
		tx.fail("table %s has no column %s, or its row is gone", r.t.name, column)
		return
	}
	d := now.get(c)
	if add {
		d = d.put(to, nil, false, false)
	} else {
		d = d.remove(to)
	}
	tx.set(r.t, r.r.uuid, now.with(c, d))
}

// Delete removes a row.
func (tx *Tx) Delete(r Row) { tx.set(r.t, r.r.uuid, nil) }

func (tx *Tx) assign(t *table, r *row, values map[string]any) *row {
	for name, v := range values {
		c := t.columns[name]
		if c == nil {
			tx.fail("table %s has no column %s", t.name, name)
			continue
		}
		var d datum
		switch v := v.(type) {
		case nil:
		case string, bool, UUID:
			d.keys = []any{v}
		case int:
			d.keys = []any{int64(v)}
		case []UUID:
			for _, u := range v {
				d = d.put(u, nil, false, false)
			}
		case []string:
			for _, s := range v {
				d = d.put(s, nil, false, false)
			}
		case map[string]string:
			for k, s := range v {
				d = d.put(k, s, true, true)
			}
		default:
			tx.fail("column %s cannot hold a %T", name, v)
		}
		for _, k := range d.keys {
			if !c.key.holds(k) {
				tx.fail("column %s of table %s cannot hold %v", name, t.name, k)
			}
		}
		r = r.with(c, d)
	}
	return r
}

func (b *base) holds(a any) bool {
	switch a.(type) {
	case int64:
		return b.kind == "integer"
	case bool:
		return b.kind == "boolean"
	case string:
		return b.kind == "string"
	case UUID:
		return b.kind == "uuid"
	}
	return false
}
