package policyfile

import "strings"

// nearest returns the field whose key is most like key, if any is like it.
func nearest(key string, fields []field) (field, bool) {
	if len(key) > 40 {
		return field{}, false
	}
	fold := strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	best, least := field{}, 1000
	for _, f := range fields {
		d := distance(fold, f.key)
		// The words of the field that are part of a key, or the other way round,
		// as in macaddress, vm_name or pas.
		if d > 1 && len(fold) > 1 && (strings.Contains(fold, f.key) || strings.Contains(f.key, fold)) {
			d = 1
		}
		if d < least {
			best, least = f, d
		}
	}
	return best, least <= max(1, len(best.key)/3)
}

// distance returns the number of octets to insert, delete or replace to make b
// of a, and of neighbours to swap (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
