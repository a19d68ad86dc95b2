//go:build linux

package testbedcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/demo"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/shell"
)

func (c *command) pingall() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "pingall",
		Short: "Ping from every VM to every other; exit code 1 if not all is as the policy wants",
		Long: `Ping from every VM to the address of every other, and compare what arrives where,
and with which TTL, with what the policy wants: within a tenant everybody is reached,
across its subnets at the price of one hop, and across tenants nobody is.

All adapters are watched, so a packet that reaches the wrong VM with the right
address is found as well.`,
		Args: cobra.NoArgs,
		RunE: c.openedAny(func(cmd *cobra.Command, tb bed, _ []string) error {
			ctx, cancel := untilInterrupt(cmd)
			defer cancel()
			m, err := tb.Ping(ctx)
			if err != nil {
				return err
			}
			write := m.WriteTable
			if output == "json" {
				write = func(w io.Writer) error { return writeJSON(w, m) }
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if m.Differences > 0 {
				return &ExitError{1, fmt.Errorf("%d of %d pairs are not as the policy wants", m.Differences, len(m.Pairs))}
			}
			return nil
		}),
	}
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) capture() *cobra.Command {
	var count int
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "capture [POINT]",
		Short: "Show the frames of the underlay (default), of a subnet of it, of a host or of a VM",
		Long: `Show the frames of the underlay (default), of a subnet of it, of a host's uplink or of a
VM's adapter, until ctrl-C. NVGRE is decoded. In the underlay, each frame that a host
sends is shown once.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completeNode,
		RunE: c.opened(func(cmd *cobra.Command, tb *testbed.Testbed, args []string) error {
			points, err := tb.CapturePoints(append(args, "")[0])
			if err != nil {
				return err
			}
			show := func(p *capture.Packet) error { return showPacket(cmd.OutOrStdout(), p, verbose) }
			if file != "" {
				f, err := os.Create(file)
				if err != nil {
					return err
				}
				defer f.Close()
				w := pcapgo.NewWriterNanos(f)
				if err := w.WriteFileHeader(1<<16, layers.LinkTypeEthernet); err != nil {
					return err
				}
				show = func(p *capture.Packet) error {
					return w.WritePacket(gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Data), Length: len(p.Data)}, p.Data)
				}
			}
			ctx, cancel := untilInterrupt(cmd)
			defer cancel()
			return runCapture(ctx, cmd.ErrOrStderr(), points, count, show)
		}),
	}
	cmd.Flags().IntVarP(&count, "count", "c", 0, "stop after this many frames (0: ctrl-C stops)")
	cmd.Flags().StringVarP(&file, "write", "w", "", "write the frames to this file (pcap) instead of showing them")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every layer on a line of its own")
	return cmd
}

func runCapture(ctx context.Context, errOut io.Writer, points []capture.Point, count int, show func(*capture.Packet) error) error {
	seen := 0
	var failed error
	lost, err := capture.Run(ctx, points, func() { fmt.Fprintf(errOut, "capturing at %d points\n", len(points)) }, func(p *capture.Packet) bool {
		if failed = show(p); failed != nil {
			return false
		}
		seen++
		return count <= 0 || seen < count
	})
	fmt.Fprintf(errOut, "%d frames, %d missed\n", seen, lost)
	return errors.Join(err, failed)
}

func showPacket(w io.Writer, p *capture.Packet, verbose bool) error {
	text := p.Frame.String()
	if p.Err != nil {
		text += " [" + p.Err.Error() + "]"
	}
	if verbose {
		text = fmt.Sprintf("%d octets\n%s", len(p.Data), p.Frame.Explain())
	}
	_, err := fmt.Fprintf(w, "%s %-8s %s\n", p.Time.Format("15:04:05.000000"), p.Point, text)
	return err
}

func (c *command) shell() *cobra.Command {
	return &cobra.Command{
		Use:   "shell",
		Short: "Use a testbed interactively; commands from a pipe work too",
		Example: `  nvgre-ofctl testbed shell
  echo 'blue/web1 ping -c1 db1' | nvgre-ofctl testbed shell`,
		Args: cobra.NoArgs,
		RunE: c.opened(func(cmd *cobra.Command, tb *testbed.Testbed, _ []string) error {
			s := &shell.Shell{Testbed: tb, In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
			if f, ok := s.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				// ctrl-C ends what runs in the shell, not the shell.
				ctx, cancel := signal.NotifyContext(context.WithoutCancel(cmd.Context()), syscall.SIGTERM)
				defer cancel()
				return s.Interactive(ctx)
			}
			if err := s.Script(cmd.Context()); errors.Is(err, shell.ErrFailed) {
				return &ExitError{Code: 1}
			} else if err != nil {
				return err
			}
			return nil
		}),
	}
}

func (c *command) plug() *cobra.Command {
	return &cobra.Command{
		Use:   "plug IFACE-ID [HOST]",
		Short: "Add a VM that the policy file has by now",
		Args:  cobra.RangeArgs(1, 2),
		RunE: c.openedAny(func(cmd *cobra.Command, tb bed, args []string) error {
			return tb.Plug(cmd.Context(), args[0], append(args, "")[1])
		}),
	}
}

func (c *command) unplug() *cobra.Command {
	return &cobra.Command{
		Use:               "unplug VM",
		Short:             "Remove a VM",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeNode,
		RunE: c.openedAny(func(cmd *cobra.Command, tb bed, args []string) error {
			return tb.Unplug(cmd.Context(), args[0])
		}),
	}
}

func (c *command) move() *cobra.Command {
	return &cobra.Command{
		Use:               "move VM HOST",
		Short:             "Move a running VM to another host, as a live migration does",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: c.completeNode,
		RunE: c.openedAny(func(cmd *cobra.Command, tb bed, args []string) error {
			return tb.Move(cmd.Context(), args[0], args[1])
		}),
	}
}

func (c *command) restart() *cobra.Command {
	var crash bool
	cmd := &cobra.Command{
		Use:               "restart HOST",
		Short:             "Restart a host's ovs-vswitchd, which forgets all flows",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeNode,
		RunE: c.opened(func(cmd *cobra.Command, tb *testbed.Testbed, args []string) error {
			return tb.RestartSwitch(cmd.Context(), args[0], crash)
		}),
	}
	cmd.Flags().BoolVar(&crash, "crash", false, "end it with SIGKILL")
	return cmd
}

func (c *command) demo() *cobra.Command {
	var file, datapath string
	cmd := &cobra.Command{
		Use:   "demo -f FILE",
		Short: "Show the product at work: build, run the controller, prove who reaches whom, remove",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := loadTopology(file)
			if err != nil {
				return err
			}
			plan.Name = "demo"
			if c.name != "" {
				plan.Name = c.name
			}
			binary, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			ctx, cancel := untilInterrupt(cmd)
			defer cancel()
			d := &demo.Demo{Plan: plan, Binary: binary, Out: cmd.OutOrStdout(), Options: testbed.Options{
				Root: c.root, Datapath: datapath, Progress: progressTo(cmd.OutOrStdout()),
			}}
			err = d.Run(ctx)
			if ctx.Err() != nil {
				return interrupted(err)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "topology file (YAML)")
	cmd.Flags().StringVar(&datapath, "datapath", testbed.DatapathAuto, "datapath of Open vSwitch: auto, netdev or system")
	cmd.MarkFlagRequired("file")
	cmd.MarkFlagFilename("file", "yaml", "yml")
	return cmd
}
