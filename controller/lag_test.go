package controller

import (
	"testing"
	"time"
)

func TestLag(t *testing.T) {
	var l lag
	now := time.Now()
	if got := l.seconds(now); got != 0 {
		t.Errorf("nothing is wanted: %v", got)
	}
	l.begin(now)
	l.begin(now.Add(time.Second)) // counts from the first
	if got := l.seconds(now.Add(3 * time.Second)); got != 3 {
		t.Errorf("behind for %v s, want 3", got)
	}
	l.end()
	if got := l.seconds(now.Add(4 * time.Second)); got != 0 {
		t.Errorf("after all is confirmed: %v", got)
	}
}
