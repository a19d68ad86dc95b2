package ofswitch

// flowTable holds the flows of one switch by their key: open addressing with
// linear probing, eight octets a slot.
type flowTable struct {
	slots []*Body // a power of two of them, or none
	n     int
}

func sameKey(f *Body, hash uint64, key string) bool {
	return f.hash == hash && f.data[:f.key] == key
}

// find returns the slot of the flow with the key of f, or the one where it would
// go.
func (t *flowTable) find(f *Body) int {
	mask := len(t.slots) - 1
	key := f.data[:f.key]
	// The low bits chose the pool's shard.
	for i := int(f.hash>>16) & mask; ; i = (i + 1) & mask {
		if o := t.slots[i]; o == nil || sameKey(o, f.hash, key) {
			return i
		}
	}
}

// get returns the flow with the key of f, or nil.
func (t *flowTable) get(f *Body) *Body {
	if t.n == 0 {
		return nil
	}
	return t.slots[t.find(f)]
}

// put adds f and returns the flow whose place it takes, or nil.
func (t *flowTable) put(f *Body) *Body {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.grow()
	}
	i := t.find(f)
	old := t.slots[i]
	t.slots[i] = f
	if old == nil {
		t.n++
	}
	return old
}

func (t *flowTable) grow() {
	old := t.slots
	t.slots = make([]*Body, max(16, 2*len(old)))
	for _, f := range old {
		if f != nil {
			t.slots[t.find(f)] = f
		}
	}
}

// remove takes out the flow with the key of f and returns it, or nil.
func (t *flowTable) remove(f *Body) *Body {
	if t.n == 0 {
		return nil
	}
	i := t.find(f)
	old := t.slots[i]
	if old == nil {
		return nil
	}
	t.n--
	mask := len(t.slots) - 1
	// Close the gap: move back whoever was pushed past it.
	for j := i; ; {
		j = (j + 1) & mask
		f := t.slots[j]
		if f == nil {
			break
		}
		if home := int(f.hash>>16) & mask; (j-home)&mask >= (j-i)&mask {
			t.slots[i] = f
			i = j
		}
	}
	t.slots[i] = nil
	return old
}

// all yields the flows in no order.
func (t *flowTable) all(yield func(*Body) bool) {
	for _, f := range t.slots {
		if f != nil && !yield(f) {
			return
		}
	}
}
