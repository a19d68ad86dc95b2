package dbserver

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// u returns a UUID in JSON that ends with these two digits.
func u(n string) string { return `["uuid","00000000-0000-4000-8000-0000000000` + n + `"]` }

// a bridge with a port and an interface, as ovs-vsctl makes it.
func bridge(n, name string) string {
	return `{"op":"insert","table":"Interface","uuid-name":"i","row":{"name":"` + name + `","type":"internal"}},
	{"op":"insert","table":"Port","uuid-name":"p","row":{"name":"` + name + `","interfaces":["named-uuid","i"]}},
	{"op":"insert","table":"Bridge","uuid":"00000000-0000-4000-8000-0000000000` + n + `","row":{"name":"` + name + `","ports":["set",[["named-uuid","p"]]],"external_ids":["map",[["a","1"],["b","2"]]]}},
	{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","insert",["set",[` + u(n) + `]]],["next_cfg","+=",1]]}`
}

const where0 = `"where":[["_uuid","==",["uuid","00000000-0000-4000-8000-000000000001"]]]`

// transactions are sent one after the other; a group begins with an empty
// database.
var transactions = map[string][]string{
	"bridge":             {bridge("01", "br0")},
	"bridge twice":       {bridge("01", "br0"), bridge("02", "br0"), bridge("03", "br1")},
	"bridge, then gone":  {bridge("01", "br0"), `{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","delete",` + u("01") + `]]}`},
	"unreferenced":       {`{"op":"insert","table":"Bridge","row":{"name":"lost"}}`, `{"op":"insert","table":"Port","row":{"name":"lost","interfaces":["set",[]]}}`},
	"port without iface": {bridge("01", "br0"), `{"op":"insert","table":"Port","uuid-name":"p","row":{"name":"x"}},{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["ports","insert",["named-uuid","p"]]]}`},
	"reference to none":  {bridge("01", "br0"), `{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["ports","insert",` + u("99") + `]]}`},
	"delete referenced":  {bridge("01", "br0"), `{"op":"delete","table":"Bridge","where":[]}`, `{"op":"delete","table":"Interface","where":[]}`},
	"second root":        {`{"op":"insert","table":"Open_vSwitch","row":{}}`},
	"delete the root":    {bridge("01", "br0"), `{"op":"delete","table":"Open_vSwitch","where":[]},{"op":"insert","table":"Open_vSwitch","uuid":"00000000-0000-4000-8000-000000000077","row":{}}`},
	"map mutations": {bridge("01", "br0"),
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["external_ids","insert",["map",[["a","9"],["c","3"]]]]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["external_ids","delete",["set",["a"]]],["external_ids","insert",["map",[["a","9"]]]]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["external_ids","delete",["map",[["a","8"],["b","2"]]]]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["external_ids","delete","a"]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["external_ids","delete",["set",[]]]]}`},
	"optional": {bridge("01", "br0"),
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"fail_mode":"secure","datapath_id":["set",["0123"]]}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"fail_mode":["set",[]]}}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["fail_mode","insert","secure"]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["fail_mode","insert","standalone"]]}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"fail_mode":["set",["secure","standalone"]]}}`},
	"values": {bridge("01", "br0"),
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"fail_mode":"nonsense"}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"stp_enable":1}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"datapath_type":5}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"flood_vlans":["set",[1,4095,7]]}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"flood_vlans":4096}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"flood_vlans":["set",[1,1]]}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"protocols":["set",["OpenFlow13","OpenFlow10"]]}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"external_ids":["map",[["k",1]]]}}`,
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"external_ids":["map",[]]}}`,
		`{"op":"update","table":"Interface","where":[],"row":{"ofport":["set",[]],"statistics":["map",[["rx",5]]],"ofport_request":65279}}`,
		`{"op":"update","table":"Interface","where":[],"row":{"ofport_request":65280}}`},
	"immutable": {bridge("01", "br0"),
		`{"op":"update","table":"Bridge",` + where0 + `,"row":{"name":"br9"}}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["name","insert","br9"]]}`},
	"numbers": {
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",5],["cur_cfg","-=",2]]}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","*=",3]]},{"op":"select","table":"Open_vSwitch","where":[],"columns":["next_cfg","cur_cfg"]}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","/=",0]]}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","/=",4],["next_cfg","%=",2]]}`},
	"waits": {bridge("01", "br0"),
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["name"],"until":"==","rows":[{"name":"br0"}]},{"op":"comment","comment":"x"}`,
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["name"],"until":"==","rows":[{"name":"br1"}]},{"op":"comment","comment":"x"}`,
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["name"],"until":"!=","rows":[{"name":"br1"}]}`,
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["fail_mode"],"until":"==","rows":[{"fail_mode":["set",[]]}]}`,
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["_uuid"],"until":"==","rows":[{"_uuid":` + u("01") + `}]}`,
		`{"op":"wait","table":"Bridge","where":[["_uuid","==",` + u("01") + `],["external_ids","includes",["map",[["a","1"]]]]],"timeout":0,"columns":["_uuid"],"until":"==","rows":[{"_uuid":` + u("01") + `}]}`,
		`{"op":"wait","table":"Bridge","where":[["_uuid","==",` + u("01") + `],["external_ids","includes",["map",[["a","2"]]]]],"timeout":0,"columns":["_uuid"],"until":"==","rows":[{"_uuid":` + u("01") + `}]}`,
		`{"op":"wait","table":"Bridge",` + where0 + `,"timeout":0,"columns":["external_ids"],"until":"==","rows":[{"external_ids":["map",[["b","2"],["a","1"]]]}]}`,
		`{"op":"wait","table":"Bridge","where":[],"timeout":0,"columns":["name"],"until":"==","rows":[]}`},
	"conditions": {bridge("01", "br0"),
		`{"op":"select","table":"Interface","where":[["type","==","internal"]],"columns":["name"]}`,
		`{"op":"select","table":"Interface","where":[["type","!=","internal"]],"columns":["name"]}`,
		`{"op":"select","table":"Interface","where":[["ofport","<",5]],"columns":["name"]}`,
		`{"op":"select","table":"Bridge","where":[["external_ids","excludes",["map",[["a","2"]]]]],"columns":["name","external_ids"]}`,
		`{"op":"select","table":"Open_vSwitch","where":[["next_cfg",">=",1]],"columns":["next_cfg"]}`,
		`{"op":"select","table":"Bridge","where":[["name","<","z"]],"columns":["name"]}`,
		`{"op":"select","table":"Bridge","where":[["name","nonsense","z"]],"columns":["name"]}`,
		`{"op":"select","table":"Bridge","where":[["nonsense","==","z"]],"columns":["name"]}`,
		`{"op":"select","table":"Bridge","where":[["name"]],"columns":["name"]}`},
	"mistakes": {
		`{"op":"nonsense","table":"Bridge","where":[]}`,
		`{"op":"select","table":"Nonsense","where":[]}`,
		`{"op":"select","table":"Bridge","where":[],"columns":["nonsense"]}`,
		`{"op":"update","table":"Bridge","row":{}}`,
		`{"op":"insert","table":"Bridge","row":{"nonsense":1}}`,
		`{"op":"insert","table":"Interface","uuid-name":"i","row":{"name":"a"}},{"op":"insert","table":"Interface","uuid-name":"i","row":{"name":"b"}}`,
		`{"op":"comment","comment":"a"},{"op":"abort"},{"op":"comment","comment":"b"}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["nonsense","insert",1]]}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","nonsense",1]]}`,
		`{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["external_ids","+=",1]]}`,
		`5`},
	"failing, nothing stays": {bridge("01", "br0"), `{"op":"update","table":"Bridge",` + where0 + `,"row":{"fail_mode":"secure"}},{"op":"abort"}`},
	"in and out again":       {bridge("01", "br0") + `,{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges","delete",` + u("01") + `]]}`},
	"flow tables": {bridge("01", "br0"),
		`{"op":"insert","table":"Flow_Table","uuid":"00000000-0000-4000-8000-000000000005","row":{"name":"classify"}},{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["flow_tables","insert",["map",[[0,` + u("05") + `]]]]]}`,
		`{"op":"mutate","table":"Bridge",` + where0 + `,"mutations":[["flow_tables","delete",["map",[[0,` + u("05") + `]]]]]}`},
}

