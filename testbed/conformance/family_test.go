package conformance

var familyRows = []Row{
	{Name: "delivery-ipv4", Source: "RFC 7637, 3.2", Level: Says, Test: outerAddresses,
		Says: "IPv4 is used as the delivery protocol"},
	{Name: "delivery-ipv6", Source: "RFC 7637, 3.2", Level: Says,
		Says: "IPv6 is used as the delivery protocol where both hosts have an IPv6 PA and not both an IPv4 one", Note: "provider addresses are IPv4 only"},
	{Name: "ca6-over-pa4", Source: "RFC 7637, 4.5", Level: Says,
		Says: "the families of CA and PA need not match: IPv6 over IPv4", Note: "customer addresses are IPv4 only"},
	{Name: "ca4-over-pa6", Source: "RFC 7637, 4.5", Level: Says,
		Says: "IPv4 over IPv6", Note: "provider addresses are IPv4 only"},
	{Name: "ca6-over-pa6", Source: "RFC 7637, 4.5", Level: Says,
		Says: "IPv6 over IPv6", Note: "provider and customer addresses are IPv4 only"},
	{Name: "family-per-pair", Source: "HNV", Level: HNV,
		Says: "the outer family is chosen for each pair of hosts by the PAs that both have", Note: "provider addresses are IPv4 only"},
}
