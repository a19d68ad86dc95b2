// Package ovsproc runs a real Open vSwitch of one's own: an ovsdb-server and an
// ovs-vswitchd with their files in one directory, apart from any Open vSwitch
// that the machine runs. The testbed makes its hosts of it, and tests their
// switches.
package ovsproc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Schema is where Debian and Ubuntu keep the schema of the Open_vSwitch database.
const Schema = "/usr/share/openvswitch/vswitch.ovsschema"

// Switch is one ovsdb-server with one ovs-vswitchd. Its methods are not safe
// for concurrent use, save for the commands.
type Switch struct {
	dir          string
	netns        string
	ovsdbArgs    []string
	vswitchdArgs []string
}

// Option changes how a switch runs.
type Option func(*Switch)

// InNetNS runs the daemons in the named network namespace (ip-netns(8)).
func InNetNS(name string) Option { return func(s *Switch) { s.netns = name } }

// OVSDBArgs adds arguments for ovsdb-server, such as --remote=ptcp:6640.
func OVSDBArgs(args ...string) Option {
	return func(s *Switch) { s.ovsdbArgs = append(s.ovsdbArgs, args...) }
}

// VswitchdArgs adds arguments for ovs-vswitchd, such as --enable-dummy=override.
func VswitchdArgs(args ...string) Option {
	return func(s *Switch) { s.vswitchdArgs = append(s.vswitchdArgs, args...) }
}

// New returns a switch whose files live in dir, without starting anything. The
// sockets' paths must stay below 108 octets (unix(7)), so dir must be short.
func New(dir string, opts ...Option) *Switch {
	s := &Switch{dir: dir}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Start creates the database if there is none and starts both daemons.
func (s *Switch) Start(ctx context.Context) error {
	if err := s.StartOVSDB(ctx); err != nil {
		return err
	}
	return s.StartVswitchd(ctx)
}

// Dir returns the run directory.
func (s *Switch) Dir() string { return s.dir }

// DBSock returns the path of ovsdb-server's socket.
func (s *Switch) DBSock() string { return filepath.Join(s.dir, "db.sock") }

// MgmtSock returns the path of a bridge's OpenFlow management socket.
func (s *Switch) MgmtSock(bridge string) string { return filepath.Join(s.dir, bridge+".mgmt") }

// OVSDBPidFile and VswitchdPidFile return the paths of the daemons' pid files.
func (s *Switch) OVSDBPidFile() string { return filepath.Join(s.dir, "ovsdb-server.pid") }

// VswitchdPidFile returns the path of ovs-vswitchd's pid file.
func (s *Switch) VswitchdPidFile() string { return filepath.Join(s.dir, "ovs-vswitchd.pid") }

// StartOVSDB starts ovsdb-server on the switch's database, which it creates
// where there is none.
func (s *Switch) StartOVSDB(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	db := filepath.Join(s.dir, "conf.db")
	if _, err := os.Stat(db); errors.Is(err, fs.ErrNotExist) {
		if _, err := s.Run(ctx, "ovsdb-tool", "create", db, Schema); err != nil {
			return err
		}
	}
	args := append([]string{db, "--remote=punix:" + s.DBSock(), "--pidfile=" + s.OVSDBPidFile(),
		"--log-file=" + filepath.Join(s.dir, "ovsdb-server.log"),
		"--unixctl=" + filepath.Join(s.dir, "ovsdb-server.ctl"),
		"--detach", "--no-chdir", "-vconsole:off"}, s.ovsdbArgs...)
	if _, err := s.run(ctx, s.netns, "ovsdb-server", args...); err != nil {
		return err
	}
	_, err := s.Vsctl(ctx, "--no-wait", "init")
	return err
}

// StartVswitchd starts ovs-vswitchd and returns when it has read its
// configuration.
func (s *Switch) StartVswitchd(ctx context.Context) error {
	args := append([]string{"unix:" + s.DBSock(), "--pidfile=" + s.VswitchdPidFile(),
		"--log-file=" + filepath.Join(s.dir, "ovs-vswitchd.log"),
		"--unixctl=" + filepath.Join(s.dir, "ovs-vswitchd.ctl"),
		"--detach", "--no-chdir", "-vconsole:off"}, s.vswitchdArgs...)
	if _, err := s.run(ctx, s.netns, "ovs-vswitchd", args...); err != nil {
		return err
	}
	return s.linkControlSocket()
}

// linkControlSocket gives ovs-vswitchd's control socket the name by which
// ovs-appctl(8) finds it when only OVS_RUNDIR is set.
func (s *Switch) linkControlSocket() error {
	pid, err := os.ReadFile(s.VswitchdPidFile())
	if err != nil {
		return err
	}
	old, _ := filepath.Glob(filepath.Join(s.dir, "ovs-vswitchd.*.ctl"))
	for _, path := range old {
		if err := removeIfThere(path); err != nil {
			return err
		}
	}
	return os.Symlink("ovs-vswitchd.ctl", filepath.Join(s.dir, "ovs-vswitchd."+strings.TrimSpace(string(pid))+".ctl"))
}

// StopOVSDB ends ovsdb-server with SIGTERM.
func (s *Switch) StopOVSDB() error { return endPidFile(s.OVSDBPidFile(), syscall.SIGTERM) }

// StopVswitchd ends ovs-vswitchd with SIGTERM.
func (s *Switch) StopVswitchd() error { return endPidFile(s.VswitchdPidFile(), syscall.SIGTERM) }

// KillVswitchd ends ovs-vswitchd with SIGKILL, as a crash would.
func (s *Switch) KillVswitchd() error { return endPidFile(s.VswitchdPidFile(), syscall.SIGKILL) }

// Stop ends both daemons. It is no error where one does not run.
func (s *Switch) Stop() error { return errors.Join(s.StopVswitchd(), s.StopOVSDB()) }

// Vsctl runs ovs-vsctl on this switch and returns what it printed.
func (s *Switch) Vsctl(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, "ovs-vsctl", append([]string{"--timeout=60", "--db=unix:" + s.DBSock()}, args...)...)
}

