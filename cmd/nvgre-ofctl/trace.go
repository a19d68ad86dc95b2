package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type traceOptions struct {
	api                   connection
	policy                string
	live, ofproto         bool
	output                string
	proto                 string
	sport, dport          uint16
	ttl                   uint8
	srcMAC, dstMAC, srcCA string
	size, mtu             int
	timeout               time.Duration
}

func traceCmd() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace SRC DST",
		Short: "Follow one packet through all tables and hosts, and say what becomes of it",
		Long: `Follow one packet from VM SRC to DST, host by host and table by table: the flow
that decides, its owner and where the policy has that, what is rewritten, the
NVGRE header on the wire, the verdict, and beside it what the policy intends.
Nothing is sent.

SRC is a VM: ROUTING-DOMAIN/VM, an iface-id, or a name that only one routing
domain has. DST is a customer address or a VM.

The flows are those that the hosts should have for the policy in force and for
what is attached to them; with --live those that the switches have, with a note
where they differ from the former; with --ofproto the live ones, and Open vSwitch
itself is asked too (ofproto/trace, for hosts reached by unix:). With --policy no
host is asked: every VM counts as attached where the file puts it.

The exit code is 0 where the packet fares as intended (a drop, too, may be
intended), 1 where it does not, 4 where hosts on its way do not answer.`,
		Example: "  nvgre-ofctl trace blue/web1 blue/db1 --proto tcp --dport 5432\n  nvgre-ofctl trace blue/web1 10.0.2.13 --live\n" +
			"  nvgre-ofctl trace web1 web2 --policy new.yaml --proto arp",
		Args:              exactly(2, "a VM and a destination"),
		ValidArgsFunction: completeVMs(&o.api.config, &o.policy),
	}
	f := cmd.Flags()
	o.api.addFlags(cmd, 0)
	f.StringVar(&o.policy, "policy", "", "a policy file to trace in by itself, before it is applied; - is standard input")
	f.BoolVar(&o.live, "live", false, "the flows that the switches have")
	f.BoolVar(&o.ofproto, "ofproto", false, "as --live, and ask Open vSwitch's own trace too")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.StringVar(&o.proto, "proto", "icmp", "icmp (an echo request), tcp, udp, or arp (ask for DST's MAC: ARP, or a neighbour solicitation)")
	f.Uint16Var(&o.sport, "sport", 40000, "source port, of tcp and udp")
	f.Uint16Var(&o.dport, "dport", 80, "destination port, of tcp and udp")
	f.Uint8Var(&o.ttl, "ttl", 64, "TTL as the VM sends it")
	f.IntVar(&o.size, "size", 0, "size of the IP packet in octets: says whether it fits through the underlay (0: it does)")
	f.IntVar(&o.mtu, "underlay-mtu", 1500, "with --size: the MTU of the underlay, in octets")
	f.StringVar(&o.srcMAC, "src-mac", "", "source MAC, if not that of the VM's record")
	f.StringVar(&o.srcCA, "src-ca", "", "source address, if not that of the VM's record")
	f.StringVar(&o.dstMAC, "dst-mac", "", "destination MAC, if not what ARP would have told the VM")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the hosts may take to answer")
	completeFlag(cmd, "output", "text", "json")
	completeFlag(cmd, "proto", "icmp", "tcp", "udp", "arp")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runTrace(cmd, &o, args[0], args[1]) }
	return cmd
}

func runTrace(cmd *cobra.Command, o *traceOptions, src, dst string) error {
	if err := oneOf("output", o.output, "text", "json"); err != nil {
		return err
	}
	if o.size < 0 || o.size > 65535 || o.mtu < 1 {
		return usagef("--size is %d, --underlay-mtu %d: want octets, up to 65535", o.size, o.mtu)
	}
	if err := oneOf("proto", o.proto, "icmp", "tcp", "udp", "arp"); err != nil {
		return err
	}
	if o.policy != "" && (o.live || o.ofproto || o.api.config != "" || o.api.named()) {
		return usagef("--policy traces in a file by itself: leave out --live, --ofproto, --config and --api")
	}
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("%w in %s", errNoAnswer, o.timeout))
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
		return usagef("--proto: %w", err)
	}
	for _, e := range n.silent {
		fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", e)
	}
	desired := explain.NewTracer(n.policy, n.hosts, explain.Desired(n.policy, n.hosts))
	host, port, ok := desired.Seat(&q.From)
	if !ok {
		err := fmt.Errorf("VM %s is attached nowhere, so it can send nothing: %s", explain.VMText(n.policy, &q.From), firstOf(desired.Remarks(&q.From)))
		if len(n.silent) > 0 {
			return withCode(codeUnreachable, err)
		}
		return err
	}
	tracer := desired
	if o.live || o.ofproto {
		tracer = explain.NewTracer(n.policy, n.hosts, n.liveTable(ctx))
	}
	tr := tracer.Send(host, port, frame)
	tr.From, tr.To = fmt.Sprintf("VM %s at %s port %d", explain.VMText(n.policy, &q.From), host, port), q.To.String()
	if to != nil {
		tr.To = "VM " + explain.VMText(n.policy, to)
	}
	if to != nil && to.RDID != q.From.RDID {
		tr.Notes = append(tr.Notes, "the two VMs are of two routing domains: the packet is for whoever has that address in the sender's")
	}
	tr.Notes = append(tr.Notes, tracer.Remarks(&q.From)...)
	if to != nil && to.IfaceID != q.From.IfaceID {
		tr.Notes = append(tr.Notes, tracer.Remarks(to)...)
	}
	tr.Notes = append(tr.Notes, tracer.Underlay(tr)...)
	tr.Fit(o.size, o.mtu)
	if tracer != desired {
		tr.Notes = append(tr.Notes, explain.Differences(tr, desired.Send(host, port, frame), "live", "desired")...)
	}
	out := tracedPacket{Trace: tr, Flows: o.flows()}
	if o.ofproto {
		out.Datapath = n.askDatapaths(ctx, tr)
	}
	if o.output == "json" {
		err = printJSON(cmd.OutOrStdout(), &out)
	} else {
		err = out.writeText(cmd.OutOrStdout())
	}
	switch {
	case err != nil:
		return err
	case cmd.Context().Err() != nil:
		return cmd.Context().Err()
	case n.unreached || len(n.silent) > 0 && cutShort(tr):
		return &exitError{code: codeUnreachable}
	case !tr.AsIntended || out.differs():
		return &exitError{code: codeFailed}
	}
	return nil
}

