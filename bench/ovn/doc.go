// Package ovn compares nvgre-ofctl with OVN on chassis of real Open vSwitch, in
// one run and by turns: the time from the last input until every chassis has
// all, the time until one VM more is everywhere, flows, memory and processor
// time. It needs OVN's programs (Debian: ovn-central and ovn-host), and is
// skipped where they are not installed.
//
// # What is compared
//
// T tenants have each one router and two subnets; their P VM ports are spread
// evenly over H chassis, so every chassis has VMs of every tenant. The two get
// the same inputs in the same way, over connections to the databases that stay:
// the VMs of a cold start in few large transactions, all sent at once, and their
// ports in one transaction for each chassis.
//
// A VM counts as added to OVN when hv_cfg says that every chassis has taken the
// change (ovn-nb(5)) and the port is up. That favours OVN: a chassis that has
// taken the change may still learn, a moment later, where the port is. To ours it
// counts as added when the Interface carries nvgre-installed, which follows the
// last barrier of all chassis that need it.
//
// A VM's record and port come at once. ovs-vswitchd with the userspace (or dummy)
// datapath takes a time for a new port that grows faster than the number of its
// ports, whoever drives it: that part is told apart, and so is the time from the
// record of a VM whose port is there already, which is the control plane's alone.
//
// OVN's port security is off, which favours it too: ours always checks the
// addresses that VMs send from. The flag -port-security turns it on; it nearly
// doubles OVN's flows. ovn-openflow-probe-interval and the other probes are off,
// as a busy ovn-controller would lose its switch.
package ovn
