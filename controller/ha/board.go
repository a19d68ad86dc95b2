package ha

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Limits of what goes on the board.
const (
	// MaxStatus is the greatest size of a host's status, in octets.
	MaxStatus = 8 << 10
	// MaxInterfaceID is the greatest length of an iface-id, in octets.
	MaxInterfaceID = 1 << 10
	// statusInterval is the least time between two transactions for status.
	statusInterval = 250 * time.Millisecond
)

// ErrTooLarge: a fact is larger than the board takes.
var ErrTooLarge = errors.New("too large for the board")

// Attachment says that a host has an interface with that iface-id.
type Attachment struct {
	InterfaceID string
	// Revision of etcd that brought it: where two hosts name the same
	// attachment, the greater is the newer.
	Revision int64
}

// Status is what a host's controller said of it last.
type Status struct {
	Value    []byte // must not be changed
	Revision int64  // of etcd
}

// Board is where controllers tell each other what they see on the hosts that
// they drive. Its readings come from memory, and stay as they are while etcd
// does not answer.
//
// Attachments outlive the controller that wrote them; the host's next owner
// replaces them once it has seen the host's OVSDB. They are written at once, as
// differences. Status goes with its controller's lease, and is written every
// 250 ms at most, 100 hosts at a time. Both are written only in the tenure that
// they are published with: etcd checks it in the same transaction.
type Board struct {
	group  *Group
	synced chan struct{}

	attachmentsChanged, statusesChanged chan struct{}
	wakeAttachments, wakeStatus         chan struct{}
	progressChanged, wakeProgress       chan struct{}

	mu       sync.Mutex
	placed   map[string]map[string]placed // by host and iface-id
	lists    map[string][]Attachment      // made of placed when asked for
	changed  map[string]bool
	statuses map[string]Status
	progress map[string][]byte // by member
	seen     int64             // the mirror's revision of attachments
	advance  []byte            // this controller's progress; nil: none yet

	want     map[string]wantAttachments
	dirty    map[string]bool
	forget   map[string]int // attempts left
	report   map[string]wantStatus
	reported []string // hosts in report, oldest first
}

// placed is an attachment's key as last seen; a deletion of ours is kept until
// the mirror has seen it too.
type placed struct {
	rev     int64
	deleted bool
}

type wantAttachments struct {
	tenure *Tenure
	ids    map[string]bool
}

type wantStatus struct {
	tenure *Tenure
	value  []byte
}

// NewBoard returns the board of a group's controllers. It is empty until
// [Board.Run] has read it.
func NewBoard(g *Group) *Board {
	return &Board{
		group: g, synced: make(chan struct{}),
		attachmentsChanged: make(chan struct{}, 1), statusesChanged: make(chan struct{}, 1),
		wakeAttachments: make(chan struct{}, 1), wakeStatus: make(chan struct{}, 1),
		progressChanged: make(chan struct{}, 1), wakeProgress: make(chan struct{}, 1), progress: make(map[string][]byte),
		placed: make(map[string]map[string]placed), lists: make(map[string][]Attachment), changed: make(map[string]bool),
		statuses: make(map[string]Status),
		want:     make(map[string]wantAttachments), dirty: make(map[string]bool), forget: make(map[string]int),
		report: make(map[string]wantStatus),
	}
}

// Run reads and writes the board until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.writeAttachments(ctx) })
	wg.Go(func() { b.writeStatus(ctx) })
	wg.Go(func() { b.writeProgress(ctx) })
	mirror(ctx, b.group.cfg.Client, b.group.keys.board, b.group.cfg.Log, b.learn)
	wg.Wait()
	return nil
}

// Synced is closed when the board has been read once. Before that, what is
// attached elsewhere is not known, and flows made of it would be too few.
func (b *Board) Synced() <-chan struct{} { return b.synced }

// AttachmentsChanged receives after attachments have changed; see
// [Board.TakeChanged].
func (b *Board) AttachmentsChanged() <-chan struct{} { return b.attachmentsChanged }

// StatusesChanged receives after statuses have changed.
func (b *Board) StatusesChanged() <-chan struct{} { return b.statusesChanged }

// TakeChanged returns the hosts whose attachments have changed since the call
// before, sorted.
func (b *Board) TakeChanged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	hosts := slices.Sorted(maps.Keys(b.changed))
	clear(b.changed)
	return hosts
}

// AttachmentsOf returns a host's attachments by iface-id. The slice must not be
// changed; it stays as it is.
func (b *Board) AttachmentsOf(host string) []Attachment {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.list(host)
}

// Attachments returns those of all hosts that have any.
func (b *Board) Attachments() map[string][]Attachment {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string][]Attachment, len(b.placed))
	for host := range b.placed {
		if l := b.list(host); len(l) > 0 {
			m[host] = l
		}
	}
	return m
}

func (b *Board) list(host string) []Attachment {
	if l, ok := b.lists[host]; ok {
		return l
	}
	l := make([]Attachment, 0, len(b.placed[host]))
	for id, p := range b.placed[host] {
		if !p.deleted {
			l = append(l, Attachment{id, p.rev})
		}
	}
	slices.SortFunc(l, func(x, y Attachment) int { return cmp.Compare(x.InterfaceID, y.InterfaceID) })
	if len(b.placed[host]) > 0 {
		b.lists[host] = l
	}
	return l
}

