package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
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
	settings   *settings.Settings
	opts       Options
	log        *slog.Logger
	tls        *tls.Config // nil: none
	started    time.Time
	generation uint64
	clock      clock // the watcher's and the loop's, under clockMu
	clockMu    sync.Mutex
	registry   *prometheus.Registry
	metrics    *metrics
	wake       chan struct{} // capacity 1
	turned     turned        // when the loop last did

	// The loop alone changes what follows, holding mu; so it reads without.
	mu        sync.Mutex
	policy    *tenant.Policy
	namer     *flows.Namer
	news      policyNews // the last attempt to read the policy
	loaded    time.Time  // when policy was
	hosts     map[string]*host
	problems  []string // with the policy and the settings as a whole
	placing   []flows.Problem
	compiler  *flows.Compiler
	placement flows.Placement // of compiler
	digests   map[tenant.RDID]uint64
	used      uint64 // the last revision given to a driver
	graceOver bool
}

// New returns a daemon that does nothing before [Controller.Run].
func New(s *settings.Settings, o Options) (*Controller, error) {
	if s.Policy == "" {
		return nil, errors.New("no policy file is set: give the setting policy, or --policy FILE")
	}
	c := &Controller{
		settings: s, opts: o, log: o.Log, started: time.Now(), hosts: map[string]*host{},
		wake: make(chan struct{}, 1), registry: prometheus.NewRegistry(), clock: clock{now: time.Now},
	}
	if !s.TLS.IsZero() {
		var err error
		if c.tls, err = ovsaddr.LoadTLS(s.TLS.CA, s.TLS.Certificate, s.TLS.PrivateKey); err != nil {
			return nil, fmt.Errorf("settings: tls: %w", err)
		}
	}
	if s.Role == settings.Master {
		// A later daemon wins over an earlier one (OpenFlow 1.3.5 section 6.3.6).
		c.generation = uint64(c.started.UnixMilli())
	}
	c.metrics = newMetrics(c)
	return c, nil
}

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
	c.log.Info("controller starts", "version", c.opts.Version, "pid", os.Getpid(), "policy", c.settings.Policy, "admin-socket", c.settings.AdminSocket)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Run(ctx); err != nil {
			cancel(err) // without its window a daemon cannot be watched: end
		}
	})
	news := make(chan policyNews)
	w := &policyWatcher{
		file: c.settings.Policy, settle: c.settings.PolicySettle, poll: policyPoll,
		reload: c.opts.Reload, revision: c.nextRevision, log: c.log,
	}
	wg.Go(func() {
		_ = w.run(ctx, func(n policyNews) { // it ends with ctx only
			select {
			case news <- n:
			case <-ctx.Done():
			}
		})
	})
	c.loop(ctx, news)
	for _, h := range c.hosts {
		h.end() // all at once, then wait
	}
	for _, h := range c.hosts {
		h.stop()
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	c.log.Info("controller ends; the switches keep their flows")
	return nil
}

// heartbeat is how often the loop turns at least.
const heartbeat = 5 * time.Second

// loop makes every decision of the daemon.
func (c *Controller) loop(ctx context.Context, news <-chan policyNews) {
	grace := time.NewTimer(c.settings.PlacementGrace)
	defer grace.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		c.turned.now()
		select {
		case <-ctx.Done():
			return
		case n := <-news:
			c.takePolicy(ctx, n)
		case <-grace.C:
			c.mu.Lock()
			c.graceOver = true
			c.mu.Unlock()
		case <-c.wake:
		case <-beat.C:
		}
		c.look()
		c.converge(ctx)
		c.markInstalled()
	}
}

func (c *Controller) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// takePolicy puts a valid policy in force and remembers why another is refused.
func (c *Controller) takePolicy(ctx context.Context, n policyNews) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = n
	c.metrics.policyLoads.WithLabelValues(resultOf(n.err)).Inc()
	if n.err != nil {
		c.log.Error("the policy is refused; the one before it stays in force", "file", c.settings.Policy, "error", n.err)
		return
	}
	c.policy, c.namer, c.loaded = n.policy, flows.NewNamer(n.policy, nil), n.at
	c.compiler = nil
	c.log.Info("the policy is in force", "file", c.settings.Policy, "revision", n.policy.Revision(), "records", n.policy.NumRecords())
	c.chooseHosts(ctx)
}

func resultOf(err error) string {
	if err != nil {
		return "refused"
	}
	return "ok"
}

// chooseHosts starts and stops hosts so that those run that the policy has and
// somebody tells how to reach.
func (c *Controller) chooseHosts(ctx context.Context) {
	c.problems = nil
	wanted := map[string]address{}
	for p := range c.policy.Hosts() {
		a, ok, err := c.addressOf(p)
		if err != nil {
			c.problems = append(c.problems, err.Error())
		}
		if ok {
			wanted[p.Name] = a
		}
	}
	for _, h := range c.settings.Hosts {
		if _, ok := c.policy.Host(h.Name); !ok {
			c.problems = append(c.problems, fmt.Sprintf("host %s is in the settings and not in the policy: it is left alone", h.Name))
		}
	}
	for name, h := range c.hosts {
		if a, ok := wanted[name]; !ok || a != h.addr {
			c.log.Info("host no longer driven", "host", name)
			h.stop()
			delete(c.hosts, name)
		}
	}
	for name, a := range wanted {
		if c.hosts[name] == nil {
			c.hosts[name] = c.newHost(ctx, name, a)
		}
	}
	for _, p := range c.problems {
		c.log.Warn("policy and settings", "problem", p)
	}
}

func (c *Controller) newHost(ctx context.Context, name string, a address) *host {
	log := c.log.With("host", name)
	s := c.settings
	return startHost(ctx, name, a, c.tls, s.Bridge, reconcile.Options{
		Log:        log.With("openflow", a.openflow.String()),
		Generation: c.generation, ReconnectMax: s.ReconnectMax, AuditInterval: s.AuditInterval, ApplyTimeout: s.ApplyTimeout,
		Dial:   func(ctx context.Context) (reconcile.Session, error) { return Dial(ctx, a.openflow, c.tls, log) },
		Report: c.metrics.report,
	}, c.log, c.signal)
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

// look takes over what the hosts' databases say, of those that have news. What
// a database said stays in force while it does not answer.
func (c *Controller) look() {
	for _, h := range c.hosts {
		if !h.fresh.Swap(false) {
			continue
		}
		s := h.db.State()
		c.mu.Lock()
		h.connected, h.connError = s.Connected, s.ConnError
		if s.Connected {
			h.seen, h.state = true, s
		}
		c.mu.Unlock()
	}
}

// hostNames returns the names of the driven hosts, sorted.
func (c *Controller) hostNames() []string {
	names := make([]string, 0, len(c.hosts))
	for n := range c.hosts {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
