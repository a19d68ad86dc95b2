package controller_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
)

// manyVMs are n VMs spread over the hosts, with moves and gaps that depend on
// the round, so that each round's policy differs from the one before.
func manyVMs(n, round, hosts int) []vm {
	vms := []vm{{"web1", "10.0.1.11", ""}, {"web2", "10.0.1.12", "h2"}}
	for i := range n {
		if (i+round)%7 == 0 {
			continue
		}
		vms = append(vms, vm{fmt.Sprintf("vm%d", i), fmt.Sprintf("10.0.%d.%d", 100+i/200, 1+i%200), fmt.Sprintf("h%d", 1+(i+round)%hosts)})
	}
	return vms
}

// killRounds is how often the daemon is killed at a random moment.
const killRounds = 24

// records is how many VMs the policy has about: enough for a sync to take tens
// of milliseconds.
const records = 1500

// inForce is what the daemon logs when it takes a policy.
const inForce = "the policy is in force"

func TestKilledAtRandomMoments(t *testing.T) {
	w := newNetwork(t, 3, "")
	w.setPolicy(manyVMs(records, 0, 3)...)
	first := w.spawn()
	w.await("bridges", synced)
	w.attach("h1", "web1")
	w.attach("h2", "web2")
	w.await("installed", installedEverywhere(2))
	if err := first.end(syscall.SIGKILL); err == nil {
		t.Error("the daemon ended by itself")
	}

	inTheMidst := 0
	// Seeded by the round, so that a failure can be looked at again.
	for round := range killRounds {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		p := w.spawn()
		if r.IntN(2) == 0 {
			// While it starts: read-back and first bundle.
			w.setPolicy(manyVMs(records, round+1, 3)...)
			eventually(t, "the policy is read", func() bool { return strings.Contains(p.log.String(), inForce) })
		} else {
			w.await("it is up", synced)
			loaded := strings.Count(p.log.String(), inForce)
			w.setPolicy(manyVMs(records, round+1, 3)...)
			eventually(t, "the policy is read", func() bool { return strings.Count(p.log.String(), inForce) > loaded })
		}
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond) // the random moment
		if err := p.end(syscall.SIGKILL); err == nil {
			t.Fatalf("round %d: the daemon ended by itself:\n%s", round, p.log)
		}
		if _, after, ok := strings.Cut(p.log.String(), inForce); ok {
			if i := strings.LastIndex(after, inForce); i >= 0 {
				after = after[i:]
			}
			if strings.Count(after, "flows in place") < len(w.names) {
				inTheMidst++ // not every host had confirmed the policy
			}
		}
		// The pipeline stands at every moment: a bundle is in force or it is not.
		for _, h := range w.names[:2] {
			fs := w.flows(h)
			n := 0
			for _, f := range fs {
				if strings.Contains(f, "table=20") {
					n++
				}
			}
			if n < records*3/4 {
				t.Fatalf("round %d: %s holds %d flows, %d in table ca", round, h, len(fs), n)
			}
		}
	}

	t.Logf("%d of %d times killed while a policy was on its way to the switches", inTheMidst, killRounds)
	if inTheMidst == 0 {
		t.Error("no kill came during a sync: this test shows nothing")
	}

	last := w.spawn()
	st := w.await("all is in place", installedEverywhere(2))
	after := map[string][]string{}
	for _, h := range st.Hosts {
		after[h.Name] = w.flows(h.Name)
		if len(after[h.Name])+w.meters(h.Name) != h.FlowsWanted+1 {
			t.Errorf("%s holds %d flows, %d and the sentinel are wanted", h.Name, len(after[h.Name]), h.FlowsWanted)
		}
	}
	if err := last.end(syscall.SIGKILL); err == nil {
		t.Error("the daemon ended by itself")
	}

	// A restart with nothing changed sends the sentinel and nothing else.
	w.spawn()
	w.await("all is in place again", func(s *admin.Status) bool { return installedEverywhere(2)(s) && s.Policy.Revision > st.Policy.Revision })
	if d := minus(w.mods(), nil); d != "add 0, change 0, delete 0, sentinel 3" {
		t.Errorf("a restart with nothing changed sent %s", d)
	}
	for _, h := range w.names {
		if !slices.Equal(withoutSentinel(w.flows(h)), withoutSentinel(after[h])) {
			t.Errorf("%s: the flows changed", h)
		}
	}
}

func TestTermEndsCleanlyAndKeepsTheFlows(t *testing.T) {
	w := newNetwork(t, 2, "")
	w.setPolicy(threeVMs[:2]...)
	p := w.spawn()
	w.await("bridges", synced)
	w.attach("h1", "web1")
	w.attach("h2", "web2")
	w.await("installed", installedEverywhere(2))
	before := w.flows("h1")
	start := time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("the end took %s", d)
	}
	if !slices.Equal(w.flows("h1"), before) {
		t.Error("the flows changed")
	}
	if _, err := admin.FetchStatus(context.Background(), w.socket); err == nil {
		t.Error("somebody still answers")
	}
}

// SIGTERM also ends a daemon whose hosts hang.
func TestTermWhileHostsHang(t *testing.T) {
	w := newNetwork(t, 1, "")
	w.setPolicy(threeVMs[:1]...)
	stop := w.run()
	w.await("sync", synced)
	stop()
	if err := w.hosts["h1"].StopOVSDB(); err != nil { // now ovs-vswitchd answers nothing
		t.Fatal(err)
	}
	p := w.spawn()
	w.await("the host is tried", func(s *admin.Status) bool { return len(s.Hosts) == 1 })
	start := time.Now()
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("the end took %s", d)
	}
}
