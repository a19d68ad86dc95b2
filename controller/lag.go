package controller

import (
	"sync/atomic"
	"time"
)

// lag is for how long a host has not held all that is wanted of it.
type lag struct{ since atomic.Int64 } // Unix nanoseconds; 0: it holds all

// begin notes that something is wanted; what is wanted in addition changes nothing.
func (l *lag) begin(now time.Time) { l.since.CompareAndSwap(0, now.UnixNano()) }

// end notes that the host holds all.
func (l *lag) end() { l.since.Store(0) }

// seconds returns how long that has been so.
func (l *lag) seconds(now time.Time) float64 {
	if since := l.since.Load(); since != 0 {
		return max(now.Sub(time.Unix(0, since)), 0).Seconds()
	}
	return 0
}
