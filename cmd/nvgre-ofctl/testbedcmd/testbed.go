//go:build linux

// Package testbedcmd holds the commands of `nvgre-ofctl testbed`.
package testbedcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/simbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// ExitError carries the exit code that the process shall end with. Where Err is
// nil everything has been said already, and nothing more shall be printed.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns what went wrong, or nil.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the exit code.
func (e *ExitError) ExitCode() int { return e.Code }

// command is what the commands have in common.
type command struct {
	root string // state root
	name string // of the testbed; empty: the only one
}

// New returns the command `testbed` with all that belongs to it.
func New() *cobra.Command {
	c := &command{}
	cmd := &cobra.Command{
		Use:   "testbed",
		Short: "Build and use whole virtual networks on this machine",
		Long: `Build and use whole virtual networks on this machine.

Each host of a testbed is a network namespace with its own real Open vSwitch,
each VM a namespace on its host's br-int. Such a testbed needs root. A simulated
one (up --backend sim) needs neither root nor Open vSwitch nor a controller: its
switches are a model, which walks the flows of the policy file.`,
		Example: `  nvgre-ofctl testbed up -f testbed/examples/two-tenants.yaml
  nvgre-ofctl controller --config /run/nvgre-ofctl/testbed/two-tenants/nvgre.yaml &
  nvgre-ofctl testbed pingall
  nvgre-ofctl testbed exec blue-web1 -- ping -c1 10.0.2.13
  nvgre-ofctl testbed down
  nvgre-ofctl testbed up -f testbed/examples/two-tenants.yaml --backend sim`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.root, "state-dir", defaultRoot(), "directory that holds the state of testbeds")
	cmd.PersistentFlags().StringVar(&c.name, "name", "", "the testbed (default: the only one)")
	cmd.AddCommand(c.up(), c.down(), c.ls(), c.inspect(), c.exec(), c.link(), c.graph(),
		c.pingall(), c.capture(), c.shell(), c.plug(), c.unplug(), c.move(), c.restart(), c.demo(), c.fleet())
	return cmd
}

// Exit codes that main documents.
const (
	codeUsage       = 2
	codeInput       = 3
	codeInterrupted = 130
)

func loadTopology(file string) (*topology.Plan, error) {
	plan, err := topology.Load(file)
	if err != nil {
		return nil, &ExitError{codeInput, err}
	}
	return plan, nil
}

func usagef(format string, args ...any) error {
	return &ExitError{codeUsage, fmt.Errorf(format, args...)}
}

// untilInterrupt returns a context that ends with ctrl-C or SIGTERM.
func untilInterrupt(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
}

// progressTo returns a function that reports what has been done, with the time
// since it was made.
func progressTo(w io.Writer) func(string) {
	start := time.Now()
	return func(done string) { fmt.Fprintf(w, "%5.2fs  %s\n", time.Since(start).Seconds(), done) }
}

func (c *command) up() *cobra.Command {
	var file, datapath, backend string
	cmd := &cobra.Command{
		Use:   "up -f FILE",
		Short: "Build a testbed from a topology file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := loadTopology(file)
			if err != nil {
				return err
			}
			if c.name != "" {
				plan.Name = c.name
			}
			progress := progressTo(cmd.ErrOrStderr())
			switch backend {
			case "ovs":
			case simbed.Datapath:
				return c.simulate(plan, progress)
			default:
				return usagef("--backend %q: want ovs or sim", backend)
			}
			ctx, cancel := untilInterrupt(cmd)
			defer cancel()
			tb, err := testbed.Build(ctx, plan, testbed.Options{Root: c.root, Datapath: datapath, Progress: progress})
			if ctx.Err() != nil {
				return interrupted(err)
			}
			if err != nil {
				return err
			}
			progress(fmt.Sprintf("testbed %s is up; now run `nvgre-ofctl controller --config %s`", tb.Name(), tb.Settings()))
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "topology file (YAML)")
	cmd.Flags().StringVar(&datapath, "datapath", testbed.DatapathAuto, "datapath of Open vSwitch: auto, netdev or system")
	cmd.Flags().StringVar(&backend, "backend", "ovs", "what the hosts are: ovs (real Open vSwitch), or sim (a model of it, without root)")
	cmd.RegisterFlagCompletionFunc("backend", cobra.FixedCompletions([]string{"ovs", simbed.Datapath}, cobra.ShellCompDirectiveNoFileComp))
	cmd.MarkFlagRequired("file")
	cmd.MarkFlagFilename("file", "yaml", "yml")
	return cmd
}

// interrupted is what a command ends with that ctrl-C broke off: err matters
// only if it tells what was left behind.
func interrupted(err error) error {
	var left *testbed.CleanupError
	if errors.As(err, &left) {
		return &ExitError{codeInterrupted, left}
	}
	return &ExitError{codeInterrupted, errors.New("interrupted: everything was removed again")}
}

