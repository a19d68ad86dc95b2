package ha

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A renewal tells whether anybody could have found the lease uncertain before.
func TestRenewalTellsOfALapse(t *testing.T) {
	l := &lease{start: time.Now()}
	l.renewed(time.Now(), time.Hour)
	if !l.valid() || kindOf(l.renewed(time.Now(), time.Hour)) != leaseRenewed {
		t.Error("a renewal in time counts as late")
	}
	l.renewed(time.Now().Add(-time.Hour), time.Minute)
	if l.valid() || kindOf(l.renewed(time.Now(), time.Hour)) != leaseRegained || !l.valid() {
		t.Error("a renewal that was late counts as in time")
	}
}

// tenures counts what a driver is told.
type tenures struct {
	Driver
	frozen, thawed int
}

func (d *tenures) Freeze(*Tenure) { d.frozen++ }
func (d *tenures) Thaw(*Tenure)   { d.thawed++ }

// A lease that was uncertain for so short a time that the loop did not see it
// freezes and thaws all the same: a driver that found its tenure invalid waits
// for that.
func TestShortLapseThaws(t *testing.T) {
	d := &tenures{}
	g, err := New(Config{Client: clientv3.NewCtxClient(t.Context()), Driver: d, Name: "a", Prefix: "/x/"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(g, t.Context(), nil)
	cur := &lease{start: time.Now(), member: "a"}
	cur.renewed(time.Now(), time.Hour)
	l.onLease(leaseEvent{cur, leaseJoined})
	l.hold["h"] = &holding{state: driving, tenure: &Tenure{Host: "h", lease: cur}}
	l.onLease(leaseEvent{cur, leaseRenewed})
	if d.frozen != 0 || d.thawed != 0 {
		t.Errorf("a renewal in time: %d, %d", d.frozen, d.thawed)
	}
	l.onLease(leaseEvent{cur, leaseRegained})
	if d.frozen != 1 || d.thawed != 1 || l.frozen {
		t.Errorf("a renewal that was late: %d, %d, frozen %v", d.frozen, d.thawed, l.frozen)
	}
}
