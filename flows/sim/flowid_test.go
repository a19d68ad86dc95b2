package sim_test

import (
	"math"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Packets between hosts have a FlowID, the same for all packets of a connection;
// over many connections all of them, as often each; the VSID above is untouched.
func TestFlowIDs(t *testing.T) {
	p := bigWorld(t, 3, 40).policy
	at := make(map[string][]flows.Attachment)
	for h := range p.Hosts() {
		at[h.Name] = flows.PlannedView(p, flows.Placement{}, h.Name).Attachments
	}
	w, err := newWorld(p, at, func(string) mode { return modeFlowID })
	if err != nil {
		t.Fatal(err)
	}
	from := w.seats[0]
	var to *tenant.LookupRecord
	for _, r := range w.records {
		if r.RDID == from.vm.RDID && r.VSID == from.vm.VSID && r.Host != from.host {
			to = &r
			break
		}
	}
	var seen [256]int
	var j sim.Journey
	const connections = 64 * 100
	for i := range connections {
		f := udp(from.vm.CA.Addr(), to.CA.Addr(), 64, from.vm.MAC)
		f.L4.Src, f.L4.Dst = uint16(1024+i), 53
		key := uint32(0)
		for packet := range 3 {
			if err := w.net.Send(from.host, from.port, &f, &j); err != nil {
				t.Fatal(err)
			}
			if len(j.Deliveries) != 1 {
				t.Fatal(&j)
			}
			is := j.Hops[0].Result.Outputs[0].Outer.Key
			if packet > 0 && is != key || is>>8 != uint32(to.VSID) {
				t.Fatalf("key %#x, before %#x", is, key)
			}
			key = is
			f.IP.TTL++
		}
		seen[key&0xff]++
	}
	chi := 0.0
	for id, n := range seen {
		if id < flows.FirstFlowID || id >= flows.FirstFlowID+flows.FlowIDs {
			if n > 0 {
				t.Errorf("FlowID %d", id)
			}
			continue
		}
		d := float64(n) - connections/flows.FlowIDs
		chi += d * d / (connections / flows.FlowIDs)
	}
	// 63 degrees of freedom: 103.4 is passed by chance once in a thousand times.
	t.Logf("chi-squared %.1f of 63 degrees of freedom", chi)
	if chi > 103.4 || math.IsNaN(chi) {
		t.Error("the FlowIDs are not spread evenly")
	}
}
