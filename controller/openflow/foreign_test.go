package openflow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// foreignFlows are flows that other programs may have put there. Those that
// begin with "ok " are within the vocabulary.
var foreignFlows = []string{
	"ok priority=1 actions=drop",
	"ok priority=2,ip,nw_dst=10.0.0.0/8 actions=dec_ttl,output:3",
	"ok priority=3,reg0=5,reg1=0x10/0xf0 actions=load:1->NXM_NX_REG2[3..9],goto_table:40",
	"ok priority=4,tcp,tp_dst=80/0xfff0 actions=set_field:10.0.0.1->ip_dst,in_port",
	"ok priority=5,arp,arp_op=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
	"ok priority=6,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1 actions=move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[]",
	"ok priority=7 actions=controller(max_len=65535)",
	"ok priority=8,vlan_tci=0x1000/0x1000 actions=output:NXM_NX_REG5[0..15]",
	"ok priority=10 actions=normal,resubmit(,4)",
	"priority=11 actions=learn(table=3,hard_timeout=60,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
	"priority=12,ip,ct_state=+trk+est actions=ct(commit,zone=5,nat(src=1.2.3.4:5-6),table=7)",
	"priority=13 actions=write_actions(output:1),goto_table:9",
	"priority=14 actions=write_metadata:0x5/0xff,goto_table:9",
	"priority=15,idle_timeout=1000 actions=output:1",
	"priority=16,hard_timeout=1000 actions=output:1",
	"priority=17,send_flow_rem actions=output:1",
	"priority=18,ip,ip_frag=yes actions=output:1",
	"priority=19,ip,nw_tos=4,vlan_tci=0 actions=push_vlan:0x8100,set_field:4100->vlan_vid,output:1",
	"priority=20,dl_vlan_pcp=3 actions=output:1",
	"priority=21,conj_id=7 actions=conjunction(9,1/2)",
	"priority=22,mpls actions=pop_mpls:0x800",
	"priority=23 actions=clone(output:1),note:01.02.03,exit",
	"priority=24,pkt_mark=5,tun_metadata0=1 actions=set_queue:3,output:2",
	"priority=25 actions=multipath(symmetric_l3l4+udp,0,modulo_n,256,0,NXM_NX_TUN_ID[0..7])",
	"priority=26 actions=check_pkt_larger(1400)->NXM_NX_REG15[0],output(port=1,max_len=100)",
	"priority=27,tun_flags=oam actions=load:0->NXM_OF_IN_PORT[],output:1",
	"priority=28,dl_type=0x894f,nsh_spi=5 actions=output:1",
	"ok priority=29,ip actions=set_field:0x5/0xf5->reg3,controller(max_len=128,userdata=01.02)",
	"priority=30,tcp,tcp_flags=+syn actions=ct_clear,output:LOCAL,output:FLOOD",
	"ok priority=31,dl_type=0x88cc actions=group:4294967040",
	"priority=32,sctp,tp_dst=9 actions=meter:1,output:1",
}

