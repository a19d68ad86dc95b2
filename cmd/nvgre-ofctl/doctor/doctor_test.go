package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

const policy = `version: 1
hosts:
  - name: h1
    provider_addresses: [{pa: 10.99.0.1, uplink: bond0, vlan: 7}]
    routes: [{prefix: 10.98.0.0/16, next_hop: 10.99.0.254}]
  - {name: h2, provider_addresses: [10.99.0.2]}
  - {name: h3, provider_addresses: [10.98.0.3], mtu: 9000}
routing_domains: []
`

// goodHost answers as the tools on a host do on which all is well.
var goodHost = map[string]string{
	"ovs-vsctl Open_vSwitch":      `{"headings":["external_ids"],"data":[[["map",[["nvgre-encap-ip","10.99.0.1"],["system-id","h1"]]]]]}`,
	"ovs-vsctl Bridge":            `{"headings":["name","fail_mode","datapath_type","external_ids","controller","ports"],"data":[["br-int","secure","netdev",["map",[["nvgre-ofctl","bridge"]]],["uuid","c1"],["uuid","p1"]],["br-phy",["set",[]],"netdev",["map",[]],["set",[]],["set",[["uuid","p2"],["uuid","p3"]]]]]}`,
	"ovs-vsctl Controller":        `{"headings":["_uuid","target"],"data":[[["uuid","c1"],"ptcp:6653"]]}`,
	"ovs-vsctl Port":              `{"headings":["_uuid","name","tag","interfaces"],"data":[[["uuid","p1"],"nvgre0",["set",[]],["uuid","i1"]],[["uuid","p2"],"br-phy",7,["uuid","i2"]],[["uuid","p3"],"bond0",["set",[]],["set",[["uuid","i3"],["uuid","i4"]]]]]}`,
	"ovs-vsctl Interface":         `{"headings":["_uuid","name","type","error","ofport","external_ids"],"data":[[["uuid","i1"],"nvgre0","gre",["set",[]],3,["map",[["nvgre-ofctl","tunnel"]]]],[["uuid","i2"],"br-phy","internal",["set",[]],65534,["map",[]]],[["uuid","i3"],"eth0","",["set",[]],1,["map",[]]],[["uuid","i4"],"eth1","",["set",[]],2,["map",[]]]]}`,
	"ovs-appctl":                  "ovs-vswitchd 3.1.0",
	"ip address":                  `[{"ifname":"br-phy","mtu":1500,"flags":["UP"],"addr_info":[{"local":"10.99.0.1"}]},{"ifname":"eth9","mtu":1500,"flags":[],"addr_info":[{"local":"192.0.2.1"}]}]`,
	"ip -4":                       `[{"dst":"default","gateway":"10.99.0.250"},{"dst":"10.98.0.0/16","gateway":"10.99.0.254"},{"dst":"10.99.0.0/24","dev":"br-phy"}]`,
	"ip -6":                       ``,
	"ip route get 10.99.0.2":      `[{"dst":"10.99.0.2","dev":"br-phy"}]`,
	"ip route get 10.98.0.3":      `[{"dst":"10.98.0.3","gateway":"10.99.0.254","dev":"br-phy"}]`,
	"ip route get something else": `[]`,
}

// host is a host whose tools answer as told; an answer that begins with "!" is
// what a tool fails with. A way carries as many octets as mtu says, 0: no answer.
func host(changes map[string]string, mtu map[string]int) *Examiner {
	return &Examiner{
		Run: func(_ context.Context, program string, args ...string) ([]byte, error) {
			key := program
			switch program {
			case "ovs-vsctl":
				key += " " + args[len(args)-1]
			case "ip":
				key += " " + args[1]
				if args[1] == "route" {
					key = "ip route get " + args[3]
				}
			}
			text, ok := changes[key]
			if !ok {
				text, ok = goodHost[key]
			}
			if !ok {
				return nil, fmt.Errorf("the test has no answer for %q", key)
			}
			if why, bad := strings.CutPrefix(text, "!"); bad {
				return nil, errors.New(why)
			}
			return []byte(text), nil
		},
		Probe: func(_ context.Context, _, to netip.Addr, size int) (bool, error) {
			carries, ok := mtu[to.String()]
			if carries < 0 {
				return false, errors.New("operation not permitted")
			}
			return !ok || size <= carries, nil
		},
	}
}

