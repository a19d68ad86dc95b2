package topology

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const testPolicy = `version: 1
hosts:
  - name: h1
    provider_addresses: [10.99.0.1]
  - name: h2
    provider_addresses: [10.99.0.2]
  - name: h3
    provider_addresses: [10.99.3.3]
routing_domains:
  - rdid: "{11111111-2222-3333-4444-000000005001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24]
        gateways: [10.0.1.254]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: blue-web1, host: h1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: blue-web2}
  - rdid: "{11111111-2222-3333-4444-000000006001}"
    name: red
    subnets:
      - vsid: 6001
        prefixes: [10.0.1.0/24]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: red-web1, pa: 10.99.3.3}
`

func loadText(t *testing.T, topology string) (*Plan, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"p.yaml": testPolicy, "bed.yaml": topology} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := Load(filepath.Join(dir, "bed.yaml"))
	if err != nil {
		// Messages name the file as the user did.
		err = &textError{strings.ReplaceAll(err.Error(), dir+"/", "")}
	}
	return p, err
}

type textError struct{ s string }

func (e *textError) Error() string { return e.s }

const good = `policy: p.yaml
underlay:
  mtu: 1600
  subnets:
    - {name: rack1, prefix: 10.99.0.0/24, router: 10.99.0.254}
    - {prefix: 10.99.3.0/24, router: 10.99.3.254}
vms:
  - {name: blue/web2, host: h2}
links:
  - {node: h3, rate_mbps: 2.5}
  - {node: red/web1, up: false}
`

func TestLoad(t *testing.T) {
	p, err := loadText(t, good)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "bed" || p.MTU != 1600 || p.VMMTU() != 1558 || len(p.Hosts) != 3 || len(p.VMs) != 3 {
		t.Errorf("%+v", p)
	}
	if h, _ := p.Host("h3"); h.Subnet != "underlay2" || h.PAs[0].String() != "10.99.3.3/24" {
		t.Errorf("h3: %+v", h)
	}
	v, err := p.FindVM("web2", "")
	if err != nil || v.Host != "h2" || v.Addresses[0].String() != "10.0.1.12/24" || v.Gateways[0].String() != "10.0.1.254" {
		t.Errorf("web2: %+v, %v", v, err)
	}
	if r, err := p.FindVM("red-web1", ""); err != nil || r.Host != "h3" || r.Gateways[0].String() != "10.0.1.1" {
		t.Errorf("red-web1: %+v, %v", r, err)
	}
	if _, err := p.FindVM("web1", ""); err == nil || !strings.Contains(err.Error(), "blue/web1 or red/web1") {
		t.Errorf("an ambiguous name: %v", err)
	}
	if v, err := p.FindVM("web1", "red"); err != nil || v.IfaceID != "red-web1" {
		t.Errorf("an ambiguous name, seen from red: %v, %v", v, err)
	}
	if p.Links[0] != (Link{Node: "h3", RateMbps: 2.5}) || p.Links[1] != (Link{Node: "red-web1", Down: true}) {
		t.Errorf("links: %+v", p.Links)
	}
}

func TestLoadExamples(t *testing.T) {
	for name, want := range map[string][3]int{"two-tenants": {3, 9, 2}, "hnv-blue-red": {2, 4, 1}} {
		p, err := Load("../examples/" + name + ".yaml")
		if err != nil {
			t.Error(err)
			continue
		}
		if got := [3]int{len(p.Hosts), len(p.VMs), len(p.Subnets)}; got != want || p.Name != name {
			t.Errorf("%s: %d hosts, VMs and subnets, want %d; name %q", name, got, want, p.Name)
		}
	}
}

