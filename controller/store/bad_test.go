package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"
)

// What somebody edits by hand is not in force, is in the status, and is put back
// by the next apply.
func TestEditedByHand(t *testing.T) {
	s, _ := start(t, embeddedIn(t.TempDir()))
	apply(t, s, base()...)
	apply(t, s, records(0, 5, 0)...)
	before := s.Policy()
	edits := map[string]string{s.keys.object(record(1, 0).Key()): "{nonsense", s.keys.objects + "records/5001/nowhere": `{}`,
		s.keys.object(record(2, 0).Key()): `{"vm":"vm-11","mac":"02:00:00:00:00:09"}`}
	for k, v := range edits {
		if _, err := s.client.Put(t.Context(), k, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.client.Delete(t.Context(), s.keys.object(record(3, 0).Key())); err != nil {
		t.Fatal(err)
	}
	cold := another(t, s, nil)
	for _, s := range []*Store{s, cold} {
		if !s.Policy().Equal(before) {
			t.Error("an edit is in force")
		}
	}
	waitFor(t, "the status to name the objects", func() bool {
		err := s.Status().Error
		return err != nil && strings.Contains(err.Error(), record(1, 0).Key().String()) && strings.Contains(err.Error(), record(3, 0).Key().String())
	})
	waitFor(t, "that of a cold start too", func() bool {
		err := cold.Status().Error
		return err != nil && strings.Contains(err.Error(), record(1, 0).Key().String()) && strings.Contains(err.Error(), record(3, 0).Key().String())
	})
	apply(t, s, records(9, 10, 0)...)
	objectsAre(t, s, s.Policy())
	waitFor(t, "the status to be well", func() bool { return s.Status().Error == nil && cold.Status().Error == nil })
	if !cold.Policy().Equal(s.Policy()) || s.Policy().NumRecords() != 6 {
		t.Errorf("%d and %d records", cold.Policy().NumRecords(), s.Policy().NumRecords())
	}
}

// A version that makes no policy, which no controller writes, is refused by name,
// and the last good one stays until it is put right.
func TestBrokenVersion(t *testing.T) {
	s, _ := start(t, embeddedIn(t.TempDir()))
	apply(t, s, base()...)
	st := s.state.Load()
	bad := record(1, 0)
	bad.VSID = 6000
	write := func(st *state, value string) {
		h := st.head.after(s.c.now(), 1, ApplyOptions{}, newToken())
		_, err := s.client.Txn(t.Context()).Then(clientv3.OpPut(s.keys.object(bad.Key()), value), clientv3.OpPut(s.keys.head, h.encode())).Commit()
		if err != nil {
			t.Fatal(err)
		}
	}
	write(st, `{"vm":"x","mac":"02:00:00:00:00:09"}`)
	waitFor(t, "the status to name it", func() bool {
		err := s.Status().Error
		return err != nil && strings.Contains(err.Error(), bad.Key().String())
	})
	if s.Policy() != st.policy {
		t.Error("another policy is in force")
	}
	if _, err := s.client.Put(t.Context(), s.keys.head, "nonsense"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the status to name the head", func() bool {
		err := s.Status().Error
		return err != nil && strings.Contains(err.Error(), s.keys.head)
	})
	write(st, "")
	waitFor(t, "all to be well", func() bool { return s.Status().Error == nil && s.Head().Revision > st.head.Revision })
	apply(t, s, records(0, 1, 0)...)
}

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	_, stop := start(t, embeddedIn(dir))
	_, err := Open(t.Context(), embeddedIn(dir))
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a directory in use: %v", err)
	}
	stop()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), embeddedIn(file)); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file: %v", err)
	}
	full := embeddedIn(t.TempDir())
	full.Embedded.MinFree = 1 << 60
	if _, err := Open(t.Context(), full); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("a full disk: %v", err)
	}
	// etcd would end the process over a log that it cannot read.
	logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	if err := os.WriteFile(logs[0], []byte(strings.Repeat("nonsense", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), embeddedIn(dir)); err == nil {
		_ = s.Close()
		t.Error("a broken log is taken")
	} else if !strings.Contains(err.Error(), dir) {
		t.Errorf("a broken log: %v", err)
	}
}

// Of callers whose changes go together, only those at fault fail.
func TestOnlyTheGuiltyFails(t *testing.T) {
	s := newStore(Config{})
	s.c, _ = embeddedIn("x").withDefaults()
	p, _ := tenant.Empty().Apply(base(), 1)
	st := &state{p, head{Head: Head{Revision: 1}}}
	bad := record(2, 0)
	bad.Host = "nowhere"
	stolen := record(3, 0)
	stolen.VM, stolen.IfaceID = "thief", record(1, 0).VM
	batch := []*request{{changes: records(1, 2, 0)}, {changes: []tenant.Change{tenant.Put(bad)}}, {changes: []tenant.Change{tenant.Put(stolen)}}, {changes: records(4, 5, 0)}}
	got := s.plan(st, batch)
	for i, fails := range []bool{false, true, true, false} {
		if r := got.requests[i]; fails != (len(r.problems) > 0) || fails == (len(r.effective) == 1) {
			t.Errorf("request %d: %v, %v", i, r.effective, r.problems)
		}
	}
	if got.next.NumRecords() != 2 || len(got.ops) != 2 {
		t.Errorf("%d records, %d writes", got.next.NumRecords(), len(got.ops))
	}
}

