package main

import (
	"fmt"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
)

// result says what became of the request that came furthest.
func (p *pinger) result() *pinged {
	out := &pinged{Sent: len(p.sent), Seen: []saw{}, Notes: []string{}}
	best, most := 0, -1
	for seq := range p.sent {
		n := 0
		for w := range p.watches {
			if _, ok := p.sawAt(seq, w); ok {
				n++
			}
		}
		if n > most {
			best, most = seq, n
		}
	}
	p.tell(out, best, p.request, 0)
	if p.ended(best, p.request, 0) || p.answered(best) {
		p.conclude(out, best)
		return out
	}
	out.Verdict, out.Died = p.lost(best, p.request, 0, "the request")
	return out
}

// tell lists where a message was seen.
func (p *pinger) tell(out *pinged, seq int, tr *explain.Trace, base int) {
	for w := base; w < len(p.watches) && (base > 0 || w < p.asked); w++ {
		at, ok := p.sawAt(seq, w)
		if !ok {
			continue
		}
		h := &tr.Hops[p.watches[w].Hop]
		s := &h.Steps[p.watches[w].Step]
		text := fmt.Sprintf("in by port %d%s", h.Port, named(h.PortName))
		if p.watches[w].Last {
			text = hopEnd(h)
		}
		out.Seen = append(out.Seen, saw{Answer: base > 0, Host: h.Host, Table: s.Table, Flow: s.Text, Owner: s.Owner, Source: s.Source,
			Millis: float64(at.Sub(p.sent[seq]).Microseconds()) / 1000, text: text})
	}
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// hopEnd says what a host does with a message at the end of its tables.
func hopEnd(h *explain.Hop) string {
	last := &h.Steps[len(h.Steps)-1]
	if len(h.Result.Punts) > 0 {
		return "out of " + last.Table + " to the controller"
	}
	if len(h.Sent) == 0 {
		return "ends in " + last.Table
	}
	s := &h.Sent[0]
	text := fmt.Sprintf("out of %s by port %d%s", last.Table, s.Port, named(s.PortName))
	if s.Wire != nil {
		text += ", " + s.Wire.String()
	}
	return text
}

// conclude says what came of a request that came to the end of its trace.
func (p *pinger) conclude(out *pinged, seq int) {
	o := &p.request.Outcomes[0]
	after := ""
	if w, ok := p.find(0, len(p.request.Hops)-1, true); ok {
		if at, ok := p.sawAt(seq, w); ok {
			after = fmt.Sprintf(", after %.1f ms", float64(at.Sub(p.sent[seq]).Microseconds())/1000)
		}
	}
	switch o.Kind {
	case explain.Answered:
		out.Arrived, out.Answered = true, true
		out.Verdict = "arrived, and " + o.Text + after
	case explain.Delivered:
		out.Arrived = true
		out.Verdict = "arrived: " + o.Text + after
		p.concludeAnswer(out, seq)
	default:
		h := &p.request.Hops[len(p.request.Hops)-1]
		out.Verdict, out.Died = o.Text, &h.Steps[len(h.Steps)-1]
		for i := range h.Steps {
			if h.Steps[i].Drop != "" { // the controller may get what it drops
				out.Died = &h.Steps[i]
			}
		}
	}
}

// concludeAnswer says whether the guest answered a request that it got.
func (p *pinger) concludeAnswer(out *pinged, seq int) {
	if p.answer == nil {
		out.Verdict += "; no record says which VM that is, so nobody watched for an answer"
		return
	}
	p.tell(out, seq, p.answer, p.asked)
	if w, ok := p.find(p.asked, len(p.answer.Hops)-1, true); ok {
		at, ok := p.sawAt(seq, w)
		if ok && p.answer.Outcomes[0].Kind == explain.Delivered {
			out.Answered = true
			out.Verdict += fmt.Sprintf("; the guest answered, and its answer was back after %.1f ms", float64(at.Sub(p.sent[seq]).Microseconds())/1000)
			return
		}
		if ok {
			h := &p.answer.Hops[len(p.answer.Hops)-1]
			out.Verdict += "; the guest answered, but its answer was " + p.answer.Outcomes[0].Text
			out.Died = &h.Steps[len(h.Steps)-1]
			return
		}
	}
	if in, ok := p.find(p.asked, 0, false); ok {
		if _, came := p.sawAt(seq, in); !came {
			out.Verdict += "; the guest did not answer: is it up, and does a firewall in it drop the ping?"
			return
		}
	}
	text, died := p.lost(seq, p.answer, p.asked, "its answer")
	out.Verdict += "; the guest answered, but " + text
	out.Died = died
}

// lost says between which two points a message vanished that was not seen at the
// end of its trace.
func (p *pinger) lost(seq int, tr *explain.Trace, base int, what string) (text string, died *explain.Step) {
	for i := len(tr.Hops) - 1; i >= 0; i-- {
		h := &tr.Hops[i]
		if h.Unknown != "" {
			continue
		}
		if w, ok := p.find(base, i, true); ok {
			if _, ok := p.sawAt(seq, w); ok && i+1 < len(tr.Hops) {
				next := &tr.Hops[i+1]
				if next.Unknown != "" {
					return fmt.Sprintf("%s left %s for %s, of which nothing is known: %s", what, h.Host, next.Host, next.Unknown), nil
				}
				return fmt.Sprintf("%s was lost between %s and %s: it left as %s, and did not come in: look at the underlay (route, ARP, MTU, firewall)", what, h.Host, next.Host, wireOf(h)), nil
			}
		}
		if w, ok := p.find(base, i, false); ok {
			if _, ok := p.sawAt(seq, w); ok {
				s := &h.Steps[len(h.Steps)-1]
				return fmt.Sprintf("%s came into %s and was not seen at the flow that should decide there: nvgre-ofctl trace --ofproto tells how the switch goes on", what, h.Host), s
			}
		}
	}
	return fmt.Sprintf("%s was seen nowhere: %s", what, p.unwatched(tr)), nil
}

// unwatched says what to expect of a message that nobody saw.
func (p *pinger) unwatched(tr *explain.Trace) string {
	if len(tr.Hops) > 0 && tr.Hops[0].Unknown != "" {
		return tr.Hops[0].Unknown
	}
	if len(p.watches) == 0 {
		return "no flow on its way can be watched without disturbing others; by the flows it is " + tr.Outcomes[0].Text
	}
	return "the switch did not take the packet, or another flow takes it there"
}

func wireOf(h *explain.Hop) string {
	for i := range h.Sent {
		if h.Sent[i].Wire != nil {
			return h.Sent[i].Wire.String()
		}
	}
	return "a frame"
}
