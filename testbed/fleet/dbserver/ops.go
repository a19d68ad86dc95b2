package dbserver

import (
	"encoding/json"
	"fmt"
	"slices"
)

// operation is one operation of a transaction (RFC 7047 section 5.2).
type operation struct {
	Op        string
	Table     string
	Row       map[string]any
	Rows      []map[string]any
	Where     [][]any
	Columns   []string
	Mutations [][]any
	UUIDName  string `json:"uuid-name"`
	UUID      string
	Until     string
	Durable   bool
	Lock      string
	Comment   string
}

func syntax(format string, args ...any) *txError {
	return &txError{"syntax error", fmt.Sprintf(format, args...)}
}

// run runs operations and returns a result for each, up to and with the first
// error, and null for those behind it.
func (tx *Tx) run(ops []json.RawMessage) (results []any, failed bool) {
	results = make([]any, len(ops))
	named := make(map[string]UUID)
	name := func(s string) UUID {
		u, ok := named[s]
		if !ok {
			u = newUUID()
			named[s] = u
		}
		return u
	}
	for i, raw := range ops {
		var op operation
		v, err := decodeOp(raw, &op)
		var result any
		if err == nil {
			result, err = tx.operate(&op, v, name)
		}
		if err != nil {
			results[i] = err
			return results, true
		}
		results[i] = result
	}
	return results, false
}

