package openflow

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// TestRoundTrip: what is applied is what is read back.
func TestRoundTrip(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	rapid.Check(t, func(rt *rapid.T) {
		want := distinct(rapid.SliceOfN(rapid.Custom(genFlow), 1, 20).Draw(rt, "flows"))
		if err := s.Apply(soon(t), adds(want)); err != nil {
			rt.Fatal(err)
		}
		var got []flow.Flow
		for _, st := range readAll(t, s) {
			if st.Unknown != "" {
				rt.Errorf("unknown flow %s: %s", st.Text(), st.Unknown)
			}
			got = append(got, st.Flow)
		}
		got = distinct(got)
		if len(got) != len(want) {
			rt.Errorf("applied %d flows, read back %d", len(want), len(got))
		}
		for i := range min(len(got), len(want)) {
			if !got[i].Equal(&want[i]) {
				rt.Errorf("applied\n%s\nread back\n%s", want[i].Text(), got[i].Text())
			}
		}
		if err := s.Apply(soon(t), deletes(want)); err != nil {
			rt.Fatal(err)
		}
		if left := readAll(t, s); len(left) != 0 {
			rt.Fatalf("%d flows left after deleting all, first %s", len(left), left[0].Text())
		}
	})
}
