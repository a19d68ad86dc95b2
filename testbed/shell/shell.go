//go:build linux

// Package shell is the interactive shell of a testbed, with Mininet's habits:
// `web1 ping db1` runs ping in web1, with the address of db1.
package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chzyer/readline"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// A Shell reads commands and runs them on a testbed.
type Shell struct {
	Testbed *testbed.Testbed
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
}

// ErrFailed says that a command of a script failed; what and why was printed.
var ErrFailed = errors.New("a command failed")

// Interactive reads commands from the terminal, with editing, history and
// completion, until exit or the end of the input.
func (s *Shell) Interactive(ctx context.Context) error {
	rl, err := readline.NewEx(&readline.Config{
		Prompt:       s.Testbed.Name() + "> ",
		AutoComplete: s.completer(),
		EOFPrompt:    "exit",
	})
	if err != nil {
		return fmt.Errorf("reading from the terminal: %w", err)
	}
	defer rl.Close()
	stop := context.AfterFunc(ctx, func() { rl.Close() }) // Readline returns
	defer stop()
	fmt.Fprintf(s.Out, "testbed %s: %d hosts, %d VMs; `help` lists the commands\n", s.Testbed.Name(), len(s.Testbed.Plan().Hosts), len(s.Testbed.Plan().VMs))
	for ctx.Err() == nil {
		line, err := rl.Readline()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		exit, err := s.Do(ctx, line)
		if err != nil {
			fmt.Fprintln(s.Err, err)
		}
		if exit {
			return nil
		}
	}
	return ctx.Err()
}

// Script reads commands from In, line by line, until exit or the end. It runs
// all of them, and returns [ErrFailed] if any failed.
func (s *Shell) Script(ctx context.Context) error {
	var failed error
	in := bufio.NewScanner(s.In)
	for in.Scan() && ctx.Err() == nil {
		exit, err := s.Do(ctx, in.Text())
		if err != nil {
			fmt.Fprintln(s.Err, err)
			failed = ErrFailed
		}
		if exit {
			return failed
		}
	}
	return errors.Join(in.Err(), ctx.Err(), failed)
}

const help = `NODE COMMAND...      run a command in a VM or on a host; names of VMs in it become their addresses:
                       web1 ping -c1 db1        h1 ovs-vsctl show
pingall              ping from every VM to every other, and compare with the policy
iperf VM VM [SECS]   TCP throughput from the first to the second
link NODE up|down    plug or pull the cable of a host or a VM
capture [POINT] [N]  show N frames (default 5) of the underlay, a host or a VM
nodes                list the hosts and VMs
links                list the links and whether they are up
dump                 describe everything
help, exit
A VM is named by its iface-id, by TENANT/VM, or by its VM name where that is unique.
After a node, the names of its own tenant come first.`

// Do runs one line. exit says that the user wants to leave.
func (s *Shell) Do(ctx context.Context, line string) (exit bool, err error) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return false, nil
	}
	args := words[1:]
	// Commands of nodes get ctrl-C from the terminal, ours from here.
	own, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	switch words[0] {
	case "exit", "quit":
		return true, nil
	case "help", "?":
		_, err = fmt.Fprintln(s.Out, help)
	case "pingall":
		err = s.pingAll(own)
	case "nodes":
		err = s.nodes()
	case "links":
		err = s.links()
	case "dump":
		err = s.Testbed.Inspect().WriteTable(s.Out)
	case "link":
		if len(args) != 2 || args[1] != "up" && args[1] != "down" {
			return false, errors.New("usage: link HOST|VM up|down")
		}
		err = s.Testbed.SetLink(args[0], args[1] == "up")
	case "iperf":
		err = s.iperf(own, args)
	case "capture":
		err = s.capture(own, args)
	default:
		err = s.run(ctx, words[0], strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), words[0])))
	}
	return false, err
}

func (s *Shell) run(ctx context.Context, name, command string) error {
	n, err := s.Testbed.Node(name)
	var unknown *topology.UnknownNodeError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%s: no such command or node: `help` and `nodes` list them", name)
	}
	if err != nil {
		return err
	}
	if command == "" {
		return fmt.Errorf("usage: %s COMMAND [ARGUMENT]", name)
	}
	code, err := s.Testbed.Exec(ctx, n.Name, testbed.Command{
		Args: []string{"sh", "-c", s.withAddresses(n, command)}, Stdin: s.stdin(), Stdout: s.Out, Stderr: s.Err,
	})
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("exit code %d", code)
	}
	return nil
}

