package dbserver

import (
	"encoding/json"
	"errors"
	"fmt"
)

// monitor is what a client wants to be told of (RFC 7047 section 4.1.5,
// ovsdb-server(7)).
type monitor struct {
	id     json.RawMessage
	kind   int // 1: monitor, 2: monitor_cond, 3: monitor_cond_since
	tables map[*table]*watched
}

type watched struct {
	columns                         picked
	initial, insert, delete, modify bool
}

// newMonitor reads a request for a monitor.
func (s *Server) newMonitor(kind int, id, params json.RawMessage) (*monitor, error) {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(params, &in); err != nil {
		return nil, fmt.Errorf("the tables to monitor: %w", err)
	}
	m := &monitor{id: id, kind: kind, tables: make(map[*table]*watched)}
	for name, raw := range in {
		t := s.schema.tables[name]
		if t == nil {
			return nil, fmt.Errorf("no table is called %s", name)
		}
		type request struct {
			Columns []string
			Where   json.RawMessage
			Select  *struct{ Initial, Insert, Delete, Modify *bool }
		}
		var requests []request
		if json.Unmarshal(raw, &requests) != nil {
			requests = make([]request, 1)
			if err := json.Unmarshal(raw, &requests[0]); err != nil {
				return nil, fmt.Errorf("table %s: %w", name, err)
			}
		}
		w := &watched{}
		for _, r := range requests {
			if c := string(r.Where); c != "" && c != "[]" && c != "[true]" && c != "true" && c != "null" {
				return nil, errors.New("monitors with conditions are not simulated")
			}
			cols, err := t.pick(r.Columns)
			if err != nil {
				return nil, err
			}
			w.columns.columns = append(w.columns.columns, cols.columns...)
			is := func(p *bool) bool { return p == nil || *p }
			if r.Select == nil {
				r.Select = &struct{ Initial, Insert, Delete, Modify *bool }{}
			}
			w.initial = w.initial || is(r.Select.Initial)
			w.insert = w.insert || is(r.Select.Insert)
			w.delete = w.delete || is(r.Select.Delete)
			w.modify = w.modify || is(r.Select.Modify)
		}
		m.tables[t] = w
	}
	return m, nil
}

// updates gathers what is told, by table and row.
type updates map[string]map[string]any

func (u updates) add(t *table, id UUID, v any) {
	if v == nil {
		return
	}
	if u[t.name] == nil {
		u[t.name] = make(map[string]any)
	}
	u[t.name][id.String()] = v
}

// contents returns the rows that there are.
func (m *monitor) contents(s *Server) updates {
	u := make(updates)
	for t, w := range m.tables {
		if !w.initial {
			continue
		}
		for id, r := range s.tables[t] {
			if m.kind == 1 {
				u.add(t, id, map[string]any{"new": w.columns.json(r)})
			} else {
				u.add(t, id, map[string]any{"initial": w.brief(r)})
			}
		}
	}
	return u
}

// brief leaves out the columns that have their defaults.
func (w *watched) brief(r *row) map[string]any {
	m := make(map[string]any)
	for _, c := range w.columns.columns {
		if _, there := r.find(c); there {
			m[c.name] = c.json(r.get(c))
		}
	}
	return m
}

// changes returns what a transaction means to the monitor.
func (m *monitor) changes(tx *Tx) updates {
	u := make(updates)
	for _, id := range tx.order {
		c := tx.changes[id]
		if w := m.tables[c.table]; w != nil {
			if v := w.change(m.kind, c); v != nil {
				u.add(c.table, id, v)
			}
		}
	}
	return u
}

func (w *watched) change(kind int, c *change) map[string]any {
	switch {
	case c.old == nil && c.now == nil:
		return nil
	case c.old == nil:
		if !w.insert {
			return nil
		}
		if kind == 1 {
			return map[string]any{"new": w.columns.json(c.now)}
		}
		return map[string]any{"insert": w.brief(c.now)}
	case c.now == nil:
		if !w.delete {
			return nil
		}
		if kind == 1 {
			return map[string]any{"old": w.columns.json(c.old)}
		}
		return map[string]any{"delete": nil}
	case !w.modify:
		return nil
	}
	diff := make(map[string]any)
	for _, col := range w.columns.columns {
		old, now := c.old.get(col), c.now.get(col)
		if old.equal(now) {
			continue
		}
		if kind == 1 {
			diff[col.name] = col.json(old)
		} else {
			diff[col.name] = col.json(col.diff(old, now))
		}
	}
	if len(diff) == 0 {
		return nil
	}
	if kind == 1 {
		return map[string]any{"old": diff, "new": w.columns.json(c.now)}
	}
	return map[string]any{"modify": diff}
}
