package ovsdb

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func TestEnsureOnAFreshHost(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{TableNames: map[uint8]string{0: "classify", 253: "sentinel"}, Listener: "ptcp:16653:127.0.0.1"})

	// Ensure waited for ovs-vswitchd: no more waiting is needed.
	s := h.State()
	if !s.BridgeReady || len(s.DatapathID) != 16 || s.TunnelOFPort == 0 || len(s.Problems) != 0 {
		t.Errorf("state after Ensure: %+v", s)
	}
	for _, c := range []struct{ want, args string }{
		{"secure", "get-fail-mode br-int"},
		{`"ptcp:16653:127.0.0.1"`, "get-controller br-int"},
		{"[OpenFlow10, OpenFlow13, OpenFlow14, OpenFlow15]", "get bridge br-int protocols"},
		{"{nvgre-ofctl=bridge}", "get bridge br-int external_ids"},
		{"{key=flow, local_ip=flow, remote_ip=flow}", "get interface nvgre0 options"},
		{"gre", "get interface nvgre0 type"},
		{"{nvgre-ofctl=tunnel}", "get interface nvgre0 external_ids"},
		{"{nvgre-ofctl=tunnel}", "get port nvgre0 external_ids"},
		{"{nvgre-ofctl=local-port}", "get port br-int external_ids"},
		{"internal", "get interface br-int type"},
	} {
		got := vsctl(t, sw, strings.Fields(c.args)...)
		if strings.Trim(got, `"`) != strings.Trim(c.want, `"`) {
			t.Errorf("ovs-vsctl %s: %s, want %s", c.args, got, c.want)
		}
	}
	out := ofctl(t, sw, "dump-table-features", "br-int")
	for _, name := range []string{`("classify")`, `("sentinel")`} {
		if !strings.Contains(out, name) {
			t.Errorf("ovs-ofctl dump-table-features shows no table %s:\n%.400s", name, out)
		}
	}
	// The tools' own defaults must still reach the bridge.
	if _, err := sw.Run(t.Context(), "ovs-ofctl", "-O", "OpenFlow10", "show", "br-int"); err != nil {
		t.Error(err)
	}
}

func TestPortPerVSID(t *testing.T) {
	sw, h := startSwitch(t)
	perVSID := func(v ...tenant.VSID) Config { return Config{PortMode: PortPerVSID, VSIDs: v} }
	ports := func() string { return strings.Join(strings.Fields(vsctl(t, sw, "list-ports", "br-int")), " ") }
	check := func(want string) {
		t.Helper()
		if got := ports(); got != want {
			t.Errorf("ports %q, want %q", got, want)
		}
	}

	ensure(t, h, perVSID(5001, 16777214, 5001))
	check("nvgre-16777214 nvgre-5001")
	s := h.State()
	if len(s.VSIDPorts) != 2 || s.VSIDPorts[5001] == 0 || s.VSIDPorts[16777214] == 0 || s.TunnelOFPort != 0 {
		t.Errorf("state: %+v", s)
	}
	if got := vsctl(t, sw, "get", "interface", "nvgre-5001", "options:key"); got != fmt.Sprintf("%q", fmt.Sprint(5001<<8)) {
		t.Errorf("key %s", got)
	}
	kept := s.VSIDPorts[5001]

	ensure(t, h, perVSID(5001, 6001))
	check("nvgre-5001 nvgre-6001")
	if s := h.State(); s.VSIDPorts[5001] != kept || len(s.VSIDPorts) != 2 {
		t.Errorf("a port that stayed changed its number: %v, had %d", s.VSIDPorts, kept)
	}

	ensure(t, h, Config{})
	check("nvgre0")
	if s := h.State(); s.TunnelOFPort == 0 || len(s.VSIDPorts) != 0 {
		t.Errorf("state: %+v", s)
	}
	ensure(t, h, Config{TunnelPort: "gre-x"})
	check("gre-x")
	if s := h.State(); s.TunnelOFPort == 0 || len(s.Problems) != 0 {
		t.Errorf("a renamed port: %+v", s)
	}
	ensure(t, h, perVSID())
	check("")
}

