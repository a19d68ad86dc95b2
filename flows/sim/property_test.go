package sim_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
)

// soak says that the long form of the tests is wanted.
var soak = os.Getenv("NVGRE_SOAK") == "1"

type rapidDice struct{ t *rapid.T }

func (d rapidDice) pick(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "pick") }

type randomDice struct{ *rand.Rand }

func (d randomDice) pick(n int) int { return d.IntN(n) }

func seeded(seed uint64) dice { return randomDice{rand.New(rand.NewPCG(seed, 1))} }

// run sends a packet through the network of the compiled flows.
func (w *world) run(net *sim.Network, in *input, j *sim.Journey) {
	var err error
	if in.port == 0 {
		err = net.Receive(in.host, in.outer, &in.frame, j)
	} else {
		err = net.Send(in.host, in.port, &in.frame, j)
	}
	if err != nil {
		panic(err) // the generators know their hosts
	}
}

// intent is what should become of a packet: the verdict, or one of others where
// several next hops share traffic.
type intent struct {
	oracle.Verdict
	others []oracle.Verdict
}

func (w *world) intent(in *input) intent {
	if in.port == 0 {
		return intent{Verdict: w.oracle.Received(in.host, in.outer, in.frame)}
	}
	all := w.oracle.SentAll(in.host, in.port, in.frame)
	return intent{all[0], all[1:]}
}

// differ returns what distinguishes a journey from what was intended; "" where
// nothing does.
func differ(v *intent, j *sim.Journey) string {
	diff := differOne(&v.Verdict, j)
	for i := range v.others {
		if diff == "" || differOne(&v.others[i], j) == "" {
			return ""
		}
	}
	return diff
}

func differOne(v *oracle.Verdict, j *sim.Journey) string {
	if j.Loops() {
		return "it loops"
	}
	want := 0
	if v.Kind != oracle.Dropped && v.Kind != oracle.Asked {
		want = 1
	}
	if len(j.Deliveries) != want {
		return fmt.Sprintf("%d deliveries", len(j.Deliveries))
	}
	if v.Tunnelled {
		if len(j.Hops) == 0 || len(j.Hops[0].Result.Outputs) != 1 || !v.Through(j.Hops[0].Result.Outputs[0].Outer) {
			return "another way through the underlay"
		}
	}
	if why := verify.DifferPunt(v, j); why != "" {
		return why
	}
	switch v.Kind {
	case oracle.Dropped:
		return differDrop(v, j)
	case oracle.Asked:
		return ""
	}
	hops := 1
	if v.Tunnelled {
		hops = 2
	}
	d := &j.Deliveries[0]
	switch {
	case len(j.Losses) > 0 || len(j.Hops) != hops:
		return "more than one packet"
	case d.Host != v.Host || d.Port != v.Port || d.Back != (v.Kind == oracle.Answered):
		return "delivered to another"
	case d.Frame != v.Frame:
		return "another frame: " + d.Frame.String()
	}
	return ""
}

func differDrop(v *oracle.Verdict, j *sim.Journey) string {
	if v.Reason == oracle.NoTunnel && len(j.Losses) == 1 && j.Losses[0].Reason == sim.LossNoTunnel && j.Losses[0].Host == v.Host {
		return ""
	}
	if len(j.Losses) > 0 || len(j.Hops) == 0 {
		return "lost in the underlay"
	}
	last := j.Hops[len(j.Hops)-1]
	if last.Host != v.Host {
		return "dropped on host " + last.Host
	}
	drop := verify.DropOf(last.Result)
	if drop == nil {
		return "ended without a drop flow: " + last.Result.End.String()
	}
	word, ok := flows.Reason(drop.Cookie)
	want := verify.DropReason(v.Reason)
	if v.Reason == oracle.UnknownCA {
		want = verify.UnknownCA(&last.In.Frame)
	}
	if !ok || word != want {
		return "dropped for " + word.String()
	}
	return ""
}

// tally counts verdicts, so that a test can show what it has met.
type tally struct {
	mu      sync.Mutex
	packets int
	seen    map[string]int
}

func (c *tally) add(seen map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string]int)
	}
	for k, n := range seen {
		c.seen[k] += n
		c.packets += n
	}
}

