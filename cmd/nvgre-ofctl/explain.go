package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type explainOptions struct {
	api            connection
	policy, output string
	timeout        time.Duration
}

func explainCmd() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain FLOW | COOKIE | REASON",
		Short: "Say what a flow, a cookie or a drop's reason is for, and whose it is",
		Long: `Say what a flow is for: its owner and where the policy has that, the purpose of
its table, why it drops, and how many packets it took on each host that answers.

It is given as a line of ovs-ofctl dump-flows (in quotes), as a cookie (0x4e56…),
or as the name of a reason such as source-ca. Without a policy, and with --policy,
no host is asked.`,
		Example: "  nvgre-ofctl explain source-ca\n  nvgre-ofctl explain 0x4e56800000000014\n" +
			"  nvgre-ofctl explain 'cookie=0x4e56003000000000, table=20, n_packets=5, priority=100,reg0=0x1 actions=drop'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("explain wants a flow, a cookie or a reason; see nvgre-ofctl explain --help")
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		for _, r := range flows.DropReasons() {
			names = append(names, r.String())
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	f := cmd.Flags()
	o.api.addFlags(cmd, 0)
	f.StringVar(&o.policy, "policy", "", "the policy file to name owners by; no host is asked")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long the hosts may take to answer")
	completeFlag(cmd, "output", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runExplain(cmd, &o, strings.Join(args, " ")) }
	return cmd
}

// explained is an explanation as the command shows it.
type explained struct {
	explain.About
	Live   []liveFlow `json:"live"`   // flows that it is about, where hosts answer
	Silent []string   `json:"silent"` // hosts that do not, with why
}

type liveFlow struct {
	Host    string `json:"host"`
	Named   string `json:"named"`
	Packets uint64 `json:"packets"`
}

func runExplain(cmd *cobra.Command, o *explainOptions, text string) error {
	if err := oneOf("output", o.output, "text", "json"); err != nil {
		return err
	}
	subject, err := explain.ParseSubject(text)
	if err != nil {
		return usagef("%w", err)
	}
	var p *tenant.Policy
	s, err := dumpSettings(&dumpOptions{config: o.api.config})
	if err != nil {
		return err
	}
	switch {
	case o.policy != "":
		p, err = loadPolicy(cmd, o.policy)
	case tellsPolicy(s, &o.api):
		p, err = policyInForce(cmd.Context(), s, &o.api)
	}
	if err != nil && (o.policy != "" || o.api.config != "" || o.api.named()) {
		return err
	}
	n := flows.NewNamer(p, nil)
	out := explained{About: explain.Explain(n, p, subject), Live: []liveFlow{}, Silent: []string{}}
	if p != nil && o.policy == "" {
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("%w in %s", errNoAnswer, o.timeout))
		out.ask(ctx, s, p, n, subject)
		cancel()
	}
	if cmd.Context().Err() != nil {
		return cmd.Context().Err()
	}
	if o.output == "json" {
		return printJSON(cmd.OutOrStdout(), &out)
	}
	return out.write(cmd.OutOrStdout())
}

// ask reads the flows that a subject is about from all hosts in turn.
func (e *explained) ask(ctx context.Context, s *settings.Settings, p *tenant.Policy, n *flows.Namer, subject explain.Subject) {
	cookie, mask := subject.Cookie, ^uint64(0)
	if subject.Reason != 0 {
		cookie, mask = flows.DropMark, flows.DropMask
	}
	for _, host := range hostNames(p) {
		err := statsOf(ctx, s, p, host, cookie, mask, func(st *openflow.Stat) {
			f := &st.Flow
			if r, _ := flows.Reason(f.Cookie); subject.Reason != 0 && (r != subject.Reason || st.Packets == 0) ||
				subject.Table >= 0 && int(f.Table) != subject.Table || subject.Priority >= 0 && int(f.Priority) != subject.Priority {
				return
			}
			named := n.Flow(f)
			if st.Unknown != "" {
				named += " (" + st.Unknown + ")"
			}
			if subject.Reason != 0 {
				named += " [" + n.OwnerText(f.Cookie) + "]"
			}
			if r, drops := flows.Reason(f.Cookie); drops && !r.Counted() {
				named += " (what is not dropped counts, too)"
			}
			e.Live = append(e.Live, liveFlow{host, named, st.Packets})
		})
		if err != nil {
			e.Silent = append(e.Silent, err.Error())
		}
	}
}

func (e *explained) write(w io.Writer) error {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-9s %s\n", name, text)
		}
	}
	line("cookie", e.Cookie)
	if e.Foreign {
		line("owner", "foreign: nvgre-ofctl did not make it, and never changes or deletes it")
	}
	for _, o := range e.Owners {
		text := o.Text
		if o.Source != "" {
			text += ", " + o.Source
		}
		line("owner", text)
	}
	if e.Revision != nil {
		line("revision", fmt.Sprintf("%d: all flows of that revision of the policy are installed", *e.Revision))
	}
	if e.Drop != "" {
		line("drop", e.Drop+": "+e.Why)
	}
	if e.Table != "" {
		line("table", e.Table+": "+e.Purpose)
		line("", "what its other flows do not take: "+e.Miss)
	}
	for _, f := range e.Live {
		line(f.Host, fmt.Sprintf("%d packets: %s", f.Packets, f.Named))
	}
	for _, t := range e.Silent {
		line("silent", t)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
