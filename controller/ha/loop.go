package ha

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// state is what this controller does with a host.
type state int

const (
	idle     state = iota
	claiming       // a transaction is under way
	driving        // ours
	leaving        // the driver is being stopped, or the key being deleted
)

type holding struct {
	state  state
	tenure *Tenure // while driving
	queued bool    // to be handed over
}

// result is what a worker has come to.
type result struct {
	lease *lease
	won   []won    // claims that succeeded
	freed []freed  // hosts left
	tried []string // hosts whose claim did not succeed
	err   error
}

type won struct {
	host string
	rev  int64
	gen  uint64
}

// freed is a host that a worker has left; rev is that of the deletion of its
// key, 0: unknown.
type freed struct {
	host string
	rev  int64
}

// loop owns all that Group.Run decides by. It never waits for etcd or a driver:
// workers do.
type loop struct {
	g    *Group
	k    *keeper
	work context.Context // of the workers

	lease   *lease // nil: not a member
	frozen  bool
	closing bool

	members []string
	winners map[string]string
	hold    map[string]*holding
	dirty   map[string]bool
	all     bool // everything is dirty

	queue    []string             // to be handed over
	pacing   bool                 // the timer of the next hand-over runs
	air      map[string]time.Time // handed over since then, not seen with their next owners yet
	results  chan result
	busy     int           // workers that will send a result
	claims   chan struct{} // limits claims under way
	closers  chan struct{} // limits drivers being stopped at the end
	ending   chan struct{} // closed when closing begins
	resigned chan struct{} // closed when the others may know that this member goes
	workers  sync.WaitGroup

	deadline *time.Timer // the lease is no longer certain
	handover *time.Timer
	retry    *time.Timer
}

func newLoop(g *Group, work context.Context, k *keeper) *loop {
	l := &loop{
		g: g, k: k, work: work,
		winners: make(map[string]string), hold: make(map[string]*holding), dirty: make(map[string]bool), all: true, air: make(map[string]time.Time),
		results: make(chan result), claims: make(chan struct{}, 16), closers: make(chan struct{}, 2*maxAir), ending: make(chan struct{}), resigned: make(chan struct{}),
		deadline: time.NewTimer(0), handover: time.NewTimer(0), retry: time.NewTimer(0),
	}
	l.deadline.Stop()
	l.handover.Stop()
	l.retry.Stop()
	return l
}

// run decides until ctx has ended and all hosts are given up.
func (l *loop) run(ctx context.Context, leases <-chan leaseEvent, batches <-chan batch) {
	done := ctx.Done()
	for {
		select {
		case <-done:
			done = nil
			l.close()
		case e := <-leases:
			l.onLease(e)
		case b := <-batches:
			l.onBatch(b)
		case <-l.g.kick:
			l.all = true
		case r := <-l.results:
			l.busy--
			l.onResult(r)
		case <-l.deadline.C:
			// freeze looks at the lease itself: whatever came first, nothing is
			// decided by a lease that is not certain.
		case <-l.handover.C:
			l.pacing = false
			l.handOver()
		case <-l.retry.C:
			l.all = true
		}
		l.freeze()
		l.decide()
		if l.closing && l.busy == 0 {
			return
		}
	}
}

func (l *loop) onLease(e leaseEvent) {
	switch e.kind {
	case leaseJoined:
		l.lease, l.frozen, l.all = e.lease, false, true
		l.publish(e.lease)
		l.deadline.Reset(e.lease.left())
	case leaseRenewed, leaseRegained:
		if e.kind == leaseRegained && !l.frozen && !l.closing {
			// Who found a tenure invalid meanwhile waits to be told that it is not.
			l.halt()
		}
		left := e.lease.left()
		l.deadline.Reset(max(left, 0))
		if l.frozen && left > 0 {
			l.thaw()
		}
	case leaseLost:
		l.g.cfg.Log.Warn("the lease has run out: other controllers may have the hosts", "member", e.lease.member)
		l.deadline.Stop()
		l.lease = nil
		l.publish(nil)
		for host, h := range l.hold {
			h.queued = false
			if h.state == driving {
				l.leave(host, h, false)
			}
		}
		l.queue = nil
		clear(l.air)
	}
}

