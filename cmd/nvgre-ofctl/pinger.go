package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/probe"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// pinger sends echo requests and watches them.
type pinger struct {
	*network
	tracer          *explain.Tracer
	host            string // where the sender is
	port            uint32
	frame           packet.Frame
	size            int
	request, answer *explain.Trace // by the live flows; answer may be nil

	id      probe.ID
	watches []probe.Watch // of the request, then of the answer
	asked   int           // how many are of the request

	mu   sync.Mutex
	sent []time.Time           // by sequence number
	seen map[sight]time.Time   // first time
	news chan struct{}         // capacity 1
	taps map[string]*switchTap // by host
}

// sight is a message that was seen at a watch.
type sight struct{ seq, watch int }

// switchTap is a pinger's connections to one switch.
type switchTap struct {
	flows   *openflow.Session
	packets *openflow.PacketChannel
}

const (
	// tapLife is how many seconds longer than needed a watching flow stays where
	// nobody removes it.
	tapLife = 5
	// settle is how long a switch has to apply new flows to what it has cached
	// of the old ones: until then they do not see packets like those of late.
	settle = 200 * time.Millisecond
	// untapTime is how long the removal of watching flows may take.
	untapTime = 3 * time.Second
)

// run sends requests until one is answered, or none is left.
func (p *pinger) run(ctx context.Context, count int, interval time.Duration) error {
	id, number := newID()
	p.id, p.seen, p.news, p.taps = id, make(map[sight]time.Time), make(chan struct{}, 1), make(map[string]*switchTap)
	p.watches = probe.Watches(p.tracer, p.request, number, 1, false)
	p.asked = len(p.watches)
	if p.answer != nil {
		p.watches = append(p.watches, probe.Watches(p.tracer, p.answer, number, uint16(1+p.asked), true)...)
	}
	watch, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if err := p.tap(watch, number, &wg); err != nil {
		p.untap(ctx)
		return err
	}
	defer p.untap(ctx)
	if err := p.putFlows(ctx, count, interval); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settle):
	}
	for seq := range count {
		data := probe.Bytes(&p.frame, probe.ID{Nonce: id.Nonce, Seq: uint16(seq)}, p.size)
		p.mu.Lock()
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		out := &openflow.PacketOut{InPort: p.port, Actions: []flow.Action{flow.Output(flow.PortTable)}, Data: data}
		if err := p.taps[p.host].packets.Send(ctx, out); err != nil {
			return fmt.Errorf("host %s: %w", p.host, err)
		}
		if done, err := p.await(ctx, seq, interval); err != nil || done {
			return err
		}
	}
	return nil
}

