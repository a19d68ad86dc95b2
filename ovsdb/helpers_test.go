package ovsdb

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests: a loaded machine is slow.
const patience = 30 * time.Second

func discard() *slog.Logger {
	if os.Getenv("NVGRE_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

// startHost runs a Host against ep until the test ends.
func startHost(t testing.TB, ep ovsaddr.Endpoint, conf *tls.Config, opts ...Option) *Host {
	t.Helper()
	h := NewHost("h1", ep, conf, discard(), opts...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not end with its context")
		}
	})
	return h
}

// startSwitch starts a switch and a Host connected to it.
func startSwitch(t testing.TB, opts ...Option) (*ovsproc.Switch, *Host) {
	t.Helper()
	sw := ovstest.Start(t)
	h := startHost(t, unix(sw.DBSock()), nil, opts...)
	eventually(t, h, "connected", func(s State) bool { return s.Connected })
	return sw, h
}

func unix(path string) ovsaddr.Endpoint { return ovsaddr.Endpoint{Network: "unix", Address: path} }

// eventually waits until the state satisfies ok, and returns it. It looks only
// when it is woken, so a wake-up that is missing fails it.
func eventually(t testing.TB, h *Host, what string, ok func(State) bool) State {
	t.Helper()
	deadline := time.After(patience)
	for {
		s := h.State()
		if ok(s) {
			return s
		}
		select {
		case <-h.Changes():
		case <-deadline:
			t.Fatalf("never came: %s\nlast state: %+v", what, s)
		}
	}
}

// poll waits for what wakes nobody up.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func ensure(t testing.TB, h *Host, cfg Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Ensure(ctx, cfg); err != nil {
		t.Fatalf("Ensure: %v", err)
	}
}

// vsctl runs ovs-vsctl; "--" separates commands.
func vsctl(t testing.TB, sw *ovsproc.Switch, args ...string) string {
	t.Helper()
	out, err := sw.Vsctl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func ofctl(t testing.TB, sw *ovsproc.Switch, args ...string) string {
	t.Helper()
	out, err := sw.Ofctl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// addVM adds a port as a hypervisor would.
func addVM(t testing.TB, sw *ovsproc.Switch, bridge, port string, ids ...string) {
	t.Helper()
	args := []string{"add-port", bridge, port, "--", "set", "interface", port, "type=dummy"}
	for _, kv := range ids {
		args = append(args, "external_ids:"+kv)
	}
	vsctl(t, sw, args...)
}

// loadSchema reads the installed schema.
func loadSchema(t testing.TB) ovsdb.DatabaseSchema {
	t.Helper()
	f, err := os.Open(ovstest.Schema(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	schema, err := ovsdb.SchemaFromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// rowsDB returns a database of the installed schema that holds rows.
func rowsDB(t testing.TB, rows ...any) *database { return rowsOf(t, loadSchema(t), rows...) }

func rowsOf(t testing.TB, schema ovsdb.DatabaseSchema, rows ...any) *database {
	t.Helper()
	read, err := newSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	db := newDatabase(read)
	for _, row := range rows {
		switch r := row.(type) {
		case *rootRow:
			db.tables[tableRoot][r.UUID] = r
		case *bridgeRow:
			db.tables[tableBridge][r.UUID] = r
		case *portRow:
			db.tables[tablePort][r.UUID] = r
		case *interfaceRow:
			db.tables[tableInterface][r.UUID] = r
		case *controllerRow:
			db.tables[tableController][r.UUID] = r
		case *flowTableRow:
			db.tables[tableFlowTable][r.UUID] = r
		default:
			t.Fatalf("no table holds a %T", row)
		}
	}
	return db
}