// TestTruth sends transactions to a real and to the simulated server, and
// compares results, what two kinds of monitors tell, and the contents in the end.
func TestTruth(t *testing.T) {
	sch := schema(t)
	real := startReal(t)
	tables := `{"Open_vSwitch":[{"columns":["bridges","next_cfg","cur_cfg"]}],"Bridge":[{}]}`
	for name, txs := range transactions {
		t.Run(name, func(t *testing.T) {
			sim := New(sch, nil)
			sims := serve(t, sim)
			var both []*client
			for _, path := range []string{real.DBSock(), sims} {
				c := dial(t, path)
				c.call(t, "transact", `["Open_vSwitch",{"op":"update","table":"Open_vSwitch","where":[],"row":{"bridges":["set",[]],"next_cfg":0,"cur_cfg":0}}]`)
				c.told = nil
				for _, kind := range []string{"monitor", "monitor_cond"} {
					c.call(t, kind, `["Open_vSwitch","`+kind+`",`+tables+`]`)
				}
				both = append(both, c)
			}
			if strings.Contains(name, "delete the root") {
				defer func() { // give the next one a row of its own again
					both[0].call(t, "transact", `["Open_vSwitch",{"op":"delete","table":"Open_vSwitch","where":[]},{"op":"insert","table":"Open_vSwitch","row":{}}]`)
				}()
			}
			for i, tx := range txs {
				want, got := anonymous(both[0].call(t, "transact", `["Open_vSwitch",`+tx+`]`)), anonymous(both[1].call(t, "transact", `["Open_vSwitch",`+tx+`]`))
				sound(t, sim)
				if want != got {
					t.Errorf("transaction %d:\n%s\novsdb-server: %s\nsimulation:   %s", i, tx, want, got)
				}
			}
			for _, table := range []string{"Bridge", "Interface", "Port", "Flow_Table"} {
				q := `["Open_vSwitch",{"op":"select","table":"` + table + `","where":[]}]`
				want, got := anonymous(both[0].call(t, "transact", q)), anonymous(both[1].call(t, "transact", q))
				if want != got {
					t.Errorf("in the end table %s\novsdb-server: %s\nsimulation:   %s", table, want, got)
				}
			}
			want, got := both[0].told, both[1].told
			for i := range want {
				want[i] = anonymous(want[i])
			}
			for i := range got {
				got[i] = anonymous(got[i])
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("monitors told\nonly by ovsdb-server:\n  %s\nonly by the simulation:\n  %s", without(want, got), without(got, want))
			}
		})
	}
}

