package punt_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/punt"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/frame"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// channel is a switch's end of a connection for packets.
type channel struct {
	in   chan *openflow.PacketIn
	out  chan *openflow.PacketOut
	once sync.Once
	done chan struct{}
}

func newChannel() *channel {
	return &channel{in: make(chan *openflow.PacketIn), out: make(chan *openflow.PacketOut), done: make(chan struct{})}
}

var errEnded = errors.New("ended")

func (c *channel) Next(ctx context.Context) (*openflow.PacketIn, error) {
	select {
	case p := <-c.in:
		return p, nil
	case <-c.done:
		return nil, errEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *channel) Send(ctx context.Context, p *openflow.PacketOut) error {
	select {
	case c.out <- p:
		return nil
	case <-c.done:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *channel) Close() error { c.once.Do(func() { close(c.done) }); return nil }

// rig is a service with its counts.
type rig struct {
	*channel
	service *punt.Service
	dials   chan *channel

	mu     sync.Mutex
	counts map[string]int
	ports  map[uint32]*punt.Port
	allow  bool
}

func (r *rig) count(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[what]
}

func (r *rig) set(port uint32, p *punt.Port) {
	r.mu.Lock()
	r.ports[port] = p
	r.mu.Unlock()
	r.service.Changed()
}

// faulty is the MTU of a VM that nobody can look up without a panic.
const faulty = 666

func start(t *testing.T, ports map[uint32]*punt.Port) *rig {
	r := &rig{channel: newChannel(), dials: make(chan *channel, 1), counts: make(map[string]int), ports: ports, allow: true}
	r.dials <- r.channel
	r.service = punt.New(punt.Options{
		Log: slog.New(slog.DiscardHandler), Queue: 6, QueuePerVM: 4, ReconnectMax: time.Millisecond,
		Dial: func(ctx context.Context) (punt.Channel, error) {
			select {
			case c := <-r.dials:
				return c, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Lookup: func(port uint32) (*punt.Port, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			p, ok := r.ports[port]
			if p != nil && p.VM.MTU == faulty {
				panic("a fault")
			}
			return p, ok
		},
		Ports: func() []uint32 {
			r.mu.Lock()
			defer r.mu.Unlock()
			var all []uint32
			for number, p := range r.ports {
				if p.VM.MTU != faulty {
					all = append(all, number)
				}
			}
			return all
		},
		MayAnswer: func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.allow },
		Count: func(reason flows.PuntReason, result string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.counts[reason.String()+" "+result]++
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.service.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return r
}

func at(dhcp bool, prefixes ...int) *punt.Port {
	vm := respondertest.VM()
	var keep []responder.Prefix
	for _, i := range prefixes {
		keep = append(keep, vm.Prefixes[i])
	}
	vm.Prefixes = keep
	return &punt.Port{VM: *vm, DHCP: dhcp}
}

func from(port uint32, why flows.PuntReason, data []byte) *openflow.PacketIn {
	return &openflow.PacketIn{Cookie: flows.CookieMark, Data: data, Match: flow.Match{
		flow.Exact(flow.InPort, flow.Uint(uint64(port))), flow.Exact(flow.Reg6, flow.Uint(uint64(why)|1400<<16)),
	}}
}

func packet() []byte {
	return frame.Header{EthDst: respondertest.RouterMAC, EthSrc: respondertest.MAC, TTL: 1,
		Src: netip.MustParseAddr("10.0.1.11"), Dst: netip.MustParseAddr("10.0.2.9")}.UDP(33000, 33434, nil)
}

func (r *rig) give(t *testing.T, p *openflow.PacketIn) {
	t.Helper()
	select {
	case r.in <- p:
	case <-time.After(10 * time.Second):
		t.Fatal("the service takes no packets")
	}
}

func (r *rig) get(t *testing.T) *openflow.PacketOut {
	t.Helper()
	select {
	case p := <-r.out:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is sent")
		return nil
	}
}

func (r *rig) await(t *testing.T, what string, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); r.count(what) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: %d, want %d", what, r.count(what), n)
		}
	}
}

// Each reason has its answer, which goes out by the port that the packet came by.
func TestAnswers(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(false, 0)})
	for reason, want := range map[flows.PuntReason][2]byte{
		flows.PuntTTL: {11, 0}, flows.PuntNoRoute: {3, 0}, flows.PuntNoHost: {3, 1}, flows.PuntToRouter: {3, 3}, flows.PuntTooBig: {3, 4},
	} {
		r.give(t, from(7, reason, packet()))
		out := r.get(t)
		if len(out.Actions) != 1 || out.Actions[0] != flow.Output(7) {
			t.Errorf("%s: %v", reason, out.Actions)
		}
		icmp := out.Data[34:]
		if [2]byte(icmp) != want || reason == flows.PuntTooBig && !bytes.Equal(icmp[4:8], []byte{0, 0, 1400 >> 8, 1400 & 0xff}) {
			t.Errorf("%s: %x", reason, icmp)
		}
		r.await(t, reason.String()+" "+punt.Answered, 1)
	}
}

// What is too big and may be fragmented goes on in fragments, from where the VM
// sent it.
func TestFragmented(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(false, 0)})
	b := frame.Header{EthDst: respondertest.MAC, EthSrc: respondertest.RouterMAC, TTL: 63,
		Src: netip.MustParseAddr("10.0.1.11"), Dst: netip.MustParseAddr("10.0.2.9")}.UDP(1, 2, make([]byte, 1400))
	b[14+6] = 0
	b[14+10], b[14+11] = 0, 0
	sum := frame.Checksum(b[14:34], 0)
	b[14+10], b[14+11] = byte(sum>>8), byte(sum)
	in := from(7, flows.PuntTooBig, b)
	in.Match = append(in.Match, flow.Exact(flow.Reg4, flow.Uint(1)))
	r.give(t, in)
	for i, length := range []int{1396, 52} {
		out := r.get(t)
		p, ok := frame.Read(out.Data)
		if !ok || len(p.IP) != length || p.EthSrc != respondertest.MAC || p.TTL != 64 || out.InPort != 7 || out.Actions[0] != flow.Output(flow.PortTable) {
			t.Errorf("fragment %d of %d octets: %v %x", i, len(p.IP), out.Actions, out.Data[:34])
		}
	}
	r.await(t, "too-big "+punt.Fragmented, 1)
}