// The tag of a segment is that of the provider addresses in it.
func TestVLAN(t *testing.T) {
	write := func(pas string) (*Plan, error) {
		dir := t.TempDir()
		policy := strings.NewReplacer("[10.99.0.1]", "[{pa: 10.99.0.1, vlan: 7}]", "[10.99.0.2]", pas).Replace(testPolicy)
		for name, text := range map[string]string{"p.yaml": policy, "bed.yaml": "policy: p.yaml\nhosts: [{name: h1}, {name: h2}]\nvms: [{name: blue/web2, host: h2}]\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return Load(filepath.Join(dir, "bed.yaml"))
	}
	if p, err := write("[{pa: 10.99.0.2, vlan: 7}]"); err != nil || p.Subnets[0].VLAN != 7 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := write("[10.99.0.2]"); err == nil || !strings.Contains(err.Error(), "VLAN 7 and with VLAN 0: want one for all") {
		t.Errorf("two tags: %v", err)
	}
}

func TestHostsMayBeLeftOut(t *testing.T) {
	p, err := loadText(t, "policy: p.yaml\nname: few\nhosts: [{name: h1}, {name: h2}]\nvms: [{name: blue-web2, host: h1}]\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Hosts) != 2 || len(p.VMs) != 2 || p.Subnets[0].Prefix.String() != "10.99.0.0/24" {
		t.Errorf("%+v", p)
	}
}

func TestProblems(t *testing.T) {
	tests := []struct{ name, from, to, want string }{
		{"unknown key", "  mtu: 1600", "  mtuu: 1600", `bed.yaml:3:3: underlay.mtuu: unknown key: want one of bond, mtu, subnets`},
		{"key twice", "  mtu: 1600", "  mtu: 1600\n  mtu: 1500", `bed.yaml:4:3: underlay.mtu: given twice: it is in line 3 already`},
		{"missing", "{name: blue/web2, host: h2}", "{name: blue/web2}", `bed.yaml:8:5: vms[0]: host is missing`},
		{"small MTU", "1600", "68", `bed.yaml:3:8: underlay.mtu: "68" is no MTU of an underlay: want octets from 1342 to 65535`},
		{"no number", "1600", "big", `bed.yaml:3:8: underlay.mtu: "big" is no MTU of an underlay: want octets from 1342 to 65535`},
		{"prefix", "10.99.3.0/24", "10.99.3.0", `underlay.subnets[1].prefix: "10.99.3.0": want ADDRESS/LENGTH such as 10.99.0.0/24`},
		{"host bits", "10.99.3.0/24", "10.99.3.7/24", `underlay.subnets[1].prefix: "10.99.3.7/24" has host bits set: want 10.99.3.0/24`},
		{"router", "10.99.3.254", "10.99.4.254", `underlay.subnets[1].router: 10.99.4.254 is outside of 10.99.3.0/24: want an address in it`},
		{"router missing", ", router: 10.99.3.254", "", `bed.yaml:6:7: underlay.subnets[1]: router is missing: with several subnets each needs one`},
		{"overlap", "10.99.3.0/24, router: 10.99.3.254", "10.99.0.0/16, router: 10.99.0.1", `underlay.subnets[1]: 10.99.0.0/16 overlaps 10.99.0.0/24 of subnet rack1`},
		{"homeless PA", "10.99.3.0/24, router: 10.99.3.254", "10.98.0.0/16, router: 10.98.0.1", `underlay.subnets: no subnet holds 10.99.3.3, a provider address of host h3: add one`},
		{"a list", "vms:\n  - {name: blue/web2, host: h2}", "vms: blue/web2", `bed.yaml:7:6: vms: want a list, not "blue/web2"`},
		{"not a mapping", "- {name: blue/web2, host: h2}", "- blue/web2", `bed.yaml:8:5: vms[0]: want keys and values, not "blue/web2"`},
		{"empty text", "host: h2", "host: ", `bed.yaml:8:29: vms[0].host: want a text, not nothing`},
		{"alias", "policy: p.yaml", "policy: &p p.yaml\nname: *p", `bed.yaml:2:7: name: aliases are not read: write the value out`},
		{"name", "policy: p.yaml", "policy: p.yaml\nname: Über", `bed.yaml:2:7: name: "Über" cannot name a testbed: want up to 24 lower-case letters, digits and hyphens`},
		{"unknown host", "policy: p.yaml", "policy: p.yaml\nhosts: [{name: h9}]", `bed.yaml:2:16: hosts[0].name: the policy has no host "h9": want one of h1, h2, h3`},
		{"host twice", "policy: p.yaml", "policy: p.yaml\nhosts: [{name: h1}, {name: h1}]", `bed.yaml:2:28: hosts[1].name: host "h1" is listed twice`},
		{"unknown VM", "blue/web2", "blue/web9", `bed.yaml:8:12: vms[0].name: the policy has no VM "blue/web9" (by iface_id, routing-domain/vm or a vm name that is unique)`},
		{"VM on no host", "host: h2", "host: h9", `bed.yaml:8:29: vms[0].host: this testbed has no host "h9"`},
		{"VM elsewhere", "{name: blue/web2, host: h2}", "{name: blue/web2, host: h2}\n  - {name: blue/web1, host: h2}", `bed.yaml:9:29: vms[1].host: the policy puts VM blue-web1 on host h1: leave this VM out here, or change the policy`},
		{"VM twice", "{name: blue/web2, host: h2}", "{name: blue/web2, host: h2}\n  - {name: web2, host: h2}", `bed.yaml:9:12: vms[1].name: VM blue-web2 is listed twice`},
		{"VM nowhere", "vms:\n  - {name: blue/web2, host: h2}", "", `bed.yaml: vms: the policy does not say where VM blue-web2 is: add {name: blue-web2, host: …}`},
		{"rate", "2.5", "-1", `bed.yaml:10:27: links[0].rate_mbps: "-1" is no rate: want 10^6 bit/s from 0.1 to 100000`},
		{"bond", "  mtu: 1600", "  bond: both", `bed.yaml:3:9: underlay.bond: "both": want true or false`},
		{"prefix6 is IPv4", "router: 10.99.0.254}", "router: 10.99.0.254, prefix6: 10.98.0.0/24, router6: 10.98.0.1}", `underlay.subnets[0].prefix6: prefix6 is the IPv6 prefix of a subnet whose prefix is IPv4`},
		{"router6 alone", "router: 10.99.0.254}", "router: 10.99.0.254, router6: fd99::fe}", `underlay.subnets[0].router6: there is a router of IPv6 and no prefix6: add one`},
		{"router6 missing", "router: 10.99.0.254}", "router: 10.99.0.254, prefix6: 'fd99::/64'}", `underlay.subnets[0]: router6 is missing: with several subnets each needs one`},
		{"overlap of IPv6", "10.99.3.0/24, router: 10.99.3.254}", "10.99.3.0/24, router: 10.99.3.254, prefix6: 'fd99::/64', router6: 'fd99::1'}\n    - {prefix: 'fd99::/48', router: 'fd99::2'}", `fd99::/48 overlaps fd99::/64 of subnet underlay2`},
		{"up", "up: false", "up: maybe", `bed.yaml:11:26: links[1].up: "maybe": want true or false`},
		{"link of nobody", "node: h3", "node: h9", `links[0].node: h9 is neither a host nor a VM of this testbed`},
		{"link twice", "node: red/web1", "node: h3", `bed.yaml:11:12: links[1].node: the link of h3 is described twice`},
		{"no policy", "policy: p.yaml\n", "", `bed.yaml:1:1: policy is missing`},
		{"broken YAML", "policy: p.yaml", "policy: [", `bed.yaml: yaml:`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(good, tt.from) {
				t.Fatalf("the good file has no %q", tt.from)
			}
			_, err := loadText(t, strings.Replace(good, tt.from, tt.to, 1))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got:\n%v\nwant:\n%s", err, tt.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := loadText(t, strings.NewReplacer("1600", "68", "h2}", "h9}", "2.5", "0").Replace(good))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three problems:\n%v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	if _, err := loadText(t, ""); err == nil || !strings.Contains(err.Error(), "the file is empty") {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, r := parse("x.yaml", b)
		_ = r.err()
	})
}
