// Package heappace sets how much garbage may gather before it is collected: as
// much as the budget has room for. Collections are most of what a small heap
// costs, and a large one must not be doubled by its garbage.
package heappace

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// Least and most that may gather, in percent of what lives.
	leastPercent, mostPercent = 40, 300
	// floor is what may gather whatever lives, in octets.
	floor = 64 << 20
)

// Percent returns how much garbage may gather, in percent of the octets that
// live, where both together should not exceed the budget, also in octets. It is
// 40 at least, even where the budget is exceeded, and 300 at most, save for
// heaps of less than 20 MiB.
func Percent(live, budget uint64) int {
	if live == 0 {
		return mostPercent
	}
	room := uint64(0)
	if budget > live {
		room = budget - live
	}
	p := math.Max(leastPercent, math.Min(mostPercent, 100*float64(room)/float64(live)))
	return int(math.Max(p, math.Min(100*floor/float64(live), math.MaxInt32)))
}

// Keep sets the pace after each collection until ctx ends. Where the environment
// says something of it (GOGC, GOMEMLIMIT) it does nothing.
func Keep(ctx context.Context, budget uint64) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		if _, set := os.LookupEnv(name); set {
			return
		}
	}
	k := &keeper{budget: budget, set: debug.SetGCPercent(100)}
	k.adjust()
	k.arm(ctx)
}

type keeper struct {
	budget uint64
	set    int
}

// ring is an object that nobody refers to: its finalizer runs after a collection.
type ring struct{ _ [16]byte }

func (k *keeper) arm(ctx context.Context) {
	runtime.SetFinalizer(new(ring), func(*ring) {
		if ctx.Err() == nil {
			k.adjust()
			k.arm(ctx)
		}
	})
}

// adjust stops the world for a moment where it changes something, so it passes
// over what is nearly the same.
func (k *keeper) adjust() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	p := Percent(sample[0].Value.Uint64(), k.budget)
	if d := p - k.set; d > k.set/16 || d < -k.set/16 {
		debug.SetGCPercent(p)
		k.set = p
	}
}
