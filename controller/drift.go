package controller

import (
	"slices"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
)

// maxDrift is how many differences the daemon remembers.
const maxDrift = 200

// driftRing holds the last differences that others made on the hosts.
type driftRing struct {
	mu  sync.Mutex
	all []admin.Drift // oldest first
}

// add notes one. Drivers call it at the same time.
func (r *driftRing) add(host string, d reconcile.Drift) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) >= maxDrift {
		r.all = slices.Delete(r.all, 0, len(r.all)-maxDrift+1)
	}
	r.all = append(r.all, admin.Drift{Time: d.Time, Host: host, Kind: string(d.Kind), Flow: d.Flow, Owner: d.Owner, Note: d.Note,
		RepairedSeconds: d.Repaired.Seconds(), More: d.More})
}

func (r *driftRing) list() []admin.Drift {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]admin.Drift{}, r.all...)
}
