//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Datapath types (ovs-vswitchd.conf.db(5), Bridge.datapath_type).
const (
	DatapathAuto   = "auto"
	DatapathNetdev = "netdev"
	DatapathSystem = "system"
)

// Options say how a testbed is built.
type Options struct {
	Root     string // state root; default DefaultStateRoot
	Datapath string // auto (default), netdev or system
	// Progress is told what has been done; calls do not overlap.
	Progress func(done string)
}

// maxSocketPath is the longest path of a unix socket, in octets (unix(7)).
const maxSocketPath = 107

// Build makes a testbed. If that fails or ctx ends, everything that was made is
// removed again.
func Build(ctx context.Context, plan *topology.Plan, opts Options) (*Testbed, error) {
	if opts.Root == "" {
		opts.Root = DefaultStateRoot
	}
	root, err := filepath.Abs(opts.Root)
	if err != nil {
		return nil, err
	}
	if err := CheckTools(); err != nil {
		return nil, err
	}
	datapath, err := chooseDatapath(ctx, opts.Datapath)
	if err != nil {
		return nil, err
	}
	t := &Testbed{dir: filepath.Join(root, plan.Name)}
	t.state = state{Version: stateVersion, Owner: os.Getpid(), Phase: PhaseBuilding, Created: time.Now(), Datapath: datapath, Plan: plan}
	for _, h := range plan.Hosts {
		if s := filepath.Join(t.runDir(h.Name), "ovsdb-server.ctl.12345"); len(s) > maxSocketPath {
			return nil, fmt.Errorf("the path of a socket would be %d octets, more than the %d that unix(7) allows: %s: choose a shorter --state-dir or name", len(s), maxSocketPath, s)
		}
	}
	taken := fmt.Errorf("testbed %s exists already: `nvgre-ofctl testbed down %s` removes it", plan.Name, plan.Name)
	if _, err := os.Stat(t.dir); err == nil {
		return nil, taken
	}
	t.state.Namespaces = t.plannedNamespaces()
	for _, ns := range t.state.Namespaces {
		if netspace.Exists(ns.Name) {
			return nil, fmt.Errorf("the network namespace %s exists already: a testbed of this name runs with another --state-dir; remove it or choose another name", ns.Name)
		}
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			break
		}
		t.state.MadeDirs = append(t.state.MadeDirs, dir)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(t.dir, 0o755); errors.Is(err, os.ErrExist) {
		return nil, taken
	} else if err != nil {
		return nil, err
	}
	unlock, err := t.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	// From here on the state file names everything before it is made.
	err = t.update(func(*state) {})
	if err == nil {
		err = t.build(ctx, opts.Progress)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// ctx may have ended, and that must not keep us from cleaning up.
		if err2 := t.remove(context.WithoutCancel(ctx), nil); err2 != nil {
			err = errors.Join(err, &CleanupError{t.dir, err2})
		}
		return nil, err
	}
	return t, t.update(func(s *state) { s.Phase, s.Owner = PhaseUp, 0 })
}

// A CleanupError says that a failed testbed could not be removed either.
type CleanupError struct {
	Dir string // its state directory
	Err error
}

// Error implements error.
func (e *CleanupError) Error() string {
	return fmt.Sprintf("cleaning up: %v; `nvgre-ofctl testbed down %s` tries again", e.Err, filepath.Base(e.Dir))
}

// Unwrap returns what went wrong.
func (e *CleanupError) Unwrap() error { return e.Err }

// CheckTools reports whether this process may build a testbed, and what would
// have to be installed.
func CheckTools() error {
	if os.Geteuid() != 0 {
		return errors.New("a testbed makes network namespaces, which needs root: run this with sudo")
	}
	packages := []struct{ tool, pkg string }{
		{"ovs-vswitchd", "openvswitch-switch"}, {"ovsdb-server", "openvswitch-switch"}, {"ovs-vsctl", "openvswitch-switch"},
		{"nft", "nftables"}, {"ip", "iproute2"},
	}
	var tools, pkgs []string
	for _, p := range packages {
		if _, err := ovsproc.LookPath(p.tool); err != nil {
			tools = append(tools, p.tool)
			if !strings.Contains(strings.Join(pkgs, " "), p.pkg) {
				pkgs = append(pkgs, p.pkg)
			}
		}
	}
	if len(tools) > 0 {
		return fmt.Errorf("%s not found: `apt-get install %s`", strings.Join(tools, ", "), strings.Join(pkgs, " "))
	}
	return nil
}

func loadModule(ctx context.Context, name string) error {
	modprobe, err := ovsproc.LookPath("modprobe")
	if err != nil {
		return err
	}
	return exec.CommandContext(ctx, modprobe, name).Run()
}

func chooseDatapath(ctx context.Context, want string) (string, error) {
	switch want {
	case DatapathNetdev, DatapathSystem:
		return want, nil
	case "", DatapathAuto:
	default:
		return "", fmt.Errorf("datapath %q: want auto, netdev or system", want)
	}
	if _, err := os.Stat("/sys/module/openvswitch"); err == nil {
		return DatapathSystem, nil
	}
	if loadModule(ctx, "openvswitch") == nil {
		return DatapathSystem, nil
	}
	return DatapathNetdev, nil
}

func (t *Testbed) plannedNamespaces() []namespace {
	all := []namespace{{Name: t.UnderlayNamespace()}}
	for _, h := range t.state.Plan.Hosts {
		all = append(all, namespace{Name: t.HostNamespace(h.Name)})
	}
	for _, v := range t.state.Plan.VMs {
		all = append(all, namespace{Name: t.VMNamespace(v.IfaceID)})
	}
	return all
}

// makeNamespace makes a namespace that the state file names already.
func (t *Testbed) makeNamespace(name string) error {
	inode, err := netspace.Create(name, t.label())
	if err != nil {
		return err
	}
	return t.update(func(s *state) {
		for i := range s.Namespaces {
			if s.Namespaces[i].Name == name {
				s.Namespaces[i].Inode = inode
			}
		}
	})
}

func (t *Testbed) build(ctx context.Context, progress func(string)) error {
	var mu sync.Mutex
	tell := func(format string, args ...any) {
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			progress(fmt.Sprintf(format, args...))
		}
	}
	plan := t.state.Plan
	if err := t.buildUnderlay(ctx); err != nil {
		return err
	}
	tell("underlay: %s", describeSubnets(plan))
	all, ctx := errgroup.WithContext(ctx)
	for i := range plan.Hosts {
		h := &plan.Hosts[i]
		all.Go(func() error {
			if err := t.buildHost(ctx, h); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
			tell("host %s: Open vSwitch runs (datapath %s), provider address %s", h.Name, t.state.Datapath, join(h.PAs))
			var vms []*topology.VM
			for j := range plan.VMs {
				if plan.VMs[j].Host == h.Name {
					vms = append(vms, &plan.VMs[j])
				}
			}
			if err := t.plug(ctx, vms...); err != nil {
				return err
			}
			for _, v := range vms {
				tell("VM %s on %s: %s, %s, VSID %d", v.IfaceID, h.Name, join(v.Addresses), v.MAC, v.VSID)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for _, l := range plan.Links {
		if err := t.applyLink(l); err != nil {
			return err
		}
	}
	return t.writeSettings()
}

func describeSubnets(p *topology.Plan) string {
	var parts []string
	for _, s := range p.Subnets {
		parts = append(parts, s.String())
	}
	return strings.Join(parts, ", ")
}

func join[T fmt.Stringer](all []T) string {
	parts := make([]string, len(all))
	for i, a := range all {
		parts[i] = a.String()
	}
	return strings.Join(parts, ", ")
}
