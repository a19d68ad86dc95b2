package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DecodeObject reads the JSON form of the object of key k. What the key says may
// be left out, and must not be contradicted. Reading is strict: a key of JSON or
// a value that is not understood is a problem, and all are returned; their paths
// are those of [Policy.Apply]. What the values mean, and whether one is missing,
// is checked there.
func DecodeObject(k Key, data []byte) (Object, []Problem) {
	if k.kind == KindRecord {
		if o, ok := fastRecord(k, data); ok {
			return o.canonical(), nil
		}
	}
	o, fields := newObject(k)
	if o == nil {
		return nil, []Problem{{Path: k.String(), Message: "is no key of an object: want one that ParseKey returns"}}
	}
	r := &jsonReader{path: k.String(), what: "the object", fields: fields, keyed: true}
	r.read(data)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return o.canonical(), nil
}

// newObject returns an object with that key and nothing else.
func newObject(k Key) (Object, []jsonField) {
	switch k.kind {
	case KindGatewayMAC:
		o := &GatewayMAC{}
		return o, o.fields()
	case KindHost:
		o := &HostObject{Name: k.host}
		return o, o.fields()
	case KindRoutingDomain:
		o := &RoutingDomainObject{RDID: k.rdid}
		return o, o.fields()
	case KindSubnet:
		o := &SubnetObject{VSID: k.vsid}
		return o, o.fields()
	case KindRecord:
		o := &RecordObject{VSID: k.vsid, CA: k.ca, MAC: k.mac, Options: new(RecordOptions)}
		fields := o.fields()
		if k.mac != (MAC{}) {
			fields[1].isKey, fields[3].isKey = false, true
		}
		return o, fields
	case KindRoute:
		o := &RouteObject{RDID: k.rdid, Prefix: k.prefix, Metric: k.metric, NextHop: k.ca, BlackHole: k.blackHole, VSID: k.vsid}
		return o, o.fields()
	}
	return nil, nil
}

func (o *GatewayMAC) fields() []jsonField {
	return []jsonField{valueField("gateway_mac", &o.MAC, wantMAC, ParseMAC)}
}

func (o *HostObject) fields() []jsonField {
	return []jsonField{
		textField("name", &o.Name, "a name").inKey(),
		objectsField("provider_addresses", &o.ProviderAddresses, "a provider address", "provider addresses", providerAddressFields, plainPA),
		textField("ovsdb", &o.OVSDB, "unix:PATH, tcp:IP:PORT or ssl:IP:PORT"),
		textField("openflow", &o.OpenFlow, "unix:PATH, tcp:IP:PORT or ssl:IP:PORT"),
		numberField("mtu", &o.MTU, wantMTU),
		objectsField("routes", &o.Routes, "a provider route", "provider routes", providerRouteFields, nil),
	}
}

func providerAddressFields(a *ProviderAddress) []jsonField {
	return []jsonField{
		valueField("pa", &a.PA, wantPA, ParsePA),
		numberField("weight", &a.Weight, wantWeight),
		textField("uplink", &a.Uplink, "a network device"),
		numberField("vlan", &a.VLAN, wantVLAN),
	}
}

// plainPA is the field that stands for a provider address with nothing else.
func plainPA(a *ProviderAddress) (f jsonField, alone bool) {
	return valueField("pa", &a.PA, wantPA, ParsePA), *a == ProviderAddress{PA: a.PA}
}

func providerRouteFields(r *ProviderRoute) []jsonField {
	return []jsonField{
		valueField("prefix", &r.Prefix, "a prefix such as 10.99.0.0/16", ParsePAPrefix),
		valueField("next_hop", &r.NextHop, wantPA, ParsePA),
		numberField("metric", &r.Metric, "a number from 0 to 4294967295"),
	}
}

func multicastFields(m *Multicast) []jsonField {
	return []jsonField{
		valueField("mode", &m.Mode, "off, unicast or group", ParseMulticastMode),
		valueField("group", &m.Group, wantGroup, ParsePAGroup),
		objectsField("groups", &m.Groups, "a group", "groups", groupFields, nil),
		numberField("rate", &m.Rate, wantRate),
		boolField("snooping", &m.Snooping),
	}
}

func groupFields(g *GroupMapping) []jsonField {
	return []jsonField{
		valueField("ca", &g.CA, wantGroup, ParseCAGroup),
		valueField("pa", &g.PA, wantGroup, ParsePAGroup),
	}
}

const (
	wantRDID   = "a GUID such as 11111111-2222-3333-4444-000000005001"
	wantCA     = "a customer address such as 10.0.1.11"
	wantMAC    = "a MAC such as 02:00:00:00:00:05"
	wantPA     = "a provider address such as 10.99.0.1"
	wantPrefix = "a prefix such as 10.0.1.0/24"
	wantVSID   = "a number from 4096 to 16777214"
	wantVLAN   = "a number from 1 to 4094"
	wantMTU    = "a number of octets, such as 1500"
	wantGroup  = "a multicast address such as 239.1.2.3"
	wantRate   = "packets per second, from 1 to 4294967295"
	wantWeight = "a number from 1 to 4294967295"
	wantLease  = "a number of seconds, from 60 to 4294967295"
)

