//go:build linux

package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// Remove ends and removes everything that the testbed's state names, and the
// state itself. It can be called again after a failure, and for what a crash
// left over. What lacks the testbed's label is left alone, and reported.
func (t *Testbed) Remove(ctx context.Context, progress func(done string)) error {
	unlock, err := t.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return t.remove(ctx, progress)
}

func (t *Testbed) remove(ctx context.Context, progress func(string)) error {
	if progress == nil {
		progress = func(string) {}
	}
	if err := t.update(func(s *state) { s.Phase, s.Owner = PhaseRemoving, os.Getpid() }); err != nil {
		return err
	}
	for _, p := range t.state.Processes {
		if err := endAll(ctx, p.running); err != nil {
			return err
		}
	}
	var all errgroup.Group
	for _, h := range t.state.Plan.Hosts {
		all.Go(t.Switch(h.Name).Stop)
	}
	if err := all.Wait(); err != nil {
		return err
	}
	progress("ended the switches")
	var errs []error
	for _, ns := range t.state.Namespaces {
		errs = append(errs, t.removeNamespace(ctx, ns))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	progress(fmt.Sprintf("removed %d network namespaces with all that was in them", len(t.state.Namespaces)))
	if err := os.RemoveAll(t.dir); err != nil {
		return fmt.Errorf("removing the state: %w", err)
	}
	for _, dir := range t.state.MadeDirs {
		if os.Remove(dir) != nil {
			break // something else came to live there
		}
	}
	return nil
}

// removeNamespace ends the processes in a namespace of the testbed and removes it.
func (t *Testbed) removeNamespace(ctx context.Context, ns namespace) error {
	inode, err := netspace.Inode(ns.Name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if label, err := netspace.Label(ns.Name); err == nil && label == t.label() {
		if err := endAll(ctx, func() []int { return netspace.Pids(inode) }); err != nil {
			return fmt.Errorf("network namespace %s: %w", ns.Name, err)
		}
	}
	err = netspace.Delete(ns.Name, t.label())
	if errors.Is(err, netspace.ErrForeign) && ns.Inode == 0 {
		// It was to be made, but somebody else's was there first.
		return nil
	}
	return err
}

// Adopt makes a process end with the testbed at the latest.
func (t *Testbed) Adopt(pid int) error {
	return t.update(func(s *state) { s.Processes = append(s.Processes, process{pid, startTime(pid)}) })
}

// running returns the process if it still runs.
func (p process) running() []int {
	if p.StartTime == "" || startTime(p.Pid) != p.StartTime {
		return nil
	}
	return []int{p.Pid}
}

// startTime returns when a process began, "" for one that has ended.
func startTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command's name is in brackets and may hold anything: count behind it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// endAll ends processes: kindly first, then not.
func endAll(ctx context.Context, running func() []int) error {
	told := make(map[int]bool)
	kill, hard := time.Now().Add(time.Second), time.Now().Add(10*time.Second)
	for {
		pids := running()
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(hard) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			var signal syscall.Signal
			switch {
			case time.Now().After(kill):
				signal = syscall.SIGKILL
			case !told[pid]:
				signal = syscall.SIGTERM
			}
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending process %d: %w", pid, err)
			}
			told[pid] = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
