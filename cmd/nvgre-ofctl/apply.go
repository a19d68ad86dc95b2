package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// applyTimeout is the default of --timeout where much may be stored.
const applyTimeout = 10 * time.Minute

// change is the flags of the commands that change the policy.
type change struct {
	connection
	dryRun     bool
	ifRevision uint64
	comment    string
	output     string
}

func (c *change) addFlags(cmd *cobra.Command) {
	c.connection.addFlags(cmd, applyTimeout)
	f := cmd.Flags()
	f.BoolVar(&c.dryRun, "dry-run", false, "check everything, say what would change, store nothing")
	f.Uint64Var(&c.ifRevision, "if-revision", 0, "change nothing unless this revision is in force")
	f.StringVarP(&c.comment, "message", "m", "", "a comment, kept with the revision")
	f.StringVarP(&c.output, "output", "o", "table", "table or json")
	completeFlag(cmd, "output", "table", "json")
}

func (c *change) options(cmd *cobra.Command) client.ApplyOptions {
	return client.ApplyOptions{DryRun: c.dryRun, IfRevision: c.ifRevision, Comment: c.comment, Progress: applyProgress(cmd.ErrOrStderr())}
}

// applyProgress returns what shows the progress of a large apply on a terminal; nil
// where there is none.
func applyProgress(w io.Writer) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(done, total int) {
		end := "\r"
		if done >= total {
			end = "\n"
		}
		fmt.Fprintf(w, "%d of %d stored (%d %%)%s", done, total, done*100/max(total, 1), end)
	}
}

func applyCmd() *cobra.Command {
	var c change
	var file string
	var replace bool
	var guard lossGuard
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Put what a policy file has in force",
		Long: `Put every object of a policy file in force, all or none: what is not in the file
stays as it is. With --replace the file is all that there shall be, and what it
lacks is deleted. The file is checked here first, as by "nvgre-ofctl validate".

With --require-no-loss nothing is stored if a pair of VMs that reach one another
now, where they are attached, would no longer do so, or a VM its gateway or a
customer route; save the losses of VMs that --allow-loss names. What is stored
then is what was judged: if somebody else changes the policy meanwhile, the apply
is refused. See also "nvgre-ofctl diff --forwarding".

To apply the same file twice is to apply it once.`,
		Example:           "  nvgre-ofctl apply -f policy.yaml --dry-run\n  nvgre-ofctl apply -f policy.yaml --replace -m 'as of ticket 4711'\n  nvgre-ofctl apply -f policy.yaml --require-no-loss --allow-loss web2,blue/db1\n  nvgre-ofctl get policy | nvgre-ofctl apply --replace -f -",
		Args:              exactly(0, "no arguments but -f FILE"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd)
	fileFlag(cmd, &file)
	cmd.Flags().BoolVar(&replace, "replace", false, "delete what the file lacks")
	guard.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", c.output, "table", "json"); err != nil {
			return err
		}
		if file == "" {
			return usagef("-f is missing: want a policy file, or - for standard input")
		}
		changes, from, err := policyPuts(cmd, file)
		if err != nil {
			return err
		}
		o := c.options(cmd)
		o.Replace = replace
		if err := guard.check(); err != nil {
			return err
		}
		if guard.on {
			return guard.run(cmd, &c, changes, from, o)
		}
		return c.run(cmd, changes, from, o)
	}
	return cmd
}

func fileFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "filename", "f", "", "a policy file; - for standard input")
	_ = cmd.MarkFlagFilename("filename", "yaml", "yml")
}

// run applies changes and says what came of it.
func (c *change) run(cmd *cobra.Command, changes []tenant.Change, from sources, o client.ApplyOptions) error {
	return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
		a, err := cl.Apply(ctx, changes, o)
		if err != nil {
			return from.locate(err)
		}
		return c.print(cmd, a)
	})
}

// mostLines is how many changes are listed one by one.
const mostLines = 100

func (c *change) print(cmd *cobra.Command, a *api.Applied) error {
	w := cmd.OutOrStdout()
	if c.output == "json" {
		return printJSON(w, a)
	}
	if len(a.Effective) <= mostLines {
		for _, e := range a.Effective {
			fmt.Fprintf(w, "%-8s %s\n", verb(e), e.Key)
		}
	} else {
		fmt.Fprintln(w, tally(a.Effective))
	}
	var err error
	switch {
	case len(a.Effective) == 0:
		_, err = fmt.Fprintf(w, "nothing to change: revision %d is that already\n", a.Revision)
	case c.dryRun:
		_, err = fmt.Fprintf(w, "dry run: %s, nothing was stored\n", plural(len(a.Effective), "change"))
	default:
		_, err = fmt.Fprintf(w, "revision %d: %s\n", a.Revision, plural(len(a.Effective), "change"))
	}
	return err
}