func (l *loop) publish(cur *lease) {
	l.g.mu.Lock()
	l.g.current = cur
	l.g.mu.Unlock()
}

// freeze stops all writing if the lease is no longer certain.
func (l *loop) freeze() {
	if l.frozen || l.closing || l.lease == nil || l.lease.left() > 0 {
		return
	}
	l.halt()
}

func (l *loop) halt() {
	l.frozen = true
	n := 0
	for _, h := range l.hold {
		if h.state == driving {
			l.g.cfg.Driver.Freeze(h.tenure)
			n++
		}
	}
	l.g.cfg.Log.Warn("etcd does not answer: changes are frozen, forwarding goes on", "hosts", n)
}

func (l *loop) thaw() {
	l.frozen, l.all = false, true
	for _, h := range l.hold {
		if h.state == driving {
			l.g.cfg.Driver.Thaw(h.tenure)
		}
	}
	l.g.cfg.Log.Info("etcd answers again: changes go on")
}

// onBatch takes in what the mirror saw.
func (l *loop) onBatch(b batch) {
	g := l.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.reset {
		l.all = true
		clear(g.members)
		for h, o := range g.owners {
			if o.seen < b.rev {
				delete(g.owners, h)
			}
		}
	}
	for _, e := range b.entries {
		kind, name, ok := strings.Cut(e.key, "/")
		if !ok {
			continue // the epoch
		}
		name, err := url.PathUnescape(name)
		if err != nil {
			continue // not written by us
		}
		switch kind {
		case "members":
			l.all = true
			if e.deleted {
				delete(g.members, name)
			} else {
				g.members[name] = e.rev
			}
		case "owners":
			if g.owners[name].seen > e.rev {
				continue // our own transactions told us more
			}
			o := ownership{seen: e.rev}
			if !e.deleted {
				o = ownership{member: string(e.value), lease: e.lease, rev: e.rev, seen: e.rev}
			}
			g.owners[name] = o
			l.dirty[name] = true
			if o.rev != 0 && (l.lease == nil || o.lease != l.lease.id) {
				delete(l.air, name)
			}
		}
	}
}

func (l *loop) onResult(r result) {
	same := r.lease == l.lease
	g := l.g
	g.mu.Lock()
	for _, w := range r.won {
		h := l.hold[w.host]
		h.state = idle
		l.dirty[w.host] = true
		if g.owners[w.host].seen <= w.rev {
			g.owners[w.host] = ownership{r.lease.member, r.lease.id, w.rev, w.rev}
		}
		// Otherwise the mirror has already seen it go again, or the lease is
		// not sure: then the key is found there, and claimed once more.
		if same && !l.frozen && !l.closing && r.lease.valid() && g.owners[w.host].rev == w.rev {
			h.state, h.tenure = driving, &Tenure{Host: w.host, Generation: w.gen, lease: r.lease, rev: w.rev}
		}
	}
	for _, f := range r.freed {
		l.hold[f.host].state = idle
		l.dirty[f.host] = true
		if f.rev != 0 && g.owners[f.host].seen < f.rev {
			g.owners[f.host] = ownership{seen: f.rev}
		}
	}
	for _, host := range r.tried {
		l.hold[host].state = idle
	}
	g.mu.Unlock()
	for _, w := range r.won {
		if h := l.hold[w.host]; h.state == driving {
			g.cfg.Driver.Acquire(h.tenure)
		}
	}
	if len(r.tried) > 0 {
		// Somebody was faster, and the mirror will tell, or etcd failed.
		if r.err != nil && same {
			g.cfg.Log.Info("claiming hosts failed; trying again", "hosts", len(r.tried), "error", r.err)
		}
		l.retry.Reset(50 * time.Millisecond)
	}
}

