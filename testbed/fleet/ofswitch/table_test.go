package ofswitch

import (
	"testing"

	"pgregory.net/rapid"
)

// TestFlowTableLaw: the open-addressed table does what a map does.
func TestFlowTableLaw(t *testing.T) {
	pool := NewPool()
	rapid.Check(t, func(t *rapid.T) {
		var table flowTable
		want := map[string]*Body{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			// Few keys, so that they meet; the hash is cut down to crowd them.
			k := rapid.Byte().Draw(t, "key") & 0x3f
			b := pool.get([]byte{k, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, keyHead)
			f := *b
			f.hash = f.hash & 7 << 16
			key := f.data[:f.key]
			if rapid.Bool().Draw(t, "remove") {
				if got := table.remove(&f); got != want[key] {
					t.Fatalf("remove: got %v, want %v", got, want[key])
				}
				delete(want, key)
			} else {
				if got := table.put(&f); got != want[key] {
					t.Fatalf("put: got %v, want %v", got, want[key])
				}
				want[key] = &f
			}
			if table.n != len(want) {
				t.Fatalf("%d flows, want %d", table.n, len(want))
			}
			n := 0
			for f := range table.all {
				if n++; want[f.data[:f.key]] != f {
					t.Fatal("a flow that should not be there")
				}
			}
			if n != len(want) {
				t.Fatalf("yields %d flows, want %d", n, len(want))
			}
			for _, f := range want {
				if table.get(f) != f {
					t.Fatal("a flow is lost")
				}
			}
		}
	})
}
