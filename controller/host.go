package controller

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/punt"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// address is how a host is reached.
type address struct {
	ovsdb, openflow ovsaddr.Endpoint
	listener        string
}

// host is one host that the daemon drives.
type host struct {
	name   string
	addr   address
	log    *slog.Logger
	db     *ovsdb.Host
	driver *reconcile.Driver
	punts  *punt.Service
	vms    *vmPorts // of punts
	end    context.CancelFunc
	ended  sync.WaitGroup

	again chan struct{} // capacity 1: configuration or marks have changed
	// mayWrite, if not nil, tells whether this daemon may write to the host now:
	// no role fences the database, as it does the switch.
	mayWrite func() bool

	lag lag

	mu        sync.Mutex
	config    *ovsdb.Config     // wanted; nil: not known yet
	marks     map[string]string // wanted nvgre-installed by Interface name
	ensureErr string            // why the configuration is not as wanted
	ensured   bool              // the host has had the configuration once

	// The rest belongs to the loop; those who read it elsewhere hold
	// Controller.mu, under which it is written.
	seen      bool        // the database has answered since the start
	state     ovsdb.State // as it was when the database last answered
	connected bool
	connError error
	desired   *reconcile.Desired // what the driver was given last
	problems  []flows.Problem    // of the last compilation
	conflicts []flows.Conflict
	installed map[installedKey]bool

	// The loop's own.
	tenure    *ha.Tenure      // nil where hosts are not shared out
	placed    bool            // what is attached was known when this daemon got the host
	published []string        // iface-ids that the board was told
	reach     reach           // what of the store that is, at least
	confirmed uint64          // the revision that the switch has confirmed
	refused   map[string]bool // VMs, as routing domain/VM, whose flows it refuses; "" for all
}

// ready reports whether enough is known of a host to say what it shall hold. That
// stays so: an ovsdb-server that was started anew has forgotten the datapath id
// (an ephemeral column) until ovs-vswitchd is back, and nothing else has changed.
func (h *host) ready() bool {
	if !h.seen || h.desired == nil && !h.state.BridgeReady {
		return false
	}
	ensured, _ := h.configState()
	return ensured || h.desired != nil || h.state.TunnelOFPort != 0
}

// revision returns what the driver was told to bring about; 0: nothing yet.
func (h *host) revision() uint64 {
	if h.desired == nil {
		return 0
	}
	return h.desired.Revision
}

// startHost begins to drive a host. What happens there is put into news.
func startHost(ctx context.Context, name string, addr address, tlsConf *tls.Config, bridge string, schemas *ovsdb.Schemas, o reconcile.Options, punts *punt.Service, vms *vmPorts, log *slog.Logger, news *inbox) *host {
	ctx, end := context.WithCancel(ctx)
	o.Changed = func() { news.put(name, dirtSwitch) }
	h := &host{
		name: name, addr: addr, log: log, end: end,
		db:     ovsdb.NewHost(name, addr.ovsdb, tlsConf, log, ovsdb.WithBridge(bridge), ovsdb.WithSchemas(schemas)),
		driver: reconcile.NewDriver(o), punts: punts, vms: vms,
		again: make(chan struct{}, 1), mayWrite: o.MayWrite, connError: errors.New("not connected yet"),
		installed: make(map[installedKey]bool),
	}
	h.ended.Go(func() { _ = h.db.Run(ctx) }) // it ends with ctx only
	h.ended.Go(func() { _ = h.driver.Run(ctx) })
	h.ended.Go(func() { _ = h.punts.Run(ctx) })
	h.ended.Go(func() { h.lookAfter(ctx, news) })
	return h
}

// stop ends all that startHost began. The switch keeps its flows.
func (h *host) stop() {
	h.end()
	h.ended.Wait()
}

// The pauses between attempts to configure a host, doubled from one to the other.
const firstEnsure, lastEnsure = 200 * time.Millisecond, 10 * time.Second

