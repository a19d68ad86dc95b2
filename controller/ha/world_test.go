package ha

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// world stands for the switches: it watches who drives which host.
type world struct {
	tb testing.TB

	mu      sync.Mutex
	hosts   map[string]*fakeHost
	moves   int             // tenures begun
	undrive []time.Duration // without a driver, between two
}

type fakeHost struct {
	greatest uint64 // generation that the switch has seen
	drivers  map[*Tenure]*node
	frozen   map[*Tenure]bool
	freed    time.Time
}

func newWorld(tb testing.TB) *world { return &world{tb: tb, hosts: make(map[string]*fakeHost)} }

func (w *world) host(name string) *fakeHost {
	h := w.hosts[name]
	if h == nil {
		h = &fakeHost{drivers: make(map[*Tenure]*node), frozen: make(map[*Tenure]bool)}
		w.hosts[name] = h
	}
	return h
}

// node is one controller. It implements Driver.
type node struct {
	w      *world
	name   string
	group  *Group
	client *clientv3.Client
	wire   *wire
	cancel context.CancelFunc
	done   chan struct{}
	slow   atomic.Int64 // nanoseconds that a driver takes to stop
	frozen atomic.Int64
	lost   atomic.Int64
}

func (n *node) Acquire(t *Tenure) {
	host := t.Host
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	h := n.w.host(host)
	if t.Generation <= h.greatest {
		n.w.tb.Errorf("%s has %s with generation %d, not above %d", n.name, host, t.Generation, h.greatest)
	}
	h.greatest = t.Generation
	for other, who := range h.drivers {
		// A member that is cut off still holds what it cannot know to have lost,
		// but it must not write.
		if other.Valid() {
			n.w.tb.Errorf("%s has %s while %s may write to it", n.name, host, who.name)
		}
		if !h.frozen[other] && who.wire != nil && who.open() {
			n.w.tb.Errorf("%s has %s while %s drives it", n.name, host, who.name)
		}
	}
	if !h.freed.IsZero() {
		n.w.undrive = append(n.w.undrive, time.Since(h.freed))
	}
	h.drivers[t] = n
	n.w.moves++
}

func (n *node) open() bool {
	select {
	case <-n.wire.open():
		return true
	default:
		return false
	}
}

func (n *node) Lose(_ context.Context, t *Tenure) {
	host := t.Host
	pause(context.Background(), time.Duration(n.slow.Load()))
	n.lost.Add(1)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	h := n.w.host(host)
	if h.drivers[t] != n {
		n.w.tb.Errorf("%s loses %s, which it does not have", n.name, host)
	}
	delete(h.drivers, t)
	delete(h.frozen, t)
	if len(h.drivers) == 0 {
		h.freed = time.Now()
	}
}

func (n *node) Freeze(t *Tenure) {
	host := t.Host
	n.frozen.Add(1)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	h := n.w.host(host)
	if h.frozen[t] || h.drivers[t] != n {
		n.w.tb.Errorf("%s freezes %s, which it cannot", n.name, host)
	}
	if t.Valid() {
		n.w.tb.Errorf("%s freezes %s with a valid tenure", n.name, host)
	}
	h.frozen[t] = true
}

func (n *node) Thaw(t *Tenure) {
	host := t.Host
	n.frozen.Add(-1)
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	h := n.w.host(host)
	if !h.frozen[t] || h.drivers[t] != n {
		n.w.tb.Errorf("%s thaws %s, which it cannot", n.name, host)
	}
	if t.Generation != h.greatest {
		n.w.tb.Errorf("%s thaws %s, which has had another driver", n.name, host)
	}
	delete(h.frozen, t)
}

// tenureCount returns how many hosts a controller may write to.
func (n *node) tenureCount() int {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	count := 0
	for _, h := range n.w.hosts {
		for t, who := range h.drivers {
			if who == n && t.Valid() {
				count++
			}
		}
	}
	return count
}

// gaps tells how long hosts had no driver since the call before.
func (w *world) gaps() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.undrive
	w.undrive = nil
	if len(d) == 0 {
		return "no host without a driver"
	}
	slices.Sort(d)
	return fmt.Sprintf("%d moves, without a driver for %v (median) to %v", len(d), d[len(d)/2], d[len(d)-1])
}

// join starts a controller.
func (w *world) join(c *cluster, name string, hosts []string, change ...func(*Config)) *node {
	w.tb.Helper()
	n := &node{w: w, name: name, done: make(chan struct{})}
	n.client, n.wire = dial(w.tb, c)
	cfg := Config{Client: n.client, Prefix: "/test/", Name: name, TTL: time.Second, Driver: n, Log: testLog(w.tb, name)}
	for _, f := range change {
		f(&cfg)
	}
	n.start(cfg, hosts)
	w.tb.Cleanup(n.leave)
	return n
}

func (n *node) start(cfg Config, hosts []string) {
	n.w.tb.Helper()
	g, err := New(cfg)
	if err != nil {
		n.w.tb.Fatal(err)
	}
	n.group = g
	g.SetHosts(hosts)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		if err := g.Run(ctx); err != nil {
			n.w.tb.Error(err)
		}
	}()
}

// leave ends a controller in good order.
func (n *node) leave() {
	n.cancel()
	select {
	case <-n.done:
	case <-time.After(20 * time.Second):
		n.w.tb.Errorf("%s does not end", n.name)
	}
}

// owned returns how many hosts each controller drives, if every host has exactly
// one driver that may write.
func (w *world) owned(hosts []string) (map[string]int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := make(map[string]int)
	for _, name := range hosts {
		valid := 0
		for t, n := range w.host(name).drivers {
			if t.Valid() {
				valid++
				m[n.name]++
			}
		}
		if valid != 1 {
			return m, false
		}
	}
	return m, true
}

// settled waits until all hosts are driven, each by the one that it belongs to.
func (w *world) settled(within time.Duration, hosts []string, members ...string) time.Duration {
	w.tb.Helper()
	want := make(map[string]int)
	for _, h := range hosts {
		want[winner(h, members)]++
	}
	var got map[string]int
	ok := false
	d := eventuallyOr(w.tb, within, func() bool {
		got, ok = w.owned(hosts)
		return ok && fmt.Sprint(got) == fmt.Sprint(want)
	})
	if d < 0 {
		w.tb.Fatalf("not settled within %v: hosts driven %v, wanted %v", within, got, want)
	}
	return d
}

func eventuallyOr(tb testing.TB, within time.Duration, f func() bool) time.Duration {
	start := time.Now()
	for time.Since(start) < within {
		if f() {
			return time.Since(start)
		}
		pause(tb.Context(), 2*time.Millisecond)
	}
	return -1
}

func names(n int) []string {
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host/%d", i)
	}
	return hosts
}

func testLog(tb testing.TB, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("controller", name)
}
