package sim_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// control is a connection to the control socket of ovs-vswitchd, which speaks
// JSON-RPC 1.0 (ovs-appctl(8) opens one for each command).
type control struct {
	conn net.Conn
	in   *json.Decoder
	id   int
}

func dialControl(t *testing.T, sw *ovsproc.Switch) *control {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(sw.Dir(), "ovs-vswitchd.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &control{conn: conn, in: json.NewDecoder(conn)}
}

func (c *control) call(method string, params ...string) (string, error) {
	c.id++
	if err := c.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	if err := json.NewEncoder(c.conn).Encode(map[string]any{"id": c.id, "method": method, "params": append([]string{}, params...)}); err != nil {
		return "", err
	}
	var reply struct {
		ID            int
		Result, Error *string
	}
	if err := c.in.Decode(&reply); err != nil {
		return "", err
	}
	switch {
	case reply.Error != nil:
		return "", errors.New(*reply.Error)
	case reply.Result == nil || reply.ID != c.id:
		return "", fmt.Errorf("%s: no reply to call %d", method, c.id)
	}
	return *reply.Result, nil
}

// real is a switch with one bridge for each model that it is compared with.
type real struct {
	t      *testing.T
	sw     *ovsproc.Switch
	ctl    *control
	dir    string
	loads  int
	old    []string // the bridges that are there
	traces int
}

func newReal(t *testing.T) *real {
	sw := ovstest.Start(t)
	return &real{t: t, sw: sw, ctl: dialControl(t, sw), dir: t.TempDir()}
}

// bridge is a real bridge with a model's ports and flows.
type bridge struct {
	*real
	name  string
	model *sim.Switch
	ports map[string]uint32 // OpenFlow port of each port of the datapath
}

// load makes bridges of models, which replace those that are there.
func (r *real) load(models []*sim.Switch, ports [][]sim.Port) ([]*bridge, error) {
	// A bridge that is deleted and made again in one transaction keeps its flows:
	// hence new names.
	r.loads++
	var args []string
	for _, name := range r.old {
		args = append(args, "--", "--if-exists", "del-br", name)
	}
	r.old = nil
	out := make([]*bridge, len(models))
	for i, model := range models {
		b := &bridge{real: r, name: fmt.Sprintf("br%d.%d", r.loads, i), model: model, ports: make(map[string]uint32)}
		out[i] = b
		r.old = append(r.old, b.name)
		args = append(args, "--", "add-br", b.name, "--", "set", "bridge", b.name, "fail_mode=secure", "protocols=[OpenFlow13,OpenFlow15]")
		for _, p := range ports[i] {
			name := fmt.Sprintf("p%d.%d.%d", r.loads, i, p.Number)
			args = append(args, "--", "add-port", b.name, name, "--", "set", "interface", name, fmt.Sprintf("ofport_request=%d", p.Number))
			switch {
			case p.Tunnel && p.AnyKey:
				args = append(args, "type=gre", "options:remote_ip=flow", "options:local_ip=flow", "options:key=flow")
			case p.Tunnel:
				args = append(args, "type=gre", "options:remote_ip=flow", "options:local_ip=flow", fmt.Sprintf("options:key=%d", p.Key))
			default:
				args = append(args, "type=dummy")
			}
		}
	}
	if _, err := r.sw.Vsctl(r.t.Context(), args[1:]...); err != nil {
		return nil, err
	}
	for _, b := range out {
		if err := b.addFlows(); err != nil {
			return nil, err
		}
	}
	show, err := r.ctl.call("dpif/show")
	if err != nil {
		return nil, err
	}
	for _, m := range regexp.MustCompile(fmt.Sprintf(`p%d\.(\d+)\.\d+ (\d+)/(\d+):`, r.loads)).FindAllStringSubmatch(show, -1) {
		if i, _ := strconv.Atoi(m[1]); i < len(out) {
			n, _ := strconv.Atoi(m[2])
			out[i].ports[m[3]] = uint32(n)
		}
	}
	return out, nil
}

func (b *bridge) addFlows() error {
	var text strings.Builder
	for _, g := range b.model.Groups() {
		if _, err := b.sw.Ofctl(b.t.Context(), "add-group", b.name, g.Text()); err != nil {
			return err
		}
	}
	for i := range b.model.Flows() {
		text.WriteString(b.model.Flows()[i].Text() + "\n")
	}
	file := filepath.Join(b.dir, b.name)
	if err := writeFile(file, text.String()); err != nil {
		return err
	}
	_, err := b.sw.Ofctl(b.t.Context(), "--bundle", "add-flows", b.name, file)
	return err
}

var (
	traceStep  = regexp.MustCompile(`(?m)^ *(\d+)\. (?:.*, )?priority (\d+)(?:, cookie (0x[0-9a-f]+))?$`)
	traceFinal = regexp.MustCompile(`(?m)^Final flow: (.*)$`)
	traceFlow  = regexp.MustCompile(`(?m)^Flow: (.*)$`)
	traceDP    = regexp.MustCompile(`(?m)^Datapath actions: (.*)$`)
	traceKey   = regexp.MustCompile(`NXM_NX_TUN_ID\[8\.\.31\] is now (0x[0-9a-f]+)`)
	dpSet      = regexp.MustCompile(`^set\((?:[^()]|\([^()]*\))*\)$`)
)

// compare returns how a real switch treats a packet otherwise than the model;
// "" where it does not.
func (b *bridge) compare(in *sim.Input, res *sim.Result) string {
	b.traces++
	spec := fmt.Sprintf("in_port=%d", in.Port)
	if in.Outer != (packet.Outer{}) {
		six := ""
		if in.Outer.Dst.Is6() {
			six = "ipv6_"
		}
		spec += fmt.Sprintf(",tun_%ssrc=%s,tun_%sdst=%s,tun_id=%d", six, in.Outer.Src, six, in.Outer.Dst, in.Outer.Key)
	}
	raw, err := b.ctl.call("ofproto/trace", b.name, spec, hex.EncodeToString(in.Frame.Bytes()))
	if err != nil {
		return fmt.Sprintf("ofproto/trace %s: %v", spec, err)
	}
	if diff := b.difference(in, res, raw); diff != "" {
		return diff + "\n" + raw
	}
	return ""
}

func (b *bridge) difference(in *sim.Input, res *sim.Result, raw string) string {
	// Behind check_pkt_larger a trace shows what becomes of either packet, first the
	// larger one, set in; the one that is asked for is small.
	if strings.Contains(raw, "check_pkt_larger") {
		raw = larger.ReplaceAllString(raw, "")
	}
	var found, want []string
	for _, m := range traceStep.FindAllStringSubmatch(raw, -1) {
		cookie := m[3]
		if cookie == "" {
			cookie = "0x0"
		}
		found = append(found, m[1]+" "+m[2]+" "+cookie)
	}
	for _, s := range res.Path {
		want = append(want, fmt.Sprintf("%d %d 0x%x", s.Flow.Table, s.Flow.Priority, s.Flow.Cookie))
	}
	if f, w := strings.Join(found, ", "), strings.Join(want, ", "); f != w {
		return fmt.Sprintf("the switch met flows %s; the model %s", f, w)
	}
	dp := traceDP.FindStringSubmatch(raw)
	if dp == nil {
		return "no datapath actions"
	}
	actions := fits.ReplaceAllString(dp[1], "$1")
	if punted := strings.Contains(actions, "controller(reason=1,"); punted != (len(res.Punts) > 0) {
		return fmt.Sprintf("the switch hands it to the controller: %v, the model: %v", punted, len(res.Punts) > 0)
	}
	out, err := b.outputs(actions, res.End == sim.EndTTL)
	if err != nil {
		return err.Error()
	}
	var model []uint32
	for _, o := range res.Outputs {
		model = append(model, o.Port)
	}
	if fmt.Sprint(out) != fmt.Sprint(model) {
		return fmt.Sprintf("the switch sends to ports %v, the model to %v", out, model)
	}
	if m := traceKey.FindStringSubmatch(raw); m != nil {
		if n, _ := strconv.ParseUint(m[1], 0, 32); n != res.Field(flow.TunID).Lo>>8 {
			return fmt.Sprintf("the switch sets VSID %d, the model tun_id %s", n, res.Field(flow.TunID))
		}
	}
	return headersDiffer(in, res, raw)
}

var larger = regexp.MustCompile(`(?m)^ {4,}\d+\. .*\n`)

var fits = regexp.MustCompile(`check_pkt_len\(size=\d+,gt\(.*\),le\((.*)\)\)$`)

// outputs returns the OpenFlow ports that datapath actions send to.
func (b *bridge) outputs(actions string, ttl bool) (out []uint32, err error) {
	if actions == "drop" {
		return nil, nil
	}
	depth, from := 0, 0
	for i := 0; i <= len(actions); i++ {
		if i < len(actions) {
			switch actions[i] {
			case '(':
				depth++
			case ')':
				depth--
			}
			if actions[i] != ',' || depth > 0 {
				continue
			}
		}
		a := actions[from:i]
		from = i + 1
		// A TTL that is used up is told to controllers that asked to know.
		invalidTTL := ttl && strings.HasPrefix(a, "userspace(") && strings.Contains(a, "controller(reason=2,")
		if n, ok := b.ports[a]; ok {
			out = append(out, n)
		} else if a != "drop" && !invalidTTL && !strings.HasPrefix(a, "userspace(pid=0,controller(reason=1,") && !dpSet.MatchString(a) {
			return nil, fmt.Errorf("unexpected datapath action %s", a)
		}
	}
	return out, nil
}

// headersDiffer compares registers, addresses and what else flows can write.
func headersDiffer(in *sim.Input, res *sim.Result, raw string) string {
	final := traceFinal.FindStringSubmatch(raw)
	if final == nil {
		return "no final flow"
	}
	if final[1] == "unchanged" {
		final = traceFlow.FindStringSubmatch(raw)
	}
	have := make(map[string]string)
	for _, part := range strings.Split(final[1], ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			have[name] = value
		}
	}
	check := func(f flow.Field, name string) string {
		v := flow.FormatValue(f, res.Field(f))
		h, ok := have[name]
		if !ok && res.Field(f).IsZero() {
			return ""
		}
		if h != v {
			return fmt.Sprintf("%s is %s in the switch, %s in the model", name, h, v)
		}
		return ""
	}
	fields := []flow.Field{flow.EthSrc, flow.EthDst, flow.TunDst, flow.Metadata}
	if !res.Field(flow.TunDst).IsZero() { // else the switch shows no tunnel metadata
		fields = append(fields, flow.TunSrc)
	}
	if !res.Field(flow.TunIPv6Dst).IsZero() {
		fields = append(fields, flow.TunIPv6Src, flow.TunIPv6Dst)
	}
	for i := range flow.Field(16) {
		fields = append(fields, flow.Reg0+i)
	}
	f := &in.Frame
	switch {
	case f.HasARP():
		fields = append(fields, flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA, flow.ARPTHA)
	case f.HasIPv4():
		fields = append(fields, flow.IPv4Src, flow.IPv4Dst, flow.IPTTL)
	case f.HasIPv6():
		fields = append(fields, flow.IPv6Src, flow.IPv6Dst, flow.IPTTL)
	}
	if f.HasICMP() {
		fields = append(fields, flow.ICMPType, flow.ICMPCode)
	}
	for _, f := range fields {
		if d := check(f, f.Info().Name); d != "" {
			return d
		}
	}
	if f.HasICMPv6() {
		if d := check(flow.ICMPv6Type, "icmp_type") + check(flow.ICMPv6Code, "icmp_code"); d != "" {
			return d
		}
	}
	if f.HasND() {
		// The switch shows both link-layer addresses, whatever the type.
		fields := []flow.Field{flow.NDTarget, flow.NDSLL, flow.NDTLL}
		for _, f := range fields {
			if d := check(f, f.Info().Name); d != "" {
				return d
			}
		}
	}
	if f.HasL4(packet.ProtoTCP) || f.HasL4(packet.ProtoUDP) {
		return check(flow.TCPSrc, "tp_src") + check(flow.TCPDst, "tp_dst")
	}
	return ""
}

