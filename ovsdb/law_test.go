package ovsdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// dump renders all rows but for what differs from run to run: UUIDs, and what
// ovs-vswitchd writes.
func dump(h *Host) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	db := h.session.db
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for b := range all[bridgeRow](db) {
		add("bridge %s %q %s %v %v", b.Name, b.DatapathType, deref(b.FailMode), slices.Sorted(slices.Values(b.Protocols)), b.ExternalIDs)
		for _, p := range resolve[portRow](db, b.Ports) {
			add("bridge %s port %s %v", b.Name, p.Name, p.ExternalIDs)
			for _, i := range resolve[interfaceRow](db, p.Interfaces) {
				add("port %s interface %s %s %v %v", p.Name, i.Name, i.Type, i.Options, i.ExternalIDs)
			}
		}
		for _, c := range resolve[controllerRow](db, b.Controllers) {
			add("bridge %s controller %s %v", b.Name, c.Target, c.ExternalIDs)
		}
		for _, n := range slices.Sorted(maps.Keys(b.FlowTables)) {
			ft := get[flowTableRow](db, b.FlowTables[n])
			add("bridge %s table %d %s %v %v", b.Name, n, deref(ft.Name), deref(ft.FlowLimit), ft.ExternalIDs)
		}
	}
	for table, rows := range db.tables {
		add("%d rows in %s", len(rows), table)
	}
	slices.Sort(out)
	return out
}

func drawConfig(t *rapid.T, label string) Config {
	return Config{
		PortMode:   rapid.SampledFrom([]PortMode{FlowPort, PortPerVSID}).Draw(t, label+" mode"),
		TunnelPort: rapid.SampledFrom([]string{"", "gre-x"}).Draw(t, label+" port"),
		VSIDs:      rapid.SliceOfN(rapid.SampledFrom([]tenant.VSID{5001, 6001, 7001}), 0, 3).Draw(t, label+" VSIDs"),
		Listener:   rapid.SampledFrom([]string{"", "ptcp:16671:127.0.0.1", "ptcp:16672:127.0.0.1", "pssl:16672"}).Draw(t, label+" listener"),
		TableNames: rapid.MapOfN(rapid.Uint8Range(0, 3), rapid.SampledFrom([]string{"a", "b"}), 0, 3).Draw(t, label+" tables"),
	}
}

// TestTheLastConfigurationCounts: any sequence of configurations leaves exactly
// what the last one alone leaves on a fresh host, and nothing more to do.
func TestTheLastConfigurationCounts(t *testing.T) {
	sw, h := startSwitch(t)
	foreign := func() {
		vsctl(t, sw, "add-br", "br-phy", "--", "add-port", "br-phy", "eth9", "--", "set", "interface", "eth9", "type=dummy")
	}
	foreign()
	poll(t, "the host to hear of what is foreign", func() bool { return strings.Contains(fmt.Sprint(dump(h)), "eth9") })
	empty := dump(h)
	deadline := time.Now().Add(20 * time.Second)
	rapid.Check(t, func(rt *rapid.T) {
		if time.Now().After(deadline) {
			return // bounded on a slow machine
		}
		var last Config
		for n := range rapid.IntRange(1, 4).Draw(rt, "steps") {
			last = drawConfig(rt, fmt.Sprint(n))
			ensure(t, h, last)
		}
		after := dump(h)
		cfg, err := last.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		again, err := plan("h1", h.session.db, &cfg)
		h.mu.Unlock()
		if err != nil || !again.empty() {
			rt.Errorf("a second Ensure would change: %v, %v", again, err)
		}
		vsctl(t, sw, "del-br", "br-int")
		poll(t, "a fresh host", func() bool { return slices.Equal(dump(h), empty) })
		ensure(t, h, last)
		if d := cmp.Diff(dump(h), after); d != "" {
			rt.Errorf("a fresh host (-) and one with a past (+) differ:\n%s", d)
		}
	})
}

// TestOlderSchema: a server that lacks columns which we can do without.
func TestOlderSchema(t *testing.T) {
	ovstest.Require(t)
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	raw, err := os.ReadFile(ovsproc.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"Open_vSwitch ovs_version", "Interface error", "Bridge datapath_id", "Bridge protocols", "Bridge datapath_type",
		"Flow_Table external_ids", "Flow_Table prefixes",
	} {
		table, column, _ := strings.Cut(path, " ")
		delete(schema["tables"].(map[string]any)[table].(map[string]any)["columns"].(map[string]any), column)
	}
	delete(schema, "cksum")
	if raw, err = json.Marshal(schema); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "old.ovsschema")
	if err := os.WriteFile(old, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	sw := ovsproc.New(dir)
	if _, err := sw.Run(t.Context(), "ovsdb-tool", "create", filepath.Join(dir, "conf.db"), old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.StopOVSDB(); err != nil {
			t.Error(err)
		}
	})
	// Not StartOVSDB: ovs-vsctl wants the newer schema.
	if _, err := sw.Run(t.Context(), "ovsdb-server", filepath.Join(dir, "conf.db"), "--remote=punix:"+sw.DBSock(), "--pidfile="+sw.OVSDBPidFile(),
		"--log-file="+filepath.Join(dir, "ovsdb-server.log"), "--unixctl="+filepath.Join(dir, "ovsdb-server.ctl"), "--detach", "--no-chdir", "-vconsole:off"); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, unix(sw.DBSock()), nil, WithApplyTimeout(50*time.Millisecond))
	eventually(t, h, "connected", connected)
	cfg := Config{DatapathType: "netdev", TableNames: map[uint8]string{0: "classify"}}
	if err := h.Ensure(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "ovs-vsctl --no-wait init") {
		t.Errorf("Ensure on an empty database: %v", err)
	}
	if _, err := sw.Run(t.Context(), "ovsdb-client", "transact", "unix:"+sw.DBSock(), `["Open_vSwitch",{"op":"insert","table":"Open_vSwitch","row":{}}]`); err != nil {
		t.Fatal(err)
	}
	poll(t, "ErrNotApplied", func() bool { return errors.Is(h.Ensure(t.Context(), cfg), ErrNotApplied) })
	if err := h.Ensure(t.Context(), cfg); err != nil {
		t.Errorf("a second Ensure: %v", err)
	}
}

func TestNotAnOpenVSwitchDatabase(t *testing.T) {
	ovstest.Require(t)
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sw := ovsproc.New(dir)
	t.Cleanup(func() {
		if err := sw.StopOVSDB(); err != nil {
			t.Error(err)
		}
	})
	if _, err := sw.Run(t.Context(), "ovsdb-server", "--no-db", "--remote=punix:"+sw.DBSock(), "--pidfile="+sw.OVSDBPidFile(),
		"--unixctl="+filepath.Join(dir, "ovsdb-server.ctl"), "--detach", "--no-chdir", "-vconsole:off"); err != nil {
		// Older servers know no --no-db.
		t.Skip(err)
	}
	h := startHost(t, ovsaddr.Endpoint{Network: "unix", Address: sw.DBSock()}, nil)
	eventually(t, h, "the reason", func(s State) bool {
		return strings.Contains(errorText(s.ConnError), "is unix:"+sw.DBSock()+" the address of an Open vSwitch database?")
	})
}