func TestManyTogether(t *testing.T) {
	s, _ := start(t, embeddedIn(t.TempDir()))
	apply(t, s, base()...)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			r := record(i, 0)
			if i%10 == 0 {
				r.Host = "nowhere"
			}
			a, err := s.Apply(context.Background(), []tenant.Change{tenant.Put(r)}, ApplyOptions{})
			var invalid *InvalidError
			if i%10 == 0 && !errors.As(err, &invalid) || i%10 != 0 && (err != nil || len(a.Effective) != 1) {
				t.Errorf("apply %d: %+v %v", i, a, err)
			}
		})
	}
	wg.Wait()
	if n := s.Policy().NumRecords(); n != 180 {
		t.Errorf("%d records", n)
	}
	objectsAre(t, s, s.Policy())
}

// Any applies through the store make what tenant makes of them, and each version
// can be read back.
func TestStoreIsTheModel(t *testing.T) {
	s, _ := start(t, small(t.TempDir()))
	apply(t, s, base()...)
	cold := another(t, s, nil)
	rapid.Check(t, func(rt *rapid.T) {
		type version struct {
			revision uint64
			policy   *tenant.Policy
		}
		var versions []version
		for range rapid.IntRange(1, 3).Draw(rt, "applies") {
			before := s.Policy()
			var changes []tenant.Change
			seen := map[int]bool{}
			for range rapid.IntRange(0, 25).Draw(rt, "changes") {
				i := rapid.IntRange(0, 60).Draw(rt, "record")
				if seen[i] {
					continue
				}
				seen[i] = true
				switch r := record(i, rapid.IntRange(0, 3).Draw(rt, "version")); rapid.IntRange(0, 9).Draw(rt, "what") {
				case 0, 1, 2:
					changes = append(changes, tenant.Delete(r.Key()))
				case 3:
					r.VM = record((i+1)%60, 0).VM // often taken
					changes = append(changes, tenant.Put(r))
				default:
					changes = append(changes, tenant.Put(r))
				}
			}
			want, problems := before.Apply(changes, 0)
			a, err := s.Apply(context.Background(), changes, ApplyOptions{})
			var invalid *InvalidError
			if len(problems) > 0 {
				if !errors.As(err, &invalid) || len(invalid.Problems) != len(problems) {
					rt.Fatalf("%v, want %v", err, problems)
				}
				want = before
			} else if err != nil {
				rt.Fatal(err)
			}
			if !s.Policy().Equal(want) {
				rt.Fatal("the store has another policy than the model")
			}
			if err == nil {
				versions = append(versions, version{a.Revision, want})
			}
		}
		for _, v := range versions {
			for _, s := range []*Store{s, cold} {
				p, err := s.PolicyAt(context.Background(), At{Revision: v.revision})
				if err != nil || !p.Equal(v.policy) || p.Revision() != v.revision {
					rt.Fatalf("revision %d: %v", v.revision, err)
				}
			}
		}
		l, err := s.load(context.Background())
		if err != nil || !l.policy.Equal(s.Policy()) {
			rt.Fatal("etcd has another policy", err)
		}
	})
}

// An apply of this process that comes while the policy is read anew is not undone.
func TestApplyDuringReload(t *testing.T) {
	c := small(t.TempDir())
	var s *Store
	var armed atomic.Bool
	inBetween := make(chan error, 1)
	c.fault = func(point string) {
		if point == "read" && armed.CompareAndSwap(true, false) {
			_, err := s.Apply(context.Background(), records(1, 2, 1), ApplyOptions{})
			inBetween <- err
		}
	}
	s, _ = start(t, c)
	apply(t, s, base()...)
	apply(t, s, records(1, 2, 0)...)
	armed.Store(true)
	s.poke <- struct{}{}
	if err := <-inBetween; err != nil {
		t.Fatal(err)
	}
	a := apply(t, s, records(1, 2, 2)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	last := uint64(0)
	for _, e := range s.events.events {
		if e.Revision <= last {
			t.Errorf("revision %d was put in force after %d", e.Revision, last)
		}
		last = e.Revision
	}
	if last != a.Revision {
		t.Errorf("revision %d is in force, want %d", last, a.Revision)
	}
}
