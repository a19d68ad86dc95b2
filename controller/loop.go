package controller

import (
	"context"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// heartbeat is how often the loop turns at least.
const heartbeat = 5 * time.Second

// loop makes every decision of the daemon. A turn costs what has happened since
// the one before, not what there is.
func (c *Controller) loop(ctx context.Context, news <-chan policyNews) {
	grace := time.NewTimer(c.settings.PlacementGrace)
	defer grace.Stop()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var expire <-chan time.Time
	if l := c.settings.Linger; l > 0 {
		t := time.NewTicker(l)
		defer t.Stop()
		expire = t.C
	}
	for {
		c.turned.now()
		if d := c.pace.pause(time.Now()); d > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(d): // what comes meanwhile is one turn
			}
		}
		select {
		case <-ctx.Done():
			return
		case n := <-news:
			if c.store != nil && n.err == nil {
				n.policy = c.store.Policy() // there may be a later one by now
			}
			c.takePolicy(ctx, n)
		case <-grace.C:
			c.mu.Lock()
			c.graceOver = true
			c.mu.Unlock()
		case <-c.inbox.wake:
		case <-beat.C:
		case <-expire:
			c.engine.Expire()
		}
		c.turn(ctx)
	}
}

// turn looks at the hosts where something has happened and hands on what
// follows.
func (c *Controller) turn(ctx context.Context) {
	dirty, claims, board := c.inbox.take()
	for _, cl := range claims {
		c.takeClaim(ctx, cl)
	}
	if board {
		c.readBoard()
	}
	for name, d := range dirty {
		h := c.hosts[name]
		if h != nil && d&dirtThawed != 0 {
			h.thaw()
		}
		if h != nil && d&dirtDatabase != 0 {
			c.observe(h)
		}
	}
	if c.policy == nil {
		return
	}
	changed := c.converge(ctx)
	for name, d := range dirty {
		if h := c.hosts[name]; h != nil {
			if _, later := changed[h]; d&dirtDatabase != 0 && !later {
				c.examine(h)
			}
			if d&dirtSwitch != 0 {
				c.confirm(h)
			}
			c.tellOf(h)
		}
	}
	for h, ifaces := range changed {
		if _, news := dirty[h.name]; news || ifaces == nil || len(ifaces) > fewIfaces {
			c.examine(h)
		} else {
			c.examineSome(h, ifaces)
		}
		c.tellOf(h)
	}
	c.checkFar()
	c.waits.settle(c)
	c.tellProgress()
}

// observe takes over what a host's database says. What it said stays in force
// while it does not answer.
func (c *Controller) observe(h *host) {
	s := h.db.State()
	c.mu.Lock()
	h.connected, h.connError = s.Connected, s.ConnError
	if s.Connected {
		h.seen, h.state = true, s
	}
	c.mu.Unlock()
	if h.seen {
		in := c.inputOf(h)
		c.engine.SetHost(h.name, in)
		h.vms.set(in.Attachments)
		h.punts.Changed()
		c.publishAttachments(h, in.Attachments)
	}
}

// inputOf says what the flows of a host depend on besides the policy.
func (c *Controller) inputOf(h *host) calc.Input {
	in := calc.Input{
		Attachments: attached(&h.state),
		Tunnels:     flows.TunnelPorts{Flow: h.state.TunnelOFPort, FlowID: c.settings.FlowID},
		Elsewhere:   !h.ready(),
	}
	if c.settings.PortMode == settings.PortPerVSID {
		in.Tunnels.PerVSID = h.state.VSIDPorts
		if in.Tunnels.PerVSID == nil {
			in.Tunnels.PerVSID = map[tenant.VSID]uint32{}
		}
	}
	return in
}

// attached returns the ports of a host that VMs use.
func attached(s *ovsdb.State) []flows.Attachment {
	out := make([]flows.Attachment, 0, len(s.Attachments))
	for i := range s.Attachments {
		if a := &s.Attachments[i]; !a.Inactive {
			out = append(out, flows.Attachment{IfaceID: a.IfaceID, OFPort: a.OFPort})
		}
	}
	return out
}

