package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a switch in memory.
type fake struct {
	mu       sync.Mutex
	tables   model
	calls    []string
	failNext error // Apply makes its changes and returns this
	sessions int
	refuse   func(*flow.Flow) error

	datapath  uint64
	tellsAge  bool
	installed map[string]time.Time // when, by key
	session   *fakeSession         // the last one
}

type fakeSession struct {
	f    *fake
	done chan struct{}
	once sync.Once
}

func (f *fake) dial(context.Context) (reconcile.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions++
	f.calls = append(f.calls, "dial")
	f.session = &fakeSession{f: f, done: make(chan struct{})}
	return f.session, nil
}

func (f *fake) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (s *fakeSession) ClaimMaster(_ context.Context, g uint64) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.calls = append(s.f.calls, fmt.Sprint("claim ", g))
	return nil
}

func (s *fakeSession) DatapathID() uint64 {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	return s.f.datapath
}

func (s *fakeSession) ReadEncoded(_ context.Context, table uint8, cookie, mask uint64, fn func(*openflow.Entry) error) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	what := "read"
	if table != openflow.AllTables {
		what = fmt.Sprint("read ", table)
	}
	s.f.calls = append(s.f.calls, what)
	for _, k := range s.f.tables.keys() {
		st := s.f.tables[k]
		if f, ok := s.f.installed[k]; ok && s.f.tellsAge {
			st.Duration = time.Since(f)
		}
		if (st.Cookie^cookie)&mask == 0 && (table == openflow.AllTables || table == st.Table) {
			if err := fn(entry(&st)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *fakeSession) ReadGroups(context.Context, func(*openflow.Entry) error) error { return nil }

func (s *fakeSession) Apply(_ context.Context, mods iter.Seq[openflow.Mod]) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	select {
	case <-s.done:
		return s.Err()
	default:
	}
	all := slices.Collect(mods)
	s.f.calls = append(s.f.calls, fmt.Sprint("apply ", len(all)))
	var refused openflow.ApplyError
	for i, m := range all {
		if s.f.refuse != nil && m.Op == openflow.Add {
			if err := s.f.refuse(flowOf(m.Flow)); err != nil {
				refused.Mods = append(refused.Mods, &openflow.ModError{Index: i, Mod: m, Err: err})
			}
		}
	}
	if len(refused.Mods) > 0 {
		return &refused
	}
	for _, m := range all {
		s.f.tables.apply(m)
		if s.f.installed == nil {
			s.f.installed = map[string]time.Time{}
		}
		s.f.installed[key(&m)] = time.Now()
	}
	err := s.f.failNext
	s.f.failNext = nil
	return err
}

func (s *fakeSession) ApplyAtOnce(ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	return s.Apply(ctx, mods)
}

func (s *fakeSession) Load(ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	return s.Apply(ctx, mods)
}
func (s *fakeSession) Done() <-chan struct{} { return s.done }
func (s *fakeSession) Err() error            { return errors.New("ended") }
func (s *fakeSession) Close() error          { s.once.Do(func() { close(s.done) }); return nil }

func options(dial func(context.Context) (reconcile.Session, error)) reconcile.Options {
	return reconcile.Options{Dial: dial, Log: slog.New(slog.DiscardHandler), ReconnectMax: 50 * time.Millisecond, ApplyTimeout: time.Minute}
}

// start runs a driver until the test ends.
func start(t testing.TB, o reconcile.Options) *reconcile.Driver {
	t.Helper()
	d := reconcile.NewDriver(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

func await(t testing.TB, d *reconcile.Driver, what string, cond func(reconcile.Status) bool) reconcile.Status {
	t.Helper()
	for deadline := time.After(60 * time.Second); ; {
		if s := d.Status(); cond(s) {
			return s
		}
		select {
		case <-d.Changes():
		case <-deadline:
			t.Fatalf("waited in vain until %s: %+v", what, d.Status())
		}
	}
}

func inSync(s reconcile.Status) bool { return s.InSync }

func some(n int) []flow.Flow { return manyFlows(n) }

func TestDriverTouchesNothingBeforeItKnowsWhatIsWanted(t *testing.T) {
	f := &fake{tables: model{}}
	f.tables.put(openflow.Stat{Flow: flow.Flow{Table: 20, Cookie: mark | 1}})
	o := options(f.dial)
	o.Generation = 7
	d := start(t, o)
	await(t, d, "it is connected", func(s reconcile.Status) bool { return s.Connected })
	if got := f.log(); !slices.Equal(got, []string{"dial"}) {
		t.Errorf("did %q", got)
	}
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(3))})
	await(t, d, "it is in sync", inSync)
	if got := f.log(); !slices.Equal(got, []string{"dial", "claim 7", "read", "apply 5"}) {
		t.Errorf("did %q", got)
	}
	d.Set(reconcile.Desired{Revision: 2, Flows: compose(some(4))})
	await(t, d, "it is in sync", inSync)
	if got := f.log(); !slices.Equal(got[4:], []string{"apply 2"}) {
		t.Errorf("then did %q", got[4:])
	}
}

