package controller

import (
	"cmp"
	"encoding/json"
	"slices"
	"sort"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// reach says which state a host's switch has confirmed: that of a policy, and of
// the attachments that the board told of, both as revisions of the store.
type reach struct {
	Policy uint64 `json:"p"`
	Board  int64  `json:"b"`
}

func (r reach) covers(need reach) bool { return r.Policy >= need.Policy && r.Board >= need.Board }

func (r reach) compare(o reach) int {
	return cmp.Or(cmp.Compare(r.Policy, o.Policy), cmp.Compare(r.Board, o.Board))
}

// progress is what a controller tells the others of its hosts.
type progress struct {
	reach            // of all its hosts but those in Behind
	Digest ha.Digest `json:"d"` // of the tenures that it speaks of
	Behind []behind  `json:"behind,omitempty"`
}

// behind is a host that has confirmed less, or refuses flows.
type behind struct {
	Host string `json:"h"`
	reach
	Refused []string `json:"r,omitempty"` // as host.refused
}

const (
	// maxBehind bounds how many hosts a progress names: with more, all count as
	// no further than the ones it could not name.
	maxBehind = 60
	// maxRefused bounds how many VMs of a host it names; more: "" for all.
	maxRefused = 4
	// progressPause and lookPause are the least times between two looks at one's
	// own progress, and at that of the others.
	progressPause, lookPause = 20 * time.Millisecond, 5 * time.Millisecond
	// idlePause is progressPause where nobody else drives hosts.
	idlePause = time.Second
)

// step is a state that drivers were told of.
type step struct {
	revision uint64 // as the drivers know it
	reach    reach
}

// maxSteps bounds how many are remembered: a host that lags further behind
// counts as not having moved.
const maxSteps = 1024

// strides is the loop's knowledge of how far it and its hosts are.
type strides struct {
	taken  reach // what the last compilation took in
	board  int64 // what was read of the board
	steps  []step
	behind []faraway   // of the last look at the others
	told   time.Time   // when the others were told of progress
	looked time.Time   // when theirs was looked at
	again  *time.Timer // has the loop turn
	rings  time.Time   // when it does
}

// compiled notes that a state was compiled; revision is what the drivers whose
// hosts it changes were told, 0: it changed none.
func (p *strides) compiled(policy, revision uint64) {
	p.taken = reach{policy, p.board}
	if revision == 0 {
		return
	}
	if len(p.steps) == maxSteps {
		p.steps = append(p.steps[:0], p.steps[maxSteps/2:]...)
	}
	p.steps = append(p.steps, step{revision, p.taken})
}

// of returns how far a host of ours is.
func (p *strides) of(h *host) reach {
	switch {
	case h.desired == nil:
		return reach{}
	case h.confirmed >= h.desired.Revision:
		h.reach = p.taken
	default:
		if i := sort.Search(len(p.steps), func(i int) bool { return p.steps[i].revision > h.confirmed }); i > 0 && p.steps[i-1].reach.compare(h.reach) > 0 {
			h.reach = p.steps[i-1].reach
		}
	}
	return h.reach
}

// tellProgress tells the other controllers how far the hosts of this one are.
func (c *Controller) tellProgress() {
	if c.board == nil || !c.boardRead || c.policy == nil {
		return
	}
	pause := progressPause
	if !c.shared() {
		pause = idlePause
	}
	if !c.due(&c.strides.told, pause) {
		return
	}
	var data []byte
	var err error
	for most := maxBehind; ; most /= 2 {
		if data, err = json.Marshal(c.progressNow(most)); len(data) <= ha.MaxStatus || most == 0 {
			break
		}
	}
	if err == nil {
		err = c.board.PublishProgress(data)
	}
	if err != nil {
		c.log.Warn("telling the other controllers of progress", "error", err)
	}
}

// due reports whether a pause is over since something was done last, and notes
// that it is done now. Otherwise it has the loop turn when it is.
func (c *Controller) due(last *time.Time, pause time.Duration) bool {
	now := time.Now()
	at := last.Add(pause)
	if !at.After(now) {
		*last = now
		return true
	}
	p := &c.strides
	switch {
	case p.again == nil:
		p.again = time.AfterFunc(at.Sub(now), c.inbox.ring)
	case p.rings.Before(now) || at.Before(p.rings):
		p.again.Reset(at.Sub(now))
	default:
		return false // it turns sooner
	}
	p.rings = at
	return false
}

// progressNow adds up how far the hosts of this controller are. It differs from
// the one before only where a host has confirmed something. It names at most so
// many hosts.
func (c *Controller) progressNow(most int) progress {
	var p progress
	all := make([]behind, 0, len(c.owned))
	for name, t := range c.owned {
		p.Digest = p.Digest.With(name, t.Revision())
		b := behind{Host: name}
		if h := c.hosts[name]; h != nil {
			b.reach = c.strides.of(h)
			for r := range h.refused {
				b.Refused = append(b.Refused, r)
			}
			slices.Sort(b.Refused)
			if len(b.Refused) > maxRefused || len(b.Refused) > 0 && b.Refused[0] == "" {
				b.Refused = []string{""}
			}
		}
		all = append(all, b)
	}
	// First those that refuse something, then from the last to the foremost.
	slices.SortFunc(all, func(a, b behind) int {
		return cmp.Or(-cmp.Compare(min(len(a.Refused), 1), min(len(b.Refused), 1)), a.reach.compare(b.reach), cmp.Compare(a.Host, b.Host))
	})
	if len(all) == 0 {
		p.reach = c.strides.taken
		return p
	}
	p.reach = all[len(all)-1].reach
	for i, b := range all {
		if len(b.Refused) == 0 && b.reach == p.reach {
			break
		}
		if i == most {
			p.reach = all[len(all)-1].reach
			for _, b := range all[i:] {
				if b.reach.compare(p.reach) < 0 {
					p.reach = b.reach
				}
			}
			if len(b.Refused) > 0 {
				p.reach = reach{} // what is refused cannot be told: nothing is certain
			}
			break
		}
		p.Behind = append(p.Behind, b)
	}
	return p
}

// faraway is a host of the policy with how far it is, whoever drives it.
type faraway struct {
	name    string
	reach   reach
	insync  bool // driven here, and holds all that is known here
	refused []string
}

// heard returns what controllers have told of the tenures that they have now, by
// controller, and the hosts that they name.
func (c *Controller) heard(owners map[string]ha.Owner) (told map[string]progress, exceptions map[string]behind) {
	digests := map[string]ha.Digest{}
	for name, o := range owners {
		digests[o.Member] = digests[o.Member].With(name, o.Revision)
	}
	told, exceptions = map[string]progress{}, map[string]behind{}
	for member, data := range c.board.Progress() {
		var p progress
		// What speaks of other tenures than are known here is old, or is about to
		// be understood.
		if json.Unmarshal(data, &p) == nil && p.Digest == digests[member] {
			told[member] = p
			for _, b := range p.Behind {
				exceptions[b.Host] = b
			}
		}
	}
	return told, exceptions
}

// look gathers how far the hosts are that other controllers drive, and those
// that came here meanwhile: those that are furthest behind first.
func (c *Controller) look() []faraway {
	owners := c.group.Owners()
	told, exceptions := c.heard(owners)
	out := c.strides.behind[:0]
	for name := range c.reachable {
		f := faraway{name: name}
		if h := c.hosts[name]; h != nil {
			f.insync = h.desired != nil && h.confirmed >= h.desired.Revision
			for r := range h.refused {
				f.refused = append(f.refused, r)
			}
		} else if p, ok := told[owners[name].Member]; ok {
			f.reach = p.reach
			if b, ok := exceptions[name]; ok {
				f.reach, f.refused = b.reach, b.Refused
			}
		}
		out = append(out, f)
	}
	c.strides.behind = out
	return out
}

// checkFar looks which waits need wait for other controllers' hosts no longer.
func (c *Controller) checkFar() {
	if len(c.waits.far) == 0 || !c.due(&c.strides.looked, lookPause) {
		return
	}
	hosts := c.look()
	for x := range c.waits.far {
		need := x.need
		if need.Board = c.placedAt(x.host.name, x.key.ifaceID); need.Board == 0 {
			continue // others cannot know of it
		}
		if !slices.ContainsFunc(hosts, func(f faraway) bool {
			ok := f.insync || f.reach.covers(need)
			if ok && !slices.Contains(f.refused, "") && !slices.Contains(f.refused, x.owner) {
				return false
			}
			return c.holds(f.name, x.domain)
		}) {
			delete(c.waits.far, x)
			c.waits.look(x)
		}
	}
}

// placedAt returns the revision that put an attachment on the board; 0: none has yet.
func (c *Controller) placedAt(host, ifaceID string) int64 {
	list := c.board.AttachmentsOf(host)
	i, ok := slices.BinarySearchFunc(list, ifaceID, func(a ha.Attachment, id string) int { return cmp.Compare(a.InterfaceID, id) })
	if !ok {
		return 0
	}
	return list[i].Revision
}

// holds reports whether a host has a VM of a routing domain, as the board says.
func (c *Controller) holds(host string, domain tenant.RDID) bool {
	return slices.ContainsFunc(c.board.AttachmentsOf(host), func(a ha.Attachment) bool {
		r, ok := c.policy.RecordByIfaceID(a.InterfaceID)
		return ok && r.RDID == domain
	})
}

// shared reports whether others drive hosts that this daemon could reach.
func (c *Controller) shared() bool { return c.board != nil && len(c.hosts) < len(c.reachable) }
