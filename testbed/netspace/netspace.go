//go:build linux

// Package netspace makes, labels, enters and removes named network namespaces,
// in the way of ip-netns(8), so that `ip netns` sees them too.
//
// A namespace made here carries a label inside it, on the loopback device,
// before its name appears. So whoever finds the name also finds whose it is,
// even after a crash, and nothing that lacks the label is ever removed.
package netspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Dir is where named network namespaces are (ip-netns(8)).
const Dir = "/run/netns"

// Path returns the file that stands for the named namespace.
func Path(name string) string { return filepath.Join(Dir, name) }

// ErrForeign says that a namespace does not carry the label it should.
var ErrForeign = errors.New("the namespace is not ours")

// Create makes the named namespace, brings its loopback up, and labels it. The
// inode identifies the namespace for as long as it lives. It is an error that
// wraps fs.ErrExist if the name is taken.
func Create(name, label string) (inode uint64, err error) {
	if err := shareDir(); err != nil {
		return 0, fmt.Errorf("preparing %s: %w", Dir, err)
	}
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making network namespace %s: %w (root is needed)", name, err)
		}
		if err := labelLoopback(label); err != nil {
			return fmt.Errorf("labelling network namespace %s: %w", name, err)
		}
		f, err := os.OpenFile(Path(name), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0)
		if err != nil {
			return fmt.Errorf("naming network namespace %s: %w", name, err)
		}
		f.Close()
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, Path(name), "none", unix.MS_BIND, ""); err != nil {
			os.Remove(Path(name))
			return fmt.Errorf("naming network namespace %s: %w", name, err)
		}
		inode, err = inodeOf(Path(name))
		return err
	})
	return inode, err
}

func labelLoopback(label string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(lo, label); err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Label returns the label of the named namespace, "" if it has none.
func Label(name string) (string, error) {
	h, err := Handle(name)
	if err != nil {
		return "", err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return "", err
	}
	return lo.Attrs().Alias, nil
}

// Delete removes the named namespace if it carries the label, and is content
// if there is none of that name. What lives in it dies with it, once no process
// is left in it. An error wraps [ErrForeign] where the label differs.
func Delete(name, label string) error {
	isNS, err := isNetNS(Path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !isNS {
		// The name of a namespace that a crash kept from being bound to it.
		if fi, err := os.Lstat(Path(name)); err == nil && fi.Mode().IsRegular() && fi.Size() == 0 {
			return os.Remove(Path(name))
		}
		return fmt.Errorf("%s: %w: it is no network namespace", Path(name), ErrForeign)
	}
	got, err := Label(name)
	if err != nil {
		return fmt.Errorf("reading the label of network namespace %s: %w", name, err)
	}
	if got != label {
		return fmt.Errorf("network namespace %s carries the label %q, not %q: %w", name, got, label, ErrForeign)
	}
	if err := unix.Unmount(Path(name), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("removing network namespace %s: %w", name, err)
	}
	return os.Remove(Path(name))
}

// Exists reports whether the name is taken.
func Exists(name string) bool {
	_, err := os.Lstat(Path(name))
	return err == nil
}

// Inode returns the number that identifies the named namespace.
func Inode(name string) (uint64, error) { return inodeOf(Path(name)) }

// Handle returns a netlink handle whose sockets are in the named namespace; the
// caller closes it.
func Handle(name string) (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(Path(name))
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	return h, nil
}

// Do runs fn on a thread that is in the named namespace. Sockets that fn opens
// and processes that it starts are, and stay, in that namespace. What fn starts
// in other goroutines is not.
func Do(name string, fn func() error) error {
	return onThread(func() error {
		ns, err := netns.GetFromPath(Path(name))
		if err != nil {
			return fmt.Errorf("network namespace %s: %w", name, err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("entering network namespace %s: %w", name, err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own and puts the thread back into the
// namespace it came from. A thread for which that fails is never used again:
// its goroutine ends while locked to it, and the runtime ends the thread.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		runtime.LockOSThread()
		home, err2 := netns.Get()
		if err2 != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("finding the current network namespace: %w", err2)
			return
		}
		defer home.Close()
		err = fn()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return <-done
}

// Pids returns the processes whose main thread is in the namespace with that
// inode, but for the caller's own.
func Pids(inode uint64) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range dirs {
		if got, err := inodeOf(link); err != nil || got != inode {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}

func isNetNS(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return st.Type == unix.NSFS_MAGIC, nil
}

var shareOnce sync.Mutex

// shareDir makes [Dir] a shared mount, as ip-netns(8) does: then a namespace
// that is removed also goes from the mount namespaces of processes that
// `ip netns exec` started, which would keep it alive.
func shareDir() error {
	shareOnce.Lock()
	defer shareOnce.Unlock()
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return err
	}
	err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err := unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return err
		}
		err = unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	return err
}

// SetSysctl writes values below /proc/sys/net, such as
// ipv4/conf/all/rp_filter=0, of the named namespace.
func SetSysctl(name string, settings ...string) error {
	return Do(name, func() error {
		for _, s := range settings {
			key, value, ok := strings.Cut(s, "=")
			if !ok {
				return fmt.Errorf("sysctl %q: want KEY=VALUE", s)
			}
			if err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0); err != nil {
				return fmt.Errorf("network namespace %s: sysctl: %w", name, err)
			}
		}
		return nil
	})
}
