package crosscheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// database is a host's database, real or simulated, with a Host that looks after
// it.
type database struct {
	name string
	sock string
	run  *ovsproc.Switch // for ovs-vsctl

	changes int // made by hand
	*ovsdb.Host
}

func startHost(t *testing.T, d *database) *database {
	t.Helper()
	ep, err := ovsaddr.Parse("unix:" + d.sock)
	if err != nil {
		t.Fatal(err)
	}
	d.Host = ovsdb.NewHost("h1", ep, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); d.Host.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	d.until(t, "connected", func(s ovsdb.State) bool { return s.Connected })
	return d
}

func (d *database) until(t *testing.T, what string, ok func(ovsdb.State) bool) ovsdb.State {
	t.Helper()
	for late := time.After(patience); ; {
		s := d.State()
		if ok(s) {
			return s
		}
		select {
		case <-d.Changes():
		case <-late:
			t.Fatalf("%s: never %s: %+v", d.name, what, s)
		}
	}
}

// vsctl runs ovs-vsctl on the database and returns what it says.
func (d *database) vsctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := d.run.Run(t.Context(), "ovs-vsctl", append([]string{"--timeout=20", "--db=unix:" + d.sock}, args...)...)
	if err != nil {
		return err.Error()
	}
	return out
}

// byHand makes a change with ovs-vsctl and waits until the Host has seen it:
// what the Host does next, it does on the grounds of its own copy. A word that
// the same transaction leaves in the host's name tells the copies apart.
func (d *database) byHand(t *testing.T, args string) error {
	t.Helper()
	d.changes++
	mark := fmt.Sprintf("change-%d", d.changes)
	args += " -- set Open_vSwitch . external_ids:hostname=" + mark
	if out := d.vsctl(t, strings.Fields(args)...); strings.Contains(out, "exit status") {
		return errors.New(out)
	}
	d.until(t, "told of "+args, func(s ovsdb.State) bool { return s.Hostname == mark })
	return nil
}

// normal leaves out of a state what differs between two sound hosts: names and
// numbers that nobody chose.
func normal(s ovsdb.State) ovsdb.State {
	s.ConnError = nil // Connected says it
	s.SystemID, s.Hostname, s.Version, s.EncapIPs = "", "", "", nil
	some := func(n uint32) uint32 { return min(n, 1) }
	if s.DatapathID != "" {
		s.DatapathID = "some"
	}
	s.TunnelOFPort = some(s.TunnelOFPort)
	for v, n := range s.VSIDPorts {
		s.VSIDPorts[v] = some(n)
	}
	for i := range s.Attachments {
		s.Attachments[i].OFPort = some(s.Attachments[i].OFPort)
	}
	return s
}