func TestBridgeOfSomebodyElse(t *testing.T) {
	sw, h := startSwitch(t)
	vsctl(t, sw, "add-br", "br-int", "--", "set", "bridge", "br-int", "other_config:hwaddr=02:00:00:00:00:99", "external_ids:owner=neutron")
	before := vsctl(t, sw, "list", "bridge", "br-int")

	err := h.Ensure(t.Context(), Config{})
	var notOurs *NotOursError
	if !errors.As(err, &notOurs) || notOurs.Kind != "bridge" {
		t.Fatalf("error %v, want a *NotOursError for the bridge", err)
	}
	if want := "ovs-vsctl set bridge br-int external_ids:nvgre-ofctl=bridge"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say `%s`", err, want)
	}
	if after := vsctl(t, sw, "list", "bridge", "br-int"); after != before {
		t.Errorf("the bridge was changed from\n%s\nto\n%s", before, after)
	}
	if s := h.State(); s.BridgeReady {
		t.Error("BridgeReady for a bridge that is not ours")
	}

	// The datapath of somebody's bridge is not made anew, even on adoption.
	if err := h.Ensure(t.Context(), Config{AdoptBridge: true, DatapathType: "netdev"}); err == nil || !strings.Contains(err.Error(), "datapath_type=netdev") {
		t.Errorf("adopting a bridge of another datapath type: %v", err)
	}
	if after := vsctl(t, sw, "list", "bridge", "br-int"); after != before {
		t.Errorf("the bridge was changed from\n%s\nto\n%s", before, after)
	}

	// The command of the error's text hands the bridge over; so does permission.
	for _, handOver := range []func(){
		func() { ensure(t, h, Config{AdoptBridge: true}) },
		func() {
			vsctl(t, sw, "del-br", "br-int", "--", "add-br", "br-int", "--", "set", "bridge", "br-int", "external_ids:owner=neutron", "other_config:hwaddr=02:00:00:00:00:99")
			vsctl(t, sw, "set", "bridge", "br-int", "external_ids:nvgre-ofctl=bridge")
			eventually(t, h, "our bridge", func(s State) bool { return s.BridgeReady })
			ensure(t, h, Config{})
		},
	} {
		handOver()
		if s := h.State(); !s.BridgeReady || s.TunnelOFPort == 0 {
			t.Errorf("state: %+v", s)
		}
		if got := vsctl(t, sw, "get", "bridge", "br-int", "external_ids:owner", "other_config:hwaddr", "fail_mode"); got != "neutron\n\"02:00:00:00:00:99\"\nsecure" {
			t.Errorf("the bridge's other settings: %s", got)
		}
	}
}

func TestPortsOfSomebodyElse(t *testing.T) {
	sw, h := startSwitch(t)
	vsctl(t, sw, "add-br", "br-phy", "--", "add-port", "br-phy", "nvgre0", "--", "set", "interface", "nvgre0", "type=internal")
	err := h.Ensure(t.Context(), Config{})
	var notOurs *NotOursError
	if !errors.As(err, &notOurs) || notOurs.Kind != "port" || notOurs.Bridge != "br-phy" || !strings.Contains(err.Error(), "ovs-vsctl del-port nvgre0") {
		t.Fatalf("a foreign port nvgre0: %v", err)
	}
	if got := vsctl(t, sw, "list-br"); got != "br-phy" {
		t.Errorf("bridges %q: something was made although the port was in the way", got)
	}
	vsctl(t, sw, "del-port", "nvgre0")
	poll(t, "room for nvgre0", func() bool { return h.Ensure(t.Context(), Config{}) == nil })

	// An interface inside somebody's bond has no port of its name.
	vsctl(t, sw, "add-bond", "br-phy", "bond0", "nvgre-5001", "bar", "--", "set", "interface", "nvgre-5001", "type=dummy", "--", "set", "interface", "bar", "type=dummy")
	// Until the host has heard of it, only the database knows and refuses.
	poll(t, "a foreign interface nvgre-5001 to be told", func() bool {
		err := h.Ensure(t.Context(), Config{PortMode: PortPerVSID, VSIDs: []tenant.VSID{5001}})
		if err == nil {
			t.Fatal("the interface of somebody else was taken")
		}
		return errors.As(err, &notOurs) && notOurs.Kind == "interface"
	})
}

