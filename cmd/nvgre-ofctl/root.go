package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl/testbedcmd"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func newRoot(version string) *cobra.Command {
	root := &cobra.Command{
		Use:   "nvgre-ofctl",
		Short: "NVGRE / Hyper-V Network Virtualization on Open vSwitch",
		Long: `nvgre-ofctl gives tenants networks of their own on Open vSwitch hosts: it compiles
lookup records (routing domain, customer address -> MAC, VSID, provider address)
to OpenFlow tables and keeps every host's switch at them. Nothing is learned and
nothing is flooded.

Begin with "nvgre-ofctl validate" and "nvgre-ofctl compile" on a policy file,
which need no switch; "nvgre-ofctl testbed" builds a network to try it on.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, " or ") + "? "
			}
			return usagef("unknown command %q: %ssee nvgre-ofctl help", args[0], hint)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate(versionText(version))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		controllerCmd(version), validateCmd(), compileCmd(), dumpFlowsCmd(), verifyCmd(), traceCmd(), pingCmd(), explainCmd(), dropsCmd(), statusCmd(), doctorCmd(), schemaCmd(), versionCmd(version),
		applyCmd(), deleteCmd(), diffCmd(), getCmd(), historyCmd(), rollbackCmd(), waitCmd(), watchCmd(),
		importCmd(), exportCmd(),
		testbedcmd.New(),
		&cobra.Command{Use: "exit-codes", Short: "The exit codes of all commands", Long: exitCodesText()},
	)
	return root
}

// exactly demands n arguments, which what names.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s wants %s, got %d arguments; see %s --help", cmd.CommandPath(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// oneOf checks the value of a flag that is one word of a list.
func oneOf(flag, value string, words ...string) error {
	for _, w := range words {
		if value == w {
			return nil
		}
	}
	return usagef("--%s is %q: want %s", flag, value, strings.Join(words, ", "))
}

func schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the policy file, for editors",
		Long: `Print the JSON Schema of the policy file. An editor with a YAML language server
completes and checks a policy whose first line is

  # yaml-language-server: $schema=nvgre-policy.schema.json`,
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(policyfile.Schema())
			return err
		},
	}
}

func versionText(version string) string {
	return fmt.Sprintf("nvgre-ofctl %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func versionCmd(version string) *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Print the version",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), versionText(version))
			return err
		},
	}
}
