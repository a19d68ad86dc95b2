package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
)

// summary is what a controller tells the others of a host that it drives, so
// that each can answer for all hosts. How far a host is they know from its
// controller's progress, and what is attached from the board; a summary has what
// changes seldom.
type summary struct {
	Host admin.Host `json:"h"` // without name and revisions, with the first of each list
	// AsOf: of attachments that the board has of a later revision it says
	// nothing yet; of the others those are installed, without a problem, that are
	// not in Open.
	AsOf int64            `json:"a"`
	Open []openAttachment `json:"o,omitempty"` // by iface-id
	// More: those after the last in Open found no room.
	More bool `json:"m,omitempty"`
}

type openAttachment struct {
	IfaceID   string `json:"i"`
	Installed bool   `json:"y,omitempty"`
	Problem   string `json:"p,omitempty"`
}

const (
	// tellPause is the least time between two looks at what to tell.
	tellPause = 100 * time.Millisecond
	// companyEvery is how often a controller that is alone looks for others.
	companyEvery = time.Second
	// mostOpen, mostListed and longestText bound a summary.
	mostOpen, mostListed, longestText = 60, 3, 200
)

// gossip is the hosts of which there may be something to tell the others.
type gossip struct {
	mu    sync.Mutex
	hosts map[string]bool
	wake  chan struct{} // capacity 1
}

func newGossip() *gossip {
	return &gossip{hosts: make(map[string]bool), wake: make(chan struct{}, 1)}
}

func (g *gossip) add(host string) {
	g.mu.Lock()
	g.hosts[host] = true
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *gossip) take() (hosts []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for h := range g.hosts {
		hosts = append(hosts, h)
	}
	clear(g.hosts)
	return hosts
}

// tellOf notes that a host may be another than the others were told.
func (c *Controller) tellOf(h *host) {
	if c.board != nil {
		c.gossip.add(h.name)
	}
}

// tellOthers tells the other controllers how the hosts of this one are, while
// there are any others.
func (c *Controller) tellOthers(ctx context.Context) error {
	look := time.NewTicker(companyEvery)
	defer look.Stop()
	alone := true
	told := map[string]string{} // the last summary of each host
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.gossip.wake:
		case <-look.C:
		}
		was := alone
		if alone = len(c.group.Members()) < 2; alone {
			continue
		}
		hosts := c.gossip.take()
		c.mu.Lock()
		if was {
			clear(told)
			hosts = c.hostNames()
		}
		type message struct {
			tenure *ha.Tenure
			value  []byte
		}
		var out []message
		for _, name := range hosts {
			h := c.hosts[name]
			if h == nil || c.policy == nil {
				delete(told, name)
				continue
			}
			// The tenure counts: a host that went and came back is told of anew.
			value := c.summarize(h)
			if key := strconv.FormatInt(h.tenure.Revision(), 10) + string(value); told[name] != key {
				told[name] = key
				out = append(out, message{h.tenure, value})
			}
		}
		c.mu.Unlock()
		for _, m := range out {
			if err := c.board.PublishStatus(m.tenure, m.value); err != nil {
				c.log.Warn("telling the other controllers of a host", "host", m.tenure.Host, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tellPause):
		}
	}
}