func TestActiveControllerOfSomebodyElse(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{})
	vsctl(t, sw, "set-controller", "br-int", "tcp:127.0.0.1:1", "ptcp:16700:127.0.0.1")
	eventually(t, h, "a problem reported", func(s State) bool { return len(s.Problems) == 1 && strings.Contains(s.Problems[0], "tcp:127.0.0.1:1") })
	before := vsctl(t, sw, "list", "controller")
	err := h.Ensure(t.Context(), Config{Listener: "ptcp:16653:127.0.0.1", TunnelPort: "gre-x"})
	var active *ActiveControllerError
	if !errors.As(err, &active) || len(active.Targets) != 1 || active.Targets[0] != "tcp:127.0.0.1:1" {
		t.Fatalf("error %v, want an *ActiveControllerError", err)
	}
	if got := vsctl(t, sw, "list-ports", "br-int"); got != "nvgre0" {
		t.Errorf("ports %q: something was changed", got)
	}
	if after := vsctl(t, sw, "--columns=_uuid,target,external_ids", "list", "controller"); !strings.Contains(before, "tcp:127.0.0.1:1") || strings.Contains(after, "16653") {
		t.Errorf("controllers now:\n%s", after)
	}
}

func TestEnsureRefusesActiveTargets(t *testing.T) {
	sw, h := startSwitch(t)
	for _, target := range []string{"tcp:127.0.0.1:6653", "ssl:127.0.0.1:6653", "unix:/tmp/x", "127.0.0.1"} {
		if err := h.Ensure(t.Context(), Config{Listener: target}); err == nil || !strings.Contains(err.Error(), "ptcp:") {
			t.Errorf("Listener %q: error %v", target, err)
		}
	}
	if got := vsctl(t, sw, "list-br"); got != "" {
		t.Errorf("bridges %q", got)
	}
}

// TestEnsureKeepsFlows: of all that Ensure may change on a bridge of ours, only
// the datapath type costs flows.
func TestEnsureKeepsFlows(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{})
	vsctl(t, sw, "clear", "bridge", "br-int", "protocols")
	ofctl(t, sw, "add-flow", "br-int", "table=7,priority=7,cookie=0x4e56,actions=drop")
	ofctl(t, sw, "add-group", "br-int", "group_id=7,type=all")
	for _, cfg := range []Config{
		{},
		{Listener: "ptcp:16654:127.0.0.1"},
		{Listener: "ptcp:16655:127.0.0.1"},
		{Listener: "ptcp:16655:127.0.0.1", TableNames: map[uint8]string{7: "seven"}},
		{Listener: "pssl:16655:127.0.0.1", TableNames: map[uint8]string{7: "sept", 8: "huit"}},
		{PortMode: PortPerVSID, VSIDs: []tenant.VSID{5001}},
		{},
	} {
		ensure(t, h, cfg)
		if out := ofctl(t, sw, "dump-flows", "br-int"); !strings.Contains(out, "cookie=0x4e56") {
			t.Fatalf("%+v flushed the flow:\n%s", cfg, out)
		}
		if out := ofctl(t, sw, "dump-groups", "br-int"); !strings.Contains(out, "group_id=7") {
			t.Fatalf("%+v flushed the group:\n%s", cfg, out)
		}
	}
}

