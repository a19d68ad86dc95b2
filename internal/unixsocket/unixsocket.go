// Package unixsocket makes the listening unix sockets of a daemon: with the
// right mode from the first moment, in place of a socket that nobody answers at
// any more, and never in place of one that somebody does.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrInUse reports that a living process answers at the socket.
var ErrInUse = errors.New("another process answers there")

// Listener is a listening socket that removes its file at the end.
type Listener struct {
	*net.UnixListener
	path string
	id   fileID
}

// fileID tells a file from another that later has its name.
type fileID struct{ dev, ino uint64 }

// Listen makes the socket and, where it is missing, its directory. Without a
// group only the owner may connect (mode 0600), with one the group may too (mode
// 0660). setting names the setting that has the path, for messages.
func Listen(setting, path, group string) (*Listener, error) {
	l, err := listen(setting, path, group)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", setting, path, err)
	}
	return l, nil
}

func listen(setting, path, group string) (*Listener, error) {
	// sun_path of unix(7) holds 108 octets with the zero.
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if len(temporary) > 107 {
		return nil, fmt.Errorf("the path has %d octets, a socket's may have 99: choose a shorter %s", len(path), setting)
	}
	gid := -1
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("%w: want the name of a group of this machine", err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := vacant(setting, path); err != nil {
		return nil, err
	}
	// Under its final name the socket never has a wider mode: it is renamed only
	// once it has the right one. The rename also replaces a stale socket.
	_ = os.Remove(temporary)
	l, err := net.Listen("unix", temporary)
	if err != nil {
		return nil, err
	}
	unix := l.(*net.UnixListener)
	unix.SetUnlinkOnClose(false)
	var id fileID
	err = os.Chmod(temporary, 0o600)
	if err == nil && gid >= 0 {
		if err = os.Chown(temporary, -1, gid); err == nil {
			err = os.Chmod(temporary, 0o660)
		}
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		id, err = identify(path)
	}
	if err != nil {
		l.Close()
		_ = os.Remove(temporary)
		return nil, err
	}
	return &Listener{unix, path, id}, nil
}

// vacant returns an error unless a socket may be made at path.
func vacant(setting, path string) error {
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case fi.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("a file that is no socket is there: remove it, or choose another %s", setting)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return fmt.Errorf("%w: stop it, or give this one another %s", ErrInUse, setting)
}

func identify(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fileID{}, err
	}
	return fileID{st.Dev, st.Ino}, nil
}

// Path returns the path of the socket.
func (l *Listener) Path() string { return l.path }

// Remove removes the socket's file, unless a successor has its own there.
func (l *Listener) Remove() {
	if id, err := identify(l.path); err == nil && id == l.id {
		_ = os.Remove(l.path)
	}
}
