package conformance

const notYet = "not tested yet"

var badInputRows = []Row{
	{Name: "bad-arp", Source: "HNV", Level: HNV, Note: notYet,
		Says: "malformed ARP of a VM is dropped, and counted"},
	{Name: "bad-nd", Source: "HNV", Level: HNV, Note: notYet,
		Says: "malformed neighbour discovery of a VM is dropped, and counted"},
	{Name: "bad-dhcp", Source: "HNV", Level: HNV, Note: notYet,
		Says: "malformed DHCP of a VM is dropped, and counted"},
	{Name: "bad-igmp", Source: "HNV", Level: HNV, Note: notYet,
		Says: "malformed IGMP of a VM is dropped, and counted"},
	{Name: "fuzz-from-vm", Source: "HNV", Level: HNV, Note: notYet,
		Says: "truncated and fuzzed frames of a VM reach nobody else and end nothing"},
	{Name: "fuzz-from-tunnel", Source: "HNV", Level: HNV, Note: notYet,
		Says: "nor do truncated and fuzzed frames from the tunnel"},
}
