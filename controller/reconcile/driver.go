package reconcile

import (
	"cmp"
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
)

// Session is what the driver needs of an OpenFlow connection;
// [openflow.Session] is one.
type Session interface {
	DatapathID() uint64
	ClaimMaster(ctx context.Context, generation uint64) error
	ReadEncoded(ctx context.Context, table uint8, cookie, mask uint64, fn func(*openflow.Entry) error) error
	ReadGroups(ctx context.Context, fn func(*openflow.Entry) error) error
	Apply(ctx context.Context, mods iter.Seq[openflow.Mod]) error
	ApplyAtOnce(ctx context.Context, mods iter.Seq[openflow.Mod]) error
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
	// claimed. It fences: where another driver has claimed a greater one, this
	// one's writes are refused. Two that may drive one switch need different ones.
	Generation uint64
	// MayWrite, if not nil, is asked before each exchange with the switch. While
	// it says false, the session is kept and nothing is sent; when it says true
	// again somebody calls [Driver.Wake].
	MayWrite func() bool
	// ReconnectMax is the longest pause between two attempts to connect.
	ReconnectMax time.Duration
	// AuditInterval is how often everything is read back; 0: on connecting only.
	AuditInterval time.Duration
	// ForgetAfter is how long after the end of a connection it is remembered what
	// the switch held, so that a return needs no read-back; 0: a minute.
	ForgetAfter time.Duration
	// ApplyTimeout bounds reading back and committing.
	ApplyTimeout time.Duration
	// Drift, if not nil, is told what somebody else did to the switch's flows. It
	// must not block.
	Drift func(Drift)
	// Report, if not nil, is told of every exchange with the switch. It must
	// not block.
	Report func(Report)
	// Changed, if not nil, is called when [Driver.Status] has changed otherwise
	// than by [Driver.Set], in place of a value in [Driver.Changes]. It must not
	// block.
	Changed func()
}

// Report is one exchange with the switch: what was read and sent.
type Report struct {
	ReadBack time.Duration // 0: nothing was read, or the sentinel alone
	Resumed  bool          // the connection is new, and the sentinel told that nothing need be read
	Checked  int           // changes of others that were looked into one by one
	Apply    time.Duration // 0: nothing was sent
	// What was sent and is in force.
	Added, Changed, Deleted, Sentinels int
	Refused                            int // flows that were refused in it
	Repaired                           int // of the changes, those that an audit found necessary
	// What somebody else had done, counted by its kind.
	Drifted map[DriftKind]int
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

	FlowsWanted    int // without the sentinel; groups and meters count too
	FlowsInstalled int // ours, without the sentinel
	FlowsForeign   int
	FlowsKept      int // stale flows that stay until a host has answered

	Refused   []Refusal // at most MaxRefusals
	NumRefuse int       // all of them

	Monitored bool     // the switch tells at once what others do to its flows
	Shadows   []Shadow // foreign flows over ours; at most MaxShadows
	NumShadow int      // all of them, of those that were looked at

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

	known   *known   // of the last connection; Run alone uses it, and shadows
	shadows []Shadow // as the last read-back found them

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
	d.mu.Lock()
	d.desired = &want
	s := &d.status
	s.HasDesired, s.Wanted, s.FlowsWanted = true, want.Revision, want.Flows.Len()
	s.InSync = false
	d.mu.Unlock()
	signal(d.wake)
}

// Wake has the driver look again whether it may write.
func (d *Driver) Wake() { signal(d.wake) }

// Kick ends the pause before the next attempt to connect: somebody has reason
// to believe that the switch is back.
func (d *Driver) Kick() { signal(d.kick) }

// Status returns what is known now.
func (d *Driver) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.status
	s.Refused, s.Shadows = slices.Clone(s.Refused), slices.Clone(s.Shadows)
	return s
}

// Changes returns the channel that gets a value when [Driver.Status] has
// changed otherwise than by [Driver.Set]. It has one reader.
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
	if d.opts.Changed != nil {
		d.opts.Changed()
		return
	}
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

// forgetAfter is the default of Options.ForgetAfter.
const forgetAfter = time.Minute

// Run connects, keeps the switch in step, and connects again for ever, until
// ctx ends; it returns ctx's error. The switch keeps its flows. Run it once.
func (d *Driver) Run(ctx context.Context) error {
	pause, last := firstPause, ""
	var told time.Time
	for ctx.Err() == nil {
		if k := d.known; k != nil && !k.lost.IsZero() && time.Since(k.lost) > cmp.Or(d.opts.ForgetAfter, forgetAfter) {
			d.known = nil // it would keep snapshots alive that nobody else needs
		}
		connected, err := d.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		switch {
		case errors.Is(err, openflow.ErrSlave) || errors.Is(err, openflow.ErrStaleGeneration):
			// Two that both come back at once would take the switch from each
			// other for ever.
			pause = max(firstPause, d.opts.ReconnectMax)
		case connected:
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
	c.watch.init(s)
	defer d.update(func(st *Status) { st.Monitored = false })
	defer func() {
		if k := d.known; k != nil && k.lost.IsZero() {
			k.lost = time.Now()
		}
	}()
	var audit <-chan time.Time
	if d.opts.AuditInterval > 0 {
		t := time.NewTicker(d.opts.AuditInterval)
		defer t.Stop()
		audit = t.C
	}
	for {
		select {
		case <-d.wake: // the news are looked at now
		default:
		}
		frozen := d.opts.MayWrite != nil && !d.opts.MayWrite()
		want := d.current()
		select {
		case <-s.Done():
			// Sent into a session that has ended, a change would count as one whose
			// outcome is not known, and the next session would have to read all back.
			return worked, fmt.Errorf("the session ended: %w", s.Err())
		default:
		}
		if want != nil && !frozen {
			if err := c.look(ctx); err != nil {
				return worked, err
			}
			if err := c.sync(ctx, want); err != nil {
				return worked, err
			}
			worked = true
			if err := c.openWatch(ctx); err != nil {
				return worked, err
			}
		}
		if frozen {
			d.update(func(st *Status) { st.InSync = false }) // until somebody calls Wake
		}
		select {
		case <-ctx.Done():
			return worked, ctx.Err()
		case <-s.Done():
			return worked, fmt.Errorf("the session ended: %w", s.Err())
		case <-audit:
			c.have, d.known = nil, nil // read it all again
		case <-c.watch.told:
		case <-c.watch.due():
		case <-d.wake:
		}
	}
}
