package rig

import "testing"

// Scope is a test or benchmark whose cleanups run at [Scope.End], and not at the
// end of the whole: what one round started is gone when the next begins.
type Scope struct {
	testing.TB
	cleanups []func()
}

// NewScope returns a scope within tb. Defer its End.
func NewScope(tb testing.TB) *Scope { return &Scope{TB: tb} }

// Cleanup implements [testing.TB].
func (s *Scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }

// End runs the cleanups, the last first.
func (s *Scope) End() {
	for len(s.cleanups) > 0 {
		last := len(s.cleanups) - 1
		f := s.cleanups[last]
		s.cleanups = s.cleanups[:last]
		f()
	}
}
