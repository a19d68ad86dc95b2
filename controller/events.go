package controller

import (
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
)

// dirt says what about a host the loop has to look at again.
type dirt uint8

const (
	dirtDatabase dirt = 1 << iota // its database has news, or its configuration has
	dirtSwitch                    // its switch has
	dirtThawed                    // it may be written to again
)

// claim says that this daemon may drive a host from now on, or no longer.
type claim struct {
	host   string
	tenure *ha.Tenure // nil: no longer
	done   func()     // called when nothing is written to the host any more; nil where nobody waits
}

// inbox collects what the loop has to look at. It holds each host once, however
// often something happens there, so that a busy host fills nothing. Claims of
// one host come one after the other, so that these are few as well.
type inbox struct {
	mu     sync.Mutex
	hosts  map[string]dirt
	claims []claim
	board  bool          // what other controllers say has changed
	ended  bool          // no loop takes claims any more
	wake   chan struct{} // capacity 1
}

func newInbox() *inbox {
	return &inbox{hosts: make(map[string]dirt), wake: make(chan struct{}, 1)}
}

// put notes that something has happened on a host. It never blocks.
func (b *inbox) put(host string, d dirt) {
	b.mu.Lock()
	b.hosts[host] |= d
	b.mu.Unlock()
	b.ring()
}

func (b *inbox) putClaim(c claim) {
	b.mu.Lock()
	ended := b.ended
	if !ended {
		b.claims = append(b.claims, c)
	}
	b.mu.Unlock()
	if ended && c.done != nil {
		c.done()
	}
	b.ring()
}

// end answers all claims that the loop has not taken, now and from now on: no
// host is driven any more.
func (b *inbox) end() {
	b.mu.Lock()
	claims := b.claims
	b.claims, b.ended = nil, true
	b.mu.Unlock()
	for _, c := range claims {
		if c.done != nil {
			c.done()
		}
	}
}

func (b *inbox) putBoard() {
	b.mu.Lock()
	b.board = true
	b.mu.Unlock()
	b.ring()
}

// ring wakes the loop.
func (b *inbox) ring() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take returns what has gathered, and forgets it.
func (b *inbox) take() (hosts map[string]dirt, claims []claim, board bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.hosts) > 0 {
		hosts = b.hosts
		b.hosts = make(map[string]dirt)
	}
	claims, board = b.claims, b.board
	b.claims, b.board = nil, false
	return hosts, claims, board
}
