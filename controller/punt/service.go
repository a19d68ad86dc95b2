package punt

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/routeradv"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Channel is a connection to a switch for packets: an [openflow.PacketChannel].
type Channel interface {
	Next(ctx context.Context) (*openflow.PacketIn, error)
	Send(ctx context.Context, p *openflow.PacketOut) error
	Close() error
}

// Options are what a [Service] needs.
type Options struct {
	Log  *slog.Logger
	Dial func(ctx context.Context) (Channel, error)
	// Lookup returns the VM at a port; false where the policy has none there. The
	// result must not be modified any more. Many goroutines may call it.
	Lookup func(port uint32) (*Port, bool)
	// Ports lists the ports with VMs.
	Ports func() []uint32
	// MayAnswer, if not nil, tells whether the host is still this controller's:
	// what comes else is not answered.
	MayAnswer func() bool
	// Count, if not nil, is told what became of each packet.
	Count func(reason flows.PuntReason, result string)

	Queue        int           // packets that wait, of all VMs; 0: 512
	QueuePerVM   int           // packets that wait, of one VM; 0: 32
	ReconnectMax time.Duration // the longest pause between attempts to connect; 0: 10 s
	Advertise    time.Duration // how often VMs are told of the router unasked; 0: 30 min
}

// What became of packets, besides the [responder.Reason] for which there is no
// answer.
const (
	Answered   = "answered"   // the answer was given to the VM's port
	Fragmented = "fragmented" // it was sent on in fragments
	NoPlace    = "no-place"   // the queue was full
	NoVM       = "no-vm"      // no VM is at the port any more
	Frozen     = "frozen"     // another controller may have the host
	Failed     = "failed"     // the connection ended, or the program is at fault
)

// Results returns all that may become of a packet.
func Results() []string {
	all := []string{Answered, Fragmented, NoPlace, NoVM, Frozen, Failed}
	for r := responder.Reason(1); r < responder.NumReasons; r++ {
		all = append(all, r.String())
	}
	return all
}

// Service answers the packets of one host.
type Service struct {
	o     Options
	poke  chan struct{} // capacity 1: what the policy says of VMs may have changed
	queue *queue
	told  map[uint32]advertised // what VMs were told unasked; the advertiser's own
}

// New returns a service that does nothing before [Service.Run].
func New(o Options) *Service {
	setDefault(&o.Queue, 512)
	setDefault(&o.QueuePerVM, 32)
	setDefault(&o.ReconnectMax, 10*time.Second)
	setDefault(&o.Advertise, 30*time.Minute)
	if o.Count == nil {
		o.Count = func(flows.PuntReason, string) {}
	}
	return &Service{o: o, poke: make(chan struct{}, 1), queue: newQueue(o.QueuePerVM, o.Queue), told: make(map[uint32]advertised)}
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Changed says that what Lookup returns may have changed: VMs whose router
// advertisement is another now are told.
func (s *Service) Changed() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

const firstPause = 50 * time.Millisecond

// Run answers until ctx ends, whose error it returns. Run it once.
func (s *Service) Run(ctx context.Context) error {
	pause := firstPause
	for ctx.Err() == nil {
		start := time.Now()
		err := s.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(start) > s.o.ReconnectMax {
			pause = firstPause
		}
		// The host's own connection tells the operator of outages.
		s.o.Log.Debug("no connection for packets to the host's switch", "error", err)
		t := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, s.o.ReconnectMax)
	}
	return ctx.Err()
}

