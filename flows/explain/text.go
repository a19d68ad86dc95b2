package explain

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteText writes a trace for people to read.
func (tr *Trace) WriteText(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "from      %s\nto        %s\npacket    %s\n", tr.From, tr.To, tr.Packet)
	for i := range tr.Hops {
		tr.Hops[i].write(b)
	}
	fmt.Fprintln(b)
	for i := range tr.Outcomes {
		fmt.Fprintf(b, "verdict   %s\n", tr.Outcomes[i].Text)
	}
	switch {
	case tr.AsIntended && tr.Intended.Kind == Dropped:
		fmt.Fprintf(b, "intended  yes, with the policy and the ports as they are: %s\n", tr.Intended.Text)
	case tr.AsIntended:
		fmt.Fprintln(b, "intended  yes")
	default:
		fmt.Fprintf(b, "intended  %s\n", tr.Intended.Text)
	}
	for _, n := range tr.Notes {
		fmt.Fprintf(b, "note      %s\n", n)
	}
	return b.Flush()
}

func (h *Hop) write(b *bufio.Writer) {
	fmt.Fprintf(b, "\n%s: in by port %d", h.Host, h.Port)
	if h.PortName != "" {
		fmt.Fprintf(b, " (%s)", h.PortName)
	}
	if h.Wire != nil {
		fmt.Fprintf(b, ", out of %s", h.Wire)
	}
	fmt.Fprintln(b)
	if h.Unknown != "" {
		fmt.Fprintf(b, "  not known: %s\n", h.Unknown)
		return
	}
	for i := range h.Steps {
		s := &h.Steps[i]
		text := strings.TrimPrefix(s.Text, s.Table+" ")
		fmt.Fprintf(b, "  %-13s %s\n", s.Table, text)
		owner := s.Owner
		if s.Source != "" {
			owner += ", " + s.Source
		}
		fmt.Fprintf(b, "  %-13s   of %s\n", "", owner)
	}
	if len(h.Rewritten) > 0 {
		fmt.Fprintf(b, "  %-13s %s\n", "rewritten", strings.Join(h.Rewritten, ", "))
	}
	for _, s := range h.Skipped {
		fmt.Fprintf(b, "  %-13s %s\n", "not sent", s)
	}
	for i := range h.Sent {
		s := &h.Sent[i]
		port := fmt.Sprintf("port %d", s.Port)
		if s.PortName != "" {
			port += " (" + s.PortName + ")"
		}
		switch {
		case s.Wire != nil:
			fmt.Fprintf(b, "  %-13s %s by %s\n", "on the wire", s.Wire, port)
		case s.VM != "":
			fmt.Fprintf(b, "  %-13s %s, VM %s\n", "out", port, s.VM)
		default:
			fmt.Fprintf(b, "  %-13s %s\n", "out", port)
		}
	}
}
