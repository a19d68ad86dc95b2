package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// hangUp ends the fake's session and changes it before the next one.
func (f *fake) hangUp(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if change != nil {
		change()
	}
	_ = f.session.Close()
}

// rewriteSentinel has another writer install the sentinel of a revision.
func (f *fake) rewriteSentinel(revision uint64, age time.Duration) {
	s := flows.Sentinel(revision)
	f.tables.put(openflow.Stat{Flow: s})
	f.installed[keyOf(&s)] = time.Now().Add(-age)
}

// TestDriverResumes: after an outage the sentinel decides whether everything is
// read back.
func TestDriverResumes(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fake, *reconcile.Options)
		outage func(*fake)
		want   []string
	}{
		{"unchanged", nil, nil, []string{"dial", "read 253"}},
		{"unchanged, fenced, a switch without ages", func(f *fake, o *reconcile.Options) { f.tellsAge, o.Generation = false, 7 }, nil, []string{"dial", "claim 7", "read 253"}},
		{"a switch without ages and no fence", func(f *fake, _ *reconcile.Options) { f.tellsAge = false }, nil, []string{"dial", "read 253", "read"}},
		{"another switch", nil, func(f *fake) { f.datapath++ }, []string{"dial", "read"}},
		{"lost", nil, func(f *fake) { clear(f.tables) }, []string{"dial", "read 253", "read", "apply 4"}},
		{"another revision", nil, func(f *fake) { f.rewriteSentinel(2, 0) }, []string{"dial", "read 253", "read", "apply 1"}},
		{"the revision of an earlier writer", nil, func(f *fake) { f.rewriteSentinel(1, time.Hour) }, []string{"dial", "read 253", "read"}},
		{"forgotten", func(_ *fake, o *reconcile.Options) { o.ForgetAfter = 1 }, nil, []string{"dial", "read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{tables: model{}, tellsAge: true}
			o := options(f.dial)
			var resumed atomic.Int32
			o.Report = func(r reconcile.Report) {
				if r.Resumed {
					resumed.Add(1)
				}
			}
			if c.change != nil {
				c.change(f, &o)
			}
			d := start(t, o)
			d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(3))})
			await(t, d, "it is in sync", inSync)
			before := len(f.log())
			f.hangUp(func() {
				if c.outage != nil {
					c.outage(f)
				}
			})
			s := await(t, d, "it is in sync again", func(s reconcile.Status) bool { return s.InSync && f.sessionCount() == 2 })
			if got := f.log()[before:]; !slices.Equal(got, c.want) || s.FlowsInstalled != 3 {
				t.Errorf("did %q, want %q; %+v", got, c.want, s)
			}
			if (resumed.Load() == 0) != slices.Contains(c.want, "read") {
				t.Errorf("%d resumed", resumed.Load())
			}
		})
	}
}

// TestDriverTellsALaterWriter: somebody who writes the same revision makes the
// sentinel younger than it should be.
func TestDriverTellsALaterWriter(t *testing.T) {
	for _, later := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{tables: model{}, tellsAge: true}
			ctx, cancel := context.WithCancel(t.Context())
			o := options(f.dial)
			o.ForgetAfter = time.Hour
			d := reconcile.NewDriver(o)
			var done sync.WaitGroup
			done.Go(func() { _ = d.Run(ctx) })
			d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(3))})
			synctest.Wait()
			time.Sleep(time.Hour)
			before := len(f.log())
			want := []string{"dial", "read 253"}
			f.hangUp(func() {
				if later > 0 {
					f.rewriteSentinel(1, time.Hour-later)
					want = append(want, "read")
				}
			})
			time.Sleep(time.Second)
			synctest.Wait()
			if got := f.log()[before:]; !slices.Equal(got, want) {
				t.Errorf("rewritten after %s: did %q, want %q", later, got, want)
			}
			cancel()
			done.Wait()
		})
	}
}

// What changed during the outage is the only thing that is sent, and a resumed
// session's state is as good as one that was read: it can be resumed again.
func TestDriverSendsTheDeltaAfterAnOutage(t *testing.T) {
	f := &fake{tables: model{}, tellsAge: true}
	d := start(t, options(f.dial))
	for i := range 5 {
		before := len(f.log())
		// The outage is there before anything can be sent.
		if i > 0 {
			f.mu.Lock()
			_ = f.session.Close()
			d.Set(reconcile.Desired{Revision: uint64(i + 1), Flows: compose(some(3 + i))})
			f.mu.Unlock()
		} else {
			d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(3))})
		}
		await(t, d, "it is in sync", inSync)
		if got := f.log()[before:]; i > 0 && !slices.Equal(got, []string{"dial", "read 253", "apply 2"}) {
			t.Errorf("outage %d: did %q", i, got)
		}
	}
}

