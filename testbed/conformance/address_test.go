package conformance

const noAnswerers = "VMs are configured by hand"

var addressRows = []Row{
	{Name: "dhcpv4", Source: "RFC 2131", Level: HNV, Note: noAnswerers,
		Says: "a VM gets its CA, prefix length, gateway, MTU and DNS by DHCPv4"},
	{Name: "dhcpv6", Source: "RFC 8415", Level: HNV, Note: noAnswerers,
		Says: "a VM gets its CA and DNS by DHCPv6"},
	{Name: "router-advertisement", Source: "RFC 4861, 6.2", Level: HNV, Note: noAnswerers,
		Says: "a VM gets prefix, MTU and gateway by router advertisement, with M=1 and A=0"},
	{Name: "renumbering", Source: "HNV", Level: HNV, Note: noAnswerers,
		Says: "a VM whose CA changes in the policy gets the new one when it asks again"},
	{Name: "packet-in-metered", Source: "HNV", Level: HNV, Note: noAnswerers,
		Says: "what goes to the controller is limited for each VM: a flood harms no other VM, nor the flow channel"},
}