// kindOf is what the tally counts a verdict as.
func kindOf(in *input, v *intent) string {
	switch {
	case len(v.others) > 0:
		return "shared"
	case v.Kind == oracle.Asked:
		return "asked: " + v.Punt.String()
	case v.Kind == oracle.Dropped:
		return v.Reason.String()
	case v.Kind == oracle.Answered && in.frame.Type == packet.TypeARP:
		return "ARP answered"
	case v.Kind == oracle.Answered && in.frame.HasND() && in.frame.IP.Src.IsUnspecified():
		return "address detection answered"
	case v.Kind == oracle.Answered && in.frame.HasND():
		return "solicitation answered"
	case v.Kind == oracle.Answered && in.frame.HasIPv6():
		return "IPv6 echo answered"
	case v.Kind == oracle.Answered:
		return "echo answered"
	case in.port != 0 && v.Kind == oracle.Delivered && in.frame.HasARP():
		return fmt.Sprintf("ARP op %d delivered", in.frame.ARP.Op)
	case in.port != 0 && v.Kind == oracle.Delivered && in.frame.HasND():
		return fmt.Sprintf("ND type %d delivered", in.frame.L4.Type)
	case in.port == 0:
		return "delivered from the tunnel"
	case in.port != 0 && v.Tunnelled && v.Outer.Dst.Is6():
		return fmt.Sprintf("type %#x delivered over IPv6", in.frame.Type)
	case v.Tunnelled && v.Frame.IP.TTL != in.frame.IP.TTL:
		return "routed to another host"
	case v.Tunnelled:
		return "delivered to another host"
	case v.Frame.IP.TTL != in.frame.IP.TTL:
		return "routed on the host"
	}
	return "delivered on the host"
}

// check demands that every kind of verdict was met at least so often.
func (c *tally) check(t *testing.T, least int) {
	t.Helper()
	kinds := []string{"shared", "address detection answered", "solicitation answered", "IPv6 echo answered", "ARP op 1 delivered", "ARP op 2 delivered",
		"ND type 135 delivered", "ND type 136 delivered", "type 0x800 delivered over IPv6", "type 0x86dd delivered over IPv6", "ARP answered", "echo answered", "delivered from the tunnel", "routed to another host",
		"delivered to another host", "routed on the host", "delivered on the host"}
	for _, r := range oracle.Reasons() {
		kinds = append(kinds, r.String())
	}
	for _, k := range kinds {
		if c.seen[k] < least {
			t.Errorf("%q was met %d times among %d packets, want %d", k, c.seen[k], c.packets, least)
		}
	}
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(c.seen)) {
		lines = append(lines, fmt.Sprintf("%7d %s", c.seen[k], k))
	}
	t.Logf("%d packets:\n%s", c.packets, strings.Join(lines, "\n"))
}

// setRapid sets a flag of rapid for one test.
func setRapid(t *testing.T, name, value string) {
	t.Helper()
	f := flag.Lookup("rapid." + name)
	old := f.Value.String()
	if err := f.Value.Set(value); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(old) })
}

// For any policy and any state of its hosts the compiled flows do with any
// packet what the oracle says: everything intended arrives once, where and as it
// should; nothing else arrives anywhere; every drop has its flow.
func TestCompiledFlowsCarryOutIntent(t *testing.T) {
	for _, c := range []struct {
		name  string
		modes []mode
	}{
		{"flow port", []mode{modeFlow}},
		{"flow port, FlowID", []mode{modeFlowID, modeFlow}},
		{"port per VSID", []mode{modeVSID}},
		{"mixed", []mode{modeFlow, modeVSID, modeBoth, modeNoPort}},
	} {
		t.Run(c.name, func(t *testing.T) {
			worlds, packets := 150, 300
			if soak {
				worlds, packets = 1200, 300
			}
			setRapid(t, "checks", fmt.Sprint(worlds))
			var met tally
			rapid.Check(t, func(t *rapid.T) {
				d := rapidDice{t}
				w, err := randomWorld(d, c.modes...)
				if err != nil {
					t.Fatal(err)
				}
				seen := make(map[string]int)
				var j sim.Journey
				for range packets {
					in := w.randomPacket(d)
					if d.pick(20) == 0 {
						in.frame.Size = 1430 + uint16(d.pick(80)) // about as much as the underlay takes
					}
					v := w.intent(&in)
					w.run(w.net, &in, &j)
					if diff := differ(&v, &j); diff != "" {
						t.Fatalf("%s\nintended: %s\nfound: %s\n%s", in, v, diff, &j)
					}
					seen[kindOf(&in, &v)]++
				}
				met.add(seen)
			})
			if !t.Failed() {
				least := 5
				if c.name == "mixed" {
					met.check(t, least)
				} else {
					t.Logf("%d packets", met.packets)
				}
			}
		})
	}
}
