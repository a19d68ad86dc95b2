package ovsdb

import (
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"github.com/ovn-kubernetes/libovsdb/updates"
)

// databaseName is the name of the database in ovsdb-server.
const databaseName = "Open_vSwitch"

// The tables that we read (ovs-vswitchd.conf.db(5)).
const (
	tableRoot       = "Open_vSwitch"
	tableBridge     = "Bridge"
	tablePort       = "Port"
	tableInterface  = "Interface"
	tableController = "Controller"
	tableFlowTable  = "Flow_Table"
)

// The rows hold only the columns that we use: the statistics alone would
// otherwise wake us every five seconds for each interface. A column marked
// optional keeps its zero value on a server whose schema lacks it.
type (
	rootRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Bridges     []string          `ovsdb:"bridges"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		NextCfg     int               `ovsdb:"next_cfg"`
		CurCfg      int               `ovsdb:"cur_cfg"`
		Version     *string           `ovsdb:"ovs_version" nvgre:"optional"`
	}
	bridgeRow struct {
		UUID         string            `ovsdb:"_uuid"`
		Name         string            `ovsdb:"name"`
		Ports        []string          `ovsdb:"ports"`
		Controllers  []string          `ovsdb:"controller"`
		FailMode     *string           `ovsdb:"fail_mode"`
		ExternalIDs  map[string]string `ovsdb:"external_ids"`
		DatapathType string            `ovsdb:"datapath_type" nvgre:"optional"`
		DatapathID   *string           `ovsdb:"datapath_id" nvgre:"optional"`
		Protocols    []string          `ovsdb:"protocols" nvgre:"optional"`
		FlowTables   map[int]string    `ovsdb:"flow_tables" nvgre:"optional"`
	}
	portRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Interfaces  []string          `ovsdb:"interfaces"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		Type        string            `ovsdb:"type"`
		Options     map[string]string `ovsdb:"options"`
		OFPort      *int              `ovsdb:"ofport"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
		Error       *string           `ovsdb:"error" nvgre:"optional"`
	}
	controllerRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Target      string            `ovsdb:"target"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
	flowTableRow struct {
		UUID           string            `ovsdb:"_uuid"`
		Name           *string           `ovsdb:"name" nvgre:"optional"`
		ExternalIDs    map[string]string `ovsdb:"external_ids" nvgre:"optional"`
		FlowLimit      *int              `ovsdb:"flow_limit" nvgre:"optional"`
		OverflowPolicy *string           `ovsdb:"overflow_policy" nvgre:"optional"`
		Groups         []string          `ovsdb:"groups" nvgre:"optional"`
		Prefixes       []string          `ovsdb:"prefixes" nvgre:"optional"`
	}
)

func clientModel() (model.ClientDBModel, error) {
	return model.NewClientDBModel(databaseName, map[string]model.Model{
		tableRoot:       &rootRow{},
		tableBridge:     &bridgeRow{},
		tablePort:       &portRow{},
		tableInterface:  &interfaceRow{},
		tableController: &controllerRow{},
		tableFlowTable:  &flowTableRow{},
	})
}

func tableOf[T any]() string {
	switch any((*T)(nil)).(type) {
	case *rootRow:
		return tableRoot
	case *bridgeRow:
		return tableBridge
	case *portRow:
		return tablePort
	case *interfaceRow:
		return tableInterface
	case *controllerRow:
		return tableController
	case *flowTableRow:
		return tableFlowTable
	}
	panic(fmt.Sprintf("no table holds a %T", *new(T)))
}

// database is our copy of the monitored columns, at one moment of the server.
// A row, once in it, is never changed but replaced.
type database struct {
	*schema
	tables map[string]map[string]model.Model
}

// schema is what a server's schema has of our rows. It never changes.
type schema struct {
	model   model.DatabaseModel
	columns map[string]map[string]bool // by table
}

func newDatabase(s *schema) *database {
	db := &database{schema: s, tables: make(map[string]map[string]model.Model, len(s.columns))}
	for table := range s.columns {
		db.tables[table] = make(map[string]model.Model)
	}
	return db
}

// Schemas remembers the schemas that databases have sent: a thousand hosts have
// one or two of them, and to read one takes longer than all the rest of a
// connection's begin. The zero value is ready for use, by many goroutines.
type Schemas struct {
	mu   sync.Mutex
	read map[string]*schema // by their text
}

// maxSchemas bounds what is remembered.
const maxSchemas = 16

// get reads a schema, unless it is known.
func (k *Schemas) get(raw json.RawMessage) (*schema, error) {
	k.mu.Lock()
	s := k.read[string(raw)]
	k.mu.Unlock()
	if s != nil {
		return s, nil
	}
	var theirs ovsdb.DatabaseSchema
	if err := json.Unmarshal(raw, &theirs); err != nil {
		return nil, fmt.Errorf("ovsdb-server sent a schema that cannot be read: %w", err)
	}
	s, err := newSchema(theirs)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.read == nil || len(k.read) >= maxSchemas {
		k.read = make(map[string]*schema)
	}
	k.read[string(raw)] = s
	return s, nil
}

