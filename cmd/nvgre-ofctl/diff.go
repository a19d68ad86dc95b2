package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
)

func diffCmd() *cobra.Command {
	var c connection
	var file, output string
	var replace bool
	var from, to uint64
	var fwd forwarding
	cmd := &cobra.Command{
		Use:   "diff -f FILE | --from REVISION [--to REVISION]",
		Short: "Show what an apply of a file would change, or what changed between revisions",
		Long: `Show what "nvgre-ofctl apply" with the same -f and --replace would change, or what
changed from one revision to another. + is an object that comes, - one that goes,
~ one that changes, from the first line to the second.

With --forwarding show instead what it does to packets: which pairs of VMs gain
or lose reachability, which take another path or arrive with other headers, and
how many flows change on which hosts. It is judged with the VMs where they are
attached now; with --planned, and for --from and --to, where the policy wants
them. A VM that changes its address counts as lost by the old one and gained by
the new one. Packets to a VM's own gateways and by customer routes count apart.

The exit code is 0 where there is no difference, 1 where there is one.`,
		Example:           "  nvgre-ofctl diff -f policy.yaml --replace\n  nvgre-ofctl diff --from 1042\n  nvgre-ofctl diff --forwarding -f policy.yaml",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd, time.Minute)
	fileFlag(cmd, &file)
	f := cmd.Flags()
	f.BoolVar(&replace, "replace", false, "with -f: what the file lacks is a difference too")
	f.Uint64Var(&from, "from", 0, "the first revision (default: the one in force)")
	f.Uint64Var(&to, "to", 0, "the second revision (default: the one in force)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	completeFlag(cmd, "output", "table", "json")
	fwd.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := oneOf("output", output, "table", "json"); err != nil {
			return err
		}
		if revisions := from != 0 || to != 0; revisions == (file != "") || revisions && replace {
			return usagef("diff wants either -f FILE, or --from REVISION, --to REVISION or both")
		}
		if err := fwd.check(); err != nil {
			return err
		}
		var d *api.Diff
		var step *impactStep
		err := c.with(cmd, func(ctx context.Context, cl *client.Client) (err error) {
			if fwd.show && file == "" {
				step, err = fwd.revisions(ctx, cl, from, to)
				return err
			}
			if file == "" {
				d, err = cl.Diff(ctx, from, to)
				return err
			}
			changes, where, err := policyPuts(cmd, file)
			if err != nil {
				return err
			}
			d, err = cl.DiffWith(ctx, changes, replace)
			if err != nil || !fwd.show {
				return where.locate(err)
			}
			step, err = fwd.step(ctx, cl, changes, replace)
			return err
		})
		if err != nil {
			// 1 says that there is a difference, which nobody knows.
			var own interface{ ExitCode() int }
			if !errors.As(err, &own) && cmd.Context().Err() == nil {
				err = withCode(codeInput, err)
			}
			return err
		}
		if fwd.show {
			return fwd.print(cmd, step, output)
		}
		if output == "json" {
			err = printJSON(cmd.OutOrStdout(), d)
		} else {
			err = printDiff(cmd.OutOrStdout(), d.Changes)
		}
		if err == nil && len(d.Changes) > 0 {
			err = &exitError{code: codeFailed}
		}
		return err
	}
	return cmd
}

func printDiff(w io.Writer, changes []api.Change) error {
	for _, c := range changes {
		var err error
		switch {
		case c.Op == "delete" && c.Before == nil:
			_, err = fmt.Fprintf(w, "- %s\n", c.Key)
		case c.Op == "delete":
			_, err = fmt.Fprintf(w, "- %s %s\n", c.Key, objectText(c.Before))
		case c.Before == nil:
			_, err = fmt.Fprintf(w, "+ %s %s\n", c.Key, objectText(c.Object))
		default:
			_, err = fmt.Fprintf(w, "~ %s %s\n  %*s %s\n", c.Key, objectText(c.Before), len(c.Key), "->", objectText(c.Object))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// objectText returns the object in JSON, on one line.
func objectText(o *api.Object) string {
	if o == nil {
		return ""
	}
	b, err := o.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}
