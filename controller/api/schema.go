package api

import (
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The types below are for the OpenAPI document alone: objects are read and
// written by package tenant. A test compares the two.

type schemaGatewayMAC struct {
	GatewayMAC string `json:"gateway_mac" doc:"MAC of the distributed router in every subnet" example:"02:4e:56:00:00:01"`
}

type schemaHost struct {
	Name              string   `json:"name,omitempty"`
	ProviderAddresses []string `json:"provider_addresses" nullable:"false" doc:"addresses in the underlay, the preferred first" example:"[\"10.99.0.1\"]"`
	OVSDB             string   `json:"ovsdb,omitempty" doc:"unix:PATH, tcp:IP:PORT or ssl:IP:PORT"`
	OpenFlow          string   `json:"openflow,omitempty" doc:"unix:PATH, tcp:IP:PORT or ssl:IP:PORT"`
}

type schemaRoutingDomain struct {
	RDID     string `json:"rdid,omitempty" doc:"GUID" example:"11111111-2222-3333-4444-000000005001"`
	Name     string `json:"name,omitempty" doc:"unique; default: the RDID"`
	Customer string `json:"customer,omitempty"`
}

type schemaSubnet struct {
	VSID     uint32   `json:"vsid,omitempty" minimum:"4096" maximum:"16777214"`
	RDID     string   `json:"rdid" doc:"of its routing domain" example:"11111111-2222-3333-4444-000000005001"`
	Name     string   `json:"name,omitempty" doc:"unique in the routing domain; default: the VSID"`
	Prefixes []string `json:"prefixes" nullable:"false" example:"[\"10.0.1.0/24\"]"`
	Gateways []string `json:"gateways,omitempty" nullable:"false" doc:"default: the first usable address of each prefix"`
}

type schemaRecord struct {
	VSID    uint32 `json:"vsid,omitempty" minimum:"4096" maximum:"16777214"`
	CA      string `json:"ca,omitempty" doc:"customer address" example:"10.0.1.11"`
	VM      string `json:"vm" doc:"the VM's name, unique in the routing domain"`
	MAC     string `json:"mac" example:"02:b0:00:00:01:11"`
	IfaceID string `json:"iface_id,omitempty" doc:"external_ids:iface-id of the VM's port; default: the VM's name"`
	Host    string `json:"host,omitempty" doc:"the host that the VM is on; with neither host nor pa it is where its port appears"`
	PA      string `json:"pa,omitempty" doc:"provider address of that host, instead of host"`
}

type schemaRoute struct {
	RDID    string `json:"rdid,omitempty"`
	Prefix  string `json:"prefix,omitempty" example:"0.0.0.0/0"`
	NextHop string `json:"next_hop,omitempty" doc:"a customer address of the routing domain"`
	Metric  uint32 `json:"metric,omitempty" doc:"the lowest wins among routes of one prefix"`
}

// kind is one kind of object as a resource.
type kind struct {
	kind  tenant.Kind
	one   string // for the names and texts of operations
	name  string // of the schema
	path  string // of an object, below /v1/
	typ   reflect.Type
	words string // what it is
}

func kinds() []kind {
	return []kind{
		{tenant.KindGatewayMAC, "gateway-mac", "GatewayMAC", "gateway-mac", reflect.TypeFor[schemaGatewayMAC](), "the MAC of the distributed router"},
		{tenant.KindHost, "host", "Host", "hosts/{name}", reflect.TypeFor[schemaHost](), "a host"},
		{tenant.KindRoutingDomain, "routing-domain", "RoutingDomain", "routing-domains/{rdid}", reflect.TypeFor[schemaRoutingDomain](), "a routing domain"},
		{tenant.KindSubnet, "subnet", "Subnet", "subnets/{vsid}", reflect.TypeFor[schemaSubnet](), "a virtual subnet"},
		{tenant.KindRecord, "record", "Record", "records/{vsid}/{ca}", reflect.TypeFor[schemaRecord](), "a lookup record"},
		{tenant.KindRoute, "route", "Route", "routes/{rdid}/{prefix}/{length}/{metric}/{next_hop}", reflect.TypeFor[schemaRoute](), "a customer route"},
	}
}

func (k kind) schema(r huma.Registry) *huma.Schema { return r.Schema(k.typ, true, k.name) }

// parameters describes the parts of the path of an object.
func (k kind) parameters() (out []*huma.Param) {
	low, high := float64(tenant.MinVSID), float64(tenant.MaxVSID)
	text := func(example string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Examples: []any{example}}
	}
	all := map[string]*huma.Param{
		"name":     {Schema: text("h1"), Description: "name of the host, percent-encoded"},
		"rdid":     {Schema: &huma.Schema{Type: huma.TypeString, Format: "uuid"}, Description: "routing domain identifier"},
		"vsid":     {Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: &low, Maximum: &high}, Description: "virtual subnet identifier"},
		"ca":       {Schema: text("10.0.1.11"), Description: "customer address"},
		"prefix":   {Schema: text("10.0.0.0"), Description: "address of the prefix"},
		"length":   {Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "length of the prefix, in bits"},
		"metric":   {Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "metric of the route"},
		"next_hop": {Schema: text("10.0.1.1"), Description: "customer address of the next hop"},
	}
	for _, name := range wildcards(k.path) {
		p := all[name]
		p.Name, p.In, p.Required = name, "path", true
		out = append(out, p)
	}
	return out
}

// schemaName names the schemas of the OpenAPI document.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for _, k := range kinds() {
		if k.typ == t {
			return k.name
		}
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if base := t.PkgPath(); len(base) > 6 && base[len(base)-6:] == "/admin" && name != "Status" {
		return "Status" + name
	}
	return name
}
