package tenant_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
)

var blue = tenant.RDID{0x11, 0x11, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0, 0, 0, 0, 0x50, 0x01}

const blueText = "11111111-2222-3333-4444-000000005001"

// objects has one of each kind, with its key and its JSON form.
var objects = []struct {
	object    tenant.Object
	key, json string
}{
	{tenant.GatewayMAC{MAC: tenant.MAC{2, 5: 9}}, "gateway-mac", `{"gateway_mac":"02:00:00:00:00:09"}`},
	{tenant.HostObject{Name: "rack 1/h1", ProviderAddresses: []tenant.ProviderAddress{{PA: pa("10.99.0.1")}, {PA: pa("10.98.0.1")}}, OVSDB: "unix:/db.sock"},
		"hosts/rack%201%2Fh1", `{"name":"rack 1/h1","provider_addresses":["10.99.0.1","10.98.0.1"],"ovsdb":"unix:/db.sock"}`},
	{tenant.HostObject{Name: ".."}, "hosts/%2E%2E", `{"name":".."}`},
	{tenant.RoutingDomainObject{RDID: blue, Name: "blue", Customer: "Contoso"}, "routing-domains/" + blueText,
		`{"rdid":"` + blueText + `","name":"blue","customer":"Contoso"}`},
	{tenant.RoutingDomainObject{RDID: blue, Name: blueText}, "routing-domains/" + blueText, `{"rdid":"` + blueText + `"}`},
	{tenant.SubnetObject{VSID: 5001, RDID: blue, Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")}, Gateways: []tenant.CA{ca("10.0.1.254")}}, "subnets/5001",
		`{"vsid":5001,"rdid":"` + blueText + `","prefixes":["10.0.1.0/24"],"gateways":["10.0.1.254"]}`},
	{tenant.SubnetObject{VSID: 5001, Name: "5001", RDID: blue, Prefixes: []tenant.CAPrefix{prefix("10.0.1.0/24")}, Gateways: []tenant.CA{ca("10.0.1.1")}}, "subnets/5001",
		`{"vsid":5001,"rdid":"` + blueText + `","prefixes":["10.0.1.0/24"]}`},
	{tenant.RecordObject{VSID: 5001, CA: ca("10.0.1.11"), VM: "web1", IfaceID: "web1", MAC: tenant.MAC{2, 5: 1}, Host: "h1", PA: pa("10.99.0.1")}, "records/5001/10.0.1.11",
		`{"vsid":5001,"ca":"10.0.1.11","vm":"web1","mac":"02:00:00:00:00:01","host":"h1","pa":"10.99.0.1"}`},
	{&tenant.RecordObject{VSID: 5001, CA: ca("fd00::5"), VM: "<é>", IfaceID: "p"}, "records/5001/fd00::5",
		`{"vsid":5001,"ca":"fd00::5","vm":"\u003cé\u003e","iface_id":"p"}`},
	{tenant.RouteObject{RDID: blue, Prefix: prefix("0.0.0.0/0"), Metric: 10, NextHop: ca("10.0.1.20")}, "routes/" + blueText + "/0.0.0.0/0/10/10.0.1.20",
		`{"rdid":"` + blueText + `","prefix":"0.0.0.0/0","next_hop":"10.0.1.20","metric":10}`},
}

func TestObjects(t *testing.T) {
	for _, c := range objects {
		k := c.object.Key()
		if k.String() != c.key {
			t.Errorf("key %q, want %q", k, c.key)
		}
		if back, err := tenant.ParseKey(c.key); err != nil || back != k {
			t.Errorf("ParseKey(%q) = %v, %v", c.key, back, err)
		}
		data, err := json.Marshal(c.object)
		if err != nil || string(data) != c.json {
			t.Errorf("JSON of %s is\n%s, want\n%s", c.key, data, c.json)
		}
		o, problems := tenant.DecodeObject(k, data)
		if len(problems) > 0 || !o.Equal(c.object) || !c.object.Equal(o) {
			t.Errorf("%s reads as %+v, %v", data, o, problems)
		}
		if tenant.Put(c.object).Object() == nil || !tenant.Put(c.object).Object().Equal(c.object) || tenant.Put(c.object).Key() != k {
			t.Errorf("Put(%s) puts %+v", k, tenant.Put(c.object).Object())
		}
		for _, other := range objects {
			if (other.json == c.json) != c.object.Equal(other.object) {
				t.Errorf("%s Equal %s = %v", c.json, other.json, c.object.Equal(other.object))
			}
		}
		if c.object.Equal(nil) {
			t.Errorf("%s equals nothing", c.json)
		}
	}
}

// TestObjectsOfPolicies checks that every object survives its key and its JSON.
func TestObjectsOfPolicies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, _ := tenant.New(tenantgen.Spec(t), 1)
		var last tenant.Key
		for o := range p.Objects() {
			k := o.Key()
			if k.Compare(last) <= 0 {
				t.Fatalf("%s after %s", k, last)
			}
			last = k
			if back, err := tenant.ParseKey(k.String()); err != nil || back != k {
				t.Fatalf("ParseKey(%q) = %v, %v", k, back, err)
			}
			data, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			back, problems := tenant.DecodeObject(k, data)
			if len(problems) > 0 || !back.Equal(o) {
				t.Fatalf("%s reads as %+v, %v", data, back, problems)
			}
			alone := reflect.New(reflect.TypeOf(o))
			if err := json.Unmarshal(data, alone.Interface()); err != nil || !alone.Interface().(tenant.Object).Equal(o) {
				t.Fatalf("%s alone reads as %+v, %v", data, alone, err)
			}
			if got, ok := p.Object(k); !ok || !got.Equal(o) {
				t.Fatalf("Object(%s) = %+v", k, got)
			}
		}
	})
}

