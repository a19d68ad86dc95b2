package flows_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// A real switch with the flows of host h1 sends each packet where the policy
// wants it, and drops it for the reason that it should.
func TestTraceOnRealSwitch(t *testing.T) {
	sw := ovstest.Start(t)
	s := scenario{policy: "routed.yaml", host: "h1", place: flows.NewPlacement(map[string]string{"db2": "h2"})}
	loadScenario(t, sw, s)

	const (
		web1 = "in_port=101,dl_src=02:b0:00:00:01:11,"
		db1  = "in_port=102,dl_src=02:b0:00:00:02:13,"
		gw   = "0e:00:00:00:00:01"
		gre2 = "in_port=1,tun_src=10.99.0.2,tun_dst=10.99.0.1,"
	)
	arp := func(port, op, spa, tpa, sha string) string {
		return port + "arp,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=" + op + ",arp_spa=" + spa + ",arp_tpa=" + tpa + ",arp_sha=" + sha
	}
	const web1MAC = "02:b0:00:00:01:11"
	for _, c := range []struct {
		name, packet string
		drop         flows.DropReason // 0: not dropped
		has          []string         // parts of the datapath actions
	}{
		{"in the subnet to another host", web1 + "icmp,icmp_type=8,dl_dst=02:b0:00:00:01:12,nw_src=10.0.1.11,nw_dst=10.0.1.12,nw_ttl=64", 0,
			[]string{"TUN_ID[8..31] is now 0x1389\n", "tun_src=10.99.0.1,tun_dst=10.99.0.2", "PORT1"}},
		{"across subnets to another host", web1 + "icmp,icmp_type=8,dl_dst=" + gw + ",nw_src=10.0.1.11,nw_dst=10.0.5.14,nw_ttl=64", 0,
			[]string{"TUN_ID[8..31] is now 0x138a\n", "tun_dst=10.99.0.2", "PORT1", "ttl=63", "src=" + gw + ",dst=02:b0:00:00:02:14"}},
		{"across subnets on this host", web1 + "icmp,icmp_type=8,dl_dst=" + gw + ",nw_src=10.0.1.11,nw_dst=10.0.2.13,nw_ttl=2", 0,
			[]string{"ttl=1", "src=" + gw + ",dst=02:b0:00:00:02:13", "PORT102"}},
		{"by the default route", web1 + "udp,dl_dst=" + gw + ",nw_src=10.0.1.11,nw_dst=8.8.8.8,nw_ttl=64", 0,
			[]string{"tun_dst=10.99.3.3", "dst=02:b0:00:00:01:20", "ttl=63"}},
		{"by the route of the lowest metric", web1 + "udp,dl_dst=" + gw + ",nw_src=10.0.1.11,nw_dst=172.16.3.4,nw_ttl=64", 0,
			[]string{"dst=02:b0:00:00:02:13", "PORT102"}},
		{"echo to the gateway", web1 + "icmp,icmp_type=8,dl_dst=" + gw + ",nw_src=10.0.1.11,nw_dst=10.0.1.1,nw_ttl=1", 0,
			[]string{"src=10.0.1.1,dst=10.0.1.11", "ttl=64", "type=0", "PORT101"}},
		{"echo to the gateway of another subnet", db1 + "icmp,icmp_type=8,dl_dst=" + gw + ",nw_src=10.0.2.13,nw_dst=10.0.1.1,nw_ttl=64", 0,
			[]string{"src=10.0.1.1,dst=10.0.2.13", "PORT102"}},
		{"ARP for another VM", arp(web1, "1", "10.0.1.11", "10.0.1.12", web1MAC), 0,
			[]string{"sip=10.0.1.12,tip=10.0.1.11,op=2", "sha=02:b0:00:00:01:12,tha=" + web1MAC, "PORT101"}},
		{"ARP for the gateway", arp(web1, "1", "10.0.1.11", "10.0.1.1", web1MAC), 0, []string{"sha=" + gw, "PORT101"}},
		{"probe for another's CA", arp(web1, "1", "0.0.0.0", "10.0.1.12", web1MAC), 0, []string{"op=2", "PORT101"}},
		{"from the tunnel", gre2 + "tun_id=0x138900,icmp,dl_dst=" + web1MAC + ",nw_src=10.0.1.12,nw_dst=10.0.1.11", 0, []string{"PORT101"}},
		{"from the tunnel with a FlowID", gre2 + "tun_id=0x1389a7,icmp,dl_dst=" + web1MAC + ",nw_src=10.0.1.12,nw_dst=10.0.1.11", 0, []string{"PORT101"}},

		{"probe for its own CA", arp(web1, "1", "0.0.0.0", "10.0.1.11", web1MAC), flows.DropARPOwn, nil},
		{"announcement", arp(web1, "1", "10.0.1.11", "10.0.1.11", web1MAC), flows.DropARPOwn, nil},
		{"ARP reply", arp(web1, "2", "10.0.1.11", "10.0.1.12", web1MAC), flows.DropARPSender, nil},
		{"ARP with a foreign sender CA", arp(web1, "1", "10.0.1.12", "10.0.1.1", web1MAC), flows.DropARPSender, nil},
		{"ARP with a foreign sender MAC", arp(web1, "1", "10.0.1.11", "10.0.1.1", "02:b0:00:00:01:12"), flows.DropARPSender, nil},
		{"ARP outside the subnet", arp(web1, "1", "10.0.1.11", "10.0.2.13", web1MAC), flows.DropARPTarget, nil},
		{"ARP for nobody", arp(web1, "1", "10.0.1.11", "10.0.1.99", web1MAC), flows.DropARPUnknownCA, nil},
		{"foreign MAC", "in_port=101,dl_src=02:b0:00:00:01:99,ip,nw_src=10.0.1.11,nw_dst=10.0.1.12", flows.DropSourceMAC, nil},
		{"foreign CA", web1 + "ip,nw_src=10.0.1.99,nw_dst=10.0.1.12", flows.DropSourceCA, nil},
		{"IPv6", web1 + "icmp6,ipv6_src=fe80::1,ipv6_dst=fe80::2", flows.DropProtocol, nil},
		{"LLDP", web1 + "dl_type=0x88cc,dl_dst=01:80:c2:00:00:0e", flows.DropProtocol, nil},
		{"tagged", web1 + "dl_vlan=7,ip,nw_src=10.0.1.11,nw_dst=10.0.1.12", flows.DropVMTagged, nil},
		{"multicast", web1 + "udp,dl_dst=01:00:5e:01:01:01,nw_src=10.0.1.11,nw_dst=239.1.1.1", flows.DropMulticast, nil},
		{"broadcast", web1 + "udp,dl_dst=ff:ff:ff:ff:ff:ff,nw_src=10.0.1.11,nw_dst=255.255.255.255", flows.DropMulticast, nil},
		{"unknown CA", web1 + "ip,nw_src=10.0.1.11,nw_dst=10.0.1.99", flows.DropUnknownCA, nil},
		{"unattached VM", web1 + "ip,nw_src=10.0.1.11,nw_dst=10.0.2.99", flows.DropUnattached, nil},
		{"TTL used up", web1 + "icmp,icmp_type=8,nw_src=10.0.1.11,nw_dst=10.0.2.13,nw_ttl=1", flows.DropTTL, nil},
		{"TCP to the gateway", web1 + "tcp,nw_src=10.0.1.11,nw_dst=10.0.1.1,nw_ttl=64", flows.DropToRouter, nil},
		{"its own CA", web1 + "ip,nw_src=10.0.1.11,nw_dst=10.0.1.11,nw_ttl=64", flows.DropToItself, nil},
		{"unknown port", "in_port=77,ip,nw_src=10.0.1.11,nw_dst=10.0.1.12", flows.DropUnknownPort, nil},
		{"unknown PA", "in_port=1,tun_src=10.99.0.77,tun_dst=10.99.0.1,tun_id=0x138900,ip,dl_dst=" + web1MAC, flows.DropUnknownPA, nil},
		{"PA that is not ours", "in_port=1,tun_src=10.99.0.2,tun_dst=10.99.0.77,tun_id=0x138900,ip,dl_dst=" + web1MAC, flows.DropUnknownPA, nil},
		{"VSID of a domain that is not here", gre2 + "tun_id=0x177100,ip,dl_dst=" + web1MAC, flows.DropUnknownVSID, nil},
		{"VSID of another subnet", gre2 + "tun_id=0x138a00,ip,dl_dst=" + web1MAC, flows.DropNotHere, nil},
		{"tag from the tunnel", gre2 + "tun_id=0x138900,dl_vlan=7,ip,dl_dst=" + web1MAC, flows.DropTunnelTagged, nil},
		{"broadcast from the tunnel", gre2 + "tun_id=0x138900,arp,dl_dst=ff:ff:ff:ff:ff:ff", flows.DropTunnelMulticast, nil},
		{"ARP from the tunnel", gre2 + "tun_id=0x138900,arp,dl_dst=" + web1MAC, 0, []string{"PORT101"}},
		{"IPv6 from the tunnel", gre2 + "tun_id=0x138900,ipv6,dl_dst=" + web1MAC, flows.DropTunnelProtocol, nil},
		{"ARP to a VM's own MAC", web1 + "arp,dl_dst=02:b0:00:00:01:12,arp_op=1,arp_spa=10.0.1.11,arp_tpa=10.0.1.12,arp_sha=" + web1MAC, 0,
			[]string{"TUN_ID[8..31] is now 0x1389\n", "tun_dst=10.99.0.2"}},
		{"ARP reply to one VM", web1 + "arp,dl_dst=02:b0:00:00:01:12,arp_op=2,arp_spa=10.0.1.11,arp_tpa=10.0.1.12,arp_sha=" + web1MAC, 0,
			[]string{"TUN_ID[8..31] is now 0x1389\n", "tun_dst=10.99.0.2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, actions := trace(t, sw, c.packet)
			if c.drop == 0 {
				for _, part := range c.has {
					// The dummy datapath has no tunnels: what would be on the wire
					// stands in the final flow, before the datapath actions.
					if !strings.Contains(raw+actions, part) {
						t.Errorf("lacks %q; datapath actions %s\n%s", part, actions, raw)
					}
				}
				return
			}
			if actions != "drop" && !strings.HasPrefix(actions, "userspace(pid=0,controller(") {
				t.Errorf("not dropped: %s\n%s", actions, raw)
			}
			if got := lastDrop(t, raw); got != c.drop {
				t.Errorf("dropped for %s, want %s\n%s", got, c.drop, raw)
			}
		})
	}
}

