package ha

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// board runs a node's board until the test's end.
func (n *node) board() *Board {
	b := NewBoard(n.group)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			n.w.tb.Error(err)
		}
	}()
	n.w.tb.Cleanup(func() { cancel(); <-done })
	return b
}

// tenure returns that of a host, if this node has it.
func (n *node) tenure(host string) *Tenure {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	for t, who := range n.w.host(host).drivers {
		if who == n && t.Valid() {
			return t
		}
	}
	return nil
}

func ids(as []Attachment) []string {
	out := []string{}
	for _, a := range as {
		out = append(out, a.InterfaceID)
	}
	return out
}

func TestBoard(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := []string{"h/1", "h/2", "h/3", "h/4", "h/5", "h/6"}
	a, b := w.join(c, "a", hosts), w.join(c, "b", hosts)
	w.settled(5*time.Second, hosts, "a", "b")
	ba, bb := a.board(), b.board()
	for _, x := range []*Board{ba, bb} {
		select {
		case <-x.Synced():
		case <-time.After(5 * time.Second):
			t.Fatal("not synced")
		}
	}
	i := slices.IndexFunc(hosts, func(h string) bool { return a.tenure(h) != nil })
	host := hosts[i]
	ten := a.tenure(host)

	// Attachments of all kinds of names, and more than one transaction takes.
	many := []string{"vm/1", "vm 2", "ü"}
	for i := range 300 {
		many = append(many, fmt.Sprintf("vm-%d", i))
	}
	slices.Sort(many)
	start := time.Now()
	ba.PublishAttachments(ten, append(slices.Clone(many), ""))
	eventually(t, 5*time.Second, "b sees the attachments", func() bool { return slices.Equal(ids(bb.AttachmentsOf(host)), many) })
	t.Logf("%d attachments after %v", len(many), time.Since(start))
	select {
	case <-bb.AttachmentsChanged():
	case <-time.After(time.Second):
		t.Error("no word of the change")
	}
	if got := bb.TakeChanged(); !slices.Equal(got, []string{host}) {
		t.Errorf("changed: %v", got)
	}
	first := bb.AttachmentsOf(host)

	// One comes, one goes: the others' revisions stay.
	start = time.Now()
	less := slices.Sorted(slices.Values(append(slices.Clone(many[1:]), "new")))
	ba.PublishAttachments(ten, less)
	eventually(t, 5*time.Second, "b sees the difference", func() bool { return slices.Equal(ids(bb.AttachmentsOf(host)), less) })
	t.Logf("a difference after %v", time.Since(start))
	old := make(map[string]int64)
	for _, x := range first {
		old[x.InterfaceID] = x.Revision
	}
	for _, x := range bb.AttachmentsOf(host) {
		if was := old[x.InterfaceID]; was != 0 && was != x.Revision || was == 0 && x.Revision <= first[0].Revision {
			t.Errorf("%s: revision %d, was %d", x.InterfaceID, x.Revision, was)
		}
	}

	// What somebody else puts there while the tenure lasts does not stay.
	stray := a.group.keys.attachmentsOf(host) + "stray"
	if _, err := b.client.Put(t.Context(), stray, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the stray key is gone", func() bool {
		r, err := b.client.Get(t.Context(), stray)
		return err == nil && r.Count == 0
	})
	eventually(t, 5*time.Second, "as before", func() bool { return slices.Equal(ids(bb.AttachmentsOf(host)), less) })

	// Status: the last word counts, at a bounded rate.
	if err := ba.PublishStatus(ten, make([]byte, MaxStatus+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large a status: %v", err)
	}
	r, err := b.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := ba.PublishStatus(ten, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ba.PublishStatus(ten, []byte("last")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the status", func() bool { return bytes.Equal(bb.Statuses()[host].Value, []byte("last")) })
	if n := bb.Statuses()[host].Revision - r.Header.Revision; n > 4 {
		t.Errorf("1,001 statuses made %d transactions", n)
	}

	// The controller dies: its attachments stay, its status goes; the next owner
	// says what is there, and the one before has no say any more.
	a.wire.hold()
	w.settled(3*time.Second, hosts, "b")
	eventually(t, time.Second, "the status of the dead is gone", func() bool { _, ok := bb.Statuses()[host]; return !ok })
	if got := ids(bb.Attachments()[host]); !slices.Equal(got, less) {
		t.Errorf("%d attachments after the death of their controller, of %d", len(got), len(less))
	}
	bb.PublishAttachments(b.tenure(host), []string{"only"})
	eventually(t, 5*time.Second, "the next owner's word", func() bool { return slices.Equal(ids(bb.AttachmentsOf(host)), []string{"only"}) })
	ba.PublishAttachments(ten, []string{"stale"})
	_ = ba.PublishStatus(ten, []byte("stale"))
	b.group.SetHosts(slices.Delete(slices.Clone(hosts), i, i+1))
	a.group.SetHosts(slices.Delete(slices.Clone(hosts), i, i+1))
	a.wire.pass()
	eventually(t, 5*time.Second, "the first one sees it", func() bool { return slices.Equal(ids(ba.AttachmentsOf(host)), []string{"only"}) })

	// The host is taken out.
	bb.Forget(host)
	eventually(t, 5*time.Second, "forgotten", func() bool { return len(ba.AttachmentsOf(host)) == 0 && len(bb.Attachments()) == 0 })
	for _, x := range slices.Collect(maps.Values(bb.Statuses())) {
		if string(x.Value) == "stale" {
			t.Error("a stale status was written")
		}
	}
}
