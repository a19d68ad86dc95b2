package openflow

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

var record = flag.Bool("record", false, "record testdata/messages.hex anew from a real switch")

const messagesFile = "testdata/messages.hex"

// recorder keeps what is read.
type recorder struct {
	net.Conn
	mu  sync.Mutex
	got bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.mu.Lock()
	r.got.Write(b[:n])
	r.mu.Unlock()
	return n, err
}

// TestRecordMessages records what a real switch sends, one message a line, as
// the seeds of the fuzz tests.
func TestRecordMessages(t *testing.T) {
	if !*record {
		t.Skip("only with -record")
	}
	sw := bridge(t)
	conn, err := net.Dial("unix", sw.MgmtSock("br-int"))
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Conn: conn}
	s := session(t, r, Options{EchoInterval: 50 * time.Millisecond})
	for _, args := range [][]string{
		{"add-tlv-map", "br-int", "{class=0xffff,type=0,len=4}->tun_metadata0"},
		{"add-meter", "br-int", "meter=1 pktps bands=type=drop rate=1"},
		{"add-group", "br-int", "group_id=4294967040,type=all,bucket=output:1"},
		{"add-flow", "br-int", "table=0,priority=5,cookie=0x99,in_port=7,ip actions=controller"},
	} {
		if _, err := sw.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range foreignFlows {
		if _, err := sw.Ofctl(t.Context(), "add-flow", "br-int", "table=2,"+strings.TrimPrefix(f, "ok ")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ClaimMaster(soon(t), 5); err != nil {
		t.Fatal(err)
	}
	if err := s.ClaimMaster(soon(t), 4); err == nil {
		t.Fatal("no error to record")
	}
	bad := noPrerequisite(1)
	if err := s.Apply(soon(t), modsOf(Mod{Op: Add, Flow: enc(&bad)})); err == nil {
		t.Fatal("no error to record")
	}
	if err := s.Load(soon(t), modsOf(Mod{Op: Add, Flow: enc(&bad)})); err == nil {
		t.Fatal("no error to record")
	}
	if err := s.Apply(soon(t), adds(append(caFlows(3), *benchFlow()))); err != nil {
		t.Fatal(err)
	}
	readAll(t, s)
	if _, err := sw.Vsctl(t.Context(), "add-port", "br-int", "p1", "--", "set", "interface", "p1", "type=dummy", "ofport_request=7"); err != nil {
		t.Fatal(err)
	}
	await(t, s, func(e *PortStatus) bool { return e.Port.Name == "p1" })
	packet := "in_port=7,packet=020000000001020000000002080045000014000000004000000000000a0000010a000002,actions=table"
	for _, args := range [][]string{
		{"add-flow", "br-int", "table=9,priority=6,cookie=0x98,send_flow_rem,reg8=0,reg9=0,reg10=0,reg11=1 actions=drop"},
		{"del-flows", "br-int", "table=9"},
		{"packet-out", "br-int", packet},
	} {
		if _, err := sw.Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	await(t, s, func(*FlowRemoved) bool { return true })
	pr := &recorder{}
	if pr.Conn, err = net.Dial("unix", sw.MgmtSock("br-int")); err != nil {
		t.Fatal(err)
	}
	p, err := NewPacketChannel(soon(t), pr, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, format := range []byte{0, packetInFormat2} {
		if err := p.s.send(soon(t), kindSetConfig, appendNiciraMessage(nil, 1, nxtSetPacketInFormat, []byte{0, 0, 0, format})); err != nil {
			t.Fatal(err)
		}
		if err := p.s.Barrier(soon(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := sw.Ofctl(t.Context(), "packet-out", "br-int", packet); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Next(soon(t)); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); s.Counters().Received["echo-reply"] == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	fmt.Fprintln(&out, "# Messages that a real ovs-vswitchd 3.1 sent; recorded by `go test -run TestRecordMessages -record`.")
	for b := append(r.got.Bytes(), pr.got.Bytes()...); len(b) > 0; {
		h, err := readHeader(b)
		if err != nil || h.length > len(b) {
			t.Fatal("the recording ends in a message")
		}
		fmt.Fprintln(&out, hex.EncodeToString(b[:h.length]))
		b = b[h.length:]
	}
	if err := os.WriteFile(messagesFile, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// messages returns the recorded messages.
func messages(tb testing.TB) [][]byte {
	tb.Helper()
	f, err := os.Open(messagesFile)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all [][]byte
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4*maxLen)
	for sc.Scan() {
		if strings.HasPrefix(sc.Text(), "#") {
			continue
		}
		b, err := hex.DecodeString(sc.Text())
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b)
	}
	if sc.Err() != nil || len(all) == 0 {
		tb.Fatal("no messages recorded", sc.Err())
	}
	return all
}

// TestRecordedMessages: every kind of message that is decoded was recorded and
// is decoded without an error.
func TestRecordedMessages(t *testing.T) {
	d := newDecoder()
	seen := map[string]int{}
	for _, b := range messages(t) {
		h, err := readHeader(b)
		if err != nil || h.length != len(b) {
			t.Fatalf("%x: %v", b, err)
		}
		what, err := consume(d, h, b[headerLen:])
		if err != nil {
			t.Errorf("%x: %v", b, err)
		}
		seen[what]++
	}
	for _, want := range []string{"hello", "error 4", "error 11", "features", "echo", "barrier", "bundle 1", "bundle 3", "bundle 5", "bundle 7", "role",
		"flows", "*openflow.PacketIn", "*openflow.FlowRemoved", "*openflow.PortStatus", "packet-in2"} {
		if seen[want] == 0 {
			t.Errorf("no %s recorded; there are %v", want, seen)
		}
	}
}

// consume decodes a message as the session would and says what it was.
func consume(d *decoder, h header, body []byte) (string, error) {
	switch h.kind {
	case typeHello:
		readHello(h, body)
		return "hello", nil
	case typeError:
		e := readError(h, body)
		if e.Error() == "" || len(e.Data) > maxErrorData {
			return "", fmt.Errorf("error with text %q and %d octets", e.Error(), len(e.Data))
		}
		return fmt.Sprint("error ", e.Type), nil
	case typeEchoRequest, typeEchoReply:
		return "echo", nil
	case typeBarrierReply:
		return "barrier", nil
	case typeFeaturesReply:
		_, err := readFeatures(body)
		return "features", err
	case typeRoleReply:
		_, _, err := readRole(body)
		return "role", err
	case typeMultipartReply:
		if len(body) < 8 {
			return "", io.ErrUnexpectedEOF
		}
		if err := d.entries(body[8:], func(e *Entry) error {
			if _ = e.Cookie(); e.Odd == nil {
				_ = e.Key()
			}
			return nil
		}); err != nil {
			return "flows", err
		}
		return "flows", d.flowStats(body[8:], func(s *Stat) error { return checkStat(d, s) })
	}
	e, err := d.event(h, body)
	if h.kind == typeExperimenter {
		if err == nil {
			return "packet-in2", nil
		}
		_, kind, err := readBundleReply(body)
		return fmt.Sprint("bundle ", kind), err
	}
	return fmt.Sprintf("%T", e), err
}

// checkStat: what was decoded can be sent again and is decoded to the same, and
// what was not can be deleted.
func checkStat(d *decoder, s *Stat) error {
	m := s.Delete()
	if _, err := appendFlowMod(nil, 1, &m); err != nil {
		panic(fmt.Sprintf("cannot delete %s: %v", s.Text(), err))
	}
	if s.Unknown != "" {
		if s.Actions != nil || len(s.Raw) == 0 || len(s.RawMatch) == 0 || s.Match != nil && !s.MatchKnown {
			panic("an unknown flow is half known")
		}
		return nil
	}
	e, err := Encode(&s.Flow)
	if err != nil {
		panic(fmt.Sprintf("cannot encode %s: %v", s.Text(), err))
	}
	b, err := appendFlowMod(nil, 1, &Mod{Op: Add, Flow: e})
	if err != nil {
		panic(fmt.Sprintf("cannot send %s: %v", s.Text(), err))
	}
	var again Stat
	if err := newDecoder().flowStat(asStat(&s.Flow, b), &again); err != nil || again.Unknown != "" || !again.Equal(&s.Flow) {
		panic(fmt.Sprintf("%s came back as %s, %q, %v", s.Text(), again.Text(), again.Unknown, err))
	}
	return nil
}

// FuzzMessage decodes one message of any type: nothing panics, and what was
// understood is consistent.
func FuzzMessage(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		h, err := readHeader(b)
		if err != nil || h.length > len(b) {
			return
		}
		_, err = consume(newDecoder(), h, b[headerLen:h.length])
		_ = err // a malformed message is one
	})
}

// FuzzFlowUpdates decodes one message of a flow monitor: nothing panics, and a
// change is told for each 24 octets at most.
func FuzzFlowUpdates(f *testing.F) {
	head := "ffff0000000000004f4e46000000074e"
	for _, s := range []string{"", "0008000300000009", "002000000000000700640000000403000000000000004e560001000400000000"} {
		b, err := hex.DecodeString(head + s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		n := 0
		err := newDecoder().flowUpdates(b, func(c *FlowChange) {
			n++
			if c.Kind > FlowModified || c.Flow.Match != nil && !c.MatchKnown {
				panic(fmt.Sprintf("%+v", c))
			}
		})
		_ = err // a malformed message is one
		if n > len(b)/24 {
			panic(fmt.Sprintf("%d changes in %d octets", n, len(b)))
		}
	})
}

// FuzzFlowStats decodes one ofp_flow_stats.
func FuzzFlowStats(f *testing.F) {
	for _, b := range messages(f) {
		if b[1] != typeMultipartReply {
			continue
		}
		for c := (cursor{b: b[headerLen+8:]}); c.more(); {
			f.Add(c.bytes(int(c.peek16())))
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		d := newDecoder()
		var s Stat
		if d.flowStat(b, &s) == nil {
			if err := checkStat(d, &s); err != nil {
				panic(err)
			}
			// The other form says the same.
			var e Entry
			if err := d.encode(b, &e); err != nil || (e.Odd == nil) != (s.Unknown == "") {
				panic(fmt.Sprintf("%v, %v, %q", e.Odd, err, s.Unknown))
			}
			if e.Odd == nil && Encoded(e.Octets) != enc(&s.Flow) || e.Odd != nil && e.Odd.Unknown != s.Unknown || e.Cookie() != s.Cookie {
				panic("the octets are those of another flow")
			}
		}
	})
}

// FuzzEncoded decodes and sends any octets as an Encoded: nothing panics, and
// what is a flow is one flow only.
func FuzzEncoded(f *testing.F) {
	for _, g := range append(caFlows(2), *benchFlow(), flow.Flow{}, flow.Flow{Table: 253, Cookie: 0x4e56 << 48}) {
		f.Add(string(enc(&g)))
	}
	f.Fuzz(func(_ *testing.T, s string) {
		e := Encoded(s)
		e.Text()
		e.Drops()
		if e.SameEntry(e) && e.Compare(e) != 0 {
			panic("an entry is not itself")
		}
		for _, op := range []Op{Add, DeleteStrict} {
			b, err := appendBundleAdd(nil, 1, 1, &Mod{Op: op, Flow: e})
			if err == nil && (len(b) > maxLen || len(b)&7 != 0 && op == DeleteStrict) {
				panic(fmt.Sprintf("%d octets", len(b)))
			}
		}
		g, err := e.Decode()
		if err != nil {
			return
		}
		if g.Table != e.Table() || g.Priority != e.Priority() || g.Cookie != e.Cookie() {
			panic("decoded as another flow")
		}
		again, err := Encode(&g)
		if err != nil {
			panic(fmt.Sprintf("cannot encode %s: %v", g.Text(), err))
		}
		if h, err := again.Decode(); err != nil || !h.Equal(&g) {
			panic(fmt.Sprintf("%s became %s, %v", g.Text(), h.Text(), err))
		}
	})
}

// FuzzStream feeds a session whatever bytes behind a good handshake, while
// requests wait: it ends, releases everybody, and nothing panics.
func FuzzStream(f *testing.F) {
	for _, b := range messages(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, fk := newFake(t, Options{})
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = io.Copy(io.Discard, fk.conn) })
		wg.Go(func() { _ = s.Barrier(context.Background()) })
		wg.Go(func() { _ = s.Apply(context.Background(), adds(caFlows(3))) })
		wg.Go(func() { _ = s.ReadFlows(context.Background(), 0, 0, func(*Stat) error { return nil }) })
		_, _ = fk.conn.Write(b)
		fk.conn.Close()
		wg.Wait()
		if err := s.Close(); err != nil || s.Err() == nil {
			t.Error(err, s.Err())
		}
	})
}
