package tenant

import "net/netip"

// LinkLocal returns the link-local address that a network adapter forms of its
// MAC: fe80::/64 and the modified EUI-64 (RFC 4291 sections 2.5.6 and appendix A).
func LinkLocal(m MAC) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]})
}

// GatewayLinkLocal returns the distributed router's link-local address, which is
// the same in every virtual subnet: fe80::1. No adapter forms it of its MAC.
func GatewayLinkLocal() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: 1}) }