// decodeOp reads an operation, with exact numbers.
func decodeOp(raw json.RawMessage, op *operation) (any, *txError) {
	v, err := decodeJSON(raw)
	if err != nil {
		return nil, syntax("%v", err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, syntax("an operation is no object")
	}
	str := func(k string, to *string) {
		if s, ok := m[k].(string); ok {
			*to = s
		}
	}
	str("op", &op.Op)
	str("table", &op.Table)
	str("uuid-name", &op.UUIDName)
	str("uuid", &op.UUID)
	str("until", &op.Until)
	op.Row, _ = m["row"].(map[string]any)
	lists := func(k string) (out [][]any, err *txError) {
		list, _ := m[k].([]any)
		for _, e := range list {
			if t, ok := e.([]any); ok && len(t) == 3 {
				out = append(out, t)
				continue
			}
			return nil, syntax("%s holds what is no triple", k)
		}
		return out, nil
	}
	var terr *txError
	if op.Where, terr = lists("where"); terr != nil {
		return nil, terr
	}
	if op.Mutations, terr = lists("mutations"); terr != nil {
		return nil, terr
	}
	for _, r := range asList(m["rows"]) {
		rm, ok := r.(map[string]any)
		if !ok {
			return nil, syntax("rows holds what is no object")
		}
		op.Rows = append(op.Rows, rm)
	}
	for _, c := range asList(m["columns"]) {
		s, ok := c.(string)
		if !ok {
			return nil, syntax("columns holds what is no string")
		}
		op.Columns = append(op.Columns, s)
	}
	return m, nil
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func (tx *Tx) operate(op *operation, v any, name names) (any, *txError) {
	switch op.Op {
	case "comment":
		return struct{}{}, nil
	case "commit":
		return struct{}{}, nil
	case "abort":
		return nil, &txError{"aborted", "aborted by request"}
	case "assert":
		return nil, &txError{"not owner", "locks are not simulated"}
	}
	t := tx.s.schema.tables[op.Table]
	if t == nil {
		return nil, syntax("No table named %s.", op.Table)
	}
	if op.Op == "insert" {
		return tx.insert(t, op, name)
	}
	if _, there := v.(map[string]any)["where"]; !there {
		return nil, syntax("operation %s has no where", op.Op)
	}
	rows, err := tx.choose(t, op.Where, name)
	if err != nil {
		return nil, err
	}
	switch op.Op {
	case "select":
		cols, err := t.pick(op.Columns)
		if err != nil {
			return nil, err
		}
		out := make([]any, len(rows))
		for i, r := range rows {
			out[i] = cols.json(r)
		}
		return map[string]any{"rows": out}, nil
	case "update":
		for _, r := range rows {
			now, err := t.fill(r, op.Row, name, true)
			if err != nil {
				return nil, err
			}
			tx.set(t, r.uuid, now)
		}
	case "mutate":
		for _, r := range rows {
			now := r
			for _, m := range op.Mutations {
				if now, err = t.mutate(now, m, name); err != nil {
					return nil, err
				}
			}
			tx.set(t, r.uuid, now)
		}
	case "delete":
		for _, r := range rows {
			tx.set(t, r.uuid, nil)
		}
	case "wait":
		return tx.wait(t, rows, op, name)
	default:
		return nil, syntax("no operation is called %q", op.Op)
	}
	return map[string]int{"count": len(rows)}, nil
}

func (tx *Tx) insert(t *table, op *operation, name names) (any, *txError) {
	u := newUUID()
	if op.UUID != "" {
		var err error
		if u, err = parseUUID(op.UUID); err != nil {
			return nil, syntax("%v", err)
		}
	}
	if op.UUIDName != "" {
		u = name(op.UUIDName)
		if tx.changes[u] != nil {
			return nil, &txError{"duplicate uuid-name", fmt.Sprintf("This %q uuid-name has already been used.", op.UUIDName)}
		}
	}
	r, err := t.fill(&row{uuid: u}, op.Row, name, false)
	if err != nil {
		return nil, err
	}
	tx.set(t, u, r)
	return map[string]any{"uuid": atomJSON(u)}, nil
}

// fill returns the row with the values of a row in JSON.
func (t *table) fill(r *row, values map[string]any, name names, update bool) (*row, *txError) {
	for k, v := range values {
		c := t.columns[k]
		if c == nil {
			return nil, &txError{"unknown column", fmt.Sprintf("No column %s in table %s.", k, t.name)}
		}
		d, err := c.parse(v, name)
		if err != nil {
			return nil, err
		}
		if update && !c.mutable {
			return nil, constraint("Cannot update immutable column %s in table %s.", k, t.name)
		}
		r = r.with(c, d)
	}
	return r, nil
}

// choose returns the rows that satisfy all conditions.
func (tx *Tx) choose(t *table, where [][]any, name names) ([]*row, *txError) {
	conds := make([]condition, len(where))
	for i, w := range where {
		var err *txError
		if conds[i], err = t.condition(w, name); err != nil {
			return nil, err
		}
	}
	ok := func(r *row) bool {
		return !slices.ContainsFunc(conds, func(c condition) bool { return !c.holds(r) })
	}
	for _, c := range conds { // nearly always
		if c.column == nil && c.function == "==" {
			u, _ := c.value.keys[0].(UUID)
			if r := tx.row(t, u); r != nil && ok(r) {
				return []*row{r}, nil
			}
			return nil, nil
		}
	}
	var rows []*row
	tx.rows(t, func(r *row) bool {
		if ok(r) {
			rows = append(rows, r)
		}
		return true
	})
	return rows, nil
}

// condition is one condition (RFC 7047 section 5.1); column nil is _uuid.
type condition struct {
	column   *column
	function string
	value    datum
}

var uuidColumn = &column{name: "_uuid", key: base{kind: "uuid"}, min: 1, max: 1}

func (t *table) condition(w []any, name names) (c condition, err *txError) {
	cname, ok1 := w[0].(string)
	function, ok2 := w[1].(string)
	if !ok1 || !ok2 {
		return c, syntax("a condition wants a column and a function")
	}
	c.function = function
	col := uuidColumn
	if cname != "_uuid" {
		if col = t.columns[cname]; col == nil {
			return c, &txError{"unknown column", fmt.Sprintf("No column %s in table %s.", cname, t.name)}
		}
		c.column = col
	}
	switch function {
	case "==", "!=", "includes", "excludes":
	case "<", "<=", ">", ">=":
		if col.max != 1 || col.key.kind != "integer" && col.key.kind != "real" {
			return c, syntax("column %s cannot be compared by %s", cname, function)
		}
	default:
		return c, &txError{"unknown function", fmt.Sprintf("No function named %s.", function)}
	}
	if c.value, err = col.loose().parse(w[2], name); err != nil {
		return c, err
	}
	return c, nil
}

func (c condition) holds(r *row) bool {
	d := datum{keys: []any{r.uuid}}
	if c.column != nil {
		d = r.get(c.column)
	}
	contains := func(k any, i int) bool {
		j, there := d.find(k)
		return there && (c.value.vals == nil || d.vals[j] == c.value.vals[i])
	}
	switch c.function {
	case "==":
		return d.equal(c.value)
	case "!=":
		return !d.equal(c.value)
	case "includes", "excludes":
		for i, k := range c.value.keys {
			if contains(k, i) != (c.function == "includes") {
				return false
			}
		}
		return true
	}
	if len(d.keys) != 1 || len(c.value.keys) != 1 {
		return false
	}
	n := compareAtoms(d.keys[0], c.value.keys[0])
	switch c.function {
	case "<":
		return n < 0
	case "<=":
		return n <= 0
	case ">":
		return n > 0
	}
	return n >= 0
}

// mutate makes one mutation (RFC 7047 section 5.1).
func (t *table) mutate(r *row, m []any, name names) (*row, *txError) {
	cname, ok1 := m[0].(string)
	mutator, ok2 := m[1].(string)
	if !ok1 || !ok2 {
		return nil, syntax("a mutation wants a column and a mutator")
	}
	c := t.columns[cname]
	if c == nil {
		return nil, &txError{"unknown column", fmt.Sprintf("No column %s in table %s.", cname, t.name)}
	}
	if !c.mutable {
		return nil, constraint("Cannot mutate immutable column %s in table %s.", cname, t.name)
	}
	d := r.get(c)
	switch mutator {
	case "insert":
		v, err := c.loose().parse(m[2], name)
		if err != nil {
			return nil, err
		}
		for i, k := range v.keys {
			if c.value != nil {
				d = d.put(k, v.vals[i], true, false)
			} else {
				d = d.put(k, nil, false, false)
			}
		}
	case "delete":
		// Of a map, keys alone will do.
		v, err := c.loose().parse(m[2], name)
		if err != nil && c.value != nil {
			keys := *c.loose()
			keys.value = nil
			v, err = keys.parse(m[2], name)
		}
		if err != nil {
			return nil, err
		}
		for i, k := range v.keys {
			if j, there := d.find(k); there && (v.vals == nil || d.vals[j] == v.vals[i]) {
				d = d.remove(k)
			}
		}
	case "+=", "-=", "*=", "/=", "%=":
		n, ok := m[2].(json.Number)
		if !ok || c.key.kind != "integer" || c.value != nil {
			return nil, syntax("column %s takes no mutation %s", cname, mutator)
		}
		by, err := n.Int64()
		if err != nil {
			return nil, syntax("%v", err)
		}
		if by == 0 && (mutator == "/=" || mutator == "%=") {
			return nil, &txError{"domain error", "Division by zero."}
		}
		var out datum
		for _, k := range d.keys {
			i := k.(int64)
			switch mutator {
			case "+=":
				i += by
			case "-=":
				i -= by
			case "*=":
				i *= by
			case "/=":
				i /= by
			default:
				i %= by
			}
			if i < c.key.minInt || i > c.key.maxInt {
				return nil, constraint("%d is not between %d and %d", i, c.key.minInt, c.key.maxInt)
			}
			out = out.put(i, nil, false, false)
		}
		d = out
	default:
		return nil, &txError{"unknown mutator", fmt.Sprintf("No mutator named %s.", mutator)}
	}
	return r.with(c, d), c.size(d, "constraint violation")
}

// loose returns the column with any number of values, as mutations take them.
func (c *column) loose() *column {
	l := *c
	l.min, l.max = 0, 1<<31
	return &l
}

// picked is some columns of a table.
type picked struct {
	uuid    bool
	columns []*column
}

// pick looks columns up; none are all.
func (t *table) pick(cols []string) (picked, *txError) {
	if cols == nil {
		return picked{true, t.order}, nil
	}
	var p picked
	for _, n := range cols {
		switch c := t.columns[n]; {
		case n == "_uuid":
			p.uuid = true
		case n == "_version":
		case c == nil:
			return p, syntax("No column %s in table %s.", n, t.name)
		default:
			p.columns = append(p.columns, c)
		}
	}
	return p, nil
}

func (p picked) json(r *row) map[string]any {
	m := make(map[string]any, len(p.columns)+1)
	if p.uuid {
		m["_uuid"] = atomJSON(r.uuid)
	}
	for _, c := range p.columns {
		m[c.name] = c.json(r.get(c))
	}
	return m
}