// Where nobody knows whether a bundle was applied, the driver looks.
func TestDriverLooksAfterAnUnknownOutcome(t *testing.T) {
	f := &fake{tables: model{}, failNext: openflow.ErrOutcomeUnknown}
	d := start(t, options(f.dial))
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(3))})
	s := await(t, d, "it is in sync", inSync)
	if got := f.log(); !slices.Equal(got, []string{"dial", "read", "apply 4", "dial", "read"}) {
		t.Errorf("did %q", got)
	}
	if s.FlowsInstalled != 3 || s.Installed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDriverGoesOnWithoutRefusedFlows(t *testing.T) {
	f := &fake{tables: model{}, refuse: func(fl *flow.Flow) error {
		if fl.Table == 20 && fl.Cookie == mark|2 {
			return &openflow.Error{Type: 5, Code: 1}
		}
		return nil
	}}
	d := start(t, options(f.dial))
	owner := func(c uint64) string { return fmt.Sprint("owner ", c&^flows.CookieMask) }
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(5)), Owner: owner})
	s := await(t, d, "it is in sync", inSync)
	if s.NumRefuse != 1 || s.Refused[0].Owner != "owner 2" || !strings.Contains(s.Refused[0].Error, "TABLE_FULL") || s.FlowsInstalled != 4 {
		t.Errorf("%+v", s)
	}
	// It is not tried again with each change …
	before := len(f.log())
	d.Set(reconcile.Desired{Revision: 2, Flows: compose(some(6)), Owner: owner})
	s = await(t, d, "it is in sync", inSync)
	if got := f.log()[before:]; !slices.Equal(got, []string{"apply 2"}) || s.NumRefuse != 1 {
		t.Errorf("did %q, %d refused", got, s.NumRefuse)
	}
	// … and is no trouble any more once nobody wants it.
	d.Set(reconcile.Desired{Revision: 3, Flows: compose(some(2)), Owner: owner})
	if s = await(t, d, "it is in sync", inSync); s.NumRefuse != 0 {
		t.Errorf("%+v", s)
	}
}

// Another master is no matter of single flows.
func TestDriverOfASlaveGivesUpTheSession(t *testing.T) {
	f := &fake{tables: model{}, refuse: func(*flow.Flow) error { return &openflow.Error{Type: 1, Code: 10} }}
	d := start(t, options(f.dial))
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(2))})
	s := await(t, d, "it says so", func(s reconcile.Status) bool { return strings.Contains(s.Error, "another controller") })
	if s.InSync || s.NumRefuse != 0 {
		t.Errorf("%+v", s)
	}
}

// bridge starts a switch with a bridge and returns how to dial it.
func bridge(t testing.TB) (*ovsproc.Switch, func(context.Context) (reconcile.Session, error)) {
	t.Helper()
	s := ovstest.Start(t)
	if _, err := s.Vsctl(context.Background(), "add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure"); err != nil {
		t.Fatal(err)
	}
	return s, func(ctx context.Context) (reconcile.Session, error) {
		var nd net.Dialer
		conn, err := nd.DialContext(ctx, "unix", s.MgmtSock("br-int"))
		if err != nil {
			return nil, err
		}
		return openflow.NewSession(ctx, conn, openflow.Options{})
	}
}

func TestDriverOnARealSwitch(t *testing.T) {
	s, dial := bridge(t)
	d := start(t, options(dial))
	good := some(3000) // enough to be loaded without a bundle
	bad := flow.Flow{Table: 20, Priority: 7, Cookie: mark | 9, Actions: []flow.Action{flow.Goto(5)}}
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(append(slices.Clone(good), bad))})
	st := await(t, d, "it is in sync", inSync)
	if st.NumRefuse != 1 || st.FlowsInstalled != 3000 || !strings.Contains(st.Refused[0].Error, "BAD_TABLE_ID") && !strings.Contains(st.Refused[0].Error, "table") {
		t.Errorf("%+v", st)
	}
	count := func() int {
		t.Helper()
		out, err := s.Ofctl(t.Context(), "dump-aggregate", "br-int")
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(out[strings.Index(out, "flow_count="):], "flow_count=%d", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 3001 {
		t.Errorf("the switch holds %d flows, want 3000 and the sentinel", n)
	}
	// In a bundle, too, one bad flow does not keep the rest away.
	worse := flow.Flow{Table: 20, Priority: 8, Cookie: mark | 9, Actions: []flow.Action{flow.Goto(4)}}
	d.Set(reconcile.Desired{Revision: 2, Flows: compose(append(slices.Clone(good[:2999]), bad, worse))})
	st = await(t, d, "it is in sync", inSync)
	if n := count(); st.NumRefuse != 2 || st.FlowsInstalled != 2999 || n != 3000 {
		t.Errorf("%d flows, %+v", n, st)
	}
}

// BenchmarkFill compares our way of filling an empty switch with ovs-ofctl's, in
// pairs on one switch: ratio is our time by that of `ovs-ofctl --bundle
// replace-flows`.
func BenchmarkFill(b *testing.B) {
	const n = 100_000
	s, dial := bridge(b)
	want := some(n)
	var text strings.Builder
	for i := range want {
		text.WriteString(want[i].Text())
		text.WriteByte('\n')
	}
	file := filepath.Join(b.TempDir(), "flows.txt")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	empty := func() {
		b.Helper()
		if _, err := s.Ofctl(context.Background(), "del-flows", "br-int"); err != nil {
			b.Fatal(err)
		}
	}
	var ours, theirs time.Duration
	for b.Loop() {
		empty()
		t0 := time.Now()
		if _, err := s.Ofctl(context.Background(), "--bundle", "replace-flows", "br-int", file); err != nil {
			b.Fatal(err)
		}
		theirs += time.Since(t0)
		empty()
		ctx, cancel := context.WithCancel(context.Background())
		d := reconcile.NewDriver(options(dial))
		done := make(chan struct{})
		t0 = time.Now()
		go func() { defer close(done); _ = d.Run(ctx) }()
		d.Set(reconcile.Desired{Revision: 1, Flows: compose(want)})
		await(b, d, "it is in sync", inSync)
		ours += time.Since(t0)
		cancel()
		<-done
	}
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	b.ReportMetric(ours.Seconds()/float64(b.N), "ours-s/op")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "ofctl-s/op")
}
