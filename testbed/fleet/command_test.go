package fleet

import (
	"strings"
	"testing"
	"time"
)

func TestCommand(t *testing.T) {
	f := start(t, Options{Plan: small})
	h := f.Host(0)
	var vm string
	for d := range f.Layout().DomainsOf(0) {
		for r := range f.Layout().RecordsOn(0, d) {
			vm = f.Layout().Record(r).VM
		}
	}
	for _, c := range []struct {
		line, fails string
		ok          func() bool
	}{
		{"", "", nil},
		{"help", "", nil},
		{"nonsense", "say help", nil},
		{"stall", "say help", nil},
		{"stall h1 now", "say help", nil},
		{"stall h0", "want h1 to h6", nil},
		{"stall h7", "want h1 to h6", nil},
		{"stall h01", "want h1 to h6", nil},
		{"stall h1", "", func() bool { return h.sw.Faults().Stalled }},
		{"slow h1 5ms", "", func() bool { return !h.sw.Faults().Stalled && h.sw.Faults().MessageDelay == 5*time.Millisecond }},
		{"slow h1 soon", "want one such as", nil},
		{"good all", "", func() bool { return h.sw.Faults().MessageDelay == 0 }},
		{"refuse h1", "", func() bool { return !connects(t, h.OpenFlow()) }},
		{"accept h1", "", func() bool { return connects(t, h.OpenFlow()) }},
		{"drop all", "", nil},
		{"restart h1", "", func() bool { return h.sw.Snapshot().Epoch == 1 }},
		{"restart h1 keep", "", func() bool { return h.sw.Snapshot().Epoch == 2 }},
		{"restart h1 all", "say help", nil},
		{"attach " + vm, "", func() bool { return len(h.Attachments()) == 1 }},
		{"attach", "say help", nil},
		{"attach vm120 web1", "want vm0 to vm119", nil},
		{"detach " + vm, "", func() bool { return len(h.Attachments()) == 0 }},
	} {
		_, err := f.Command(c.line)
		switch {
		case c.fails == "" && err != nil, c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
			t.Errorf("%q: got %v, want %q", c.line, err, c.fails)
		case c.ok != nil && !c.ok():
			t.Errorf("%q had no effect", c.line)
		}
	}
}
