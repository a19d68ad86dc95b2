//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	if t.state.RootCreated { // and nothing else came to live there
		os.Remove(filepath.Dir(t.dir))
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
		if err := endAll(ctx, inode); err != nil {
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

// endAll ends the processes in a namespace: kindly first, then not.
func endAll(ctx context.Context, inode uint64) error {
	signal, kill, hard := syscall.SIGTERM, time.Now().Add(time.Second), time.Now().Add(10*time.Second)
	for {
		pids := netspace.Pids(inode)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(kill) {
			signal = syscall.SIGKILL
		}
		if time.Now().After(hard) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
