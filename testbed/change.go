//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

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
	changed, vm, err := plan.Plugged(ifaceID, host)
	if err != nil {
		return err
	}
	name := t.VMNamespace(ifaceID)
	if netspace.Exists(name) {
		return fmt.Errorf("the network namespace %s exists already", name)
	}
	if err := t.update(func(s *state) {
		s.Plan = changed
		s.Namespaces = append(s.Namespaces, namespace{Name: name})
	}); err != nil {
		return err
	}
	if err := t.plug(ctx, vm); err != nil {
		return errors.Join(err, t.removeVM(context.WithoutCancel(ctx), vm))
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
	return t.update(func(s *state) {
		s.Plan = s.Plan.Unplugged(v)
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
	plan := t.Plan()
	v, err := plan.FindVM(vm, "")
	if err != nil {
		return err
	}
	changed, moved, err := plan.Moved(v, host)
	if err != nil {
		return err
	}
	if v.Host == host {
		return nil
	}
	if err := t.disconnectVM(ctx, v); err != nil {
		return err
	}
	if err := t.update(func(s *state) { s.Plan = changed }); err != nil {
		return err
	}
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
