package admin_test

import (
	"context"
	"errors"
	"iter"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source struct {
	status admin.Status
	alive  error
}

func (s *source) Status() *admin.Status { st := s.status; st.Judge(); return &st }
func (s *source) Alive() error          { return s.alive }

func (s *source) Wanted(host string) (iter.Seq[string], bool) {
	return slices.Values([]string{"one", "another flow"}), host == "h 1"
}

// socket returns a path short enough for unix(7).
func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "adm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "admin.sock")
}

func serve(t *testing.T, path string, src admin.Source) (stop func()) {
	t.Helper()
	reg := prometheus.NewRegistry()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "test_gauge"})
	reg.MustRegister(g)
	s, err := admin.Listen(path, src, reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestPages(t *testing.T) {
	path, src := socket(t), &source{}
	src.status.Policy = admin.Policy{File: "p.yaml", Revision: 5, Loaded: time.Unix(1, 0).UTC()}
	src.status.Hosts = []admin.Host{{Name: "h1", InSync: true, OVSDB: admin.Channel{Connected: true}, OpenFlow: admin.Channel{Connected: true}, RevisionWanted: 5, RevisionInstalled: 5}}
	stop := serve(t, path, src)
	defer stop()
	ctx := t.Context()
	for page, want := range map[string]string{
		"/metrics": "test_gauge 0", "/healthz": "ok", "/readyz": "ok",
		"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile",
	} {
		body, err := admin.Get(ctx, path, page)
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s: %v, no %q in %.200s", page, err, want, body)
		}
	}
	got, err := admin.FetchStatus(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if want := src.Status(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if flows, err := admin.FetchWanted(ctx, path, "h 1"); err != nil || !slices.Equal(flows, []string{"one", "another flow"}) {
		t.Errorf("wanted flows: %q, %v", flows, err)
	}
	if _, err := admin.FetchWanted(ctx, path, "h2"); err == nil || !strings.Contains(err.Error(), "does not drive host h2") {
		t.Errorf("wanted flows of another host: %v", err)
	}
	if _, err := admin.Get(ctx, path, "/nothing"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a page that is not there: %v", err)
	}
}

func TestNotReadySaysWhatIsMissing(t *testing.T) {
	path, src := socket(t), &source{alive: errors.New("the loop stands still")}
	stop := serve(t, path, src)
	defer stop()
	if _, err := admin.Get(t.Context(), path, "/readyz"); err == nil || !strings.Contains(err.Error(), "no policy is in force") {
		t.Errorf("readyz: %v", err)
	}
	if _, err := admin.Get(t.Context(), path, "/healthz"); err == nil || !strings.Contains(err.Error(), "stands still") {
		t.Errorf("healthz: %v", err)
	}
}

func TestSocketIsPrivateAndRemoved(t *testing.T) {
	path := socket(t)
	stop := serve(t, path, &source{})
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	stop()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestStaleSocketIsReplacedAndALivingOneIsNot(t *testing.T) {
	path := socket(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen(path, &source{}, prometheus.NewRegistry()); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("a living socket: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as after kill -9
	l.Close()
	serve(t, path, &source{})()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Listen(path, &source{}, prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("a file: %v", err)
	}
}

func TestSuccessorsSocketIsLeftAlone(t *testing.T) {
	path := socket(t)
	stop := serve(t, path, &source{})
	if err := os.Remove(path); err != nil { // somebody cleans /run
		t.Fatal(err)
	}
	stopSecond := serve(t, path, &source{})
	stop()
	if _, err := admin.FetchStatus(t.Context(), path); err != nil {
		t.Errorf("the first took the second's socket away: %v", err)
	}
	stopSecond()
}

func TestFetchSaysWhatToDo(t *testing.T) {
	_, err := admin.FetchStatus(t.Context(), socket(t))
	if err == nil || !strings.Contains(err.Error(), "is the controller running") {
		t.Errorf("%v", err)
	}
}

func TestJudge(t *testing.T) {
	up := admin.Channel{Connected: true}
	down := admin.Channel{Address: "unix:/x", Error: "no such file"}
	good := admin.Host{Name: "h", OVSDB: up, OpenFlow: up, InSync: true, RevisionWanted: 1, RevisionInstalled: 1}
	policy := admin.Policy{Revision: 1}
	for name, c := range map[string]struct {
		s              admin.Status
		ready, healthy bool
		says           string
	}{
		"all well":       {admin.Status{Policy: policy, Hosts: []admin.Host{good}}, true, true, ""},
		"no policy":      {admin.Status{}, false, false, "no policy is in force"},
		"policy refused": {admin.Status{Policy: admin.Policy{Revision: 1, Error: "p.yaml:1:1: x"}}, true, false, "p.yaml:1:1: x"},
		"host behind":    {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", OVSDB: up, OpenFlow: up, RevisionWanted: 2, RevisionInstalled: 1}}}, false, false, "revision 2 is on its way"},
		"host waiting":   {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", OVSDB: up, OpenFlow: up}}}, false, false, "waiting for hosts"},
		"not tried yet":  {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", Waiting: true, OVSDB: down, OpenFlow: down}}}, false, false, "has not answered yet"},
		"host away":      {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", OVSDB: down, OpenFlow: down}}}, true, false, "OVSDB at unix:/x: no such file"},
		"switch away":    {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", OVSDB: up, OpenFlow: down}}}, false, false, "OpenFlow at unix:/x"},
		"refused flow":   {admin.Status{Policy: policy, Hosts: []admin.Host{{Name: "h", OVSDB: up, OpenFlow: up, InSync: true, FlowsRefused: 1, Refused: []admin.Refusal{{Owner: "record blue/web1", Error: "TABLE_FULL"}}}}}, true, false, "record blue/web1"},
		"attachment":     {admin.Status{Policy: policy, Attachments: []admin.Attachment{{IfaceID: "x", Problem: "no lookup record"}}}, true, false, "no lookup record"},
	} {
		t.Run(name, func(t *testing.T) {
			c.s.Judge()
			all := strings.Join(append(c.s.Missing, c.s.Trouble...), "\n")
			if c.s.Ready != c.ready || c.s.Healthy != c.healthy || !strings.Contains(all, c.says) {
				t.Errorf("ready %v, healthy %v: %s", c.s.Ready, c.s.Healthy, all)
			}
		})
	}
}
