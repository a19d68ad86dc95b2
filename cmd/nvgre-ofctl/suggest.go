package main

import (
	"fmt"
	"slices"
	"strings"
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
		if a, b := strings.ToLower(text), strings.ToLower(n); distance(a, b) <= max(1, len(text)/4) ||
			len(a) > 1 && (strings.HasPrefix(b, a) || strings.HasPrefix(a, b)) {
			near = append(near, n)
		}
	}
	if len(names) > mostNames && len(near) > 0 {
		slices.SortStableFunc(near, func(a, b string) int { return distance(text, a) - distance(text, b) })
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

// distance is how many octets must be inserted, removed or replaced to make b
// of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
