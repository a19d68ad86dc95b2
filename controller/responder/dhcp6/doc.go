// Package dhcp6 answers DHCPv6 (RFC 8415) from the policy. Like package dhcp4 it
// keeps no leases. A VM whose address the policy has changed gets, when it asks
// next, the new one beside its old one with lifetimes of zero.
package dhcp6
