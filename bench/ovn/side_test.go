package ovn

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { rig.Main(m) }

// plane is a control plane under test, with its chassis.
type plane interface {
	Name() string
	ColdStart(ctx context.Context, ports int) (rig.Start, error)
	AddVM(ctx context.Context, n int) (rig.Addition, error)
	Plug(ctx context.Context, n int) (time.Duration, error)
	AddRecord(ctx context.Context, n int) (time.Duration, error)
	Processes() []*rig.Process
	Switches() []*rig.Chassis
}

var small = rig.Size{Chassis: 2, Ports: 20, Tenants: 2}

func startOurs(tb testing.TB, size rig.Size) plane {
	return rig.StartOurs(tb, size, rig.NewPolicy(tb))
}

func TestOurs(t *testing.T) {
	ovstest.Require(t)
	everyVMIsEverywhere(t, startOurs(t, small), small, nil)
}

func TestOVN(t *testing.T) {
	Require(t)
	ovstest.Require(t)
	for _, security := range []bool{false, true} {
		scope := rig.NewScope(t)
		defer scope.End()
		o := Start(scope, small, security)
		everyVMIsEverywhere(t, o, small, o.Sync)
		scope.End()
	}
}

// everyVMIsEverywhere holds what a control plane says against the flows of the
// switches: who says that it is done must be.
func everyVMIsEverywhere(t *testing.T, p plane, size rig.Size, sync func(context.Context) error) {
	ctx := rig.Within(t, time.Minute)
	if _, err := p.ColdStart(ctx, size.Ports); err != nil {
		t.Fatal(err)
	}
	for n := size.Ports; n < size.Ports+3; n++ {
		if n%2 == 0 {
			if a, err := p.AddVM(ctx, n); err != nil || a.Port <= 0 || a.All <= 0 {
				t.Fatal(a, err)
			}
		} else {
			if d, err := p.Plug(ctx, n); err != nil || d <= 0 {
				t.Fatal(d, err)
			}
			if d, err := p.AddRecord(ctx, n); err != nil || d <= 0 {
				t.Fatal(d, err)
			}
		}
		if sync != nil { // see the package's comment: OVN may be done a moment later
			if err := sync(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range p.Switches() {
			lacking(t, c, size.VMs(0, n+1), true)
			lacking(t, c, size.VMs(n+1, n+2), false)
		}
	}
	u, err := rig.UsageOf(p.Processes()...)
	if err != nil || u.RSS < 1<<20 || u.PSS > u.RSS || u.PSS == 0 || u.CPU <= 0 {
		t.Errorf("usage: %+v, %v", u, err)
	}
}

// lacking checks that the switch has, or has not, flows that name each VM's MAC.
func lacking(t *testing.T, c *rig.Chassis, vms []rig.VM, want bool) {
	t.Helper()
	text, err := c.Ofctl(t.Context(), "--no-stats", "dump-flows", c.MgmtSock(rig.Bridge))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Flows(t.Context()); err != nil || n == 0 || n > strings.Count(text, "\n") {
		t.Errorf("%s counts %d flows of %d lines: %v", c.Name, n, strings.Count(text, "\n"), err)
	}
	for _, v := range vms {
		// A MAC is a match, or a constant with or without leading zeros.
		has := strings.Contains(text, v.MAC.String()) || strings.Contains(text, "0x"+strings.TrimLeft(fmt.Sprintf("%x", v.MAC[:]), "0"))
		if has != want {
			t.Errorf("%s: flows of %s (%s): %v, want %v", c.Name, v.Name, v.MAC, has, want)
		}
	}
}