// tap opens connections to the switches that have something to watch, and to the
// sender's.
func (p *pinger) tap(ctx context.Context, number uint16, wg *sync.WaitGroup) error {
	hosts := []string{p.host}
	for i := range p.watches {
		hosts = append(hosts, p.watches[i].Host)
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	taps, errs := make([]*switchTap, len(hosts)), make([]error, len(hosts))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, host := range hosts {
		group.Go(func() error {
			taps[i], errs[i] = p.open(ctx, host, number)
			return nil
		})
	}
	_ = group.Wait() // none fails
	var failed error
	for i, host := range hosts {
		if taps[i] != nil {
			p.taps[host] = taps[i]
			wg.Go(func() { p.take(ctx, taps[i].packets) })
		}
		failed = cmp.Or(failed, errs[i])
	}
	return withCode(codeUnreachable, failed)
}

func (p *pinger) open(ctx context.Context, host string, number uint16) (*switchTap, error) {
	ep, conf, err := dumpAddress(p.settings, p.policy, &dumpOptions{}, host)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	s, err := controller.Dial(ctx, ep, conf, log)
	if err != nil {
		return nil, explainSwitch(host, ep, explainContext(ctx, err))
	}
	conn, err := ep.Dial(ctx, conf)
	var c *openflow.PacketChannel
	if err == nil {
		c, err = openflow.NewPacketChannel(ctx, conn, number, openflow.Options{Log: log})
	}
	if err != nil {
		_ = s.Close()
		return nil, explainSwitch(host, ep, explainContext(ctx, err))
	}
	return &switchTap{s, c}, nil
}

// mods returns the changes that put a host's watching flows in place, or remove
// them.
func (p *pinger) mods(host string, op openflow.Op, seconds uint16) (all []openflow.Mod, err error) {
	for i := range p.watches {
		w := &p.watches[i]
		if w.Host != host {
			continue
		}
		e, err := openflow.Encode(&w.Flow)
		if err != nil {
			return nil, err
		}
		m := openflow.Mod{Op: op, Flow: e}
		if op == openflow.Add {
			m.HardTimeout = seconds
		} else {
			m.CookieMask = flows.CookieMask
		}
		all = append(all, m)
	}
	return all, nil
}

func (p *pinger) putFlows(ctx context.Context, count int, interval time.Duration) error {
	life := uint16(min(int64(time.Duration(count)*interval/time.Second)+tapLife, 65535))
	var group errgroup.Group
	for host, t := range p.taps {
		group.Go(func() error {
			mods, err := p.mods(host, openflow.Add, life)
			if err == nil && len(mods) > 0 {
				err = t.flows.Apply(ctx, slices.Values(mods))
			}
			if err != nil {
				return fmt.Errorf("host %s: watching the echo: %w", host, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// untap removes the watching flows, also after an interrupt. What cannot be
// removed ends by itself.
func (p *pinger) untap(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), untapTime)
	defer cancel()
	var group errgroup.Group
	for host, t := range p.taps {
		group.Go(func() error {
			if mods, err := p.mods(host, openflow.DeleteStrict, 0); err == nil && len(mods) > 0 {
				_ = t.flows.Apply(ctx, slices.Values(mods))
			}
			_ = t.packets.Close()
			_ = t.flows.Close()
			return nil
		})
	}
	_ = group.Wait()
}

// take notes the copies of our messages until the channel ends.
func (p *pinger) take(ctx context.Context, c *openflow.PacketChannel) {
	for {
		in, err := c.Next(ctx)
		if err != nil {
			return
		}
		now := time.Now()
		e, ok := probe.Parse(in.Data)
		watch := int(in.Cookie&^flows.CookieMask) - 1
		if !ok || e.Nonce != p.id.Nonce || !flows.Probe(in.Cookie) || watch < 0 || watch >= len(p.watches) || e.Reply != (watch >= p.asked) {
			continue
		}
		p.mu.Lock()
		if s := (sight{int(e.Seq), watch}); p.seen[s].IsZero() {
			p.seen[s] = now
		}
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// await waits until nothing more is to be expected of a request; done says that
// it came to its end, and its answer, if there may be one, too.
func (p *pinger) await(ctx context.Context, seq int, limit time.Duration) (done bool, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		if p.ended(seq, p.request, 0) && (p.answer == nil || p.ended(seq, p.answer, p.asked)) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-timer.C:
			return false, nil
		case <-p.news:
		}
	}
}

// find returns the watch at the beginning or the end of a hop of a trace whose
// watches begin with the one numbered base.
func (p *pinger) find(base, hop int, last bool) (watch int, ok bool) {
	end := p.asked
	if base > 0 {
		end = len(p.watches)
	}
	for i := base; i < end; i++ {
		if w := &p.watches[i]; w.Hop == hop && (w.Last == last || w.Last && w.Step == 0) {
			return i, true
		}
	}
	return 0, false
}

func (p *pinger) sawAt(seq, watch int) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.seen[sight{seq, watch}]
	return t, ok
}

// answered reports whether an answer to a request was seen anywhere.
func (p *pinger) answered(seq int) bool {
	for w := p.asked; w < len(p.watches); w++ {
		if _, ok := p.sawAt(seq, w); ok {
			return true
		}
	}
	return false
}

// ended reports whether a message was seen at the end of its trace.
func (p *pinger) ended(seq int, tr *explain.Trace, base int) bool {
	w, ok := p.find(base, len(tr.Hops)-1, true)
	if !ok {
		return false
	}
	_, ok = p.sawAt(seq, w)
	return ok
}
