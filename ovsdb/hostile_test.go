package ovsdb

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// A host is less trusted than the controller: whatever its database sends must
// not harm the controller, only end the connection.
func TestHostileServer(t *testing.T) {
	schema, err := os.ReadFile(ovsproc.Schema)
	if err != nil {
		t.Skip(err)
	}
	bridge := func(columns string) string {
		return `{"Bridge":{"11111111-1111-1111-1111-111111111111":{"initial":` + columns + `}}}`
	}
	for name, c := range map[string]struct{ contents, then, want string }{
		"empty array for a set":  {contents: bridge(`{"name":"br-int","ports":[]}`), want: "what OVSDB does not allow"},
		"number for a set":       {contents: bridge(`{"name":"br-int","ports":["set",7]}`), want: "what OVSDB does not allow"},
		"short uuid":             {contents: bridge(`{"name":"br-int","ports":["uuid"]}`), want: "what OVSDB does not allow"},
		"number for a string":    {contents: bridge(`{"name":7}`), want: "Bridge"},
		"null for a string":      {contents: bridge(`{"name":null}`), want: "expected string"},
		"a row is null":          {contents: `{"Bridge":{"x":null}}`, want: "empty change"},
		"contents of no form":    {contents: `7`, want: "cannot be read"},
		"unknown row modified":   {contents: `{"Bridge":{"x":{"modify":{"name":"y"}}}}`, want: "never sent"},
		"update without params":  {contents: `{}`, then: `{"method":"update2","params":[],"id":null}`, want: "two parameters"},
		"update with an array":   {contents: `{}`, then: `{"method":"update2","params":["nvgre-ofctl",[]],"id":null}`, want: "cannot be read"},
		"reply to no request":    {contents: `{}`, then: `{"result":{},"error":null,"id":"x"}`, want: "which no request had"},
		"no JSON":                {contents: `{}`, then: `<html>`, want: "invalid character"},
		"echoes without waiting": {contents: `{}`, then: strings.Repeat(`{"method":"echo","params":[],"id":"e"}`, 200000), want: "echo"},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					pretend(conn, schema, c.contents, c.then)
				}
			}()
			t.Cleanup(func() { ln.Close(); <-done })
			h := startHost(t, unix(ln.Addr().String()), nil)
			eventually(t, h, "the reason", func(s State) bool { return !s.Connected && strings.Contains(errorText(s.ConnError), c.want) })
		})
	}
}

// pretend answers as an ovsdb-server would, with these contents.
func pretend(conn net.Conn, schema []byte, contents, then string) {
	defer conn.Close()
	dec := json.NewDecoder(conn)
	w := bufio.NewWriter(conn)
	for {
		var m struct {
			Method string
			ID     uint64
		}
		if dec.Decode(&m) != nil {
			return
		}
		switch m.Method {
		case "get_schema":
			fmt.Fprintf(w, `{"result":%s,"error":null,"id":%d}`, schema, m.ID)
		case "monitor_cond":
			fmt.Fprintf(w, `{"result":%s,"error":null,"id":%d}`, contents, m.ID)
			fmt.Fprint(w, then)
		default:
			fmt.Fprintf(w, `{"result":[],"error":null,"id":%d}`, m.ID)
		}
		if w.Flush() != nil {
			return
		}
	}
}

// FuzzUpdate feeds the row decoder what a server could send.
func FuzzUpdate(f *testing.F) {
	f.Add([]byte(`{"Bridge":{"u":{"initial":{"name":"br-int","ports":["set",[["uuid","11111111-1111-1111-1111-111111111111"]]],"external_ids":["map",[["a","b"]]],"fail_mode":["set",[]],"flow_tables":["map",[[3,["uuid","22222222-2222-2222-2222-222222222222"]]]]}}}}`))
	f.Add([]byte(`{"Bridge":{"b":{"modify":{"external_ids":["map",[["nvgre-ofctl","x"]]],"fail_mode":"secure"}}},"Interface":{"i":{"modify":{"ofport":["set",[]],"error":"e"}}}}`))
	f.Add([]byte(`{"Open_vSwitch":{"r":{"insert":{"next_cfg":3,"external_ids":["map",[["nvgre-encap-ip","10.0.0.1,x"]]]}}},"Port":{"p":{"delete":null}}}`))
	f.Add([]byte(`{"Bridge":{"b":{"modify":{"ports":[]}}}}`))
	cfg, err := Config{Listener: "ptcp:", TableNames: map[uint8]string{3: "x"}}.withDefaults()
	if err != nil {
		f.Fatal(err)
	}
	schema := loadSchema(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		port := 1
		db := rowsOf(t, schema,
			&bridgeRow{UUID: "b", Name: "br-int", Ports: []string{"p"}, ExternalIDs: map[string]string{Label: purposeBridge}},
			&portRow{UUID: "p", Name: "nvgre0", Interfaces: []string{"i"}, ExternalIDs: map[string]string{Label: purposeTunnel}},
			&interfaceRow{UUID: "i", Name: "nvgre0", OFPort: &port},
			&rootRow{UUID: "r"},
		)
		s := &session{host: NewHost("h1", unix("/x"), nil, discard()), db: db, changed: make(chan struct{})}
		if safely(func() error { return s.apply(raw) }) != nil {
			return
		}
		// Rows that were accepted must be safe to work with.
		observe("h1", db, "br-int")
		if tr, err := plan("h1", db, &cfg); err == nil {
			if _, err := json.Marshal(tr.operations()); err != nil {
				t.Error(err)
			}
		}
	})
}
