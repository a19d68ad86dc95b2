// Package frame reads and writes the Ethernet frames that answerers handle:
// headers of IPv4, IPv6, UDP and ICMP, with their checksums. What it reads may be
// anything at all.
package frame
