package ha

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

func TestHostsAreShared(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(60)
	a := w.join(c, "a", hosts)
	t.Logf("one controller has all hosts after %v", w.settled(3*time.Second, hosts, "a"))
	b := w.join(c, "b", hosts)
	t.Logf("a second one has its share after %v", w.settled(3*time.Second, hosts, "a", "b"))
	t.Log(w.gaps())
	w.join(c, "c", hosts)
	w.settled(3*time.Second, hosts, "a", "b", "c")
	if got := len(a.group.Members()); got != 3 {
		t.Errorf("a knows %d members", got)
	}
	if got := len(a.group.Owners()); got != len(hosts) {
		t.Errorf("a knows %d owners", got)
	}
	t.Log(w.gaps())
	b.leave()
	w.settled(3*time.Second, hosts, "a", "c")
	t.Logf("one left in good order: %s", w.gaps())
}

func TestKilledControllerIsReplaced(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(60)
	w.join(c, "a", hosts)
	b := w.join(c, "b", hosts)
	w.join(c, "c", hosts)
	w.settled(5*time.Second, hosts, "a", "b", "c")
	b.wire.hold() // nothing is heard of it any more
	start := time.Now()
	w.settled(3*time.Second, hosts, "a", "c")
	t.Logf("its hosts had drivers again after %v", time.Since(start))
	if b.frozen.Load() == 0 {
		t.Error("it did not freeze its hosts")
	}
	b.wire.pass()
	w.settled(5*time.Second, hosts, "a", "b", "c")
	if b.lost.Load() == 0 {
		t.Error("it did not lose its hosts")
	}
}

func TestQuorumLossFreezes(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	w := newWorld(t)
	hosts := names(60)
	nodes := []*node{w.join(c, "a", hosts), w.join(c, "b", hosts), w.join(c, "c", hosts)}
	w.settled(5*time.Second, hosts, "a", "b", "c")
	moves := w.moves
	lost := func() (n int64) {
		for _, x := range nodes {
			n += x.lost.Load()
		}
		return n
	}
	before := lost()
	c.kill(0)
	c.kill(1)
	eventually(t, 5*time.Second, "all frozen", func() bool {
		n := int64(0)
		for _, x := range nodes {
			n += x.frozen.Load()
		}
		return n == int64(len(hosts))
	})
	pause(t.Context(), 2*time.Second) // longer than the leases
	c.start(t, 0)
	t.Logf("thawed %v after quorum", w.settled(5*time.Second, hosts, "a", "b", "c"))
	if w.moves != moves || lost() != before {
		t.Errorf("%d hosts moved, %d were lost", w.moves-moves, lost()-before)
	}
}

// Anything may happen to controllers: no host ever has two drivers that may
// write, generations grow, and in the end all is settled. The world checks.
func TestAnything(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(50)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed) // what happens also depends on the scheduler
	r := rand.New(rand.NewPCG(seed, 1))
	nodes := make(map[string]*node)
	members := []string{"a", "b", "c", "d"}
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		name := members[r.IntN(len(members))]
		n := nodes[name]
		switch {
		case n == nil:
			nodes[name] = w.join(c, name, hosts)
			nodes[name].slow.Store(int64(r.IntN(20)) * int64(time.Millisecond))
		case r.IntN(4) == 0:
			n.leave()
			delete(nodes, name)
		case n.open():
			n.wire.hold()
			pause(t.Context(), time.Duration(r.IntN(1200))*time.Millisecond)
		default:
			n.wire.pass()
		}
		pause(t.Context(), time.Duration(r.IntN(100))*time.Millisecond)
	}
	var left []string
	for name, n := range nodes {
		n.wire.pass()
		left = append(left, name)
	}
	if len(left) == 0 {
		w.join(c, "a", hosts)
		left = []string{"a"}
	}
	t.Logf("%d tenures; settled after %v", w.moves, w.settled(10*time.Second, hosts, left...))
}

func TestHandOverAwaitsTheDriver(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(20)
	a := w.join(c, "a", hosts)
	w.settled(5*time.Second, hosts, "a")
	a.slow.Store(int64(300 * time.Millisecond)) // the world would see two drivers
	b := w.join(c, "b", hosts)
	if d := w.settled(5*time.Second, hosts, "a", "b"); d < 300*time.Millisecond {
		t.Errorf("settled after %v, before the drivers had stopped", d)
	}
	// A host that exists no longer is lost, and its key goes.
	a.slow.Store(0)
	a.group.SetHosts(hosts[1:])
	b.group.SetHosts(hosts[1:])
	eventually(t, 5*time.Second, "the host is lost", func() bool {
		_, there := a.group.Owners()[hosts[0]]
		return !there && a.tenure(hosts[0]) == nil && b.tenure(hosts[0]) == nil
	})
}

