package controller

import (
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// A VM with several CAs is one that is absent, or none.
func TestAbsent(t *testing.T) {
	p, err := policyfile.Parse("p.yaml", []byte(`version: 1
hosts: [{name: h1, provider_addresses: [10.99.0.1]}]
routing_domains:
  - rdid: "{0b1e0000-0000-4000-8000-000000000001}"
    name: blue
    subnets:
      - vsid: 5001
        prefixes: [10.0.1.0/24, "fd00:0:0:1::/64"]
        records:
          - {vm: web1, ca: 10.0.1.11, mac: 02:00:00:00:01:11, iface_id: web1}
          - {vm: web1, ca: "fd00:0:0:1::11", mac: 02:00:00:00:01:11, iface_id: web1}
          - {vm: web2, ca: 10.0.1.12, mac: 02:00:00:00:01:12, iface_id: web2}
          - {vm: web2, ca: 10.0.1.22, mac: 02:00:00:00:01:12, iface_id: web2}
`), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := &Controller{policy: p}
	all := []admin.Attachment{{IfaceID: "web1"}, {IfaceID: "stranger"}, {IfaceID: "web2"}}
	for n, want := range map[int]int{0: 2, 1: 1, 2: 1, 3: 0} {
		if got, first := c.absent(all[:n]); got != want || len(first) != want || want == 1 && first[0].VM != "web2" {
			t.Errorf("with %d attachments: %d absent, %+v; want %d", n, got, first, want)
		}
	}
}
