package openflow

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// noPrerequisite is a flow that a switch refuses: it matches an IP address
// without the Ethernet type.
func noPrerequisite(priority uint16) flow.Flow {
	return flow.Flow{Table: 3, Priority: priority, Match: flow.Match{flow.Exact(flow.IPv4Dst, flow.Uint(1))}}
}

func modsOf(mods ...Mod) iter.Seq[Mod] {
	return func(yield func(Mod) bool) {
		for _, m := range mods {
			if !yield(m) {
				return
			}
		}
	}
}

// TestRefusedChangeIsNamed: whichever change of a bundle is bad, it is named
// and nothing is changed.
func TestRefusedChangeIsNamed(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	good := caFlows(2500)
	for _, bad := range [][]int{{0}, {1023}, {1024, 1025}, {2499}, {5, 1500, 2400}} {
		flows := append([]flow.Flow(nil), good...)
		for _, i := range bad {
			flows[i] = noPrerequisite(uint16(i))
		}
		err := s.Apply(soon(t), adds(flows))
		var ae *ApplyError
		if !errors.As(err, &ae) || ae.Applied {
			t.Fatalf("bad changes %v: got %v", bad, err)
		}
		if len(ae.Mods) != len(bad) {
			t.Fatalf("bad changes %v: %d refused: %v", bad, len(ae.Mods), err)
		}
		for i, m := range ae.Mods {
			var e *Error
			if m.Index != bad[i] || m.Mod.Flow != enc(&flows[bad[i]]) || !errors.As(m, &e) || e.Type != 4 || e.Code != 9 || e.Request != "bundle-add" {
				t.Errorf("bad changes %v: named %v", bad, m)
			}
			if !strings.Contains(m.Error(), "BAD_MATCH/BAD_PREREQ (4/9)") || !strings.Contains(m.Error(), "nw_dst=0.0.0.1") {
				t.Errorf("the message does not say what and why: %v", m)
			}
		}
		if n := len(readAll(t, s)); n != 0 {
			t.Fatalf("bad changes %v: %d flows made", bad, n)
		}
	}
	// The session works on.
	if err := s.Apply(soon(t), adds(good)); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, s)); n != len(good) {
		t.Fatalf("%d flows, want %d", n, len(good))
	}
}

// TestAtOnce: what goes out in one round trip is in force when it has been
// confirmed; a change that is refused is named, and leaves the others in force.
func TestAtOnce(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	flows := caFlows(20)
	if err := s.ApplyAtOnce(soon(t), adds(flows[:10])); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, s)); n != 10 {
		t.Fatalf("%d flows, want 10", n)
	}
	flows[13] = noPrerequisite(1)
	err := s.ApplyAtOnce(soon(t), adds(flows[10:]))
	var ae *ApplyError
	if !errors.As(err, &ae) || !ae.Applied || len(ae.Mods) != 1 || ae.Mods[0].Index != 3 {
		t.Fatalf("got %v, want change 3 named and the others in force", err)
	}
	if n := len(readAll(t, s)); n != 19 {
		t.Fatalf("%d flows, want 19", n)
	}
	if err := s.ApplyAtOnce(soon(t), func(func(Mod) bool) {}); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

// TestUnencodableChangeIsNamed: a change that cannot be sent is refused like
// one that the switch refuses.
func TestUnencodableChangeIsNamed(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	mods := slices.Collect(adds(caFlows(10)))
	mods[7].Flow = mods[7].Flow[:7]
	err := s.Apply(soon(t), slices.Values(mods))
	var m *ModError
	if !errors.As(err, &m) || m.Index != 7 || !errors.Is(m, errEncoded) {
		t.Fatal(err)
	}
	if n := len(readAll(t, s)); n != 0 {
		t.Fatalf("%d flows made", n)
	}
}

// TestRefusedAtCommit: a table that is full is noticed only at the commit.
func TestRefusedAtCommit(t *testing.T) {
	sw := bridge(t)
	if _, err := sw.Vsctl(t.Context(), "--", "--id=@t", "create", "Flow_Table", "flow_limit=5", "overflow_policy=refuse",
		"--", "set", "Bridge", "br-int", "flow_tables:20=@t"); err != nil {
		t.Fatal(err)
	}
	s := connect(t, sw, Options{})
	flows := caFlows(20)
	err := s.Apply(soon(t), adds(flows))
	var m *ModError
	var e *Error
	if !errors.As(err, &m) || m.Index != 5 || !errors.As(m, &e) || e.Type != 5 || e.Code != 1 {
		t.Fatalf("got %v, want change 5 refused because the table is full", err)
	}
	if errors.Is(err, ErrOutcomeUnknown) {
		t.Error("the outcome is known: nothing was made")
	}
	if n := len(readAll(t, s)); n != 0 {
		t.Fatalf("%d flows made", n)
	}
}

// TestLoad: the refused changes are named, the others made, and no error
// arrives behind the barrier.
func TestLoad(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	for round := range 100 {
		flows := caFlows(300)
		bad := 3 * round % len(flows)
		flows[bad] = noPrerequisite(1)
		flows[len(flows)-1] = noPrerequisite(2)
		err := s.Load(soon(t), adds(flows))
		var ae *ApplyError
		if !errors.As(err, &ae) || !ae.Applied {
			t.Fatal(err)
		}
		want := []int{bad, len(flows) - 1}
		if bad == want[1] {
			want = want[:1]
		}
		if len(ae.Mods) != len(want) || ae.Mods[0].Index != want[0] || ae.Mods[len(want)-1].Index != want[len(want)-1] {
			t.Fatalf("round %d: want %v refused, got %v", round, want, err)
		}
		if n := len(readAll(t, s)); n < len(flows)-2 {
			t.Fatalf("%d flows made", n)
		}
	}
}

