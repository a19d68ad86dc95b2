//go:build linux

package testbed_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

func bondSubnet(name string, vlan uint16, nets ...string) topology.Subnet {
	s := topology.Subnet{Name: name, VLAN: vlan, Prefix: netip.MustParsePrefix(nets[0]), Prefix6: netip.MustParsePrefix(nets[1])}
	if len(nets) > 2 {
		s.Router, s.Router6 = netip.MustParseAddr(nets[2]), netip.MustParseAddr(nets[3])
	}
	return s
}

func bondHost(name, subnet string, pas ...string) topology.Host {
	h := topology.Host{Name: name, Subnet: subnet}
	for _, pa := range pas {
		h.PAs = append(h.PAs, netip.MustParsePrefix(pa))
	}
	return h
}

// Hosts with two bonded links and provider addresses of both families reach each
// other, also through a router.
func TestBondBehindRouter(t *testing.T) {
	tb := up(t, &topology.Plan{
		Name: "t-bondr", MTU: 1500, Bond: true,
		Subnets: []topology.Subnet{bondSubnet("rack1", 0, "10.96.0.0/24", "fd96::/64", "10.96.0.254", "fd96::fe"),
			bondSubnet("rack2", 0, "10.96.3.0/24", "fd96:3::/64", "10.96.3.254", "fd96:3::fe")},
		Hosts: []topology.Host{bondHost("h1", "rack1", "10.96.0.1/24", "fd96::1/64"), bondHost("h3", "rack2", "10.96.3.3/24", "fd96:3::3/64")},
	}, testbed.Options{})
	for _, to := range []string{"10.96.3.3", "fd96:3::3"} {
		if code, out := run(t, tb, "h1", "ping", "-c3", "-i0.2", "-W1", "-q", to); code != 0 {
			t.Errorf("h1 cannot ping %s:\n%s", to, out)
		}
	}
	if in := tb.Inspect(); in.Underlay.Subnets[1].Router6 != "fd96:3::fe" || in.Underlay.Subnets[1].Prefix6 != "fd96:3::/64" {
		t.Errorf("inspect: %+v", in.Underlay)
	}
}

// Hosts with provider addresses of both families on a tagged VLAN of two bonded
// links reach each other, also with one of the links down. Every frame in the
// underlay carries the tag.
func TestTaggedBondOfBothFamilies(t *testing.T) {
	tb := up(t, &topology.Plan{
		Name: "t-bond", MTU: 1500, Bond: true,
		Subnets: []topology.Subnet{bondSubnet("rack1", 100, "10.97.0.0/24", "fd97::/64")},
		Hosts:   []topology.Host{bondHost("h1", "rack1", "10.97.0.1/24", "fd97::1/64"), bondHost("h2", "rack1", "10.97.0.2/24", "fd97::2/64")},
	}, testbed.Options{})
	all := func(when string) {
		t.Helper()
		for _, to := range []string{"10.97.0.2", "fd97::2"} {
			if code, out := run(t, tb, "h1", "ping", "-c3", "-i0.2", "-W1", "-q", to); code != 0 {
				t.Errorf("%s: h1 cannot ping %s:\n%s", when, to, out)
			}
		}
	}
	points, err := tb.CapturePoints("h1")
	if err != nil || len(points) != 2 {
		t.Fatalf("points of h1: %v, %v", points, err)
	}
	for i, p := range points {
		if err := tb.SetLink("h1:"+string(rune('2'-i)), false); err != nil { // the other one
			t.Fatal(err)
		}
		deadline := time.Now().Add(5 * time.Second)
		for {
			if code, _ := run(t, tb, "h1", "ping", "-c1", "-W1", "-q", "10.97.0.2"); code == 0 || time.Now().After(deadline) {
				break
			}
		}
		frames := watch(t, p, 100*time.Millisecond, func() { all("with link " + string(rune('1'+i))) }, nil)
		if len(frames) < 10 {
			t.Errorf("%d frames by link %d", len(frames), i+1)
		}
		for _, f := range frames {
			if f.Frame.EtherType == capture.EtherTypeIPv4 && (len(f.Frame.VLANs) != 1 || f.Frame.VLANs[0]&0xfff != 100) {
				t.Fatalf("a frame with tags %v: %s", f.Frame.VLANs, f.Frame)
			}
		}
		if err := tb.SetLink("h1:"+string(rune('2'-i)), true); err != nil {
			t.Fatal(err)
		}
	}
	if err := tb.SetLink("h1:3", false); err == nil || !strings.Contains(err.Error(), "want 1 to 2") {
		t.Errorf("a third link: %v", err)
	}
	if in := tb.Inspect(); in.Hosts[0].Port2 == "" || in.Underlay.Subnets[0].VLAN != 100 {
		t.Errorf("inspect: %+v", in.Underlay)
	}
}
