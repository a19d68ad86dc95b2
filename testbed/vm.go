//go:build linux

package testbed

import (
	"context"
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// plug makes VMs that are all on one host, and plugs their adapters into br-int,
// with what a hypervisor writes there for a controller to see.
func (t *Testbed) plug(ctx context.Context, vms ...*topology.VM) error {
	if len(vms) == 0 {
		return nil
	}
	host := vms[0].Host
	var ports []string
	for _, v := range vms {
		if err := t.buildVM(v); err != nil {
			return fmt.Errorf("VM %s: %w", v.IfaceID, err)
		}
		ports = append(ports, VMPort(v.IfaceID))
	}
	if err := t.deafen(ctx, host, ports...); err != nil {
		return err
	}
	return t.attach(ctx, vms...)
}

// buildVM makes a VM: its namespace, with an adapter towards its host.
func (t *Testbed) buildVM(v *topology.VM) error {
	ns := t.VMNamespace(v.IfaceID)
	if err := t.makeNamespace(ns); err != nil {
		return err
	}
	has6 := false
	for _, a := range v.Addresses {
		has6 = has6 || a.Addr().Is6()
	}
	settings := []string{"ipv6/conf/default/accept_ra=0", "ipv6/conf/all/accept_ra=0",
		"ipv6/conf/all/accept_dad=0", "ipv6/conf/default/accept_dad=0"}
	if !has6 { // what it would say by itself only makes counters and captures hard to read
		settings = append(settings, "ipv6/conf/default/disable_ipv6=1")
	}
	if err := netspace.SetSysctl(ns, settings...); err != nil {
		return err
	}
	return t.connectVM(v)
}

// connectVM makes the link between a VM and its host.
func (t *Testbed) connectVM(v *topology.VM) error {
	ns, hostNS, port := t.VMNamespace(v.IfaceID), t.HostNamespace(v.Host), VMPort(v.IfaceID)
	if err := connect(hostNS, port, ns, VMDevice, t.Plan().VMMTU(), v.MAC[:]); err != nil {
		return err
	}
	// A VM on veth leaves checksums to hardware that is not there, and makes
	// segments that no tunnel carries.
	if err := netspace.OffloadOff(ns, VMDevice); err != nil {
		return err
	}
	if err := netspace.SetSysctl(hostNS, "ipv6/conf/"+port+"/disable_ipv6=1"); err != nil {
		return err
	}
	h, err := netspace.Handle(ns)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(VMDevice)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", VMDevice, err)
	}
	for _, a := range v.Addresses {
		if err := addAddress(h, link, a); err != nil {
			return err
		}
	}
	for _, gw := range v.Gateways {
		if err := addDefaultRoute(h, link, gw); err != nil {
			return err
		}
	}
	return nil
}

// attach adds the ports of VMs to br-int of their host and brings them up.
func (t *Testbed) attach(ctx context.Context, vms ...*topology.VM) error {
	host := vms[0].Host
	h, err := netspace.Handle(t.HostNamespace(host))
	if err != nil {
		return err
	}
	defer h.Close()
	var args []string
	for _, v := range vms {
		port := VMPort(v.IfaceID)
		if err := setUp(h, port); err != nil {
			return fmt.Errorf("VM %s: %w", v.IfaceID, err)
		}
		args = append(args, "--", "--may-exist", "add-port", IntegrationBridge, port, "--",
			"set", "Interface", port, "external_ids:iface-id="+quote(v.IfaceID),
			"external_ids:attached-mac="+quote(v.MAC.String()), "external_ids:vm-id="+quote(v.QualifiedName()))
	}
	// It returns when ovs-vswitchd has the ports.
	if _, err = t.Switch(host).Vsctl(ctx, args...); err != nil {
		return err
	}
	return t.widenBuffers(host)
}
