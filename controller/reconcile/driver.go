package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Session is what the driver needs of an OpenFlow connection;
// [openflow.Session] is one.
type Session interface {
	ClaimMaster(ctx context.Context, generation uint64) error
	ReadFlows(ctx context.Context, cookie, mask uint64, fn func(*openflow.Stat) error) error
	Apply(ctx context.Context, mods iter.Seq[openflow.Mod]) error
	Load(ctx context.Context, mods iter.Seq[openflow.Mod]) error
	Done() <-chan struct{}
	Err() error
	Close() error
}

// Options say how a [Driver] works. Dial and Log are needed.
type Options struct {
	Dial func(ctx context.Context) (Session, error)
	Log  *slog.Logger
	// Generation is claimed as master's before the first write; 0: no role is
	// claimed.
	Generation uint64
	// ReconnectMax is the longest pause between two attempts to connect.
	ReconnectMax time.Duration
	// AuditInterval is how often everything is read back; 0: on connecting only.
	AuditInterval time.Duration
	// ApplyTimeout bounds reading back and committing.
	ApplyTimeout time.Duration
	// Report, if not nil, is told of every exchange with the switch. It must
	// not block.
	Report func(Report)
}

// Report is one exchange with the switch: what was read and sent.
type Report struct {
	ReadBack time.Duration // 0: nothing was read
	Apply    time.Duration // 0: nothing was sent
	// What was sent and is in force.
	Added, Changed, Deleted, Sentinels int
	Refused                            int // flows that were refused in it
	Repaired                           int // of the changes, those that an audit found necessary
}

// Refusal is a wanted flow that the switch does not hold, and why.
type Refusal struct {
	Owner  string // in the tenant's words
	Flow   string // in OVS syntax
	Cookie uint64
	Error  string
}

// Status is what is known of a host's flows at one moment.
type Status struct {
	Connected bool
	Error     string // why not connected, or what failed last; "" when all is well
	Err       error  // the same, for errors.Is

	Wanted     uint64 // revision that shall be in force; 0: none yet
	Installed  uint64 // revision that the switch confirmed last; 0: none yet
	HasDesired bool
	// InSync reports that the switch is connected and has confirmed Wanted. It
	// may still lack the flows in Refused.
	InSync bool

	FlowsWanted    int // without the sentinel
	FlowsInstalled int // ours, without the sentinel
	FlowsForeign   int
	FlowsKept      int // stale flows that stay until a host has answered

	Refused   []Refusal // at most MaxRefusals
	NumRefuse int       // all of them

	LastSync         time.Time     // when the switch last confirmed something
	LastSyncDuration time.Duration // from the start of that exchange to its confirmation
}

// MaxRefusals bounds how many refused flows a [Status] names.
const MaxRefusals = 100

// Driver makes one host's switch hold what is desired. It touches nothing
// before the first [Driver.Set].
type Driver struct {
	opts    Options
	wake    chan struct{} // capacity 1: there is a new desired
	kick    chan struct{} // capacity 1: try to connect now
	changes chan struct{} // capacity 1

	mu      sync.Mutex
	desired *Desired
	status  Status
}

// NewDriver returns a driver that does nothing before [Driver.Run].
func NewDriver(o Options) *Driver {
	return &Driver{
		opts: o, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1), changes: make(chan struct{}, 1),
		status: Status{Error: "not connected yet"},
	}
}

// Set says what the switch shall hold from now on. The latest wins; what was
// set before and not yet sent is not sent.
func (d *Driver) Set(want Desired) {
	want.Flows = normal(want.Flows)
	d.mu.Lock()
	d.desired = &want
	d.mu.Unlock()
	d.update(func(s *Status) {
		s.HasDesired, s.Wanted, s.FlowsWanted = true, want.Revision, len(want.Flows)
		s.InSync = false
	})
	signal(d.wake)
}

// Kick ends the pause before the next attempt to connect: somebody has reason
// to believe that the switch is back.
func (d *Driver) Kick() { signal(d.kick) }

// Status returns what is known now.
func (d *Driver) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Refused = slices.Clone(s.Refused)
	return s
}

// Changes returns the channel that gets a value when [Driver.Status] has
// changed. It has one reader.
func (d *Driver) Changes() <-chan struct{} { return d.changes }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (d *Driver) update(change func(*Status)) {
	d.mu.Lock()
	change(&d.status)
	d.mu.Unlock()
	signal(d.changes)
}

func (d *Driver) current() *Desired {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.desired
}

// warnEvery is the least time between two warnings of one outage.
const warnEvery = 10 * time.Second

// firstPause is the pause before the second attempt to connect.
const firstPause = 20 * time.Millisecond