// What has no answer is counted by its reason.
func TestNoAnswers(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(false, 0), 8: {VM: responder.VM{MTU: faulty}}})
	foreign := from(7, flows.PuntTTL, packet())
	foreign.Cookie = 1
	r.give(t, foreign)
	r.give(t, from(7, 0, packet()))
	cut := from(7, flows.PuntTTL, packet())
	cut.Length = 1000
	for _, c := range []struct {
		in   *openflow.PacketIn
		want string
	}{
		{from(9, flows.PuntTTL, packet()), "ttl " + punt.NoVM},
		{from(8, flows.PuntTTL, packet()), "ttl " + punt.Failed},
		{from(7, flows.PuntDHCP, packet()), "dhcp " + responder.Off.String()},
		{from(7, flows.PuntTTL, packet()[:20]), "ttl " + responder.Malformed.String()},
		{cut, "ttl " + responder.Malformed.String()},
	} {
		before := r.count(c.want)
		r.give(t, c.in)
		r.await(t, c.want, before+1)
	}
	r.mu.Lock()
	r.allow = false
	r.mu.Unlock()
	r.give(t, from(7, flows.PuntTTL, packet()))
	r.await(t, "ttl "+punt.Frozen, 1)
	known := make(map[string]bool)
	for _, name := range punt.Results() {
		known[name] = true
	}
	if !known[punt.NoPlace] || !known[responder.Off.String()] {
		t.Errorf("results %v", punt.Results())
	}
}

// A VM that floods has its places in the queue, and no more: another's packet is
// the next but one to be answered.
func TestFlood(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(false, 0), 8: at(false, 0)})
	// The service stands still with one answer, since nobody takes it.
	for range 20 {
		r.give(t, from(7, flows.PuntTTL, packet()))
	}
	r.await(t, "ttl "+punt.NoPlace, 15)
	r.give(t, from(8, flows.PuntTTL, packet()))
	r.give(t, &openflow.PacketIn{}) // taken when the one before has its place
	var order []uint32
	for range 3 {
		order = append(order, r.get(t).Actions[0].Port)
	}
	if order[1] != 8 && order[2] != 8 {
		t.Errorf("answered in the order %v", order)
	}
}

// A connection that ends is followed by another; what waits is answered then.
func TestReconnects(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(false, 0)})
	_ = r.Close()
	r.channel = newChannel()
	r.dials <- r.channel
	r.give(t, from(7, flows.PuntTTL, packet()))
	if out := r.get(t); out.Actions[0] != flow.Output(7) {
		t.Errorf("%v", out)
	}
}

// VMs are told of the router when the connection begins, and when something of
// it changes: a prefix that is gone among it.
func TestAdvertisements(t *testing.T) {
	r := start(t, map[uint32]*punt.Port{7: at(true, 0, 1), 8: at(true, 0), 9: at(false, 0, 1)})
	first := r.get(t)
	if first.Actions[0] != flow.Output(7) || first.Data[54] != 134 {
		t.Fatalf("%v: %x", first.Actions, first.Data)
	}
	changed := at(true, 0, 1)
	changed.VM.MTU = 1400
	r.set(7, changed)
	if second := r.get(t); bytes.Equal(second.Data, first.Data) {
		t.Error("the MTU is another, the advertisement is not")
	}
	renumbered := at(true, 0)
	renumbered.VM.Prefixes = append(renumbered.VM.Prefixes, responder.Prefix{Prefix: netip.MustParsePrefix("fd00:7::/64"), Router: netip.MustParseAddr("fd00:7::1")})
	r.set(7, renumbered)
	old, now := netip.MustParseAddr("fd00:1::").As16(), netip.MustParseAddr("fd00:7::").As16()
	if third := r.get(t); !bytes.Contains(third.Data, old[:]) || !bytes.Contains(third.Data, now[:]) {
		t.Errorf("renumbered by %x", third.Data)
	}
	r.service.Changed() // and nothing has
	r.set(8, at(true, 0, 1))
	if fourth := r.get(t); fourth.Actions[0] != flow.Output(8) {
		t.Errorf("told again: %v", fourth.Actions)
	}
}

// Frames that a tenant made up do no harm, whatever the reason that they came for.
func FuzzService(f *testing.F) {
	f.Add(uint8(1), packet())
	f.Add(uint8(6), packet())
	f.Add(uint8(8), []byte{0x33, 0x33})
	port := at(true, 0, 1)
	f.Fuzz(func(t *testing.T, why uint8, b []byte) {
		out, err := punt.Answer(flows.PuntReason(why), 1400, b, port)
		if (out == nil) == (err == nil) {
			t.Fatalf("%x and %v", out, err)
		}
	})
}
