package ovsproc

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes the command end when this process does, however that ends:
// an ovs-vsctl whose ovsdb-server is gone would go on trying for a minute. What
// the command has forked, such as a daemon that detached, lives on (prctl(2),
// PR_SET_PDEATHSIG). The signal comes with the end of the thread, so the caller
// holds its thread until the command has ended.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
