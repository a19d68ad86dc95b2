package conformance

// Basic is what most rows are tested on: three hosts, the last behind a router
// of the underlay; two tenants with the same addresses and MACs.
var Basic = &Bed{
	Name: "basic",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
  - {name: h3, provider_addresses: [10.99.3.3]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
          - {vm: web4, ca: 10.0.1.14, mac: 02:00:00:00:01:14, iface_id: web4, host: h1}
          - {vm: roam, ca: 10.0.1.99, mac: 02:00:00:00:01:99, iface_id: roam} # is where its port appears
      - vsid: 16777214 # the greatest there is
        prefixes: [10.0.2.0/24]
        records:
          - {vm: db1, ca: 10.0.2.11, mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
          - {vm: db2, ca: 10.0.2.12, mac: 02:00:00:00:02:12, iface_id: db2, host: h2}
    routes:
      - {prefix: 172.16.0.0/12, next_hop: 10.0.1.12}
  - rdid: "{0b1e0000-0000-4000-8000-000000000002}"
    name: red
    subnets:
      - vsid: 6001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: red1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: red1, host: h1}
          - {vm: red2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: red2, host: h2}
          - {vm: redonly, ca: 10.0.1.77, mac: 02:00:00:00:01:77, iface_id: redonly, host: h2}
`,
	Topology: `underlay:
  subnets:
    - {name: rack1, prefix: 10.99.0.0/24, router: 10.99.0.254}
    - {name: rack2, prefix: 10.99.3.0/24, router: 10.99.3.254}
vms:
  - {name: roam, host: h2}
`,
}

// Bonded is two hosts whose provider addresses are on a tagged VLAN of two
// bonded links.
var Bonded = &Bed{
	Name: "bonded",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [{pa: 10.99.0.1, vlan: 100, uplink: bond0}]}
  - {name: h2, provider_addresses: [{pa: 10.99.0.2, vlan: 100, uplink: bond0}]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
`,
	Topology: "underlay: {bond: true}\n",
}

// SeveralPAs is three hosts with two provider addresses each.
var SeveralPAs = &Bed{
	Name: "several-pas",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [{pa: 10.99.0.1, uplink: eth0}, {pa: 10.99.0.11, uplink: eth1}]}
  - {name: h2, provider_addresses: [{pa: 10.99.0.2, uplink: eth1}, {pa: 10.99.0.22, uplink: eth2}]}
  - {name: h3, provider_addresses: [10.99.0.3, {pa: 10.99.0.33, weight: 4294967295}]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
`,
}

// Dual is hosts and VMs of both families. Hosts h1 and h2 share both and prefer
// different ones; h3, behind a router, has IPv6 only.
var Dual = &Bed{
	Name: "dual",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1, "fd99::1"]}
  - {name: h2, provider_addresses: ["fd99::2", 10.99.0.2]}
  - {name: h3, provider_addresses: ["fd99:0:0:3::3"]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web2, ca: "fd00:0:0:1::12", mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
          - {vm: web3, ca: "fd00:0:0:1::13", mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
          - {vm: many, ca: 10.0.1.21, mac: 02:00:00:00:01:21, iface_id: many, host: h1}
          - {vm: many, ca: 10.0.1.22, mac: 02:00:00:00:01:21, iface_id: many, host: h1}
          - {vm: many, ca: "fd00:0:0:1::21", mac: 02:00:00:00:01:21, iface_id: many, host: h1}
      - vsid: 5002
        prefixes: ["fd00:0:0:2::/64"]
        records:
          - {vm: db2, ca: "fd00:0:0:2::12", mac: 02:00:00:00:02:12, iface_id: db2, host: h2}
  - rdid: "{0b1e0000-0000-4000-8000-000000000002}"
    name: red
    subnets:
      - vsid: 6001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        records:
          - {vm: red1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: red1, host: h1}
          - {vm: red2, ca: "fd00:0:0:1::12", mac: 02:00:00:00:01:12, iface_id: red2, host: h2}
          - {vm: redonly, ca: "fd00:0:0:1::77", mac: 02:00:00:00:01:77, iface_id: redonly, host: h2}
`,
	Topology: `underlay:
  subnets:
    - {name: rack1, prefix: 10.99.0.0/24, router: 10.99.0.254, prefix6: "fd99::/64", router6: "fd99::fe"}
    - {name: rack2, prefix: "fd99:0:0:3::/64", router: "fd99:0:0:3::fe"}
`,
}

// Odd is VMs whose records are not for one address: gw gets what nobody else has,
// also has an address, and its namespace forwards nothing; fresh has no address yet.
var Odd = &Bed{
	Name: "records",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: gw, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: gw, host: h2}
          - {vm: gw, ca: "fd00:0:0:1::12", mac: 02:00:00:00:01:12, iface_id: gw, host: h2}
          - {vm: gw, ca: 0.0.0.0, type: wildcard, mac: 02:00:00:00:01:12, iface_id: gw, host: h2}
          - {vm: gw, ca: "::", type: wildcard, mac: 02:00:00:00:01:12, iface_id: gw, host: h2}
          - {vm: fresh, type: l2only, mac: 02:00:00:00:01:13, iface_id: fresh, host: h2}
      - vsid: 5002
        prefixes: [10.0.2.0/24]
        records:
          - {vm: db1, ca: 10.0.2.11, mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
`,
	Topology: "underlay: {subnets: [{name: rack1, prefix: 10.99.0.0/24}]}\n",
}

// Entropic is Basic with FlowIDs.
var Entropic = &Bed{Name: "flow-id", Policy: Basic.Policy, Topology: Basic.Topology, Settings: []string{"flow-id: true"}}

// Routed is one routing domain of both families with customer routes of every
// kind. VM fw forwards, exit is the way out, plain forwards without leave, and
// lb1 and lb2, whose place is where its port appears, share traffic.
var Routed = &Bed{
	Name: "routed",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1]}
  - {name: h2, provider_addresses: [10.99.0.2]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
      - vsid: 5002
        prefixes: [10.0.2.0/24, "fd00:0:0:2::/64"]
        records:
          - {vm: db1, ca: 10.0.2.11, mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
          - {vm: db1, ca: "fd00:0:0:2::11", mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
      - vsid: 5003
        prefixes: [10.0.3.0/24, "fd00:0:0:3::/64"]
        records:
          - {vm: fw, ca: 10.0.3.11, mac: 02:00:00:00:03:11, iface_id: fw, host: h2, forwarding: true}
          - {vm: fw, ca: "fd00:0:0:3::11", mac: 02:00:00:00:03:11, iface_id: fw, host: h2, forwarding: true}
          - {vm: exit, ca: 10.0.3.12, mac: 02:00:00:00:03:12, iface_id: exit, host: h1, forwarding: true}
          - {vm: exit, ca: "fd00:0:0:3::12", mac: 02:00:00:00:03:12, iface_id: exit, host: h1, forwarding: true}
          - {vm: plain, ca: 10.0.3.13, mac: 02:00:00:00:03:13, iface_id: plain, host: h2}
          - {vm: plain, ca: "fd00:0:0:3::13", mac: 02:00:00:00:03:13, iface_id: plain, host: h2}
          - {vm: lb1, ca: 10.0.3.21, mac: 02:00:00:00:03:21, iface_id: lb1, host: h1}
          - {vm: lb1, ca: "fd00:0:0:3::21", mac: 02:00:00:00:03:21, iface_id: lb1, host: h1}
          - {vm: lb2, ca: 10.0.3.22, mac: 02:00:00:00:03:22, iface_id: lb2}
          - {vm: lb2, ca: "fd00:0:0:3::22", mac: 02:00:00:00:03:22, iface_id: lb2}
    routes:
      - {prefix: 0.0.0.0/0, vsid: 5001, next_hop: 10.0.3.11}
      - {prefix: 0.0.0.0/0, next_hop: 10.0.3.12}
      - {prefix: 172.16.0.0/12, next_hop: 10.0.3.12}
      - {prefix: 172.16.5.0/24, next_hop: 10.0.3.13, metric: 20}
      - {prefix: 172.16.5.0/24, next_hop: 10.0.3.21, metric: 10}
      - {prefix: 172.16.66.0/24, black_hole: true}
      - {prefix: 172.16.66.128/25, next_hop: 10.0.3.21}
      - {prefix: 192.0.2.0/24, vsid: 5001, next_hop: 10.0.3.13}
      - {prefix: 203.0.113.0/24, next_hop: 10.0.3.21}
      - {prefix: 203.0.113.0/24, next_hop: 10.0.3.22}
      - {prefix: "::/0", vsid: 5001, next_hop: "fd00:0:0:3::11"}
      - {prefix: "::/0", next_hop: "fd00:0:0:3::12"}
      - {prefix: "2001:db8:1000::/36", next_hop: "fd00:0:0:3::12"}
      - {prefix: "2001:db8:1005::/48", next_hop: "fd00:0:0:3::13", metric: 20}
      - {prefix: "2001:db8:1005::/48", next_hop: "fd00:0:0:3::21", metric: 10}
      - {prefix: "2001:db8:1066::/48", black_hole: true}
      - {prefix: "2001:db8:1066:8000::/49", next_hop: "fd00:0:0:3::21"}
      - {prefix: "2001:db8:192::/48", vsid: 5001, next_hop: "fd00:0:0:3::13"}
      - {prefix: "2001:db8:203::/48", next_hop: "fd00:0:0:3::21"}
      - {prefix: "2001:db8:203::/48", next_hop: "fd00:0:0:3::22"}
`,
	Topology: "vms:\n  - {name: lb2, host: h2}\n",
}