// unseen reports whether a host's database has not answered since the daemon
// drives it, and nobody knows what is attached there: it seems to be nowhere.
func (c *Controller) unseen() bool {
	for _, h := range c.hosts {
		if !h.seen && !h.placed {
			return true
		}
	}
	return false
}

// converge has compiled what has changed and hands it to the drivers. It
// returns the hosts whose own flows are new, with the iface-ids that this may be
// about; nil: all.
func (c *Controller) converge(ctx context.Context) map[*host][]string {
	unseen := c.unseen()
	if unseen && !c.graceOver || c.board != nil && !c.boardRead {
		return nil
	}
	start := time.Now()
	updates := c.engine.Flush()
	defer c.tell()
	again := c.keeps != unseen
	c.keeps = unseen
	if len(updates) == 0 && !again || ctx.Err() != nil {
		c.strides.compiled(c.policy.Revision(), 0)
		return nil
	}
	if len(updates) > 0 {
		c.metrics.compile.Observe(time.Since(start).Seconds())
	}
	revision := c.policy.Revision()
	if revision <= c.used {
		// The policy is the same, the hosts are not: this is a state of its own.
		revision = c.nextRevision()
	}
	c.used = revision
	c.pace.spend(len(updates), start)
	c.strides.compiled(c.policy.Revision(), revision)

	changed := make(map[*host][]string)
	for i := range updates {
		u := &updates[i]
		h := c.hosts[u.Host]
		if h == nil {
			continue
		}
		h.setConfig(c.hostConfig(h))
		c.mu.Lock()
		h.problems, h.conflicts = u.Problems, u.Conflicts
		c.mu.Unlock()
		if u.Same && h.desired != nil {
			continue
		}
		switch {
		case h.desired == nil:
			changed[h] = nil
		case !sameOwn(h.desired.Flows, u.Want):
			changed[h] = append([]string{}, u.Ifaces...)
		}
		c.hand(h, reconcile.Desired{Revision: revision, Flows: u.Want}, unseen)
	}
	if again {
		for _, h := range c.hosts {
			if h.desired != nil && h.desired.Revision != revision {
				c.hand(h, reconcile.Desired{Revision: revision, Flows: h.desired.Flows}, unseen)
			}
		}
	}
	return changed
}

// sameOwn reports whether a host's own flows are the same in both.
func sameOwn(a, b flowset.Composition) bool {
	x, _ := a.Get(calc.OwnBlock)
	y, _ := b.Get(calc.OwnBlock)
	return x == y
}

// tell notes that the drivers know of the policy in force.
func (c *Controller) tell() {
	c.mu.Lock()
	c.told = c.policy
	c.mu.Unlock()
}

// hand tells a host's driver what is wanted.
func (c *Controller) hand(h *host, d reconcile.Desired, keep bool) {
	d.Owner = c.namers.ownerText
	if keep {
		d.Keep = keepUnplaced
	}
	c.mu.Lock()
	h.desired = &d
	c.mu.Unlock()
	h.lag.begin(time.Now())
	h.driver.Set(d)
}

// hostConfig says what a host's database shall hold.
func (c *Controller) hostConfig(h *host) ovsdb.Config {
	s := c.settings
	cfg := ovsdb.Config{
		Bridge: s.Bridge, AdoptBridge: s.AdoptBridge, DatapathType: s.DatapathType, TunnelPort: s.TunnelPort,
		Listener: h.addr.listener, TableNames: c.tableNames,
	}
	if s.PortMode == settings.PortPerVSID {
		cfg.PortMode = ovsdb.PortPerVSID
		cfg.VSIDs = c.engine.VSIDs(h.name)
	}
	return cfg
}

// keepUnplaced saves the flow to a VM that is attached nowhere, as far as the
// hosts that have answered know, from the drop flow that would replace it. It
// is asked while a host has not answered since this daemon started: the VM may
// well be there, and its switch may forward.
func keepUnplaced(have, want openflow.Encoded) bool {
	if want == "" {
		return false
	}
	if _, drops := flows.Reason(have.Cookie()); drops {
		return false
	}
	why, drops := flows.Reason(want.Cookie())
	return drops && why == flows.DropUnattached
}
