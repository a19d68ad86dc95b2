//go:build linux

package testbed_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// A small virtual network written by hand, apart from the product's compiler: it
// is what the testbed's own tests send their packets through.
//
//	table 0  in_port -> routing domain (reg0), VSID (reg1); tunnel -> VSID (reg2), table 4
//	table 1  ARP answered in place; IP: the destination's MAC, VSID (reg2) and host (reg3)
//	table 2  across subnets: TTL less one
//	table 3  to the tunnel, or table 4: to the port
const gatewayMAC = "02:4e:56:00:00:01"

func handFlows(t *testing.T, tb *testbed.Testbed) {
	t.Helper()
	for _, h := range tb.Plan().Hosts {
		sw := tb.Switch(h.Name)
		if _, err := sw.Vsctl(t.Context(), "--may-exist", "add-port", "br-int", "nvgre0", "--", "set", "Interface", "nvgre0", "type=gre",
			"options:remote_ip=flow", "options:local_ip=flow", "options:key=flow"); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(tb.Dir(), h.Name+".hand")
		if err := os.WriteFile(file, []byte(handFlowsOf(tb, &h)), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := sw.Ofctl(t.Context(), "--bundle", "replace-flows", "br-int", file); err != nil {
			t.Fatal(err)
		}
	}
}

func handFlowsOf(tb *testbed.Testbed, host *topology.Host) string {
	plan := tb.Plan()
	var b strings.Builder
	f := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	domains, peers := map[string]int{}, map[string]int{}
	for i, h := range plan.Hosts {
		peers[h.Name] = i + 1
	}
	f("table=0,priority=200,vlan_tci=0x1000/0x1000 actions=drop")
	f("table=0,priority=100,in_port=nvgre0 actions=move:NXM_NX_TUN_ID[8..31]->NXM_NX_REG2[0..23],resubmit(,4)")
	for _, v := range plan.VMs {
		if domains[v.Domain] == 0 {
			domains[v.Domain] = len(domains) + 1
		}
		d, ca := domains[v.Domain], v.CA()
		mac := strings.ReplaceAll(v.MAC.String(), ":", "")
		if v.Host == host.Name {
			port := testbed.VMPort(v.IfaceID)
			f("table=0,priority=100,in_port=\"%s\",dl_src=%s actions=set_field:%d->reg0,set_field:%d->reg1,resubmit(,1)", port, v.MAC, d, v.VSID)
			f("table=4,priority=100,reg2=%d,dl_dst=%s actions=output:\"%s\"", v.VSID, v.MAC, port)
		}
		f("table=1,priority=100,arp,arp_op=1,reg0=%d,arp_tpa=%s actions=%s", d, ca, arpReply(mac))
		act := fmt.Sprintf("set_field:%d->reg2,set_field:%d->reg3,set_field:%s->eth_dst,resubmit(,2)", v.VSID, peers[v.Host], v.MAC)
		f("table=1,priority=100,ip,reg0=%d,nw_dst=%s actions=%s", d, ca, act)
		f("table=2,priority=100,ip,reg1=%d,reg2=%d actions=resubmit(,3)", v.VSID, v.VSID)
		gw := strings.ReplaceAll(gatewayMAC, ":", "")
		f("table=1,priority=100,arp,arp_op=1,reg0=%d,arp_tpa=%s actions=%s", d, v.Gateways[0], arpReply(gw))
	}
	f("table=2,priority=50,ip actions=dec_ttl,set_field:%s->eth_src,resubmit(,3)", gatewayMAC)
	f("table=3,priority=100,reg3=%d actions=resubmit(,4)", peers[host.Name])
	for _, p := range plan.Hosts {
		if p.Name != host.Name {
			f("table=3,priority=100,reg3=%d actions=set_field:%s->tun_src,set_field:%s->tun_dst,set_field:0->tun_id,move:NXM_NX_REG2[0..23]->NXM_NX_TUN_ID[8..31],output:nvgre0",
				peers[p.Name], host.PAs[0].Addr(), p.PAs[0].Addr())
		}
	}
	return b.String()
}

func arpReply(mac string) string {
	if _, err := hex.DecodeString(mac); err != nil {
		panic(err)
	}
	m, _ := strconv.ParseUint(mac, 16, 64)
	return fmt.Sprintf("move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],load:%#x->NXM_OF_ETH_SRC[],load:2->NXM_OF_ARP_OP[],"+
		"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:%#x->NXM_NX_ARP_SHA[],"+
		"push:NXM_OF_ARP_TPA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],pop:NXM_OF_ARP_SPA[],in_port", m, m)
}
