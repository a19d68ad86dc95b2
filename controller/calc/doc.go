// Package calc works out, change by change, what every host's switch should
// hold. It is pure: no input, no output, no clock, and no goroutine that outlives
// a call.
//
// The [Engine] is told what there is: the policy, and of each host its
// attachments and tunnel ports. [Engine.Flush] then says which hosts are to hold
// something else than before. What a host is to hold is a composition of blocks:
//
//   - the pipeline, the same on every host;
//   - the routing domains that have a VM on the host, each compiled and encoded
//     once and shared by all hosts that hold it;
//   - what is the host's own: its VMs' ports, its peers, its tunnel ports.
//
// A block is made of units ([flows.Unit]). Between two calls of Flush the engine
// notes which units may have changed. Flush makes the flows of these as they were
// and as they are, and takes over the difference, so that a change costs what it
// changes, and no flow is held twice.
package calc
