package policyfile

import (
	"math"
	"reflect"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// note is what the schema says of a key beyond its type.
type note struct {
	text       string
	required   bool
	atLeastOne bool   // of a list
	most       int    // octets of a name
	pattern    string // of text that is no name
	length     string // pattern of a prefix length
	from, to   uint64 // range of a number
	constant   any
	byDefault  any
}

const (
	octet       = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	ipv4        = `(` + octet + `\.){3}` + octet
	notUnicast  = `^(0\.0\.0\.0|255\.255\.255\.255|2(2[4-9]|3[0-9])\..*)$`
	hexOctet    = `[0-9A-Fa-f]{2}`
	macPattern  = `^[0-9A-Fa-f][02468ACEace]((:` + hexOctet + `){5}|(-` + hexOctet + `){5}|(` + hexOctet + `){5})$`
	guid        = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`
	rdidPattern = `^([{]` + guid + `[}]|` + guid + `)$`
	// A name has no control character, and no white space at its ends.
	namePattern     = `^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$`
	endpointPattern = `^(unix|tcp|ssl):.*[^\s].*$`
	subnetLength    = `([1-9]|[12][0-9]|3[01])`
	routeLength     = `([0-9]|[12][0-9]|3[0-2])`
)

var objectNotes = map[reflect.Type]string{
	reflect.TypeFor[tenant.Spec]():              "Who may talk to whom, and where everybody is: hosts, and tenants with their subnets, VMs and routes.",
	reflect.TypeFor[tenant.HostSpec]():          "One Open vSwitch: a hypervisor that carries VMs, or a peer that only terminates tunnels.",
	reflect.TypeFor[tenant.RoutingDomainSpec](): "One tenant's closed routing space. Its customer addresses and MACs may repeat in others.",
	reflect.TypeFor[tenant.SubnetSpec]():        "One virtual subnet with its lookup records.",
	reflect.TypeFor[tenant.RecordSpec]():        "One VM: its customer address, its MAC and where it is. It names its host, or the host's PA, or neither: then it is where its port appears.",
	reflect.TypeFor[tenant.RouteSpec]():         "Sends a destination to a next hop in the routing domain. The lowest metric wins among routes of one prefix.",
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
	},
	reflect.TypeFor[tenant.RoutingDomainSpec](): {
		"rdid":     {text: "The routing domain's identifier, a GUID. Quote it where it has braces.", required: true},
		"name":     {text: "A name, unique in the policy. Default: the RDID.", most: tenant.MaxName},
		"customer": {text: "The customer's name, for people.", most: tenant.MaxName},
		"subnets":  {text: "The virtual subnets, which route to each other."},
		"routes":   {text: "Routes to what is behind a VM of the routing domain. The prefixes of the subnets need none."},
	},
	reflect.TypeFor[tenant.SubnetSpec](): {
		"vsid":     {text: "The virtual subnet identifier (RFC 7637), unique in the policy.", required: true, from: uint64(tenant.MinVSID), to: uint64(tenant.MaxVSID)},
		"name":     {text: "A name, unique in the routing domain. Default: the VSID.", most: tenant.MaxName},
		"prefixes": {text: "The subnet's prefixes, which share no address with others of the routing domain.", required: true, atLeastOne: true, length: subnetLength},
		"gateways": {text: "The distributed router's address in each prefix, in the order of prefixes. Default: the first usable address of each."},
		"records":  {text: "The lookup records: one for each VM."},
	},
	reflect.TypeFor[tenant.RecordSpec](): {
		"vm":       {text: "The VM's name, unique in the routing domain.", required: true, most: tenant.MaxName},
		"ca":       {text: "The VM's customer address, in a prefix of the subnet.", required: true},
		"mac":      {text: "The MAC of the VM's network adapter, with :, - or nothing between the octets; unique in the subnet. Quote it where it is digits alone.", required: true},
		"iface_id": {text: "external_ids:iface-id of the VM's port, unique in the policy. Default: the VM's name.", most: tenant.MaxName},
		"host":     {text: "The name of the host that the VM is on.", most: tenant.MaxHostName},
		"pa":       {text: "A provider address of the host that the VM is on."},
	},
	reflect.TypeFor[tenant.RouteSpec](): {
		"prefix":   {text: "The destination.", required: true, length: routeLength},
		"next_hop": {text: "The customer address of the VM that routes on.", required: true},
		"metric":   {text: "The lowest wins among routes of one prefix.", to: math.MaxUint32, byDefault: 0},
	},
}
