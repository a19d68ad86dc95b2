package heappace_test

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/heappace"
)

func TestPercent(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		live, budget uint64
		want         int
	}{
		{0, 1024 * mib, 300},
		{4 * mib, 1024 * mib, 1600}, // 64 MiB may gather
		{100 * mib, 1024 * mib, 300},
		{512 * mib, 1024 * mib, 100},
		{800 * mib, 1000 * mib, 40},
		{5000 * mib, 1024 * mib, 40},
	} {
		if got := heappace.Percent(c.live, c.budget); got != c.want {
			t.Errorf("%d MiB of %d live: %d percent, want %d", c.live/mib, c.budget/mib, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		live, budget := rapid.Uint64Range(0, 1<<42).Draw(t, "live"), rapid.Uint64Range(0, 1<<42).Draw(t, "budget")
		p := heappace.Percent(live, budget)
		if p < 40 || live > 64*mib && p > 300 {
			t.Fatalf("%d percent", p)
		}
		if all := float64(live) * (1 + float64(p)/100); live > 64*mib && p > 40 && p != 100 && all > float64(max(budget, live+64*mib))*1.001 {
			t.Fatalf("%d percent of %d: more than %d", p, live, budget)
		}
	})
}

// TestKeep: a small heap is collected less often than Go would, and nothing
// changes any more when the context has ended.
func TestKeep(t *testing.T) {
	t.Setenv("GOGC", "100")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	heappace.Keep(t.Context(), 1<<30)
	if debug.SetGCPercent(100) != 100 {
		t.Fatal("it changes what the environment says")
	}
	if err := unset(t); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heappace.Keep(ctx, 1<<30)
	for deadline := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		if p > 100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d percent", p)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
}

func unset(t *testing.T) error {
	t.Setenv("GOGC", "")
	return os.Unsetenv("GOGC") // t.Setenv puts it back
}
