package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/spelling"
)

// mostNames is how many names a message lists, and mostGuesses how many guesses
// it makes.
const mostNames, mostGuesses = 10, 3

// wantOne tells which names there are where text is none of them: those that
// somebody may have meant, else the first of all. names is sorted.
func wantOne(text string, names []string) string {
	if len(names) == 0 {
		return "there is none"
	}
	var near []string
	for _, n := range names {
		if a, b := strings.ToLower(text), strings.ToLower(n); spelling.Distance(a, b) <= max(1, len(text)/4) ||
			len(a) > 1 && (strings.HasPrefix(b, a) || strings.HasPrefix(a, b)) {
			near = append(near, n)
		}
	}
	if len(names) > mostNames && len(near) > 0 {
		slices.SortStableFunc(near, func(a, b string) int { return spelling.Distance(text, a) - spelling.Distance(text, b) })
		return "did you mean " + strings.Join(near[:min(len(near), mostGuesses)], " or ") + "?"
	}
	return "want one of " + shortList(names)
}

// shortList joins the first of many names.
func shortList(names []string) string {
	if more := len(names) - mostNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), more)
	}
	return strings.Join(names, ", ")
}
