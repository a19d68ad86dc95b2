package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// DriftKind is what somebody else did to a switch's flows.
type DriftKind string

// The kinds of drift.
const (
	DriftDeleted  DriftKind = "deleted"  // a flow of ours was gone
	DriftChanged  DriftKind = "changed"  // a flow of ours had other actions or another cookie
	DriftAdded    DriftKind = "added"    // a flow with our mark was there that nobody wants
	DriftShadowed DriftKind = "shadowed" // a foreign flow takes packets from ours; it stays
	DriftFought   DriftKind = "fought"   // it happens again and again: repairs are slowed down
)

// DriftKinds are all kinds.
var DriftKinds = [...]DriftKind{DriftDeleted, DriftChanged, DriftAdded, DriftShadowed, DriftFought}

// Drift is one difference from what is wanted that somebody else made.
type Drift struct {
	Time  time.Time // when it was seen
	Kind  DriftKind
	Flow  string // in OVS syntax; of a shadow the foreign flow
	Owner string // in the tenant's words; of a shadow that of the flow below
	Note  string // more, one sentence; may be ""
	// Repaired is from the first sign of it to the switch's confirmation; 0 where
	// nothing is repaired.
	Repaired time.Duration
	More     int // further ones of this kind at this time, which are not named
}

// maxNamed bounds how many differences of a kind are named at a time.
const maxNamed = 10

// monitor is what a [Session] may offer besides: [openflow.Session] does.
type monitor interface {
	MonitorFlows(ctx context.Context) error
	IgnoreFlows(ctx context.Context) error
	FlowChanges() <-chan struct{}
	TakeFlowChanges() (changes []openflow.FlowChange, lost bool)
}

const (
	// patience is how many repairs follow each other at once; from then on the
	// pauses between them double, from firstRest to lastRest.
	patience            = 10
	firstRest, lastRest = time.Second, time.Minute
	// betweenRepairs is the least time between two of them.
	betweenRepairs = 50 * time.Millisecond
	// betweenLooks is the least time between two read-backs that only foreign
	// flows cause; lookShare bounds their part of the time.
	betweenLooks = 2 * time.Second
	lookShare    = 50
)

// watch turns what a flow monitor tells into looks at the switch, not too many of
// them.
type watch struct {
	m    monitor         // nil: the session has none, or the switch refused it
	told <-chan struct{} // nil likewise
	on   bool

	ours, foreign bool          // something was done to flows of ours, or to others
	since         time.Time     // when the first sign of it came
	repaired      time.Time     // the last time
	looked        time.Time     // the last time for foreign flows
	took          time.Duration // of the last read-back
	streak        int           // repairs in a row
	timer         *time.Timer

	suspects []openflow.FlowChange // of ours, not looked into yet
	blind    bool                  // more was done to ours than suspects tell
	checked  int                   // how many were looked into since the last exchange

	tables   [256]bool // where flows of ours are, by tablesOf
	tablesOf *Desired
}

func (w *watch) init(s Session) {
	if m, ok := s.(monitor); ok {
		w.m, w.told = m, m.FlowChanges()
	}
}

// openWatch begins to watch. A switch that cannot tell is left to the audits.
func (c *connection) openWatch(ctx context.Context) error {
	w := &c.watch
	if w.m == nil || w.on {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.d.opts.ApplyTimeout)
	defer cancel()
	err := w.m.MonitorFlows(ctx)
	if e := (*openflow.Error)(nil); errors.As(err, &e) {
		c.d.opts.Log.Debug("the switch has no flow monitor: what others change is found by the audits", "error", err)
		w.m, w.told = nil, nil
		return nil
	}
	if err != nil {
		return cause(ctx, "watching the switch's flows", err)
	}
	w.on = true
	c.d.update(func(s *Status) { s.Monitored = true })
	return nil
}

// pauseWatch ends watching until openWatch. An error shows at the next request.
func (c *connection) pauseWatch(ctx context.Context) {
	if w := &c.watch; w.m != nil && w.on {
		w.on = false
		_ = w.m.IgnoreFlows(ctx)
		c.d.update(func(s *Status) { s.Monitored = false })
	}
}

// rest returns how long to wait after the last repair.
func (w *watch) rest() time.Duration {
	if w.streak < patience {
		return betweenRepairs
	}
	return min(firstRest<<min(w.streak-patience, 10), lastRest)
}

// wait returns how long it is until something is to be read back, or false
// where there is nothing.
func (w *watch) wait(now time.Time) (time.Duration, bool) {
	switch {
	case w.ours:
		return w.repaired.Add(w.rest()).Sub(now), true
	case w.foreign:
		return w.looked.Add(max(betweenLooks, lookShare*w.took)).Sub(now), true
	}
	return 0, false
}

// due has a value when something is to be read back; nil: nothing waits.
func (w *watch) due() <-chan time.Time {
	if w.timer != nil {
		w.timer.Stop()
	}
	d, ok := w.wait(time.Now())
	if !ok {
		return nil
	}
	w.timer = time.NewTimer(d)
	return w.timer.C
}

