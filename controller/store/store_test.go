package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

const patience = 20 * time.Second

// embeddedIn returns the configuration of an etcd by itself, for tests.
func embeddedIn(dir string) Config {
	c := Config{Embedded: &Embedded{Dir: dir, UnsafeNoSync: true, MinFree: 1}, StageTTL: time.Second}
	if os.Getenv("STORE_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return c
}

// start opens a store and runs it until stop, or the end of the test.
func start(tb testing.TB, c Config) (s *Store, stop func()) {
	tb.Helper()
	s, err := Open(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	stop = run(tb, s)
	waitFor(tb, "the policy to be loaded", func() bool { return s.Policy() != nil })
	return s, stop
}

func run(tb testing.TB, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	}
	tb.Cleanup(stop)
	return stop
}

// another returns a second store on the etcd of s, as of another controller.
func another(tb testing.TB, s *Store, change func(*Config)) *Store {
	tb.Helper()
	c := s.c
	if change != nil {
		change(&c)
	}
	t := newStore(c)
	t.client = s.client
	t.shared = true
	run(tb, t)
	waitFor(tb, "the policy to be loaded", func() bool { return t.Policy() != nil })
	return t
}

func waitFor(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain for %s", what)
		}
	}
}

func apply(tb testing.TB, s *Store, changes ...tenant.Change) Applied {
	tb.Helper()
	a, err := s.Apply(tb.Context(), changes, ApplyOptions{Author: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// base returns the changes that make a policy of one subnet.
func base() []tenant.Change {
	return []tenant.Change{
		tenant.Put(tenant.HostObject{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.MustParseAddr("100.64.0.1"))}}}),
		tenant.Put(tenant.RoutingDomainObject{RDID: tenant.RDID{15: 1}, Name: "blue"}),
		tenant.Put(tenant.SubnetObject{VSID: 5001, RDID: tenant.RDID{15: 1}, Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(netip.MustParsePrefix("10.0.0.0/8"))}}),
	}
}

// record returns record i of the subnet of base; a version of it.
func record(i, version int) tenant.RecordObject {
	i += 10
	return tenant.RecordObject{VSID: 5001, VM: fmt.Sprintf("vm-%d", i), CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})),
		MAC: tenant.MAC{2, byte(version), byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}, Host: "h1"}
}

func records(from, to, version int) []tenant.Change {
	var out []tenant.Change
	for i := from; i < to; i++ {
		out = append(out, tenant.Put(record(i, version)))
	}
	return out
}

func TestApplyIsInForceAndSurvives(t *testing.T) {
	dir := t.TempDir()
	s, stop := start(t, embeddedIn(dir))
	if p := s.Policy(); p.Revision() != 0 {
		t.Errorf("an empty store has revision %d", p.Revision())
	}
	a := apply(t, s, base()...)
	if len(a.Effective) != 3 || a.Revision == 0 || s.Policy().Revision() != a.Revision || s.Head() != a.Head {
		t.Errorf("applied %+v, in force is %+v", a, s.Head())
	}
	b := apply(t, s, tenant.Put(record(1, 0)))
	if b.Revision <= a.Revision {
		t.Errorf("revision %d after %d", b.Revision, a.Revision)
	}
	if c := apply(t, s, tenant.Put(record(1, 0)), tenant.Delete(record(2, 0).Key())); c.Head != b.Head || len(c.Effective) != 0 {
		t.Errorf("a change of nothing made %+v of %+v", c, b)
	}
	want := s.Policy()
	stop()
	s, _ = start(t, embeddedIn(dir))
	if !s.Policy().Equal(want) || s.Head() != b.Head {
		t.Errorf("after a restart there is %+v, not %+v", s.Head(), b.Head)
	}
}

func TestRefused(t *testing.T) {
	s, _ := start(t, embeddedIn(t.TempDir()))
	a := apply(t, s, base()...)
	bad := record(1, 0)
	bad.VSID, bad.Host = 6000, "nowhere"
	_, err := s.Apply(t.Context(), []tenant.Change{tenant.Put(bad), tenant.Put(record(2, 0))}, ApplyOptions{})
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "6000") {
		t.Errorf("an unknown subnet: %v", err)
	}
	if _, err := s.Apply(t.Context(), records(1, 2, 0), ApplyOptions{IfRevision: a.Revision - 1}); !errors.Is(err, ErrConflict) {
		t.Errorf("an old revision: %v", err)
	}
	if _, err := s.Apply(t.Context(), records(1, 2, 0), ApplyOptions{DryRun: true}); err != nil {
		t.Error(err)
	}
	if s.Head() != a.Head || s.Policy().NumRecords() != 0 {
		t.Errorf("%+v is in force after what was refused", s.Head())
	}
	if _, err := s.Apply(t.Context(), records(1, 2, 0), ApplyOptions{IfRevision: a.Revision}); err != nil {
		t.Error(err)
	}
}

// Controllers on one etcd see each other's changes, and lose no race for good.
func TestControllersTogether(t *testing.T) {
	a, _ := start(t, embeddedIn(t.TempDir()))
	b := another(t, a, nil)
	apply(t, a, base()...)
	const each = 50
	errs := make(chan error, 2)
	for n, s := range []*Store{a, b} {
		go func() {
			for i := range each {
				if _, err := s.Apply(context.Background(), []tenant.Change{tenant.Put(record(n*each+i, 0))}, ApplyOptions{}); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, s := range []*Store{a, b} {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := s.Policy().NumRecords(); n != 2*each {
			t.Errorf("%d records, want %d", n, 2*each)
		}
	}
	if !a.Policy().Equal(b.Policy()) || a.Head() != b.Head() {
		t.Errorf("%+v and %+v", a.Head(), b.Head())
	}
}
