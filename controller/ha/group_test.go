package ha

import (
	"testing"
	"time"
)

func TestHostsAreShared(t *testing.T) {
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(60)
	a := w.join(c, "a", hosts)
	t.Logf("one controller has all hosts after %v", w.settled(3*time.Second, hosts, "a"))
	b := w.join(c, "b", hosts)
	t.Logf("a second one has its share after %v", w.settled(3*time.Second, hosts, "a", "b"))
	moved := w.moves - len(hosts)
	w.join(c, "c", hosts)
	w.settled(3*time.Second, hosts, "a", "b", "c")
	if got := len(a.group.Members()); got != 3 {
		t.Errorf("a knows %d members", got)
	}
	if got := len(a.group.Owners()); got != len(hosts) {
		t.Errorf("a knows %d owners", got)
	}
	t.Logf("moved %d, then %d; longest time without a driver %v", moved, w.moves-len(hosts)-moved, w.undrive)
	b.leave()
	t.Logf("one left in good order: settled after %v; longest time without a driver %v", w.settled(time.Second, hosts, "a", "c"), w.undrive)
}

func TestKilledControllerIsReplaced(t *testing.T) {
	c := startEtcd(t, 1)
	w := newWorld(t)
	hosts := names(60)
	w.join(c, "a", hosts)
	b := w.join(c, "b", hosts)
	w.join(c, "c", hosts)
	w.settled(5*time.Second, hosts, "a", "b", "c")
	b.wire.hold() // nothing is heard of it any more
	start := time.Now()
	w.settled(2*time.Second, hosts, "a", "c")
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