func (o *RoutingDomainObject) fields() []jsonField {
	return []jsonField{
		valueField("rdid", &o.RDID, wantRDID, ParseRDID).inKey(),
		textField("name", &o.Name, "a name"),
		textField("customer", &o.Customer, "a name"),
	}
}

func (o *SubnetObject) fields() []jsonField {
	return []jsonField{
		numberField("vsid", &o.VSID, wantVSID).inKey(),
		valueField("rdid", &o.RDID, wantRDID, ParseRDID),
		textField("name", &o.Name, "a name"),
		listField("prefixes", &o.Prefixes, "prefixes", wantPrefix, ParseCAPrefix),
		listField("gateways", &o.Gateways, "customer addresses", wantCA, ParseCA),
		objectField("multicast", &o.Multicast, "what becomes of multicast", multicastFields),
		boolField("dhcp", &o.DHCP),
		listField("dns", &o.DNS, "addresses of resolvers", wantCA, ParseCA),
		textField("domain", &o.Domain, "a DNS domain"),
		numberField("lease", &o.Lease, wantLease),
		numberField("mtu", &o.MTU, wantMTU),
	}
}

// fields returns the fields of the object; those of its options where it has any.
func (o *RecordObject) fields() []jsonField {
	fields := []jsonField{
		numberField("vsid", &o.VSID, wantVSID).inKey(),
		valueField("ca", &o.CA, wantCA, ParseRecordCA).inKey(),
		textField("vm", &o.VM, "the VM's name"),
		valueField("mac", &o.MAC, wantMAC, ParseMAC),
		textField("iface_id", &o.IfaceID, "the iface-id of the VM's port"),
		textField("host", &o.Host, "a host's name"),
		valueField("pa", &o.PA, wantPA, ParsePA),
	}
	if o.Options == nil {
		return fields
	}
	return append(fields,
		valueField("type", &o.Options.Type, "static, dynamic, l2only or wildcard", ParseRecordType),
		valueField("rule", &o.Options.Rule, "encap or nat", ParseRule),
		boolField("forwarding", &o.Options.Forwarding),
		numbersField("vlans", &o.Options.VLANs, "VLANs", wantVLAN),
		boolField("use_vm_mac", &o.Options.UseVMMAC),
		valueField("nat_pa", &o.Options.NatPA, wantPA, ParsePA),
		textField("context", &o.Options.Context, "text"),
		listField("allow", &o.Options.Allow, "prefixes", wantPrefix, ParseCAPrefix),
	)
}

func (o *RouteObject) fields() []jsonField {
	return []jsonField{
		valueField("rdid", &o.RDID, wantRDID, ParseRDID).inKey(),
		valueField("prefix", &o.Prefix, wantPrefix, ParseCAPrefix).inKey(),
		valueField("next_hop", &o.NextHop, wantCA, ParseCA).inKey(),
		boolField("black_hole", &o.BlackHole).inKey(),
		numberField("metric", &o.Metric, "a number from 0 to 4294967295").inKey(),
		numberField("vsid", &o.VSID, wantVSID).inKey(),
	}
}

// jsonField is one key of an object's JSON form, bound to the object's field.
type jsonField struct {
	name   string
	want   string // for messages
	isKey  bool   // the object's key has it
	append func(b []byte) []byte
	// read stores the value, or reports what is wrong with it; part is "" or an index.
	read func(raw json.RawMessage, report func(part, message string))
}

func (f jsonField) inKey() jsonField { f.isKey = true; return f }

// given reports whether the field has a value other than its zero value.
func (f jsonField) given() bool { return f.append(nil) != nil }

func textField(name string, p *string, want string) jsonField {
	return valueField(name, (*text)(p), want, func(s string) (text, error) {
		if s == "" {
			return "", errors.New("is empty: want " + want + ", or leave the key out")
		}
		return text(s), nil
	})
}

type text string

func (t text) String() string { return string(t) }

func valueField[T interface {
	comparable
	fmt.Stringer
}](name string, p *T, want string, parse func(string) (T, error)) jsonField {
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			var zero T
			if *p == zero {
				return b
			}
			return appendString(b, (*p).String())
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			readText(raw, want, p, parse, "", report)
		}}
}

func listField[T fmt.Stringer](name string, p *[]T, of, item string, parse func(string) (T, error)) jsonField {
	want := "a list of " + of
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			return appendList(b, *p, func(b []byte, v *T) []byte { return appendString(b, (*v).String()) })
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			readList(raw, want, p, report, func(raw json.RawMessage, v *T, part string) { readText(raw, item, v, parse, part, report) })
		}}
}

