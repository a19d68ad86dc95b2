package controller

import (
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
)

// TestDriftRing: the last of it is kept.
func TestDriftRing(t *testing.T) {
	var r driftRing
	for i := range maxDrift + 5 {
		r.add("h1", reconcile.Drift{Repaired: time.Duration(i) * time.Second})
	}
	if all := r.list(); len(all) != maxDrift || all[0].RepairedSeconds != 5 {
		t.Errorf("%d kept, the first %+v", len(all), all[0])
	}
}
