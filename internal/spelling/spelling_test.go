package spelling_test

import (
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/spelling"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"host", "host", 0}, {"", "abc", 3}, {"abc", "", 3},
		{"vsid", "vsdi", 1}, {"hosts", "host", 1}, {"mac", "mec", 1}, {"kitten", "sitting", 3}, {"ab", "cd", 2},
	} {
		if got := spelling.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := spelling.Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
