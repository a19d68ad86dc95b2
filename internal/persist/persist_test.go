package persist

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type item struct{ key, value int }

func (i item) Compare(j item) int { return cmp.Compare(i.key, j.key) }

func at(key int) func(item) int { return func(i item) int { return cmp.Compare(i.key, key) } }

// check fails where t does not hold exactly want, or is no sound tree.
func check(t *rapid.T, tree Tree[item], want map[int]int) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	if tree.Len() != len(keys) {
		t.Fatalf("length %d, want %d", tree.Len(), len(keys))
	}
	i := 0
	for v := range tree.All() {
		if v != (item{keys[i], want[keys[i]]}) {
			t.Fatalf("item %d is %v, want %d", i, v, keys[i])
		}
		i++
	}
	if i != len(keys) {
		t.Fatalf("%d items, want %d", i, len(keys))
	}
	var height func(n *node[item]) int
	height = func(n *node[item]) int {
		if len(n.items) == 0 || len(n.items) > maxItems {
			t.Fatalf("a node of %d items", len(n.items))
		}
		h := 0
		for i, kid := range n.kids {
			if kid.items[0] != n.items[i] {
				t.Fatalf("kid begins with %v, its parent says %v", kid.items[0], n.items[i])
			}
			if k := height(kid) + 1; i > 0 && k != h {
				t.Fatal("leaves at different heights")
			} else {
				h = k
			}
		}
		if n.kids != nil && len(n.kids) != len(n.items) {
			t.Fatalf("%d kids, %d items", len(n.kids), len(n.items))
		}
		return h
	}
	if tree.root != nil {
		height(tree.root)
	}
}

// TestTree edits copies of one another and checks that each is as a map would
// be, that no edit reaches the version it began with, and that Diff tells the
// edits.
func TestTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SampledFrom([]int{10, 200, 3000}).Draw(t, "keys")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var trees []Tree[item]
		var models []map[int]int
		var tree Tree[item]
		model := map[int]int{}
		for range rapid.IntRange(1, 6).Draw(t, "versions") {
			o := &Owner{}
			insert := rapid.SampledFrom([]int{0, 30, 50, 90, 100}).Draw(t, "insert")
			ascending := rapid.Bool().Draw(t, "ascending")
			next := rng.IntN(keys)
			for range rapid.SampledFrom([]int{0, 1, 5, 1500}).Draw(t, "edits") {
				k := rng.IntN(keys)
				if ascending {
					next = (next + 1) % keys
					k = next
				}
				old, had := model[k]
				var got item
				var found bool
				v := rng.IntN(4)
				switch r := rng.IntN(100); {
				case r >= insert:
					got, found = tree.Delete(o, at(k))
					delete(model, k)
				case r%2 == 0:
					got, found = tree.Replace(o, item{k, v})
					model[k] = v
				default:
					got, found = tree.Insert(o, item{k, v})
					if !had {
						model[k] = v
					}
				}
				if found != had || found && got != (item{k, old}) {
					t.Fatalf("edit of %d found %v %v, want %v %v", k, got, found, old, had)
				}
			}
			trees, models = append(trees, tree), append(models, maps.Clone(model))
		}
		for i := range trees {
			check(t, trees[i], models[i])
			checkDiff(t, trees[0], trees[i], models[0], models[i])
			checkDiff(t, trees[len(trees)-1], trees[i], model, models[i])
		}
		sorted := slices.Sorted(maps.Keys(model))
		for range 20 {
			k := rng.IntN(keys+2) - 1
			if v, ok := tree.Find(at(k)); ok != slices.Contains(sorted, k) || ok && v.key != k {
				t.Fatalf("Find(%d) = %v, %v", k, v, ok)
			}
			i, _ := slices.BinarySearch(sorted, k)
			for v := range tree.From(at(k)) {
				if v.key != sorted[i] {
					t.Fatalf("From(%d) yields %v, want %d", k, v, sorted[i])
				}
				i++
			}
			if i != len(sorted) {
				t.Fatalf("From(%d) ends at place %d of %d", k, i, len(sorted))
			}
			i, ok := slices.BinarySearch(sorted, k)
			if !ok {
				i--
			}
			if v, ok := tree.Floor(at(k)); ok != (i >= 0) || ok && v.key != sorted[i] {
				t.Fatalf("Floor(%d) = %v, %v", k, v, ok)
			}
		}
	})
}

