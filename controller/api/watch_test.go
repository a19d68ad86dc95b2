package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func record(t testing.TB, i int) tenant.Change {
	return tenant.Put(object(t, fmt.Sprintf("records/6001/10.0.1.%d", 20+i), fmt.Sprintf(`{"vm": "n%d", "mac": "02:b0:00:00:07:%02x"}`, i, i)))
}

// A watch has every revision, in order, each once, though connections break.
func TestWatchResumes(t *testing.T) {
	f := serve(t)
	// Between the two stands something that breaks connections.
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan net.Conn, 100)
	relay := make(chan struct{})
	go func() {
		defer close(relay)
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("unix", f.socket)
			if err != nil {
				c.Close()
				continue
			}
			go func() { _, _ = io.Copy(b, c); b.Close() }()
			go func() { _, _ = io.Copy(c, b); c.Close() }()
			conns <- c
		}
	}()
	defer func() { front.Close(); <-relay }()
	base := f.backend.Policy().Revision()
	c := client.HTTP("http://" + front.Addr().String())
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var got []uint64
	const n = 40
	lost := 0
	apply(t, f.backend, record(t, 0))
	err = c.Watch(ctx, &base, nil, func(error) { lost++ }, func(e api.Event) error {
		got = append(got, e.Revision)
		switch len(got) {
		case n:
			cancel()
			return nil
		case 10, 25:
			(<-conns).Close() // what comes next cannot have been read already
		}
		apply(t, f.backend, record(t, len(got)))
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for i, r := range got {
		if r != base+uint64(3*(i+1)) {
			t.Fatalf("event %d is of revision %d: %v", i, r, got)
		}
	}
	if len(got) != n || lost != 2 {
		t.Errorf("%d events, lost %d times", len(got), lost)
	}
}

// A large revision comes in parts, and is one for the reader.
func TestWatchLargeRevision(t *testing.T) {
	f := serve(t)
	var changes []tenant.Change
	for i := range 2500 {
		changes = append(changes, tenant.Put(tenant.HostObject{Name: fmt.Sprintf("n%04d", i), ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA(fmt.Sprintf("10.98.%d.%d", i/200, 1+i%200)))}}}))
	}
	from := f.backend.Policy().Revision()
	apply(t, f.backend, changes...)
	c := client.Unix(f.socket)
	defer c.Close()
	done := errors.New("done")
	err := c.Watch(t.Context(), &from, nil, nil, func(e api.Event) error {
		if len(e.Effective) != 2500 || e.Changes != 2500 {
			t.Errorf("%d changes", len(e.Effective))
		}
		return done
	})
	if !errors.Is(err, done) {
		t.Error(err)
	}
}

func TestWatchRefused(t *testing.T) {
	f := serve(t)
	f.do("GET", "/v1/watch?from=soon", "").want(t, 422, "query.from")
	f.do("GET", "/v1/watch?from=99999", "").want(t, 404)
	from := f.backend.Policy().Revision()
	apply(t, f.backend, record(t, 1))
	f.backend.Compact(f.backend.Policy().Revision())
	c := client.Unix(f.socket)
	defer c.Close()
	if err := c.Watch(t.Context(), &from, nil, nil, func(api.Event) error { return nil }); !errors.Is(err, store.ErrCompacted) {
		t.Error(err)
	}
}

// Without anything to say the server says that it is there, and when it ends
// watches end.
func TestHeartbeatAndEnd(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	defer end()
	address := handle(t, func(b *apitest.Backend) http.Handler {
		return api.NewForTests(ctx, b, b, 10*time.Millisecond, time.Second)
	}, apitest.New())
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + address + "/v1/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	beats := 0
	for beats < 3 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == ":\n" {
			beats++
		}
	}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Error(resp.Header)
	}
	end()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
}

// handle serves a handler over TCP and returns where.
func handle(t testing.TB, h func(*apitest.Backend) http.Handler, b *apitest.Backend) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h(b)}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return l.Addr().String()
}

