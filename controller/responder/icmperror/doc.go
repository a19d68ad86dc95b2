// Package icmperror makes the errors that a router sends about a packet: time
// exceeded, destination unreachable, and that the packet is too big, of ICMP
// (RFC 792, RFC 1812 section 4.3) and of ICMPv6 (RFC 4443).
package icmperror