// A controller that is told to end while etcd is out of reach ends, also in the
// middle of handing hosts over.
func TestEndsDuringHandOverWithoutEtcd(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(40)
	a := w.join(c, "a", hosts)
	w.settled(5*time.Second, hosts, "a")
	a.slow.Store(int64(300 * time.Millisecond)) // several hosts are on their way at a time
	w.join(c, "b", hosts)
	eventually(t, 5*time.Second, "hand-overs are under way", func() bool { return a.lost.Load() > 0 })
	a.wire.hold()
	before := time.Now()
	a.leave()
	if took := time.Since(before); took > 10*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// A client inside etcd's own process has no connection.
func TestInsideEtcd(t *testing.T) {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.TickMs, cfg.ElectionMs = t.TempDir(), "fatal", 50, 500
	peer := url.URL{Scheme: "http", Host: freeAddr(t)}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls = []url.URL{{Scheme: "unix", Host: "", Path: filepath.Join(t.TempDir(), "s")}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	<-e.Server.ReadyNotify()
	w := newWorld(t)
	hosts := names(10)
	n := &node{w: w, name: "a", done: make(chan struct{}), client: v3client.New(e.Server)}
	defer func() { _ = n.client.Close() }()
	n.start(Config{Client: n.client, Prefix: "/test/", Name: "a", TTL: time.Second, Driver: n}, hosts)
	w.settled(5*time.Second, hosts, "a")
	pause(t.Context(), 2*time.Second) // several renewals
	w.settled(time.Second, hosts, "a")
	n.leave()
	if w.moves != len(hosts) {
		t.Errorf("%d tenures", w.moves)
	}
}

func TestKeyChangedByHand(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(3)
	a := w.join(c, "a", hosts)
	w.settled(5*time.Second, hosts, "a")
	old := a.tenure(hosts[1])
	if _, err := a.client.Delete(t.Context(), a.group.keys.owner(hosts[1])); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "claimed again", func() bool { x := a.tenure(hosts[1]); return x != nil && x != old })
	if old.Valid() {
		t.Error("the first tenure is still valid")
	}
}

func TestSameName(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(30)
	a := w.join(c, "a", hosts)
	w.settled(5*time.Second, hosts, "a")
	b := w.join(c, "a", hosts)
	eventually(t, 8*time.Second, "the second one joins under another name", func() bool { return len(a.group.Members()) == 2 && b.group.Self().Member != "" })
	m := b.group.Self().Member
	if !strings.HasPrefix(m, "a~") || b.group.Self().TTL != time.Second {
		t.Errorf("the second one is %+v", b.group.Self())
	}
	eventually(t, 5*time.Second, "it has its share", func() bool { return b.tenureCount() > 0 && a.tenureCount()+b.tenureCount() == len(hosts) })
}

// Generations grow through a restored etcd, whose revisions begin anew, and
// beside those that a controller without a store makes of its clock.
func TestGenerationsGrow(t *testing.T) {
	t.Parallel()
	hosts := []string{"h"}
	var last uint64
	for range 2 {
		fromFile := uint64(time.Now().UnixMilli()) << 20
		if fromFile <= last {
			t.Errorf("file mode makes %d after %d", fromFile, last)
		}
		pause(t.Context(), 2*time.Millisecond)
		c := startEtcd(t, 1) // empty: as far back as a backup can be
		w := newWorld(t)
		for range 2 {
			n := w.join(c, "a", hosts)
			w.settled(5*time.Second, hosts, "a")
			g := n.tenure("h").Generation
			if g <= fromFile || g <= last {
				t.Errorf("generation %d, after %d and %d in file mode", g, last, fromFile)
			}
			last = g
			n.leave()
		}
	}

	// A clock that was ahead once does not make generations fall.
	c := startEtcd(t, 1)
	client, _ := dial(t, c)
	ahead := uint64(time.Now().Add(24 * time.Hour).UnixMilli())
	if _, err := client.Put(t.Context(), "/test/group/epoch", fmt.Sprintf("%020d", ahead)); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	n := w.join(c, "a", hosts)
	w.settled(5*time.Second, hosts, "a")
	if g := n.tenure("h").Generation; g <= ahead<<20 {
		t.Errorf("generation %d after an epoch of %d", g, ahead)
	}
}

func TestThousandHosts(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	w := newWorld(t)
	hosts := names(1000)
	var nodes []*node
	start := time.Now()
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, w.join(c, name, hosts, func(c *Config) { c.HandoverRate = 500 }))
	}
	if d := eventuallyOr(t, 10*time.Second, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.hosts) == len(hosts)
	}); d < 0 {
		t.Fatal("not all claimed")
	}
	all := time.Since(start)
	w.settled(20*time.Second, hosts, "a", "b", "c")
	t.Logf("1,000 hosts claimed by 3 controllers after %v, each by its own after %v: %s", all, time.Since(start), w.gaps())
	if all > 5*time.Second { // 0.1 s on two processors of its own
		t.Error("too slow")
	}
	nodes[0].wire.hold()
	t.Logf("one was cut off: all hosts have drivers after %v", w.settled(8*time.Second, hosts, "b", "c"))
	nodes[0].wire.pass()
	w.gaps()
	t.Logf("it came back: settled after %v: %s", w.settled(20*time.Second, hosts, "a", "b", "c"), w.gaps())
	start = time.Now()
	nodes[1].leave()
	w.settled(10*time.Second, hosts, "a", "c")
	t.Logf("one left in good order: settled after %v: %s", time.Since(start), w.gaps())
}

func TestConfigIsChecked(t *testing.T) {
	c := clientv3.NewCtxClient(context.Background())
	good := Config{Client: c, Driver: &node{}, Name: "a", Prefix: "/x/"}
	for what, change := range map[string]func(*Config){
		"no client": func(c *Config) { c.Client = nil },
		"no driver": func(c *Config) { c.Driver = nil },
		"no name":   func(c *Config) { c.Name = "" },
		"prefix":    func(c *Config) { c.Prefix = "/x" },
		"short":     func(c *Config) { c.TTL = 500 * time.Millisecond },
		"uneven":    func(c *Config) { c.TTL = 1500 * time.Millisecond },
		"rate":      func(c *Config) { c.HandoverRate = -1 },
	} {
		bad := good
		change(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	g, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Run(ctx); err != nil { // no hosts were ever set
		t.Error(err)
	}
}
