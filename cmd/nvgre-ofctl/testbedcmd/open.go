//go:build linux

package testbedcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/simbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// bed is what a real and a simulated testbed have in common.
type bed interface {
	Name() string
	Plan() *topology.Plan
	Phase() string
	Created() time.Time
	Datapath() string
	Inspect() *testbed.Inspection
	Ping(context.Context) (*testbed.Matrix, error)
	SetLink(node string, up bool) error
	Plug(ctx context.Context, ifaceID, host string) error
	Unplug(ctx context.Context, vm string) error
	Move(ctx context.Context, vm, host string) error
	Remove(ctx context.Context, progress func(done string)) error
}

// defaultRoot is where testbeds keep their state. Only root can write to the
// place of real ones, which only root can build.
func defaultRoot() string {
	if os.Geteuid() == 0 {
		return testbed.DefaultStateRoot
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "nvgre-ofctl", "testbed")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("nvgre-ofctl-%d", os.Getuid()))
}

// listAny returns the testbeds of both kinds below a state root, by name.
func listAny(root string) ([]bed, error) {
	var all []bed
	built, err := testbed.List(root)
	if err != nil {
		return nil, err
	}
	for _, tb := range built {
		all = append(all, tb)
	}
	simulated, err := simbed.List(root)
	if err != nil {
		return nil, err
	}
	for _, tb := range simulated {
		all = append(all, tb)
	}
	slices.SortFunc(all, func(a, b bed) int { return cmp.Compare(a.Name(), b.Name()) })
	return all, nil
}

// openAny opens the testbed that the user means, of either kind.
func (c *command) openAny() (bed, error) {
	if c.name == "" {
		all, err := listAny(c.root)
		if err != nil {
			return nil, err
		}
		switch len(all) {
		case 0:
			return nil, fmt.Errorf("there is no testbed in %s: `nvgre-ofctl testbed up -f FILE` makes one", c.root)
		case 1:
			return all[0], nil
		}
		var names []string
		for _, tb := range all {
			names = append(names, tb.Name())
		}
		return nil, fmt.Errorf("several testbeds are here: say which with --name %s", strings.Join(names, " or --name "))
	}
	tb, err := simbed.Open(c.root, c.name)
	if err == nil {
		return tb, nil
	}
	var missing *testbed.NotFoundError
	if !errors.As(err, &missing) {
		return nil, err
	}
	return testbed.Open(c.root, c.name)
}

// open opens the testbed for what only a real one can do.
func (c *command) open() (*testbed.Testbed, error) {
	tb, err := c.openAny()
	if err != nil {
		return nil, err
	}
	if tb, ok := tb.(*testbed.Testbed); ok {
		return tb, nil
	}
	return nil, fmt.Errorf("testbed %s is simulated: nothing runs in it; there are pingall, inspect, graph, plug, unplug, move, link and down", tb.Name())
}

// opened makes a command's function of one that works on a real testbed.
func (c *command) opened(run func(*cobra.Command, *testbed.Testbed, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		tb, err := c.open()
		if err != nil {
			return err
		}
		return run(cmd, tb, args)
	}
}

// openedAny makes a command's function of one that works on either kind.
func (c *command) openedAny(run func(*cobra.Command, bed, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		tb, err := c.openAny()
		if err != nil {
			return err
		}
		return run(cmd, tb, args)
	}
}

// simulate builds a simulated testbed. None of a real one's name may be there.
func (c *command) simulate(plan *topology.Plan, progress func(string)) error {
	tb, err := simbed.Build(plan, c.root, progress)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("testbed %s is up, and needs no controller; now run `nvgre-ofctl testbed pingall`", tb.Name()))
	return nil
}