// TestOVSDBHost has package ovsdb look after a real and a simulated database, and
// compares state and contents after every step.
func TestOVSDBHost(t *testing.T) {
	real := ovstest.Start(t)
	f := startFleet(t, fleet.Options{Plan: fleet.Plan{Hosts: 1, Records: 1, Domains: 1, DomainsPerHost: 1}, Bare: true})
	_, sock, _ := strings.Cut(f.Host(0).OVSDB(), ":")
	both := []*database{
		startHost(t, &database{name: "Open vSwitch", sock: real.DBSock(), run: real}),
		startHost(t, &database{name: "simulation", sock: sock, run: real}),
	}
	names := map[uint8]string{0: "classify", 20: "ca"}
	flow := ovsdb.Config{DatapathType: "netdev", TableNames: names}
	perVSID := ovsdb.Config{DatapathType: "netdev", PortMode: ovsdb.PortPerVSID, VSIDs: []tenant.VSID{5001, 5002}, TableNames: names}
	ensure := func(c ovsdb.Config) func(*database) error {
		return func(d *database) error { return d.Ensure(soon(t), c) }
	}
	vsctl := func(args string) func(*database) error {
		return func(d *database) error { return d.byHand(t, args) }
	}
	thenEnsure := func(args string) func(*database) error {
		return func(d *database) error {
			if err := d.byHand(t, args); err != nil {
				return err
			}
			return d.Ensure(soon(t), flow)
		}
	}
	with := func(c ovsdb.Config, change func(*ovsdb.Config)) ovsdb.Config { change(&c); return c }
	listener := fmt.Sprintf("ptcp:%d:127.0.0.1", ovstest.FreePort(t))
	installed := func(s ovsdb.State) bool { return len(s.Attachments) > 0 && s.Attachments[0].Installed == "7" }
	ready := func(s ovsdb.State) bool { return s.BridgeReady }
	for i, step := range []struct {
		what  string
		do    func(*database) error
		until func(ovsdb.State) bool
	}{
		{"make the bridge", ensure(flow), func(s ovsdb.State) bool { return s.BridgeReady && s.TunnelOFPort > 0 }},
		{"again", ensure(flow), ready},
		{"attach", vsctl("add-port br-int vm1 -- set interface vm1 type=dummy external_ids:iface-id=a external_ids:attached-mac=02:00:00:00:00:01 external_ids:vm-id=x"),
			func(s ovsdb.State) bool { return len(s.Attachments) == 1 && s.Attachments[0].OFPort > 0 }},
		{"mark", func(d *database) error { return d.MarkInstalled(soon(t), map[string]string{"vm1": "7", "gone": "8"}) }, installed},
		{"another bridge's port", vsctl("add-br br9 -- add-port br9 vm9 -- set interface vm9 type=dummy external_ids:iface-id=z"), ready},
		{"a listener", ensure(with(flow, func(c *ovsdb.Config) { c.Listener = listener })), ready},
		{"no listener", ensure(flow), ready},
		{"other names of tables", ensure(with(flow, func(c *ovsdb.Config) { c.TableNames = map[uint8]string{0: "first", 30: "pa"} })), ready},
		{"ports per VSID", ensure(perVSID), func(s ovsdb.State) bool { return s.TunnelOFPort == 0 && len(s.VSIDPorts) == 2 }},
		{"other VSIDs", ensure(with(perVSID, func(c *ovsdb.Config) { c.VSIDs = []tenant.VSID{5002, 6001, 6002} })), func(s ovsdb.State) bool { return len(s.VSIDPorts) == 3 }},
		{"back", ensure(flow), func(s ovsdb.State) bool { return s.TunnelOFPort > 0 && len(s.VSIDPorts) == 0 }},
		{"somebody else's port in the way", thenEnsure("del-port nvgre0 -- add-port br-int nvgre0 -- set interface nvgre0 type=dummy"),
			func(s ovsdb.State) bool { return s.TunnelOFPort == 0 }},
		{"fail mode set by hand", thenEnsure("del-port nvgre0 -- set bridge br-int fail_mode=standalone"), func(s ovsdb.State) bool { return s.TunnelOFPort > 0 }},
		{"detach", vsctl("del-port vm1"), func(s ovsdb.State) bool { return len(s.Attachments) == 0 }},
		{"a bridge that is not ours", thenEnsure("remove bridge br-int external_ids nvgre-ofctl"), func(s ovsdb.State) bool { return !s.BridgeReady }},
		{"the bridge goes", vsctl("del-br br-int"), func(s ovsdb.State) bool { return s.DatapathID == "" }},
		{"and comes back", ensure(flow), ready},
	} {
		var errs, contents [2]string
		for k, d := range both {
			errs[k] = fmt.Sprint(step.do(d))
			errs[k] = strings.ReplaceAll(errs[k], d.sock, "DB")
			d.until(t, step.what, step.until)
			for _, columns := range []string{"--columns=name,fail_mode,datapath_type,protocols,external_ids list bridge",
				"--columns=name,external_ids list port", "--columns=name,type,options,external_ids list interface",
				"--columns=name,external_ids list flow_table", "--columns=target,external_ids list controller"} {
				contents[k] += sortedRecords(d.vsctl(t, strings.Fields(columns)...))
			}
		}
		if errs[0] != errs[1] {
			t.Errorf("step %d, %s: errors\n%s: %s\n%s: %s", i, step.what, both[0].name, errs[0], both[1].name, errs[1])
		}
		if diff := settled(both); diff != "" {
			t.Errorf("step %d, %s: states differ (- Open vSwitch, + simulation):\n%s", i, step.what, diff)
		}
		if diff := gocmp.Diff(contents[0], contents[1]); diff != "" {
			t.Errorf("step %d, %s: contents differ (- Open vSwitch, + simulation):\n%s", i, step.what, diff)
		}
	}
}

// settled waits until both states are alike, as what the daemons write to the
// database comes when they get to it, and returns how they differ if that never
// happens.
func settled(both []*database) string {
	for late := time.After(patience); ; {
		diff := gocmp.Diff(normal(both[0].State()), normal(both[1].State()), gocmp.Comparer(func(a, b tenant.PA) bool { return a == b }))
		if diff == "" {
			return ""
		}
		select {
		case <-both[0].Changes():
		case <-both[1].Changes():
		case <-late:
			return diff
		}
	}
}

// sortedRecords sorts the records of ovs-vsctl list, which have no order.
func sortedRecords(s string) string {
	records := strings.Split(strings.TrimSpace(s), "\n\n")
	slices.Sort(records)
	return strings.Join(records, "\n\n") + "\n\n"
}
