package dbserver

import (
	"fmt"
	"slices"
	"strings"
)

// row is one row. It never changes but is replaced. Columns that have their
// default are left out.
type row struct {
	uuid  UUID
	cells []cell // by the column's index
}

type cell struct {
	column *column
	datum  datum
}

func (r *row) find(c *column) (int, bool) {
	return slices.BinarySearchFunc(r.cells, c.index, func(e cell, i int) int { return e.column.index - i })
}

func (r *row) get(c *column) datum {
	if i, ok := r.find(c); ok {
		return r.cells[i].datum
	}
	return c.def
}

// with returns the row with another value in one column.
func (r *row) with(c *column, d datum) *row {
	n := &row{r.uuid, r.cells}
	i, there := r.find(c)
	switch isDefault := d.equal(c.def); {
	case there && isDefault:
		n.cells = slices.Delete(slices.Clone(r.cells), i, i+1)
	case there:
		n.cells = slices.Clone(r.cells)
		n.cells[i].datum = d
	case !isDefault:
		n.cells = slices.Insert(slices.Clone(r.cells), i, cell{c, d})
	}
	return n
}

// change is what a transaction does to one row: old is nil for a new row, now
// for a deleted one, both for one that came and went.
type change struct {
	table    *table
	old, now *row
}

// Tx is a transaction on a [Server]'s database. It is only good inside
// [Server.Transact].
type Tx struct {
	s       *Server
	changes map[UUID]*change
	order   []UUID // of the changes
	cause   *Tx    // what is reacted to
	err     error  // the first mistake of a caller in Go
}

// txError is an error that a transaction ends with (RFC 7047 section 3.1 and
// 5.2).
type txError struct {
	Kind    string `json:"error"`
	Details string `json:"details,omitempty"`
}

func (e *txError) Error() string { return e.Kind + ": " + e.Details }

func constraint(format string, args ...any) *txError {
	return &txError{"constraint violation", fmt.Sprintf(format, args...)}
}

// row returns a row as the transaction sees it, or nil.
func (tx *Tx) row(t *table, u UUID) *row {
	if c := tx.changes[u]; c != nil {
		if c.table != t {
			return nil
		}
		return c.now
	}
	return tx.s.tables[t][u]
}

// rows calls fn for every row of a table, in no order, until it returns false.
// The table must not be changed meanwhile.
func (tx *Tx) rows(t *table, fn func(*row) bool) {
	for u, r := range tx.s.tables[t] {
		if _, changed := tx.changes[u]; !changed && !fn(r) {
			return
		}
	}
	for _, u := range tx.order {
		if c := tx.changes[u]; c.table == t && c.now != nil && !fn(c.now) {
			return
		}
	}
}

// set replaces a row; now is nil to delete it.
func (tx *Tx) set(t *table, u UUID, now *row) {
	c := tx.changes[u]
	if c == nil {
		c = &change{table: t, old: tx.s.tables[t][u]}
		tx.changes[u] = c
		tx.order = append(tx.order, u)
	}
	c.now = now
}

// references calls fn for every strong reference in a row.
func references(r *row, fn func(*column, *base, UUID)) {
	if r == nil {
		return
	}
	for _, e := range r.cells {
		for _, b := range []*base{&e.column.key, e.column.value} {
			if b == nil || b.refTable == "" || b.weak {
				continue
			}
			atoms := e.datum.keys
			if b == e.column.value {
				atoms = e.datum.vals
			}
			for _, a := range atoms {
				if u := a.(UUID); u != (UUID{}) {
					fn(e.column, b, u)
				}
			}
		}
	}
}