func TestParseKeyRefuses(t *testing.T) {
	for _, c := range [][2]string{
		{"", `key "": "" is no kind of object: want gateway-mac, hosts, routing-domains, subnets, records or routes`},
		{"record/5001/10.0.0.5", `key "record/5001/10.0.0.5": "record" is no kind of object: want gateway-mac, hosts, routing-domains, subnets, records or routes`},
		{"records/5001", `key "records/5001": has 2 parts: want records/VSID/CA or records/VSID/MAC`},
		{"records/5001/10.0.0.5/x", `key "records/5001/10.0.0.5/x": has 4 parts: want records/VSID/CA or records/VSID/MAC`},
		{"records/05001/10.0.0.5", `key "records/05001/10.0.0.5" is not in its one form: want "records/5001/10.0.0.5"`},
		{"records/5/10.0.0.5", `key "records/5/10.0.0.5": VSID 5 is reserved (RFC 7637 section 3.4): want 4096 to 16777214`},
		{"records/5001/::ffff:10.0.0.5", `key "records/5001/::ffff:10.0.0.5": CA "::ffff:10.0.0.5": IPv4 written as IPv6: want 10.0.0.5`},
		{"records/5001/FD00::5", `key "records/5001/FD00::5" is not in its one form: want "records/5001/fd00::5"`},
		{"subnets/x", `key "subnets/x": VSID "x": want a decimal number from 4096 to 16777214`},
		{"hosts/", `key "hosts/": is missing: want the host's name`},
		{"hosts/h%31", `key "hosts/h%31" is not in its one form: want "hosts/h1"`},
		{"hosts/h%2f", `key "hosts/h%2f" is not in its one form: want "hosts/h%2F"`},
		{"hosts/%zz", `key "hosts/%zz": invalid URL escape "%zz"`},
		{"hosts/%FF", `key "hosts/%FF": the host's name "\xff" is not UTF-8: want text`},
		{"routing-domains/{" + blueText + "}", `key "routing-domains/{` + blueText + `}" is not in its one form: want "routing-domains/` + blueText + `"`},
		{"routes/" + blueText + "/0.0.0.0/0/-1/10.0.0.5", `key "routes/` + blueText + `/0.0.0.0/0/-1/10.0.0.5": metric "-1": want a number from 0 to 4294967295`},
		{"routes/" + blueText + "/10.0.0.1/8/1/10.0.0.5", `key "routes/` + blueText + `/10.0.0.1/8/1/10.0.0.5": prefix "10.0.0.1/8" has host bits set: want 10.0.0.0/8`},
		{"routes/" + blueText + "/10.0.0.0/8/1/x", `key "routes/` + blueText + `/10.0.0.0/8/1/x": CA "x": want an address such as 10.0.1.11`},
	} {
		if _, err := tenant.ParseKey(c[0]); err == nil || err.Error() != c[1] {
			t.Errorf("got  %v\nwant %s", err, c[1])
		}
	}
}

