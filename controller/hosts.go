package controller

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// takePolicy puts a valid policy in force and remembers why another is refused.
func (c *Controller) takePolicy(ctx context.Context, n policyNews) {
	// At once, so that nobody sees a policy without its hosts.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.news = n
	c.metrics.policyLoads.WithLabelValues(resultOf(n.err)).Inc()
	if n.err != nil {
		if c.file != nil {
			c.log.Error("the policy is refused; the one before it stays in force", "file", c.settings.Policy, "error", n.err)
		} else {
			c.log.Warn("the store", "error", n.err)
		}
		return
	}
	before := c.policy
	if n.policy == before {
		return // an error has passed
	}
	c.policy, c.loaded = n.policy, n.at
	c.namers.use(n.policy)
	if c.file != nil {
		c.file.use(n.policy, c.settings.Policy, n.at)
	}
	level := slog.LevelInfo
	if c.file == nil && before != nil {
		level = slog.LevelDebug // thousands may come in a second
	}
	c.log.Log(ctx, level, "the policy is in force", "revision", n.policy.Revision(), "records", n.policy.NumRecords())
	c.engine.SetPolicy(n.policy)
	differ := before == nil || hostsDiffer(before, n.policy)
	force := &inForce{policy: n.policy}
	if old := c.inForce.Load(); old != nil && !differ {
		force.mtu = old.mtu
	} else {
		force.mtu = flows.OverlayMTU(n.policy)
	}
	c.inForce.Store(force)
	if before != nil {
		c.tellVMs(before, n.policy)
	}
	if differ {
		c.chooseHosts(ctx)
	}
}

func resultOf(err error) string {
	if err != nil {
		return "refused"
	}
	return "ok"
}

// hostsDiffer reports whether two policies have different hosts.
func hostsDiffer(p, q *tenant.Policy) bool {
	for ch := range tenant.Diff(p, q) {
		switch k := ch.Key().Kind(); {
		case k == tenant.KindHost:
			return true
		case k > tenant.KindHost: // changes come in the order of kinds
			return false
		}
	}
	return false
}

// takeClaim notes that a host may be driven from now on, or no longer.
func (c *Controller) takeClaim(ctx context.Context, cl claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cl.tenure != nil {
		c.owned[cl.host] = cl.tenure
		if a, ok := c.reachable[cl.host]; ok {
			c.drive(ctx, cl.host, a, cl.tenure)
		}
		return
	}
	delete(c.owned, cl.host)
	switch end := c.ending[cl.host]; {
	case c.hosts[cl.host] != nil:
		c.letGo(cl.host, cl.done)
		c.elsewhere(cl.host)
	case end != nil && cl.done != nil:
		// It has left the policy, or got another address, and comes to its end.
		c.stopping.Go(func() { <-end; cl.done() })
	case cl.done != nil:
		cl.done()
	}
	delete(c.ending, cl.host)
}

// drive begins to drive a host. c.mu is held.
func (c *Controller) drive(ctx context.Context, name string, a address, t *ha.Tenure) {
	if c.hosts[name] == nil {
		h := c.newHost(ctx, name, a, t)
		c.hosts[name] = h
		h.setConfig(c.hostConfig(h))
	}
}

// letGo ends the driving of a host, and calls done, if not nil, when nothing
// more is written to it. The loop does not wait. c.mu is held.
func (c *Controller) letGo(name string, done func()) {
	h := c.hosts[name]
	c.log.Info("host no longer driven", "host", name)
	delete(c.hosts, name)
	c.waits.forget(h, c.owned != nil)
	end := make(chan struct{})
	if c.owned != nil {
		c.ending[name] = end
	}
	c.stopping.Go(func() {
		h.stop()
		close(end)
		if done != nil {
			done()
		}
	})
}

// chooseHosts starts and stops hosts so that those run that the policy has,
// that somebody tells how to reach, and that this daemon may drive. c.mu is held.
func (c *Controller) chooseHosts(ctx context.Context) {
	var problems []string
	wanted := map[string]address{}
	for p := range c.policy.Hosts() {
		a, ok, err := c.addressOf(p)
		if err != nil {
			problems = append(problems, err.Error())
		}
		if ok {
			wanted[p.Name] = a
		}
	}
	for _, h := range c.settings.Hosts {
		if _, ok := c.policy.Host(h.Name); !ok {
			problems = append(problems, fmt.Sprintf("host %s is in the settings and not in the policy: it is left alone", h.Name))
		}
	}
	before := c.reachable
	c.problems, c.reachable = problems, wanted
	for _, p := range problems {
		c.log.Warn("policy and settings", "problem", p)
	}
	for name, h := range c.hosts {
		if a, ok := wanted[name]; !ok || a != h.addr {
			c.letGo(name, nil)
			c.engine.RemoveHost(name)
		}
	}
	for name := range before {
		if _, ok := wanted[name]; !ok {
			c.engine.RemoveHost(name) // whoever has driven it
			if c.board != nil {
				c.board.Forget(name)
			}
		}
	}
	if c.group != nil {
		c.group.SetHosts(slices.Collect(maps.Keys(wanted)))
	}
	for name, a := range wanted {
		t := c.owned[name]
		if c.owned != nil && t == nil {
			c.elsewhere(name)
			continue
		}
		c.drive(ctx, name, a, t)
	}
}

func (c *Controller) newHost(ctx context.Context, name string, a address, t *ha.Tenure) *host {
	log := c.log.With("host", name)
	s := c.settings
	o := reconcile.Options{
		Log:        log.With("openflow", a.openflow.String()),
		Generation: c.generation, ReconnectMax: s.ReconnectMax, AuditInterval: s.AuditInterval, ApplyTimeout: s.ApplyTimeout,
		Dial:   func(ctx context.Context) (reconcile.Session, error) { return Dial(ctx, a.openflow, c.tls, log) },
		Report: c.metrics.report,
		Drift:  func(d reconcile.Drift) { c.drift.add(name, d) },
	}
	if t != nil {
		o.MayWrite = t.Valid
		if s.Role == settings.Master {
			o.Generation = t.Generation
		}
	}
	punts, vms := c.newPunts(name, a, log, o.MayWrite)
	h := startHost(ctx, name, a, c.tls, s.Bridge, &c.schemas, o, punts, vms, c.log, c.inbox)
	h.tenure = t
	h.placed = c.board != nil && len(c.board.AttachmentsOf(name)) > 0
	return h
}
