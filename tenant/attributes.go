package tenant

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// RecordType says how a lookup record comes to its customer address: -Type of
// New-NetVirtualizationLookupRecord.
type RecordType uint8

// The types of lookup records.
const (
	Static RecordType = iota // the CA is the policy's
	// Dynamic: the VM takes its CAs itself, inside what the record allows. The
	// record has no CA; its key is VSID and MAC. See [LearnedAddress].
	Dynamic
	// L2Only: the VM has a MAC and no CA yet. Its key is VSID and MAC.
	L2Only
	// Wildcard: the CA is 0.0.0.0 or ::, and the VM gets what is for CAs of that
	// family in the subnet that no other record has (GatewayWildcard).
	Wildcard
)

// Rule says how the packets for a CA cross the underlay: -Rule of
// New-NetVirtualizationLookupRecord.
type Rule uint8

// The rules of lookup records.
const (
	Encap Rule = iota // as NVGRE
	Nat               // without encapsulation, the CA rewritten one-to-one to a PA of its own
)

// MulticastMode says how multicast and broadcast of a virtual subnet cross the
// underlay (RFC 7637 section 4.2).
type MulticastMode uint8

// The modes of multicast.
const (
	MulticastOff     MulticastMode = iota // not at all
	MulticastUnicast                      // a copy to each host with a member
	MulticastGroup                        // to a multicast group of the underlay
)

var (
	recordTypes    = []string{"static", "dynamic", "l2only", "wildcard"}
	rules          = []string{"encap", "nat"}
	multicastModes = []string{"off", "unicast", "group"}
)

func enumString[T ~uint8](v T, names []string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%d", uint8(v))
}

func parseEnum[T ~uint8](what, s string, names []string) (T, error) {
	if i := slices.Index(names, s); i >= 0 {
		return T(i), nil
	}
	return 0, fmt.Errorf("%s %q is unknown: want one of %s", what, s, strings.Join(names, ", "))
}

// String returns the word of the policy file: static, dynamic, l2only or wildcard.
func (t RecordType) String() string { return enumString(t, recordTypes) }

// ParseRecordType reads the word of a type.
func ParseRecordType(s string) (RecordType, error) {
	return parseEnum[RecordType]("type", s, recordTypes)
}

// HasCA reports whether records of that type have a customer address of their own.
func (t RecordType) HasCA() bool { return t == Static || t == Wildcard }

// String returns the word of the policy file: encap or nat.
func (r Rule) String() string { return enumString(r, rules) }

// ParseRule reads the word of a rule.
func ParseRule(s string) (Rule, error) { return parseEnum[Rule]("rule", s, rules) }

// String returns the word of the policy file: off, unicast or group.
func (m MulticastMode) String() string { return enumString(m, multicastModes) }

// ParseMulticastMode reads the word of a mode.
func ParseMulticastMode(s string) (MulticastMode, error) {
	return parseEnum[MulticastMode]("mode", s, multicastModes)
}

// RecordOptions is what most lookup records have as the default has it, which is
// the zero value.
type RecordOptions struct {
	Type RecordType `yaml:"type"`
	Rule Rule       `yaml:"rule"`
	// Forwarding says that the VM forwards packets of others: their source CAs
	// pass port security. ARP and neighbour discovery remain in its own name.
	Forwarding bool `yaml:"forwarding"`
	// VLANs are the 802.1Q tags, 1 to 4094, that the VM's access port may carry;
	// they are stripped.
	VLANs []uint16 `yaml:"vlans"`
	// UseVMMAC says that packets that are routed to the VM keep the MAC of the VM
	// that sent them for a source (UseVmMACAddress), and not the gateway's.
	UseVMMAC bool   `yaml:"use_vm_mac"`
	NatPA    PA     `yaml:"nat_pa"`  // of rule nat: the PA that stands for the CA in the underlay
	Context  string `yaml:"context"` // any text, for people
	// Allow are the CAs that a dynamic record may take. Empty: the subnet's prefixes.
	Allow []CAPrefix `yaml:"allow"`
}

// IsDefault reports whether o is the zero value, but for empty slices.
func (o *RecordOptions) IsDefault() bool {
	return o == nil || o.Type == Static && o.Rule == Encap && !o.Forwarding && len(o.VLANs) == 0 &&
		!o.UseVMMAC && !o.NatPA.IsValid() && o.Context == "" && len(o.Allow) == 0
}