// With one port for each VSID the same packets go the same way.
func TestTracePortPerVSID(t *testing.T) {
	sw := ovstest.Start(t)
	s := scenarios[5]
	s.place = flows.NewPlacement(map[string]string{"db2": "h2"})
	loadScenario(t, sw, s)
	raw, actions := trace(t, sw, "in_port=101,dl_src=02:b0:00:00:01:11,icmp,icmp_type=8,dl_dst=0e:00:00:00:00:01,nw_src=10.0.1.11,nw_dst=10.0.5.14,nw_ttl=64")
	if !strings.Contains(actions, "PORT12") {
		t.Errorf("actions %q\n%s", actions, raw)
	}
	raw, actions = trace(t, sw, "in_port=11,tun_src=10.99.0.2,tun_dst=10.99.0.1,tun_id=0x138900,icmp,dl_dst=02:b0:00:00:01:11,nw_src=10.0.1.12,nw_dst=10.0.1.11")
	if !strings.Contains(actions, "PORT101") {
		t.Errorf("actions %q\n%s", actions, raw)
	}
}

// loadScenario makes a bridge with the scenario's ports and flows, the ports
// under the numbers that the view has.
func loadScenario(t *testing.T, sw *ovsproc.Switch, s scenario) {
	t.Helper()
	_, v, res := s.compile(t)
	args := []string{
		"add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure", "protocols=[OpenFlow13,OpenFlow15]"}
	tunnel := func(name string, port uint32, key string) {
		args = append(args, "--", "add-port", "br-int", name, "--", "set", "interface", name, "type=gre",
			fmt.Sprintf("ofport_request=%d", port), "options:remote_ip=flow", "options:local_ip=flow", "options:key="+key)
	}
	if v.Tunnels.PerVSID == nil {
		tunnel("nvgre0", v.Tunnels.Flow, "flow")
	}
	for vsid, port := range v.Tunnels.PerVSID {
		tunnel("nvgre-"+vsid.String(), port, fmt.Sprint(vsid.Key(0)))
	}
	for _, a := range v.Attachments {
		args = append(args, "--", "add-port", "br-int", a.IfaceID, "--", "set", "interface", a.IfaceID, "type=dummy", fmt.Sprintf("ofport_request=%d", a.OFPort))
	}
	if _, err := sw.Vsctl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range res.Flows {
		text.WriteString(res.Flows[i].Text() + "\n")
	}
	file := t.TempDir() + "/flows"
	writeFile(t, file, text.String())
	if _, err := sw.Ofctl(t.Context(), "--bundle", "add-flows", "br-int", file); err != nil {
		t.Fatal(err)
	}
}