// Statuses returns the status of each host that has one.
func (b *Board) Statuses() map[string]Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.statuses)
}

// PublishAttachments says what is attached to a host: all of it, each time. The
// board writes what differs, and keeps it so for as long as the tenure lasts.
// Identifiers longer than [MaxInterfaceID] are left out.
func (b *Board) PublishAttachments(t *Tenure, ids []string) {
	m := make(map[string]bool, len(ids))
	for _, id := range ids {
		if id == "" || len(id) > MaxInterfaceID {
			b.group.cfg.Log.Warn("an iface-id is empty or too long; it is ignored", "host", t.Host, "length", len(id))
			continue
		}
		m[id] = true
	}
	b.mu.Lock()
	b.want[t.Host] = wantAttachments{t, m}
	b.dirty[t.Host] = true
	delete(b.forget, t.Host)
	b.mu.Unlock()
	notify(b.wakeAttachments)
}

// PublishStatus says how a host is. Of several that wait, only the last is
// written. A value larger than [MaxStatus] is refused with [ErrTooLarge].
func (b *Board) PublishStatus(t *Tenure, value []byte) error {
	if len(value) > MaxStatus {
		return fmt.Errorf("ha: status of %s: %d octets: %w", t.Host, len(value), ErrTooLarge)
	}
	b.mu.Lock()
	if _, waits := b.report[t.Host]; !waits {
		b.reported = append(b.reported, t.Host)
	}
	b.report[t.Host] = wantStatus{t, slices.Clone(value)}
	b.mu.Unlock()
	notify(b.wakeStatus)
	return nil
}

// Forget takes all of a host off the board once nobody drives it any more: for
// hosts that exist no longer. It gives up after some time if somebody does.
func (b *Board) Forget(host string) {
	b.mu.Lock()
	b.forget[host] = 60
	delete(b.want, host)
	b.mu.Unlock()
	notify(b.wakeAttachments)
}

// learn takes in what the mirror saw.
func (b *Board) learn(bt batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	statuses, progress, seen := bt.reset, bt.reset, b.seen
	if bt.reset {
		b.seen = max(b.seen, bt.rev)
		clear(b.progress)
		there := make(map[string]bool, len(bt.entries))
		for _, e := range bt.entries {
			there[b.group.keys.board+e.key] = true
		}
		for host, ids := range b.placed {
			for id, p := range ids {
				if p.rev < bt.rev && !there[b.group.keys.attachmentsOf(host)+id] {
					b.place(host, id, placed{rev: bt.rev, deleted: true}, true)
				}
			}
		}
		maps.DeleteFunc(b.statuses, func(_ string, s Status) bool { return s.Revision < bt.rev })
	}
	for _, e := range bt.entries {
		kind, rest, _ := strings.Cut(e.key, "/")
		name, id, _ := strings.Cut(rest, "/")
		host, err := url.PathUnescape(name)
		if err != nil {
			continue // not written by us
		}
		switch kind {
		case "attachments":
			b.seen = max(b.seen, e.rev)
			b.place(host, id, placed{e.rev, e.deleted}, true)
		case "progress":
			progress = true
			if e.deleted {
				delete(b.progress, host)
			} else {
				b.progress[host] = e.value
			}
		case "status":
			if b.statuses[host].Revision > e.rev {
				continue // a transaction of ours told us more
			}
			statuses = true
			if e.deleted {
				delete(b.statuses, host)
			} else {
				b.statuses[host] = Status{e.value, e.rev}
			}
		}
	}
	if bt.reset {
		select {
		case <-b.synced:
		default:
			close(b.synced)
			notify(b.wakeAttachments)
		}
	}
	// Also where all that came was our own: [Board.Seen] has moved.
	if len(b.changed) > 0 || b.seen > seen {
		notify(b.attachmentsChanged)
	}
	if statuses {
		notify(b.statusesChanged)
	}
	if progress {
		notify(b.progressChanged)
	}
	if len(b.dirty) > 0 {
		notify(b.wakeAttachments)
	}
}

// place notes the state of an attachment's key, as a transaction of ours or the
// mirror tells.
func (b *Board) place(host, id string, p placed, mirrored bool) {
	ids := b.placed[host]
	old, known := ids[id]
	if known && old.rev > p.rev {
		return
	}
	if ids == nil {
		ids = make(map[string]placed)
		b.placed[host] = ids
	}
	if p.deleted && mirrored {
		delete(ids, id)
	} else {
		ids[id] = p
	}
	if len(ids) == 0 {
		delete(b.placed, host)
	}
	was, is := known && !old.deleted, !p.deleted
	if was != is || is && old.rev != p.rev {
		delete(b.lists, host)
		b.changed[host] = true
		if _, ours := b.want[host]; ours && mirrored {
			b.dirty[host] = true // somebody else may have changed it
		}
	}
}

func (k keys) attachmentsOf(host string) string { return k.attachments + url.PathEscape(host) + "/" }
func (k keys) statusOf(host string) string      { return k.status + url.PathEscape(host) }

// inTenure compares as long as the tenure's key is there.
func (k keys) inTenure(t *Tenure) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(k.owner(t.Host)), "=", t.rev)
}
