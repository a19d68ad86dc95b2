package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
)

func TestGuardedWrites(t *testing.T) {
	var may atomic.Bool
	h := &host{mayWrite: may.Load}
	err := h.guard(t.Context(), func(context.Context) error { t.Error("written while frozen"); return nil })
	if !errors.Is(err, errFrozen) {
		t.Errorf("frozen: %v", err)
	}
	may.Store(true)
	if err := h.guard(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	want := errors.New("refused")
	if err := h.guard(t.Context(), func(context.Context) error { return want }); !errors.Is(err, want) {
		t.Errorf("%v, want the write's own error", err)
	}
	// One that is under way when the lease gets uncertain is given up.
	err = h.guard(t.Context(), func(ctx context.Context) error {
		may.Store(false)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return errors.New("it goes on")
		}
	})
	if !errors.Is(err, errFrozen) {
		t.Errorf("frozen while writing: %v", err)
	}
}

// progressOf makes a controller of hosts that have confirmed these revisions of 10,
// 20 and 30, where the last is wanted everywhere.
func progressOf(confirmed ...uint64) *Controller {
	c := &Controller{hosts: map[string]*host{}, owned: map[string]*ha.Tenure{}}
	for i, r := range []uint64{10, 20, 30} {
		c.strides.board = int64(i + 1)
		c.strides.compiled(100*uint64(i+1), r)
	}
	for i, r := range confirmed {
		name := fmt.Sprintf("h%03d", i)
		c.owned[name] = &ha.Tenure{Host: name}
		c.hosts[name] = &host{name: name, confirmed: r, desired: &reconcile.Desired{Revision: 30}}
	}
	return c
}

func TestProgress(t *testing.T) {
	last, middle := reach{300, 3}, reach{200, 2}
	c := progressOf(30, 30, 30)
	if p := c.progressNow(maxBehind); p.reach != last || len(p.Behind) > 0 {
		t.Errorf("all are there: %+v", p)
	}
	c = progressOf(30, 20, 5)
	p := c.progressNow(maxBehind)
	if p.reach != last || len(p.Behind) != 2 || p.Behind[0].reach != (reach{}) || p.Behind[1].reach != middle {
		t.Errorf("one lags and one has nothing: %+v", p)
	}
	// It survives its way through the store.
	data, err := json.Marshal(p)
	var back progress
	if err != nil || json.Unmarshal(data, &back) != nil || fmt.Sprint(back) != fmt.Sprint(p) {
		t.Errorf("%s: %+v, %v", data, back, err)
	}
	// What cannot be named takes the whole back.
	if p := c.progressNow(1); p.reach != middle || len(p.Behind) != 1 {
		t.Errorf("only one may be named: %+v", p)
	}
	// A host keeps what it had confirmed when more is wanted of it.
	c = progressOf(30)
	c.progressNow(maxBehind)
	c.strides.board = 4
	c.strides.compiled(400, 40)
	c.hosts["h000"].desired = &reconcile.Desired{Revision: 40}
	if p := c.progressNow(maxBehind); p.reach != last {
		t.Errorf("it was at 300: %+v", p)
	}
	// One that was not concerned has the new state at once.
	c.hosts["h000"].desired = &reconcile.Desired{Revision: 30}
	if p := c.progressNow(maxBehind); p.reach != (reach{400, 4}) {
		t.Errorf("nothing new is wanted of it: %+v", p)
	}
	// Refusals that cannot be told make nothing certain.
	c = progressOf(30, 30)
	c.hosts["h000"].refused = map[string]bool{"blue/web1": true}
	if p := c.progressNow(maxBehind); p.reach != last || len(p.Behind) != 1 || p.Behind[0].Refused[0] != "blue/web1" {
		t.Errorf("a refusal: %+v", p)
	}
	if p := c.progressNow(0); p.reach != (reach{}) {
		t.Errorf("a refusal that is not told: %+v", p)
	}
}