// TestModifyAndDelete: a modify keeps counters and cookie, the cookie mask
// protects, and an add replaces.
func TestModifyAndDelete(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	f := caFlows(1)[0]
	g := f
	g.Actions = []flow.Action{flow.Output(9)}
	other := g
	other.Cookie = 5
	for _, step := range []struct {
		name string
		mod  Mod
		want *flow.Flow
	}{
		{"modify of nothing", Mod{Op: ModifyStrict, Flow: enc(&g)}, nil},
		{"add", Mod{Op: Add, Flow: enc(&f)}, &f},
		{"modify", Mod{Op: ModifyStrict, Flow: enc(&g)}, &g},
		{"modify of another's", Mod{Op: ModifyStrict, Flow: enc(&other), CookieMask: ^uint64(0)}, &g},
		{"add in place", Mod{Op: Add, Flow: enc(&other)}, &other},
		{"delete of another's", Mod{Op: DeleteStrict, Flow: enc(&g), CookieMask: ^uint64(0)}, &other},
		{"delete", Mod{Op: DeleteStrict, Flow: enc(&g)}, nil},
		{"delete of nothing", Mod{Op: DeleteStrict, Flow: enc(&g)}, nil},
	} {
		if err := s.Apply(soon(t), modsOf(step.mod)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		got := readAll(t, s)
		if step.want == nil {
			if len(got) != 0 {
				t.Errorf("%s: left %s", step.name, got[0].Text())
			}
		} else if len(got) != 1 || !got[0].Equal(step.want) {
			t.Errorf("%s: got %d flows, want %s", step.name, len(got), step.want.Text())
		}
	}
}

// TestNothingToApply sends nothing.
func TestNothingToApply(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	before := s.Counters().Sent
	if err := s.Apply(soon(t), modsOf()); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(soon(t), modsOf()); err != nil {
		t.Fatal(err)
	}
	for k, n := range s.Counters().Sent {
		if n != before[k] {
			t.Errorf("%d messages of kind %s sent", n-before[k], k)
		}
	}
}

// TestFlowModsAreCounted: the counter tells how many changes were sent.
func TestFlowModsAreCounted(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	if err := s.Apply(soon(t), adds(caFlows(1234))); err != nil {
		t.Fatal(err)
	}
	if n := s.Counters().Sent[KindFlowMod.String()]; n != 1234 {
		t.Errorf("counted %d changes, sent 1234", n)
	}
}

// TestCancelledApply: a cancelled Apply changes nothing, and the session works
// on.
func TestCancelledApply(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	flows := caFlows(20_000)
	for _, at := range []int{0, 1, 10_000, 19_999} {
		ctx, cancel := context.WithCancel(soon(t))
		err := s.Apply(ctx, func(yield func(Mod) bool) {
			for i := range flows {
				if i == at {
					cancel()
				}
				if !yield(Mod{Op: Add, Flow: enc(&flows[i])}) {
					return
				}
			}
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled at %d: %v", at, err)
		}
		if err := s.Barrier(soon(t)); err != nil {
			t.Fatal(err)
		}
		if n := len(readAll(t, s)); n != 0 {
			t.Fatalf("cancelled at %d: %d flows made", at, n)
		}
	}
	if err := s.Apply(soon(t), adds(flows)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ranges) != 0 || len(s.pending) != 0 {
		t.Errorf("%d ranges and %d requests left over", len(s.ranges), len(s.pending))
	}
}

// TestLargeApply: 100,000 flows are applied and read back.
func TestLargeApply(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	flows := caFlows(100_000)
	if err := s.Apply(soon(t), adds(flows)); err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, len(flows))
	err := s.ReadFlows(soon(t), 0x4e56000000000000, 0xffff000000000000, func(st *Stat) error {
		i := st.Cookie & 0xffffffffffff
		if seen[i] || !st.Equal(&flows[i]) {
			t.Errorf("read %s", st.Text())
		}
		seen[i] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if !seen[i] {
			t.Fatalf("flow %d was not read", i)
		}
	}
}

// TestCookieFilter: only flows under the mask are read.
func TestCookieFilter(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	flows := caFlows(10)
	for i := range flows[:4] {
		flows[i].Cookie = uint64(i)
	}
	if err := s.Apply(soon(t), adds(flows)); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := s.ReadFlows(soon(t), 0x4e56000000000000, 0xffff000000000000, func(*Stat) error { n++; return nil }); err != nil || n != 6 {
		t.Fatalf("read %d flows, want 6: %v", n, err)
	}
}

// TestConcurrentUse: calls from many goroutines do not disturb one another.
func TestConcurrentUse(t *testing.T) {
	s := connect(t, bridge(t), Options{})
	flows := caFlows(4000)
	var wg sync.WaitGroup
	for w := range 4 {
		mine := flows[w*1000 : (w+1)*1000]
		wg.Go(func() {
			for range 5 {
				if err := s.Apply(soon(t), adds(mine)); err != nil {
					t.Error(err)
				}
				bad := noPrerequisite(uint16(w))
				var m *ModError
				if err := s.Apply(soon(t), modsOf(Mod{Op: Add, Flow: enc(&mine[0])}, Mod{Op: Add, Flow: enc(&bad)})); !errors.As(err, &m) || m.Mod.Flow != enc(&bad) {
					t.Error(err)
				}
				if err := s.Apply(soon(t), deletes(mine)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				if err := s.Barrier(soon(t)); err != nil {
					t.Error(err)
				}
				if err := s.ReadFlows(soon(t), 0, 0, func(*Stat) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(readAll(t, s)); n != 0 {
		t.Errorf("%d flows left", n)
	}
}