func checkDiff(t *rapid.T, before, after Tree[item], a, b map[int]int) {
	t.Helper()
	got := maps.Clone(a)
	last := -1
	for d := range Diff(before, after) {
		k := d.New.key
		if d.InOld {
			k = d.Old.key
			if v, ok := a[k]; !ok || d.Old.value != v {
				t.Fatalf("%+v: not in the old version", d)
			}
			delete(got, k)
		}
		if d.InNew {
			got[k] = d.New.value
		}
		if k <= last || d.InOld && d.InNew && d.Old.key != d.New.key {
			t.Fatalf("%+v after %d", d, last)
		}
		last = k
	}
	if !maps.Equal(got, b) {
		t.Fatal("the difference leads elsewhere")
	}
}

// TestDiffShares counts what Diff looks at after one edit of many items.
func TestDiffShares(t *testing.T) {
	var before Tree[item]
	o := &Owner{}
	for i := range 100_000 {
		before.Insert(o, item{2 * i, 0})
	}
	for name, edit := range map[string]func(*Tree[item]){
		"replace": func(t *Tree[item]) { t.Replace(&Owner{}, item{70_000, 1}) },
		"insert":  func(t *Tree[item]) { t.Insert(&Owner{}, item{70_001, 1}) },
		"first":   func(t *Tree[item]) { t.Insert(&Owner{}, item{-1, 1}) },
		"last":    func(t *Tree[item]) { t.Insert(&Owner{}, item{300_000, 1}) },
		"delete":  func(t *Tree[item]) { t.Delete(&Owner{}, at(70_000)) },
	} {
		after := before
		edit(&after)
		n := 0
		for range Diff(before, after) {
			n++
		}
		if n == 0 || n > 2*maxItems {
			t.Errorf("%s: Diff yields %d pairs, want 1 to %d", name, n, 2*maxItems)
		}
	}
}

func TestHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SampledFrom([]int{10, 200, 3000}).Draw(t, "keys")
		// Few bits make values with one hash.
		bits := rapid.SampledFrom([]int{0, 4, 64}).Draw(t, "bits")
		hash := func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 & (1<<bits - 1) }
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var h Hash[item]
		var versions []Hash[item]
		var models []map[int]int
		model := map[int]int{}
		for range rapid.IntRange(1, 4).Draw(t, "versions") {
			o := &Owner{}
			insert := rapid.SampledFrom([]int{0, 30, 50, 100}).Draw(t, "insert")
			for range rapid.SampledFrom([]int{0, 1, 5, 1500}).Draw(t, "edits") {
				k := rng.IntN(keys)
				same := func(i item) bool { return i.key == k }
				old, had := model[k]
				var got item
				var found bool
				if rng.IntN(100) >= insert {
					got, found = h.Delete(o, hash(k), same)
					delete(model, k)
				} else if got, found = h.Insert(o, hash(k), item{k, len(versions)}, same); !found {
					model[k] = len(versions)
				}
				if found != had || found && got != (item{k, old}) {
					t.Fatalf("edit of %d found %v %v, want %v %v", k, got, found, old, had)
				}
			}
			versions, models = append(versions, h), append(models, maps.Clone(model))
		}
		for i, h := range versions {
			got := map[int]int{}
			for v := range h.All() {
				got[v.key] = v.value
			}
			if !maps.Equal(got, models[i]) {
				t.Fatalf("version %d holds %d values, want %d", i, len(got), len(models[i]))
			}
			for k := range keys {
				v, ok := h.Find(hash(k), func(i item) bool { return i.key == k })
				if want, has := models[i][k]; ok != has || ok && v != (item{k, want}) {
					t.Fatalf("Find(%d) = %v, %v", k, v, ok)
				}
			}
		}
	})
}