// Run connects, keeps the switch in step, and connects again for ever, until
// ctx ends; it returns ctx's error. The switch keeps its flows. Run it once.
func (d *Driver) Run(ctx context.Context) error {
	pause, last := firstPause, ""
	var told time.Time
	for ctx.Err() == nil {
		connected, err := d.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		if connected {
			pause = firstPause
		}
		// An outage is one warning, not one for each attempt. Its text may change
		// from one attempt to the next and back.
		level := slog.LevelDebug
		if text := err.Error(); connected || text != last && time.Since(told) >= warnEvery {
			level, last, told = slog.LevelWarn, text, time.Now()
		}
		d.opts.Log.Log(ctx, level, "no connection to the host's switch", "error", err)
		d.update(func(s *Status) { s.Connected, s.InSync, s.Error, s.Err = false, false, err.Error(), err })
		// All hosts of a rack come back at once: spread the attempts.
		t := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-d.kick:
		}
		t.Stop()
		pause = min(2*pause, max(firstPause, d.opts.ReconnectMax))
	}
	d.update(func(s *Status) { s.Connected, s.InSync, s.Error, s.Err = false, false, "ended", nil })
	return ctx.Err()
}

// connection lives through one OpenFlow session. It reports whether the switch
// got as far as confirming something.
func (d *Driver) connection(ctx context.Context) (worked bool, err error) {
	s, err := d.opts.Dial(ctx)
	if err != nil {
		return false, err
	}
	defer s.Close()
	d.update(func(st *Status) { st.Connected, st.Error, st.Err = true, "", nil })
	d.opts.Log.Info("connected to the host's switch")

	c := &connection{d: d, s: s}
	var audit <-chan time.Time
	if d.opts.AuditInterval > 0 {
		t := time.NewTicker(d.opts.AuditInterval)
		defer t.Stop()
		audit = t.C
	}
	for {
		if want := d.current(); want != nil {
			if err := c.sync(ctx, want); err != nil {
				return worked, err
			}
			worked = true
		}
		select {
		case <-ctx.Done():
			return worked, ctx.Err()
		case <-s.Done():
			return worked, fmt.Errorf("the session ended: %w", s.Err())
		case <-audit:
			c.have = nil // read it all again
		case <-d.wake:
		}
	}
}

// connection is what is known during one OpenFlow session.
type connection struct {
	d       *Driver
	s       Session
	claimed bool
	audited bool    // this is not the session's first read-back
	have    *Actual // nil: not known
	refused []flow.Flow
	why     []Refusal
}

// sync makes the switch hold want. An error ends the session; refused flows are
// no error.
func (c *connection) sync(ctx context.Context, want *Desired) error {
	o := &c.d.opts
	ctx, cancel := context.WithTimeoutCause(ctx, o.ApplyTimeout, fmt.Errorf("the switch took longer than %s (setting apply-timeout)", o.ApplyTimeout))
	defer cancel()
	start := time.Now()
	var r Report
	if !c.claimed && o.Generation != 0 {
		if err := c.s.ClaimMaster(ctx, o.Generation); err != nil {
			if errors.Is(err, openflow.ErrStaleGeneration) {
				err = fmt.Errorf("%w: a controller that was started later drives this switch: stop one of the two; where none does and this machine's clock was put back, set it right or use the setting role: equal", err)
			}
			return cause(ctx, "claiming the master role", err)
		}
	}
	c.claimed = true
	again := false
	if c.have == nil {
		again, c.audited = c.audited, true
		// Whatever was refused may be accepted now.
		c.refused, c.why = nil, nil
		have := &Actual{}
		// Foreign flows too: see the package's documentation.
		if err := c.s.ReadFlows(ctx, 0, 0, func(s *openflow.Stat) error { have.Add(s); return nil }); err != nil {
			return cause(ctx, "reading the flows back", err)
		}
		have.Sort()
		c.have = have
		r.ReadBack = time.Since(start)
	}
	plan, err := c.carryOut(ctx, want, &r)
	if err != nil {
		return err
	}
	if again {
		if r.Repaired = len(plan.Puts) + plan.Deleted(); r.Repaired > 0 {
			o.Log.Warn("somebody had changed our flows: repaired", "added", plan.Added, "changed", plan.Changed(), "deleted", plan.Deleted())
		}
	}
	c.have.done(plan, want.Revision)
	if o.Report != nil {
		o.Report(r)
	}
	took := time.Since(start)
	if plan.Len() > 0 {
		o.Log.Info("flows in place", "revision", want.Revision, "added", plan.Added, "changed", plan.Changed(), "deleted", plan.Deleted(), "refused", len(c.refused), "took", took)
	}
	failures := c.failures(plan, want)
	c.d.update(func(s *Status) {
		s.Error, s.Err = "", nil
		s.Installed, s.InSync = want.Revision, s.Wanted == want.Revision
		s.FlowsInstalled, s.FlowsForeign, s.FlowsKept = len(c.have.Ours), c.have.NumForeign, plan.Kept
		s.NumRefuse, s.Refused = len(failures), failures[:min(len(failures), MaxRefusals)]
		s.LastSync, s.LastSyncDuration = time.Now(), took
	})
	return nil
}