func examine(t *testing.T, e *Examiner, change ...string) []Finding {
	t.Helper()
	p, err := policyfile.Parse("p.yaml", []byte(strings.NewReplacer(change...).Replace(policy)), 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := WantOf(p, "h1", "br-int", nil)
	if err != nil {
		t.Fatal(err)
	}
	return Judge(w, e.Examine(t.Context(), w))
}

func TestNothingWrong(t *testing.T) {
	for _, f := range examine(t, host(nil, nil)) {
		if f.Verdict != OK || f.Do != "" {
			t.Errorf("%+v", f)
		}
	}
}

// Each thing that is wrong is found, alone, with what would mend it.
func TestFindings(t *testing.T) {
	swap := func(key, old, new string) map[string]string {
		if !strings.Contains(goodHost[key], old) {
			t.Fatalf("%s has no %q", key, old)
		}
		return map[string]string{key: strings.Replace(goodHost[key], old, new, 1)}
	}
	for _, c := range []struct {
		name    string
		changes map[string]string
		mtu     map[string]int
		policy  []string
		verdict Verdict
		want    []string // parts of "check: what -> do"
	}{
		{"no ovsdb-server", map[string]string{"ovs-vsctl Open_vSwitch": "!database connection failed"}, nil, nil, Wrong, []string{"ovsdb: ", "database connection failed", "systemctl start"}},
		{"strange output", map[string]string{"ovs-vsctl Port": "hello"}, nil, nil, Wrong, []string{"ovsdb: ", "table Port"}},
		{"no ovs-vswitchd", map[string]string{"ovs-appctl": "!cannot connect"}, nil, nil, Wrong, []string{"vswitchd: "}},
		{"no bridge", swap("ovs-vsctl Bridge", `"br-int"`, `"br-xxx"`), nil, nil, Wrong, []string{"bridge: there is no bridge br-int"}},
		{"foreign bridge", swap("ovs-vsctl Bridge", `[["nvgre-ofctl","bridge"]]`, `[]`), nil, nil, Wrong, []string{"bridge: ", "adopt-bridge"}},
		{"standalone", swap("ovs-vsctl Bridge", `"secure"`, `"standalone"`), nil, nil, Wrong, []string{"fail-mode: ", "set-fail-mode br-int secure"}},
		{"active target", swap("ovs-vsctl Controller", "ptcp:6653", "tcp:192.0.2.1"), nil, nil, Wrong, []string{"controller-target: ", "tcp:192.0.2.1"}},
		{"broken tunnel", swap("ovs-vsctl Interface", `"gre",["set",[]],3`, `"gre","in use",-1`), nil, nil, Wrong, []string{"tunnel-port: ", "in use"}},
		{"no tunnel", swap("ovs-vsctl Interface", `"gre"`, `"vxlan"`), nil, nil, Wrong, []string{"tunnel-port: there is no gre port"}},
		{"no address", swap("ip address", "10.99.0.1", "10.99.0.9"), nil, nil, Wrong, []string{"provider-address: ", "ip address add 10.99.0.1/LENGTH"}},
		{"device down", swap("ip address", `["UP"]`, `[]`), nil, nil, Wrong, []string{"provider-address: ", "ip link set br-phy up"}},
		{"other VLAN", swap("ovs-vsctl Port", `"br-phy",7`, `"br-phy",8`), nil, nil, Wrong, []string{"provider-address: ", "on VLAN 8", "policy says 7", "tag=7"}},
		{"other uplink", nil, nil, []string{"uplink: bond0", "uplink: bond9"}, Warning, []string{"provider-address: ", "not behind uplink bond9"}},
		{"link of a bond", nil, nil, []string{"uplink: bond0", "uplink: eth1"}, OK, nil},
		{"no ip(8)", map[string]string{"ip address": "!not found"}, nil, nil, Warning, []string{"provider-address: ", "install iproute2"}},
		{"other encap", swap("ovs-vsctl Open_vSwitch", "10.99.0.1", "10.99.0.1,10.99.0.77"), nil, nil, Warning, []string{"encap-ip: ", "10.99.0.77"}},
		{"other route", swap("ip -4", "10.99.0.254", "10.99.0.253"), nil, nil, Wrong, []string{"provider-route: the host routes 10.98.0.0/16 by 10.99.0.253, the policy by 10.99.0.254", "ip route replace"}},
		{"no route", swap("ip -4", "10.98.0.0/16", "10.97.0.0/16"), nil, nil, Wrong, []string{"provider-route: the host has no route for 10.98.0.0/16"}},
		{"no way", map[string]string{"ip route get 10.98.0.3": "!Network is unreachable"}, nil, nil, Wrong, []string{"route-to-peer: ", "h3", "unreachable"}},
		{"small device", swap("ip address", `"mtu":1500`, `"mtu":1450`), nil, nil, Wrong, []string{"mtu-device: br-phy has an MTU of 1450", "mtu 1500", "mtu of host h1 to 1450"}},
		{"small way", nil, map[string]int{"10.98.0.3": 1437}, nil, Wrong, []string{"mtu-path: the way to h3 (10.98.0.3) carries 1437 octets of the 1500", "more than 1395 are lost", "to 1437"}},
		{"dumb peer", nil, map[string]int{"10.98.0.3": 0}, nil, Warning, []string{"mtu-path: h3 (10.98.0.3) does not answer"}},
		{"not root", nil, map[string]int{"10.99.0.2": -1}, nil, Warning, []string{"mtu-path: ", "not permitted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var other []string
			for _, f := range examine(t, host(c.changes, c.mtu), c.policy...) {
				if f.Verdict != OK {
					other = append(other, fmt.Sprintf("%s %s: %s -> %s", f.Verdict, f.Check, f.What, f.Do))
				}
			}
			if c.verdict == OK {
				if len(other) > 0 {
					t.Errorf("found %q", other)
				}
				return
			}
			if len(other) != 1 || !strings.HasPrefix(other[0], string(c.verdict)+" "+c.want[0]) {
				t.Fatalf("found %q, want one that begins %q", other, c.want[0])
			}
			for _, part := range c.want[1:] {
				if !strings.Contains(other[0], part) {
					t.Errorf("%q lacks %q", other[0], part)
				}
			}
		})
	}
}

func TestWantOf(t *testing.T) {
	p, err := policyfile.Parse("p.yaml", []byte(policy), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host  string
		peers []string
		want  string
	}{{"h9", nil, "no host \"h9\": want one of h1, h2, h3"}, {"h1", []string{"h1"}, "\"h1\" is no other host"}, {"h1", []string{"x"}, "no other host"}} {
		if _, err := WantOf(p, c.host, "br-int", c.peers); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
	w, err := WantOf(p, "h1", "br-int", []string{"h3"})
	if err != nil || len(w.Peers) != 1 || w.Peers[0].MTU != 9000 || w.MTU != tenant.DefaultMTU {
		t.Errorf("%+v, %v", w, err)
	}
}

// An echo over the loopback device is answered, of any size that it carries.
func TestEcho(t *testing.T) {
	lo := netip.MustParseAddr("127.0.0.1")
	ok, err := Echo(t.Context(), lo, lo, 1500)
	if err != nil {
		t.Skipf("this test needs root: %v", err)
	}
	if !ok {
		t.Error("no answer to 1500 octets")
	}
	if ok, err := Echo(t.Context(), lo, lo, smallest4); err != nil || !ok {
		t.Errorf("68 octets: %v, %v", ok, err)
	}
	if ok, _ := Echo(t.Context(), netip.MustParseAddr("::1"), netip.MustParseAddr("::1"), 1500); !ok {
		t.Log("no answer over IPv6: this machine may have none")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := Echo(ctx, lo, netip.MustParseAddr("127.0.0.2"), 1000); ok && err != nil {
		t.Errorf("after the end: %v, %v", ok, err)
	}
}

// What the database says cannot make the reader fail in another way than by an
// error.
func FuzzRows(f *testing.F) {
	for k, v := range goodHost {
		if strings.HasPrefix(k, "ovs-vsctl") {
			f.Add([]byte(v))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e := &Examiner{Run: func(context.Context, string, ...string) ([]byte, error) { return b, nil }}
		rows, err := e.rows(t.Context(), "Bridge", "name")
		if err != nil && rows != nil {
			t.Error("rows and an error")
		}
		for _, r := range rows {
			for c := range r {
				r.text(c)
				r.number(c)
				r.pairs(c)
			}
		}
	})
}
