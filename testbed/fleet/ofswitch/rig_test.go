package ofswitch

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// client is a controller that sends and reads octets.
type client struct {
	nc net.Conn
	r  *bufio.Reader
}

func newClient(tb testing.TB, nc net.Conn) *client {
	tb.Helper()
	tb.Cleanup(func() { nc.Close() })
	c := &client{nc, bufio.NewReaderSize(nc, 64<<10)}
	c.write(tb, message(typeHello, 1, u16(1, 8), u32(1<<version13)))
	if h := c.read(tb); h[1] != typeHello {
		tb.Fatalf("the switch began with %s", show(h))
	}
	return c
}

func dial(tb testing.TB, path string) *client {
	tb.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	return newClient(tb, nc)
}

func (c *client) write(tb testing.TB, b []byte) {
	tb.Helper()
	if err := c.nc.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := c.nc.Write(b); err != nil {
		tb.Fatal(err)
	}
}

func (c *client) readErr() ([]byte, error) {
	head, err := c.r.Peek(headerLen)
	if err != nil {
		return nil, err
	}
	b := make([]byte, be.Uint16(head[2:]))
	_, err = io.ReadFull(c.r, b)
	return b, err
}

func (c *client) read(tb testing.TB) []byte {
	tb.Helper()
	for {
		b, err := c.readErr()
		if err != nil {
			tb.Fatal(err)
		}
		if b[1] == typeEchoRequest {
			c.write(tb, message(typeEchoReply, be.Uint32(b[4:]), b[headerLen:]))
			continue
		}
		return b
	}
}

const barrierXID = 0xbbbbbbbb

// exchange sends octets and returns what answers them: all that comes before the
// answer to a barrier.
func (c *client) exchange(tb testing.TB, b []byte) [][]byte {
	tb.Helper()
	c.write(tb, cat(b, message(typeBarrierRequest, barrierXID)))
	var got [][]byte
	for {
		m := c.read(tb)
		if m[1] == typeBarrierReply && be.Uint32(m[4:]) == barrierXID {
			return got
		}
		got = append(got, m)
	}
}

// serve makes a simulated switch listen until the test ends.
func serve(tb testing.TB, s *Switch) (path string) {
	tb.Helper()
	return ovstest.Serve(tb, s.Serve, s.Close)
}

// startReal starts Open vSwitch with an empty bridge br-int.
func startReal(tb testing.TB) *ovsproc.Switch {
	tb.Helper()
	sw := ovstest.Start(tb)
	addBridge(tb, sw)
	return sw
}

func addBridge(tb testing.TB, sw *ovsproc.Switch) {
	tb.Helper()
	if _, err := sw.Vsctl(tb.Context(), "add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure",
		"protocols=OpenFlow13", "other_config:datapath-id=0000000000000042"); err != nil {
		tb.Fatal(err)
	}
}

const testDatapathID = 0x42

// pair is a real and a simulated switch, with several connections to each.
type pair struct {
	real, sim       string // sockets
	realSw          *ovsproc.Switch
	simSw           *Switch
	realCon, simCon []*client
}

func startPair(tb testing.TB, connections int) *pair {
	tb.Helper()
	p := &pair{realSw: startReal(tb), simSw: New(Config{DatapathID: testDatapathID})}
	p.real, p.sim = p.realSw.MgmtSock("br-int"), serve(tb, p.simSw)
	for range connections {
		p.connect(tb)
	}
	return p
}

func (p *pair) connect(tb testing.TB) {
	tb.Helper()
	p.realCon, p.simCon = append(p.realCon, dial(tb, p.real)), append(p.simCon, dial(tb, p.sim))
}

// fresh makes both switches empty and all connections new. Generations stay.
func (p *pair) fresh(tb testing.TB, connections int) {
	tb.Helper()
	for i := range p.realCon {
		p.realCon[i].nc.Close()
		p.simCon[i].nc.Close()
	}
	p.realCon, p.simCon = nil, nil
	for range connections {
		p.connect(tb)
	}
	p.both(tb, 0, mod{command: cmdDelete, table: allTables}.bytes(1))
}

// forget makes both switches new: they know no generation any more.
func (p *pair) forget(tb testing.TB) {
	tb.Helper()
	if _, err := p.realSw.Vsctl(tb.Context(), "del-br", "br-int"); err != nil {
		tb.Fatal(err)
	}
	addBridge(tb, p.realSw)
	p.simSw.Restart(false)
}

// both sends the same octets to both switches over their i-th connections and
// compares the answers.
func (p *pair) both(tb testing.TB, i int, b []byte) (same bool, diff string) {
	tb.Helper()
	want, got := normalize(p.realCon[i].exchange(tb, b)), normalize(p.simCon[i].exchange(tb, b))
	if slices.Equal(want, got) {
		return true, ""
	}
	only := func(a, b []string) string {
		a = slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
		return strings.Join(a, "\n  ")
	}
	return false, fmt.Sprintf("only Open vSwitch answered\n  %s\nonly the simulation\n  %s", only(want, got), only(got, want))
}

// flows compares the flow tables, as they are read back.
func (p *pair) flows(tb testing.TB, i int) (same bool, diff string) {
	tb.Helper()
	return p.both(tb, i, dumpRequest(0xd))
}

// normalize renders replies; flow statistics become one list of flows, sorted
// and without their age.
func normalize(msgs [][]byte) []string {
	var out, flows []string
	for _, m := range msgs {
		if m[1] == typeMultipartReply && be.Uint16(m[8:]) == multipartFlow {
			for e := m[16:]; len(e) > 0; {
				n := be.Uint16(e)
				f := bytes.Clone(e[:n])
				clear(f[4:12])
				flows = append(flows, fmt.Sprintf("flow table %d priority %d cookie %#x: %x", f[2], be.Uint16(f[12:]), be.Uint64(f[24:]), f))
				e = e[n:]
			}
			continue
		}
		out = append(out, show(m))
	}
	slices.Sort(flows)
	return append(out, flows...)
}