// connection lives through one connection and returns why it ended.
func (s *Service) connection(ctx context.Context) error {
	c, err := s.o.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, run := range []func(context.Context, Channel) error{s.receive, s.serve, s.advertise} {
		wg.Go(func() { cancel(run(ctx, c)) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// receive puts what comes into the queue. It never waits for answers.
func (s *Service) receive(ctx context.Context, c Channel) error {
	for {
		in, err := c.Next(ctx)
		if err != nil {
			return err
		}
		p, ok := read(in)
		if ok && !s.queue.put(p) {
			s.o.Count(p.Reason, NoPlace)
		}
	}
}

// serve answers what is in the queue.
func (s *Service) serve(ctx context.Context, c Channel) error {
	for {
		p, ok := s.queue.take()
		if !ok {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.queue.wake:
			}
			continue
		}
		result, err := s.one(ctx, c, &p)
		s.o.Count(p.Reason, result)
		if err != nil {
			return err
		}
	}
}

// one answers one packet. An error ends the connection.
func (s *Service) one(ctx context.Context, c Channel, p *Packet) (result string, err error) {
	// Whatever is in a frame, a tenant wrote it: a fault that it brings to light
	// costs one answer, not the answers of all.
	defer func() {
		if f := recover(); f != nil {
			s.o.Log.Error("internal error, please report it: answering a packet", "reason", p.Reason, "fault", f)
			result, err = Failed, nil
		}
	}()
	if s.o.MayAnswer != nil && !s.o.MayAnswer() {
		return Frozen, nil
	}
	at, ok := s.o.Lookup(p.Port)
	if !ok {
		return NoVM, nil
	}
	if parts := onward(p, at); parts != nil {
		for _, part := range parts {
			out := &openflow.PacketOut{InPort: p.Port, Actions: []flow.Action{flow.Output(flow.PortTable)}, Data: part}
			if err := c.Send(ctx, out); err != nil {
				return Failed, err
			}
		}
		return Fragmented, nil
	}
	out, err := answer(p, at)
	if err != nil {
		var why responder.Reason
		if errors.As(err, &why) {
			return why.String(), nil
		}
		return Failed, nil
	}
	if err := send(ctx, c, p.Port, out); err != nil {
		return Failed, err
	}
	return Answered, nil
}

func send(ctx context.Context, c Channel, port uint32, frame []byte) error {
	return c.Send(ctx, &openflow.PacketOut{Actions: []flow.Action{flow.Output(port)}, Data: frame})
}

// advertised is what the VM at a port was told unasked.
type advertised struct {
	frame    string
	prefixes []netip.Prefix
}

// settle is how long the advertiser waits for more when something has changed.
const settle = 300 * time.Millisecond

// pace is the pause between two advertisements to VMs of one host.
const pace = 5 * time.Millisecond

// advertise tells VMs of the router: all of them when the connection begins and
// then from time to time, and those for whom something has changed at once.
func (s *Service) advertise(ctx context.Context, c Channel) error {
	tick := time.NewTicker(s.o.Advertise)
	defer tick.Stop()
	all := true
	for {
		if err := s.tell(ctx, c, all); err != nil {
			return err
		}
		all = false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.poke:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(settle):
			}
		case <-tick.C:
			all = true
		}
	}
}

// tell sends each VM its advertisement if it is another than the last one, or if
// all are to have one.
func (s *Service) tell(ctx context.Context, c Channel, all bool) error {
	if s.o.MayAnswer != nil && !s.o.MayAnswer() {
		return nil
	}
	here := make(map[uint32]bool)
	for _, port := range s.o.Ports() {
		here[port] = true
		at, ok := s.o.Lookup(port)
		was, told := s.told[port]
		if !ok || !at.DHCP && !told {
			continue
		}
		frame, now := advertisement(at, was.prefixes)
		if frame == nil || !all && string(frame) == was.frame {
			continue
		}
		if err := send(ctx, c, port, frame); err != nil {
			return err
		}
		// Without what is gone, it is what the next one is compared with.
		frame, _ = advertisement(at, nil)
		s.told[port] = advertised{string(frame), now}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pace):
		}
	}
	for port := range s.told {
		if !here[port] {
			delete(s.told, port)
		}
	}
	return nil
}

// advertisement returns what a VM is told unasked, nil for nothing, where it knows
// of the prefixes had; and the prefixes that it knows of then.
func advertisement(at *Port, had []netip.Prefix) ([]byte, []netip.Prefix) {
	vm := at.VM
	if !at.DHCP {
		vm.Prefixes = nil
	}
	var now, gone []netip.Prefix
	for _, p := range vm.Prefixes {
		if p.Prefix.Addr().Is6() {
			now = append(now, p.Prefix)
		}
	}
	for _, p := range had {
		if !slices.Contains(now, p) {
			gone = append(gone, p)
		}
	}
	frame, err := routeradv.Unsolicited(&vm, gone)
	if err != nil {
		return nil, now
	}
	return frame, now
}
