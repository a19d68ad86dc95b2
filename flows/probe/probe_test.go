package probe_test

import (
	"bytes"
	"net/netip"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/probe"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func request4() packet.Frame {
	return packet.Frame{Dst: [6]byte{2, 0, 0, 0, 0, 2}, Src: [6]byte{2, 0, 0, 0, 0, 1}, Type: packet.TypeIPv4,
		IP: packet.IP{Src: netip.MustParseAddr("10.0.1.11"), Dst: netip.MustParseAddr("10.0.1.12"), Proto: packet.ProtoICMP, TTL: 59},
		L4: packet.L4{Type: packet.EchoRequest}}
}

func request6() packet.Frame {
	f := request4()
	f.Type, f.IP.Proto, f.L4.Type = packet.TypeIPv6, packet.ProtoICMPv6, packet.EchoRequest6
	f.IP.Src, f.IP.Dst = netip.MustParseAddr("fd00::11"), netip.MustParseAddr("fd00::12")
	return f
}

func TestEchoIsReadBack(t *testing.T) {
	for _, f := range []packet.Frame{request4(), request6()} {
		for _, size := range []int{0, 100, 1458} {
			for _, seq := range []uint16{0, 7, 65535} {
				id := probe.ID{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Seq: seq}
				b := probe.Bytes(&f, id, size)
				if size > 0 && len(b) != 14+size {
					t.Errorf("%d octets, want %d", len(b), 14+size)
				}
				e, ok := probe.Parse(b)
				if want := (probe.Echo{ID: id, Src: f.IP.Src, Dst: f.IP.Dst, TTL: 59}); !ok || e != want {
					t.Errorf("%v: %+v, want %+v", ok, e, want)
				}
				b[14] ^= 0x10 // another version
				if _, ok := probe.Parse(b); ok {
					t.Error("a packet of version 5 or 7 is read")
				}
			}
		}
	}
}

