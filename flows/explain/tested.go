package explain

import (
	"maps"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// Tested returns which bits of which fields the flows of a host's table look at.
// sure is false where there are flows of which nobody knows that.
func (t *Tracer) Tested(host string, table uint8) (bits map[flow.Field]flow.Value, sure bool) {
	h := t.host(host)
	if h.err != nil || len(h.blind) > 0 {
		return nil, false
	}
	if h.tested == nil {
		h.tested = make(map[uint8]map[flow.Field]flow.Value)
		fs := h.model.Flows()
		for i := range fs {
			m := h.tested[fs[i].Table]
			if m == nil {
				m = make(map[flow.Field]flow.Value)
				h.tested[fs[i].Table] = m
			}
			for _, x := range fs[i].Match {
				m[x.Field] = m[x.Field].Or(x.Mask)
			}
		}
	}
	return maps.Clone(h.tested[table]), true
}

// Before returns what a field held when a packet came to step k of a hop, whose
// host must be one that is known.
func (t *Tracer) Before(h *Hop, k int, f flow.Field) flow.Value {
	return t.host(h.Host).model.At(&h.Input, k)(f)
}