// decide looks at the hosts about which something has changed.
func (l *loop) decide() {
	if l.lease == nil || l.frozen || l.closing {
		return
	}
	var claim []claimItem
	l.g.mu.RLock()
	if l.all {
		l.all = false
		l.members = l.members[:0]
		for m := range l.g.members {
			l.members = append(l.members, m)
		}
		clear(l.winners)
		for host := range l.g.hosts {
			l.winners[host] = winner(host, l.members)
			l.dirty[host] = true
		}
		for host := range l.hold {
			l.dirty[host] = true
		}
		for host := range l.g.owners {
			l.dirty[host] = true
		}
	}
	var lost []string
	for host := range l.dirty {
		o := l.g.owners[host]
		mine := o.rev != 0 && o.lease == l.lease.id
		win := l.winners[host] // "": no such host, or no members are known yet
		belongs := win == l.lease.member
		elsewhere := !belongs && (win != "" || !l.g.hosts[host])
		h := l.hold[host]
		if h == nil {
			h = &holding{}
		}
		switch {
		case h.state == idle && belongs && (o.rev == 0 || mine):
			h.state = claiming
			claim = append(claim, claimItem{host, o.rev})
		case h.state == idle && mine && elsewhere, h.state == driving && mine && elsewhere:
			if !h.queued {
				h.queued = true
				l.queue = append(l.queue, host)
			}
		case h.state == driving && (!mine || o.rev != h.tenure.rev):
			lost = append(lost, host)
		}
		if h.state == idle && !h.queued {
			delete(l.hold, host)
		} else {
			l.hold[host] = h
		}
	}
	clear(l.dirty)
	l.g.mu.RUnlock()
	if len(lost) > 0 {
		l.g.cfg.Log.Warn("keys of hosts were changed by somebody else", "hosts", len(lost), "first", lost[0])
	}
	for _, host := range lost {
		l.leave(host, l.hold[host], false)
	}
	for c := range slices.Chunk(claim, maxBatch) {
		l.claim(c)
	}
	if len(l.queue) > 0 {
		l.pace()
	}
}

// pace starts the timer of the next hand-over, unless it runs.
func (l *loop) pace() {
	if !l.pacing {
		l.pacing = true
		l.handover.Reset(time.Second / time.Duration(l.g.cfg.HandoverRate))
	}
}

// maxAir is how many hosts are handed over at a time: so few that etcd and the
// next owners keep up, and none of them waits for the others without a driver.
const maxAir = 8

// handOver lets one host go.
func (l *loop) handOver() {
	for host, since := range l.air {
		// Its next owner may know nothing of it.
		if !l.g.hostWanted(host) || time.Since(since) > l.g.cfg.LoseTimeout+time.Second {
			delete(l.air, host)
		}
	}
	if len(l.air) >= maxAir {
		return // the timer goes on
	}
	for len(l.queue) > 0 && l.lease != nil && !l.frozen && !l.closing {
		host := l.queue[0]
		l.queue = l.queue[1:]
		h := l.hold[host]
		if h == nil || !h.queued {
			continue
		}
		h.queued = false
		if h.state == claiming || h.state == leaving || l.winners[host] == l.lease.member {
			l.dirty[host] = true // it belongs here again, or is on its way
			continue
		}
		l.leave(host, h, true)
		l.air[host] = time.Now()
		break
	}
}

// close begins the end: the others see that this member goes, and take each host
// as it becomes free.
func (l *loop) close() {
	l.closing = true
	close(l.ending)
	l.deadline.Stop()
	if l.lease == nil {
		close(l.resigned)
	} else {
		cur := l.lease
		l.busy++
		l.workers.Go(func() {
			l.k.resign(l.work, cur)
			close(l.resigned)
			l.send(result{lease: cur})
		})
	}
	for host, h := range l.hold {
		h.queued = false
		if h.state == driving {
			l.leave(host, h, l.lease != nil && !l.frozen)
		}
	}
}