// TestInsertAll checks that many values are added as one after the other.
func TestInsertAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 10, 5_000, 10_000}).Draw(t, "values")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		seed := rng.Uint64() | 1
		var all []Hashed[item]
		for i := range n {
			k := rng.IntN(n * 4)
			all = append(all, Hashed[item]{uint64(k) * seed, item{k, i}})
		}
		var one, many Hash[item]
		type clash struct{ v, old item }
		want, got := map[clash]bool{}, map[clash]bool{}
		for _, v := range all {
			if old, found := one.Insert(&Owner{}, v.Hash, v.Value, func(i item) bool { return i.key == v.Value.key }); found {
				want[clash{v.Value, old}] = true
			}
		}
		many.InsertAll(&Owner{}, all, func(a, b item) bool { return a.key == b.key }, func(v, old item) { got[clash{v, old}] = true })
		if !maps.Equal(want, got) {
			t.Fatalf("%d clashes, want %d", len(got), len(want))
		}
		if !maps.Equal(values(one), values(many)) {
			t.Fatal("InsertAll makes another set")
		}
	})
}

func values(h Hash[item]) map[item]bool {
	all := map[item]bool{}
	for v := range h.All() {
		all[v] = true
	}
	return all
}

func BenchmarkTree(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		var tree Tree[item]
		o := &Owner{}
		for i := range n {
			tree.Insert(o, item{2 * i, i})
		}
		b.Run(fmt.Sprintf("Insert/items=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := tree
				next.Insert(&Owner{}, item{i*7919%n*2 + 1, i})
			}
		})
		b.Run(fmt.Sprintf("All/items=%d", n), func(b *testing.B) {
			for b.Loop() {
				sum := 0
				for v := range tree.All() {
					sum += v.value
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
		})
	}
}

func BenchmarkHash(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		hash := func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 >> 7 * 0xbf58476d1ce4e5b9 }
		build := func() (h Hash[*item]) {
			o := &Owner{}
			for i := range n {
				h.Insert(o, hash(i), &item{i, i}, func(x *item) bool { return x.key == i })
			}
			return h
		}
		b.Run(fmt.Sprintf("Build/items=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				build()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
		})
		b.Run(fmt.Sprintf("InsertAll/items=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all := make([]Hashed[*item], n)
				for i := range n {
					all[i] = Hashed[*item]{hash(i), &item{i, i}}
				}
				var h Hash[*item]
				h.InsertAll(&Owner{}, all, func(a, b *item) bool { return a.key == b.key }, func(_, _ *item) {})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
		})
		h := build()
		b.Run(fmt.Sprintf("Insert/items=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := h
				next.Insert(&Owner{}, hash(n+i), &item{n + i, i}, func(*item) bool { return false })
			}
		})
	}
}

// TestDeleteMerges checks that a tree that shrinks gives its nodes back.
func TestDeleteMerges(t *testing.T) {
	var tree Tree[item]
	o := &Owner{}
	const n = 50_000
	for i := range n {
		tree.Insert(o, item{i, 0})
	}
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n)[n/100:] {
		tree.Delete(o, at(i))
	}
	nodes := 0
	var count func(n *node[item])
	count = func(n *node[item]) {
		nodes++
		for _, kid := range n.kids {
			count(kid)
		}
	}
	count(tree.root)
	if tree.Len() != n/100 || nodes > n/100/4 {
		t.Errorf("%d nodes hold %d items, want at most %d", nodes, tree.Len(), n/100/4)
	}
}

// TestDeleteGathers checks the same of a hash trie.
func TestDeleteGathers(t *testing.T) {
	var h Hash[item]
	o := &Owner{}
	const n = 50_000
	hash := func(k int) uint64 { return uint64(k) * 0x9e3779b97f4a7c15 >> 20 }
	same := func(k int) func(item) bool { return func(i item) bool { return i.key == k } }
	for i := range n {
		h.Insert(o, hash(i), item{i, 0}, same(i))
	}
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n)[n/100:] {
		h.Delete(o, hash(i), same(i))
	}
	buckets := 0
	var count func(b *bucket[item])
	count = func(b *bucket[item]) {
		buckets++
		for _, kid := range b.kids {
			if kid != nil {
				count(kid)
			}
		}
	}
	count(h.root)
	if got := len(values(h)); got != n/100 || buckets > n/100 {
		t.Errorf("%d buckets hold %d values, want at most %d", buckets, got, n/100)
	}
}
