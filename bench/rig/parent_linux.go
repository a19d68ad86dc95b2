package rig

import (
	"os/exec"
	"syscall"
)

// dieWithParent makes a process end when this one does, however that ends, such
// as by the time limit of go test.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
