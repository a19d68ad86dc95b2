// Package punt answers what a switch's flows hand to the controller: packets of
// VMs that no flow can answer. A [Service] does so for one host, over an OpenFlow
// connection of its own, so that packets, which tenants cause, never hold up a
// change of flows.
//
// What keeps a flood of one VM from anybody else: the switch has a meter for each
// VM, and what passes them waits here in a queue with a place limit for each VM
// and one for all; VMs are served in turn. What finds no place is dropped and
// counted.
package punt
