//go:build linux

package testbed

import (
	"context"
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
)

// CapturePoints returns where to see frames: everything in the underlay for an
// empty name or "underlay", where each frame that a host sends is seen once; for
// a host what goes through its uplink; for a VM what goes through its adapter;
// for an underlay subnet what goes over its bridge.
func (t *Testbed) CapturePoints(name string) ([]capture.Point, error) {
	plan := t.Plan()
	if name == "" || name == "underlay" {
		var points []capture.Point
		for _, h := range plan.Hosts {
			points = append(points, t.uplinkPoints(h.Name, capture.Received)...)
		}
		return points, nil
	}
	if s, ok := plan.Subnet(name); ok {
		return []capture.Point{{Name: s.Name, Namespace: t.UnderlayNamespace(), Device: UnderlayBridge(s.Name), Direction: capture.Both}}, nil
	}
	n, err := t.Node(name)
	if err != nil {
		return nil, fmt.Errorf("no capture point %s: want underlay, an underlay subnet, a host or a VM: %w", name, err)
	}
	if n.VM != nil {
		return []capture.Point{{Name: n.Name, Namespace: n.Namespace, Device: VMDevice, Direction: capture.Both}}, nil
	}
	return t.uplinkPoints(n.Name, capture.Both), nil
}

func (t *Testbed) uplinkPoints(host string, d capture.Direction) (points []capture.Point) {
	for _, u := range t.uplinks(host) {
		points = append(points, capture.Point{Name: host, Namespace: t.UnderlayNamespace(), Device: u[1], Direction: d})
	}
	return points
}

// Knowledge returns what is known of where VMs are, to judge frames of the
// underlay by.
func (t *Testbed) Knowledge() *capture.Knowledge {
	plan := t.Plan()
	var vms []capture.Location
	for _, v := range plan.VMs {
		if h, ok := plan.Host(v.Host); ok {
			for _, pa := range h.PAs {
				vms = append(vms, capture.Location{VSID: v.VSID, MAC: v.MAC, PA: pa.Addr()})
			}
		}
	}
	var macs []capture.MAC
	for _, h := range plan.Hosts {
		macs = append(macs, capture.MAC(t.hostMAC(h.Name)))
	}
	for _, s := range plan.Subnets {
		macs = append(macs, capture.MAC(t.routerMAC(&s)))
	}
	return capture.NewKnowledge(vms, macs)
}

// Observe counts by kind what hosts send into the underlay while during runs.
// It hands each frame to see, unless that is nil.
func (t *Testbed) Observe(ctx context.Context, see func(capture.Kind, *capture.Packet), during func(context.Context) error) (*capture.Tally, error) {
	points, err := t.CapturePoints("underlay")
	if err != nil {
		return nil, err
	}
	known, tally := t.Knowledge(), capture.NewTally()
	watch, stop := context.WithCancel(ctx)
	defer stop()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		lost, err := capture.Run(watch, points, func() { close(ready) }, func(p *capture.Packet) bool {
			kind := known.Kind(p)
			tally.Count(kind, p)
			if see != nil {
				see(kind, p)
			}
			return true
		})
		tally.Lost = lost
		done <- err
	}()
	select {
	case <-ready:
	case err := <-done:
		return nil, err
	}
	err = during(ctx)
	stop()
	if err2 := <-done; err == nil {
		err = err2
	}
	return tally, err
}