// Two controllers that claim with one generation take the switch from each
// other; they must not do so as fast as they can.
func TestFencedDriverDoesNotSpin(t *testing.T) {
	f := &fake{tables: model{}, refuse: func(*flow.Flow) error { return &openflow.Error{Type: 1, Code: 10} }}
	o := options(f.dial)
	o.ReconnectMax = time.Hour
	d := start(t, o)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(2))})
	s := await(t, d, "it says so", func(s reconcile.Status) bool { return errors.Is(s.Err, openflow.ErrSlave) })
	if s.InSync || s.Connected || f.sessionCount() != 1 {
		t.Errorf("%d sessions, %+v", f.sessionCount(), s)
	}
	// Who knows better may end the pause.
	f.mu.Lock()
	f.refuse = nil
	f.mu.Unlock()
	d.Kick()
	await(t, d, "it is in sync", inSync)
	if n := f.sessionCount(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func (f *fake) sessionCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions
}

// watched is a session to a real switch that tells what was asked and sent.
type watched struct {
	*openflow.Session
	w *watch
}

type watch struct {
	mu    sync.Mutex
	conn  net.Conn
	calls []string
}

func (w *watch) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf(format, args...))
}

// take returns the calls since the last time.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.calls
	w.calls = nil
	return c
}

// hangUp breaks the connection.
func (w *watch) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn.Close()
}

func (w *watch) dial(s *ovsproc.Switch) func(context.Context) (reconcile.Session, error) {
	return func(ctx context.Context) (reconcile.Session, error) {
		var nd net.Dialer
		conn, err := nd.DialContext(ctx, "unix", s.MgmtSock("br-int"))
		if err != nil {
			return nil, err
		}
		w.mu.Lock()
		w.conn = conn
		w.mu.Unlock()
		o, err := openflow.NewSession(ctx, conn, openflow.Options{})
		if err != nil {
			return nil, err
		}
		return watched{o, w}, nil
	}
}

func (s watched) ReadEncoded(ctx context.Context, table uint8, cookie, mask uint64, fn func(*openflow.Entry) error) error {
	n := 0
	err := s.Session.ReadEncoded(ctx, table, cookie, mask, func(e *openflow.Entry) error { n++; return fn(e) })
	s.w.note("read %d: %d", table, n)
	return err
}

func (s watched) count(what string, send func(context.Context, iter.Seq[openflow.Mod]) error, ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	n := 0
	err := send(ctx, func(yield func(openflow.Mod) bool) {
		for m := range mods {
			n++
			if !yield(m) {
				return
			}
		}
	})
	s.w.note("%s %d", what, n)
	return err
}

func (s watched) Apply(ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	return s.count("apply", s.Session.Apply, ctx, mods)
}

func (s watched) ApplyAtOnce(ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	return s.count("apply", s.Session.ApplyAtOnce, ctx, mods)
}

func (s watched) Load(ctx context.Context, mods iter.Seq[openflow.Mod]) error {
	return s.count("load", s.Session.Load, ctx, mods)
}

// TestResumeOnARealSwitch: after a broken connection only the sentinel is read
// and only the delta sent; after a restart everything; and what somebody
// deletes by hand meanwhile is found by the audit.
func TestResumeOnARealSwitch(t *testing.T) {
	for _, generation := range []uint64{0, 5} {
		t.Run(fmt.Sprint("generation ", generation), func(t *testing.T) { resumeOnARealSwitch(t, generation) })
	}
}

