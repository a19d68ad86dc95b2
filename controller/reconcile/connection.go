package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// known is what the last connection left behind: what the switch held, and how
// to tell whether it still does.
type known struct {
	have     *Actual
	datapath uint64
	// The sentinel was installed between these two.
	from, to time.Time
	lost     time.Time // when the connection ended; zero while it lives
}

// connection is what is known during one OpenFlow session.
type connection struct {
	d       *Driver
	s       Session
	claimed bool
	audited bool    // this is not the session's first read-back
	have    *Actual // nil: not known
	refused Refused
	why     map[string]string // the switch's reasons, by entry
	applied *Desired          // what have was made for; nil: nothing yet
	watch   watch
}

// sync makes the switch hold want. An error ends the session; refused flows are
// no error.
func (c *connection) sync(ctx context.Context, want *Desired) error {
	o := &c.d.opts
	ctx, cancel := context.WithTimeoutCause(ctx, o.ApplyTimeout, tooSlow(o.ApplyTimeout))
	defer cancel()
	start := time.Now()
	var r Report
	if err := c.claim(ctx); err != nil {
		return err
	}
	again := false
	var drift []Drift
	if c.have == nil && !c.audited {
		if err := c.resume(ctx); err != nil {
			return err
		}
		r.Resumed = c.have != nil
	}
	if c.have == nil {
		again = c.audited
		old := c.refused
		// Whatever was refused may be accepted now.
		c.refused, c.why = nil, nil
		if err := c.read(ctx, want); err != nil {
			return err
		}
		r.ReadBack = time.Since(start)
		if again && c.applied != nil {
			drift = c.drift(old)
		}
		drift = append(drift, c.lookForShadows(want)...)
		c.watch.trust()
	} else if r.Checked = c.watch.checked; r.Checked > 0 {
		c.watch.checked = 0
		drift = c.drift(c.refused)
	}
	c.audited = true
	plan, err := c.carryOut(ctx, want, &r)
	if err != nil {
		return err
	}
	c.tell(drift, &r, start)
	c.have, c.applied = plan.After(), want
	if k := c.d.known; k != nil {
		k.have = c.have
	}
	if o.Report != nil {
		o.Report(r)
	}
	took := time.Since(start)
	if plan.Len() > 0 {
		level := slog.LevelInfo
		if r.ReadBack == 0 && plan.Len() <= quiet {
			level = slog.LevelDebug
		}
		if o.Log.Enabled(ctx, level) { // thousands may come in a second
			o.Log.Log(ctx, level, "flows in place", "revision", want.Revision, "added", plan.Added, "changed", plan.Changed(), "deleted", plan.Deleted(), "refused", len(c.refused), "took", took)
		}
	}
	failures, first := c.failures(plan, want)
	c.d.update(func(s *Status) {
		s.Error, s.Err = "", nil
		s.Installed, s.InSync = want.Revision, s.Wanted == want.Revision
		s.FlowsInstalled, s.FlowsForeign, s.FlowsKept = c.have.Len, c.have.NumForeign, plan.Kept
		s.NumRefuse, s.Refused = failures, first
		s.NumShadow, s.Shadows = len(c.d.shadows), c.d.shadows[:min(len(c.d.shadows), MaxShadows)]
		s.LastSync, s.LastSyncDuration = time.Now(), took
	})
	return nil
}

// tooSlow is the error where a switch needs longer than that.
type tooSlow time.Duration

func (t tooSlow) Error() string {
	return fmt.Sprintf("the switch took longer than %s (setting apply-timeout)", time.Duration(t))
}

// claim makes this session the switch's writer, once.
func (c *connection) claim(ctx context.Context) error {
	if g := c.d.opts.Generation; !c.claimed && g != 0 {
		if err := c.s.ClaimMaster(ctx, g); err != nil {
			if errors.Is(err, openflow.ErrStaleGeneration) {
				err = fmt.Errorf("%w: a controller that was started later drives this switch: stop one of the two; where none does and this machine's clock was put back, set it right or use the setting role: equal", err)
			}
			return cause(ctx, "claiming the master role", err)
		}
	}
	c.claimed = true
	return nil
}

