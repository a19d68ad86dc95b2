// Package fleet simulates thousands of hosts in one process: each an OpenFlow
// switch (package ofswitch) and an OVSDB server (package dbserver) on sockets of
// its own, so that a controller meets a thousand hosts on two cores.
//
// A host's database has what a controller looks for: a bridge, its ports,
// interfaces with external_ids:iface-id, and somebody in ovs-vswitchd's place
// who gives interfaces their numbers and confirms configurations. VMs attach and
// detach at any time, and a host can be made slow, deaf, unreachable, or
// restarted.
//
// A [Plan] says what there is to a fleet: so many lookup records in so many
// routing domains, spread so that each host has a part in so many of them. The
// same plan is a policy file, and knows every record without keeping any.
package fleet
