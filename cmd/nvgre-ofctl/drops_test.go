package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// sends makes a VM send a UDP packet, n times.
func (n *realNetwork) sends(host, port, srcMAC, src, dst string, times int) {
	n.t.Helper()
	from, err := tenant.ParseMAC(srcMAC)
	if err != nil {
		n.t.Fatal(err)
	}
	f := packet.Frame{Src: from, Dst: tenant.MAC{0x02, 0x4e, 0x56, 0, 0, 1}, Type: packet.TypeIPv4, L4: packet.L4{Src: 1, Dst: 2},
		IP: packet.IP{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), TTL: 64, Proto: packet.ProtoUDP}}
	for range times {
		if _, err := n.hosts[host].Appctl(n.t.Context(), "netdev-dummy/receive", port, hex.EncodeToString(f.Bytes())); err != nil {
			n.t.Fatal(err)
		}
	}
}

// Real packets that real switches drop are counted by reason and by VM, and the
// flows that took them can be explained.
func TestDropsAndExplain(t *testing.T) {
	n := newRealNetwork(t, goodPolicy, map[string][]string{"h1": {"web1", "app1", "roam"}, "h2": {"web2"}})
	n.says(0, []string{"drops", "--vm", "blue/web1"}, "nothing dropped")
	n.sends("h1", "web1", "02:b0:00:00:01:11", "10.0.1.66", "10.0.1.12", 3) // another's address
	n.sends("h1", "web1", "02:b0:00:00:01:99", "10.0.1.11", "10.0.1.12", 2) // another's MAC
	n.sends("h1", "app1", "02:b0:00:00:01:11", "10.0.1.11", "10.0.1.77", 4) // to nobody
	type report struct {
		Drops []dropRow
	}
	var r report
	n.await("all packets are counted", func() (string, bool) {
		out, _ := n.run("drops", "-o", "json", "--host", "h1")
		r = report{}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return out, false
		}
		found := map[string]uint64{}
		for _, d := range r.Drops {
			found[d.Reason+" "+d.VM] = d.Packets
		}
		return out, found["source-ca web1"] == 3 && found["source-mac web1"] == 2 && found["unknown-ca "] == 4
	})
	n.says(0, []string{"drops", "--vm", "web1"}, "source-ca   record blue/web1 10.0.1.11 VSID 5001", "source-mac  record blue/web1", "policy.yaml:13")
	if out, _ := n.run("drops", "--vm", "web1"); strings.Contains(out, "unknown-ca") {
		t.Errorf("what is not web1's is shown:\n%s", out)
	}
	n.says(0, []string{"drops", "--watch", "--rounds", "1", "--interval", "100ms", "--host", "h1"}, "nothing dropped (")

	line, err := n.hosts["h1"].Ofctl(t.Context(), "dump-flows", "br-int", "table=5,in_port=web1,ip")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(line, "\n") {
		if strings.Contains(l, "priority=50") {
			n.says(0, []string{"explain", l}, "drop      source-ca: the source address", "owner     record blue/web1 10.0.1.11 VSID 5001, ", "policy.yaml:13:13",
				"table     port-security: Lets a VM send only", "h1        3 packets: port-security 50: ")
		}
	}
	n.says(0, []string{"explain", "source-ca"}, "drop      source-ca", "h1        3 packets: ", "[record blue/web1")
	n.says(0, []string{"explain", fmt.Sprintf("%d", 77)}, "owner     foreign")

	if err := n.hosts["h2"].Stop(); err != nil {
		t.Fatal(err)
	}
	n.says(codeUnreachable, []string{"drops"}, "source-ca", "host h2")
	n.says(0, []string{"explain", "source-ca"}, "silent    host h2")
}

// What two looks differ by is what was dropped between them; a flow that is new
// counts from nothing.
func TestDropsRows(t *testing.T) {
	c := dropCounter{namer: flows.NewNamer(nil, nil)}
	reason := func(host string, r flows.DropReason) dropKey { return dropKey{host, flows.DropMark | uint64(r)<<40} }
	now := map[dropKey]uint64{reason("h1", flows.DropSourceCA): 12, reason("h1", flows.DropUnknownCA): 5, reason("h2", flows.DropUnknownCA): 3}
	before := map[dropKey]uint64{reason("h1", flows.DropSourceCA): 2, reason("h1", flows.DropUnknownCA): 5, reason("h2", flows.DropUnknownCA): 9}
	rows := c.rows(now, before, 2*time.Second)
	if len(rows) != 2 || rows[0].Reason != "source-ca" || rows[0].Packets != 10 || *rows[0].PerSecond != 5 || rows[1].Host != "h2" || rows[1].Packets != 3 {
		t.Errorf("%+v", rows)
	}
}

func TestDropsUsage(t *testing.T) {
	for _, args := range []string{"--interval 1ms", "--host h9", "--vm nobody", "-o yaml", "x"} {
		conf := file(t, "nvgre.yaml", "policy: "+file(t, "p.yaml", goodPolicy)+"\n")
		if out, stderr, code := ofctl(t, append([]string{"drops", "--config", conf}, strings.Fields(args)...)...); code != codeUsage {
			t.Errorf("%s: code %d, %s%s", args, code, out, stderr)
		}
	}
}

func TestExplainUsage(t *testing.T) {
	good := file(t, "good.yaml", goodPolicy)
	for _, text := range []string{"", "nonsense", "cookie=0x1ffffffffffffffff actions=drop", "table=nothing actions=drop", "0x4e56", "priority=99999 actions=drop"} {
		_, stderr, code := ofctl(t, "explain", "--policy", good, text)
		if want := map[string]int{"0x4e56": 0}[text]; (code == 0) != (text == "0x4e56") || code != codeUsage && code != want {
			t.Errorf("%q: code %d, %s", text, code, stderr)
		}
	}
}
