//go:build linux

// Package simbed builds testbeds of the simulator: the hosts are models of the
// switch, and each VM is a model of a guest's ARP, neighbour discovery and echo.
// It needs neither root nor Open vSwitch, and takes the topology files of the
// real testbed.
//
// No controller drives a simulated testbed: at any time its switches hold the
// flows of the policy file as it is then, and the VMs where they are plugged in.
package simbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Datapath is what stands for the datapath type of a simulated testbed.
const Datapath = "sim"

const stateFile, stateVersion = "sim.json", 1

type state struct {
	Version int
	Created time.Time
	Down    map[string]bool // hosts and VMs whose links are down, by name
	Plan    *topology.Plan
}

// Testbed is a simulated testbed: a file, and what follows from it. Its methods
// are for one goroutine and one process at a time.
type Testbed struct {
	dir   string
	state state
}

// Build makes a simulated testbed below a state root.
func Build(plan *topology.Plan, root string, progress func(done string)) (*Testbed, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	t := &Testbed{dir: filepath.Join(root, plan.Name)}
	t.state = state{Version: stateVersion, Created: time.Now(), Plan: plan, Down: make(map[string]bool)}
	for _, l := range plan.Links {
		if l.Down {
			t.state.Down[l.Node] = true
		}
	}
	if _, _, err := t.network(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(t.dir, 0o755); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("testbed %s exists already: `nvgre-ofctl testbed down %s` removes it", plan.Name, plan.Name)
	} else if err != nil {
		return nil, err
	}
	if err := t.save(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(t.dir))
	}
	if progress != nil {
		for _, h := range plan.Hosts {
			progress(fmt.Sprintf("host %s: simulated", h.Name))
		}
		for _, v := range plan.VMs {
			progress(fmt.Sprintf("VM %s on %s: %s, %s, VSID %d", v.IfaceID, v.Host, v.CA(), v.MAC, v.VSID))
		}
	}
	return t, nil
}

// Open returns the named simulated testbed below a state root; a
// [*testbed.NotFoundError] where there is none of that name.
func Open(root, name string) (*Testbed, error) {
	t := &Testbed{dir: filepath.Join(root, name)}
	if err := testbed.ReadState(root, name, stateFile, &t.state); err != nil {
		return nil, err
	}
	if t.state.Version != stateVersion || t.state.Plan == nil {
		return nil, fmt.Errorf("testbed %s was made by another version of nvgre-ofctl: remove it with that version", name)
	}
	return t, nil
}

// List returns the simulated testbeds below a state root by name.
func List(root string) ([]*Testbed, error) { return testbed.ListBy(root, Open) }

// save writes the state down. A reader sees the old file or the new one.
func (t *Testbed) save() error {
	b, err := json.MarshalIndent(&t.state, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(t.dir, stateFile)
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return fmt.Errorf("writing the state of the testbed: %w", err)
	}
	return os.Rename(path+".new", path)
}

// Name returns the testbed's name.
func (t *Testbed) Name() string { return t.state.Plan.Name }

// Plan returns what the testbed is made of. It must not be modified.
func (t *Testbed) Plan() *topology.Plan { return t.state.Plan }

// Phase returns "up": a simulated testbed is whole or not there.
func (t *Testbed) Phase() string { return testbed.PhaseUp }

// Created returns when the testbed was made.
func (t *Testbed) Created() time.Time { return t.state.Created }

// Datapath returns [Datapath].
func (t *Testbed) Datapath() string { return Datapath }

// Remove removes the testbed's state, which is all there is of it.
func (t *Testbed) Remove(_ context.Context, progress func(done string)) error {
	for _, name := range []string{stateFile, stateFile + ".new"} {
		if err := os.Remove(filepath.Join(t.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(t.dir); err != nil {
		return err
	}
	if progress != nil {
		progress("removed")
	}
	return nil
}

// Plug adds a VM of the testbed's policy file, as that file is now; with an
// empty host where the policy puts it.
func (t *Testbed) Plug(_ context.Context, ifaceID, host string) error {
	plan, _, err := t.state.Plan.Plugged(ifaceID, host)
	if err != nil {
		return err
	}
	t.state.Plan = plan
	return t.save()
}

// Unplug removes a VM.
func (t *Testbed) Unplug(_ context.Context, vm string) error {
	v, err := t.state.Plan.FindVM(vm, "")
	if err != nil {
		return err
	}
	delete(t.state.Down, v.IfaceID)
	t.state.Plan = t.state.Plan.Unplugged(v)
	return t.save()
}

// Move plugs a VM into another host.
func (t *Testbed) Move(_ context.Context, vm, host string) error {
	v, err := t.state.Plan.FindVM(vm, "")
	if err != nil {
		return err
	}
	plan, _, err := t.state.Plan.Moved(v, host)
	if err != nil {
		return err
	}
	t.state.Plan = plan
	return t.save()
}

// SetLink takes the link of a host or a VM up or down.
func (t *Testbed) SetLink(node string, up bool) error {
	if _, ok := t.state.Plan.Host(node); !ok {
		v, err := t.state.Plan.FindVM(node, "")
		if err != nil {
			return err
		}
		node = v.IfaceID
	}
	if up {
		delete(t.state.Down, node)
	} else {
		t.state.Down[node] = true
	}
	return t.save()
}

// Inspect describes the testbed as it is now. What only a real one has, as
// namespaces and run directories, is empty.
func (t *Testbed) Inspect() *testbed.Inspection {
	p := t.state.Plan
	in := &testbed.Inspection{
		Name: p.Name, Phase: t.Phase(), Created: t.state.Created, StateDir: t.dir, Datapath: Datapath,
		Topology: p.TopologyFile, Policy: p.PolicyFile, Underlay: testbed.UnderlayInfo{MTU: p.MTU},
	}
	for _, s := range p.Subnets {
		si := testbed.SubnetInfo{Name: s.Name, Prefix: s.Prefix.String()}
		if s.Router.IsValid() {
			si.Router = s.Router.String()
		}
		in.Underlay.Subnets = append(in.Underlay.Subnets, si)
	}
	for _, h := range p.Hosts {
		hi := testbed.HostInspection{Name: h.Name, Subnet: h.Subnet, LinkUp: !t.state.Down[h.Name]}
		for _, pa := range h.PAs {
			hi.PAs = append(hi.PAs, pa.Addr().String())
		}
		in.Hosts = append(in.Hosts, hi)
	}
	for _, v := range p.VMs {
		in.VMs = append(in.VMs, testbed.DescribeVM(&v, !t.state.Down[v.IfaceID]))
	}
	return in
}
