package controller

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
)

func TestHints(t *testing.T) {
	dial := func(network string, err error) error {
		return fmt.Errorf("connecting to somewhere: %w", &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", err)})
	}
	alert := fmt.Errorf("reading: %w", &net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate authority")})
	silent := fmt.Errorf("handshake: %w", openflow.ErrPeerSilent)
	for _, c := range []struct {
		err     error
		network string
		ovsdb   bool
		want    string
	}{
		{nil, "unix", false, ""},
		{alert, "ssl", true, hintRefusedByTLS},
		{silent, "unix", false, hintNoDatabase},
		{silent, "unix", true, hintHangs},
		{dial("unix", syscall.EAGAIN), "unix", false, hintNoDatabase},
		{dial("unix", syscall.ENOENT), "unix", true, hintNoVswitchd},
		{dial("unix", syscall.ECONNREFUSED), "unix", true, hintNoVswitchd},
		{dial("unix", syscall.ENOENT), "unix", false, hintNobody},
		{dial("unix", syscall.EACCES), "unix", true, hintPermission},
		{dial("tcp", syscall.ECONNREFUSED), "tcp", true, hintNoListener},
		{dial("tcp", syscall.ECONNREFUSED), "ssl", false, hintNobody},
		{dial("tcp", syscall.EHOSTUNREACH), "tcp", false, hintUnreachable},
		{dial("tcp", syscall.ETIMEDOUT), "tcp", false, hintUnreachable},
		{errors.New("something else"), "tcp", false, ""},
	} {
		if got := hintOpenFlow(c.err, c.network, c.ovsdb); got != c.want {
			t.Errorf("OpenFlow by %s, OVSDB %v: %v: hint %q, want %q", c.network, c.ovsdb, c.err, got, c.want)
		}
	}
	for _, c := range []struct {
		err      error
		network  string
		openflow bool
		want     string
	}{
		{nil, "unix", false, ""},
		{errors.New("not connected yet"), "unix", false, ""},
		// What is no error of a system call is not taken for one.
		{errors.New("a refusal that speaks of a broken pipe"), "ssl", false, ""},
		{alert, "ssl", false, hintRefusedByTLS},
		{fmt.Errorf("writing to ovsdb-server: %w", &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}), "ssl", false, hintClosedByTLS},
		{dial("unix", syscall.ENOENT), "unix", true, hintNoOVSDB},
		{dial("unix", syscall.ECONNREFUSED), "unix", true, hintNoOVSDB},
		{fmt.Errorf("here: %w", ovsdb.ErrClosed), "unix", true, hintNoOVSDB},
		{dial("tcp", syscall.ECONNREFUSED), "tcp", true, hintDBListens},
		{dial("unix", syscall.EACCES), "unix", true, hintPermission},
		{dial("tcp", syscall.EHOSTUNREACH), "tcp", false, hintUnreachable},
	} {
		if got := hintOVSDB(c.err, c.network, c.openflow); got != c.want {
			t.Errorf("OVSDB by %s, OpenFlow %v: %v: hint %q, want %q", c.network, c.openflow, c.err, got, c.want)
		}
	}
}
