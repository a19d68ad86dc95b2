//go:build linux

package testbed_test

import (
	"net/netip"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Hosts with IPv6 provider addresses reach each other, also through the router.
func TestIPv6Underlay(t *testing.T) {
	subnet := func(name, prefix, router string) topology.Subnet {
		return topology.Subnet{Name: name, Prefix: netip.MustParsePrefix(prefix), Router: netip.MustParseAddr(router)}
	}
	host := func(name, subnet, pa string) topology.Host {
		return topology.Host{Name: name, Subnet: subnet, PAs: []netip.Prefix{netip.MustParsePrefix(pa)}}
	}
	tb := up(t, &topology.Plan{
		Name: "t-six", MTU: 1500,
		Subnets: []topology.Subnet{subnet("rack1", "fd99::/64", "fd99::fe"), subnet("rack2", "fd99:3::/64", "fd99:3::fe")},
		Hosts:   []topology.Host{host("h1", "rack1", "fd99::1/64"), host("h2", "rack1", "fd99::2/64"), host("h3", "rack2", "fd99:3::3/64")},
	}, testbed.Options{})
	for _, to := range []string{"fd99::2", "fd99:3::3"} {
		if code, out := run(t, tb, "h1", "ping", "-6", "-c1", "-W2", "-q", to); code != 0 {
			t.Errorf("h1 cannot ping %s:\n%s", to, out)
		}
	}
	if got := neighbourMAC(t, tb, "h1", "fd99::2"); got != tb.Inspect().Hosts[1].MAC {
		t.Errorf("fd99::2 is at %q", got)
	}
}
