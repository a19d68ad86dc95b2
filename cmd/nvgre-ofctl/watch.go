package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func watchCmd() *cobra.Command {
	var c connection
	var from uint64
	var output string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show changes of the policy as they come",
		Long: `Show every revision of the policy and what it changed, from now on or from a
revision on, until interrupted. A connection that breaks is resumed where it was.`,
		Example:           "  nvgre-ofctl watch\n  nvgre-ofctl watch --from 1042 -o json | jq .key",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd, 0)
	cmd.Flags().Uint64Var(&from, "from", 0, "show what is newer than this revision (default: what comes from now on)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json: one revision a line")
	completeFlag(cmd, "output", "table", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", output, "table", "json"); err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		var since *uint64
		if cmd.Flags().Changed("from") {
			since = &from
		}
		started := func(revision uint64) { fmt.Fprintf(cmd.ErrOrStderr(), "watching from revision %d on\n", revision) }
		lost := func(err error) { fmt.Fprintf(cmd.ErrOrStderr(), "%v; trying again\n", err) }
		return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
			return cl.Watch(ctx, since, started, lost, func(e api.Event) error {
				if output == "json" {
					return json.NewEncoder(w).Encode(e)
				}
				by := ""
				if e.Author != "" {
					by = " by " + e.Author
				}
				if e.Comment != "" {
					by += ": " + e.Comment
				}
				if _, err := fmt.Fprintf(w, "%s revision %d, %s%s\n", localTime(e.Time), e.Revision, plural(e.Changes, "change"), by); err != nil {
					return err
				}
				for _, ch := range e.Effective {
					if _, err := fmt.Fprintf(w, "  %-6s %s %s\n", ch.Op, ch.Key, objectText(ch.Object)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return cmd
}

func historyCmd() *cobra.Command {
	var c connection
	var domain, output string
	cmd := &cobra.Command{
		Use:   "history record CA --routing-domain R | KEY",
		Short: "Show who had a customer address, or what an object was, and when",
		Long: `Show the states that the lookup record of a customer address had in a routing
domain, whatever its virtual subnet was, the newest first: who had the address,
when, and on which host. Or the states of any one object, by its key.`,
		Example: "  nvgre-ofctl history record 10.0.1.11 --routing-domain blue\n  nvgre-ofctl history hosts/h1",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 && args[0] == "record" || len(args) == 1 && strings.Contains(args[0]+"/", "/") && args[0] != "record" {
				return nil
			}
			return usagef("history wants record CA, or the key of an object; see nvgre-ofctl history --help")
		},
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, how := completeKeys(&c)(cmd, args, prefix)
		return append(found, "record"), how
	}
	c.addFlags(cmd, time.Minute)
	cmd.Flags().StringVar(&domain, "routing-domain", "", "name or RDID of the address's routing domain; one that is gone is named by its RDID")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	completeFlag(cmd, "output", "table", "json")
	completeNames(cmd, &c, "routing-domain", "routing-domains")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("output", output, "table", "json"); err != nil {
			return err
		}
		if len(args) == 2 && domain == "" {
			return usagef("--routing-domain is missing: an address may be somebody else's in each")
		}
		return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
			var h *api.History
			var err error
			if len(args) == 2 {
				h, err = cl.RecordHistory(ctx, domain, args[1])
			} else {
				h, err = cl.History(ctx, args[0])
			}
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), h)
			}
			if len(h.Versions) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is known of it in the time that is kept")
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
			if len(args) == 2 {
				fmt.Fprintln(t, "FROM\tUNTIL\tREVISION\tVM\tMAC\tHOST\tVSID\tAUTHOR\tCOMMENT")
			} else {
				fmt.Fprintln(t, "FROM\tUNTIL\tREVISION\tOBJECT\tAUTHOR\tCOMMENT")
			}
			for _, v := range h.Versions {
				until := "now"
				if v.Until != nil {
					until = localTime(*v.Until)
				}
				what := cmp.Or(objectText(v.Object), "deleted")
				if len(args) == 2 {
					what = recordCells(v)
				}
				fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", localTime(v.Time), until, v.Revision, what, cmp.Or(v.Author, "-"), cmp.Or(v.Comment, "-"))
			}
			return t.Flush()
		})
	}
	return cmd
}

// recordCells returns VM, MAC, host and VSID of a state of a record.
func recordCells(v api.Version) string {
	if v.Object == nil {
		parts := strings.Split(v.Key, "/")
		return "(nobody)\t-\t-\t" + parts[min(1, len(parts)-1)]
	}
	r, ok := v.Object.Object.(tenant.RecordObject)
	if !ok {
		return "?\t-\t-\t-"
	}
	host := r.Host
	if host == "" && r.PA.IsValid() {
		host = "at " + r.PA.String()
	}
	return strings.Join([]string{r.VM, r.MAC.String(), cmp.Or(host, "where it is attached"), r.VSID.String()}, "\t")
}

func waitCmd() *cobra.Command {
	var c connection
	var vm, domain string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait --installed VM",
		Short: "Wait until a VM can be reached",
		Long: `Wait until a VM's port is known and every flow for it is in place on every host
that needs it. The exit code is 0 then, 5 when the time is over before, with what
is missing.`,
		Example:           "  nvgre-ofctl wait --installed web1 --routing-domain blue --timeout 30s",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd, 0)
	cmd.Flags().StringVar(&vm, "installed", "", "the VM's name, or the iface-id of its port")
	cmd.Flags().StringVar(&domain, "routing-domain", "", "name or RDID of the VM's routing domain, where others have a VM of that name")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	completeNames(cmd, &c, "routing-domain", "routing-domains")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if vm == "" {
			return usagef("--installed is missing: want the name of a VM")
		}
		q := url.Values{"vm": {vm}}
		if domain != "" {
			q.Set("routing_domain", domain)
		}
		return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			missing := "nothing is known of it yet"
			for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
				as, err := cl.Attachments(ctx, q)
				switch {
				case err == nil && installedEverywhere(as, &missing):
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is installed\n", vm)
					return err
				case err != nil && ctx.Err() == nil:
					return err
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
					return withCode(codeUnhealthy, fmt.Errorf("%s is not installed after %s: %s", vm, timeout, missing))
				}
			}
		})
	}
	return cmd
}

// installedEverywhere reports whether all attachments are, and notes what is missing.
func installedEverywhere(as []admin.Attachment, missing *string) bool {
	if len(as) == 0 {
		*missing = "no port with its iface-id is on any host: is the VM running, and is external_ids:iface-id set?"
		return false
	}
	for _, a := range as {
		switch {
		case a.Problem != "":
			*missing = fmt.Sprintf("host %s, port %s: %s", a.Host, a.Interface, a.Problem)
		case a.VM == "":
			*missing = fmt.Sprintf("host %s, port %s: no lookup record has the iface-id %s", a.Host, a.Interface, a.IfaceID)
		case !a.Installed:
			*missing = fmt.Sprintf("its flows are not in place everywhere yet (its port is on host %s): see nvgre-ofctl get status", a.Host)
		default:
			continue
		}
		return false
	}
	return true
}
