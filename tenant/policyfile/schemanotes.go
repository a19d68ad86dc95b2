package policyfile

import (
	"math"
	"reflect"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// note is what the schema says of a key beyond its type.
type note struct {
	text        string
	required    bool
	atLeastOne  bool   // of a list
	most        int    // octets of a name
	pattern     string // of text that is no name
	length      string // pattern of a prefix length
	from, to    uint64 // range of a number
	group       bool   // of an address: a multicast address
	unspecified bool   // of an address: 0.0.0.0 and :: too
	constant    any
	byDefault   any
}

const (
	octet       = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	ipv4        = `(` + octet + `\.){3}` + octet
	notUnicast  = `^(0\.0\.0\.0|255\.255\.255\.255|2(2[4-9]|3[0-9])\..*|::|[Ff][Ff][0-9A-Fa-f]{2}:.*|[Ff][Ee][89ABab][0-9A-Fa-f]:.*)$`
	ipv6        = `([0-9A-Fa-f]{0,4}:){2,8}[0-9A-Fa-f]{0,4}`
	anyAddress  = `^(` + ipv4 + `|` + ipv6 + `)$`
	length6     = `([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])`
	hexOctet    = `[0-9A-Fa-f]{2}`
	macPattern  = `^[0-9A-Fa-f][02468ACEace]((:` + hexOctet + `){5}|(-` + hexOctet + `){5}|(` + hexOctet + `){5})$`
	guid        = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`
	rdidPattern = `^([{]` + guid + `[}]|` + guid + `)$`
	// A name has no control character, and no white space at its ends.
	namePattern     = `^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$`
	endpointPattern = `^(unix|tcp|ssl):.*[^\s].*$`
	label           = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
	domainPattern   = `^(` + label + `\.)*` + label + `$`
	groupPattern    = `^(2(2[4-9]|3[0-9])\.` + octet + `\.` + octet + `\.` + octet + `|[Ff][Ff][0-9A-Fa-f:]+)$`
	subnetLength    = `([1-9]|[12][0-9]|3[01])`
	routeLength     = `([0-9]|[12][0-9]|3[0-2])`
)

var objectNotes = map[reflect.Type]string{
	reflect.TypeFor[tenant.Spec]():              "Who may talk to whom, and where everybody is: hosts, and tenants with their subnets, VMs and routes.",
	reflect.TypeFor[tenant.HostSpec]():          "One Open vSwitch: a hypervisor that carries VMs, or a peer that only terminates tunnels.",
	reflect.TypeFor[tenant.RoutingDomainSpec](): "One tenant's closed routing space. Its customer addresses and MACs may repeat in others.",
	reflect.TypeFor[tenant.SubnetSpec]():        "One virtual subnet with its lookup records.",
	reflect.TypeFor[tenant.RecordSpec]():        "One customer address of a VM, the VM's MAC and where it is. It names its host, or the host's PA, or neither: then it is where its port appears. Several records of one subnet may share vm, mac and iface_id.",
	reflect.TypeFor[tenant.RouteSpec]():         "Sends a destination to a next hop in the routing domain, or drops it. Of one prefix, routes of the sender's own subnet win over those of the whole domain, then the lowest metric; routes that differ in the next hop alone share the traffic.",
	reflect.TypeFor[tenant.ProviderAddress]():   "One address of a host in the underlay.",
	reflect.TypeFor[tenant.ProviderRoute]():     "A route of a host in the underlay.",
	reflect.TypeFor[tenant.Multicast]():         "What becomes of multicast and broadcast in a virtual subnet.",
	reflect.TypeFor[tenant.GroupMapping]():      "A multicast group of the subnet with one of the underlay.",
}

var schemaNotes = map[reflect.Type]map[string]note{
	reflect.TypeFor[tenant.Spec](): {
		"version":         {text: "The version of this format.", required: true, constant: 1},
		"gateway_mac":     {text: "The MAC of the distributed router in every subnet.", byDefault: tenant.DefaultGatewayMAC.String()},
		"hosts":           {text: "The hosts of the underlay."},
		"routing_domains": {text: "The tenants."},
	},
	reflect.TypeFor[tenant.HostSpec](): {
		"name":               {text: "The host's name, unique in the policy.", required: true, most: tenant.MaxHostName},
		"provider_addresses": {text: "The host's addresses in the underlay, the preferred one first.", required: true, atLeastOne: true},
		"ovsdb":              {text: "How the controller reaches the host's ovsdb-server: unix:PATH, tcp:IP:PORT or ssl:IP:PORT.", pattern: endpointPattern},
		"openflow":           {text: "How the controller reaches the host's bridge by OpenFlow: unix:PATH, tcp:IP:PORT or ssl:IP:PORT.", pattern: endpointPattern},
		"mtu":                {text: "The MTU of the host's underlay, in octets.", from: 576, to: math.MaxUint16, byDefault: tenant.DefaultMTU},
		"routes":             {text: "The routes that the host should have in the underlay."},
	},
	reflect.TypeFor[tenant.ProviderAddress](): {
		"pa":     {text: "The address.", required: true},
		"weight": {text: "The address's share among those of its family.", from: 1, to: math.MaxUint32, byDefault: 1},
		"uplink": {text: "The network device or bond that has the address.", most: tenant.MaxName},
		"vlan":   {text: "The 802.1Q tag of the address in the underlay. Default: none.", from: 1, to: 4094},
	},
	reflect.TypeFor[tenant.ProviderRoute](): {
		"prefix":   {text: "The destination.", required: true, length: routeLength},
		"next_hop": {text: "The address of the router.", required: true},
		"metric":   {text: "The lowest wins among routes of one prefix.", to: math.MaxUint32, byDefault: 0},
	},
	reflect.TypeFor[tenant.RoutingDomainSpec](): {
		"rdid":     {text: "The routing domain's identifier, a GUID. Quote it where it has braces.", required: true},
		"name":     {text: "A name, unique in the policy. Default: the RDID.", most: tenant.MaxName},
		"customer": {text: "The customer's name, for people.", most: tenant.MaxName},
		"subnets":  {text: "The virtual subnets, which route to each other."},
		"routes":   {text: "Routes to what is behind a VM of the routing domain. The prefixes of the subnets need none."},
	},
	reflect.TypeFor[tenant.SubnetSpec](): {
		"vsid":      {text: "The virtual subnet identifier (RFC 7637), unique in the policy.", required: true, from: uint64(tenant.MinVSID), to: uint64(tenant.MaxVSID)},
		"name":      {text: "A name, unique in the routing domain. Default: the VSID.", most: tenant.MaxName},
		"prefixes":  {text: "The subnet's prefixes, which share no address with others of the routing domain.", required: true, atLeastOne: true, length: subnetLength},
		"gateways":  {text: "The distributed router's address in each prefix, in the order of prefixes. Default: the first usable address of each."},
		"multicast": {text: "What becomes of multicast and broadcast. Default: it is dropped."},
		"dhcp":      {text: "Whether VMs are told their addresses, by DHCP and router advertisements.", byDefault: false},
		"dns":       {text: "The resolvers that VMs are told of."},
		"domain":    {text: "The DNS domain that VMs are told of.", pattern: domainPattern},
		"lease":     {text: "For how long VMs may use what they are told, in seconds.", from: 60, to: math.MaxUint32, byDefault: tenant.DefaultLease},
		"mtu":       {text: "The MTU of the VMs, in octets. Default: what the underlay leaves.", from: 576, to: math.MaxUint16},
		"records":   {text: "The lookup records: one for each customer address."},
	},
	reflect.TypeFor[tenant.Multicast](): {
		"mode":     {text: "off; unicast, a copy to each host with a member; or group, to a multicast group of the underlay.", required: true, byDefault: "off"},
		"group":    {text: "The multicast group of the underlay, of mode group.", group: true},
		"groups":   {text: "Groups of the subnet that have a group of the underlay of their own, of mode group."},
		"rate":     {text: "How many packets per second a VM may send.", from: 1, to: math.MaxUint32, byDefault: tenant.DefaultMulticastRate},
		"snooping": {text: "Whether packets go only where IGMP or MLD has asked for them.", byDefault: false},
	},
	reflect.TypeFor[tenant.GroupMapping](): {
		"ca": {text: "The multicast group of the subnet.", required: true, group: true},
		"pa": {text: "The multicast group of the underlay.", required: true, group: true},
	},
	reflect.TypeFor[tenant.RecordSpec](): {
		"vm":         {text: "The VM's name, of one network adapter of the routing domain.", required: true, most: tenant.MaxName},
		"ca":         {text: "The VM's customer address, in a prefix of the subnet; 0.0.0.0 or :: of a wildcard; none of types dynamic and l2only.", unspecified: true},
		"mac":        {text: "The MAC of the VM's network adapter, with :, - or nothing between the octets; unique in the subnet. Quote it where it is digits alone.", required: true},
		"iface_id":   {text: "external_ids:iface-id of the VM's port, unique in the policy. Default: the VM's name.", most: tenant.MaxName},
		"host":       {text: "The name of the host that the VM is on.", most: tenant.MaxHostName},
		"pa":         {text: "A provider address of the host that the VM is on."},
		"type":       {text: "static; dynamic, the VM takes its addresses itself; l2only, it has none yet; or wildcard, it gets what is for addresses without a record.", byDefault: "static"},
		"rule":       {text: "How packets cross the underlay: encap, as NVGRE; or nat, the address rewritten to nat_pa.", byDefault: "encap"},
		"forwarding": {text: "Whether the VM may send what others have sent, as a router does.", byDefault: false},
		"vlans":      {text: "The 802.1Q tags that the VM's port may carry; they are stripped.", from: 1, to: 4094},
		"use_vm_mac": {text: "Whether routed packets keep the MAC of the VM that sent them.", byDefault: false},
		"nat_pa":     {text: "The provider address of the VM's host that stands for the customer address, of rule nat."},
		"context":    {text: "Text for people.", most: tenant.MaxName},
		"allow":      {text: "What addresses a VM of type dynamic may take. Default: the subnet's prefixes.", length: routeLength},
	},
	reflect.TypeFor[tenant.RouteSpec](): {
		"prefix":     {text: "The destination.", required: true, length: routeLength},
		"next_hop":   {text: "The customer address of the VM that routes on; none of a black hole."},
		"black_hole": {text: "Whether the packets are dropped.", byDefault: false},
		"metric":     {text: "The lowest wins among routes of one prefix.", to: math.MaxUint32, byDefault: 0},
		"vsid":       {text: "The subnet whose packets the route is for. Default: the whole routing domain.", from: uint64(tenant.MinVSID), to: uint64(tenant.MaxVSID)},
	},
}

// alternatives say of objects what is required only where another key is not as
// it mostly is.
var alternatives = map[reflect.Type][]*schema{
	reflect.TypeFor[tenant.RecordSpec](): {
		{Required: []string{"ca"}},
		{Required: []string{"type"}, Properties: properties{{"type", &schema{Enum: []string{"dynamic", "l2only"}}}}},
	},
	reflect.TypeFor[tenant.RouteSpec](): {
		{Required: []string{"next_hop"}},
		{Required: []string{"black_hole"}},
	},
}