// A real switch with the compiled flows does with random packets what the model
// does: the same flows, ports, headers and registers.
func TestModelIsTrue(t *testing.T) {
	r := newReal(t)
	worlds, packets := 12, 40
	if soak {
		worlds, packets = 200, 150
	}
	setRapid(t, "checks", fmt.Sprint(worlds))
	kinds := make(map[string]int)
	rapid.Check(t, func(t *rapid.T) {
		d := rapidDice{t}
		w, err := randomWorld(d, modeFlow, modeVSID)
		if err != nil {
			t.Fatal(err)
		}
		var models []*sim.Switch
		var all [][]sim.Port
		index := make(map[string]int)
		for i, name := range w.hosts {
			h, _ := w.net.Host(name)
			index[name], models, all = i, append(models, h.Switch), append(all, ports(w.views[name]))
		}
		bridges, err := r.load(models, all)
		if err != nil {
			t.Fatal(err)
		}
		var j sim.Journey
		for range packets {
			in := w.randomPacket(d)
			w.run(w.net, &in, &j)
			v := w.intent(&in)
			kinds[kindOf(&in, &v)]++
			for _, hop := range j.Hops {
				if len(hop.Result.Branches) > 0 {
					break // which bucket a switch takes is its own affair
				}
				if diff := bridges[index[hop.Host]].compare(&hop.In, hop.Result); diff != "" {
					t.Fatalf("%s\n%s\nmodel:\n%s", in, diff, hop.Result)
				}
			}
		}
	})
	t.Logf("%d traces, %d kinds of verdicts", r.traces, len(kinds))
	if r.traces < worlds*packets/2 {
		t.Errorf("only %d traces", r.traces)
	}
}

