package onevm

import (
	"flag"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

var (
	size    rig.Size
	adds    = flag.Int("adds", 200, "VMs added one by one")
	pause   = flag.Duration("pause", 100*time.Millisecond, "between two VMs, so that none waits for what the one before leaves behind")
	further = flag.String("further", "0,100000,1000000", "numbers of further records of other tenants in the store, each a case of its own; \"file\" is a policy file without any")
	profile = flag.String("profile", "", "a directory for CPU profiles of the controller while VMs are added")
)

func init() {
	flag.IntVar(&size.Chassis, "chassis", 4, "chassis")
	flag.IntVar(&size.Ports, "ports", 4000, "ports of VMs in all")
	flag.IntVar(&size.Tenants, "tenants", 2, "tenants")
}

func TestMain(m *testing.M) { rig.Main(m) }

func TestOneVM(t *testing.T) {
	ovstest.Require(t)
	small := rig.Size{Chassis: 2, Ports: 20, Tenants: 2}
	o, ctx := rig.StartOurs(t, small, rig.NewPolicy(t)), rig.Within(t, time.Minute)
	if _, err := o.ColdStart(ctx, small.Ports); err != nil {
		t.Fatal(err)
	}
	for n := small.Ports; n < small.Ports+3; n++ {
		if a, err := o.AddVM(ctx, n); err != nil || a.Port <= 0 || a.Port > a.All {
			t.Fatal(a, err)
		}
	}
}
