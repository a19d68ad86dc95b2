//go:build linux

package testbedcmd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
)

// fleetFlags are the flags of `testbed fleet`.
type fleetFlags struct {
	options  fleet.Options
	interval time.Duration
	output   string
}

func (c *command) fleet() *cobra.Command {
	var f fleetFlags
	cmd := &cobra.Command{
		Use:   "fleet --hosts N --records R --domains D --domains-per-host K",
		Short: "Simulate thousands of hosts for a controller to drive",
		Long: `Simulate thousands of hosts in this process, until ctrl-C: each an OpenFlow
switch and an OVSDB server on sockets of its own. They accept, count and forward
nothing. A policy and the settings of a controller are written beside the
sockets. It needs no root, only the schema that comes with Open vSwitch.

Lines on standard input make hosts misbehave, and VMs come and go:

` + fleet.CommandHelp,
		Example: `  nvgre-ofctl testbed fleet --hosts 1000 --records 100000 --domains 2000 --domains-per-host 20 --dir /tmp/fleet
  nvgre-ofctl controller --config /tmp/fleet/nvgre.yaml`,
		Args: cobra.NoArgs,
	}
	fl := cmd.Flags()
	outputFlag(cmd, &f.output)
	fl.IntVar(&f.options.Plan.Hosts, "hosts", 100, "hosts")
	fl.IntVar(&f.options.Plan.Records, "records", 10000, "lookup records in the policy")
	fl.IntVar(&f.options.Plan.Domains, "domains", 100, "routing domains in the policy")
	fl.IntVar(&f.options.Plan.DomainsPerHost, "domains-per-host", 10, "routing domains of which a host has records")
	fl.IntVar(&f.options.Plan.SubnetSize, "subnet-size", 250, "most records of a virtual subnet, 1 to 250")
	fl.Uint64Var(&f.options.Plan.Seed, "seed", 0, "how routing domains are spread over hosts")
	fl.IntVar(&f.options.Attach, "attach", 1, "VMs of each of its routing domains that a host has from the start; -1: all")
	fl.BoolVar(&f.options.Bare, "bare", false, "hosts have no bridge until a controller makes it; needs --attach 0")
	fl.BoolVar(&f.options.TCP, "tcp", false, "ports on 127.0.0.1 in place of unix sockets")
	fl.IntVar(&f.options.FlowLimit, "flow-limit", 0, "flows that a switch holds; more are refused (0: no limit)")
	fl.StringVar(&f.options.Dir, "dir", "", "directory of sockets, policy and settings (default: a new one, removed at the end)")
	fl.DurationVar(&f.interval, "interval", time.Second, "time between two lines of counters")
	cmd.MarkFlagDirname("dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.interval <= 0 {
			return fmt.Errorf("--interval %v: want a time such as 1s", f.interval)
		}
		ctx, cancel := untilInterrupt(cmd)
		defer cancel()
		return f.run(ctx, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// fleetStarted is what is printed first with -o json.
type fleetStarted struct {
	Hosts          int     `json:"hosts"`
	Records        int     `json:"records"`
	Domains        int     `json:"domains"`
	DomainsPerHost int     `json:"domains_per_host"`
	Attachments    int     `json:"attachments"`
	Seconds        float64 `json:"seconds"` // that the start took
	fleet.Files
}

// fleetCounters is a line of counters. Rates are per second since the last one.
type fleetCounters struct {
	Seconds        float64 `json:"seconds"` // since the start
	Connected      int     `json:"openflow_connections"`
	Masters        int     `json:"masters"`
	Databases      int     `json:"ovsdb_connections"`
	Flows          int     `json:"flows"`
	DistinctFlows  int     `json:"distinct_flows"`
	FlowMods       uint64  `json:"flow_mods"`
	FlowModRate    float64 `json:"flow_mods_per_second"`
	Bundles        uint64  `json:"bundles"`
	BytesReceived  uint64  `json:"bytes_received"`
	Errors         uint64  `json:"errors"`
	MaxOutstanding uint64  `json:"max_outstanding"`
	Transactions   uint64  `json:"ovsdb_transactions"`
}

func (f *fleetFlags) run(ctx context.Context, in io.Reader, out, errOut io.Writer) (err error) {
	began := time.Now()
	if f.options.Dir == "" {
		if f.options.Dir, err = os.MkdirTemp("", "nvgre-fleet"); err != nil {
			return err
		}
		defer func() {
			if rerr := os.RemoveAll(f.options.Dir); err == nil {
				err = rerr
			}
		}()
	}
	fl, err := fleet.Start(ctx, f.options)
	if err != nil {
		if ctx.Err() != nil {
			return nil // ctrl-C is how it is meant to end
		}
		return err
	}
	defer fl.Close()
	files, err := fl.WriteFiles()
	if err != nil {
		return err
	}
	attached := 0
	for i := range fl.Len() {
		attached += len(fl.Host(i).Attachments())
	}
	p := fl.Layout().Plan()
	started := fleetStarted{p.Hosts, p.Records, p.Domains, p.DomainsPerHost, attached, time.Since(began).Seconds(), files}
	if err := f.printStart(out, &started); err != nil {
		return err
	}
	lines := make(chan string)
	go readLines(ctx, in, lines) // ends with the input, or at its next line
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	var last fleetCounters
	for {
		select {
		case <-ctx.Done():
			f.endLine(out)
			return nil
		case line := <-lines:
			told, err := fl.Command(line)
			if err != nil {
				fmt.Fprintf(errOut, "%s: %v\n", line, err)
			} else if told != "" {
				fmt.Fprintln(errOut, told)
			}
		case <-tick.C:
			now := counters(fl.Totals(), time.Since(began).Seconds())
			now.FlowModRate = float64(now.FlowMods-last.FlowMods) / (now.Seconds - last.Seconds)
			if err := f.printCounters(out, &now); err != nil {
				return err
			}
			last = now
		}
	}
}

func readLines(ctx context.Context, in io.Reader, to chan<- string) {
	for s := bufio.NewScanner(in); s.Scan(); {
		select {
		case to <- s.Text():
		case <-ctx.Done():
			return
		}
	}
}

func counters(t fleet.Totals, seconds float64) fleetCounters {
	return fleetCounters{
		Seconds: seconds, Connected: t.Connections, Masters: t.Masters, Databases: t.Databases, Flows: t.Flows, DistinctFlows: t.DistinctFlows,
		FlowMods: t.OpenFlow.FlowMods(), Bundles: t.OpenFlow.Bundles, BytesReceived: t.OpenFlow.BytesReceived, Errors: t.OpenFlow.Errors,
		MaxOutstanding: t.OpenFlow.MaxOutstanding, Transactions: t.OVSDB.Transactions,
	}
}

func (f *fleetFlags) printStart(out io.Writer, s *fleetStarted) error {
	if f.output == "json" {
		return json.NewEncoder(out).Encode(s)
	}
	_, err := fmt.Fprintf(out, "%d hosts, %d records in %d routing domains, %d on each host, %d VMs attached, in %.2f s\npolicy    %s\nsettings  %s\nnow run   nvgre-ofctl controller --config %s\n",
		s.Hosts, s.Records, s.Domains, s.DomainsPerHost, s.Attachments, s.Seconds, s.Policy, s.Settings, s.Settings)
	return err
}

// printCounters prints a line; on a terminal, over the last one.
func (f *fleetFlags) printCounters(out io.Writer, c *fleetCounters) error {
	if f.output == "json" {
		return json.NewEncoder(out).Encode(c)
	}
	begin, end := "", "\n"
	if onTerminal(out) {
		begin, end = "\r\x1b[K", ""
	}
	_, err := fmt.Fprintf(out, "%s%6.0fs  connected %d  masters %d  flows %d (%d distinct)  flow-mods %d (%.0f/s)  bundles %d  errors %d  ovsdb %d%s",
		begin, c.Seconds, c.Connected, c.Masters, c.Flows, c.DistinctFlows, c.FlowMods, c.FlowModRate, c.Bundles, c.Errors, c.Databases, end)
	return err
}

func (f *fleetFlags) endLine(out io.Writer) {
	if f.output != "json" && onTerminal(out) {
		fmt.Fprintln(out)
	}
}

func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