func resumeOnARealSwitch(t *testing.T, generation uint64) {
	s, _ := bridge(t)
	w := &watch{}
	o := options(w.dial(s))
	o.Generation = generation
	reports := make(chan reconcile.Report, 100)
	o.Report = func(r reconcile.Report) { reports <- r }
	d := start(t, o)
	const n = 2500
	set := func(revision uint64, n int) {
		t.Helper()
		d.Set(reconcile.Desired{Revision: revision, Flows: compose(some(n))})
		await(t, d, "it is in sync", inSync)
	}
	expect := func(want ...string) {
		t.Helper()
		if got := w.take(); !slices.Equal(got, want) {
			t.Errorf("did %q, want %q", got, want)
		}
	}
	set(1, n)
	expect("read 255: 0", "load 2501")
	for len(reports) > 0 {
		<-reports
	}
	w.hangUp()
	if r := <-reports; !r.Resumed || r.ReadBack != 0 || r.Sentinels != 0 {
		t.Errorf("%+v", r)
	}
	expect("read 253: 1")

	// Switch gone; what is wanted changes; switch back.
	w.hangUp()
	set(2, n+3)
	<-reports
	if calls := w.take(); !slices.Equal(calls, []string{"read 253: 1", "apply 4"}) && !slices.Equal(calls, []string{"apply 4"}) {
		t.Errorf("did %q", calls)
	}
	await(t, d, "it is connected", func(s reconcile.Status) bool { return s.Connected && s.InSync })

	// Restarted without its flows.
	for len(reports) > 0 {
		<-reports
	}
	w.take()
	if err := s.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Kick()
	for r := range reports {
		if r.Added > 0 {
			break
		}
	}
	if calls := w.take(); !slices.Equal(calls, []string{"read 253: 0", "read 255: 0", "load 2504"}) {
		t.Errorf("after a restart: did %q", calls)
	}
}

func TestAuditFindsWhatAResumeCannotSee(t *testing.T) {
	s, _ := bridge(t)
	w := &watch{}
	o := options(w.dial(s))
	o.AuditInterval = 50 * time.Millisecond
	o.Generation = 5
	reports := make(chan reconcile.Report, 1000)
	o.Report = func(r reconcile.Report) {
		select {
		case reports <- r:
		default:
		}
	}
	d := start(t, o)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(20))})
	await(t, d, "it is in sync", inSync)
	w.hangUp()
	if _, err := s.Ofctl(t.Context(), "--strict", "del-flows", "br-int", strings.ReplaceAll(strict(&some(20)[7]), " ", "")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(30 * time.Second); ; {
		select {
		case r := <-reports:
			if r.Added == 1 {
				return
			}
		case <-deadline:
			t.Fatal("nobody missed the flow")
		}
	}
}

// strict is a flow's entry in the words of ovs-ofctl --strict.
func strict(f *flow.Flow) string {
	g := *f
	g.Actions, g.Cookie = nil, 0
	text, _, _ := strings.Cut(g.Text(), "actions=")
	text = strings.TrimRight(text, " ,")
	if _, rest, found := strings.Cut(text, "cookie=0x0,"); found {
		text = rest
	}
	return text
}

// TestOlderGenerationStandsBack: of two drivers the one with the greater
// generation writes, and the other says so.
func TestOlderGenerationStandsBack(t *testing.T) {
	s, dial := bridge(t)
	was := options(dial)
	was.Generation = 10
	a := start(t, was)
	a.Set(reconcile.Desired{Revision: 1, Flows: compose(some(5))})
	await(t, a, "it is in sync", inSync)

	is := options(dial)
	is.Generation = 11
	b := start(t, is)
	b.Set(reconcile.Desired{Revision: 2, Flows: compose(some(6))})
	await(t, b, "it is in sync", inSync)

	a.Set(reconcile.Desired{Revision: 3, Flows: compose(some(1))})
	await(t, a, "it knows", func(s reconcile.Status) bool { return errors.Is(s.Err, openflow.ErrStaleGeneration) })
	out, err := s.Ofctl(t.Context(), "dump-aggregate", "br-int")
	if err != nil || !strings.Contains(out, "flow_count=7") {
		t.Errorf("%s, %v", out, err)
	}
	if st := b.Status(); !st.InSync {
		t.Errorf("%+v", st)
	}
}

// A driver that may not write sends nothing, and goes on when it is told to look
// again.
func TestFrozenDriverWaitsToBeWoken(t *testing.T) {
	f := &fake{tables: model{}}
	o := options(f.dial)
	var may atomic.Bool
	may.Store(true)
	o.MayWrite = may.Load
	d := start(t, o)
	d.Set(reconcile.Desired{Revision: 1, Flows: compose(some(2))})
	await(t, d, "it is in sync", inSync)
	before := len(f.log())
	may.Store(false)
	d.Set(reconcile.Desired{Revision: 2, Flows: compose(some(3))})
	await(t, d, "it has noticed", func(s reconcile.Status) bool { return !s.InSync && s.Connected && s.Wanted == 2 })
	if calls := f.log(); len(calls) != before {
		t.Errorf("sent while frozen: %v", calls[before:])
	}
	may.Store(true)
	d.Wake()
	await(t, d, "it goes on", func(s reconcile.Status) bool { return s.InSync && s.Installed == 2 })
}