func verb(c api.Change) string {
	switch {
	case c.Op == "delete":
		return "deleted"
	case c.Before != nil:
		return "changed"
	}
	return "created"
}

// tally counts changes by what they do to which kind of object.
func tally(changes []api.Change) string {
	n := map[string]int{}
	var order []string
	for _, c := range changes {
		kind, _, _ := strings.Cut(c.Key, "/")
		what := verb(c) + " " + kind
		if n[what] == 0 {
			order = append(order, what)
		}
		n[what]++
	}
	lines := make([]string, len(order))
	for i, what := range order {
		v, kind, _ := strings.Cut(what, " ")
		lines[i] = fmt.Sprintf("%-8s %d %s", v, n[what], kind)
	}
	return strings.Join(lines, "\n")
}

func deleteCmd() *cobra.Command {
	var c change
	var file string
	var guard lossGuard
	cmd := &cobra.Command{
		Use:   "delete KEY... | -f FILE",
		Short: "Delete objects of the policy",
		Long: `Delete objects by their keys, or all objects that a policy file has: all or none.
An object that others need can only be deleted together with them. Keys are
those that "nvgre-ofctl get KIND -o name" prints:

  hosts/NAME  routing-domains/RDID  subnets/VSID  records/VSID/CA
  routes/RDID/PREFIX/LENGTH/METRIC/NEXTHOP  gateway-mac

With --require-no-loss nothing is deleted if VMs that reach one another now would
no longer do so, as for "nvgre-ofctl apply".`,
		Example:           "  nvgre-ofctl delete records/5001/10.0.1.11\n  nvgre-ofctl get records --host h3 -o name | xargs nvgre-ofctl delete",
		ValidArgsFunction: completeKeys(&c.connection),
	}
	c.addFlags(cmd)
	fileFlag(cmd, &file)
	guard.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("output", c.output, "table", "json"); err != nil {
			return err
		}
		if err := guard.check(); err != nil {
			return err
		}
		if (len(args) == 0) == (file == "") {
			return usagef("delete wants either keys of objects, or -f FILE; see nvgre-ofctl delete --help")
		}
		var changes []tenant.Change
		var from sources
		if file != "" {
			puts, where, err := policyPuts(cmd, file)
			if err != nil {
				return err
			}
			from = where
			for _, p := range puts {
				changes = append(changes, tenant.Delete(p.Key()))
			}
		}
		for _, a := range args {
			k, err := api.ParseKey(a)
			if err != nil {
				return usagef("%w; nvgre-ofctl get KIND -o name prints keys", err)
			}
			changes = append(changes, tenant.Delete(k))
		}
		if guard.on {
			return guard.run(cmd, &c, changes, from, c.options(cmd))
		}
		return c.run(cmd, changes, from, c.options(cmd))
	}
	return cmd
}

func rollbackCmd() *cobra.Command {
	var c change
	var to uint64
	var at string
	var guard lossGuard
	cmd := &cobra.Command{
		Use:   "rollback --to REVISION | --to-time TIME",
		Short: "Make the policy what it was at an earlier revision",
		Long: `Make a new revision that holds what an earlier one held. What came between stays
in the history, and can be returned to in the same way. With --require-no-loss
nothing is stored if VMs that reach one another now would no longer do so, as for
"nvgre-ofctl apply".`,
		Example:           "  nvgre-ofctl get revisions\n  nvgre-ofctl diff --from 1042\n  nvgre-ofctl rollback --to 1042 -m 'the change of 14:00 was wrong'",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd)
	cmd.Flags().Uint64Var(&to, "to", 0, "the revision to return to")
	cmd.Flags().StringVar(&at, "to-time", "", "the time to return to")
	guard.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", c.output, "table", "json"); err != nil {
			return err
		}
		if err := guard.check(); err != nil {
			return err
		}
		if (to == 0) == (at == "") {
			return usagef("rollback wants either --to REVISION or --to-time TIME; nvgre-ofctl get revisions lists them")
		}
		var when time.Time
		if at != "" {
			var err error
			if when, err = parseTime("to-time", at); err != nil {
				return err
			}
		}
		if guard.on {
			return guard.rollback(cmd, &c, to, when, c.options(cmd))
		}
		return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
			a, err := cl.Rollback(ctx, to, when, c.options(cmd))
			if err != nil {
				return err
			}
			return c.print(cmd, a)
		})
	}
	return cmd
}
