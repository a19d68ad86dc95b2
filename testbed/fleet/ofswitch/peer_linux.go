package ofswitch

import (
	"fmt"
	"net"
	"syscall"
)

// peerName says who the other end is: on a unix socket its process, which
// survives reconnections and tells two controllers apart.
func peerName(nc net.Conn) string {
	u, ok := nc.(*net.UnixConn)
	if !ok {
		if a := nc.RemoteAddr(); a != nil {
			return a.String()
		}
		return "unknown"
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	err = raw.Control(func(fd uintptr) {
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("pid %d", cred.Pid)
		}
	})
	if err != nil {
		return "unknown"
	}
	return name
}
