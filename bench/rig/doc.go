// Package rig is what the benchmarks of whole control planes share: chassis of
// real Open vSwitch with the dummy datapath, a workload of VMs, a persistent
// client of OVSDB, and what processes take of the machine. A control plane is
// driven as its user drives it: by its input and by the chassis' databases.
package rig