func TestForeignSettingsSurvive(t *testing.T) {
	sw, h := startSwitch(t)
	vsctl(t, sw, "set", "open_vswitch", ".", "external_ids:system-id=s1", "other_config:x=y")
	vsctl(t, sw, "add-br", "br-phy", "--", "add-port", "br-phy", "eth9", "--", "set", "interface", "eth9", "type=dummy")
	full := Config{Listener: "ptcp:16653:127.0.0.1", TableNames: map[uint8]string{3: "three", 4: "four", 5: "five"}}
	ensure(t, h, full)
	// An operator tunes what is ours and adds what is not.
	vsctl(t, sw,
		"set", "bridge", "br-int", "other_config:mac-table-size=99", "external_ids:owner=me", "--",
		"set", "interface", "nvgre0", "options:tos=inherit", "external_ids:note=a", "--",
		"set", "port", "nvgre0", "external_ids:note=b", "--",
		"add-port", "br-int", "vm1", "--", "set", "interface", "vm1", "type=dummy", "--",
		"--id=@ft", "create", "flow_table", "flow_limit=1000", "name=mine", "--", "add", "bridge", "br-int", "flow_tables", "9=@ft", "--",
		"--id=@c", "create", "controller", "target=\"ptcp:16660:127.0.0.1\"", "--", "add", "bridge", "br-int", "controller", "@c")
	table4 := vsctl(t, sw, "--bare", "--columns=_uuid", "find", "flow_table", "name=four")
	vsctl(t, sw, "set", "flow_table", table4, "flow_limit=77")

	for _, cfg := range []Config{
		{Listener: "ptcp:16654:127.0.0.1", TableNames: map[uint8]string{3: "drei", 9: "ours"}},
		{PortMode: PortPerVSID, VSIDs: []tenant.VSID{5001}},
		full,
	} {
		ensure(t, h, cfg)
		for _, c := range []struct{ args, want string }{
			{"get bridge br-int other_config:mac-table-size", `"99"`},
			{"get bridge br-int external_ids:owner", "me"},
			{"get open_vswitch . external_ids:system-id", "s1"},
			{"get open_vswitch . other_config:x", "y"},
			{"list-ports br-phy", "eth9"},
			{"--bare --columns=flow_limit find flow_table name=mine", "1000"},
			{"--bare --columns=name find flow_table flow_limit=1000", "mine"},
			{"--bare --columns=target find controller external_ids={}", "ptcp:16660:127.0.0.1"},
			{"iface-to-br vm1", "br-int"},
			{"get flow_table " + table4 + " flow_limit", "77"},
		} {
			if got := vsctl(t, sw, strings.Fields(c.args)...); got != c.want {
				t.Errorf("%+v: ovs-vsctl %s: %q, want %q", cfg, c.args, got, c.want)
			}
		}
	}
	// What the operator keeps lost our label, so the name stays theirs to give.
	if got := vsctl(t, sw, "get", "flow_table", table4, "name", "external_ids"); got != "[]\n{}" {
		t.Errorf("table 4: %s", got)
	}
}

func TestEnsureMendsWhatIsOurs(t *testing.T) {
	sw, h := startSwitch(t)
	cfg := Config{Listener: "ptcp:16653:127.0.0.1", TableNames: map[uint8]string{3: "three"}}
	ensure(t, h, cfg)
	vsctl(t, sw,
		"set", "bridge", "br-int", "fail_mode=standalone", "protocols=OpenFlow10,OpenFlow11", "--",
		"set", "interface", "nvgre0", "type=vxlan", "options:key=7", "options:tos=inherit", "--",
		"del-controller", "br-int")
	ensure(t, h, cfg)
	for _, c := range []struct{ args, want string }{
		{"get bridge br-int fail_mode", "secure"},
		{"get bridge br-int protocols", "[OpenFlow10, OpenFlow11, OpenFlow13, OpenFlow15]"},
		{"get interface nvgre0 type", "gre"},
		{"get interface nvgre0 options", "{key=flow, local_ip=flow, remote_ip=flow, tos=inherit}"},
		{"get-controller br-int", "ptcp:16653:127.0.0.1"},
	} {
		if got := vsctl(t, sw, strings.Fields(c.args)...); got != c.want {
			t.Errorf("ovs-vsctl %s: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestDatapathTypeOfOurBridge(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{DatapathType: "netdev"})
	ensure(t, h, Config{})
	if got := vsctl(t, sw, "get", "bridge", "br-int", "datapath_type"); got != "netdev" {
		t.Errorf("datapath type %q: it was to be left as it was", got)
	}
	ensure(t, h, Config{DatapathType: "system"})
	if got := vsctl(t, sw, "get", "bridge", "br-int", "datapath_type"); got != "system" {
		t.Errorf("datapath type %q, want system", got)
	}
}
