package fleet

import (
	"fmt"
	"syscall"
)

// enoughFiles checks that so many hosts have enough file descriptors: two
// sockets and about four connections each.
func enoughFiles(hosts int) error {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return nil
	}
	// The Go runtime has raised the soft limit to the hard one.
	if want := uint64(hosts)*4 + 64; r.Cur < want {
		return fmt.Errorf("%d simulated hosts need about %d open files, and the limit is %d: raise it with `ulimit -n %d` (or -Hn as root)", hosts, want, r.Cur, want)
	}
	return nil
}
