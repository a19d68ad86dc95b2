package policyfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var update = flag.Bool("update", false, "write the schema file anew")

// TestSchemaFile keeps docs/policy.schema.json current.
func TestSchemaFile(t *testing.T) {
	const path = "../../docs/policy.schema.json"
	if *update {
		if err := os.WriteFile(path, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Schema()) {
		t.Errorf("%s is not what Schema returns: run go generate ./tenant/policyfile", path)
	}
}

// TestFields keeps the reader's keys in step with tenant.Spec and the schema.
func TestFields(t *testing.T) {
	fields := map[reflect.Type][]field{
		reflect.TypeFor[tenant.Spec]():              policyFields,
		reflect.TypeFor[tenant.HostSpec]():          hostFields,
		reflect.TypeFor[tenant.RoutingDomainSpec](): domainFields,
		reflect.TypeFor[tenant.SubnetSpec]():        subnetFields,
		reflect.TypeFor[tenant.RecordSpec]():        recordFields,
		reflect.TypeFor[tenant.RouteSpec]():         routeFields,
		reflect.TypeFor[tenant.ProviderAddress]():   providerAddressFields,
		reflect.TypeFor[tenant.ProviderRoute]():     providerRouteFields,
		reflect.TypeFor[tenant.Multicast]():         multicastFields,
		reflect.TypeFor[tenant.GroupMapping]():      groupFields,
	}
	for typ, fields := range fields {
		var want []string
		for _, f := range reflect.VisibleFields(typ) {
			switch key := f.Tag.Get("yaml"); key {
			case "-":
			case ",inline":
				for _, f := range reflect.VisibleFields(f.Type.Elem()) {
					want = append(want, f.Tag.Get("yaml"))
				}
			default:
				want = append(want, key)
			}
		}
		var have []string
		var bits tenant.FieldSet
		for _, f := range fields {
			have = append(have, f.key)
			if bits.Has(f.field) {
				t.Errorf("%s: %s shares a bit with another key", typ.Name(), f.key)
			}
			bits |= f.field
			if schemaNotes[typ][f.key].required == f.optional {
				t.Errorf("%s.%s is required for the schema or for the reader, not for both", typ.Name(), f.key)
			}
		}
		if !slices.Equal(want, have) {
			t.Errorf("%s has the keys %v, the reader %v", typ.Name(), want, have)
		}
		if len(fields) > maxFields {
			t.Errorf("%s has %d keys, maxFields is %d", typ.Name(), len(fields), maxFields)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON reads YAML as an editor does.
func asJSON(t *testing.T, data string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(data), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSchemaAccepts(t *testing.T) {
	s := compileSchema(t)
	files := []string{"testdata/policy.yaml", "testdata/hnv-blue-red.yaml"}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(f, data, 1); err != nil {
			t.Error(err)
		}
		if err := s.Validate(asJSON(t, string(data))); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, data := range []string{
		"version: 1",
		"{version: 1, hosts: [], routing_domains: []}",
		`{version: 1, hosts: [{name: "a b", provider_addresses: [9.9.9.9], ovsdb: "unix:/a b/db.sock", openflow: "tcp:[fd00::1]:6653"}]}`,
		`{version: 1, gateway_mac: "020000000005", routing_domains: [{rdid: "{ABCDEF00-0000-0000-0000-000000000000}"}]}`,
	} {
		if _, err := Parse("p.yaml", []byte(data), 1); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		if err := s.Validate(asJSON(t, data)); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
}

// TestSchemaRefuses changes a sound file by what a schema can see, and checks
// that Parse refuses it too: else the schema would be stricter than the reader.
func TestSchemaRefuses(t *testing.T) {
	s := compileSchema(t)
	base, err := os.ReadFile("testdata/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{"version: 1\n", ""},
		{"version: 1", "version: 2"},
		{"version: 1", `version: "1"`},
		{"version: 1", "version: 1\nfoo: bar"},
		{"gateway_mac: 02:", "gateway_mac: 03:"},
		{"name: h2", "nam: h2"},
		{"name: h2", `name: ""`},
		{"name: h2", `name: " h2"`},
		{"name: h2", `name: "h2 "`},
		{"name: h2", `name: "h\t2"`},
		{"name: h2", "name: 2"},
		{"name: h2", "name: " + strings.Repeat("h", 64)},
		{"[10.99.0.1]", "[]"},
		{"[10.99.0.1]", "10.99.0.1"},
		{"[10.99.0.1]", "[10.99.0.1, 10.99.0.1]"},
		{"[10.99.0.1]", "[10.99.0.256]"},
		{"[10.99.0.1]", "[10.99.0.01]"},
		{"[10.99.0.1]", "[0.0.0.0]"},
		{"[10.99.0.1]", "[224.0.0.1]"},
		{"[10.99.0.1]", "[255.255.255.255]"},
		{"[10.99.0.1]", `["fe80::1"]`},
		{"ssl:10.0.0.1:6640", "udp:10.0.0.1:6640"},
		{"ssl:10.0.0.1:6640", `"unix:"`},
		{"000000006001", "00000000600"},
		{"11111111-2222-3333-4444-000000006001", "00000000-0000-0000-0000-000000000000"},
		{`"{11111111-2222-3333-4444-000000005001}"`, `"{11111111-2222-3333-4444-000000005001"`},
		{"    name: blue\n", "    name: blue\n    vsid: 5001\n"},
		{"vsid: 5001", "vsid: 4095"},
		{"vsid: 5001", "vsid: 16777215"},
		{"vsid: 5001", "vsid: 1.5"},
		{"vsid: 5001", `vsid: "5001"`},
		{"[10.0.1.0/24]", "[10.0.1.0/33]"},
		{"[10.0.1.0/24]", "[10.0.1.0/32]"},
		{"[10.0.1.0/24]", "[10.0.1.0]"},
		{"[10.0.1.0/24]", "[]"},
		{"{vm: db1, ", "{"},
		{"ca: 10.0.2.11, ", ""},
		{"mac: 02b000000211, ", ""},
		{"mac: 02b000000211", "mac: 02:b0-00:00:02:11"},
		{"mac: 02b000000211", `mac: "000000000000"`},
		{"mac: 02b000000211", "mac: 01:00:5e:00:00:01"},
		{"ca: 10.0.2.11", "ca: null"},
		{"host: h2", "hots: h2"},
		{"prefix: 0.0.0.0/0, ", ""},
		{"next_hop: 10.0.1.12, ", ""},
		{"metric: 10", "metric: -1"},
		{"metric: 10", "metric: 4294967296"},
	} {
		data := strings.Replace(string(base), c[0], c[1], 1)
		if data == string(base) {
			t.Fatalf("the base file has no %q", c[0])
		}
		if s.Validate(asJSON(t, data)) == nil {
			t.Errorf("%q for %q: the schema accepts it", c[1], c[0])
		}
		if _, err := Parse("p.yaml", []byte(data), 1); err == nil {
			t.Errorf("%q for %q: Parse accepts it", c[1], c[0])
		}
	}
}