// few is the number of flow-mods up to which a change goes out in one round trip.
const few = 64

// quiet is the number of flow-mods up to which a change is everyday business,
// which the log passes over: thousands may come in a second.
const quiet = 100

// slack is by how much a sentinel's age may seem wrong: clocks run at
// different speeds and a switch may be slow to answer.
func slack(age time.Duration) time.Duration { return time.Second + age/1000 }

// resume takes over what is known from the last connection, if the switch's
// sentinel proves that nobody who writes sentinels has changed anything since:
// it is the switch of then, the sentinel names the revision of then, and it is as
// old as if it had not been written again. A switch that was restarted has no
// sentinel, or a younger one. What somebody else did by hand meanwhile the next
// audit finds.
//
// A switch that tells no ages (simulated ones do not) is believed where this
// driver's generation was accepted: nobody with a greater one has come since.
func (c *connection) resume(ctx context.Context) error {
	k := c.d.known
	if k == nil || k.datapath != c.s.DatapathID() || !k.have.HasSentinel {
		return nil
	}
	var is *openflow.Entry
	t0 := time.Now()
	err := c.s.ReadEncoded(ctx, openflow.Encoded(sentinelEntry).Table(), flows.CookieMark, flows.CookieMask, func(e *openflow.Entry) error {
		if e.Odd == nil && isSentinel(openflow.Encoded(e.Octets)) {
			is = &openflow.Entry{Octets: slices.Clone(e.Octets), Duration: e.Duration}
		}
		return nil
	})
	if err != nil {
		return cause(ctx, "reading the sentinel", err)
	}
	t1 := time.Now()
	if is == nil || is.Cookie()&^flows.CookieMask != k.have.Revision {
		return nil
	}
	if age := is.Duration; age == 0 && c.d.opts.Generation == 0 ||
		age > 0 && (age < t0.Sub(k.to)-slack(age) || age > t1.Sub(k.from)+slack(age)) {
		return nil
	}
	c.have = k.have
	k.lost = time.Time{}
	return nil
}

// read reads everything back and compares it with want. Foreign flows too: see
// the package's documentation.
func (c *connection) read(ctx context.Context, want *Desired) error {
	c.d.known = nil
	r := NewReader(want.Flows)
	t0 := time.Now()
	if err := c.s.ReadEncoded(ctx, openflow.AllTables, 0, 0, func(e *openflow.Entry) error { r.Add(e); return nil }); err != nil {
		return cause(ctx, "reading the flows back", err)
	}
	if err := c.s.ReadGroups(ctx, func(e *openflow.Entry) error { r.Add(e); return nil }); err != nil {
		return cause(ctx, "reading groups and meters back", err)
	}
	c.have = r.Actual()
	if c.have.HasSentinel {
		c.remember(t0.Add(-c.have.Age), time.Now().Add(-c.have.Age))
	}
	return nil
}

