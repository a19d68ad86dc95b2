package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl/doctor"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

type doctorOptions struct {
	config, policy, host, output string
	peers                        []string
	timeout                      time.Duration
}

func doctorCmd() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check the host that this runs on: Open vSwitch, provider addresses and routes, MTU of the underlay",
		Long: `Check the host that this runs on, and say what is wrong and what would mend it:
that Open vSwitch answers, its bridge, fail mode and gre port; that the provider
addresses are there, on their VLAN and uplink; that the routes are those of the
policy (a host's routes), and that there is a way to every other host; that the
underlay carries what the policy says (a host's mtu), by packets of that size to
every other host's provider addresses, which must not be fragmented. Run it as
root. Nothing is changed.

Which host of the policy this is comes from --host, else from system-id or
hostname of Open vSwitch, else from the provider addresses. The policy is that of
the settings, else the controller's own; --policy names a copy.

The exit code is 0 where nothing is wrong (warnings are not), 1 otherwise.`,
		Example:           "  nvgre-ofctl doctor --policy policy.yaml\n  nvgre-ofctl doctor --policy policy.yaml --host h1 --peer h2 -o json",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the controller's settings file (default $"+settings.ConfigEnv+", else "+settings.DefaultFile+" where it exists)")
	f.StringVar(&o.policy, "policy", "", "a policy file, if not that of the settings or the controller")
	f.StringVar(&o.host, "host", "", "which host of the policy this is")
	f.StringArrayVar(&o.peers, "peer", nil, "look at the way to this host only (repeatable)")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long all of it may take")
	completeFlag(cmd, "output", "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, &o) }
	return cmd
}

// diagnosis is what the command prints as JSON.
type diagnosis struct {
	Host     string           `json:"host"`
	Wrong    int              `json:"wrong"`
	Findings []doctor.Finding `json:"findings"`
}

func runDoctor(cmd *cobra.Command, o *doctorOptions) error {
	if err := oneOf("output", o.output, "table", "json"); err != nil {
		return err
	}
	s, err := settings.Load(settings.FindFile(o.config), nil)
	if err != nil {
		return withCode(codeInput, err)
	}
	var p *tenant.Policy
	if o.policy != "" {
		p, err = policyfile.Load(o.policy, 0)
		err = withCode(codeInput, err)
	} else {
		p, err = policyInForce(cmd.Context(), s, nil)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	var e doctor.Examiner
	host := o.host
	if host == "" {
		if host, err = thisHost(p, e.Examine(ctx, doctor.Want{})); err != nil {
			return err
		}
	}
	w, err := doctor.WantOf(p, host, cmp.Or(s.Bridge, "br-int"), o.peers)
	if err != nil {
		return usagef("%w", err)
	}
	findings := doctor.Judge(w, e.Examine(ctx, w))
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	d := diagnosis{host, doctor.WrongOnes(findings), findings}
	if o.output == "json" {
		j := json.NewEncoder(cmd.OutOrStdout())
		j.SetIndent("", "  ")
		err = j.Encode(d)
	} else {
		err = d.writeText(cmd.OutOrStdout())
	}
	if err == nil && d.Wrong > 0 {
		err = &exitError{code: codeFailed}
	}
	return err
}

// thisHost finds out which host of the policy this is.
func thisHost(p *tenant.Policy, f *doctor.Facts) (string, error) {
	for _, name := range f.Names {
		if _, ok := p.Host(name); ok {
			return name, nil
		}
	}
	here := make(map[netip.Addr]bool)
	for _, d := range f.Devices {
		for _, a := range d.Addrs {
			here[a] = true
		}
	}
	for h := range p.Hosts() {
		for _, a := range h.ProviderAddresses {
			if here[a.PA.Addr()] {
				return h.Name, nil
			}
		}
	}
	return "", withCode(codeInput, fmt.Errorf("no host of the policy has the name or an address of this one: say which it is by --host"))
}

func (d *diagnosis) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range d.Findings {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Verdict, f.Check, f.What)
		if f.Do != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Do)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch d.Wrong {
	case 0:
		_, err := fmt.Fprintf(w, "\nhost %s: nothing is wrong\n", d.Host)
		return err
	default:
		_, err := fmt.Fprintf(w, "\nhost %s: %s\n", d.Host, plural(d.Wrong, "thing")+" wrong")
		return err
	}
}
