package conformance

import "testing"

// Told is hosts and VMs of both families whose packets need the controller: in
// one subnet VMs get their addresses by DHCP, in the other they do not. Host h3
// has IPv6 only, so that its underlay leaves less to a packet than h2's.
var Told = &Bed{
	Name: "told",
	Policy: `version: 1
hosts:
  - {name: h1, provider_addresses: [10.99.0.1, "fd99::1"]}
  - {name: h2, provider_addresses: [10.99.0.2, "fd99::2"]}
  - {name: h3, provider_addresses: ["fd99::3"]}
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        dhcp: true
        dns: [10.0.9.53, "fd00:0:0:9::53"]
        domain: blue.example
        lease: 600
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web2, ca: "fd00:0:0:1::12", mac: 02:00:00:00:01:12, iface_id: web2, host: h2}
          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
          - {vm: web3, ca: "fd00:0:0:1::13", mac: 02:00:00:00:01:13, iface_id: web3, host: h3}
          - {vm: web4, ca: 10.0.1.14, mac: 02:00:00:00:01:14, iface_id: web4, host: h1}
          - {vm: web4, ca: "fd00:0:0:1::14", mac: 02:00:00:00:01:14, iface_id: web4, host: h1}
          - {vm: client, ca: 10.0.1.15, mac: 02:00:00:00:01:15, iface_id: client, host: h1}
          - {vm: client, ca: "fd00:0:0:1::15", mac: 02:00:00:00:01:15, iface_id: client, host: h1}
      - vsid: 5002
        prefixes: [10.0.2.0/24, "fd00:0:0:2::/64"]
        records:
          - {vm: db1, ca: 10.0.2.11, mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
          - {vm: db1, ca: "fd00:0:0:2::11", mac: 02:00:00:00:02:11, iface_id: db1, host: h1}
          - {vm: db2, ca: 10.0.2.12, mac: 02:00:00:00:02:12, iface_id: db2, host: h2}
          - {vm: db2, ca: "fd00:0:0:2::12", mac: 02:00:00:00:02:12, iface_id: db2, host: h2}
`,
	Topology: `underlay:
  subnets:
    - {name: rack1, prefix: 10.99.0.0/24, router: 10.99.0.254, prefix6: "fd99::/64", router6: "fd99::fe"}
`,
	Settings: []string{"punt-rate: 50", "punt-burst: 100"},
	Settled: func(t *testing.T, n *Network) {
		for _, vm := range []string{"web1", "web2", "web3"} {
			n.waitFor(t, "an answer on the host of "+vm, func() bool { return n.offered(t, vm) != "" })
		}
	},
}
