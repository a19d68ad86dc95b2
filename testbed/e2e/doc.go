// Package e2e tests the product as its users meet it: the binary, a testbed of
// real Open vSwitch hosts, and real packets. There is nothing in it but tests.
package e2e
