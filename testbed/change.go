//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Plug makes a VM of the testbed's policy file, as that file is now, and plugs it
// into a host; with an empty host where the policy puts it.
func (t *Testbed) Plug(ctx context.Context, ifaceID, host string) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	plan := t.Plan()
	policy, err := policyfile.Load(plan.PolicyFile, 1)
	if err != nil {
		return err
	}
	rec, ok := policy.RecordByIfaceID(ifaceID)
	if !ok {
		return fmt.Errorf("%s has no record with iface_id %s: add one first", plan.PolicyFile, ifaceID)
	}
	if host == "" {
		host = rec.Host
	}
	if _, ok := plan.Host(host); !ok {
		return fmt.Errorf("VM %s: the testbed has no host %q", ifaceID, host)
	}
	if slices.ContainsFunc(plan.VMs, func(v topology.VM) bool { return v.IfaceID == ifaceID }) {
		return fmt.Errorf("VM %s is plugged in already: `testbed move` moves it, `testbed unplug` removes it", ifaceID)
	}
	name := t.VMNamespace(ifaceID)
	if netspace.Exists(name) {
		return fmt.Errorf("the network namespace %s exists already", name)
	}
	vm := topology.NewVM(policy, rec, host)
	changed := *plan
	changed.VMs = append(slices.Clone(plan.VMs), vm)
	if err := t.update(func(s *state) {
		s.Plan = &changed
		s.Namespaces = append(s.Namespaces, namespace{Name: name})
	}); err != nil {
		return err
	}
	if err := t.plug(ctx, &vm); err != nil {
		return errors.Join(err, t.removeVM(context.WithoutCancel(ctx), &vm))
	}
	return nil
}

// Unplug takes a VM off its host and removes it.
func (t *Testbed) Unplug(ctx context.Context, vm string) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	v, err := t.Plan().FindVM(vm, "")
	if err != nil {
		return err
	}
	return t.removeVM(ctx, v)
}

func (t *Testbed) removeVM(ctx context.Context, v *topology.VM) error {
	if err := t.disconnectVM(ctx, v); err != nil {
		return err
	}
	name := t.VMNamespace(v.IfaceID)
	if err := t.removeNamespace(ctx, namespace{Name: name}); err != nil {
		return err
	}
	plan := *t.Plan()
	plan.VMs = slices.DeleteFunc(slices.Clone(plan.VMs), func(o topology.VM) bool { return o.IfaceID == v.IfaceID })
	return t.update(func(s *state) {
		s.Plan = &plan
		s.Namespaces = slices.DeleteFunc(s.Namespaces, func(n namespace) bool { return n.Name == name })
	})
}

// Move takes a VM off its host and plugs it into another, as a live migration
// would: the VM itself goes on as it is, with its address and MAC.
func (t *Testbed) Move(ctx context.Context, vm, host string) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	plan := *t.Plan()
	v, err := plan.FindVM(vm, "")
	if err != nil {
		return err
	}
	if _, ok := plan.Host(host); !ok {
		return &topology.UnknownNodeError{Name: host}
	}
	if v.Host == host {
		return nil
	}
	if err := t.disconnectVM(ctx, v); err != nil {
		return err
	}
	plan.VMs = slices.Clone(plan.VMs)
	i := slices.IndexFunc(plan.VMs, func(o topology.VM) bool { return o.IfaceID == v.IfaceID })
	plan.VMs[i].Host = host
	if err := t.update(func(s *state) { s.Plan = &plan }); err != nil {
		return err
	}
	moved := &plan.VMs[i]
	if err := t.connectVM(moved); err != nil {
		return err
	}
	if err := t.deafen(ctx, host, VMPort(moved.IfaceID)); err != nil {
		return err
	}
	return t.attach(ctx, moved)
}

// disconnectVM takes a VM's port off br-int and removes the link to the host.
func (t *Testbed) disconnectVM(ctx context.Context, v *topology.VM) error {
	port := VMPort(v.IfaceID)
	if _, err := t.Switch(v.Host).Vsctl(ctx, "--if-exists", "del-port", IntegrationBridge, port); err != nil {
		return err
	}
	if err := t.undeafen(ctx, v.Host, port); err != nil {
		return err
	}
	h, err := netspace.Handle(t.HostNamespace(v.Host))
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(port)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		err = h.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("removing %s from host %s: %w", port, v.Host, err)
	}
	return nil
}

// RestartSwitch ends a host's ovs-vswitchd, with SIGKILL if crash is set, and
// starts it again, with all that it has forgotten but for the flows of br-int:
// the state of br-phy and what is known of neighbours. Those flows are the
// controller's.
func (t *Testbed) RestartSwitch(ctx context.Context, host string, crash bool) error {
	h, ok := t.Plan().Host(host)
	if !ok {
		return &topology.UnknownNodeError{Name: host}
	}
	sw := t.Switch(host)
	stop := sw.StopVswitchd
	if crash {
		stop = sw.KillVswitchd
	}
	if err := stop(); err != nil {
		return err
	}
	if err := sw.StartVswitchd(ctx); err != nil {
		return err
	}
	return t.setUpProvider(ctx, h)
}