// execOn lets go-openvswitch run its commands on one switch.
func execOn(t *testing.T, sw *ovsproc.Switch) ovs.ExecFunc {
	return func(cmd string, args ...string) ([]byte, error) {
		var out string
		var err error
		switch cmd {
		case "ovs-appctl":
			out, err = sw.Appctl(context.WithoutCancel(t.Context()), args...)
		case "ovs-vsctl":
			out, err = sw.Vsctl(context.WithoutCancel(t.Context()), args...)
		default:
			out, err = sw.Run(context.WithoutCancel(t.Context()), cmd, args...)
		}
		return []byte(out), err
	}
}

type rawMatch string

func (m rawMatch) MarshalText() ([]byte, error) { return []byte(m), nil }
func (m rawMatch) GoString() string             { return string(m) }

// trace runs ofproto/trace and returns all that it printed and the datapath
// actions.
func trace(t *testing.T, sw *ovsproc.Switch, packet string) (raw, actions string) {
	t.Helper()
	pt, err := ovs.New(ovs.Exec(execOn(t, sw))).App.ProtoTrace("br-int", "", []ovs.Match{rawMatch(packet)})
	if err != nil {
		t.Fatal(err)
	}
	raw = string(pt.RawOutput)
	m := regexp.MustCompile(`(?m)^Datapath actions: (.*)$`).FindStringSubmatch(raw)
	if m == nil {
		t.Fatalf("no datapath actions in\n%s", raw)
	}
	return raw, portNames(t, sw, m[1])
}