// settle counts references, removes rows that nothing refers to, and checks what
// a transaction must leave behind (RFC 7047 section 5.2). It changes nothing but
// the transaction.
func (tx *Tx) settle() (refs map[UUID]int, err *txError) {
	refs = make(map[UUID]int)
	count := func(u UUID) int { return tx.s.refs[u] + refs[u] }
	var loose []UUID // rows to look at again
	done := make(map[UUID]*row)
	account := func(u UUID) {
		c := tx.changes[u]
		before, known := done[u]
		if !known {
			before = c.old
		}
		references(before, func(_ *column, _ *base, to UUID) { refs[to]--; loose = append(loose, to) })
		references(c.now, func(_ *column, _ *base, to UUID) { refs[to]++ })
		done[u] = c.now
	}
	for _, u := range tx.order {
		account(u)
		loose = append(loose, u)
	}
	for len(loose) > 0 {
		u := loose[len(loose)-1]
		loose = loose[:len(loose)-1]
		if count(u) > 0 {
			continue
		}
		t := tx.tableOf(u)
		if t == nil || t.root || tx.row(t, u) == nil {
			continue
		}
		tx.set(t, u, nil)
		account(u)
	}
	for _, u := range tx.order {
		c := tx.changes[u]
		if c.now == nil {
			if n := count(u); n > 0 && c.old != nil {
				return nil, &txError{"referential integrity violation", fmt.Sprintf("cannot delete %s row %s because of %d remaining reference(s)", c.table.name, u, n)}
			}
			continue
		}
		references(c.now, func(col *column, b *base, to UUID) {
			if tx.row(tx.s.schema.tables[b.refTable], to) == nil && err == nil {
				err = &txError{"referential integrity violation", fmt.Sprintf("Table %s column %s row %s references nonexistent row %s in table %s.", c.table.name, col.name, u, to, b.refTable)}
			}
		})
		for _, col := range c.table.order {
			if d := c.now.get(col); col.key.refTable != "" && len(d.keys) == 1 && d.keys[0] == (UUID{}) && err == nil {
				err = &txError{"referential integrity violation", fmt.Sprintf("Table %s column %s row %s references nothing.", c.table.name, col.name, u)}
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return refs, tx.checkTables()
}

func (tx *Tx) tableOf(u UUID) *table {
	if c := tx.changes[u]; c != nil {
		return c.table
	}
	for t, rows := range tx.s.tables {
		if rows[u] != nil {
			return t
		}
	}
	return nil
}

// indexKey returns what must be unique of a row.
func indexKey(t *table, n int, r *row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d", t.name, n)
	for _, c := range t.indexes[n] {
		fmt.Fprintf(&b, " %q", r.get(c).keys)
	}
	return b.String()
}

// checkTables checks what is unique and how many rows there may be.
func (tx *Tx) checkTables() *txError {
	grown := make(map[*table]int)
	taken := make(map[string]UUID)
	for _, u := range tx.order {
		c := tx.changes[u]
		switch {
		case c.old == nil && c.now != nil:
			grown[c.table]++
		case c.old != nil && c.now == nil:
			grown[c.table]--
		}
		if c.now == nil {
			continue
		}
		for n := range c.table.indexes {
			key := indexKey(c.table, n, c.now)
			other, there := taken[key]
			if !there {
				other, there = tx.s.unique[key]
				if o := tx.changes[other]; there && o != nil && (o.now == nil || indexKey(c.table, n, o.now) != key) {
					there = false
				}
			}
			if there && other != u {
				return constraint("Transaction causes multiple rows in %q table to have identical values (%v) for index on column %q.",
					c.table.name, c.now.get(c.table.indexes[n][0]).keys, c.table.indexes[n][0].name)
			}
			taken[key] = u
		}
	}
	for t, n := range grown {
		if n > 0 && len(tx.s.tables[t])+n > t.maxRows {
			return constraint("transaction causes %q table to contain %d rows, greater than the schema-defined limit of %d row(s)", t.name, len(tx.s.tables[t])+n, t.maxRows)
		}
	}
	return nil
}

// commit makes the transaction part of the database, and tells the monitors.
func (tx *Tx) commit() *txError {
	refs, err := tx.settle()
	if err != nil {
		return err
	}
	s := tx.s
	for u, n := range refs {
		if s.refs[u] += n; s.refs[u] == 0 {
			delete(s.refs, u)
		}
	}
	for _, u := range tx.order {
		if c := tx.changes[u]; c.old != nil {
			for n := range c.table.indexes {
				if key := indexKey(c.table, n, c.old); s.unique[key] == u {
					delete(s.unique, key)
				}
			}
		}
	}
	for _, u := range tx.order {
		c := tx.changes[u]
		if c.now == nil {
			delete(s.tables[c.table], u)
			continue
		}
		s.tables[c.table][u] = c.now
		for n := range c.table.indexes {
			s.unique[indexKey(c.table, n, c.now)] = u
		}
	}
	for sess := range s.sessions {
		sess.tell(tx)
	}
	if len(tx.order) > 0 {
		s.notify()
	}
	return nil
}