// The comparison with the switch is no formality: a model with one wrong flow
// is found out by the packets that meet it.
func TestComparisonNotices(t *testing.T) {
	w := fullWorld(t)
	r := newReal(t)
	host := w.seats[0].host
	right := w.hostSwitch(host)
	bridges, err := r.load([]*sim.Switch{right}, [][]sim.Port{ports(w.views[host])})
	if err != nil {
		t.Fatal(err)
	}
	s := w.seats[0]
	in := sim.Input{Port: s.port, Frame: udp(s.vm.CA.Addr(), netip.MustParseAddr("10.0.3.34"), 64, s.vm.MAC)}
	var res sim.Result
	right.Run(&in, &res)
	if diff := bridges[0].compare(&in, &res); diff != "" || len(res.Outputs) != 1 {
		t.Fatalf("%s\n%s", diff, &res)
	}
	noticed := make(map[string]int)
	for _, m := range mutants(host, right.Flows(), nil) {
		if !slices.ContainsFunc(res.Path, func(p sim.Step) bool { return p.Index == m.index }) {
			continue
		}
		wrong, err := sim.NewSwitch(m.flows, ports(w.views[host]), w.flows[host].Groups...)
		if err != nil {
			continue
		}
		var other sim.Result
		wrong.Run(&in, &other)
		if bridges[0].compare(&in, &other) != "" {
			noticed[m.op]++
		}
	}
	for _, op := range []string{"lost flow", "drops", "lost action", "other constant", "other port", "skips a table", "shadowed"} {
		if noticed[op] == 0 {
			t.Errorf("no %q was noticed: %v", op, noticed)
		}
	}
}
