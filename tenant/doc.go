// Package tenant is the domain of Hyper-V Network Virtualization in the words
// of the field: virtual subnets, routing domains, customer and provider
// addresses and the lookup records that tie them together.
//
// It knows nothing of OpenFlow, of Open vSwitch or of any network: it is types,
// their rules, and an immutable [Policy]. Reading a policy file is the work of
// package policyfile.
package tenant
