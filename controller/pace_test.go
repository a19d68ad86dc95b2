package controller

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	// Changes one by one, each for 10 hosts, 500 a second: none waits.
	for range 2000 {
		if d := p.pause(now); d != 0 {
			t.Fatalf("a single change waits %s", d)
		}
		p.spend(10, now)
		now = now.Add(2 * time.Millisecond)
	}
	// Each turn changes all of 1,000 hosts: they come to wait, and not for long.
	turns, waited := 0, time.Duration(0)
	for begin := now; now.Sub(begin) < 10*time.Second; turns++ {
		d := p.pause(now)
		if d > paceLimit {
			t.Fatalf("waits %s", d)
		}
		waited += d
		now = now.Add(d)
		p.spend(1000, now)
		now = now.Add(30 * time.Millisecond) // the turn
	}
	if turns > 120 || turns < 90 {
		t.Errorf("%d turns in 10 s, %s of it waiting", turns, waited)
	}
	// Then all is as it was.
	now = now.Add(time.Second)
	if d := p.pause(now); d != 0 {
		t.Errorf("waits %s after a second of rest", d)
	}
}
