package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// Bridge is the integration bridge of every chassis. The control plane makes it.
const Bridge = "br-int"

// Chassis is one host: a real ovsdb-server and ovs-vswitchd.
type Chassis struct {
	*ovsproc.Switch
	Name string
	// Installed has the Interfaces that carry external_ids:nvgre-installed=true,
	// Numbered those that have their OpenFlow port number, by their names.
	Installed, Numbered *Board

	db *Database
}

// StartChassis starts the chassis of a network in directories below dir, whose
// path must be short, and ends them with the test or benchmark.
func StartChassis(tb testing.TB, dir string, size Size) []*Chassis {
	tb.Helper()
	var all []*Chassis
	for n := range size.Chassis {
		c := &Chassis{
			Switch: ovsproc.New(filepath.Join(dir, ChassisName(n)), ovsproc.VswitchdArgs("--enable-dummy=override")),
			Name:   ChassisName(n), Installed: NewBoard(), Numbered: NewBoard(),
		}
		tb.Cleanup(func() {
			if c.db != nil {
				c.db.Close()
			}
			if err := c.Stop(); err != nil {
				tb.Error(err)
			}
		})
		if err := c.Start(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		if _, err := c.Vsctl(tb.Context(), "set", "Open_vSwitch", ".", "external_ids:system-id="+c.Name, "external_ids:hostname="+c.Name); err != nil {
			tb.Fatal(err)
		}
		var err error
		if c.db, err = OpenDatabase(tb.Context(), c.DBSock(), "Open_vSwitch", map[string][]string{"Interface": {"name", "ofport", "external_ids"}}, c.seen); err != nil {
			tb.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func (c *Chassis) seen(_ string, row ovsdb.Row) {
	name, _ := row["name"].(string)
	if ids, _ := row["external_ids"].(ovsdb.OvsMap); ids.GoMap["nvgre-installed"] == "true" {
		c.Installed.Note(name)
	}
	// An ofport of none is an empty set.
	if n, ok := row["ofport"].(float64); ok && n > 0 {
		c.Numbered.Note(name)
	}
}

// WaitBridge waits until the control plane has made the bridge.
func (c *Chassis) WaitBridge(ctx context.Context) error {
	_, err := c.Numbered.Wait(ctx, Bridge)
	return err
}

// Attach attaches VMs to the bridge, in one transaction, and returns when it is
// committed; ovs-vswitchd acts on it later.
func (c *Chassis) Attach(ctx context.Context, vms ...VM) error {
	var ops []ovsdb.Operation
	var ports []string
	for _, v := range vms {
		iface, port := fmt.Sprintf("i%d", v.Number), fmt.Sprintf("p%d", v.Number)
		ops = append(ops,
			Insert("Interface", iface, ovsdb.Row{"name": v.Port, "external_ids": Map("iface-id", v.Name, "attached-mac", v.MAC.String())}),
			Insert("Port", port, ovsdb.Row{"name": v.Port, "interfaces": Set(iface)}))
		ports = append(ports, port)
	}
	return c.db.Commit(ctx, append(ops, AddTo("Bridge", Bridge, "ports", ports...))...)
}

var flowCount = regexp.MustCompile(`flow_count=(\d+)`)

// Flows returns how many flows the bridge has.
func (c *Chassis) Flows(ctx context.Context) (int, error) {
	out, err := c.Ofctl(ctx, "dump-aggregate", c.MgmtSock(Bridge))
	if err != nil {
		return 0, err
	}
	m := flowCount.FindStringSubmatch(out)
	if m == nil {
		return 0, errors.New("ovs-ofctl dump-aggregate says no flow_count: " + out)
	}
	return strconv.Atoi(m[1])
}

// VswitchdUsage returns what ovs-vswitchd has taken of the machine.
func (c *Chassis) VswitchdUsage() (Usage, error) {
	text, err := os.ReadFile(c.VswitchdPidFile())
	if err != nil {
		return Usage{}, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return Usage{}, err
	}
	return usageOf(pid)
}

// TempDir returns a directory with a short path that ends with the test.
func TempDir(tb testing.TB) string {
	tb.Helper()
	// Not tb.TempDir: its path can exceed what a unix socket's address holds.
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Within returns the context of a test or benchmark whose waits together may take
// so long: a control plane that stands still fails it.
func Within(tb testing.TB, limit time.Duration) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeoutCause(tb.Context(), limit, fmt.Errorf("not done within %v", limit))
	tb.Cleanup(cancel)
	return ctx
}
