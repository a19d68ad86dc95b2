//go:build linux

package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// packetBuffer is what the kernel shall hold for Open vSwitch on each port, in
// octets.
const packetBuffer = 16 << 20

// widenBuffers gives the packet sockets of a host's ovs-vswitchd room for the
// packets of some seconds. The userspace datapath runs in the main loop, and
// that does not run it while there is no ovsdb-server: after a restart of that,
// ovs-vswitchd waits a second before it connects again. The default buffer, 208
// KiB, holds some 300 packets. An operator would set net.core.rmem_default; here
// that would change the machine.
func (t *Testbed) widenBuffers(host string) error {
	if t.state.Datapath != DatapathNetdev {
		return nil
	}
	b, err := os.ReadFile(t.Switch(host).VswitchdPidFile())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s holds no process id: %q", t.Switch(host).VswitchdPidFile(), b)
	}
	process, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ENOSYS) {
		return nil // before Linux 5.3: the buffers stay as they are
	} else if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(process)
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		link, err := os.Readlink(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(link, "socket:") {
			continue // closed meanwhile, or no socket
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			return err
		}
		if err := widenBuffer(process, n); err != nil {
			return fmt.Errorf("ovs-vswitchd of host %s: socket %d: %w", host, n, err)
		}
	}
	return nil
}

// widenBuffer widens the receive buffer of another process's socket, if that is
// a packet socket.
func widenBuffer(process, n int) error {
	fd, err := unix.PidfdGetfd(process, n, 0)
	if errors.Is(err, unix.EBADF) || errors.Is(err, unix.ENOSYS) {
		return nil // closed meanwhile; before Linux 5.6
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil || domain != unix.AF_PACKET {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer)
}