func readText[T any](raw json.RawMessage, want string, p *T, parse func(string) (T, error), part string, report func(part, message string)) {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		report(part, "is "+shownJSON(raw)+": want "+want+" in quotes")
		return
	}
	v, err := parse(s)
	if err != nil {
		report(part, err.Error())
		return
	}
	*p = v
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

func numberField[T ~uint16 | ~uint32](name string, p *T, want string) jsonField {
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			if *p == 0 {
				return b
			}
			return strconv.AppendUint(b, uint64(*p), 10)
		},
		read: func(raw json.RawMessage, report func(part, message string)) { readNumber(raw, want, p, "", report) }}
}

func readNumber[T ~uint16 | ~uint32](raw json.RawMessage, want string, p *T, part string, report func(part, message string)) {
	if !decimal.Match(raw) {
		report(part, "is "+shownJSON(raw)+": want "+want+", in plain decimal")
		return
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n > uint64(^T(0)) {
		report(part, shownJSON(raw)+" is out of range: want "+want)
		return
	}
	*p = T(n)
}

func appendString(b []byte, s string) []byte {
	if plain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	q, _ := json.Marshal(s) // text always can be
	return append(b, q...)
}

// shownJSON describes a value in a message.
func shownJSON(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	const most = 80
	if len(raw) > most {
		return strings.ToValidUTF8(string(raw[:most]), "") + "..."
	}
	return string(raw)
}

// marshalFields returns the fields that are given as a JSON object.
func marshalFields(fields []jsonField) ([]byte, error) { return appendFields(nil, fields), nil }

func appendFields(b []byte, fields []jsonField) []byte {
	b = append(b, '{')
	start := len(b)
	for _, f := range fields {
		before := len(b)
		if before > start {
			b = append(b, ',')
		}
		b = append(appendString(b, f.name), ':')
		named := len(b)
		if b = f.append(b); len(b) == named {
			b = b[:before] // not given
		}
	}
	return append(b, '}')
}

// jsonReader reads one JSON object into fields.
type jsonReader struct {
	path     string
	what     string
	fields   []jsonField
	keyed    bool // the fields in the key have their values
	problems []Problem
}

func (r *jsonReader) problem(field, message string) {
	path := r.path
	if field != "" {
		path += "/" + field
	}
	r.problems = append(r.problems, Problem{Path: path, Message: message})
}

func (r *jsonReader) read(data []byte) {
	if !utf8.Valid(data) {
		r.problem("", "is not UTF-8: want JSON")
		return
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	start, err := dec.Token()
	switch {
	case err == io.EOF:
		r.problem("", "is empty: want a JSON object")
		return
	case err != nil:
		r.problem("", fmt.Sprintf("is no JSON: %v", err))
		return
	case start != json.Delim('{'):
		r.problem("", "is no JSON object: want one with the keys "+r.names())
		return
	}
	seen := make(map[string]bool, len(r.fields))
	for dec.More() {
		name, err := dec.Token()
		var raw json.RawMessage
		if err == nil {
			err = dec.Decode(&raw)
		}
		if err != nil {
			r.problem("", fmt.Sprintf("is no JSON: %v", err))
			return
		}
		r.field(name.(string), raw, seen)
	}
	if _, err := dec.Token(); err != nil {
		r.problem("", fmt.Sprintf("is no JSON: %v", err))
	} else if _, err := dec.Token(); err != io.EOF {
		r.problem("", "has something after the JSON object: want one object")
	}
}

func (r *jsonReader) field(name string, raw json.RawMessage, seen map[string]bool) {
	i := slices.IndexFunc(r.fields, func(f jsonField) bool { return f.name == name })
	switch {
	case i < 0:
		r.problem("", fmt.Sprintf("unknown key %q in %s: want one of %s", name, r.what, r.names()))
		return
	case seen[name]:
		r.problem(name, "is given twice: want it once")
		return
	}
	seen[name] = true
	f := r.fields[i]
	if raw[0] == 'n' {
		r.problem(name, "is null: want "+f.want+", or leave the key out")
		return
	}
	before := string(f.append(nil))
	sound := true
	f.read(raw, func(part, message string) {
		r.problem(name+part, message)
		sound = false
	})
	if after := string(f.append(nil)); sound && r.keyed && f.isKey && after != before {
		r.problem(name, fmt.Sprintf("is %s, which is not what the key says: want the same, or leave it out", shownJSON(raw)))
	}
}

func (r *jsonReader) names() string {
	names := make([]string, len(r.fields))
	for i := range r.fields {
		names[i] = r.fields[i].name
	}
	return strings.Join(names, ", ")
}

// unmarshalFields reads data without a key. All problems are in the error.
func unmarshalFields(what string, fields []jsonField, data []byte) error {
	r := &jsonReader{path: what, what: "the object", fields: fields}
	r.read(data)
	errs := make([]error, len(r.problems))
	for i, p := range r.problems {
		errs[i] = errors.New(p.String())
	}
	return errors.Join(errs...)
}
