package api_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

const openAPIFile = "../../docs/openapi.json"

// TestOpenAPIFile keeps docs/openapi.json current.
func TestOpenAPIFile(t *testing.T) {
	served := serve(t).do("GET", "/openapi.json", "")
	served.want(t, 200, `"openapi":"3.1.0"`)
	var out bytes.Buffer
	// The version of the product is not that of the document in the repository.
	if err := json.Indent(&out, []byte(strings.Replace(served.body, `"version":"test"`, `"version":"v1"`, 1)), "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	if *update {
		if err := os.WriteFile(openAPIFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(openAPIFile)
	if err != nil || !bytes.Equal(file, out.Bytes()) {
		t.Errorf("%s is not current (%v): run go generate ./controller/api", openAPIFile, err)
	}
}

type document struct {
	Paths      map[string]map[string]any
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
			Required   []string
		}
	}
}

// The schemas of objects have the keys that package tenant reads and writes.
func TestSchemasAreThoseOfTenant(t *testing.T) {
	doc := decode[document](t, serve(t).do("GET", "/openapi.json", ""))
	p := samplePolicy(t)
	full := map[string]tenant.Object{
		"GatewayMAC":    tenant.GatewayMAC{MAC: must(tenant.ParseMAC("02:00:00:00:00:77"))},
		"Host":          tenant.HostObject{Name: "h", ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA("10.9.9.9"))}}, OVSDB: "unix:/a", OpenFlow: "unix:/b"},
		"RoutingDomain": tenant.RoutingDomainObject{RDID: must(tenant.ParseRDID(blue)), Name: "n", Customer: "c"},
		"Subnet": tenant.SubnetObject{VSID: 5001, RDID: must(tenant.ParseRDID(blue)), Name: "n", Prefixes: []tenant.CAPrefix{must(tenant.ParseCAPrefix("10.0.0.0/24"))},
			Gateways: []tenant.CA{must(tenant.ParseCA("10.0.0.9"))}},
		"Record": tenant.RecordObject{VSID: 5001, CA: must(tenant.ParseCA("10.0.0.5")), VM: "v", MAC: must(tenant.ParseMAC("02:00:00:00:00:78")), IfaceID: "i", Host: "h",
			PA: must(tenant.ParsePA("10.9.9.9"))},
	}
	for o := range p.Objects() {
		if r, ok := o.(tenant.RouteObject); ok {
			full["Route"] = r
		}
	}
	for name, o := range full {
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(text, &keys); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for k := range doc.Components.Schemas[name].Properties {
			got = append(got, k)
		}
		for k := range keys {
			want = append(want, k)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("schema %s has %v, the object %v", name, got, want)
		}
		// What the schema demands is what tenant misses.
		for _, k := range doc.Components.Schemas[name].Required {
			delete(keys, k)
			bare, _ := json.Marshal(keys)
			if o2, problems := tenant.DecodeObject(o.Key(), bare); len(problems) == 0 {
				base, _ := tenant.Empty().Apply(puts(p), 1)
				if _, problems = base.Apply([]tenant.Change{tenant.Put(o2)}, 2); len(problems) == 0 {
					t.Errorf("schema %s demands %s, tenant does not", name, k)
				}
			}
		}
	}
}
