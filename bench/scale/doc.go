// Package scale measures the daemon at scale: the product's own binary drives a
// simulated fleet (package testbed/fleet), which lives in the benchmark's
// process. It prints what a cold start, a restart, one change and thousands of
// changes a second cost against the numbers of records and hosts.
package scale
