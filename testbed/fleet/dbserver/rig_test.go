package dbserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// schema reads the schema of the machine's Open vSwitch.
func schema(tb testing.TB) *Schema {
	tb.Helper()
	data, err := os.ReadFile(ovstest.Schema(tb))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := ReadSchema(data)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// serve makes a simulated server listen until the test ends. Its root row is
// there.
func serve(tb testing.TB, s *Server) (path string) {
	tb.Helper()
	if err := s.Transact(func(tx *Tx) error { tx.Insert("Open_vSwitch", nil); return nil }); err != nil {
		tb.Fatal(err)
	}
	return ovstest.Serve(tb, s.Serve, s.Close)
}

// startReal starts an ovsdb-server without ovs-vswitchd.
func startReal(tb testing.TB) *ovsproc.Switch {
	tb.Helper()
	sw := ovstest.New(tb)
	if err := sw.StartOVSDB(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return sw
}

// client is an OVSDB client that sends and reads JSON.
type client struct {
	nc  net.Conn
	dec *json.Decoder
	id  int
	// told has the notifications that came, without those of a monitor's own
	// contents.
	told []string
	root string // UUID of the root row
}

func dial(tb testing.TB, path string) *client {
	tb.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nc.Close() })
	c := &client{nc: nc, dec: json.NewDecoder(nc)}
	c.dec.UseNumber()
	got := c.call(tb, "transact", `["Open_vSwitch",{"op":"select","table":"Open_vSwitch","where":[],"columns":["_uuid"]}]`)
	_, after, ok := strings.Cut(got, `["uuid","`)
	if !ok {
		tb.Fatalf("no root row: %s", got)
	}
	c.root = after[:36]
	return c
}

// call sends a request and returns its result, or its error, normalized.
func (c *client) call(tb testing.TB, method, params string) string {
	tb.Helper()
	c.nc.SetDeadline(time.Now().Add(patience))
	c.id++
	if c.root != "" {
		params = strings.ReplaceAll(params, "$root", c.root)
	}
	if _, err := fmt.Fprintf(c.nc, `{"method":%q,"params":%s,"id":%d}`, method, params, c.id); err != nil {
		tb.Fatal(err)
	}
	for {
		var m struct {
			Method        string
			Params        any
			Result, Error any
			ID            any
		}
		if err := c.dec.Decode(&m); err != nil {
			tb.Fatal(err)
		}
		switch {
		case m.Method == "echo":
			b, _ := json.Marshal(m.Params)
			fmt.Fprintf(c.nc, `{"result":%s,"error":null,"id":"echo"}`, b)
		case m.Method != "":
			c.told = append(c.told, m.Method+" "+c.normal(m.Params))
		case m.Error != nil:
			return "error " + c.normal(m.Error)
		default:
			return c.normal(m.Result)
		}
	}
}

// normal renders JSON so that two servers can be compared: details of errors
// are for readers, sets have no order, and neither have rows.
func (c *client) normal(v any) string {
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			out := map[string]any{}
			for k, e := range v {
				if _, isError := v["error"].(string); isError && k != "error" {
					continue
				}
				if k == "_version" {
					continue
				}
				out[k] = walk(e)
				if l, ok := out[k].([]any); ok && k == "rows" {
					slices.SortFunc(l, func(a, b any) int { return strings.Compare(anonymous(text(a)), anonymous(text(b))) })
				}
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = walk(v[i])
			}
			if len(out) == 2 && (out[0] == "set" || out[0] == "map") {
				if l, ok := out[1].([]any); ok {
					slices.SortFunc(l, func(a, b any) int { return strings.Compare(text(a), text(b)) })
				}
			}
			return out
		}
		return v
	}
	s := text(walk(v))
	if c.root != "" {
		s = strings.ReplaceAll(s, c.root, "$root")
	}
	return s
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
