package dbserver

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sound checks what a server keeps besides its rows against its rows.
func sound(tb testing.TB, s *Server) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	refs, unique := make(map[UUID]int), make(map[string]UUID)
	for t, rows := range s.tables {
		for u, r := range rows {
			references(r, func(_ *column, _ *base, to UUID) { refs[to]++ })
			for n := range t.indexes {
				unique[indexKey(t, n, r)] = u
			}
			for i, c := range r.cells {
				if c.datum.equal(c.column.def) || i > 0 && r.cells[i-1].column.index >= c.column.index {
					tb.Errorf("row %s of table %s is not in its one form", u, t.name)
				}
			}
		}
	}
	if !maps.Equal(refs, s.refs) {
		tb.Errorf("references: counted %v, kept %v", refs, s.refs)
	}
	if !maps.Equal(unique, s.unique) {
		tb.Errorf("unique columns: found %v, kept %v", unique, s.unique)
	}
}

// TestVsctl uses a simulated server by the command that everybody uses, and
// compares what it then shows with a real server's.
func TestVsctl(t *testing.T) {
	real := startReal(t)
	path := serve(t, New(schema(t), nil))
	run := func(db string, args ...string) string {
		out, err := real.Run(t.Context(), "ovs-vsctl", append([]string{"--timeout=20", "--no-wait", "--db=unix:" + db}, args...)...)
		if err != nil {
			return err.Error()
		}
		return out
	}
	for _, cmd := range []string{
		"add-br br-int -- set bridge br-int fail_mode=secure protocols=OpenFlow13,OpenFlow15",
		"add-port br-int vm1 -- set interface vm1 external_ids:iface-id=a external_ids:attached-mac=02:00:00:00:00:01",
		"add-port br-int vm2 tag=5",
		"add-br br-int",
		"set interface vm1 external_ids:iface-id=b",
		"remove interface vm1 external_ids attached-mac",
		"get interface vm1 external_ids",
		"set-controller br-int ptcp:6653:127.0.0.1",
		"get-controller br-int",
		"del-port vm2",
		"list-ports br-int",
		"--columns=name,type,external_ids,ofport list interface vm1",
		"--columns=name,tag list port",
		"del-br br-int",
		"list-br",
	} {
		args := strings.Fields(cmd)
		want, got := run(real.DBSock(), args...), run(path, args...)
		want, got = strings.ReplaceAll(want, real.DBSock(), "DB"), strings.ReplaceAll(got, path, "DB")
		if strings.Contains(cmd, "list port") { // its records have no order
			want, got = sortedRecords(want), sortedRecords(got)
		}
		if want != got {
			t.Errorf("ovs-vsctl %s\nreal:\n%s\nsimulated:\n%s", cmd, want, got)
		}
	}
}

func sortedRecords(s string) string {
	records := strings.Split(strings.TrimSpace(s), "\n\n")
	slices.Sort(records)
	return strings.Join(records, "\n\n")
}

func TestStallAndDrop(t *testing.T) {
	s := New(schema(t), nil)
	path := serve(t, s)
	c := dial(t, path)
	s.SetFaults(Faults{Stalled: true})
	io.WriteString(c.nc, `{"method":"echo","params":["a"],"id":7}`)
	c.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var b [1]byte
	if _, err := c.nc.Read(b[:]); err == nil {
		t.Fatal("a stalled server answered")
	}
	s.SetFaults(Faults{Delay: 20 * time.Millisecond})
	start := time.Now()
	if got := c.call(t, "echo", `["b"]`); got != `["a"]` {
		t.Errorf("got %s, want the first echo's answer", got)
	}
	if got := time.Since(start); got < 20*time.Millisecond {
		t.Errorf("answered after %v", got)
	}
	s.SetFaults(Faults{Stalled: true})
	io.WriteString(c.nc, `{"method":"echo","params":["a"],"id":7}`)
	if n := s.Disconnect(); n != 1 {
		t.Errorf("dropped %d", n)
	}
	c.nc.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.nc); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// TestReaction: the owner's reaction is a transaction of its own, told after the
// one that it reacts to.
func TestReaction(t *testing.T) {
	s := New(schema(t), func(tx *Tx) {
		tx.Changed(func(old, now Row) {
			if now.Exists() && now.Table() == "Open_vSwitch" {
				n, _ := now.Int("next_cfg")
				if cur, _ := now.Int("cur_cfg"); cur != n {
					tx.Update(now, map[string]any{"cur_cfg": n})
				}
			}
		})
	})
	c := dial(t, serve(t, s))
	c.call(t, "monitor_cond", `["Open_vSwitch","m",{"Open_vSwitch":[{"columns":["cur_cfg","next_cfg"]}]}]`)
	c.call(t, "transact", `["Open_vSwitch",{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",3]]}]`)
	c.call(t, "echo", `[]`)
	want := `update2 ["m",{"Open_vSwitch":{"$root":{"modify":{"next_cfg":3}}}}]
update2 ["m",{"Open_vSwitch":{"$root":{"modify":{"cur_cfg":3}}}}]`
	if got := strings.Join(c.told, "\n"); got != want {
		t.Errorf("told\n%s\nwant\n%s", got, want)
	}
	if err := s.Wait(t.Context(), func(tx *Tx) bool {
		return tx.Find("Open_vSwitch", "ovs_version", "").Exists()
	}); err != nil {
		t.Error(err)
	}
}

func TestTransactFails(t *testing.T) {
	s := New(schema(t), nil)
	oops := errors.New("oops")
	if err := s.Transact(func(tx *Tx) error { tx.Insert("Open_vSwitch", nil); return oops }); err != oops {
		t.Error(err)
	}
	for _, fn := range []func(tx *Tx){
		func(tx *Tx) { tx.Insert("Nonsense", nil) },
		func(tx *Tx) { tx.Insert("Open_vSwitch", map[string]any{"nonsense": 1}) },
		func(tx *Tx) { tx.Insert("Open_vSwitch", map[string]any{"next_cfg": "1"}) },
		func(tx *Tx) { tx.Insert("Open_vSwitch", nil); tx.Insert("Open_vSwitch", nil) },
	} {
		if err := s.Transact(func(tx *Tx) error { fn(tx); return nil }); err == nil {
			t.Error("a mistake went through")
		}
	}
	sound(t, s)
}

// FuzzServer: whatever a client sends, the server neither crashes nor hangs and
// keeps its books.
func FuzzServer(f *testing.F) {
	sch := schema(f)
	for _, txs := range transactions {
		var b strings.Builder
		for _, tx := range txs {
			b.WriteString(`{"method":"transact","params":["Open_vSwitch",` + tx + `],"id":1}`)
		}
		f.Add([]byte(b.String()))
	}
	f.Add([]byte(`{"method":"monitor_cond","params":["Open_vSwitch","m",{"Bridge":[{"columns":["name"],"select":{"initial":false}}]}],"id":[]}{"method":"monitor_cancel","params":["m"],"id":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(sch, nil)
		if err := s.Transact(func(tx *Tx) error { tx.Insert("Open_vSwitch", nil); return nil }); err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() { s.Serve(theirs) })
		wg.Go(func() { io.Copy(io.Discard, ours) })
		ours.Write(b)
		ours.Close()
		wg.Wait()
		sound(t, s)
	})
}