func (c *command) down() *cobra.Command {
	return &cobra.Command{
		Use:   "down [NAME]",
		Short: "Remove a testbed, also one that a crash left half made",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				c.name = args[0]
			}
			tb, err := c.openAny()
			if err != nil {
				return err
			}
			return tb.Remove(cmd.Context(), progressTo(cmd.ErrOrStderr()))
		},
	}
}

func (c *command) ls() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the testbeds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := listAny(c.root)
			if err != nil {
				return err
			}
			if output == "json" {
				list := make([]*testbed.Inspection, 0, len(all))
				for _, tb := range all {
					list = append(list, tb.Inspect())
				}
				return writeJSON(cmd.OutOrStdout(), list)
			}
			tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tPHASE\tHOSTS\tVMS\tDATAPATH\tCREATED\tTOPOLOGY")
			for _, tb := range all {
				p := tb.Plan()
				fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", p.Name, tb.Phase(), len(p.Hosts), len(p.VMs), tb.Datapath(), tb.Created().Format(time.DateTime), p.TopologyFile)
			}
			return tw.Flush()
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) inspect() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Describe a testbed: namespaces, run directories, addresses, capture points",
		Args:  cobra.NoArgs,
		RunE: c.openedAny(func(cmd *cobra.Command, tb bed, _ []string) error {
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), tb.Inspect())
			}
			return tb.Inspect().WriteTable(cmd.OutOrStdout())
		}),
	}
	outputFlag(cmd, &output)
	return cmd
}

// outputFlag adds -o table|json, checked before the command runs.
func outputFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVarP(to, "output", "o", "table", "how to print: table or json")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *to != "table" && *to != "json" {
			return usagef("--output %q: want table or json", *to)
		}
		return nil
	}
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (c *command) exec() *cobra.Command {
	return &cobra.Command{
		Use:   "exec VM|HOST -- COMMAND [ARGUMENT]...",
		Short: "Run a command in a VM or on a host; its exit code is passed through",
		Example: `  nvgre-ofctl testbed exec blue/web1 -- ping -c1 10.0.1.12
  nvgre-ofctl testbed exec h1 -- ovs-vsctl show`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: c.completeNode,
		RunE: c.opened(func(cmd *cobra.Command, tb *testbed.Testbed, args []string) error {
			// ctrl-C reaches the command from the terminal; what ends us ends it.
			ctx, cancel := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
			defer cancel()
			code, err := tb.Exec(ctx, args[0], testbed.Command{
				Args: args[1:], Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(),
			})
			if err != nil {
				return err
			}
			if code != 0 {
				return &ExitError{Code: code}
			}
			return nil
		}),
	}
}

func (c *command) link() *cobra.Command {
	return &cobra.Command{
		Use:               "link HOST|HOST:1|HOST:2|VM up|down",
		Short:             "Pull the cable of a host or a VM, or plug it in again",
		Long:              "Pull the cable of a host or a VM, or plug it in again. HOST:1 and HOST:2 are the links of a host\nwhose uplinks are bonded (underlay.bond in the topology file).",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: c.completeNode,
		RunE: func(_ *cobra.Command, args []string) error {
			if args[1] != "up" && args[1] != "down" {
				return usagef("%q: want up or down", args[1])
			}
			tb, err := c.openAny()
			if err != nil {
				return err
			}
			return tb.SetLink(args[0], args[1] == "up")
		},
	}
}

func (c *command) graph() *cobra.Command {
	var file, format string
	cmd := &cobra.Command{
		Use:   "graph",
		Short: "Draw a testbed, or a topology file, as a Mermaid or Graphviz graph",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var plan *topology.Plan
			if file != "" {
				p, err := loadTopology(file)
				if err != nil {
					return err
				}
				plan = p
			} else {
				tb, err := c.openAny()
				if err != nil {
					return err
				}
				plan = tb.Plan()
			}
			switch format {
			case "mermaid":
				return testbed.WriteMermaid(cmd.OutOrStdout(), plan)
			case "dot":
				return testbed.WriteDOT(cmd.OutOrStdout(), plan)
			}
			return usagef("--format %q: want mermaid or dot", format)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "draw this topology file instead of a running testbed")
	cmd.Flags().StringVar(&format, "format", "mermaid", "mermaid or dot")
	return cmd
}

// completeNode completes the first argument with the hosts and VMs.
func (c *command) completeNode(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	tb, err := c.openAny()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, h := range tb.Plan().Hosts {
		names = append(names, h.Name)
	}
	for _, v := range tb.Plan().VMs {
		names = append(names, v.IfaceID)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
