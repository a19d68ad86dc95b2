package ha

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DefaultTTL is the time of a member's lease where none is set.
const DefaultTTL = 2 * time.Second

// Config says how a controller takes part.
type Config struct {
	// Client is a connection to etcd, which the caller closes after [Group.Run]
	// has returned. Its connections should come back fast: see [ClientConfig].
	Client *clientv3.Client
	// Prefix of all keys, ending in a slash.
	Prefix string
	// Name of this controller, which should outlive its restarts: hosts are
	// shared out by it. No other controller may have the same; one that does gets
	// a random suffix.
	Name string
	// TTL is how long a controller that is not heard of keeps its hosts: whole
	// seconds, at least 1 s; 0: [DefaultTTL]. etcd may grant more; see the
	// package's text.
	TTL time.Duration
	// HandoverRate is how many hosts a second, at most, this controller hands
	// over to others while it goes on itself; 0: 200. No more than 8 at a time
	// are without an owner.
	HandoverRate int
	// LoseTimeout is how long a driver may take to stop before its context ends;
	// 0: 5 s.
	LoseTimeout time.Duration
	// Driver is told which hosts to drive.
	Driver Driver
	Log    *slog.Logger // nil: no log
}

// Driver drives hosts as a [Group] tells it. For one host the calls come one
// after the other: Acquire, then any number of pairs of Freeze and Thaw, then
// Lose, also while it is frozen. Calls for different hosts may run at the same
// time.
type Driver interface {
	// Acquire: the host is ours. It must start driving it and return at once.
	Acquire(t *Tenure)
	// Lose: the host is ours no longer. It must return when nothing will be
	// written to it any more, at the latest soon after ctx ends: only then may
	// another controller have it.
	Lose(ctx context.Context, t *Tenure)
	// Freeze: write nothing until Thaw or Lose; keep sessions and flows. It must
	// return at once.
	Freeze(t *Tenure)
	// Thaw: go on. It must return at once.
	Thaw(t *Tenure)
}

// Tenure is one time of driving a host.
type Tenure struct {
	Host string
	// Generation for the OpenFlow role: greater than that of any tenure of the
	// same host before.
	Generation uint64

	lease *lease
	rev   int64 // of the claim
	over  atomic.Bool
}

// Valid tells whether the host may be written to now: the lease certainly
// lives. It looks at the clock only, so it may be asked before every write. It
// becomes true again after a freeze that ends well, and never after Lose.
func (t *Tenure) Valid() bool { return !t.over.Load() && t.lease.valid() }

// Owner is who drives a host.
type Owner struct {
	Member   string
	Revision int64 // of etcd, of the claim
}

type keys struct{ group, members, owners, epoch, board, attachments, status, progress string }

func newKeys(prefix string) keys {
	g := prefix + "group/"
	return keys{
		group: g, members: g + "members/", owners: g + "owners/", epoch: g + "epoch",
		board: prefix + "board/", attachments: prefix + "board/attachments/", status: prefix + "board/status/", progress: prefix + "board/progress/",
	}
}

func (k keys) member(name string) string { return k.members + url.PathEscape(name) }
func (k keys) owner(host string) string  { return k.owners + url.PathEscape(host) }

// ownership is an owner key as last seen.
type ownership struct {
	member string
	lease  clientv3.LeaseID
	rev    int64 // as etcd compares it; 0: there is no such key
	seen   int64 // the revision of this knowledge
}

// Group is one controller's part in sharing out the hosts.
type Group struct {
	cfg      Config
	keys     keys
	instance string

	kick  chan struct{} // the hosts have changed
	ready chan struct{} // closed when they have been set

	mu      sync.RWMutex
	hosts   map[string]bool // replaced as a whole; nil: not set yet
	members map[string]int64
	owners  map[string]ownership
	current *lease // nil: not a member
}

// New checks the configuration and makes a member that takes part during
// [Group.Run].
func New(cfg Config) (*Group, error) {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.HandoverRate == 0 {
		cfg.HandoverRate = 200
	}
	if cfg.LoseTimeout == 0 {
		cfg.LoseTimeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.Client == nil || cfg.Driver == nil:
		return nil, errors.New("ha: a client and a driver are needed")
	case cfg.Name == "":
		return nil, errors.New("ha: the controller has no name")
	case !strings.HasSuffix(cfg.Prefix, "/"):
		return nil, fmt.Errorf("ha: the prefix %q does not end in a slash", cfg.Prefix)
	case cfg.TTL < time.Second || cfg.TTL%time.Second != 0:
		return nil, fmt.Errorf("ha: the lease time %v is not a whole number of seconds, at least 1", cfg.TTL)
	case cfg.HandoverRate < 0 || cfg.HandoverRate > 100_000 || cfg.LoseTimeout < 0:
		return nil, errors.New("ha: a rate or a time is out of its range")
	}
	return &Group{
		cfg: cfg, keys: newKeys(cfg.Prefix), instance: rand.Text()[:8],
		kick: make(chan struct{}, 1), ready: make(chan struct{}),
		members: make(map[string]int64), owners: make(map[string]ownership),
	}, nil
}

// SetHosts says which hosts there are. The controller becomes a member after
// the first call; hosts that are no longer named are lost.
func (g *Group) SetHosts(hosts []string) {
	m := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		m[h] = true
	}
	g.mu.Lock()
	first := g.hosts == nil
	same := !first && maps.Equal(m, g.hosts)
	g.hosts = m
	g.mu.Unlock()
	if first {
		close(g.ready)
	}
	if !same {
		notify(g.kick)
	}
}

// Members returns the names of the controllers that live, sorted.
func (g *Group) Members() []string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return slices.Sorted(maps.Keys(g.members))
}

// Owners returns who drives each host, as far as is known.
func (g *Group) Owners() map[string]Owner {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := make(map[string]Owner, len(g.owners))
	for h, o := range g.owners {
		if o.rev != 0 {
			m[h] = Owner{o.member, o.rev}
		}
	}
	return m
}

// Self describes this controller's own part.
type Self struct {
	Member string        // "": not a member now
	TTL    time.Duration // as etcd granted it
	Frozen bool          // etcd does not answer: nothing is written
}

// Self returns this controller's part now.
func (g *Group) Self() Self {
	l := g.lease()
	if l == nil {
		return Self{}
	}
	return Self{Member: l.member, TTL: l.ttl, Frozen: !l.valid()}
}

func (g *Group) hostWanted(host string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.hosts[host]
}

func (g *Group) lease() *lease {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.current
}

// Run takes part until ctx ends; then it hands over all hosts, awaiting their
// drivers, gives its lease back and returns nil. It may be called once.
func (g *Group) Run(ctx context.Context) error {
	select {
	case <-g.ready:
	case <-ctx.Done():
		return nil
	}
	// What runs beside the loop lives until the loop has given up all hosts.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	leases, batches := make(chan leaseEvent), make(chan batch)
	k := newKeeper(&g.cfg, g.keys, g.instance, leases)
	var wg sync.WaitGroup
	wg.Go(func() { k.run(work, ctx.Done()) })
	wg.Go(func() {
		mirror(work, g.cfg.Client, g.keys.group, g.cfg.Log, func(b batch) {
			select {
			case batches <- b:
			case <-work.Done():
			}
		})
	})
	l := newLoop(g, work, k)
	l.run(ctx, leases, batches)
	stop()
	wg.Wait()
	l.workers.Wait()
	if cur := g.lease(); cur != nil {
		k.revoke(ctx, cur)
	}
	g.mu.Lock()
	g.current = nil
	g.mu.Unlock()
	return nil
}

// notify fills a channel of capacity 1: one note is as good as many.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