// remember notes, for the next connection, when the sentinel was installed.
func (c *connection) remember(from, to time.Time) {
	c.d.known = &known{have: c.have, datapath: c.s.DatapathID(), from: from, to: to}
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
		send, atOnce := c.s.Apply, p.Len() <= few
		if atOnce {
			send = c.s.ApplyAtOnce
		}
		// A sentinel would stand for what is not there yet.
		if c.have.Len+len(c.have.odd) == 0 && !c.have.HasSentinel && len(p.Puts) >= loadFrom {
			send = c.s.Load
			c.d.known = nil
		}
		if p.Len() >= loadFrom {
			c.pauseWatch(ctx) // else it tells us our own changes, one by one
		}
		start := time.Now()
		err := c.load(ctx, p.MetersFirst())
		if err == nil {
			err = send(ctx, p.Mods())
		}
		if err == nil {
			err = c.load(ctx, p.MetersLast())
		}
		end := time.Now()
		if errors.Is(err, openflow.ErrOutcomeUnknown) || err == nil || atOnce {
			c.d.known = nil // after other errors of Apply the switch holds what it held
		}
		r.Apply += end.Sub(start)
		var refused *openflow.ApplyError
		switch {
		case err == nil:
			r.Added, r.Changed, r.Deleted = r.Added+p.Added, r.Changed+p.Changed(), r.Deleted+p.Deleted()
			if p.Sentinel != "" {
				r.Sentinels++
				c.remember(start, end)
			}
			return p, nil
		case !errors.As(err, &refused):
			return nil, cause(ctx, fmt.Sprintf("sending %d changes", p.Len()), err)
		}
		if err := c.refuse(refused, want); err != nil {
			return nil, err
		}
		r.Refused += len(refused.Mods)
		if refused.Applied || len(p.MetersFirst()) > 0 {
			// The others are in force, but which of them is not known without
			// looking where refusals were omitted.
			if err := c.read(ctx, want); err != nil {
				return nil, err
			}
		}
	}
	return nil, fmt.Errorf("the switch refused more than %d flows, the first: %s", len(c.refused), c.firstRefused(want))
}

// load makes changes of meters.
func (c *connection) load(ctx context.Context, mods []openflow.Mod) error {
	if len(mods) == 0 {
		return nil
	}
	return c.s.Load(ctx, slices.Values(mods))
}

func (c *connection) firstRefused(want *Desired) string {
	key := slices.Min(slices.Collect(maps.Keys(c.refused)))
	return ownerOf(want, c.refused[key]) + ": " + c.why[key]
}

// refuse remembers the flows that the switch would not take. What concerns not
// one flow but all, such as another master, is an error.
func (c *connection) refuse(e *openflow.ApplyError, want *Desired) error {
	for _, m := range e.Mods {
		if errors.Is(m, openflow.ErrSlave) {
			return fmt.Errorf("sending changes: %w", m.Err)
		}
		f := m.Mod.Flow
		if f.Kind() == openflow.KindMeter && openflow.IsMeterPresence(m) {
			continue // somebody has added or deleted it: what is read next tells
		}
		if m.Mod.Op == openflow.DeleteStrict || f == "" || isSentinel(f) {
			return fmt.Errorf("sending changes: %w", m)
		}
		if c.refused == nil {
			c.refused, c.why = Refused{}, map[string]string{}
		}
		c.refused[f.Entry()], c.why[f.Entry()] = f, m.Err.Error()
		c.d.opts.Log.Error("the switch refused a flow", "owner", ownerOf(want, f), "flow", f.Text(), "error", m.Err)
	}
	return nil
}

// failures counts the wanted flows that the switch does not hold and lists the
// first. What was refused and is not wanted any more is forgotten.
func (c *connection) failures(p *Plan, want *Desired) (n int, first []Refusal) {
	add := func(f openflow.Encoded, why func() string) {
		if n++; n <= MaxRefusals {
			first = append(first, Refusal{ownerOf(want, f), f.Text(), f.Cookie(), why()})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.refused)) {
		f := c.refused[key]
		if w, _ := want.Flows.Find(f); w != f {
			delete(c.refused, key)
			delete(c.why, key)
			continue
		}
		add(f, func() string { return c.why[key] })
	}
	for _, b := range p.Blocked {
		add(b.Want, func() string {
			return fmt.Sprintf("a foreign flow has its place (cookie %#x): remove it with ovs-ofctl --strict del-flows, or let its owner use another priority", b.Foreign)
		})
	}
	return n, first
}

func ownerOf(want *Desired, f openflow.Encoded) string {
	if k := f.Kind(); k != openflow.KindFlow {
		return fmt.Sprintf("%s %#x", k, f.Number())
	}
	if want.Owner == nil {
		return fmt.Sprintf("cookie %#x", f.Cookie())
	}
	return want.Owner(f.Cookie())
}

// cause adds what was going on to an error, and why ctx ended where that is the
// reason.
func cause(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("%s: %w", what, err)
}