// stdin is the terminal, if that is where commands come from: a script is not
// for the commands in it to read.
func (s *Shell) stdin() io.Reader {
	if f, ok := s.In.(*os.File); ok && readline.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

var word = regexp.MustCompile(`\S+`)

// withAddresses puts addresses where a command has names of nodes, but for the
// command's own name.
func (s *Shell) withAddresses(n *testbed.Node, command string) string {
	domain, first := "", true
	if n.VM != nil {
		domain = n.VM.Domain
	}
	return word.ReplaceAllStringFunc(command, func(w string) string {
		if first {
			first = false
			return w
		}
		to, err := s.Testbed.NodeNear(w, domain)
		switch {
		case err != nil:
			return w
		case to.VM != nil:
			return to.VM.CA().String()
		case len(to.Host.PAs) > 0:
			return to.Host.PAs[0].Addr().String()
		}
		return w
	})
}

func (s *Shell) pingAll(ctx context.Context) error {
	m, err := s.Testbed.Ping(ctx)
	if err != nil {
		return err
	}
	if err := m.WriteTable(s.Out); err != nil {
		return err
	}
	if m.Differences > 0 {
		return fmt.Errorf("%d of %d pairs are not as the policy wants", m.Differences, len(m.Pairs))
	}
	return nil
}

func (s *Shell) nodes() error {
	var hosts, vms []string
	for _, h := range s.Testbed.Plan().Hosts {
		hosts = append(hosts, h.Name)
	}
	for _, v := range s.Testbed.Plan().VMs {
		vms = append(vms, v.IfaceID)
	}
	_, err := fmt.Fprintf(s.Out, "hosts: %s\nVMs: %s\n", strings.Join(hosts, " "), strings.Join(vms, " "))
	return err
}

func (s *Shell) links() error {
	in := s.Testbed.Inspect()
	state := map[bool]string{true: "up", false: "down"}
	tw := tabwriter.NewWriter(s.Out, 0, 0, 1, ' ', 0)
	for _, h := range in.Hosts {
		fmt.Fprintf(tw, "%s:%s\t<->\t%s:%s\t%s\n", h.Name, testbed.Uplink, h.Subnet, h.Port, state[h.LinkUp])
	}
	for _, v := range in.VMs {
		fmt.Fprintf(tw, "%s:%s\t<->\t%s:%s\t%s\n", v.IfaceID, testbed.VMDevice, v.Host, v.Port, state[v.LinkUp])
	}
	return tw.Flush()
}

func (s *Shell) iperf(ctx context.Context, args []string) error {
	seconds := 3.0
	var err error
	if len(args) == 3 {
		seconds, err = strconv.ParseFloat(args[2], 64)
	}
	if len(args) < 2 || len(args) > 3 || err != nil || !(seconds > 0 && seconds <= 3600) {
		return errors.New("usage: iperf VM VM [SECONDS]")
	}
	plan := s.Testbed.Plan()
	from, err := plan.FindVM(args[0], "")
	if err != nil {
		return err
	}
	to, err := plan.FindVM(args[1], from.Domain)
	if err != nil {
		return err
	}
	r, err := s.Testbed.Throughput(ctx, from, to, time.Duration(seconds*float64(time.Second)))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "%s -> %s: %.0f Mbit/s of TCP payload in %.1f s\n", from.IfaceID, to.IfaceID, r.MbitPerSecond(), r.Duration.Seconds())
	return err
}

// captureTime bounds how long the shell waits for frames.
const captureTime = 10 * time.Second

func (s *Shell) capture(ctx context.Context, args []string) error {
	point, n := "", 5
	for _, a := range args {
		if v, err := strconv.Atoi(a); err == nil && v > 0 {
			n = v
		} else {
			point = a
		}
	}
	points, err := s.Testbed.CapturePoints(point)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, captureTime)
	defer cancel()
	_, err = capture.Run(ctx, points, nil, func(p *capture.Packet) bool {
		fmt.Fprintf(s.Out, "%s %s: %s\n", p.Time.Format("15:04:05.000000"), p.Point, p.Frame)
		n--
		return n > 0
	})
	return err
}

func (s *Shell) completer() readline.AutoCompleter {
	var nodes []readline.PrefixCompleterInterface
	for _, h := range s.Testbed.Plan().Hosts {
		nodes = append(nodes, readline.PcItem(h.Name))
	}
	for _, v := range s.Testbed.Plan().VMs {
		nodes = append(nodes, readline.PcItem(v.IfaceID))
	}
	all := append([]readline.PrefixCompleterInterface{
		readline.PcItem("pingall"), readline.PcItem("nodes"), readline.PcItem("links"), readline.PcItem("dump"),
		readline.PcItem("help"), readline.PcItem("exit"),
		readline.PcItem("iperf", nodes...), readline.PcItem("link", nodes...), readline.PcItem("capture", nodes...),
	}, nodes...)
	return readline.NewPrefixCompleter(all...)
}
