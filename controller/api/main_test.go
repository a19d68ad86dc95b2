package api_test

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

var update = flag.Bool("update", false, "write docs/openapi.json")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const blue, red = "11111111-2222-3333-4444-000000005001", "11111111-2222-3333-4444-000000006001"

const policyText = `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
routing_domains:
  - rdid: "{11111111-2222-3333-4444-000000005001}"
    name: blue
    customer: Contoso
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:b0:00:00:01:12, pa: 10.99.0.2}
          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}
      - vsid: 5002
        prefixes: [10.0.2.0/24]
        records:
          - {vm: db1, ca: 10.0.2.11, mac: 02:b0:00:00:02:11, host: h1}
    routes:
      - {prefix: 0.0.0.0/0, next_hop: 10.0.1.11, metric: 7}
  - rdid: "{11111111-2222-3333-4444-000000006001}"
    name: red
    customer: Fabrikam
    subnets:
      - vsid: 6001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: app1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11, host: h1}
`

func samplePolicy(t testing.TB) *tenant.Policy {
	t.Helper()
	p, err := policyfile.Parse("test", []byte(policyText), 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// puts returns the changes that put all of a policy.
func puts(p *tenant.Policy) (changes []tenant.Change) {
	for o := range p.Objects() {
		changes = append(changes, tenant.Put(o))
	}
	return changes
}

// fixture is a server on a unix socket, with the sample policy.
type fixture struct {
	t       testing.TB
	backend *apitest.Backend
	socket  string
	http    *http.Client
}

func serve(t testing.TB) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // short enough for unix(7)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, backend: apitest.New(), socket: filepath.Join(dir, "run", "api.sock")}
	apply(t, f.backend, puts(samplePolicy(t))...)
	s, err := api.Listen(api.Options{Socket: f.socket, Version: "test", Log: slog.New(slog.DiscardHandler)}, f.backend, f.backend)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", f.socket)
	}}
	f.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return f
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request; header has names and values in turn.
func (f *fixture) do(method, path, body string, header ...string) answer {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), method, "http://api"+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := f.http.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// want fails unless the answer has that status and all of the texts; it returns
// the problem in it.
func (a answer) want(t testing.TB, status int, texts ...string) *api.Problem {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	p := &api.Problem{}
	if a.status >= 400 {
		if got := a.header.Get("Content-Type"); got != "application/problem+json" {
			t.Errorf("Content-Type %q: %s", got, a.body)
		}
		if err := json.Unmarshal([]byte(a.body), p); err != nil || p.Status != a.status || p.Type == "" || p.Title == "" {
			t.Errorf("no problem: %v: %s", err, a.body)
		}
	}
	for _, want := range texts {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %q in %s", want, a.body)
		}
	}
	return p
}

func decode[T any](t testing.TB, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func key(t testing.TB, text string) tenant.Key {
	t.Helper()
	k, err := tenant.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func object(t testing.TB, k, text string) tenant.Object {
	t.Helper()
	o, problems := tenant.DecodeObject(key(t, k), []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return o
}

// What is tested with the one in memory is meant for the other.
var (
	_ api.Backend = (*store.Store)(nil)
	_ api.Backend = (*apitest.Backend)(nil)
)
