package verify

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/oracle"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/words"
)

// differ returns what distinguishes the walker's story from what is wanted, but
// for the frames; "" where nothing does.
func (w *walker) differ(x *want) string {
	if w.odd != nil {
		return ""
	}
	for _, l := range w.lost {
		if l.reason == sim.LossTooFar {
			return "it loops"
		}
	}
	wanted := 0
	if x.Kind != oracle.Dropped && x.Kind != oracle.Asked {
		wanted = 1
	}
	if why := w.differPunt(x); why != "" {
		return why
	}
	if n := len(w.outs) - w.tuns; n != wanted && !w.away(x) {
		return fmt.Sprintf("%d deliveries", n)
	}
	if x.Tunnelled {
		if w.tuns != 1 || w.hops[0].sends != 1 || !x.Through(w.outer) {
			return "another way through the underlay"
		}
	} else if w.tuns != 0 {
		return "sent into the underlay"
	}
	if w.away(x) {
		return ""
	}
	switch x.Kind {
	case oracle.Dropped:
		return w.differDrop(x)
	case oracle.Asked:
		return ""
	}
	hops := 1
	if x.Tunnelled {
		hops = 2
	}
	if len(w.lost) > 0 || len(w.hops) != hops {
		return "more than one packet"
	}
	o := w.delivery()
	if o.host.name != x.Host || o.back != (x.Kind == oracle.Answered) || !o.back && o.port != x.Port {
		return "delivered to another"
	}
	return ""
}

// away reports whether the packet goes to a host whose flows are not known.
func (w *walker) away(x *want) bool {
	return x.Tunnelled && len(w.hops) == 2 && !w.hops[1].host.given && w.hops[1].host.name == x.Host
}

// delivery returns the one packet that left the network.
func (w *walker) delivery() *sent {
	for i := range w.outs {
		if !w.outs[i].tunnel {
			return &w.outs[i]
		}
	}
	return nil
}

func (w *walker) differDrop(x *want) string {
	if x.Reason == oracle.NoTunnel && len(w.lost) == 1 && w.lost[0].reason == sim.LossNoTunnel && w.lost[0].host.name == x.Host {
		return ""
	}
	if len(w.lost) > 0 {
		return "lost in the underlay"
	}
	hops := 1
	if x.Tunnelled {
		hops = 2
	}
	last := &w.hops[len(w.hops)-1]
	if len(w.hops) != hops || last.host.name != x.Host {
		return "dropped on host " + last.host.name
	}
	drop := w.dropper(last)
	if drop == nil {
		return "ended without a drop flow: " + last.end.String()
	}
	if word, ok := flows.Reason(drop.flow.Cookie); !ok || word != x.drop {
		return "dropped for " + word.String()
	}
	return ""
}

// frames returns what distinguishes the frame delivered from the one wanted.
func (w *walker) frames(x *want, sp space) string {
	o := w.delivery()
	if o == nil {
		return ""
	}
	for word := range uint8(words.Count) {
		if isFrame(int(word)) && !same(&o.state, x.out, word, sp.cube) {
			return "another frame"
		}
	}
	return ""
}

// dropper returns the flow that drops the packet at its last hop: the last one, or
// one that has the controller tell its sender.
func (w *walker) dropper(last *hop) *rule {
	if len(w.punts) == 0 {
		if last.end != sim.EndDrop {
			return nil
		}
		return last.last
	}
	for _, t := range w.way {
		if _, drops := flows.Reason(t.rule.flow.Cookie); drops && t.host == last.host {
			return t.rule
		}
	}
	return nil
}

// differPunt returns what distinguishes what the controller gets from what it
// should.
func (w *walker) differPunt(x *want) string {
	if x.Punt == 0 {
		if len(w.punts) > 0 {
			return "the controller gets it"
		}
		return ""
	}
	if len(w.punts) != 1 || w.hops[w.punts[0].hop].host.name != x.Host {
		return "the controller does not get it once"
	}
	p := &w.punts[0]
	if known, reason := p.state.resolve(words.Of(flow.Reg6).Word, nil); known>>words.Of(flow.Reg6).Shift&0xff != 0xff ||
		flows.PuntReason(reason>>words.Of(flow.Reg6).Shift&0xff) != PuntReason(x.Punt) {
		return "the controller gets it for another reason"
	}
	return ""
}

var puntTable, _ = flows.TableByName("punt")

// puntsRight reports whether what the VMs at some seats hand to the controller gets
// there, once and by their own meters.
func (p *prover) puntsRight(h *host, seats []seat) bool {
	right := true
	for i := range seats {
		met := false
		p.start(h)
		p.leaf = func(space) {
			met = true
			right = right && len(p.punts) == 1 && p.punts[0].meter == flows.VMMeter(seats[i].port) && len(p.outs) == 0 && p.odd == nil
		}
		p.table(puntTable, vmState(), space{cube: cube{inPort(seats[i].port)}})
		right = right && met
	}
	return right
}
