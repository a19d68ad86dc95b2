package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// Process is a process of a control plane.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // of done
}

// StartProcess starts a command whose output goes to a file in dir, which is
// also the run directory of OVS and OVN for it. End it with [Process.End].
func StartProcess(name, dir, command string, args ...string) (*Process, error) {
	path, err := ovsproc.LookPath(command)
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, cmd: exec.Command(path, args...), log: filepath.Join(dir, name+".out"), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = ovsproc.Environ(dir, "OVN_RUNDIR="+dir, "OVN_LOGDIR="+dir, "OVN_DBDIR="+dir)
	dieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// End ends the process: with SIGTERM, and after 10 s with SIGKILL.
func (p *Process) End() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// Output returns the end of what the process has written.
func (p *Process) Output() string {
	b, _ := os.ReadFile(p.log)
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}

// Usage is what processes have taken of the machine.
type Usage struct {
	RSS uint64        // octets resident, what is shared counted in each process
	PSS uint64        // octets, what is shared divided by its users
	CPU time.Duration // since their start, user and system
}

// Add returns the sum of two.
func (u Usage) Add(v Usage) Usage { return Usage{u.RSS + v.RSS, u.PSS + v.PSS, u.CPU + v.CPU} }

// UsageOf returns the sum of what processes have taken.
func UsageOf(ps ...*Process) (sum Usage, err error) {
	for _, p := range ps {
		u, err := usageOf(p.cmd.Process.Pid)
		if err != nil {
			return sum, fmt.Errorf("%s: %w", p.Name, err)
		}
		sum = sum.Add(u)
	}
	return sum, nil
}

// clockTick is how many ticks of /proc/PID/stat a second has on Linux.
const clockTick = 100

func usageOf(pid int) (u Usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	if u.RSS, err = kilobytes(status, "VmRSS:"); err != nil {
		return u, err
	}
	if u.PSS, err = kilobytes(rollup, "Pss:"); err != nil {
		return u, err
	}
	// Fields 14 and 15, counted from 1; the second is in parentheses and may hold spaces (proc(5)).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields after the name", pid, len(fields))
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return u, err
		}
		ticks += n
	}
	u.CPU = time.Duration(ticks) * time.Second / clockTick
	return u, nil
}

// kilobytes reads a line such as "VmRSS:  1234 kB".
func kilobytes(text []byte, key string) (uint64, error) {
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no line " + key)
}
