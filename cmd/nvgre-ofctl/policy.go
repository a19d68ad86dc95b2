package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// loadPolicy reads a policy file; "-" is standard input.
func loadPolicy(cmd *cobra.Command, file string) (*tenant.Policy, error) {
	if file != "-" {
		p, err := policyfile.Load(file, 0)
		return p, withCode(codeInput, err)
	}
	data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), policyfile.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	p, err := policyfile.Parse("stdin", data, 0)
	return p, withCode(codeInput, err)
}

func validateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check policy files and report all that is wrong in them",
		Long: `Check policy files. Every problem is reported in one run, as
file:line:column: field: what is wrong and what would be right.
"-" reads standard input.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("validate wants at least one policy file; see nvgre-ofctl validate --help")
			}
			return nil
		},
		ValidArgsFunction: completeYAML,
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := 0
			for _, file := range args {
				p, err := loadPolicy(cmd, file)
				if err != nil {
					bad++
					fmt.Fprintln(cmd.ErrOrStderr(), err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: valid: %s\n", file, summary(p))
			}
			if bad > 0 {
				return withCode(codeInput, fmt.Errorf("%d of %d files refused: correct what is listed above", bad, len(args)))
			}
			return nil
		},
	}
}

func summary(p *tenant.Policy) string {
	return fmt.Sprintf("%s, %s, %s, %s, %s",
		count(p.Hosts(), "host"), count(p.RoutingDomains(), "routing domain"), count(p.Subnets(), "subnet"),
		count(p.Records(), "record"), count(p.Routes(), "route"))
}

func count[T any](seq func(func(T) bool), what string) string {
	n := 0
	for range seq {
		n++
	}
	return plural(n, what)
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

func compileCmd() *cobra.Command {
	var host, output string
	var attach []string
	var tunnel uint32
	cmd := &cobra.Command{
		Use:   "compile FILE --host HOST",
		Short: "Show the flows that a policy gives a host; needs no switch",
		Long: `Show the flows of one host. Without --attach every VM that the policy puts on
the host counts as attached, from OpenFlow port 101 on, and VMs whose records
name no host are spread over the hosts in turn; with --attach exactly the VMs
given are attached, and those among them whose records name no host are here.

What was assumed, problems and conflicts go to standard error.`,
		Example:           "  nvgre-ofctl compile policy.yaml --host h1\n  nvgre-ofctl compile policy.yaml --host h1 --attach web1=5 -o ovs",
		Args:              exactly(1, "one policy file"),
		ValidArgsFunction: completeYAML,
	}
	f := cmd.Flags()
	f.StringVar(&host, "host", "", "the host, as the policy names it")
	f.StringVarP(&output, "output", "o", "named", "named: tables and registers by their names; ovs: what ovs-ofctl accepts; json")
	f.StringArrayVar(&attach, "attach", nil, "a VM that is attached: its iface-id, '=' and its OpenFlow port (repeatable)")
	f.Uint32Var(&tunnel, "tunnel-port", 1, "the OpenFlow number of the flow-based GRE port")
	completeFlag(cmd, "output", "named", "ovs", "json")
	_ = cmd.RegisterFlagCompletionFunc("host", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		p, err := policyfile.Load(args[0], 0)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return hostNames(p), cobra.ShellCompDirectiveNoFileComp
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("output", output, "named", "ovs", "json"); err != nil {
			return err
		}
		p, err := loadPolicy(cmd, args[0])
		if err != nil {
			return err
		}
		if host == "" {
			return usagef("--host is missing: %s", wantOne("", hostNames(p)))
		}
		if _, ok := p.Host(host); !ok {
			return usagef("the policy has no host %s: %s", host, wantOne(host, hostNames(p)))
		}
		at := flows.PlannedPlacement(p)
		view := flows.PlannedView(p, at, host)
		if len(attach) > 0 {
			if view.Attachments, err = parseAttach(p, attach); err != nil {
				return err
			}
			at = flows.Placement{}
			for _, a := range view.Attachments {
				at = at.With(a.IfaceID, host)
			}
		}
		if len(attach) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), assumed(p, host, view.Attachments))
		}
		view.Tunnels.Flow = tunnel
		r := flows.Compile(p, at, view)
		for _, pr := range r.Problems {
			fmt.Fprintf(cmd.ErrOrStderr(), "problem: %s\n", pr.Text)
		}
		namer := flows.NewNamer(p, nil)
		for i := range r.Conflicts {
			c := &r.Conflicts[i]
			fmt.Fprintf(cmd.ErrOrStderr(), "conflict: %s and %s want the same flow to differ; in force is %s\n",
				namer.OwnerText(c.InForce.Cookie), namer.OwnerText(c.Refused.Cookie), c.InForce.Text())
		}
		return printFlows(cmd.OutOrStdout(), output, namer, plainFlows(r.Flows))
	}
	return cmd
}

// assumed says which VMs were taken for attached where nobody said.
func assumed(p *tenant.Policy, host string, as []flows.Attachment) string {
	if len(as) == 0 {
		return fmt.Sprintf("assumed: no VM is attached to %s, since the policy puts none there; --attach says otherwise", host)
	}
	var vms []string
	for _, a := range as {
		r, _ := p.RecordByIfaceID(a.IfaceID)
		text := fmt.Sprintf("%s at port %d", a.IfaceID, a.OFPort)
		if r.Host == "" {
			text += " (its record names no host)"
		}
		vms = append(vms, text)
	}
	return fmt.Sprintf("assumed: attached to %s are %s; --attach says otherwise", host, shortList(vms))
}

func hostNames(p *tenant.Policy) []string {
	var names []string
	for h := range p.Hosts() {
		names = append(names, h.Name)
	}
	return names
}

func parseAttach(p *tenant.Policy, attach []string) ([]flows.Attachment, error) {
	byID := map[string]uint32{}
	for _, a := range attach {
		id, port, ok := strings.Cut(a, "=")
		n, err := strconv.ParseUint(port, 10, 32)
		if !ok || err != nil || n == 0 || n > flow.PortMax {
			return nil, usagef("--attach is %q: want IFACE-ID=PORT with a port from 1 to %d", a, flow.PortMax)
		}
		if _, ok := p.RecordByIfaceID(id); !ok {
			return nil, usagef("--attach %s: no lookup record of the policy has iface-id %s", a, id)
		}
		if _, dup := byID[id]; dup {
			return nil, usagef("--attach %s: %s is attached twice", a, id)
		}
		byID[id] = uint32(n)
	}
	var out []flows.Attachment
	for _, id := range slices.SortedFunc(maps.Keys(byID), func(a, b string) int { return cmp.Or(cmp.Compare(byID[a], byID[b]), cmp.Compare(a, b)) }) {
		out = append(out, flows.Attachment{IfaceID: id, OFPort: byID[id]})
	}
	return out, nil
}

func completeYAML(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func completeFlag(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
