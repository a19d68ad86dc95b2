package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Database is a connection to an OVSDB server (RFC 7047) that stays. Only what a
// benchmark needs is there: transactions, and one monitor.
type Database struct {
	name string
	conn net.Conn
	seen func(table string, row ovsdb.Row)
	done chan struct{} // closed when reading has ended

	mu      sync.Mutex // and of writing
	nextID  int
	pending map[int]chan answer
	err     error // why reading ended
}

type answer struct {
	Result json.RawMessage
	Error  json.RawMessage
}

// OpenDatabase connects to the database of a name at a unix socket, and has seen
// called for each row that is there, comes or changes, with the columns
// asked for by table; two calls may overlap. Both may be nil.
func OpenDatabase(ctx context.Context, socket, name string, columns map[string][]string, seen func(table string, row ovsdb.Row)) (*Database, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	d := &Database{name: name, conn: conn, seen: seen, done: make(chan struct{}), pending: map[int]chan answer{}}
	go d.read()
	if len(columns) > 0 {
		request := map[string]any{}
		for table, list := range columns {
			request[table] = map[string]any{"columns": list}
		}
		var first ovsdb.TableUpdates
		if err := d.call(ctx, "monitor", []any{name, "rig", request}, &first); err != nil {
			d.Close()
			return nil, err
		}
		d.tell(first)
	}
	return d, nil
}

// Close ends the connection.
func (d *Database) Close() {
	d.conn.Close()
	<-d.done
}

func (d *Database) tell(updates ovsdb.TableUpdates) {
	for table, rows := range updates {
		for _, row := range rows {
			if row != nil && row.New != nil && d.seen != nil {
				d.seen(table, *row.New)
			}
		}
	}
}

// read takes messages until the connection ends.
func (d *Database) read() {
	defer close(d.done)
	err := func() error {
		for dec := json.NewDecoder(d.conn); ; {
			var m struct {
				ID     json.RawMessage
				Method string
				Params json.RawMessage
				answer
			}
			if err := dec.Decode(&m); err != nil {
				return err
			}
			switch m.Method {
			case "echo":
				if err := d.send(map[string]any{"id": m.ID, "result": m.Params, "error": nil}); err != nil {
					return err
				}
			case "update":
				var params [2]json.RawMessage
				var updates ovsdb.TableUpdates
				if err := json.Unmarshal(m.Params, &params); err != nil {
					return err
				}
				if err := json.Unmarshal(params[1], &updates); err != nil {
					return err
				}
				d.tell(updates)
			case "":
				var id int
				if err := json.Unmarshal(m.ID, &id); err != nil {
					return err
				}
				d.mu.Lock()
				if c := d.pending[id]; c != nil {
					c <- m.answer
				}
				d.mu.Unlock()
			}
		}
	}()
	d.mu.Lock()
	d.err = err
	d.mu.Unlock()
}

func (d *Database) send(message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = d.conn.Write(b)
	return err
}

func (d *Database) call(ctx context.Context, method string, params []any, result any) error {
	c := make(chan answer, 1)
	d.mu.Lock()
	d.nextID++
	id := d.nextID
	d.pending[id] = c
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.pending, id)
		d.mu.Unlock()
	}()
	if err := d.send(map[string]any{"id": id, "method": method, "params": params}); err != nil {
		return fmt.Errorf("database %s: %s: %w", d.name, method, err)
	}
	select {
	case a := <-c:
		if len(a.Error) > 0 && string(a.Error) != "null" {
			return fmt.Errorf("database %s: %s: %s", d.name, method, a.Error)
		}
		return json.Unmarshal(a.Result, result)
	case <-d.done:
		return fmt.Errorf("database %s: %s: the connection ended: %w", d.name, method, d.err)
	case <-ctx.Done():
		return fmt.Errorf("database %s: %s: %w", d.name, method, context.Cause(ctx))
	}
}

// Commit runs operations in one transaction.
func (d *Database) Commit(ctx context.Context, ops ...ovsdb.Operation) error {
	params := []any{d.name}
	for _, o := range ops {
		params = append(params, o)
	}
	var results []*ovsdb.OperationResult
	if err := d.call(ctx, "transact", params, &results); err != nil {
		return err
	}
	var errs []error
	for i, r := range results {
		if r != nil && r.Error != "" {
			errs = append(errs, fmt.Errorf("database %s: operation %d: %s: %s", d.name, i, r.Error, r.Details))
		}
	}
	return errors.Join(errs...)
}

// Insert returns the operation that adds a row, which named calls within the
// transaction.
func Insert(table, named string, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, UUIDName: named, Row: row}
}

// Update returns the operation that changes columns of all rows of a table.
func Update(table string, row ovsdb.Row) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationUpdate, Table: table, Row: row,
		// libovsdb leaves out a condition that is empty, and so true; OVSDB wants one.
		Where: []ovsdb.Condition{{Column: "_uuid", Function: ovsdb.ConditionNotEqual, Value: ovsdb.UUID{GoUUID: "00000000-0000-0000-0000-000000000000"}}},
	}
}

// AddTo returns the operation that adds rows, called so within the transaction,
// to a column of the row that has a name.
func AddTo(table, name, column string, named ...string) ovsdb.Operation {
	return ovsdb.Operation{
		Op: ovsdb.OperationMutate, Table: table,
		Where:     []ovsdb.Condition{{Column: "name", Function: ovsdb.ConditionEqual, Value: name}},
		Mutations: []ovsdb.Mutation{{Column: column, Mutator: ovsdb.MutateOperationInsert, Value: Set(named...)}},
	}
}

// Set returns a set of rows called so within the transaction.
func Set(named ...string) ovsdb.OvsSet {
	s := ovsdb.OvsSet{}
	for _, n := range named {
		s.GoSet = append(s.GoSet, ovsdb.UUID{GoUUID: n})
	}
	return s
}

// Map returns a map of strings: keys and values in turn.
func Map(keysAndValues ...string) ovsdb.OvsMap {
	m := ovsdb.OvsMap{GoMap: map[any]any{}}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		m.GoMap[keysAndValues[i]] = keysAndValues[i+1]
	}
	return m
}
