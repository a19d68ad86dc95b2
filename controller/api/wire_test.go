package api_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// Objects of every kind and form are read as what they were written as.
func TestObjectsAreReadAsWritten(t *testing.T) {
	p, err := policyfile.Parse("p.yaml", []byte(`version: 1
gateway_mac: 0e:00:00:00:00:01
hosts: [{name: h1, provider_addresses: [10.99.0.1], routes: [{prefix: 10.98.0.0/16, next_hop: 10.99.0.254}]}]
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11}
          - {vm: new, mac: 02:00:00:00:01:12, type: l2only}
          - {vm: free, mac: 02:00:00:00:01:13, type: dynamic}
    routes:
      - {prefix: 172.16.0.0/12, next_hop: 10.0.1.11}
      - {prefix: 172.16.0.0/12, vsid: 5001, next_hop: 10.0.1.11}
      - {prefix: 172.17.0.0/16, black_hole: true}
      - {prefix: 172.17.0.0/16, vsid: 5001, black_hole: true}
`), 1)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[tenant.Kind]int)
	for o := range p.Objects() {
		text, err := json.Marshal(api.Object{Object: o})
		if err != nil {
			t.Fatal(err)
		}
		var got api.Object
		if err := json.Unmarshal(text, &got); err != nil || reflect.TypeOf(got.Object) != reflect.TypeOf(o) || got.Key() != o.Key() {
			t.Errorf("%s is read as %T %v: %v", text, got.Object, got.Object, err)
		}
		kinds[o.Key().Kind()]++
	}
	if kinds[tenant.KindRecord] != 3 || kinds[tenant.KindRoute] != 4 || len(kinds) != 6 {
		t.Errorf("objects by kind: %v", kinds)
	}
}
