package controller

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Options are what a daemon needs besides its settings.
type Options struct {
	Version string
	Log     *slog.Logger
	// Reload, if not nil, makes the policy be read again for each value.
	Reload <-chan struct{}
}

// Controller is one daemon.
type Controller struct {
	settings *settings.Settings
	opts     Options
	log      *slog.Logger
	tls      *tls.Config // nil: none
	started  time.Time
	clock    clock // the watcher's and the loop's, under clockMu
	clockMu  sync.Mutex
	registry *prometheus.Registry
	metrics  *metrics
	inbox    *inbox
	turned   turned // when the loop last did
	namers   namers
	drift    driftRing
	gossip   *gossip

	inForce atomic.Pointer[inForce]

	// The loop alone changes what follows, holding mu; so it reads without.
	mu        sync.Mutex
	file      *fileBackend // nil: policy lives in store
	store     *store.Store // nil, as group and board are: policy lives in the file
	group     *ha.Group
	board     *ha.Board
	policy    *tenant.Policy
	vms       vmCount
	told      *tenant.Policy // the one that the drivers have been told of
	news      policyNews     // the last attempt to read the policy
	loaded    time.Time      // when policy was
	hosts     map[string]*host
	problems  []string           // with the policy and the settings as a whole
	schemas   ovsdb.Schemas      // of the hosts' databases
	reachable map[string]address // hosts of the policy that somebody says how to reach
	graceOver bool

	// They never change.
	configured map[string]settings.Host // the settings' hosts by name
	tableNames map[uint8]string

	// The loop's own.
	engine *calc.Engine
	pace   pace
	waits  *waits
	used   uint64 // the last revision given to a driver
	keeps  bool   // drivers were told to keep flows of unplaced VMs
	// owned has the hosts that are this daemon's to drive; nil: all are, with
	// the fencing generation.
	owned      map[string]*ha.Tenure
	generation uint64
	ending     map[string]chan struct{} // hosts let go that the group has not asked for yet
	strides    strides
	boardRead  bool           // what other controllers see is known
	stopping   sync.WaitGroup // hosts that come to their end
}

// New returns a daemon that does nothing before [Controller.Run].
func New(s *settings.Settings, o Options) (*Controller, error) {
	c := &Controller{
		settings: s, opts: o, log: o.Log, started: time.Now(), hosts: map[string]*host{},
		tableNames: flows.TableNames(), inbox: newInbox(), registry: prometheus.NewRegistry(), gossip: newGossip(), clock: clock{now: time.Now},
		engine: calc.New(calc.Options{Linger: s.Linger > 0, Punts: flows.PuntLimit{Rate: s.PuntRate, Burst: s.PuntBurst}}), waits: newWaits(),
	}
	c.configured = make(map[string]settings.Host, len(s.Hosts))
	for _, h := range s.Hosts {
		c.configured[h.Name] = h
	}
	if !s.TLS.IsZero() {
		var err error
		if c.tls, err = ovsaddr.LoadTLS(s.TLS.CA, s.TLS.Certificate, s.TLS.PrivateKey); err != nil {
			return nil, fmt.Errorf("settings: tls: %w", err)
		}
	}
	if s.Role == settings.Master {
		c.generation = fileGeneration(c.started)
	}
	c.metrics = newMetrics(c)
	return c, nil
}

// fileGeneration makes a later daemon win over an earlier one (OpenFlow 1.3.5
// section 6.3.6), and over one that got its generations from the store, which
// counts from an earlier time in the same unit.
func fileGeneration(t time.Time) uint64 { return uint64(t.UnixMilli()) << 20 }

func (c *Controller) nextRevision() uint64 {
	c.clockMu.Lock()
	defer c.clockMu.Unlock()
	return c.clock.next()
}

// policyPoll is how often the policy file is looked at without being notified.
const policyPoll = 2 * time.Second

// Run drives the hosts until ctx ends. It returns nil then, with every
// connection closed and every flow where it was.
func (c *Controller) Run(ctx context.Context) error {
	server, err := admin.Listen(c.settings.AdminSocket, c, c.registry)
	if err != nil {
		return err
	}
	for _, w := range c.settings.Warnings {
		c.log.Warn("settings", "warning", w)
	}
	from := cmp.Or(c.settings.Policy, "the store")
	c.log.Info("controller starts", "version", c.opts.Version, "pid", os.Getpid(), "policy", from, "admin-socket", c.settings.AdminSocket)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	// What ends on its own takes the daemon with it: half of one helps nobody.
	run := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	run(server.Run)
	src, end, err := c.openSource(ctx, run)
	if err == nil {
		err = c.serveAPI(run)
	}
	if err != nil {
		cancel(err)
	}
	news := make(chan policyNews)
	if err == nil {
		run(func(ctx context.Context) error {
			return src.run(ctx, func(n policyNews) {
				select {
				case news <- n:
				case <-ctx.Done():
				}
			})
		})
		c.loop(ctx, news)
	}
	for _, h := range c.hosts {
		h.end() // all at once, then wait
	}
	for _, h := range c.hosts {
		h.stop()
	}
	c.stopping.Wait()
	c.inbox.end()
	wg.Wait()
	end()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	c.log.Info("controller ends; the switches keep their flows")
	return nil
}

// dialTimeout bounds how long a host may take to accept a connection.
const dialTimeout = 10 * time.Second

// Dial opens an OpenFlow session to the bridge at ep. The session lives until
// ctx ends.
func Dial(ctx context.Context, ep ovsaddr.Endpoint, conf *tls.Config, log *slog.Logger) (*openflow.Session, error) {
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := ep.Dial(limited, conf)
	if err != nil {
		return nil, err
	}
	return openflow.NewSession(ctx, conn, openflow.Options{Log: log})
}

// namers names the owners of flows in the words of the policy in force. To
// index a large policy takes seconds, and is done when a flow has to be named.
type namers struct {
	mu     sync.Mutex
	policy *tenant.Policy
	namer  *flows.Namer
}

// use makes p the policy in force.
func (n *namers) use(p *tenant.Policy) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.policy, n.namer = p, nil
}

func (n *namers) get() *flows.Namer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.namer == nil {
		n.namer = flows.NewNamer(n.policy, nil)
	}
	return n.namer
}

func (n *namers) ownerText(cookie uint64) string { return n.get().OwnerText(cookie) }