// Equal reports whether o and p say the same; nil says the default.
func (o *RecordOptions) Equal(p *RecordOptions) bool {
	if o == p {
		return true
	}
	if o.IsDefault() || p.IsDefault() {
		return o.IsDefault() && p.IsDefault()
	}
	return o.Type == p.Type && o.Rule == p.Rule && o.Forwarding == p.Forwarding && slices.Equal(o.VLANs, p.VLANs) &&
		o.UseVMMAC == p.UseVMMAC && o.NatPA == p.NatPA && o.Context == p.Context && slices.Equal(o.Allow, p.Allow)
}

// given returns o, or nil where it is the default.
func (o *RecordOptions) given() *RecordOptions {
	if o.IsDefault() {
		return nil
	}
	return o
}

// value returns what o points to; the default for nil.
func (o *RecordOptions) value() RecordOptions {
	if o == nil {
		return RecordOptions{}
	}
	return *o
}

// Multicast says what becomes of multicast and broadcast in a virtual subnet.
type Multicast struct {
	Mode MulticastMode `yaml:"mode"`
	// Group is the multicast group of the underlay that carries the subnet's
	// packets, of mode group.
	Group PA `yaml:"group"`
	// Groups gives CA groups a group of the underlay of their own, of mode group,
	// by CA group.
	Groups []GroupMapping `yaml:"groups"`
	// Rate is how many packets per second a VM may send. Default:
	// [DefaultMulticastRate].
	Rate uint32 `yaml:"rate"`
	// Snooping says that packets go only where IGMP or MLD has asked for them.
	Snooping bool `yaml:"snooping"`
}

// GroupMapping gives a multicast group of a virtual subnet one of the underlay.
type GroupMapping struct {
	CA CA `yaml:"ca"`
	PA PA `yaml:"pa"`
}

// DefaultMulticastRate is how many packets per second a VM may send to groups
// where its subnet says no other.
const DefaultMulticastRate = 1000

// Equal reports whether m and n say the same.
func (m Multicast) Equal(n Multicast) bool {
	return m.Mode == n.Mode && m.Group == n.Group && m.Rate == n.Rate && m.Snooping == n.Snooping && slices.Equal(m.Groups, n.Groups)
}

// canonical returns m without what is as the default has it.
func (m Multicast) canonical() Multicast {
	if m.Rate == DefaultMulticastRate {
		m.Rate = 0
	}
	if !slices.IsSortedFunc(m.Groups, compareGroups) {
		m.Groups = slices.Clone(m.Groups)
		slices.SortFunc(m.Groups, compareGroups)
	}
	return m
}

// resolved returns m with its defaults.
func (m Multicast) resolved() Multicast {
	m = m.canonical()
	if m.Rate == 0 {
		m.Rate = DefaultMulticastRate
	}
	return m
}

func compareGroups(a, b GroupMapping) int { return a.CA.Compare(b.CA) }

// ProviderRoute is a route of a host in the underlay: New-NetVirtualizationProviderRoute.
type ProviderRoute struct {
	Prefix  PAPrefix `yaml:"prefix"`
	NextHop PA       `yaml:"next_hop"`
	Metric  uint32   `yaml:"metric"` // the lowest wins among routes of one prefix
}

// DefaultMTU is the MTU of a host's underlay in octets, where the policy gives
// no other.
const DefaultMTU = 1500

// DefaultLease is for how long a VM may use what DHCP told it, in seconds, where
// its subnet says no other.
const DefaultLease = 3600

// LearnedAddress is a customer address that a VM of a dynamic record was seen to
// use. It is no part of the policy: controllers write it and let it age.
type LearnedAddress struct {
	VSID VSID
	CA   CA
	MAC  MAC
	VM   string
	Host string // where it was seen
	Seen int64  // when it was seen last, in seconds of Unix time
}

// ParseRecordCA reads the CA of a lookup record: as [ParseCA], but 0.0.0.0 and
// :: are the CAs of wildcards.
func ParseRecordCA(s string) (CA, error) {
	switch s {
	case "0.0.0.0":
		return CA{netip.IPv4Unspecified()}, nil
	case "::":
		return CA{netip.IPv6Unspecified()}, nil
	}
	return ParseCA(s)
}

// ParseCAGroup reads a multicast address of a virtual subnet.
func ParseCAGroup(s string) (CA, error) {
	a, err := parseGroup(s)
	if err != nil {
		return CA{}, fmt.Errorf("group %q: %w", s, err)
	}
	return CA{a}, nil
}

// ParsePAGroup reads a multicast address of the underlay.
func ParsePAGroup(s string) (PA, error) {
	a, err := parseGroup(s)
	if err != nil {
		return PA{}, fmt.Errorf("group %q: %w", s, err)
	}
	return PA{a}, nil
}

func parseGroup(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || !a.IsMulticast() {
		return netip.Addr{}, errors.New("want a multicast address such as 239.1.2.3, without a zone")
	}
	return a, nil
}
