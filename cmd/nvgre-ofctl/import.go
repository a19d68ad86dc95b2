package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/hnv"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

func importCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make a policy file of what another system has",
		Args:  exactly(0, "a format: hnv"),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(importHNVCmd())
	return cmd
}

func importHNVCmd() *cobra.Command {
	var output, local string
	var strict, quiet bool
	cmd := &cobra.Command{
		Use:   "hnv FILE.ps1",
		Short: "Make a policy file of a PowerShell script of Hyper-V Network Virtualization",
		Long: `Read a script of the cmdlets New-, Set- and Remove-NetVirtualizationLookupRecord,
-CustomerRoute, -ProviderAddress and -ProviderRoute and write the policy that it
sets up. Nothing of the script is run. "-" reads standard input.

What is passed over goes to standard error, with its place and one of these words:
  skipped           it has no bearing on the policy
  assumed           the script leaves it open
  not carried over  it is policy, and is not in the result
Where the script has an error, nothing is written. See docs/HNV.md.`,
		Example:           "  nvgre-ofctl import hnv deploy.ps1 -o policy.yaml\n  nvgre-ofctl import hnv deploy.ps1 --strict -q | nvgre-ofctl apply -f -",
		Args:              exactly(1, "one script"),
		ValidArgsFunction: completePS1,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, data, err := readScript(cmd, args[0])
			if err != nil {
				return err
			}
			p, notes, err := hnv.Import(name, data, hnv.Options{LocalHost: local})
			lost := 0
			for _, n := range notes {
				if n.Kind == hnv.Lost {
					lost++
				}
				if !quiet || n.Kind != hnv.Skipped {
					fmt.Fprintln(cmd.ErrOrStderr(), n)
				}
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
				return withCode(codeInput, fmt.Errorf("%s gives no policy: correct what is listed above", name))
			}
			if strict && lost > 0 {
				return withCode(codeInput, fmt.Errorf("%s: %s of its policy not carried over, and --strict wants all of it", name, plural(lost, "part")))
			}
			out, err := policyfile.Marshal(p)
			if err != nil {
				return err
			}
			return writeOutput(cmd, output, out)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "-", "the policy file to write; - is standard output")
	f.StringVar(&local, "local-host", "localhost", "the name of the host that commands without -CimSession and -ComputerName apply to")
	f.BoolVar(&strict, "strict", false, "write nothing, and end with code 3, where a part of the policy is not carried over")
	f.BoolVarP(&quiet, "quiet", "q", false, "do not list what has no bearing on the policy")
	return cmd
}

// readScript reads a script and returns the name that its places have.
func readScript(cmd *cobra.Command, file string) (string, []byte, error) {
	in, name := cmd.InOrStdin(), "stdin"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", nil, withCode(codeInput, fmt.Errorf("read the script: %w", err))
		}
		defer f.Close()
		in, name = f, file
	}
	data, err := io.ReadAll(io.LimitReader(in, hnv.MaxSize+1))
	if err != nil {
		return "", nil, withCode(codeInput, fmt.Errorf("read the script: %w", err))
	}
	return name, data, nil
}

// writeOutput writes all of data to a file, or leaves the file as it is. "-" is
// standard output.
func writeOutput(cmd *cobra.Command, file string, data []byte) error {
	if file == "-" {
		_, err := cmd.OutOrStdout().Write(data)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".nvgre-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func completePS1(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"ps1"}, cobra.ShellCompDirectiveFilterFileExt
}