func TestChecksumsAreRight(t *testing.T) {
	sum := func(b []byte) (s uint32) {
		for i := 0; i < len(b); i += 2 {
			s += uint32(b[i]) << 8
			if i+1 < len(b) {
				s += uint32(b[i+1])
			}
		}
		for s>>16 != 0 {
			s = s&0xffff + s>>16
		}
		return s
	}
	for _, size := range []int{0, 101, 1458} {
		f := request4()
		b := probe.Bytes(&f, probe.ID{}, size)
		if sum(b[14:34]) != 0xffff || sum(b[34:]) != 0xffff {
			t.Errorf("IPv4, %d octets: %#x, %#x", size, sum(b[14:34]), sum(b[34:]))
		}
		f = request6()
		b = probe.Bytes(&f, probe.ID{}, size)
		n := len(b) - 54
		pseudo := slices.Concat(b[22:54], []byte{0, 0, byte(n >> 8), byte(n), 0, 0, 0, 58}, b[54:])
		if sum(pseudo) != 0xffff {
			t.Errorf("IPv6, %d octets: %#x", size, sum(pseudo))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, fr := range []packet.Frame{request4(), request6()} {
		f.Add(probe.Bytes(&fr, probe.ID{Seq: 1}, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		if _, ok := probe.Parse(b); ok && len(b) < 14+probe.MinSize {
			t.Errorf("%d octets are an echo message", len(b))
		}
		if !bytes.Equal(b, before) {
			t.Error("what is read was changed")
		}
	})
}

// twoTenants is the testbed's example with all VMs where it wants them.
func twoTenants(t *testing.T) (*explain.Tracer, map[string]*flows.Result, []explain.Host) {
	t.Helper()
	text, err := os.ReadFile("../../testbed/examples/two-tenants.policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policyfile.Parse("p", text, 1)
	if err != nil {
		t.Fatal(err)
	}
	at := flows.PlannedPlacement(p)
	var hosts []explain.Host
	made := make(map[string]*flows.Result)
	c := flows.NewCompiler(p, at)
	for h := range p.Hosts() {
		v := flows.PlannedView(p, at, h.Name)
		hosts = append(hosts, explain.Host{View: v})
		made[h.Name] = c.Host(v)
	}
	return explain.NewTracer(p, hosts, explain.Desired(p, hosts)), made, hosts
}

func portOf(hosts []explain.Host, host, iface string) (port uint32) {
	for _, h := range hosts {
		for _, a := range h.View.Attachments {
			if h.View.Name == host && a.IfaceID == iface {
				port = a.OFPort
			}
		}
	}
	return port
}

// A watched network does with every packet what it did before, save that copies
// of the watched message go to the controller.
func TestWatchesDisturbNobody(t *testing.T) {
	tracer, made, hosts := twoTenants(t)
	f := request4()
	f.Src, f.Dst = [6]byte{2, 0, 0, 0, 1, 0x11}, [6]byte{2, 0, 0, 0, 1, 0x12}
	port := portOf(hosts, "h1", "blue-web1")
	tr := tracer.Send("h1", port, f)
	if tr.Outcomes[0].Kind != explain.Delivered {
		t.Fatal(tr.Outcomes[0].Text)
	}
	watches := probe.Watches(tracer, tr, 0x8001, 1, false)
	if len(watches) != 4 {
		t.Fatalf("%d watches, want one at the beginning and the end of each of two hosts: %+v", len(watches), watches)
	}
	in := sim.Input{Port: port, Frame: f}
	for _, host := range []string{"h1", "h2"} {
		all := slices.Clone(made[host].Flows)
		for i := range watches {
			if w := &watches[i]; w.Host == host {
				if !flows.Probe(w.Flow.Cookie) || flows.Ours(w.Flow.Cookie) {
					t.Errorf("cookie %#x", w.Flow.Cookie)
				}
				all = append(all, w.Flow)
			}
		}
		var ports []sim.Port
		for _, h := range hosts {
			if h.View.Name != host {
				continue
			}
			ports = append(ports, sim.Port{Number: h.View.Tunnels.Flow, Tunnel: true, AnyKey: true})
			for _, a := range h.View.Attachments {
				ports = append(ports, sim.Port{Number: a.OFPort})
			}
		}
		plain, err := sim.NewSwitch(made[host].Flows, ports)
		if err != nil {
			t.Fatal(err)
		}
		watched, err := sim.NewSwitch(all, ports)
		if err != nil {
			t.Fatal(err)
		}
		if host == "h2" {
			in = tr.Hops[1].Input
		}
		var a, b sim.Result
		copies := func(in sim.Input) int {
			plain.Run(&in, &a)
			watched.Run(&in, &b)
			if !slices.Equal(a.Outputs, b.Outputs) || a.End != b.End || a.Table != b.Table {
				t.Errorf("%s: %s\nwatched:\n%s\nnot watched:\n%s", host, in.Frame, &b, &a)
			}
			n := 0
			for _, s := range b.Path {
				if flows.Probe(s.Flow.Cookie) {
					n++
				}
			}
			return n
		}
		if n := copies(in); n != 2 {
			t.Errorf("%s: the message meets %d watches, want 2", host, n)
		}
		for what, change := range map[string]func(*sim.Input){
			"a TTL":       func(i *sim.Input) { i.Frame.IP.TTL-- },
			"a type":      func(i *sim.Input) { i.Frame.L4.Type = packet.EchoReply },
			"a source":    func(i *sim.Input) { i.Frame.IP.Src = netip.MustParseAddr("10.0.1.13") },
			"a protocol":  func(i *sim.Input) { i.Frame.IP.Proto, i.Frame.L4 = packet.ProtoTCP, packet.L4{Src: 1, Dst: 2} },
			"a tag":       func(i *sim.Input) { i.Frame.Tagged, i.Frame.VID = true, 5 },
			"another MAC": func(i *sim.Input) { i.Frame.Src[5]++; i.Frame.Dst[5]++ },
			"a key":       func(i *sim.Input) { i.Outer.Key += 1 << 8 },
		} {
			other := in
			change(&other)
			if n := copies(other); n != 0 && what != "another MAC" && (what != "a key" || host == "h2" && n > 1) {
				t.Errorf("%s: what differs by %s meets %d watches", host, what, n)
			}
		}
	}
}

// A message of which the TTL is not known is not watched where the TTL decides.
func TestAnyTTL(t *testing.T) {
	tracer, _, hosts := twoTenants(t)
	f := request4()
	f.Src, f.Dst = [6]byte{2, 0, 0, 0, 1, 0x11}, [6]byte{2, 0x4e, 0x56, 0, 0, 1}
	f.IP.Dst = netip.MustParseAddr("10.0.1.1") // the gateway: decided by table act, which looks at the TTL
	tr := tracer.Send("h1", portOf(hosts, "h1", "blue-web1"), f)
	if tr.Outcomes[0].Kind != explain.Answered {
		t.Fatal(tr.Outcomes[0].Text)
	}
	if n := len(probe.Watches(tracer, tr, 0x8001, 1, false)); n != 2 {
		t.Errorf("%d watches, want 2", n)
	}
	all := probe.Watches(tracer, tr, 0x8001, 1, true)
	for i := range all {
		if _, ok := all[i].Flow.Match.Find(flow.IPTTL); ok || all[i].Last {
			t.Errorf("%+v", all[i])
		}
	}
}
