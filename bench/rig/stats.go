package rig

import (
	"slices"
	"time"
)

// Median returns the middle one; of an even number, the greater of the two.
func Median[T float64 | time.Duration | uint64](v []T) T { return Quantile(v, 0.5) }

// Quantile returns the value that the share q (0 to 1) of all are at or below:
// with few values and q near 1, the greatest.
func Quantile[T float64 | time.Duration | uint64](v []T, q float64) T {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}