// portNames writes PORTn for the datapath's number of OpenFlow port n at the end
// of datapath actions.
func portNames(t *testing.T, sw *ovsproc.Switch, actions string) string {
	t.Helper()
	show, err := sw.Appctl(t.Context(), "dpif/show")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(\d+)/(\d+):`).FindAllStringSubmatch(show, -1) {
		for _, end := range []string{"", "))"} { // as large as the underlay takes: check_pkt_len(…,le(…))
			if s := m[2] + end; actions == s || strings.HasSuffix(actions, ","+s) || end != "" && strings.HasSuffix(actions, "le("+s) {
				return strings.TrimSuffix(actions, s) + "PORT" + m[1]
			}
		}
	}
	return actions
}

// lastDrop returns the reason in the cookie of the last flow that a trace met, or,
// where that hands the packet to the controller, of the one that dropped it.
func lastDrop(t *testing.T, raw string) flows.DropReason {
	t.Helper()
	all := regexp.MustCompile(`cookie (0x[0-9a-f]+)`).FindAllStringSubmatch(raw, -1)
	if len(all) == 0 {
		t.Fatalf("no cookie in\n%s", raw)
	}
	var cookie uint64
	last := len(all) - 1
	if strings.Contains(raw, "controller(id=") {
		last--
	}
	fmt.Sscanf(all[last][1], "0x%x", &cookie)
	r, ok := flows.Reason(cookie)
	if !ok {
		t.Errorf("the last flow does not drop: cookie %#x", cookie)
	}
	return r
}
