package controller

import (
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
)

// What a summary says nothing of is not installed.
func TestSummaryOfAttachments(t *testing.T) {
	s := summary{AsOf: 10, Open: []openAttachment{{IfaceID: "b"}, {IfaceID: "d", Installed: true, Problem: "odd"}}}
	full := s
	full.More = true
	for _, c := range []struct {
		what      string
		in        summary
		id        string
		revision  int64
		installed bool
		problem   string
	}{
		{"not named", s, "a", 10, true, ""},
		{"named", s, "b", 10, false, ""},
		{"with a problem", s, "d", 9, true, "odd"},
		{"newer", s, "c", 11, false, ""},
		{"plugged in again", s, "d", 11, false, "odd"},
		{"after the last that found room", full, "e", 5, false, ""},
		{"before it", full, "c", 5, true, ""},
		{"nothing was told", summary{More: true}, "a", 5, false, ""},
	} {
		installed, problem := c.in.of(ha.Attachment{InterfaceID: c.id, Revision: c.revision})
		if installed != c.installed || problem != c.problem {
			t.Errorf("%s: %v, %q", c.what, installed, problem)
		}
	}
}

func TestShortened(t *testing.T) {
	long := ""
	for len(long) < longestText-1 {
		long += "a"
	}
	if got := shortened(long + "é"); got != long+"…" {
		t.Errorf("%q", got)
	}
	if got := shortened("short"); got != "short" {
		t.Errorf("%q", got)
	}
}