// maxRounds bounds how often a bundle is tried again without the flows that
// were refused; each round names up to a hundred.
const maxRounds = 20

// loadFrom is the number of flows from which an empty switch is filled without
// a bundle, which is faster: what it holds between the first flow and the last
// forwards less than what is wanted and nothing else.
const loadFrom = 2000

// carryOut sends the plan. Where single flows are refused it sends the rest.
func (c *connection) carryOut(ctx context.Context, want *Desired, r *Report) (*Plan, error) {
	for range maxRounds {
		p := NewPlan(c.have, *want, c.refused)
		if p.Empty() {
			return p, nil
		}
		send := c.s.Apply
		if len(c.have.Ours)+len(c.have.Odd) == 0 && len(p.Puts) >= loadFrom {
			send = c.s.Load
		}
		start := time.Now()
		err := send(ctx, p.Mods())
		r.Apply += time.Since(start)
		var refused *openflow.ApplyError
		switch {
		case err == nil:
			r.Added, r.Changed, r.Deleted = r.Added+p.Added, r.Changed+p.Changed(), r.Deleted+p.Deleted()
			if p.Sentinel != nil {
				r.Sentinels++
			}
			return p, nil
		case !errors.As(err, &refused):
			return nil, cause(ctx, fmt.Sprintf("sending %d changes", p.Len()), err)
		}
		if err := c.refuse(refused, want); err != nil {
			return nil, err
		}
		r.Refused += len(refused.Mods)
		if refused.Applied {
			// The others are in force, but which of them is not known without
			// looking where refusals were omitted.
			if err := c.reread(ctx); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("the switch refused more than %d flows, the first: %s: %s", len(c.refused), c.why[0].Owner, c.why[0].Error)
}

func (c *connection) reread(ctx context.Context) error {
	have := &Actual{}
	if err := c.s.ReadFlows(ctx, 0, 0, func(s *openflow.Stat) error { have.Add(s); return nil }); err != nil {
		return cause(ctx, "reading the flows back", err)
	}
	have.Sort()
	c.have = have
	return nil
}

// refuse remembers the flows that the switch would not take. What concerns not
// one flow but all, such as another master, is an error.
func (c *connection) refuse(e *openflow.ApplyError, want *Desired) error {
	for _, m := range e.Mods {
		if errors.Is(m, openflow.ErrSlave) {
			return fmt.Errorf("sending changes: %w", m.Err)
		}
		f, err := m.Mod.Flow.Decode()
		if m.Mod.Op != openflow.Add || err != nil || isSentinel(&f) {
			return fmt.Errorf("sending changes: %w", m)
		}
		if i, there := find(c.refused, &f); there {
			c.refused[i] = f
		} else {
			c.refused = slices.Insert(c.refused, i, f)
		}
		why := Refusal{Owner: ownerOf(want, &f), Flow: f.Text(), Cookie: f.Cookie, Error: m.Err.Error()}
		c.why = append(c.why, why)
		c.d.opts.Log.Error("the switch refused a flow", "owner", why.Owner, "flow", why.Flow, "error", why.Error)
	}
	return nil
}

// failures lists the wanted flows that the switch does not hold.
func (c *connection) failures(p *Plan, want *Desired) []Refusal {
	var out []Refusal
	for i := range c.refused {
		f := &c.refused[i]
		if j, there := find(want.Flows, f); there && want.Flows[j].Equal(f) {
			text := f.Text()
			for _, w := range c.why {
				if w.Flow == text {
					out = append(out, Refusal{ownerOf(want, f), text, f.Cookie, w.Error})
					break
				}
			}
		}
	}
	for i := range p.Blocked {
		b := &p.Blocked[i]
		out = append(out, Refusal{ownerOf(want, &b.Want), b.Want.Text(), b.Want.Cookie,
			fmt.Sprintf("a foreign flow has its place (cookie %#x): remove it with ovs-ofctl --strict del-flows, or let its owner use another priority", b.Foreign.Cookie)})
	}
	return out
}

func ownerOf(want *Desired, f *flow.Flow) string {
	if want.Owner == nil {
		return fmt.Sprintf("cookie %#x", f.Cookie)
	}
	return want.Owner(f.Cookie)
}

// cause adds what was going on to an error, and why ctx ended where that is the
// reason.
func cause(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", what, err)
}