// TestForeignFlows: flows of every kind are read back, each known or with the
// reason why not, and each can be removed alone.
func TestForeignFlows(t *testing.T) {
	sw := bridge(t)
	for _, args := range [][]string{
		{"add-tlv-map", "br-int", "{class=0xffff,type=0,len=4}->tun_metadata0"},
		{"add-meter", "br-int", "meter=1 pktps bands=type=drop rate=1"},
		{"add-group", "br-int", "group_id=4294967040,type=all,bucket=output:1"},
	} {
		if _, err := sw.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range foreignFlows {
		if _, err := sw.Ofctl(t.Context(), "add-flow", "br-int", "table=2,cookie=0x77,"+strings.TrimPrefix(f, "ok ")); err != nil {
			t.Fatal(err)
		}
	}
	s := connect(t, sw, Options{})
	stats := readAll(t, s)
	if len(stats) != len(foreignFlows) {
		t.Fatalf("added %d flows, read %d", len(foreignFlows), len(stats))
	}
	byPriority := map[uint16]*Stat{}
	for _, st := range stats {
		byPriority[st.Priority] = st
	}
	for _, f := range foreignFlows {
		text, want := strings.CutPrefix(f, "ok ")
		var pr uint16
		if _, err := fmt.Sscanf(text, "priority=%d", &pr); err != nil {
			t.Fatal(f, err)
		}
		st := byPriority[pr]
		if st == nil {
			t.Fatalf("no flow of priority %d", pr)
		}
		if st.Table != 2 || st.Cookie != 0x77 {
			t.Errorf("%s: read table %d, cookie %#x", f, st.Table, st.Cookie)
		}
		if known := st.Unknown == ""; known != want {
			t.Errorf("%s: unknown %q, text %s", f, st.Unknown, st.Text())
		}
		if st.Unknown != "" && (st.Actions != nil || len(st.Raw) == 0 || len(st.RawMatch) == 0) {
			t.Errorf("%s: an unknown flow has %d actions, %d raw octets", f, len(st.Actions), len(st.Raw))
		}
		t.Logf("%s: %q", f, st.Unknown)
	}
	for n, st := range stats {
		mod := st.Delete()
		if err := s.Apply(soon(t), func(yield func(Mod) bool) { yield(mod) }); err != nil {
			t.Fatalf("deleting %s: %v", st.Text(), err)
		}
		left := readAll(t, s)
		if len(left) != len(stats)-n-1 {
			t.Fatalf("deleting flow %d (%s, %s) left %d flows of %d", n, st.Text(), st.Unknown, len(left), len(stats)-n)
		}
	}
}

// TestTextMeansTheSame: a flow that ovs-ofctl was given as text is read back as
// the flow that was rendered.
func TestTextMeansTheSame(t *testing.T) {
	sw := bridge(t)
	addGroups(t, sw)
	s := connect(t, sw, Options{})
	file := filepath.Join(t.TempDir(), "flows")
	rapid.Check(t, func(rt *rapid.T) {
		flows := distinct(rapid.SliceOfN(rapid.Custom(genFlow), 1, 40).Draw(rt, "flows"))
		flows = slices.DeleteFunc(flows, func(f flow.Flow) bool {
			return slices.ContainsFunc(f.Match, func(t flow.Test) bool {
				// ovs-ofctl reads a mask such as 0:0:0:1:: as the prefix length 0.
				return t.Field.Info().Form == flow.IPv6Form && t.Mask != flow.PrefixMask(onesCount(t.Mask), 128)
			})
		})
		var text strings.Builder
		for i := range flows {
			for j, a := range flows[i].Actions {
				// ovs-ofctl's load takes 64 bits.
				if a.Op == flow.OpSet && !a.Dst.IsAll() && a.Dst.N > 64 {
					flows[i].Actions[j] = flow.Set(flow.Bits{Field: a.Dst.Field, Ofs: a.Dst.Ofs, N: 64}, a.Value.And(flow.Ones(64)))
				}
				// And its plain controller action is an output.
				if a.Op == flow.OpController && a.UserData == "" && a.Meter == 0 && a.Controller == 0 {
					flows[i].Actions[j].Controller = 7
				}
			}
			text.WriteString(flows[i].Text() + "\n")
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			rt.Fatal(err)
		}
		if _, err := sw.Ofctl(t.Context(), "--bundle", "replace-flows", "br-int", file); err != nil {
			rt.Fatal(err)
		}
		var got []flow.Flow
		for _, st := range readAll(t, s) {
			if st.Unknown != "" {
				rt.Errorf("unknown flow %s: %s\n%x", st.Text(), st.Unknown, st.Raw)
			}
			got = append(got, st.Flow)
		}
		if got = distinct(got); len(got) != len(flows) {
			rt.Fatalf("gave %d flows, read %d", len(flows), len(got))
		}
		for i := range got {
			if !got[i].Equal(&flows[i]) {
				rt.Errorf("gave\n%s\nread\n%s", flows[i].Text(), got[i].Text())
			}
		}
	})
}
