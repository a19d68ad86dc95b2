// Package dhcp4 answers DHCPv4 (RFC 2131) from the policy. It keeps no leases: a
// VM's address is what the policy says, so every server gives the same answer and
// none needs to remember one. A VM whose address the policy has changed learns of
// it when it asks next: its request is refused, and it begins anew.
package dhcp4
