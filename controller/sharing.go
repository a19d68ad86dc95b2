package controller

import (
	"context"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// claims takes the decisions about who drives which host to the loop.
type claims struct{ inbox *inbox }

// Acquire implements [ha.Driver].
func (c claims) Acquire(t *ha.Tenure) { c.inbox.putClaim(claim{host: t.Host, tenure: t}) }

// Lose implements [ha.Driver]. A driver ends as soon as it is told to.
func (c claims) Lose(_ context.Context, t *ha.Tenure) {
	done := make(chan struct{})
	c.inbox.putClaim(claim{host: t.Host, done: func() { close(done) }})
	<-done
}

// Freeze implements [ha.Driver]: drivers ask before they write.
func (c claims) Freeze(*ha.Tenure) {}

// Thaw implements [ha.Driver].
func (c claims) Thaw(t *ha.Tenure) { c.inbox.put(t.Host, dirtThawed) }

// watchBoard passes on that other controllers have seen something.
func (c *Controller) watchBoard(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.board.Synced():
		c.inbox.putBoard()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.board.AttachmentsChanged():
			c.inbox.putBoard()
		case <-c.board.ProgressChanged():
			c.inbox.ring()
		}
	}
}

// readBoard takes over what other controllers have seen on their hosts.
func (c *Controller) readBoard() {
	select {
	case <-c.board.Synced():
		c.boardRead = true
	default:
		return
	}
	c.strides.board = c.board.Seen() // before the changes are taken
	for _, name := range c.board.TakeChanged() {
		if h := c.hosts[name]; h == nil || !h.seen {
			c.elsewhere(name)
		}
	}
}

// elsewhere makes what the board says of a host count, while this daemon does
// not drive it or has not seen it yet.
func (c *Controller) elsewhere(name string) {
	if c.board == nil {
		return
	}
	list := c.board.AttachmentsOf(name)
	if _, ok := c.reachable[name]; !ok && len(list) == 0 {
		c.engine.RemoveHost(name)
		return
	}
	in := calc.Input{Elsewhere: true, Attachments: make([]flows.Attachment, len(list))}
	for i, a := range list {
		in.Attachments[i].IfaceID = a.InterfaceID
	}
	c.engine.SetHost(name, in)
}

// publishAttachments tells other controllers what is on a host of ours.
func (c *Controller) publishAttachments(h *host, as []flows.Attachment) {
	if c.board == nil {
		return
	}
	ids := make([]string, len(as))
	for i := range as {
		ids[i] = as[i].IfaceID
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); !slices.Equal(ids, h.published) || h.published == nil {
		h.published = ids
		c.board.PublishAttachments(h.tenure, ids)
	}
}

func storeStatus(s store.Status) *admin.Store {
	out := &admin.Store{Connected: s.Connected, Revision: s.Latest, Staging: s.Staging, Size: s.Size, Members: []admin.Member{}}
	if s.Error != nil {
		out.Error = s.Error.Error()
	}
	for _, m := range s.Members {
		out.Members = append(out.Members, admin.Member{Name: m.Name, URLs: append([]string{}, m.PeerURLs...), Leader: m.Leader})
	}
	return out
}
