//go:build linux

package capture_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair returns a namespace with the two ends, a and b, of a link.
func pair(t *testing.T) string {
	t.Helper()
	ovstest.Require(t)
	ns := fmt.Sprintf("nvt-cap-%d", os.Getpid())
	if _, err := netspace.Create(ns, "capture test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netspace.Delete(ns, "capture test") })
	if err := netspace.SetSysctl(ns, "ipv6/conf/default/disable_ipv6=1"); err != nil {
		t.Fatal(err)
	}
	h, err := netspace.Handle(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		l, err := h.LinkByName(name)
		if err == nil {
			err = h.LinkSetUp(l)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

func send(t *testing.T, ns, device string, frames ...[]byte) {
	t.Helper()
	if err := netspace.SendFrames(ns, device, frames...); err != nil {
		t.Fatal(err)
	}
}

func frame(etherType ...byte) []byte {
	b := append([]byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1}, etherType...)
	return append(b, make([]byte, 50)...)
}

func collect(t *testing.T, p capture.Point, n int, do func()) []*capture.Packet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var got []*capture.Packet
	lost, err := capture.Run(ctx, []capture.Point{p}, do, func(p *capture.Packet) bool {
		got = append(got, p)
		return len(got) < n
	})
	if err != nil || lost != 0 || len(got) != n {
		t.Fatalf("%d frames, want %d; lost %d, %v", len(got), n, lost, err)
	}
	return got
}

func TestRunSeesWhatIsReceivedWithItsTag(t *testing.T) {
	ns := pair(t)
	got := collect(t, capture.Point{Name: "here", Namespace: ns, Device: "b"}, 2, func() {
		send(t, ns, "b", frame(0x88, 0xb5)) // sent, not received
		send(t, ns, "a", frame(0x81, 0, 0, 7, 0x88, 0xb5), frame(0x88, 0xb6))
	})
	if f := got[0].Frame; len(f.VLANs) != 1 || f.VLANs[0] != 7 || f.EtherType != 0x88b5 || got[0].Point != "here" {
		t.Errorf("the tagged frame: %s at %s", f, got[0].Point)
	}
	if f := got[1].Frame; len(f.VLANs) != 0 || f.EtherType != 0x88b6 {
		t.Errorf("the other frame: %s", f)
	}
}

func TestRunSeesBothDirections(t *testing.T) {
	ns := pair(t)
	got := collect(t, capture.Point{Namespace: ns, Device: "b", Direction: capture.Both}, 2, func() {
		send(t, ns, "b", frame(0x88, 0xb5))
		send(t, ns, "a", frame(0x88, 0xb6))
	})
	if got[0].Frame.EtherType != 0x88b5 || got[1].Frame.EtherType != 0x88b6 {
		t.Errorf("seen: %s and %s", got[0].Frame, got[1].Frame)
	}
}

func TestRunGoesOnAfterTheLinkWasDown(t *testing.T) {
	ns := pair(t)
	h, err := netspace.Handle(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	b, err := h.LinkByName("b")
	if err != nil {
		t.Fatal(err)
	}
	collect(t, capture.Point{Namespace: ns, Device: "b"}, 1, func() {
		for _, change := range []func(netlink.Link) error{h.LinkSetDown, h.LinkSetUp} {
			if err := change(b); err != nil {
				t.Fatal(err)
			}
		}
		// The kernel notices a carrier a little later, and drops until then.
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			a, err := h.LinkByName("a")
			if err != nil {
				t.Fatal(err)
			}
			if a.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the link did not come up again")
			}
		}
		send(t, ns, "a", frame(0x88, 0xb6))
	})
}

func TestRunReportsAMissingDevice(t *testing.T) {
	ns := pair(t)
	if _, err := capture.Run(t.Context(), []capture.Point{{Namespace: ns, Device: "b"}, {Namespace: ns, Device: "c"}}, nil, nil); err == nil {
		t.Error("no error for a device that does not exist")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ns := pair(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := capture.Run(ctx, []capture.Point{{Namespace: ns, Device: "b"}}, cancel, func(*capture.Packet) bool { return true }); err != nil {
		t.Error(err)
	}
}
