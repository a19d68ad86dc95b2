package policyfile_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// badCase is a change of testdata/policy.yaml, or a file of its own, and what is
// wrong with it: all of it, and nothing else.
type badCase struct {
	name  string
	edits []string // old, new, old, new ...
	file  string
	want  []string
}

func (c badCase) data(t *testing.T, base string) string {
	t.Helper()
	for i := 0; i < len(c.edits); i += 2 {
		if !strings.Contains(base, c.edits[i]) {
			t.Fatalf("the base file has no %q", c.edits[i])
		}
	}
	return c.apply(base)
}

func (c badCase) apply(base string) string {
	if c.edits == nil {
		return c.file
	}
	for i := 0; i < len(c.edits); i += 2 {
		base = strings.Replace(base, c.edits[i], c.edits[i+1], 1)
	}
	return base
}

func (c badCase) run(t *testing.T, base string) {
	p, err := policyfile.Parse("p.yaml", []byte(c.data(t, base)), 1)
	if p != nil {
		t.Error("Parse returned a policy")
	}
	var e *policyfile.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want *policyfile.Error", err, err)
	}
	if diff := cmp.Diff(c.want, strings.Split(e.Error(), "\n")); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func baseFile(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMeaning(t *testing.T) {
	base := baseFile(t)
	for _, c := range meaningCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, base) })
	}
}

