//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// A Node is a host or a VM of a testbed.
type Node struct {
	Name      string // of the host, or the VM's iface-id
	Namespace string
	Host      *topology.Host // nil for a VM
	VM        *topology.VM   // nil for a host
}

// Node returns the host or VM that a user means: a host by its name, a VM as
// [topology.Plan.FindVM] says.
func (t *Testbed) Node(name string) (*Node, error) { return t.NodeNear(name, "") }

// NodeNear is like [Testbed.Node], but tries a VM name in one routing domain
// before it looks elsewhere.
func (t *Testbed) NodeNear(name, domain string) (*Node, error) {
	plan := t.Plan()
	if h, ok := plan.Host(name); ok {
		return &Node{Name: h.Name, Namespace: t.HostNamespace(h.Name), Host: h}, nil
	}
	v, err := plan.FindVM(name, domain)
	if err != nil {
		return nil, err
	}
	return &Node{Name: v.IfaceID, Namespace: t.VMNamespace(v.IfaceID), VM: v}, nil
}

// Command is what runs in a node, and where its input and output go; nil ones
// are empty.
type Command struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exec runs a command in a host or a VM and returns its exit code; for one that
// a signal ended, 128 and the number of the signal, as sh(1) does. On a host the
// tools of Open vSwitch (ovs-vsctl, ovs-ofctl, ovs-appctl) act on the host's own
// switch. An error says that the command could not be run.
func (t *Testbed) Exec(ctx context.Context, node string, c Command) (int, error) {
	n, err := t.Node(node)
	if err != nil {
		return -1, err
	}
	if len(c.Args) == 0 {
		return -1, errors.New("no command to run")
	}
	path, err := ovsproc.LookPath(c.Args[0])
	if err != nil {
		return -1, fmt.Errorf("running %s in %s: %w", c.Args[0], n.Name, err)
	}
	cmd := exec.CommandContext(ctx, path, c.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	dir := ""
	if n.Host != nil {
		dir = t.runDir(n.Host.Name)
	}
	cmd.Env = ovsproc.Environ(dir, "NVGRE_TESTBED_NODE="+n.Name)
	// The terminal sends ctrl-C to both of us; it is meant for the command.
	ignore := make(chan os.Signal, 1)
	signal.Notify(ignore, os.Interrupt)
	defer signal.Stop(ignore)
	if err := netspace.Do(n.Namespace, cmd.Start); err != nil {
		return -1, fmt.Errorf("running %s in %s: %w", c.Args[0], n.Name, err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return -1, fmt.Errorf("running %s in %s: %w", c.Args[0], n.Name, err)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
