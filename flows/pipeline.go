package flows

import (
	"strconv"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Numbers of the tables. The gaps leave room for what is to come: access
// control before routing and before delivery, and multicast behind output.
const (
	tableClassify     = 0
	tableTunnelSource = 1
	tableTunnelVSID   = 2
	tablePortSecurity = 5
	tableRoute        = 15
	tableCA           = 20
	tableAct          = 25
	tableNDReply      = 26
	tablePA           = 30
	tableMTU          = 32
	tableEncap        = 35
	tableLocal        = 40
	tableOutput       = 50
	tablePunt         = 70
	tableSentinel     = 253
)

// Pipeline lists the tables in the order in which packets pass them. The
// declarations must not be modified.
func Pipeline() []*Table {
	return []*Table{
		&classify, &tunnelSource, &tunnelVSID, &portSecurity, &route, &ca,
		&act, &ndReply, &pa, &mtu, &encap, &local, &output, &punt, &sentinel,
	}
}

// tableRules holds the declarations in checkable form, by table number. A wrong
// declaration is a fault of the program, found before it does anything.
var tableRules = func() (t [256]*rules) {
	if err := checkRegisters(Registers()); err != nil {
		panic(err)
	}
	if err := checkTables(Pipeline()); err != nil {
		panic(err)
	}
	for _, d := range Pipeline() {
		t[d.ID] = newRules(d)
	}
	return t
}()

// Check returns an error where a flow does what the declaration of its table
// does not allow.
func Check(f *flow.Flow) error {
	r := tableRules[f.Table]
	if r == nil {
		return &UndeclaredTableError{f.Table}
	}
	return r.check(f)
}

// UndeclaredTableError says that a flow is in a table that the pipeline lacks.
type UndeclaredTableError struct{ Table uint8 }

func (e *UndeclaredTableError) Error() string {
	return "table " + strconv.Itoa(int(e.Table)) + " is not in the pipeline"
}

// TableName returns the name of a table, or its number where the pipeline has
// no such table.
func TableName(id uint8) string {
	if r := tableRules[id]; r != nil {
		return r.table.Name
	}
	return strconv.Itoa(int(id))
}

// TableNames returns the names of all tables by number, for Flow_Table.name in
// the switch's database (ovs-vswitchd.conf.db(5)).
func TableNames() map[uint8]string {
	names := make(map[uint8]string)
	for _, t := range Pipeline() {
		names[t.ID] = t.Name
	}
	return names
}

// TableByName returns the number of the table with that name.
func TableByName(name string) (uint8, bool) {
	for _, t := range Pipeline() {
		if t.Name == name {
			return t.ID, true
		}
	}
	return 0, false
}