// look makes the flow monitor work and takes what it tells. Where it is time, it
// looks into the entries of ours that others have changed; where that does not tell
// enough, what is known of the switch is forgotten, and read back.
func (c *connection) look(ctx context.Context) error {
	w := &c.watch
	if w.m == nil {
		return nil
	}
	if err := c.openWatch(ctx); err != nil || w.m == nil {
		return err
	}
	changes, lost := w.m.TakeFlowChanges()
	now := time.Now()
	if was := w.ours || w.foreign; !was {
		w.since = now
	}
	w.ours, w.blind = w.ours || lost, w.blind || lost
	for i := range changes {
		switch c.concern(&changes[i]) {
		case concernsOurs:
			w.ours = true
			w.suspect(&changes[i])
		case concernsOthers:
			w.foreign = true
		}
	}
	if d, ok := w.wait(now); !ok || d > 0 || c.have == nil {
		return nil
	}
	if w.ours {
		if enough, err := c.check(ctx); enough || err != nil {
			return err
		}
	}
	c.have, c.d.known = nil, nil
	return nil
}

type concern uint8

const (
	concernsNobody concern = iota
	concernsOthers
	concernsOurs
)

// concern says whether a change is one of our flows or could be in their way.
func (c *connection) concern(ch *openflow.FlowChange) concern {
	if flows.Ours(ch.Flow.Cookie) {
		return concernsOurs
	}
	if flows.Probe(ch.Flow.Cookie) {
		return concernsNobody
	}
	if c.applied == nil {
		return concernsOthers
	}
	if ch.MatchKnown {
		if e, err := openflow.Encode(&ch.Flow); err == nil {
			if f, _ := c.applied.Flows.Find(e); f != "" || e.Entry() == sentinelEntry {
				return concernsOurs // it took our flow's place, or has left it
			}
		}
	}
	if w := &c.watch; w.tablesOf != c.applied {
		w.tablesOf, w.tables = c.applied, [256]bool{}
		for f := range c.applied.Flows.Unordered() {
			w.tables[f.Table()] = true
		}
	}
	if c.watch.tables[ch.Flow.Table] {
		return concernsOthers
	}
	return concernsNobody
}

// drift compares what was read back with what the switch had confirmed.
func (c *connection) drift(refused Refused) []Drift {
	var out []Drift
	p := NewPlan(c.have, *c.applied, refused)
	add := func(k DriftKind, f, owner string) {
		out = append(out, Drift{Kind: k, Flow: f, Owner: owner})
	}
	for _, f := range p.Puts {
		kind := DriftChanged
		is, exception := c.have.except[f.Entry()]
		if !exception {
			is, _ = c.have.flows.Find(f)
		}
		if is == "" {
			kind = DriftDeleted
		}
		add(kind, f.Text(), ownerOf(c.applied, f))
	}
	for _, f := range p.Drops {
		add(DriftAdded, f.Text(), ownerOf(c.applied, f))
	}
	for _, s := range p.OddDrops {
		add(DriftAdded, s.Text()+" ("+s.Unknown+")", "")
	}
	return out
}

// lookForShadows finds the foreign flows over ours, and returns those that are
// new.
func (c *connection) lookForShadows(want *Desired) []Drift {
	w := &c.watch
	w.foreign, w.looked = false, time.Now()
	known := map[string]bool{}
	for i := range c.d.shadows {
		known[c.d.shadows[i].Flow] = true
	}
	var out []Drift
	c.d.shadows = findShadows(c.have.others, want)
	for i := range c.d.shadows {
		if s := &c.d.shadows[i]; !known[s.Flow] {
			out = append(out, Drift{Kind: DriftShadowed, Flow: s.Flow, Owner: s.Owner, Note: "over " + s.Over})
		}
	}
	return out
}

// tell reports what others did, when what can be repaired is. start is when the
// exchange with the switch began.
func (c *connection) tell(drift []Drift, r *Report, start time.Time) {
	w := &c.watch
	now := time.Now()
	if w.ours {
		start = w.since
	}
	var repaired *Drift // the first
	for i := range drift {
		if d := &drift[i]; d.Kind != DriftShadowed {
			d.Repaired = now.Sub(start)
			r.Repaired++
			if repaired == nil {
				repaired = d
			}
		}
	}
	if r.ReadBack > 0 {
		w.took = r.ReadBack
	}
	if (r.ReadBack > 0 || r.Checked > 0) && (w.ours || repaired != nil) {
		if now.Sub(w.repaired) > max(2*w.rest(), 10*time.Second) {
			w.streak = 0
		}
		w.streak++
		w.ours, w.repaired = false, now
		if w.streak >= patience && repaired != nil {
			drift = append(drift, Drift{Kind: DriftFought, Flow: repaired.Flow, Owner: repaired.Owner,
				Note: "somebody keeps changing our flows: the next repair waits " + w.rest().String() + "; find who else writes to this bridge"})
		}
	}
	if len(drift) == 0 {
		return
	}
	r.Drifted = map[DriftKind]int{}
	last := map[DriftKind]int{} // index of the last that is named
	var named []Drift
	for _, x := range drift {
		x.Time = now
		if r.Drifted[x.Kind]++; r.Drifted[x.Kind] > maxNamed {
			named[last[x.Kind]].More++
			continue
		}
		last[x.Kind] = len(named)
		named = append(named, x)
	}
	for _, x := range named {
		c.d.opts.Log.Warn("drift: somebody else wrote to the switch", "kind", string(x.Kind), "owner", x.Owner, "flow", x.Flow,
			"repaired-in", x.Repaired.Round(time.Microsecond), "note", x.Note, "more", x.More)
		if c.d.opts.Drift != nil {
			c.d.opts.Drift(x)
		}
	}
}
