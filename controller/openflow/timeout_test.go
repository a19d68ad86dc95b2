package openflow

import (
	"slices"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// TestHardTimeout: the switch itself removes a flow whose time is over, and no
// other.
func TestHardTimeout(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	stays, goes := flow.Flow{Table: 1, Priority: 1, Cookie: 1}, flow.Flow{Table: 1, Priority: 2, Cookie: 2}
	var mods []Mod
	for _, f := range []*flow.Flow{&stays, &goes} {
		e, err := Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		mods = append(mods, Mod{Op: Add, Flow: e})
	}
	mods[1].HardTimeout = 1
	if err := s.Apply(t.Context(), slices.Values(mods)); err != nil {
		t.Fatal(err)
	}
	read := func() (cookies []uint64) {
		if err := s.ReadFlows(t.Context(), 0, 0, func(st *Stat) error { cookies = append(cookies, st.Cookie); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(cookies)
		return cookies
	}
	if got := read(); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("%v", got)
	}
	for end := time.Now().Add(10 * time.Second); len(read()) > 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still there")
		}
	}
	if got := read(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v", got)
	}
}