// A watcher that reads nothing is disconnected, and others see nothing of it.
func TestSlowWatcher(t *testing.T) {
	b := apitest.New()
	address := handle(t, func(b *apitest.Backend) http.Handler {
		return api.NewForTests(t.Context(), b, b, time.Hour, 2*time.Second)
	}, b)
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := slow.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(slow, "GET /v1/watch?from=0 HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadFull(slow, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	c := client.HTTP("http://" + address)
	defer c.Close()
	from, enough := uint64(1), errors.New("enough")
	var changes []tenant.Change
	// More than the buffers of two sockets hold.
	for i := range 60000 {
		changes = append(changes, tenant.Put(tenant.HostObject{Name: fmt.Sprintf("n%05d-%s", i, strings.Repeat("x", 50)), ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA(fmt.Sprintf("10.%d.%d.%d", 98+i/40000, i/200%200, 1+i%200)))}}}))
	}
	apply(t, b, changes...)
	if err := c.Watch(t.Context(), &from, nil, nil, func(e api.Event) error {
		if len(e.Effective) != len(changes) {
			t.Errorf("%d changes", len(e.Effective))
		}
		return enough
	}); !errors.Is(err, enough) {
		t.Error(err)
	}
	// It reads nothing more, so that only the server can end its watch.
	for b.Watching() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestHistory(t *testing.T) {
	f := serve(t)
	apply(t, f.backend, tenant.Delete(key(t, "records/5001/10.0.1.11")), tenant.Delete(key(t, "routes/"+blue+"/0.0.0.0/0/7/10.0.1.11")))
	apply(t, f.backend, tenant.Put(object(t, "records/5001/10.0.1.11", `{"vm": "web5", "mac": "02:b0:00:00:01:55", "host": "h2"}`)))
	h := decode[api.History](t, f.do("GET", "/v1/history?ca=10.0.1.11&routing_domain=blue", ""))
	if len(h.Versions) != 3 || h.Versions[0].Until != nil || h.Versions[1].Object != nil || !h.Versions[1].Until.Equal(h.Versions[0].Time) || h.Versions[2].Object.Object.(tenant.RecordObject).VM != "web1" {
		t.Errorf("%+v", h)
	}
	// The subnet, and then the routing domain, are gone; what was is still known.
	apply(t, f.backend, tenant.Delete(key(t, "subnets/6001")), tenant.Delete(key(t, "records/6001/10.0.1.11")), tenant.Delete(key(t, "routing-domains/"+red)))
	h = decode[api.History](t, f.do("GET", "/v1/history?ca=10.0.1.11&routing_domain="+red, ""))
	if len(h.Versions) != 2 || h.Versions[0].Object != nil || h.Versions[1].Object.Object.(tenant.RecordObject).VM != "app1" {
		t.Errorf("%+v", h)
	}
	f.do("GET", "/v1/history?key=hosts/h1&limit=1", "").want(t, 200, "10.99.0.1")
	f.do("GET", "/v1/history?key=hosts/h1&ca=10.0.0.1", "").want(t, 422, "want key, or ca")
	f.do("GET", "/v1/history?ca=10.0.0.300&routing_domain=blue", "").want(t, 422, "query.ca")
	f.do("GET", "/v1/diff?from=4&to=1&before=true", "").want(t, 200, `"op":"delete","key":"hosts/h1","before":{"name":"h1"`)
	f.do("GET", "/v1/revisions?limit=2", "").want(t, 200, `"revision":13`, `"revision":10`)
}

func TestStatusPages(t *testing.T) {
	f := serve(t)
	up := admin.Channel{Connected: true}
	st := admin.Status{Policy: admin.Policy{Revision: 4}, Hosts: []admin.Host{{Name: "h/1", OVSDB: up, OpenFlow: up, InSync: true, FlowsRefused: 1, Refused: []admin.Refusal{{Owner: "record blue/web1", Error: "TABLE_FULL"}}}}}
	for i := range 25 {
		st.Attachments = append(st.Attachments, admin.Attachment{Host: "h1", IfaceID: fmt.Sprintf("i%02d", i), RoutingDomain: "blue", VM: fmt.Sprintf("v%d", i), VSID: 5001, CA: "10.0.1.11", Installed: i%2 == 0})
	}
	f.backend.SetStatus(st)
	f.do("GET", "/v1/status", "").want(t, 200, "TABLE_FULL", "i24")
	f.do("GET", "/v1/hosts/h%2F1/status", "").want(t, 200, `"owner":"record blue/web1"`)
	f.do("GET", "/v1/attachments?vm=i03&routing_domain="+blue, "").want(t, 200, `"vm":"v3"`)
	f.do("GET", "/v1/attachments?vm=v3&routing_domain=red", "").want(t, 200, `"attachments":[]`)
	c := client.Unix(f.socket)
	defer c.Close()
	all, err := c.Attachments(t.Context(), map[string][]string{"limit": {"7"}})
	if err != nil || len(all) != 25 {
		t.Errorf("%d, %v", len(all), err)
	}
	var names []string
	for _, a := range all {
		names = append(names, a.IfaceID)
	}
	if got := strings.Join(names[:3], " "); got != "i00 i01 i02" {
		t.Error(got)
	}
}
