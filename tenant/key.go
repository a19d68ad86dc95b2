package tenant

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Kind is a kind of object of a policy. Kinds are in the order in which objects
// need one another: a record needs its subnet, a subnet its routing domain.
type Kind uint8

// The kinds of objects.
const (
	KindGatewayMAC Kind = iota + 1
	KindHost
	KindRoutingDomain
	KindSubnet
	KindRecord
	KindRoute
)

// String returns the first part of the keys of that kind, such as "records".
func (k Kind) String() string {
	switch k {
	case KindGatewayMAC:
		return "gateway-mac"
	case KindHost:
		return "hosts"
	case KindRoutingDomain:
		return "routing-domains"
	case KindSubnet:
		return "subnets"
	case KindRecord:
		return "records"
	case KindRoute:
		return "routes"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Key is the natural key of one object of a policy: what it is known by in the
// field, so that to put the same object twice is to put it once. Keys are
// comparable. The zero Key is no object's.
//
// A key's text is stable, has one form only, and is fit for the path of a URL:
//
//	gateway-mac
//	hosts/NAME
//	routing-domains/RDID
//	subnets/VSID
//	records/VSID/CA
//	records/VSID/MAC
//	routes/RDID/PREFIX/LENGTH/METRIC/NEXTHOP
//	routes/RDID/PREFIX/LENGTH/METRIC/NEXTHOP/VSID
//
// A record without a CA, of type dynamic or l2only, is known by its MAC. NEXTHOP
// is "black-hole" in the key of a black hole. The last form is that of a route
// for one subnet alone. NAME is percent-encoded where it has other octets than letters, digits and
// -._~ of ASCII.
type Key struct {
	kind      Kind
	blackHole bool
	mac       MAC // a record's without a CA
	metric    uint32
	vsid      VSID
	rdid      RDID
	ca        CA // a record's, or the next hop of a route
	prefix    CAPrefix
	host      string
}

// GatewayMACKey returns the key of the policy's gateway MAC.
func GatewayMACKey() Key { return Key{kind: KindGatewayMAC} }

// HostKey returns the key of the host of that name.
func HostKey(name string) Key { return Key{kind: KindHost, host: name} }

// RoutingDomainKey returns the key of a routing domain.
func RoutingDomainKey(id RDID) Key { return Key{kind: KindRoutingDomain, rdid: id} }

// SubnetKey returns the key of a virtual subnet.
func SubnetKey(v VSID) Key { return Key{kind: KindSubnet, vsid: v} }

// RecordKey returns the key of the lookup record of a customer address.
func RecordKey(v VSID, ca CA) Key { return Key{kind: KindRecord, vsid: v, ca: ca} }

// RecordMACKey returns the key of the lookup record of a MAC, of a type without
// a customer address.
func RecordMACKey(v VSID, m MAC) Key { return Key{kind: KindRecord, vsid: v, mac: m} }

// RouteKey returns the key of a customer route for a whole routing domain, of
// which nothing is left to change.
func RouteKey(id RDID, prefix CAPrefix, metric uint32, nextHop CA) Key {
	return Key{kind: KindRoute, rdid: id, prefix: prefix, metric: metric, ca: nextHop}
}

// Key returns the key of the route.
func (r *CustomerRoute) Key() Key {
	return Key{kind: KindRoute, rdid: r.RDID, prefix: r.Prefix, metric: r.Metric, ca: r.NextHop, vsid: r.VSID, blackHole: r.BlackHole}
}

// Key returns the key of the record.
func (r *LookupRecord) Key() Key { return recordKey(r.VSID, r.CA, r.MAC) }

func recordKey(v VSID, ca CA, m MAC) Key {
	if ca.IsValid() {
		return RecordKey(v, ca)
	}
	return RecordMACKey(v, m)
}

// blackHoleWord stands for the next hop in the key of a black hole.
const blackHoleWord = "black-hole"

// Kind returns the kind of object that k is the key of; 0 for the zero Key.
func (k Key) Kind() Kind { return k.kind }

// Host returns the name in the key of a host.
func (k Key) Host() string { return k.host }

// RDID returns the identifier in the key of a routing domain or a route.
func (k Key) RDID() RDID { return k.rdid }

// VSID returns the identifier in the key of a subnet, of a record or of a route
// for one subnet alone.
func (k Key) VSID() VSID { return k.vsid }

// CA returns the address in the key of a record; none where it has a MAC.
func (k Key) CA() CA { return k.ca }

// MAC returns the MAC in the key of a record without a CA.
func (k Key) MAC() MAC { return k.mac }

// Prefix returns the destination in the key of a route.
func (k Key) Prefix() CAPrefix { return k.prefix }

// Compare orders keys by kind, then as [Policy] orders the objects.
func (k Key) Compare(l Key) int {
	if c := cmp.Compare(k.kind, l.kind); c != 0 {
		return c
	}
	switch k.kind {
	case KindHost:
		return cmp.Compare(k.host, l.host)
	case KindRecord:
		if k.vsid != l.vsid {
			return cmp.Compare(k.vsid, l.vsid)
		}
		return cmp.Or(k.ca.Compare(l.ca), k.mac.Compare(l.mac))
	}
	return cmp.Or(k.rdid.Compare(l.rdid), k.prefix.Compare(l.prefix), cmp.Compare(k.vsid, l.vsid),
		cmp.Compare(k.metric, l.metric), k.ca.Compare(l.ca), compareBool(k.blackHole, l.blackHole))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// String returns the text of k, or "" for the zero Key.
func (k Key) String() string {
	b := make([]byte, 0, 96)
	if k.kind != 0 {
		b = append(b, k.kind.String()...)
	}
	switch k.kind {
	case KindHost:
		b = appendEscaped(append(b, '/'), k.host)
	case KindRoutingDomain, KindRoute:
		b = append(append(b, '/'), k.rdid.String()...)
	case KindSubnet, KindRecord:
		b = strconv.AppendUint(append(b, '/'), uint64(k.vsid), 10)
	}
	switch k.kind {
	case KindRoute:
		b = append(b, '/')
		if k.prefix.IsValid() {
			b = append(b, k.prefix.String()...)
		} else {
			b = append(b, '/') // as many parts as any other
		}
		b = append(strconv.AppendUint(append(b, '/'), uint64(k.metric), 10), '/')
		if k.blackHole {
			b = append(b, blackHoleWord...)
		}
		b = append(b, k.ca.String()...)
		if k.vsid != 0 {
			b = strconv.AppendUint(append(b, '/'), uint64(k.vsid), 10)
		}
	case KindRecord:
		b = append(append(b, '/'), k.ca.String()...)
		if k.mac != (MAC{}) {
			b = append(b, k.mac.String()...)
		}
	}
	return string(b)
}

// appendEscaped appends name as one part of a path.
func appendEscaped(b []byte, name string) []byte {
	dots := name == "." || name == ".." // a URL's path must not lead elsewhere
	for _, c := range []byte(name) {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '~' || c == '.' && !dots
		if plain {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return b
}

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(b []byte) (err error) { *k, err = ParseKey(string(b)); return err }

// ParseKey reads the text of a key. It refuses every text but the one that
// [Key.String] returns.
func ParseKey(s string) (Key, error) {
	k, err := parseKey(strings.Split(s, "/"))
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", s, err)
	}
	if t := k.String(); t != s {
		return Key{}, fmt.Errorf("key %q is not in its one form: want %q", s, t)
	}
	return k, nil
}

// keyForm returns the kind whose keys begin with that part, and their form.
func keyForm(first string) (kind Kind, form string) {
	switch first {
	case "gateway-mac":
		return KindGatewayMAC, "gateway-mac"
	case "hosts":
		return KindHost, "hosts/NAME"
	case "routing-domains":
		return KindRoutingDomain, "routing-domains/RDID"
	case "subnets":
		return KindSubnet, "subnets/VSID"
	case "records":
		return KindRecord, "records/VSID/CA or records/VSID/MAC"
	case "routes":
		return KindRoute, "routes/RDID/PREFIX/LENGTH/METRIC/NEXTHOP, or that with /VSID"
	}
	return 0, ""
}

// keyParts returns how many parts the key has that parts begin with.
func keyParts(kind Kind, parts []string) int {
	switch kind {
	case KindGatewayMAC:
		return 1
	case KindRecord:
		return 3
	case KindRoute:
		if len(parts) > 6 && decimal.MatchString(parts[6]) {
			return 7
		}
		return 6
	}
	return 2
}

// SplitPath returns the key and the field in the path of a problem that
// [Policy.Apply] or [DecodeObject] found. The key is text, because one that
// cannot be read may be the problem.
func SplitPath(path string) (key, field string) {
	parts := strings.Split(path, "/")
	kind, _ := keyForm(parts[0])
	n := min(keyParts(kind, parts), len(parts))
	if kind == 0 {
		n = 1
	}
	return strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/")
}

func parseKey(parts []string) (k Key, err error) {
	kind, form := keyForm(parts[0])
	if kind == 0 {
		return k, fmt.Errorf("%q is no kind of object: want gateway-mac, hosts, routing-domains, subnets, records or routes", parts[0])
	}
	if len(parts) != keyParts(kind, parts) {
		return k, fmt.Errorf("has %d parts: want %s", len(parts), form)
	}
	k.kind = kind
	switch k.kind {
	case KindHost:
		if k.host, err = url.PathUnescape(parts[1]); err != nil {
			return k, err
		}
		if m := nameProblem("the host's name", k.host, MaxHostName); m != "" {
			return k, fmt.Errorf("%s", m)
		}
	case KindRoutingDomain, KindRoute:
		k.rdid, err = ParseRDID(parts[1])
	case KindSubnet, KindRecord:
		k.vsid, err = ParseVSID(parts[1])
	}
	if err != nil {
		return k, err
	}
	switch k.kind {
	case KindRecord:
		if mac, e := ParseMAC(parts[2]); e == nil {
			k.mac = mac
		} else {
			k.ca, err = ParseRecordCA(parts[2])
		}
	case KindRoute:
		if k.prefix, err = ParseCAPrefix(parts[2] + "/" + parts[3]); err != nil {
			return k, err
		}
		metric, e := strconv.ParseUint(parts[4], 10, 32)
		if e != nil {
			return k, fmt.Errorf("metric %q: want a number from 0 to 4294967295", parts[4])
		}
		k.metric = uint32(metric)
		if k.blackHole = parts[5] == blackHoleWord; !k.blackHole {
			if k.ca, err = ParseCA(parts[5]); err != nil {
				return k, err
			}
		}
		if len(parts) > 6 {
			k.vsid, err = ParseVSID(parts[6])
		}
	}
	return k, err
}
