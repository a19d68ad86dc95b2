package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/hnv"
)

func exportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a policy in the form of another system",
		Args:  exactly(0, "a format: hnv"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(exportHNVCmd())
	return cmd
}

func exportHNVCmd() *cobra.Command {
	var file, output string
	var strict bool
	cmd := &cobra.Command{
		Use:   "hnv -f FILE",
		Short: "Write a policy file as a PowerShell script of Hyper-V Network Virtualization",
		Long: `Write a policy file as a script that sets the same policy up on Hyper-V hosts of
the same names. What Network Virtualization has no place for goes to standard
error as "not carried over": names of routing domains and subnets, how a
controller reaches a host, records of VMs without a host. See docs/HNV.md.`,
		Example:           "  nvgre-ofctl export hnv -f policy.yaml -o deploy.ps1\n  nvgre-ofctl get policy | nvgre-ofctl export hnv -f -",
		Args:              exactly(0, "no arguments but -f FILE"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("export hnv wants -f FILE, the policy file; see %s --help", cmd.CommandPath())
			}
			p, err := loadPolicy(cmd, file)
			if err != nil {
				return err
			}
			out, notes := hnv.Export(p)
			for _, n := range notes {
				fmt.Fprintln(cmd.ErrOrStderr(), n)
			}
			if strict && len(notes) > 0 {
				return withCode(codeInput, fmt.Errorf("%s: %s not carried over, and --strict wants all of it", file, plural(len(notes), "part")))
			}
			return writeOutput(cmd, output, out)
		},
	}
	fileFlag(cmd, &file)
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "-", "the script to write; - is standard output")
	f.BoolVar(&strict, "strict", false, "write nothing, and end with code 3, where a part of the policy is not carried over")
	return cmd
}
