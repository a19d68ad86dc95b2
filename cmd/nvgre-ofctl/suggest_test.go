package main

import (
	"fmt"
	"testing"
)

func TestWantOne(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("rack1-host%02d", i))
	}
	for _, c := range []struct {
		text  string
		names []string
		want  string
	}{
		{"h9", []string{"h1", "h2"}, "want one of h1, h2"},
		{"h9", nil, "there is none"},
		{"rack1-hots07", many, "did you mean rack1-host07 or rack1-host00 or rack1-host01?"},
		{"rack1-host7", many, "did you mean rack1-host07 or rack1-host17 or rack1-host27?"},
		{"db1", many, "want one of rack1-host00, rack1-host01, rack1-host02, rack1-host03, rack1-host04, rack1-host05, rack1-host06, rack1-host07, rack1-host08, rack1-host09 and 20 more"},
	} {
		if got := wantOne(c.text, c.names); got != c.want {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}