// summarize makes the summary of a host, small enough for the board. c.mu is held.
func (c *Controller) summarize(h *host) []byte {
	s := summary{Host: c.hostStatus(h)}
	a := &s.Host
	a.Name, a.InSync, a.RevisionWanted, a.RevisionInstalled = "", false, 0, 0
	a.FlowsWanted, a.FlowsInstalled, a.LagSeconds, a.LastSync, a.LastSyncSeconds = 0, 0, 0, time.Time{}, 0
	a.Refused, a.Shadows = a.Refused[:min(len(a.Refused), 1)], a.Shadows[:min(len(a.Shadows), 1)]
	a.Problems = a.Problems[:min(len(a.Problems), mostListed)]
	for i := range a.Problems {
		a.Problems[i] = shortened(a.Problems[i])
	}
	for i := range a.Refused {
		r := &a.Refused[i]
		r.Flow, r.Error = shortened(r.Flow), shortened(r.Error)
	}
	for i := range a.Shadows {
		x := &a.Shadows[i]
		x.Flow, x.Over = shortened(x.Flow), shortened(x.Over)
	}
	for _, ch := range []*admin.Channel{&a.OVSDB, &a.OpenFlow} {
		ch.Error, ch.Hint = shortened(ch.Error), shortened(ch.Hint)
	}
	here := map[string]openAttachment{}
	for _, at := range c.attachmentStatus(h) {
		o, twice := here[at.IfaceID]
		here[at.IfaceID] = openAttachment{at.IfaceID, at.Installed && (!twice || o.Installed), cmp.Or(o.Problem, shortened(at.Problem))}
	}
	for _, at := range c.board.AttachmentsOf(h.name) {
		s.AsOf = max(s.AsOf, at.Revision)
		if o := here[at.InterfaceID]; !o.Installed || o.Problem != "" {
			o.IfaceID = at.InterfaceID
			s.Open = append(s.Open, o)
		}
	}
	for most := mostOpen; ; most /= 2 {
		if len(s.Open) > most {
			s.Open, s.More = s.Open[:most], true
		}
		value, err := json.Marshal(&s)
		if err != nil {
			panic(err) // texts and numbers
		}
		if len(value) <= ha.MaxStatus || most == 0 {
			return value
		}
	}
}

func shortened(text string) string {
	if len(text) > longestText {
		text = strings.ToValidUTF8(text[:longestText], "") + "…"
	}
	return text
}

// ofOthers returns the hosts that others drive, or nobody, and what is attached
// there, as far as they have told. c.mu is held.
func (c *Controller) ofOthers() (hosts []admin.Elsewhere, attachments []admin.Attachment) {
	owners, told := c.group.Owners(), c.board.Statuses()
	progress, exceptions := c.heard(owners)
	for name, addr := range c.reachable {
		if c.hosts[name] != nil {
			continue
		}
		o := owners[name]
		e := admin.Elsewhere{Name: name, Controller: o.Member}
		s := summary{More: true} // nothing was told
		if st, ok := told[name]; ok && o.Revision != 0 && st.Revision >= o.Revision {
			s = summary{}
			if json.Unmarshal(st.Value, &s) != nil {
				s = summary{More: true} // by another release
			}
			a := s.Host
			a.Name = name
			a.OVSDB.Address, a.OpenFlow.Address = cmp.Or(a.OVSDB.Address, addr.ovsdb.String()), cmp.Or(a.OpenFlow.Address, addr.openflow.String())
			a.Refused, a.Shadows, a.Problems = append([]admin.Refusal{}, a.Refused...), append([]admin.Shadow{}, a.Shadows...), append([]string{}, a.Problems...)
			r := progress[o.Member].reach
			if b, ok := exceptions[name]; ok {
				r = b.reach
			}
			a.RevisionInstalled = r.Policy
			if c.policy != nil {
				a.RevisionWanted = c.policy.Revision()
				a.InSync = r.Policy >= a.RevisionWanted && a.OpenFlow.Connected
			}
			e.Status = &a
		}
		hosts = append(hosts, e)
		for _, at := range c.board.AttachmentsOf(name) {
			st := admin.Attachment{Host: name, Controller: o.Member, IfaceID: at.InterfaceID}
			c.nameRecord(&st)
			st.Installed, st.Problem = s.of(at)
			st.Installed = st.Installed && st.VM != ""
			attachments = append(attachments, st)
		}
	}
	slices.SortFunc(hosts, func(a, b admin.Elsewhere) int { return cmp.Compare(a.Name, b.Name) })
	return hosts, attachments
}

// of returns what a summary says of an attachment. What it says nothing of yet
// is not installed.
func (s *summary) of(at ha.Attachment) (installed bool, problem string) {
	i, found := slices.BinarySearchFunc(s.Open, at.InterfaceID, func(o openAttachment, id string) int { return cmp.Compare(o.IfaceID, id) })
	switch {
	case found:
		return s.Open[i].Installed && at.Revision <= s.AsOf, s.Open[i].Problem
	case s.More && i == len(s.Open):
		return false, ""
	}
	return at.Revision <= s.AsOf, ""
}
