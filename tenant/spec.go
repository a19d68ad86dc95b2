package tenant

// Spec is a policy as somebody wrote it: nested as in the policy file, with
// nothing checked beyond the form of each value. [New] turns it into a [Policy].
//
// A zero value of a field means that the field was not given. A reader that
// found a field but could not read its value leaves the zero value and adds the
// field to Unread: then nothing is reported that hangs on that field.
type Spec struct {
	Version        int                 `yaml:"version"`
	GatewayMAC     MAC                 `yaml:"gateway_mac"`
	Hosts          []HostSpec          `yaml:"hosts"`
	RoutingDomains []RoutingDomainSpec `yaml:"routing_domains"`
	Unread         FieldSet            `yaml:"-"`
}

// HostSpec is one host of a [Spec].
type HostSpec struct {
	Name              string            `yaml:"name"`
	ProviderAddresses []ProviderAddress `yaml:"provider_addresses"`
	OVSDB             string            `yaml:"ovsdb"`
	OpenFlow          string            `yaml:"openflow"`
	MTU               uint16            `yaml:"mtu"` // of the underlay, in octets; default: [DefaultMTU]
	Routes            []ProviderRoute   `yaml:"routes"`
	Source            Position          `yaml:"-"`
	Unread            FieldSet          `yaml:"-"`
}

// RoutingDomainSpec is one routing domain of a [Spec] with all that is in it.
type RoutingDomainSpec struct {
	RDID     RDID         `yaml:"rdid"`
	Name     string       `yaml:"name"` // default: the RDID
	Customer string       `yaml:"customer"`
	Subnets  []SubnetSpec `yaml:"subnets"`
	Routes   []RouteSpec  `yaml:"routes"`
	Source   Position     `yaml:"-"`
	Unread   FieldSet     `yaml:"-"`
}

// SubnetSpec is one virtual subnet of a [Spec] with its lookup records.
type SubnetSpec struct {
	VSID      uint32       `yaml:"vsid"`
	Name      string       `yaml:"name"` // default: the VSID
	Prefixes  []CAPrefix   `yaml:"prefixes"`
	Gateways  []CA         `yaml:"gateways"` // default: the first usable address of each prefix
	Multicast Multicast    `yaml:"multicast"`
	DHCP      bool         `yaml:"dhcp"`
	DNS       []CA         `yaml:"dns"`
	Domain    string       `yaml:"domain"`
	Lease     uint32       `yaml:"lease"` // in seconds; default: [DefaultLease]
	MTU       uint16       `yaml:"mtu"`   // in octets; default: what the underlay leaves
	Records   []RecordSpec `yaml:"records"`
	Source    Position     `yaml:"-"`
	Unread    FieldSet     `yaml:"-"`
}

// RecordSpec is one lookup record of a [Spec]. It names its host, or its PA, or
// neither.
type RecordSpec struct {
	VM      string `yaml:"vm"`
	CA      CA     `yaml:"ca"`
	MAC     MAC    `yaml:"mac"`
	IfaceID string `yaml:"iface_id"` // default: the VM's name
	Host    string `yaml:"host"`
	PA      PA     `yaml:"pa"`
	// Options are what few records have. nil: the default.
	Options *RecordOptions `yaml:",inline"`
	Source  Position       `yaml:"-"`
	Unread  FieldSet       `yaml:"-"`
}

// RouteSpec is one customer route of a [Spec]. It has a next hop, or is a black
// hole.
type RouteSpec struct {
	Prefix    CAPrefix `yaml:"prefix"`
	NextHop   CA       `yaml:"next_hop"`
	BlackHole bool     `yaml:"black_hole"`
	Metric    uint32   `yaml:"metric"`
	VSID      uint32   `yaml:"vsid"` // of the subnet whose packets it is for; default: the whole domain
	Source    Position `yaml:"-"`
	Unread    FieldSet `yaml:"-"`
}