// Ofctl runs ovs-ofctl with OpenFlow 1.5 on this switch.
func (s *Switch) Ofctl(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, "ovs-ofctl", append([]string{"-O", "OpenFlow15", "--timeout=60"}, args...)...)
}

// Appctl runs ovs-appctl against this switch's ovs-vswitchd.
func (s *Switch) Appctl(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, "ovs-appctl", append([]string{"--timeout=60", "--target=" + filepath.Join(s.dir, "ovs-vswitchd.ctl")}, args...)...)
}

// Run runs a command with the switch's directories in its environment, and
// returns its standard output. An error carries what the command wrote to
// standard error. The command runs in the caller's network namespace: the
// switch's sockets are files, which all namespaces share.
func (s *Switch) Run(ctx context.Context, name string, args ...string) (string, error) {
	return s.run(ctx, "", name, args...)
}

func (s *Switch) run(ctx context.Context, netns, name string, args ...string) (string, error) {
	argv := append([]string{name}, args...)
	if netns != "" {
		argv = append([]string{"ip", "netns", "exec", netns}, argv...)
	}
	path, err := LookPath(argv[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Env = Environ(s.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A daemon that detaches keeps its parent's pipes for a moment.
	cmd.WaitDelay = 10 * time.Second
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dieWithParent(cmd)
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// endPidFile sends sig to the process that a pid file names and waits for its
// end; after 5 s it sends SIGKILL.
func endPidFile(path string, sig syscall.Signal) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s holds no process id: %q", path, b)
	}
	// A pid file outlives a crash, and pids are used again: signal only a
	// process that still is the daemon.
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil ||
		!strings.HasPrefix(filepath.Base(path), strings.TrimSpace(string(comm))) {
		return removeIfThere(path)
	}
	// One signal, not many: ovs-vswitchd sleeps for a moment while it starts, and
	// each signal makes it begin that sleep anew.
	next, deadline, hard := sig, time.Now().Add(5*time.Second), time.Now().Add(15*time.Second)
	for ; ; time.Sleep(5 * time.Millisecond) {
		err := syscall.Kill(pid, next)
		if errors.Is(err, syscall.ESRCH) || zombie(pid) {
			return removeIfThere(path)
		}
		if err != nil {
			return fmt.Errorf("ending process %d of %s: %w", pid, path, err)
		}
		if time.Now().After(hard) {
			return fmt.Errorf("process %d of %s did not end", pid, path)
		}
		next = 0 // only asks whether it is there
		if time.Now().After(deadline) {
			next = syscall.SIGKILL
		}
	}
}

// zombie reports whether a process has ended and waits for its parent, which
// in a container may never come.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	return ok && strings.HasPrefix(rest, "Z")
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
