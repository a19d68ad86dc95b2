package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A VM sends far more than the meter lets through. The others, and the policy,
// must not notice.
func packetInMetered(t *testing.T, n *Network) {
	const perSecond, rate, burst = 5000, 50, 100 // the limits are those of the bed
	frames := [][]byte{
		n.toRouter(t, "web1", n.of("db2", false), Mark(), ttl(1)), n.toRouter(t, "web1", n.of("db2", true), Mark(), ttl(1)),
		n.toRouter(t, "web1", "192.0.2.1", Mark(), nil), n.routerSolicitation("web1"),
	}
	var quiet, flooded []time.Duration
	for round := range 5 {
		quiet = append(quiet, n.changes(t, 2*round))
		before, start := n.Metric("nvgre_punts_total"), time.Now()
		stop := n.Flood("web1", perSecond, frames...)
		flooded = append(flooded, n.changes(t, 2*round+1))
		// web4 is on the same host.
		n.isTold(t, "web4", n.toRouter(t, "web4", n.of("db2", false), Mark(), ttl(1)), 11, 0, 0)
		n.isTold(t, "web4", n.toRouter(t, "web4", n.of("db2", true), Mark(), ttl(1)), 3, 0, 0)
		if offer := n.dhcp4(t, "web4", 1, discover(t, n.VM("web4").MAC)); offer.YourIPAddr.String() != n.of("web4", false) {
			t.Errorf("web4 is offered %s by DHCP", offer.YourIPAddr)
		}
		sent := stop()
		seconds := time.Since(start).Seconds()
		punts := n.Metric("nvgre_punts_total") - before
		most := rate*seconds + burst + 10 // 10: what others sent
		t.Logf("%d packets in %.2f s, of which %.0f came to the controller; changes of the policy took %v without, %v with them", sent, seconds, punts, quiet[round], flooded[round])
		if punts > most {
			t.Errorf("%.0f packets came to the controller in %.2f s, want at most %.0f", punts, seconds, most)
		}
		if float64(sent) < 10*punts || punts < rate*seconds/2 {
			t.Errorf("of %d packets %.0f came to the controller: that was no flood", sent, punts)
		}
	}
	slices.Sort(quiet)
	slices.Sort(flooded)
	if a, b := quiet[2], flooded[2]; b > 2*a+50*time.Millisecond {
		t.Errorf("a change of the policy takes %v during a flood, %v without", b, a)
	}
}

// changes returns how long a change of the policy takes until it is in the switch
// of h1.
func (n *Network) changes(t *testing.T, number int) time.Duration {
	t.Helper()
	ca := fmt.Sprintf("10.0.1.%d", 100+number)
	record := fmt.Sprintf("          - {vm: more%d, ca: %s, mac: 02:00:00:00:09:%02x, host: h2}\n", number, ca, number)
	before := n.ReadPolicy()
	at := strings.Index(before, "      - vsid: 5002")
	count := func() string {
		out, err := n.Switch("h1").Ofctl(t.Context(), "dump-aggregate", "br-int")
		if err != nil {
			t.Fatal(err)
		}
		_, flows, _ := strings.Cut(string(out), "flow_count=")
		return flows
	}
	was := count()
	start := time.Now()
	n.WritePolicy(before[:at] + record + before[at:])
	for count() == was {
		if time.Since(start) > 2*patience {
			t.Fatalf("%s is not there", ca)
		}
	}
	took := time.Since(start)
	n.WritePolicy(before)
	n.waitFor(t, "the old policy", func() bool { return count() == was })
	return took
}
