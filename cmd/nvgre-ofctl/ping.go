package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/probe"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type pingOptions struct {
	traceOptions
	count    int
	interval time.Duration
}

// pingTTL is the TTL of echo requests: none that a guest's system uses, so that
// the flows that watch them meet nobody else's.
const pingTTL = 59

func pingCmd() *cobra.Command {
	var o pingOptions
	cmd := &cobra.Command{
		Use:   "ping VM DST",
		Short: "Send a real echo request from a VM's port, and watch where it comes",
		Long: `Send a real echo request into the port of a VM, as if the VM had sent it, and watch
its way through the switches: whether it arrives at DST's port, and whether the
guest there answers; else where it died, and why. No guest is touched: the one at
DST sees a ping, the sender's an answer that it has not asked for.

SRC is a VM: ROUTING-DOMAIN/VM, an iface-id, or a name that only one routing
domain has. DST is a customer address or a VM. With --size the way is tested for
packets of that size.

The switches get flows that watch the echo messages, for a few seconds: each stands
in front of one flow on the way, copies what is exactly like the message, and does
what that flow does. They are removed at the end, and by the switches themselves
if the command does not come to it.

The exit code is 0 where the request arrives, answered or not, 1 where it does not,
4 where hosts on its way do not answer.`,
		Example:           "  nvgre-ofctl ping blue/web1 blue/db1\n  nvgre-ofctl ping blue/web1 10.0.2.13 --size 1458",
		Args:              exactly(2, "a VM and a destination"),
		ValidArgsFunction: completeVMs(&o.api.config, &o.policy),
	}
	f := cmd.Flags()
	o.api.addFlags(cmd, 0)
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.IntVarP(&o.count, "count", "c", 3, "how many requests at most: no more are sent when one has been answered")
	f.DurationVarP(&o.interval, "interval", "i", time.Second, "how long each is waited for")
	f.IntVar(&o.size, "size", 0, "size of the IP packet in octets (0: the least)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the hosts may take to answer")
	completeFlag(cmd, "output", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runPing(cmd, &o, args[0], args[1]) }
	return cmd
}

// pinged is what came of a ping.
type pinged struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Packet  string `json:"packet"`
	Sent    int    `json:"sent"`
	Seen    []saw  `json:"seen"` // of the request that came furthest, then of its answer
	Arrived bool   `json:"arrived"`
	// Answered says that the guest's answer has come back to the sender's port.
	Answered bool `json:"answered"`
	// Died is the flow that dropped the request, where it is known.
	Died    *explain.Step `json:"died,omitempty"`
	Verdict string        `json:"verdict"`
	Notes   []string      `json:"notes"`
}

// saw is an echo message that was seen at a flow.
type saw struct {
	Answer bool    `json:"answer,omitempty"` // not the request
	Host   string  `json:"host"`
	Table  string  `json:"table_name"`
	Flow   string  `json:"named"`
	Owner  string  `json:"owner"`
	Source string  `json:"source,omitempty"`
	Millis float64 `json:"ms"` // since the request was sent
	text   string
}

