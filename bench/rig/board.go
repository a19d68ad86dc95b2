package rig

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Board remembers when each thing that was waited for came true.
type Board struct {
	mu   sync.Mutex
	at   map[string]time.Time
	wake chan struct{} // closed, and replaced, at the next note
}

// NewBoard returns an empty board.
func NewBoard() *Board { return &Board{at: map[string]time.Time{}, wake: make(chan struct{})} }

// Note notes that a thing is true since now; only the first time counts.
func (b *Board) Note(thing string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.at[thing]; ok {
		return
	}
	b.at[thing] = time.Now()
	close(b.wake)
	b.wake = make(chan struct{})
}

// Wait waits until all things are true and returns when the last came true.
func (b *Board) Wait(ctx context.Context, things ...string) (last time.Time, err error) {
	for i := 0; i < len(things); {
		b.mu.Lock()
		at, ok := b.at[things[i]]
		wake := b.wake
		b.mu.Unlock()
		if ok {
			if at.After(last) {
				last = at
			}
			i++
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return last, fmt.Errorf("waiting for %s, and %d more: %w", things[i], len(things)-i-1, context.Cause(ctx))
		}
	}
	return last, nil
}
