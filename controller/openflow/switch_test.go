package openflow

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// TestRoundTrip: what is applied is what is read back.
func TestRoundTrip(t *testing.T) {
	sw := bridge(t)
	addGroups(t, sw)
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
		n := 0
		if err := s.ReadEncoded(soon(t), AllTables, 0, 0, func(e *Entry) error {
			n++
			i, found := slices.BinarySearchFunc(want, Encoded(e.Octets), func(f flow.Flow, e Encoded) int {
				g, _ := e.Decode()
				return flow.Compare(&f, &g)
			})
			if !found || enc(&want[i]) != Encoded(e.Octets) || string(e.Key()) != enc(&want[i]).Entry() || e.Cookie() != want[i].Cookie {
				rt.Errorf("read %s", Encoded(e.Octets).Text())
			}
			return nil
		}); err != nil || n != len(want) {
			rt.Errorf("%d flows encoded: %v", n, err)
		}
		if err := s.Apply(soon(t), deletes(want)); err != nil {
			rt.Fatal(err)
		}
		if left := readAll(t, s); len(left) != 0 {
			rt.Fatalf("%d flows left after deleting all, first %s", len(left), left[0].Text())
		}
	})
}

// TestReadOfOneTable: of other tables nothing is read, and odd flows are told.
func TestReadOfOneTable(t *testing.T) {
	sw := bridge(t)
	s := connect(t, sw, Options{})
	if err := s.Apply(soon(t), adds(append(caFlows(10), flow.Flow{Table: 253, Cookie: 7}, flow.Flow{Table: 253, Cookie: 8, Priority: 1}))); err != nil {
		t.Fatal(err)
	}
	if _, err := sw.Ofctl(t.Context(), "add-flow", "br-int", "table=253,priority=2,cookie=0x7,idle_timeout=900,actions=drop"); err != nil {
		t.Fatal(err)
	}
	var plain, odd int
	err := s.ReadEncoded(soon(t), 253, 7, 0xf, func(e *Entry) error {
		switch {
		case e.Odd != nil:
			if odd++; e.Odd.Unknown == "" || e.Cookie() != 7 || e.Octets != nil {
				t.Errorf("%+v", e.Odd)
			}
		case Encoded(e.Octets) != enc(&flow.Flow{Table: 253, Cookie: 7}):
			t.Errorf("read %s", Encoded(e.Octets).Text())
		default:
			plain++
		}
		return nil
	})
	if err != nil || plain != 1 || odd != 1 {
		t.Errorf("%d plain and %d odd flows, %v", plain, odd, err)
	}
}