// cutShort reports whether the packet came to a host that nothing is known of.
func cutShort(tr *explain.Trace) bool {
	return slices.ContainsFunc(tr.Hops, func(h explain.Hop) bool { return h.Unknown != "" })
}

func firstOf(notes []string) string {
	if len(notes) == 0 {
		return "its port has no OpenFlow number"
	}
	return notes[0]
}

// flows says which flows a trace is in.
func (o *traceOptions) flows() string {
	switch {
	case o.policy != "":
		return "planned"
	case o.live || o.ofproto:
		return "live"
	}
	return "desired"
}

// query reads the packet from the command line.
func (o *traceOptions) query(p *tenant.Policy, src, dst string) (*explain.Query, *tenant.LookupRecord, error) {
	q := &explain.Query{Proto: o.proto, SrcPort: o.sport, DstPort: o.dport, TTL: o.ttl}
	var err error
	if q.From, err = explain.FindVM(p, src); err != nil {
		return nil, nil, unknownVM(err)
	}
	var to *tenant.LookupRecord
	if q.To, to, err = explain.FindDestination(p, &q.From, dst); err != nil {
		return nil, nil, unknownVM(err)
	}
	for _, m := range []struct {
		flag, text string
		to         *tenant.MAC
	}{{"src-mac", o.srcMAC, &q.SrcMAC}, {"dst-mac", o.dstMAC, &q.DstMAC}} {
		if m.text != "" {
			if *m.to, err = tenant.ParseMAC(m.text); err != nil {
				return nil, nil, usagef("--%s: %w", m.flag, err)
			}
		}
	}
	if o.srcCA != "" {
		if q.SrcCA, err = netip.ParseAddr(o.srcCA); err != nil || q.SrcCA.Is4() != q.To.Is4() {
			return nil, nil, usagef("--src-ca is %q: want an address of the family of %s", o.srcCA, q.To)
		}
	}
	return q, to, nil
}

func unknownVM(err error) error {
	var u *explain.UnknownVMError
	if errors.As(err, &u) && len(u.Many) == 0 {
		return usagef("%w: %s", err, wantOne(u.Name, u.All))
	}
	return usagef("%w", err)
}

// network is the hosts that a command speaks of.
type network struct {
	settings  *settings.Settings
	policy    *tenant.Policy
	hosts     []explain.Host
	silent    []error
	unreached bool // a switch that was asked for its flows did not answer
}

// network finds the policy and asks the hosts, unless the policy is to be looked
// at by itself, what is attached to them.
func (o *traceOptions) network(ctx context.Context, cmd *cobra.Command) (*network, error) {
	if o.policy != "" {
		p, err := loadPolicy(cmd, o.policy)
		if err != nil {
			return nil, err
		}
		n := &network{policy: p}
		at := flows.PlannedPlacement(p)
		for h := range p.Hosts() {
			n.hosts = append(n.hosts, explain.Host{View: flows.PlannedView(p, at, h.Name)})
		}
		return n, nil
	}
	s, err := dumpSettings(&dumpOptions{config: o.api.config})
	if err != nil {
		return nil, err
	}
	p, err := policyInForce(ctx, s, &o.api)
	if err != nil {
		return nil, err
	}
	return askNetwork(ctx, s, p)
}

// askNetwork asks the OVSDB of all hosts of a policy what is attached to them.
func askNetwork(ctx context.Context, s *settings.Settings, p *tenant.Policy) (*network, error) {
	n := &network{settings: s, policy: p}
	names := hostNames(p)
	found, errs := make([]*hostState, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, name := range names {
		group.Go(func() error {
			found[i], errs[i] = observeHost(ctx, s, p, &dumpOptions{}, name)
			return nil
		})
	}
	_ = group.Wait() // none fails
	for i, st := range found {
		if errs[i] != nil {
			n.silent = append(n.silent, errs[i])
			continue
		}
		n.hosts = append(n.hosts, st.explained())
	}
	if len(n.hosts) == 0 {
		return nil, withCode(codeUnreachable, fmt.Errorf("no host tells what is attached to it: %w", errors.Join(n.silent...)))
	}
	return n, nil
}

// liveTable reads the flows of those hosts that are asked for.
func (n *network) liveTable(ctx context.Context) explain.Table {
	return func(host string) (explain.Contents, error) {
		has, err := hostFlows(ctx, n.settings, n.policy, &dumpOptions{}, host)
		if err != nil {
			n.unreached = true
		}
		return explain.Contents{Flows: has.flows, Odd: has.odd, Groups: has.groups}, err
	}
}

// completeVMs completes names of VMs.
func completeVMs(config, policy *string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		o := dumpOptions{config: *config, policy: *policy}
		list, directive := completePolicy(&o, func(p *tenant.Policy) (out []string) {
			for r := range p.Records() {
				d, _ := p.RoutingDomain(r.RDID)
				out = append(out, d.Name+"/"+r.VM)
			}
			return out
		})(nil, nil, "")
		return list, directive
	}
}
