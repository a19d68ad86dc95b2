// Package tenant is the domain of Hyper-V Network Virtualization in the words
// of the field: virtual subnets, routing domains, customer and provider
// addresses and the lookup records that tie them together.
//
// A [Policy] is all of it together, an immutable snapshot. [New] makes one of a
// [Spec], which is nested as a policy file is. [Policy.Apply] makes one of another
// by a list of [Change], of single objects by their natural keys: the two share
// what they have in common, so that the cost is that of the change. [Diff] tells
// the changes between two snapshots. The rules, and their words, are the same ones
// whichever way an object comes.
//
// It knows nothing of OpenFlow, of Open vSwitch or of any network: it is types,
// their rules and snapshots. Reading a policy file is the work of
// package policyfile.
package tenant
