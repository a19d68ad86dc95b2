package rig

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Size says how large a network is.
type Size struct {
	Chassis int // 1 to 250
	Ports   int // VM ports in all, spread evenly over tenants, subnets and chassis
	Tenants int // each with one router and two subnets; 1 to 250
}

// Subnets is how many subnets a tenant has.
const Subnets = 2

// VM is one VM port.
type VM struct {
	Number  int
	Name    string // its iface-id
	Port    string // name of its Interface
	Tenant  int
	Subnet  int // of the tenant, from 0
	Chassis int
	CA      netip.Addr
	MAC     tenant.MAC
}

// VM returns a VM by its number, from 0; those from Ports on are VMs to add.
// Tenants use the same addresses.
func (s Size) VM(n int) VM {
	i, k := n/(Subnets*s.Tenants), n%(Subnets*s.Tenants) // within its subnet; which subnet
	v := VM{
		Number: n, Name: fmt.Sprintf("vm%d", n), Port: fmt.Sprintf("t%d", n),
		Tenant: n % s.Tenants, Subnet: n / s.Tenants % Subnets, Chassis: (i + k) % s.Chassis,
		MAC: tenant.MAC{2, 0x4e, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
	}
	v.CA = netip.AddrFrom4([4]byte{10, byte(v.Subnet), byte((i + 10) >> 8), byte(i + 10)})
	return v
}

// VMs returns the VMs from, and without, two numbers.
func (s Size) VMs(from, to int) []VM {
	vms := make([]VM, 0, to-from)
	for n := from; n < to; n++ {
		vms = append(vms, s.VM(n))
	}
	return vms
}

// Prefix returns the prefix of a subnet.
func Prefix(subnet int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(subnet), 0, 0}), 16)
}

// Gateway returns the router's address in a subnet.
func Gateway(subnet int) netip.Addr { return Prefix(subnet).Addr().Next() }

// PA returns a chassis' address on the underlay.
func PA(chassis int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(chassis + 1)}) }

// ChassisName returns a chassis' name: "h1" and so on.
func ChassisName(chassis int) string { return fmt.Sprintf("h%d", chassis+1) }
