package ovsdb

import (
	"fmt"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// transaction collects operations (RFC 7047 section 5.2). What must still be
// true comes first, so that a transaction built from rows that have changed
// since does nothing at all.
type transaction struct {
	db      *database
	waits   []ovsdb.Operation
	adds    []ovsdb.Operation
	removes []ovsdb.Operation
	waited  map[string]bool
	names   int
}

func newTransaction(db *database) *transaction {
	return &transaction{db: db, waited: make(map[string]bool)}
}

func (t *transaction) empty() bool { return len(t.adds)+len(t.removes) == 0 }

// operations returns the whole: waits, additions, removals.
func (t *transaction) operations() []ovsdb.Operation {
	ops := make([]ovsdb.Operation, 0, len(t.waits)+len(t.adds)+len(t.removes))
	return append(append(append(ops, t.waits...), t.adds...), t.removes...)
}

func isRow(uuid string) []ovsdb.Condition {
	return []ovsdb.Condition{{Column: "_uuid", Function: ovsdb.ConditionEqual, Value: ovsdb.UUID{GoUUID: uuid}}}
}

// expect makes the transaction fail unless the column has this value in the row.
func (t *transaction) expect(table, uuid, column string, value any) {
	if id := uuid + " " + column; t.waited[id] {
		return
	} else {
		t.waited[id] = true
	}
	t.waits = append(t.waits, ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Timeout: new(int), Where: isRow(uuid),
		Columns: []string{column}, Until: string(ovsdb.WaitConditionEqual),
		Rows: []ovsdb.Row{{column: value}},
	})
}

// expectLabel makes the transaction fail unless the row still carries our label,
// whatever else its external_ids hold.
func (t *transaction) expectLabel(table, uuid, purpose string) {
	if id := uuid + " label"; t.waited[id] {
		return
	} else {
		t.waited[id] = true
	}
	t.waits = append(t.waits, ovsdb.Operation{
		Op: ovsdb.OperationWait, Table: table, Timeout: new(int),
		Where: append(isRow(uuid), ovsdb.Condition{
			Column: "external_ids", Function: ovsdb.ConditionIncludes, Value: label(purpose),
		}),
		Columns: []string{"_uuid"}, Until: string(ovsdb.WaitConditionEqual),
		Rows: []ovsdb.Row{{"_uuid": ovsdb.UUID{GoUUID: uuid}}},
	})
}

// insert adds a row and returns the name that stands for its UUID. Columns that
// the server lacks are left out.
func (t *transaction) insert(table string, row ovsdb.Row) ovsdb.UUID {
	for column := range row {
		if !t.db.has(table, column) {
			delete(row, column)
		}
	}
	t.names++
	name := fmt.Sprintf("row%d", t.names)
	t.adds = append(t.adds, ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, Row: row, UUIDName: name})
	return ovsdb.UUID{GoUUID: name}
}

func (t *transaction) update(table, uuid, column string, value any) {
	t.adds = append(t.adds, ovsdb.Operation{
		Op: ovsdb.OperationUpdate, Table: table, Where: isRow(uuid), Row: ovsdb.Row{column: value},
	})
}

// add inserts into a set or map.
func (t *transaction) add(table, uuid, column string, value any) {
	t.adds = append(t.adds, mutate(table, uuid, ovsdb.Mutation{Column: column, Mutator: ovsdb.MutateOperationInsert, Value: value}))
}

// remove deletes from a set or map.
func (t *transaction) remove(table, uuid, column string, value any) {
	t.removes = append(t.removes, mutate(table, uuid, ovsdb.Mutation{Column: column, Mutator: ovsdb.MutateOperationDelete, Value: value}))
}

// setKeys writes keys of a map column and leaves the other keys alone.
func (t *transaction) setKeys(table, uuid, column string, values map[string]string) {
	keys := make([]any, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	t.adds = append(t.adds, mutate(table, uuid,
		ovsdb.Mutation{Column: column, Mutator: ovsdb.MutateOperationDelete, Value: ovsdb.OvsSet{GoSet: keys}},
		ovsdb.Mutation{Column: column, Mutator: ovsdb.MutateOperationInsert, Value: stringMap(values)}))
}

func mutate(table, uuid string, m ...ovsdb.Mutation) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationMutate, Table: table, Where: isRow(uuid), Mutations: m}
}

// The forms that values take in operations.

func label(purpose string) ovsdb.OvsMap { return stringMap(map[string]string{Label: purpose}) }

func stringMap(m map[string]string) ovsdb.OvsMap {
	o := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for k, v := range m {
		o.GoMap[k] = v
	}
	return o
}

func set[T any](values ...T) ovsdb.OvsSet {
	o := ovsdb.OvsSet{GoSet: make([]any, len(values))}
	for i, v := range values {
		o.GoSet[i] = v
	}
	return o
}

func optional[T any](p *T) ovsdb.OvsSet {
	if p == nil {
		return set[T]()
	}
	return set(*p)
}

func uuids(s []string) ovsdb.OvsSet {
	o := ovsdb.OvsSet{GoSet: make([]any, len(s))}
	for i, u := range s {
		o.GoSet[i] = ovsdb.UUID{GoUUID: u}
	}
	return o
}
