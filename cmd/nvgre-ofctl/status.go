package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
)

func statusCmd() *cobra.Command {
	var config, socket, output string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the controller does and what troubles it",
		Long: `Show the controller's status, from its admin socket. The exit code is 0 when all
is well, 5 when something needs an operator, 4 when no controller answers.`,
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&config, "config", "", "the controller's settings file (default $"+settings.ConfigEnv+", else "+settings.DefaultFile+" where it exists)")
	f.StringVar(&socket, "admin-socket", "", "the controller's admin socket, if not that of the settings")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	f.DurationVar(&timeout, "timeout", 10*time.Second, "how long the controller may take")
	completeFlag(cmd, "output", "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", output, "table", "json"); err != nil {
			return err
		}
		s, err := settings.Load(settings.FindFile(config), nil)
		if err != nil {
			return withCode(codeInput, err)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		st, err := admin.FetchStatus(ctx, cmp.Or(socket, s.AdminSocket))
		if err != nil {
			if cmd.Context().Err() != nil {
				return cmd.Context().Err()
			}
			return withCode(codeUnreachable, err)
		}
		if output == "json" {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			err = e.Encode(st)
		} else {
			err = printStatus(cmd.OutOrStdout(), st)
		}
		if err == nil && !st.Healthy {
			err = &exitError{code: codeUnhealthy}
		}
		return err
	}
	return cmd
}

func printStatus(w io.Writer, s *admin.Status) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "controller\t%s, pid %d, up %s\n", s.Version, s.PID, time.Since(s.Started).Round(time.Second))
	if p := s.Policy; p.Revision == 0 {
		fmt.Fprintf(t, "policy\t%s: none in force\n", cmp.Or(p.File, "store"))
	} else {
		fmt.Fprintf(t, "policy\t%s: revision %d, loaded %s, %s, %s, %s\n",
			cmp.Or(p.File, "store"), p.Revision, p.Loaded.Local().Format(time.DateTime), plural(p.Domains, "routing domain"), plural(p.Subnets, "subnet"), plural(p.Records, "record"))
	}
	if s.Store != nil {
		fmt.Fprintf(t, "store\t%s, revision %d, %d KiB\n", up(s.Store.Connected), s.Store.Revision, s.Store.Size>>10)
		for _, m := range s.Store.Members {
			leads := ""
			if m.Leader {
				leads = ", leads"
			}
			fmt.Fprintf(t, "\tmember %s%s\n", m.Name, leads)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(s.Hosts) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "HOST\tOVSDB\tOPENFLOW\tIN SYNC\tREVISION\tFLOWS\tWANTED\tREFUSED\tFOREIGN\tLAST SYNC")
		for _, h := range s.Hosts {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", h.Name, up(h.OVSDB.Connected), up(h.OpenFlow.Connected), yes(h.InSync),
				h.RevisionInstalled, h.FlowsInstalled, h.FlowsWanted, h.FlowsRefused, h.FlowsForeign, lastSync(h))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(s.Elsewhere) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "HOST\tDRIVEN BY\tOVSDB\tOPENFLOW\tIN SYNC\tREVISION\tREFUSED\tFOREIGN")
		for _, e := range s.Elsewhere {
			if h := e.Status; h != nil {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", e.Name, e.Controller, up(h.OVSDB.Connected), up(h.OpenFlow.Connected), yes(h.InSync),
					h.RevisionInstalled, h.FlowsRefused, h.FlowsForeign)
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t-\t-\t-\n", e.Name, cmp.Or(e.Controller, "NOBODY"))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(s.Attachments) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "VM\tROUTING DOMAIN\tCA\tVSID\tHOST\tIFACE-ID\tINTERFACE\tPORT\tINSTALLED")
		for _, a := range s.Attachments {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", cmp.Or(a.VM, "-"), cmp.Or(a.RoutingDomain, "-"), cmp.Or(a.CA, "-"), vsid(a.VSID),
				a.Host, a.IfaceID, cmp.Or(a.Interface, "-"), a.OFPort, installed(s, &a))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if s.Policy.Unattached > 0 {
		fmt.Fprintf(w, "\nattached to no host: %s\n", absent(&s.Policy))
	}
	if err := printDrift(w, s.Drift); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if s.Healthy {
		_, err := fmt.Fprintln(w, "All is well.")
		return err
	}
	for _, m := range append(s.Missing, s.Trouble...) {
		if _, err := fmt.Fprintln(w, "! "+m); err != nil {
			return err
		}
	}
	return nil
}

// mostDrift is how many differences are shown.
const mostDrift = 10

// printDrift shows what others did to the hosts' flows last.
func printDrift(w io.Writer, all []admin.Drift) error {
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "DRIFT\tHOST\tKIND\tOWNER\tREPAIRED\tFLOW")
	for _, d := range all[max(0, len(all)-mostDrift):] {
		repaired := "-"
		if d.RepairedSeconds > 0 {
			repaired = "in " + time.Duration(d.RepairedSeconds*float64(time.Second)).Round(time.Millisecond/10).String()
		}
		flow := d.Flow
		if d.More > 0 {
			flow += fmt.Sprintf(" and %d more", d.More)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Time.Local().Format(time.DateTime), d.Host, d.Kind, cmp.Or(d.Owner, "-"), repaired, flow)
	}
	return t.Flush()
}

func up(b bool) string {
	if b {
		return "up"
	}
	return "DOWN"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// installed says whether a VM's flows are in place. What was in place before the
// connection to its switch broke may be there or not.
func installed(s *admin.Status, a *admin.Attachment) string {
	for i := range s.Hosts {
		if h := &s.Hosts[i]; h.Name == a.Host && a.Installed && !h.OpenFlow.Connected {
			return "unknown"
		}
	}
	return yes(a.Installed)
}

// absent names VMs that are attached nowhere.
func absent(p *admin.Policy) string {
	var names []string
	for _, a := range p.Absent {
		text := a.RoutingDomain + "/" + a.VM
		if a.IfaceID != a.VM {
			text += " (iface-id " + a.IfaceID + ")"
		}
		names = append(names, text)
	}
	text := strings.Join(names, ", ")
	if more := p.Unattached - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func vsid(v uint32) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprint(v)
}

func lastSync(h admin.Host) string {
	if h.LastSync.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s ago, took %s", time.Since(h.LastSync).Round(time.Second), time.Duration(h.LastSyncSeconds*float64(time.Second)).Round(time.Millisecond))
}