// lookAfter keeps the host's configuration and marks as wanted.
func (h *host) lookAfter(ctx context.Context, news *inbox) {
	var done struct {
		config *ovsdb.Config
		marks  map[string]string
	}
	wasConnected, wasReady, pause := false, false, firstEnsure
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	for {
		s := h.db.State()
		if s.Connected && !wasConnected {
			// The database may be another one than before the outage.
			done.config, done.marks = nil, nil
			pause = firstEnsure
		}
		if s.BridgeReady && !wasReady {
			h.driver.Kick() // ovs-vswitchd is back, or the bridge is new
		}
		if !s.BridgeReady && wasReady {
			done.config = nil // somebody took the bridge away
		}
		wasConnected, wasReady = s.Connected, s.BridgeReady

		h.mu.Lock()
		config, marks := h.config, h.marks
		h.mu.Unlock()
		failed, frozen := false, false
		if s.Connected && config != nil && config != done.config {
			err := h.guard(ctx, func(ctx context.Context) error { return h.db.Ensure(ctx, *config) })
			frozen = errors.Is(err, errFrozen)
			h.noteEnsure(ctx, err)
			if failed = err != nil; !failed {
				done.config = config
			}
		}
		if s.Connected && !failed && !maps.Equal(marks, done.marks) {
			err := h.guard(ctx, func(ctx context.Context) error { return h.db.MarkInstalled(ctx, marks) })
			frozen = errors.Is(err, errFrozen)
			if failed = err != nil; !failed {
				done.marks = marks
			} else if ctx.Err() == nil && !frozen {
				h.log.Warn("writing nvgre-installed failed", "error", err)
			}
		}
		news.put(h.name, dirtDatabase)
		if frozen { // until thaw
		} else if failed {
			retry.Reset(pause)
			pause = min(2*pause, lastEnsure)
		} else {
			pause = firstEnsure
		}
		select {
		case <-ctx.Done():
			return
		case <-h.db.Changes():
		case <-h.again:
		case <-retry.C:
		}
	}
}

// leaseLook is how often the lease is looked at while the database is written to.
const leaseLook = 50 * time.Millisecond

// thaw goes on with what waits for that the host may be written to.
func (h *host) thaw() {
	h.driver.Wake()
	h.poke()
}

// errFrozen: the host may not be written to now, since another controller may
// have it.
var errFrozen = errors.New("changes are frozen: the lease is not certain")

// guard calls write, which changes the host's database, if that is allowed, and
// ends it when it is no longer.
func (h *host) guard(ctx context.Context, write func(context.Context) error) error {
	if h.mayWrite == nil {
		return write(ctx)
	}
	if !h.mayWrite() {
		return errFrozen
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(leaseLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !h.mayWrite() {
					cancel()
				}
			}
		}
	})
	err := write(ctx)
	ended := ctx.Err() != nil
	cancel()
	watch.Wait()
	if err != nil && ended && !h.mayWrite() {
		return errFrozen
	}
	return err
}

func (h *host) noteEnsure(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, ovsdb.ErrNotConnected) || errors.Is(err, errFrozen) {
		return // an outage shows as such
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.ensureErr, h.ensured = "", true
		return
	}
	if text := err.Error(); text != h.ensureErr {
		h.log.Error("the host cannot be configured", "error", err)
		h.ensureErr = text
	}
}

// setConfig says what the host shall have.
func (h *host) setConfig(c ovsdb.Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.config != nil && h.config.Bridge == c.Bridge && h.config.Listener == c.Listener && slices.Equal(h.config.VSIDs, c.VSIDs) {
		return // the other members never change while the daemon lives
	}
	h.config = &c
	h.poke()
}

// setMarks says which Interfaces shall carry nvgre-installed.
func (h *host) setMarks(m map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !maps.Equal(h.marks, m) {
		h.marks = m
		h.poke()
	}
}

func (h *host) poke() {
	select {
	case h.again <- struct{}{}:
	default:
	}
}

// problems returns what keeps the host from its configuration.
func (h *host) configState() (ensured bool, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ensured, h.ensureErr
}

// addressOf finds out how a host of the policy is reached. ok is false where
// nobody says: such a host is a peer that this daemon does not drive.
func (c *Controller) addressOf(p tenant.Host) (a address, ok bool, err error) {
	o, set := c.configured[p.Name]
	dbText, ofText := p.OVSDB, p.OpenFlow
	if o.OVSDB != "" {
		dbText = o.OVSDB
	}
	if o.OpenFlow != "" {
		ofText = o.OpenFlow
	}
	a.listener = o.Listener
	switch {
	case dbText == "" && ofText == "" && !set:
		return a, false, nil
	case dbText == "":
		return a, false, fmt.Errorf("host %s has no OVSDB address: add it to the host in the policy, or to the settings' hosts", p.Name)
	case ofText == "":
		return a, false, fmt.Errorf("host %s has no OpenFlow address: add it to the host in the policy, or to the settings' hosts", p.Name)
	}
	if a.ovsdb, err = ovsaddr.Parse(dbText); err != nil {
		return a, false, fmt.Errorf("host %s: ovsdb: %w", p.Name, err)
	}
	if a.openflow, err = ovsaddr.Parse(ofText); err != nil {
		return a, false, fmt.Errorf("host %s: openflow: %w", p.Name, err)
	}
	if (a.ovsdb.NeedsTLS() || a.openflow.NeedsTLS()) && c.tls == nil {
		return a, false, fmt.Errorf("host %s is reached by ssl, and the settings have no tls: add ca, certificate and private-key", p.Name)
	}
	return a, true, nil
}
