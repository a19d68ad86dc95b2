// Package ha shares the hosts out among controllers by leases in etcd, and lets
// the controllers tell each other what they see.
package ha