// without renders what is in a and not in b.
func without(a, b []string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) }), "\n  ")
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// anonymous replaces UUIDs that a server has chosen, which are not ours of the
// tests.
func anonymous(s string) string {
	return uuids.ReplaceAllStringFunc(s, func(u string) string {
		if strings.HasPrefix(u, "00000000-0000-4000") {
			return u
		}
		return "?"
	})
}

// TestRequests compares what is asked for besides transactions.
func TestRequests(t *testing.T) {
	real, sim := dial(t, startReal(t).DBSock()), dial(t, serve(t, New(schema(t), nil)))
	for _, r := range [][2]string{
		{"echo", `["hello",1]`}, {"echo", `[]`},
		{"get_schema", `["nonsense"]`}, {"get_schema", `["Open_vSwitch"]`},
		{"transact", `["nonsense"]`}, {"transact", `["Open_vSwitch"]`},
		{"monitor", `["Open_vSwitch","m",{"Nonsense":[{}]}]`}, {"monitor", `["Open_vSwitch","m",{"Bridge":[{"columns":["nonsense"]}]}]`},
		{"monitor", `["Open_vSwitch","m",{"Bridge":[{"columns":["name"]}]}]`}, {"monitor", `["Open_vSwitch","m",{"Bridge":[{"columns":["name"]}]}]`},
		{"monitor_cond", `["Open_vSwitch","n",{"Bridge":[{"columns":["name"],"where":[true]}]}]`},
		{"monitor_cancel", `["m"]`}, {"monitor_cancel", `["m"]`},
		{"set_db_change_aware", `[true]`}, {"nonsense", `[]`},
	} {
		want, got := real.call(t, r[0], r[1]), sim.call(t, r[0], r[1])
		if r[0] == "get_schema" && !strings.HasPrefix(want, "error") {
			// As it is written differs: compare what it says.
			a, err1 := ReadSchema([]byte(want))
			b, err2 := ReadSchema([]byte(got))
			if err1 != nil || err2 != nil || len(a.tables) != len(b.tables) {
				t.Errorf("get_schema: %v, %v", err1, err2)
			}
			continue
		}
		if want != got {
			t.Errorf("%s %s\novsdb-server: %s\nsimulation:   %s", r[0], r[1], want, got)
		}
	}
	var dbs []string
	if err := json.Unmarshal([]byte(sim.call(t, "list_dbs", "[]")), &dbs); err != nil || !slices.Equal(dbs, []string{"Open_vSwitch"}) {
		t.Errorf("list_dbs: %v, %v", dbs, err)
	}
}
