package ovsdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// TestRealTunnelPorts uses the userspace datapath, which, unlike the dummy one,
// refuses gre ports that cannot be told apart.
func TestRealTunnelPorts(t *testing.T) {
	ovstest.Require(t, "ip")
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("the userspace datapath needs /dev/net/tun for a bridge's local port")
	}
	ns := fmt.Sprint("ovsdb-test-", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v: %s", err, out)
		}
	})
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	sw := ovsproc.New(dir, ovsproc.InNetNS(ns))
	t.Cleanup(func() {
		if err := sw.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := sw.Start(ctx); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, unix(sw.DBSock()), nil)
	eventually(t, h, "connected", connected)

	perVSID := Config{DatapathType: "netdev", PortMode: PortPerVSID, VSIDs: []tenant.VSID{5001, 6001, 16777214}}
	for _, cfg := range []Config{{DatapathType: "netdev"}, {TunnelPort: "gre-x"}, perVSID, {}, perVSID} {
		ensure(t, h, cfg)
		s := eventually(t, h, "the ports", func(s State) bool {
			return s.BridgeReady && (cfg.PortMode == FlowPort) == (s.TunnelOFPort != 0) && len(s.VSIDPorts) == len(cfg.VSIDs)
		})
		if len(s.Problems) != 0 {
			t.Errorf("%+v: problems %q", cfg, s.Problems)
		}
	}

	// Somebody else's port takes the same packets as ours would.
	vsctl(t, sw, "add-br", "br-x", "--", "set", "bridge", "br-x", "datapath_type=netdev")
	vsctl(t, sw, "add-port", "br-x", "theirs", "--", "set", "interface", "theirs", "type=gre",
		"options:remote_ip=flow", "options:local_ip=flow", "options:key=flow")
	ensure(t, h, Config{})
	s := eventually(t, h, "a problem", func(s State) bool { return len(s.Problems) == 1 })
	if !strings.Contains(s.Problems[0], "gre port nvgre0: ") || s.TunnelOFPort != 0 {
		t.Errorf("state: %+v", s)
	}
	vsctl(t, sw, "del-br", "br-x")
	eventually(t, h, "no problem", func(s State) bool { return len(s.Problems) == 0 && s.TunnelOFPort != 0 })
}