var meaningCases = []badCase{
	{
		name:  "version missing",
		edits: []string{"version: 1\n", ""},
		want: []string{
			"p.yaml:1:1: version: is missing: want version: 1",
		},
	},
	{
		name:  "version unknown",
		edits: []string{"version: 1", "version: 2"},
		want: []string{
			"p.yaml:1:10: version: 2 is not a version of the policy file that this program knows: want 1",
		},
	},
	{
		name:  "gateway MAC multicast",
		edits: []string{"gateway_mac: 02:", "gateway_mac: 03:"},
		want: []string{
			`p.yaml:2:14: gateway_mac: MAC "03:4e:56:00:00:01" is a group (multicast) address: want a unicast address`,
		},
	},
	{
		name:  "host without name",
		edits: []string{"  - name: h1\n    prov", "  - prov"},
		want: []string{
			"p.yaml:4:5: hosts[0].name: is missing: want the host's name",
		},
	},
	{
		name:  "host name too long",
		edits: []string{"name: h2", "name: " + strings.Repeat("h", 64), "host: h2, ", ""},
		want: []string{
			"p.yaml:8:11: hosts[1].name: the host's name has 64 octets: want at most 63",
		},
	},
	{
		name:  "host name with white space at the end",
		edits: []string{"name: h2", `name: "h2 "`, "host: h2, ", ""},
		want: []string{
			`p.yaml:8:11: hosts[1].name: the host's name "h2 " begins or ends with white space: want "h2"`,
		},
	},
	{
		name:  "host name with a control character",
		edits: []string{"name: h2", `name: "h\n2"`, "host: h2, ", ""},
		want: []string{
			`p.yaml:8:11: hosts[1].name: the host's name "h\n2" has a control character: want printable text in one line`,
		},
	},
	{
		name:  "host given twice",
		edits: []string{"name: h2", "name: h1", "host: h2, ", ""},
		want: []string{
			`p.yaml:8:11: hosts[1].name: host "h1" is given twice: want a name of its own for each host (see p.yaml:4:11)`,
		},
	},
	{
		name:  "host without PA",
		edits: []string{"    provider_addresses: [10.99.0.1]\n", ""},
		want: []string{
			"p.yaml:4:5: hosts[0].provider_addresses: is missing: want at least one address of the host in the underlay, such as [10.99.0.1]",
		},
	},
	{
		name:  "host with no PA in the list",
		edits: []string{"[10.99.0.1]", "[]"},
		want: []string{
			"p.yaml:5:25: hosts[0].provider_addresses: is missing: want at least one address of the host in the underlay, such as [10.99.0.1]",
		},
	},
	{
		name:  "PA of two hosts",
		edits: []string{"[10.99.0.1]", "[10.99.0.2]"},
		want: []string{
			`p.yaml:9:26: hosts[1].provider_addresses[0]: PA 10.99.0.2 belongs to host "h1" already: want an address that no other host has (see p.yaml:5:26)`,
		},
	},
	{
		name:  "PA twice in a host",
		edits: []string{"10.98.0.2]", "10.99.0.2]", ", pa: 10.98.0.2", ""},
		want: []string{
			"p.yaml:9:37: hosts[1].provider_addresses[1]: PA 10.99.0.2 is given twice: want each address once (see p.yaml:9:26)",
		},
	},
	{
		name:  "PA is link-local",
		edits: []string{"[10.99.0.1]", `["fe80::5"]`},
		want: []string{
			"p.yaml:5:26: hosts[0].provider_addresses[0]: PA fe80::5 is link-local, which says nothing of where it is: want another address, such as a unique local one (fc00::/7)",
		},
	},
	{
		name:  "ovsdb endpoint",
		edits: []string{"ssl:10.0.0.1:6640", "udp:10.0.0.1:6640"},
		want: []string{
			`p.yaml:6:12: hosts[0].ovsdb: "udp:10.0.0.1:6640" does not say how to reach the host: want unix:PATH, tcp:IP:PORT or ssl:IP:PORT`,
		},
	},
	{
		name:  "ovsdb endpoint without address",
		edits: []string{"ssl:10.0.0.1:6640", `"unix:"`},
		want: []string{
			`p.yaml:6:12: hosts[0].ovsdb: "unix:" does not say how to reach the host: want unix:PATH, tcp:IP:PORT or ssl:IP:PORT`,
		},
	},
	{
		name:  "openflow endpoint",
		edits: []string{"ssl:10.0.0.1:6653", "10.0.0.1"},
		want: []string{
			`p.yaml:7:15: hosts[0].openflow: "10.0.0.1" does not say how to reach the host: want unix:PATH, tcp:IP:PORT or ssl:IP:PORT`,
		},
	},
	{
		name:  "rdid missing",
		edits: []string{"rdid: \"{11111111-2222-3333-4444-000000005001}\"\n    ", ""},
		want: []string{
			"p.yaml:11:5: routing_domains[0].rdid: is missing: want the routing domain's GUID, such as 11111111-2222-3333-4444-000000005001",
		},
	},
	{
		name:  "rdid given twice",
		edits: []string{"000000006001", "000000005001"},
		want: []string{
			"p.yaml:29:11: routing_domains[1].rdid: RDID 11111111-2222-3333-4444-000000005001 is given twice: want a GUID of its own for each routing domain (see p.yaml:11:11)",
		},
	},
	{
		name:  "routing domain name given twice",
		edits: []string{"name: red", "name: blue"},
		want: []string{
			`p.yaml:30:11: routing_domains[1].name: routing domain "blue" is given twice: want a name of its own for each routing domain (see p.yaml:12:11)`,
		},
	},
	{
		name:  "routing domain name too long",
		edits: []string{"name: red", "name: " + strings.Repeat("r", 256)},
		want: []string{
			"p.yaml:30:11: routing_domains[1].name: the routing domain's name has 256 octets: want at most 255",
		},
	},
	{
		name:  "customer with white space",
		edits: []string{"customer: Contoso", `customer: " Contoso"`},
		want: []string{
			`p.yaml:13:15: routing_domains[0].customer: the customer's name " Contoso" begins or ends with white space: want "Contoso"`,
		},
	},
	{
		name:  "vsid missing",
		edits: []string{"vsid: 6001\n        ", ""},
		want: []string{
			"p.yaml:32:9: routing_domains[1].subnets[0].vsid: is missing, or zero: want a number from 4096 to 16777214",
		},
	},
	{
		name:  "vsid zero",
		edits: []string{"vsid: 6001", "vsid: 0"},
		want: []string{
			"p.yaml:32:15: routing_domains[1].subnets[0].vsid: VSID 0 is reserved (RFC 7637 section 3.4): want 4096 to 16777214",
		},
	},
	{
		name:  "vsid reserved, low",
		edits: []string{"vsid: 6001", "vsid: 4095"},
		want: []string{
			"p.yaml:32:15: routing_domains[1].subnets[0].vsid: VSID 4095 is reserved (RFC 7637 section 3.4): want 4096 to 16777214",
		},
	},
	{
		name:  "vsid reserved, high",
		edits: []string{"vsid: 6001", "vsid: 16777215"},
		want: []string{
			"p.yaml:32:15: routing_domains[1].subnets[0].vsid: VSID 16777215 is reserved (RFC 7637 section 3.4): want 4096 to 16777214",
		},
	},
	{
		name:  "vsid of more than 24 bits",
		edits: []string{"vsid: 6001", "vsid: 16777216"},
		want: []string{
			"p.yaml:32:15: routing_domains[1].subnets[0].vsid: VSID 16777216 has more than 24 bits: want 4096 to 16777214",
		},
	},
	{
		name:  "vsid given twice in the policy",
		edits: []string{"vsid: 6001", "vsid: 5001"},
		want: []string{
			"p.yaml:32:15: routing_domains[1].subnets[0].vsid: VSID 5001 is given twice: want a VSID of its own for each subnet of the policy (see p.yaml:15:15)",
		},
	},
	{
		name:  "vsid given twice in a routing domain",
		edits: []string{"vsid: 5002", "vsid: 5001"},
		want: []string{
			"p.yaml:22:15: routing_domains[0].subnets[1].vsid: VSID 5001 is given twice: want a VSID of its own for each subnet of the policy (see p.yaml:15:15)",
		},
	},
	{
		name:  "subnet name given twice",
		edits: []string{"name: db", "name: web"},
		want: []string{
			`p.yaml:23:15: routing_domains[0].subnets[1].name: subnet "web" is given twice: want a name of its own for each subnet of the routing domain (see p.yaml:16:15)`,
		},
	},
	{
		name:  "subnet name like the default of another",
		edits: []string{"name: db", `name: "5001"`, "        name: web\n", ""},
		want: []string{
			`p.yaml:22:15: routing_domains[0].subnets[1].name: subnet "5001" is given twice: want a name of its own for each subnet of the routing domain (see p.yaml:15:9)`,
		},
	},
	{
		name:  "prefixes missing",
		edits: []string{"        prefixes: [10.0.1.0/24]\n        records:\n          - {vm: web1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11}", "        records:\n          - {vm: web1, ca: 10.0.1.11, mac: 02:b0:00:00:01:11}"},
		want: []string{
			"p.yaml:32:9: routing_domains[1].subnets[0].prefixes: is missing: want at least one prefix, such as [10.0.1.0/24]",
		},
	},
	{
		name:  "prefixes overlap between subnets",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0/24, 10.0.1.128/25]"},
		want: []string{
			`p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix 10.0.1.128/25 overlaps 10.0.1.0/24 of subnet "web": want prefixes that share no address in a routing domain (see p.yaml:17:20)`,
		},
	},
	{
		name:  "prefixes overlap, the wider one later",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.0.0/16]"},
		want: []string{
			`p.yaml:24:20: routing_domains[0].subnets[1].prefixes[0]: prefix 10.0.0.0/16 overlaps 10.0.1.0/24 of subnet "web": want prefixes that share no address in a routing domain (see p.yaml:17:20)`,
		},
	},
	{
		name:  "prefixes overlap in a subnet",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0/24, 10.0.2.0/24]"},
		want: []string{
			"p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix 10.0.2.0/24 is there already, in the same subnet: want prefixes that share no address in a routing domain (see p.yaml:24:20)",
		},
	},
	{
		name:  "prefix is link-local",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", `[10.0.2.0/24, "fe80::/64"]`},
		want: []string{
			"p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix fe80::/64 has link-local addresses (fe80::/10), which no VM can own: want a prefix of unicast addresses",
		},
	},
	{
		name:  "prefix is one address",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0/24, 10.0.3.0/32]"},
		want: []string{
			"p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix 10.0.3.0/32 has no room for a VM beside the gateway: want /31 or shorter",
		},
	},
	{
		name:  "prefix is multicast",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0/24, 224.0.0.0/24]"},
		want: []string{
			"p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix 224.0.0.0/24 has multicast addresses (224.0.0.0/4), which no VM can own: want a prefix of unicast addresses",
		},
	},
	{
		name:  "prefix is loopback",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0/24, 127.0.0.0/24]"},
		want: []string{
			"p.yaml:24:33: routing_domains[0].subnets[1].prefixes[1]: prefix 127.0.0.0/24 has loopback addresses (127.0.0.0/8), which no VM can own: want a prefix of unicast addresses",
		},
	},
	{
		name:  "gateway outside its prefix",
		edits: []string{"[10.0.1.1]", "[10.0.2.1]"},
		want: []string{
			"p.yaml:18:20: routing_domains[0].subnets[0].gateways[0]: gateway 10.0.2.1 is outside prefix 10.0.1.0/24: want an address in it, such as 10.0.1.1 (see p.yaml:17:20)",
		},
	},
	{
		name:  "gateway is the network address",
		edits: []string{"[10.0.1.1]", "[10.0.1.0]"},
		want: []string{
			"p.yaml:18:20: routing_domains[0].subnets[0].gateways[0]: gateway 10.0.1.0 is the network address of 10.0.1.0/24: want an address from 10.0.1.1 to 10.0.1.254",
		},
	},
	{
		name:  "gateway is the broadcast address",
		edits: []string{"[10.0.1.1]", "[10.0.1.255]"},
		want: []string{
			"p.yaml:18:20: routing_domains[0].subnets[0].gateways[0]: gateway 10.0.1.255 is the broadcast address of 10.0.1.0/24: want an address from 10.0.1.1 to 10.0.1.254",
		},
	},
	{
		name:  "gateways too many",
		edits: []string{"[10.0.1.1]", "[10.0.1.1, 10.0.1.2]"},
		want: []string{
			"p.yaml:18:19: routing_domains[0].subnets[0].gateways: has 2 gateways for 1 prefix: want one gateway for each prefix, in the order of prefixes, or none for the first usable addresses",
		},
	},
	{
		name:  "gateway is of the other family",
		edits: []string{"[10.0.1.1]", `["fd00::1"]`},
		want: []string{
			"p.yaml:18:20: routing_domains[0].subnets[0].gateways[0]: gateway fd00::1 is outside prefix 10.0.1.0/24: want an address in it, such as 10.0.1.1 (see p.yaml:17:20)",
		},
	},
	{
		name:  "vm missing",
		edits: []string{"{vm: db1, ", "{"},
		want: []string{
			"p.yaml:26:13: routing_domains[0].subnets[1].records[0].vm: is missing: want the VM's name",
		},
	},
	{
		name:  "vm given twice in a routing domain",
		edits: []string{"vm: db1", "vm: web1"},
		want: []string{
			`p.yaml:26:18: routing_domains[0].subnets[1].records[0].vm: VM "web1" is in the routing domain already: want a name of its own for each VM (see p.yaml:20:18)`,
		},
	},
	{
		name:  "iface_id given twice in the policy",
		edits: []string{"mac: 02:b0:00:00:01:11}", "mac: 02:b0:00:00:01:11, iface_id: blue-web1}"},
		want: []string{
			`p.yaml:35:73: routing_domains[1].subnets[0].records[0].iface_id: iface-id "blue-web1" is taken: set iface_id to a value of its own in the policy (see p.yaml:20:13)`,
		},
	},
	{
		name:  "iface_id by default taken",
		edits: []string{"iface_id: blue-web1, ", ""},
		want: []string{
			`p.yaml:35:13: routing_domains[1].subnets[0].records[0].iface_id: iface-id "web1", which is the VM's name where none is given, is taken: set iface_id to a value of its own in the policy (see p.yaml:20:13)`,
		},
	},
	{
		name:  "iface_id with white space",
		edits: []string{"iface_id: blue-web1", `iface_id: "blue-web1 "`},
		want: []string{
			`p.yaml:20:73: routing_domains[0].subnets[0].records[0].iface_id: the iface-id "blue-web1 " begins or ends with white space: want "blue-web1"`,
		},
	},
	{
		name:  "ca missing",
		edits: []string{"ca: 10.0.2.11, ", ""},
		want: []string{
			"p.yaml:26:13: routing_domains[0].subnets[1].records[0].ca: is missing: want a CA, such as 10.0.1.11",
		},
	},
	{
		name:  "ca outside the subnet",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.4.11"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.4.11 is outside the subnet's prefixes 10.0.2.0/24, 10.0.3.0/24: want an address in it (see p.yaml:24:19)",
		},
	},
	{
		name:  "ca in another subnet",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.1.99"},
		want: []string{
			`p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.1.99 is outside the subnet's prefixes 10.0.2.0/24, 10.0.3.0/24: want an address in it, or the record in subnet "web" (see p.yaml:17:20)`,
		},
	},
	{
		name:  "ca is the gateway, given",
		edits: []string{"ca: 10.0.1.11", "ca: 10.0.1.1"},
		want: []string{
			"p.yaml:20:28: routing_domains[0].subnets[0].records[0].ca: CA 10.0.1.1 is the gateway's: want another address of 10.0.1.0/24",
		},
	},
	{
		name:  "ca is the gateway, by default",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.3.1"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.3.1 is the gateway's: want another address of 10.0.3.0/24",
		},
	},
	{
		name:  "ca is the network address",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.2.0"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.2.0 is the network address of 10.0.2.0/24: want an address from 10.0.2.1 to 10.0.2.254",
		},
	},
	{
		name:  "ca is the broadcast address",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.2.255"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.2.255 is the broadcast address of 10.0.2.0/24: want an address from 10.0.2.1 to 10.0.2.254",
		},
	},
	{
		name:  "ca is of the other family",
		edits: []string{"ca: 10.0.2.11", `ca: "fd00::11"`},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA fd00::11 is outside the subnet's prefixes 10.0.2.0/24, 10.0.3.0/24: want an address in it (see p.yaml:24:19)",
		},
	},
	{
		name:  "ca of two records",
		edits: []string{"ca: 10.0.1.12", "ca: 10.0.1.11", "next_hop: 10.0.1.12", "next_hop: 10.0.1.11"},
		want: []string{
			"p.yaml:21:28: routing_domains[0].subnets[0].records[1].ca: CA 10.0.1.11 is taken by another record of the routing domain: want an address of its own for each VM (see p.yaml:20:28)",
		},
	},
	{
		name:  "mac missing",
		edits: []string{"mac: 02b000000211, ", ""},
		want: []string{
			"p.yaml:26:13: routing_domains[0].subnets[1].records[0].mac: is missing: want the MAC of the VM's network adapter, such as 02:00:00:00:00:05",
		},
	},
	{
		name:  "mac of two records in a subnet",
		edits: []string{"02-b0-00-00-01-12", "02-b0-00-00-01-11"},
		want: []string{
			"p.yaml:21:44: routing_domains[0].subnets[0].records[1].mac: MAC 02:b0:00:00:01:11 is taken by another record of the subnet: want a MAC of its own for each VM of a subnet (see p.yaml:20:44)",
		},
	},
	{
		name:  "mac is the gateway's",
		edits: []string{"02b000000211", "024e56000001"},
		want: []string{
			"p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC 02:4e:56:00:00:01 is the gateway's: want another MAC, or another gateway_mac",
		},
	},
	{
		name:  "mac is the default gateway's",
		edits: []string{"gateway_mac: 02:4e:56:00:00:01\n", "", "02b000000211", "024e56000001"},
		want: []string{
			"p.yaml:25:43: routing_domains[0].subnets[1].records[0].mac: MAC 02:4e:56:00:00:01 is the gateway's: want another MAC, or another gateway_mac",
		},
	},
	{
		name:  "host unknown",
		edits: []string{"host: h1", "host: h3"},
		want: []string{
			`p.yaml:20:90: routing_domains[0].subnets[0].records[0].host: host "h3" is unknown: want one of h1, h2`,
		},
	},
	{
		name:  "pa unknown",
		edits: []string{"pa: 10.99.0.2", "pa: 10.99.0.3"},
		want: []string{
			"p.yaml:21:88: routing_domains[0].subnets[0].records[1].pa: PA 10.99.0.3 belongs to no host: want an address from the provider_addresses of one",
		},
	},
	{
		name:  "pa is IPv6",
		edits: []string{"pa: 10.99.0.2", `pa: "fd00::2"`},
		want: []string{
			"p.yaml:21:88: routing_domains[0].subnets[0].records[1].pa: PA fd00::2 belongs to no host: want an address from the provider_addresses of one",
		},
	},
	{
		name:  "host and pa disagree",
		edits: []string{"host: h2", "host: h1"},
		want: []string{
			`p.yaml:26:71: routing_domains[0].subnets[1].records[0].pa: PA 10.98.0.2 belongs to host "h2", but the record names host "h1": want one of the two, or both of the same host (see p.yaml:9:25)`,
		},
	},
	{
		name:  "route prefix missing",
		edits: []string{"prefix: 0.0.0.0/0, ", ""},
		want: []string{
			"p.yaml:28:9: routing_domains[0].routes[0].prefix: is missing: want the destination, such as 0.0.0.0/0",
		},
	},
	{
		name:  "route prefix is of the other family",
		edits: []string{"prefix: 0.0.0.0/0", `prefix: "::/0"`},
		want: []string{
			"p.yaml:28:36: routing_domains[0].routes[0].next_hop: next hop 10.0.1.12 is not of the family of prefix ::/0: want an address of the same family",
		},
	},
	{
		name:  "route prefix is on-link",
		edits: []string{"prefix: 0.0.0.0/0", "prefix: 10.0.2.0/24"},
		want: []string{
			`p.yaml:28:18: routing_domains[0].routes[0].prefix: prefix 10.0.2.0/24 is on-link already, as a prefix of subnet "db": want no route to it, or a route to another prefix (see p.yaml:24:20)`,
		},
	},
	{
		name:  "route next hop missing",
		edits: []string{"next_hop: 10.0.1.12, ", ""},
		want: []string{
			"p.yaml:28:9: routing_domains[0].routes[0].next_hop: is missing: want the CA of the VM that routes the traffic on, or black_hole",
		},
	},
	{
		name:  "route next hop in no subnet",
		edits: []string{"next_hop: 10.0.1.12", "next_hop: 10.0.4.12"},
		want: []string{
			"p.yaml:28:39: routing_domains[0].routes[0].next_hop: next hop 10.0.4.12 lies in no subnet of the routing domain: want the CA of a VM in one of them",
		},
	},
	{
		name:  "route next hop is a gateway",
		edits: []string{"next_hop: 10.0.1.12", "next_hop: 10.0.1.1"},
		want: []string{
			`p.yaml:28:39: routing_domains[0].routes[0].next_hop: next hop 10.0.1.1 is the gateway of subnet "web", which would send the packet here again: want the CA of a VM`,
		},
	},
	{
		name:  "route next hop is a network address",
		edits: []string{"next_hop: 10.0.1.12", "next_hop: 10.0.1.0"},
		want: []string{
			"p.yaml:28:39: routing_domains[0].routes[0].next_hop: next hop 10.0.1.0 is the network address of 10.0.1.0/24: want an address from 10.0.1.1 to 10.0.1.254",
		},
	},
	{
		name:  "route next hop is of the other family",
		edits: []string{"next_hop: 10.0.1.12", `next_hop: "fd00::12"`},
		want: []string{
			"p.yaml:28:39: routing_domains[0].routes[0].next_hop: next hop fd00::12 is not of the family of prefix 0.0.0.0/0: want an address of the same family",
		},
	},
	{
		name:  "route next hop of Hyper-V's on-link route",
		edits: []string{"next_hop: 10.0.1.12", "next_hop: 0.0.0.0"},
		want: []string{
			"p.yaml:28:39: routing_domains[0].routes[0].next_hop: next hop 0.0.0.0 means on-link, which a prefix of a subnet says: want the CA of a VM, or no route",
		},
	},
	{
		name:  "route given twice",
		edits: []string{"metric: 10}\n", "metric: 10}\n      - {prefix: 0.0.0.0/0, next_hop: 10.0.1.12, metric: 10}\n"},
		want: []string{
			"p.yaml:29:9: routing_domains[0].routes[1]: route to 0.0.0.0/0 by 10.0.1.12 with metric 10 is given twice: want it once (see p.yaml:28:9)",
		},
	},
	{
		name:  "route with two next hops and a black hole",
		edits: []string{"metric: 10}\n", "metric: 10}\n      - {prefix: 0.0.0.0/0, next_hop: 10.0.1.11, metric: 10}\n      - {prefix: 0.0.0.0/0, black_hole: true, metric: 10}\n"},
		want: []string{
			"p.yaml:30:9: routing_domains[0].routes[2]: route to 0.0.0.0/0 with metric 10 is a black hole and has a next hop too: want one of the two, or another metric (see p.yaml:29:9)",
		},
	},
	{
		name:  "several problems in the order of the file",
		edits: []string{"version: 1", "version: 3", "name: h2", "name: h1", "vsid: 5002", "vsid: 1", "prefix: 0.0.0.0/0", `prefix: "::/0"`, "host: h2, ", ""},
		want: []string{
			"p.yaml:1:10: version: 3 is not a version of the policy file that this program knows: want 1",
			`p.yaml:8:11: hosts[1].name: host "h1" is given twice: want a name of its own for each host (see p.yaml:4:11)`,
			"p.yaml:22:15: routing_domains[0].subnets[1].vsid: VSID 1 is reserved (RFC 7637 section 3.4): want 4096 to 16777214",
			"p.yaml:28:36: routing_domains[0].routes[0].next_hop: next hop 10.0.1.12 is not of the family of prefix ::/0: want an address of the same family",
		},
	},
}