func TestDecodeObjectRefuses(t *testing.T) {
	record, host := tenant.RecordKey(5001, ca("10.0.1.11")), tenant.HostKey("h1")
	for _, c := range []struct {
		key  tenant.Key
		json string
		want []string
	}{
		{record, ``, []string{"records/5001/10.0.1.11: is empty: want a JSON object"}},
		{record, `[]`, []string{"records/5001/10.0.1.11: is no JSON object: want one with the keys vsid, ca, vm, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow"}},
		{record, `{"vm":"a"`, []string{"records/5001/10.0.1.11: is no JSON: EOF"}},
		{record, `{"vm":"a"} {}`, []string{"records/5001/10.0.1.11: has something after the JSON object: want one object"}},
		{record, `{"vm":"a",}`, []string{"records/5001/10.0.1.11: is no JSON: invalid character '}' looking for beginning of object key string"}},
		{record, "{\"vm\":\"\xff\"}", []string{"records/5001/10.0.1.11: is not UTF-8: want JSON"}},
		{record, `{"VM":"a","vm":"b","vm":"c","mac":null,"pa":5,"host":"","ca":"10.0.1.12","iface_id":["x"]}`, []string{
			`records/5001/10.0.1.11: unknown key "VM" in the object: want one of vsid, ca, vm, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow`,
			"records/5001/10.0.1.11/vm: is given twice: want it once",
			"records/5001/10.0.1.11/mac: is null: want a MAC such as 02:00:00:00:00:05, or leave the key out",
			"records/5001/10.0.1.11/pa: is 5: want a provider address such as 10.99.0.1 in quotes",
			"records/5001/10.0.1.11/host: is empty: want a host's name, or leave the key out",
			`records/5001/10.0.1.11/ca: is "10.0.1.12", which is not what the key says: want the same, or leave it out`,
			"records/5001/10.0.1.11/iface_id: is a list: want the iface-id of the VM's port in quotes",
		}},
		{record, `{"vsid":4294967297}`, []string{"records/5001/10.0.1.11/vsid: 4294967297 is out of range: want a number from 4096 to 16777214"}},
		{record, `{"vsid":5001.0}`, []string{"records/5001/10.0.1.11/vsid: is 5001.0: want a number from 4096 to 16777214, in plain decimal"}},
		{record, `{"vsid":0}`, []string{"records/5001/10.0.1.11/vsid: is 0, which is not what the key says: want the same, or leave it out"}},
		{record, `{"mac":"01:00:00:00:00:00"}`, []string{`records/5001/10.0.1.11/mac: MAC "01:00:00:00:00:00" is a group (multicast) address: want a unicast address`}},
		{host, `{"provider_addresses":"10.0.0.1"}`, []string{`hosts/h1/provider_addresses: is "10.0.0.1": want a list of provider addresses`}},
		{host, `{"provider_addresses":["x","10.0.0.1",1]}`, []string{
			`hosts/h1/provider_addresses[0]: PA "x": want an address such as 10.0.1.11`,
			`hosts/h1/provider_addresses[2]: is 1: want a provider address such as 10.99.0.1 in quotes`,
		}},
		{tenant.Key{}, `{}`, []string{": is no key of an object: want one that ParseKey returns"}},
	} {
		o, problems := tenant.DecodeObject(c.key, []byte(c.json))
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" || o != nil {
			t.Errorf("%s gives %v (-want +got):\n%s", c.json, o, diff)
		}
	}
	var r tenant.RecordObject
	if err := json.Unmarshal([]byte(`{"vsid":5001,"x":1,"ca":1}`), &r); err == nil ||
		err.Error() != "record: unknown key \"x\" in the object: want one of vsid, ca, vm, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow\nrecord/ca: is 1: want a customer address such as 10.0.1.11 in quotes" {
		t.Error(err)
	}
}

func TestSplitPath(t *testing.T) {
	for _, c := range [][3]string{
		{"records/5001/10.0.0.5/mac", "records/5001/10.0.0.5", "mac"},
		{"hosts/a%2Fb/provider_addresses[0]", "hosts/a%2Fb", "provider_addresses[0]"},
		{"subnets/5001", "subnets/5001", ""},
		{"gateway-mac/gateway_mac", "gateway-mac", "gateway_mac"},
		{"routes/" + blueText + "/0.0.0.0/0/1/10.0.0.5/next_hop", "routes/" + blueText + "/0.0.0.0/0/1/10.0.0.5", "next_hop"},
		{tenant.RouteKey(blue, tenant.CAPrefix{}, 1, tenant.CA{}).String() + "/prefix", "routes/" + blueText + "///1/", "prefix"},
		{"", "", ""},
	} {
		if k, f := tenant.SplitPath(c[0]); k != c[1] || f != c[2] {
			t.Errorf("SplitPath(%q) = %q, %q", c[0], k, f)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, c := range objects {
		f.Add(c.key)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := tenant.ParseKey(s); err == nil && k.String() != s {
			t.Errorf("ParseKey(%q) = %v", s, k)
		}
	})
}

func FuzzDecodeObject(f *testing.F) {
	for _, c := range objects {
		f.Add(c.key, c.json)
		f.Add(c.key, strings.Replace(c.json, ":", ": null,", 1))
	}
	f.Fuzz(func(t *testing.T, key, data string) {
		k, err := tenant.ParseKey(key)
		if err != nil {
			return
		}
		o, problems := tenant.DecodeObject(k, []byte(data))
		if (o == nil) != (len(problems) > 0) {
			t.Fatalf("%v, %v", o, problems)
		}
		if o == nil {
			return
		}
		if o.Key() != k {
			t.Fatalf("the object of %s has the key %s", k, o.Key())
		}
		out, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := tenant.DecodeObject(k, out)
		if len(problems) > 0 || !again.Equal(o) {
			t.Fatalf("%s gives %+v, written %s, which gives %+v, %v", data, o, out, again, problems)
		}
	})
}
