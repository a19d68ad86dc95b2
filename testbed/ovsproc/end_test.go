package ovsproc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A daemon that is told to end again and again while it starts may never do so.
func TestOneSignalEndsADaemon(t *testing.T) {
	dir := t.TempDir()
	pidFile, heard := filepath.Join(dir, "sh.pid"), filepath.Join(dir, "heard")
	// It writes its process id only when it is ready for the signal.
	script := fmt.Sprintf(`trap 'echo signal >>%[1]s' TERM; echo $$ >%[2]s.new; mv %[2]s.new %[2]s
while [ ! -s %[1]s ]; do sleep 0.01; done
sleep 0.1; sleep 0.1`, heard, pidFile)
	cmd := exec.Command("sh", "-c", script)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for {
		if _, err := os.Stat(pidFile); err == nil {
			break
		}
	}
	if err := endPidFile(pidFile, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-ended
	b, _ := os.ReadFile(heard)
	if n := strings.Count(string(b), "signal"); n != 1 {
		t.Errorf("the process was told %d times to end, want once", n)
	}
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Error("the pid file is still there")
	}
}

func TestAnotherProcessOfThatNumberIsLeftAlone(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "ovs-vswitchd.pid")
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := endPidFile(pidFile, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process that is no ovs-vswitchd was ended: %v", err)
	}
}