// newSchema checks the server's schema against our rows. It fails where a
// column is missing that is not optional.
func newSchema(theirs ovsdb.DatabaseSchema) (*schema, error) {
	client, err := clientModel()
	if err != nil {
		return nil, err
	}
	db := &schema{columns: make(map[string]map[string]bool)}
	for table, typ := range client.Types() {
		ts := theirs.Table(table)
		if ts == nil {
			return nil, fmt.Errorf("the database has no table %s: Open vSwitch 2.6 or newer is needed", table)
		}
		db.columns[table] = make(map[string]bool)
		for i := range typ.Elem().NumField() {
			f := typ.Elem().Field(i)
			name := f.Tag.Get("ovsdb")
			if name == "_uuid" {
				continue
			}
			if c := ts.Column(name); c != nil && ovsdb.NativeType(c) == f.Type {
				db.columns[table][name] = true
				continue
			}
			if f.Tag.Get("nvgre") != "optional" {
				return nil, fmt.Errorf("table %s has no column %s of a type that fits: Open vSwitch 2.6 or newer is needed", table, name)
			}
			// libovsdb wants every column of a model in the schema. This one
			// is neither asked for nor written.
			if ts.Columns[name], err = columnFor(f.Type); err != nil {
				return nil, err
			}
		}
	}
	var problems []error
	if db.model, problems = model.NewDatabaseModel(theirs, client); len(problems) > 0 {
		return nil, fmt.Errorf("the database's schema: %w", problems[0])
	}
	return db, nil
}

// columnFor returns a column whose values have the Go type t.
func columnFor(t reflect.Type) (*ovsdb.ColumnSchema, error) {
	atom := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Bool: "boolean"}
	var text string
	switch t.Kind() {
	case reflect.Pointer:
		text = fmt.Sprintf(`{"type":{"key":%q,"min":0,"max":1}}`, atom[t.Elem().Kind()])
	case reflect.Slice:
		text = fmt.Sprintf(`{"type":{"key":%q,"min":0,"max":"unlimited"}}`, atom[t.Elem().Kind()])
	case reflect.Map:
		text = fmt.Sprintf(`{"type":{"key":%q,"value":%q,"min":0,"max":"unlimited"}}`, atom[t.Key().Kind()], atom[t.Elem().Kind()])
	default:
		text = fmt.Sprintf(`{"type":%q}`, atom[t.Kind()])
	}
	c := new(ovsdb.ColumnSchema)
	return c, c.UnmarshalJSON([]byte(text))
}

// has reports whether the server knows a column.
func (db *schema) has(table, column string) bool { return db.columns[table][column] }

// apply makes the changes of one notification (ovsdb-server(7), update2).
func (db *database) apply(tu ovsdb.TableUpdates2) error {
	for table, rows := range tu {
		current, ok := db.tables[table]
		if !ok {
			continue
		}
		for uuid, change := range rows {
			if change == nil {
				return fmt.Errorf("ovsdb-server sent an empty change of row %s of table %s", uuid, table)
			}
			if change.Initial == nil && change.Insert == nil && current[uuid] == nil {
				return fmt.Errorf("ovsdb-server changed row %s of table %s, which it never sent", uuid, table)
			}
			var mu updates.ModelUpdates
			if err := mu.AddRowUpdate2(db.model, table, uuid, current[uuid], *change); err != nil {
				return fmt.Errorf("row %s of table %s: %w", uuid, table, err)
			}
			err := mu.ForEachModelUpdate(table, func(uuid string, _, row model.Model) error {
				if row == nil {
					delete(current, uuid)
				} else {
					current[uuid] = row
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// get returns a row, or nil where there is none.
func get[T any](db *database, uuid string) *T {
	row, _ := db.tables[tableOf[T]()][uuid].(*T)
	return row
}

// all yields the rows of a table in no order.
func all[T any](db *database) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, m := range db.tables[tableOf[T]()] {
			if !yield(m.(*T)) {
				return
			}
		}
	}
}

// resolve returns the rows that uuids name.
func resolve[T any](db *database, uuids []string) []*T {
	rows := make([]*T, 0, len(uuids))
	for _, u := range uuids {
		if r := get[T](db, u); r != nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// root returns the one row of table Open_vSwitch, or nil.
func (db *database) root() *rootRow {
	for r := range all[rootRow](db) {
		return r
	}
	return nil
}

// bridge returns the bridge of a name, or nil.
func (db *database) bridge(name string) *bridgeRow {
	for b := range all[bridgeRow](db) {
		if b.Name == name {
			return b
		}
	}
	return nil
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
