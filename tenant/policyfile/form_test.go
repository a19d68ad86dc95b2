package policyfile_test

import "testing"

func TestForm(t *testing.T) {
	base := baseFile(t)
	for _, c := range formCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, base) })
	}
}

var formCases = []badCase{
	{
		name: "empty file",
		file: "",
		want: []string{
			"p.yaml:1:1: the file is empty: want a policy that begins with version: 1",
		},
	},
	{
		name: "only a comment",
		file: "# nothing\n",
		want: []string{
			"p.yaml:1:1: the file is empty: want a policy that begins with version: 1",
		},
	},
	{
		name: "only a document start",
		file: "---\n",
		want: []string{
			"p.yaml:2:1: the file is empty: want a policy that begins with version: 1",
		},
	},
	{
		name: "null document",
		file: "null\n",
		want: []string{
			"p.yaml:1:1: the file is empty: want a policy that begins with version: 1",
		},
	},
	{
		name: "a list",
		file: "- version: 1\n",
		want: []string{
			"p.yaml:1:1: is a list: want the policy, a mapping with the keys version, gateway_mac, hosts, routing_domains",
		},
	},
	{
		name: "a word",
		file: "version\n",
		want: []string{
			"p.yaml:1:1: is the single value version: want the policy, a mapping with the keys version, gateway_mac, hosts, routing_domains",
		},
	},
	{
		name: "not UTF-8",
		file: "version: 1\nhosts: [\xff]\n",
		want: []string{
			"p.yaml:2:9: octet 0xff is not UTF-8: want text in UTF-8",
		},
	},
	{
		name: "UTF-16",
		file: "\xff\xfev\x00e\x00",
		want: []string{
			"p.yaml:1:1: octet 0xff is not UTF-8: want text in UTF-8",
		},
	},
	{
		name: "control character",
		file: "version: 1\nho\u0001sts: []\n",
		want: []string{
			"p.yaml:2:3: control character 0x01: want text in UTF-8",
		},
	},
	{
		name: "two documents",
		file: "version: 1\n---\nversion: 1\n",
		want: []string{
			"p.yaml:2:1: a second YAML document begins here: want one document in the file",
		},
	},
	{
		name: "two documents, the second broken",
		file: "version: 1\n---\n}\n",
		want: []string{
			"p.yaml:3:1: not YAML: did not find expected node content",
		},
	},
	{
		name: "syntax: key expected",
		file: "version: 1\nhosts:\n  - name: h1\n   provider_addresses: []\n",
		want: []string{
			"p.yaml:4:4: not YAML: did not find expected '-' indicator",
		},
	},
	{
		name: "syntax: brace not closed",
		file: "version: 1\nhosts:\n  - {name: h1\nrouting_domains: []\n",
		want: []string{
			"p.yaml:3:3: not YAML: did not find expected ',' or '}'",
		},
	},
	{
		name: "syntax: tab",
		file: "version: 1\nhosts:\n\t- name: h1\n",
		want: []string{
			"p.yaml:3:2: not YAML: found character that cannot start any token",
		},
	},
	{
		name: "syntax: unknown alias",
		file: "version: 1\nhosts: *h\n",
		want: []string{
			"p.yaml:2:1: not YAML: unknown anchor 'h' referenced",
		},
	},
	{
		name:  "unknown key",
		edits: []string{"metric: 10", "metrik: 10"},
		want: []string{
			`p.yaml:28:50: routing_domains[0].routes[0].metrik: unknown key "metrik" in a customer route: want one of prefix, next_hop, black_hole, metric, vsid (did you mean metric?)`,
		},
	},
	{
		name:  "unknown key with a required one missing",
		edits: []string{"mac: 02b000000211", "max: 02b000000211"},
		want: []string{
			`p.yaml:26:38: routing_domains[0].subnets[1].records[0].max: unknown key "max" in a lookup record: want one of vm, ca, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow (did you mean mac?)`,
		},
	},
	{
		name:  "unknown key, no likely other",
		edits: []string{"version: 1", "version: 1\nfoo: bar"},
		want: []string{
			`p.yaml:2:1: foo: unknown key "foo" in the policy: want one of version, gateway_mac, hosts, routing_domains`,
		},
	},
	{
		name:  "unknown key of dashes and capitals",
		edits: []string{"iface_id: blue-web1", "Iface-ID: blue-web1"},
		want: []string{
			`p.yaml:20:63: routing_domains[0].subnets[0].records[0].Iface-ID: unknown key "Iface-ID" in a lookup record: want one of vm, ca, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow (did you mean iface_id?)`,
		},
	},
	{
		name:  "unknown key, empty",
		edits: []string{"metric: 10", `"": 10`},
		want: []string{
			`p.yaml:28:50: routing_domains[0].routes[0]."": unknown key "" in a customer route: want one of prefix, next_hop, black_hole, metric, vsid`,
		},
	},
	{
		name:  "unknown key of several lines",
		edits: []string{"metric: 10", `"a\nb": 10`},
		want: []string{
			`p.yaml:28:50: routing_domains[0].routes[0]."a\nb": unknown key "a\nb" in a customer route: want one of prefix, next_hop, black_hole, metric, vsid`,
		},
	},
	{
		name:  "key given twice",
		edits: []string{"name: blue", "name: blue\n    name: green"},
		want: []string{
			`p.yaml:13:5: routing_domains[0].name: key "name" is given twice, first at line 12: want it once`,
		},
	},
	{
		name:  "key that is a list",
		edits: []string{"metric: 10", "[metric]: 10"},
		want: []string{
			"p.yaml:28:50: routing_domains[0].routes[0]: a key of a customer route is no plain word: want one of prefix, next_hop, black_hole, metric, vsid",
		},
	},
	{
		name:  "merge key",
		edits: []string{"hosts:\n", "hosts:\n  - &h\n    name: h0\n    provider_addresses: [10.97.0.1]\n  - <<: *h\n    name: h9\n"},
		want: []string{
			"p.yaml:7:5: hosts[1]: merge keys (<<) are not supported: want the keys of a host written out",
		},
	},
	{
		name:  "tag",
		edits: []string{"vsid: 5001", "vsid: !!int 5001"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: has the tag !!int: want a number from 4096 to 16777214 without a tag",
		},
	},
	{
		name:  "tag of one's own",
		edits: []string{"name: blue", "name: !secret blue"},
		want: []string{
			"p.yaml:12:11: routing_domains[0].name: has the tag !secret: want a name without a tag",
		},
	},
	{
		name:  "hosts is a mapping",
		edits: []string{"routing_domains:", "hosts: {h1: 10.99.0.1}\nrouting_domains:"},
		want: []string{
			`p.yaml:10:1: hosts: key "hosts" is given twice, first at line 3: want it once`,
		},
	},
	{
		name: "list is a mapping",
		file: "version: 1\nhosts: {h1: 10.99.0.1}\n",
		want: []string{
			"p.yaml:2:8: hosts: is a mapping: want a list of hosts",
		},
	},
	{
		name: "list is null",
		file: "version: 1\nhosts:\n",
		want: []string{
			"p.yaml:2:7: hosts: is null: want a list of hosts, or leave the key out",
		},
	},
	{
		name:  "list is a value",
		edits: []string{"[10.99.0.1]", "10.99.0.1"},
		want: []string{
			"p.yaml:5:25: hosts[0].provider_addresses: is the single value 10.99.0.1: want a list of provider addresses, such as [10.99.0.1]",
		},
	},
	{
		name:  "object is a value",
		edits: []string{"          - {vm: db1, ca: 10.0.2.11, mac: 02b000000211, host: h2, pa: 10.98.0.2}", "          - db1"},
		want: []string{
			"p.yaml:26:13: routing_domains[0].subnets[1].records[0]: is the single value db1: want a lookup record, a mapping with the keys vm, ca, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow",
		},
	},
	{
		name:  "object is null",
		edits: []string{"          - {vm: db1, ca: 10.0.2.11, mac: 02b000000211, host: h2, pa: 10.98.0.2}", "          -"},
		want: []string{
			"p.yaml:26:12: routing_domains[0].subnets[1].records[0]: is null: want a lookup record, a mapping with the keys vm, ca, mac, iface_id, host, pa, type, rule, forwarding, vlans, use_vm_mac, nat_pa, context, allow",
		},
	},
	{
		name:  "value is a list",
		edits: []string{"ca: 10.0.2.11", "ca: [10.0.2.11]"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: is a list: want a customer address such as 10.0.1.11",
		},
	},
	{
		name:  "value is a mapping",
		edits: []string{"ca: 10.0.2.11", "ca: {ip: 10.0.2.11}"},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: is a mapping: want a customer address such as 10.0.1.11",
		},
	},
	{
		name:  "rdid in braces without quotes",
		edits: []string{`"{11111111-2222-3333-4444-000000005001}"`, "{11111111-2222-3333-4444-000000005001}"},
		want: []string{
			"p.yaml:11:11: routing_domains[0].rdid: is a mapping, because braces begin one in YAML: want the RDID in quotes, or without braces",
		},
	},
	{
		name:  "rdid malformed",
		edits: []string{"000000006001", "00000000600"},
		want: []string{
			`p.yaml:29:11: routing_domains[1].rdid: RDID "11111111-2222-3333-4444-00000000600": want a GUID such as 11111111-2222-3333-4444-000000005001`,
		},
	},
	{
		name:  "rdid zero",
		edits: []string{"11111111-2222-3333-4444-000000006001", "00000000-0000-0000-0000-000000000000"},
		want: []string{
			`p.yaml:29:11: routing_domains[1].rdid: RDID "00000000-0000-0000-0000-000000000000": the zero GUID names no routing domain`,
		},
	},
	{
		name:  "value is null",
		edits: []string{"ca: 10.0.2.11", "ca: "},
		want: []string{
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: is null: want a customer address such as 10.0.1.11, or leave the key out",
		},
	},
	{
		name:  "number is null",
		edits: []string{"metric: 10", "metric: ~"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: is null: want a number from 0 to 4294967295, or leave the key out",
		},
	},
	{
		name:  "name is null",
		edits: []string{"name: web", "name:"},
		want: []string{
			"p.yaml:16:14: routing_domains[0].subnets[0].name: is null: want a name, or leave the key out",
		},
	},
	{
		name:  "name is empty",
		edits: []string{"name: web", `name: ""`},
		want: []string{
			"p.yaml:16:15: routing_domains[0].subnets[0].name: is empty: want a name, or leave the key out",
		},
	},
	{
		name:  "name is a number",
		edits: []string{"name: web", "name: 5001"},
		want: []string{
			`p.yaml:16:15: routing_domains[0].subnets[0].name: 5001 is a number to YAML: want text, so write "5001"`,
		},
	},
	{
		name:  "name is a boolean",
		edits: []string{"name: web", "name: true"},
		want: []string{
			`p.yaml:16:15: routing_domains[0].subnets[0].name: true is a boolean to YAML: want text, so write "true"`,
		},
	},
	{
		name:  "name is a boolean of YAML 1.1",
		edits: []string{"name: web", "name: no"},
		want: []string{
			`p.yaml:16:15: routing_domains[0].subnets[0].name: no is a boolean to YAML 1.1: want text, so write "no"`,
		},
	},
	{
		name:  "name is a number of base 60",
		edits: []string{"name: web", "name: 12:30:45"},
		want: []string{
			`p.yaml:16:15: routing_domains[0].subnets[0].name: 12:30:45 is a number of base 60 to YAML 1.1: want text, so write "12:30:45"`,
		},
	},
	{
		name:  "name is a date",
		edits: []string{"name: web", "name: 2001-01-01"},
		want: []string{
			`p.yaml:16:15: routing_domains[0].subnets[0].name: 2001-01-01 is a date to YAML: want text, so write "2001-01-01"`,
		},
	},
	{
		name:  "number in quotes",
		edits: []string{"vsid: 5001", `vsid: "5001"`},
		want: []string{
			`p.yaml:15:15: routing_domains[0].subnets[0].vsid: "5001" is text because of the quotes: want a number from 4096 to 16777214, without quotes`,
		},
	},
	{
		name:  "number with a fraction",
		edits: []string{"vsid: 5001", "vsid: 1.5"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 1.5 is not a whole number: want a number from 4096 to 16777214",
		},
	},
	{
		name:  "number in hexadecimal",
		edits: []string{"vsid: 5001", "vsid: 0x1389"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 0x1389 is not in decimal: want a number from 4096 to 16777214, here 5001",
		},
	},
	{
		name:  "number in octal",
		edits: []string{"vsid: 5001", "vsid: 05001"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 05001 is not in decimal, or has a sign or a leading zero: want a number from 4096 to 16777214 in plain decimal",
		},
	},
	{
		name:  "number in new octal",
		edits: []string{"vsid: 5001", "vsid: 0o11611"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 0o11611 is not in decimal: want a number from 4096 to 16777214, here 5001",
		},
	},
	{
		name:  "number with underscores",
		edits: []string{"vsid: 5001", "vsid: 5_001"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 5_001 is not in decimal: want a number from 4096 to 16777214, here 5001",
		},
	},
	{
		name:  "number with a sign",
		edits: []string{"vsid: 5001", "vsid: +5001"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: +5001 is not in decimal, or has a sign or a leading zero: want a number from 4096 to 16777214 in plain decimal",
		},
	},
	{
		name:  "number negative",
		edits: []string{"metric: 10", "metric: -1"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: -1 is out of range: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "number of base 60",
		edits: []string{"vsid: 5001", "vsid: 1:23:21"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 1:23:21 is not a number: want a number from 4096 to 16777214",
		},
	},
	{
		name:  "number too large",
		edits: []string{"metric: 10", "metric: 4294967296"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: 4294967296 is out of range: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "vsid too large for a number of 32 bits",
		edits: []string{"vsid: 5001", "vsid: 4294967296"},
		want: []string{
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: 4294967296 is out of range: want a number from 4096 to 16777214",
		},
	},
	{
		name:  "number far too large",
		edits: []string{"metric: 10", "metric: 99999999999999999999"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: 99999999999999999999 is out of range: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "number is a word",
		edits: []string{"metric: 10", "metric: low"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: low is not a number: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "number is a boolean",
		edits: []string{"metric: 10", "metric: true"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: true is not a number: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "number is a list",
		edits: []string{"metric: 10", "metric: [10]"},
		want: []string{
			"p.yaml:28:58: routing_domains[0].routes[0].metric: is a list: want a number from 0 to 4294967295",
		},
	},
	{
		name:  "version zero",
		edits: []string{"version: 1", "version: 0"},
		want: []string{
			"p.yaml:1:10: version: 0 is not a version of the policy file: want 1",
		},
	},
	{
		name:  "version in quotes",
		edits: []string{"version: 1", `version: "1"`},
		want: []string{
			`p.yaml:1:10: version: "1" is text because of the quotes: want the number 1, without quotes`,
		},
	},
	{
		name:  "mac malformed",
		edits: []string{"02b000000211", "02b0000002"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "02b0000002": want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005`,
		},
	},
	{
		name:  "mac of base 60",
		edits: []string{"02b000000211", "10:20:30:40:50"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "10:20:30:40:50": want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005`,
		},
	},
	{
		name:  "mac in hexadecimal",
		edits: []string{"02b000000211", "0x02b000000211"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "0x02b000000211": want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005`,
		},
	},
	{
		name:  "mac multicast",
		edits: []string{"02b000000211", "01:00:5e:00:00:01"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "01:00:5e:00:00:01" is a group (multicast) address: want a unicast address`,
		},
	},
	{
		name:  "mac broadcast",
		edits: []string{"02b000000211", "ff-ff-ff-ff-ff-ff"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "ff-ff-ff-ff-ff-ff" is a group (multicast) address: want a unicast address`,
		},
	},
	{
		name:  "mac zero",
		edits: []string{"02b000000211", "00:00:00:00:00:00"},
		want: []string{
			`p.yaml:26:43: routing_domains[0].subnets[1].records[0].mac: MAC "00:00:00:00:00:00" is zero: want the MAC of a network adapter`,
		},
	},
	{
		name:  "gateway_mac malformed",
		edits: []string{"02:4e:56:00:00:01", "02:4e"},
		want: []string{
			`p.yaml:2:14: gateway_mac: MAC "02:4e": want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005`,
		},
	},
	{
		name:  "ca malformed",
		edits: []string{"ca: 10.0.2.11", "ca: 10.0.2"},
		want: []string{
			`p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA "10.0.2": want an address such as 10.0.1.11`,
		},
	},
	{
		name:  "ca multicast",
		edits: []string{"ca: 10.0.2.11", "ca: 224.0.0.1"},
		want: []string{
			`p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA "224.0.0.1": a multicast address belongs to a group: want a unicast address`,
		},
	},
	{
		name:  "ca with a zone",
		edits: []string{"ca: 10.0.2.11", `ca: "fe80::1%eth0"`},
		want: []string{
			`p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA "fe80::1%eth0": an address with a zone means nothing on another machine: leave out the part after %`,
		},
	},
	{
		name:  "pa malformed in a host",
		edits: []string{"[10.99.0.1]", "[10.99.0.256]"},
		want: []string{
			`p.yaml:5:26: hosts[0].provider_addresses[0]: PA "10.99.0.256": want an address such as 10.0.1.11`,
		},
	},
	{
		name:  "pa malformed in a record",
		edits: []string{"pa: 10.99.0.2", "pa: 10.99.0"},
		want: []string{
			`p.yaml:21:88: routing_domains[0].subnets[0].records[1].pa: PA "10.99.0": want an address such as 10.0.1.11`,
		},
	},
	{
		name:  "host name unreadable",
		edits: []string{"name: h2", "name: 2"},
		want: []string{
			`p.yaml:8:11: hosts[1].name: 2 is a number to YAML: want text, so write "2"`,
		},
	},
	{
		name:  "prefix without length",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.0, 10.0.3.0/24]"},
		want: []string{
			`p.yaml:24:20: routing_domains[0].subnets[1].prefixes[0]: prefix "10.0.2.0": want ADDRESS/LENGTH such as 10.0.1.0/24`,
		},
	},
	{
		name:  "prefix with host bits",
		edits: []string{"[10.0.2.0/24, 10.0.3.0/24]", "[10.0.2.1/24, 10.0.3.0/24]"},
		want: []string{
			`p.yaml:24:20: routing_domains[0].subnets[1].prefixes[0]: prefix "10.0.2.1/24" has host bits set: want 10.0.2.0/24`,
		},
	},
	{
		name:  "prefix of routes malformed",
		edits: []string{"prefix: 0.0.0.0/0", "prefix: default"},
		want: []string{
			`p.yaml:28:18: routing_domains[0].routes[0].prefix: prefix "default": want ADDRESS/LENGTH such as 10.0.1.0/24`,
		},
	},
	{
		name:  "gateway malformed",
		edits: []string{"[10.0.1.1]", "[10.0.1]"},
		want: []string{
			`p.yaml:18:20: routing_domains[0].subnets[0].gateways[0]: CA "10.0.1": want an address such as 10.0.1.11`,
		},
	},
	{
		name:  "next hop malformed",
		edits: []string{"next_hop: 10.0.1.12", "next_hop: web2"},
		want: []string{
			`p.yaml:28:39: routing_domains[0].routes[0].next_hop: CA "web2": want an address such as 10.0.1.11`,
		},
	},
	{
		name:  "alias in a circle",
		edits: []string{"routing_domains:\n", "routing_domains: &r\n  - *r\n"},
		want: []string{
			"p.yaml:10:18: routing_domains[0]: is a list: want a routing domain, a mapping with the keys rdid, name, customer, subnets, routes",
		},
	},
	{
		name:  "form and meaning in one run",
		edits: []string{"version: 1", "version: 2", "vsid: 5001", "vsid: x", "mac: 02b000000211", "mac: zz", "ca: 10.0.2.11", "ca: 10.0.9.9", "host: h1", "host: h9"},
		want: []string{
			"p.yaml:1:10: version: 2 is not a version of the policy file that this program knows: want 1",
			"p.yaml:15:15: routing_domains[0].subnets[0].vsid: x is not a number: want a number from 4096 to 16777214",
			`p.yaml:20:90: routing_domains[0].subnets[0].records[0].host: host "h9" is unknown: want one of h1, h2`,
			"p.yaml:26:27: routing_domains[0].subnets[1].records[0].ca: CA 10.0.9.9 is outside the subnet's prefixes 10.0.2.0/24, 10.0.3.0/24: want an address in it (see p.yaml:24:19)",
			`p.yaml:26:42: routing_domains[0].subnets[1].records[0].mac: MAC "zz": want six octets such as 02:00:00:00:00:05, 02-00-00-00-00-05 or 020000000005`,
		},
	},
}