func runPing(cmd *cobra.Command, o *pingOptions, src, dst string) error {
	if err := oneOf("output", o.output, "text", "json"); err != nil {
		return err
	}
	switch {
	case o.size != 0 && (o.size < probe.MinSize || o.size > 60000):
		return usagef("--size is %d: want %d to 60000 octets", o.size, probe.MinSize)
	case o.count < 1 || o.count > 1000:
		return usagef("--count is %d: want 1 to 1000", o.count)
	case o.interval < 10*time.Millisecond || o.interval > time.Minute:
		return usagef("--interval is %s: want 10ms to 1m", o.interval)
	}
	o.proto, o.ttl = "icmp", pingTTL
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout+time.Duration(o.count)*o.interval, fmt.Errorf("%w in %s", errNoAnswer, o.timeout))
	defer cancel()
	n, err := o.network(ctx, cmd)
	if err != nil {
		return err
	}
	q, to, err := o.query(n.policy, src, dst)
	if err != nil {
		return err
	}
	q.Size = o.size
	frame, err := q.Frame(n.policy)
	if err != nil {
		return err
	}
	tracer := explain.NewTracer(n.policy, n.hosts, n.liveTable(ctx))
	host, port, ok := tracer.Seat(&q.From)
	if !ok {
		err := fmt.Errorf("VM %s is attached nowhere, so nothing can be sent from its port: %s", explain.VMText(n.policy, &q.From), firstOf(tracer.Remarks(&q.From)))
		if len(n.silent) > 0 {
			return withCode(codeUnreachable, errors.Join(err, errors.Join(n.silent...)))
		}
		return err
	}
	var notes []string
	if to != nil && to.RDID != q.From.RDID {
		notes = append(notes, "the two VMs are of two routing domains: the packet is for whoever has that address in the sender's")
		if _, to, err = explain.FindDestination(n.policy, &q.From, q.To.String()); err != nil {
			return err
		}
	}
	p := &pinger{network: n, tracer: tracer, host: host, port: port, frame: frame, size: o.size, request: tracer.Send(host, port, frame)}
	p.answer = answerOf(tracer, n.policy, p.request, &frame, to)
	if err := p.run(ctx, o.count, o.interval); err != nil {
		return err
	}
	out := p.result()
	out.From, out.To = fmt.Sprintf("VM %s at %s port %d", explain.VMText(n.policy, &q.From), host, port), q.To.String()
	if to != nil {
		out.To = "VM " + explain.VMText(n.policy, to)
	}
	out.Packet = frame.String()
	out.Notes = append(append(out.Notes, notes...), tracer.Remarks(&q.From)...)
	if to != nil && to.IfaceID != q.From.IfaceID {
		out.Notes = append(out.Notes, tracer.Remarks(to)...)
	}
	out.Notes = append(out.Notes, tracer.Underlay(p.request)...)
	if o.output == "json" {
		err = printJSON(cmd.OutOrStdout(), out)
	} else {
		err = out.write(cmd.OutOrStdout())
	}
	switch {
	case err != nil:
		return err
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case n.unreached:
		return &exitError{code: codeUnreachable}
	case !out.Arrived:
		return &exitError{code: codeFailed}
	}
	return nil
}

// answerOf traces the answer of the guest that a request, of those headers, should
// come to; nil where there is none. It is between the addresses of the request,
// which need not be those of the two records: a VM has one for each of its CAs.
func answerOf(t *explain.Tracer, p *tenant.Policy, request *explain.Trace, sent *packet.Frame, to *tenant.LookupRecord) *explain.Trace {
	if to == nil || len(request.Outcomes) != 1 || request.Outcomes[0].Kind != explain.Delivered {
		return nil
	}
	q := &explain.Query{From: *to, SrcCA: sent.IP.Dst, To: sent.IP.Src, Proto: "icmp", TTL: 64}
	f, err := q.Frame(p)
	if err != nil {
		return nil
	}
	if f.L4.Type = packet.EchoReply; f.HasIPv6() {
		f.L4.Type = packet.EchoReply6
	}
	return t.Send(request.Outcomes[0].Host, request.Outcomes[0].Port, f)
}

// newID draws what tells our messages, and our channel, from all others. The
// numbers of the controllers' own channels are not drawn.
func newID() (id probe.ID, controller uint16) {
	rand.Read(id.Nonce[:])
	var b [2]byte
	rand.Read(b[:])
	return id, binary.BigEndian.Uint16(b[:]) | 0x8000
}

func (p *pinged) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "from      %s\nto        %s\npacket    %s\n", p.From, p.To, p.Packet)
	for i := range p.Seen {
		s := &p.Seen[i]
		what := "request"
		if s.Answer {
			what = "answer"
		}
		if err == nil {
			_, err = fmt.Fprintf(w, "%-9s %s: %s (%.1f ms)\n", what, s.Host, s.text, s.Millis)
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "verdict   %s\n", p.Verdict)
	}
	if d := p.Died; d != nil && err == nil {
		_, err = fmt.Fprintf(w, "flow      %s\n          %s\n", d.Text, stepOwner(d))
	}
	for _, n := range p.Notes {
		if err == nil {
			_, err = fmt.Fprintf(w, "note      %s\n", n)
		}
	}
	return err
}

func stepOwner(s *explain.Step) string {
	if s.Source == "" {
		return "of " + s.Owner
	}
	return "of " + s.Owner + ", " + s.Source
}
