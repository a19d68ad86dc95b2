package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Source is what the server shows. Its methods are called by many goroutines.
type Source interface {
	// Status returns the daemon's status, judged.
	Status() *Status
	// Alive returns an error when the daemon's loop no longer turns.
	Alive() error
}

// Server serves one admin socket.
type Server struct {
	path     string
	listener net.Listener
	id       fileID
	http     *http.Server
}

// ErrInUse reports that a living process answers at the socket.
var ErrInUse = errors.New("another process answers there: stop it, or give this one another admin-socket")

// fileID tells a file from another that later has its name.
type fileID struct{ dev, ino uint64 }

// Listen makes the socket, with mode 0600, and its directory where that is
// missing. A socket that nobody answers at any more is replaced.
func Listen(path string, src Source, metrics prometheus.Gatherer) (*Server, error) {
	// sun_path of unix(7) holds 108 octets with the zero.
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if len(temporary) > 107 {
		return nil, fmt.Errorf("admin socket %s: the path has %d octets, a socket's may have 99: choose a shorter admin-socket", path, len(path))
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	switch fi, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	case fi.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("admin socket %s: a file that is no socket is there: remove it, or choose another admin-socket", path)
	default:
		c, err := net.DialTimeout("unix", path, time.Second)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("admin socket %s: %w", path, ErrInUse)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("admin socket %s: %w: %w", path, ErrInUse, err)
		}
	}
	// Under its final name the socket never has a wider mode: it is renamed only
	// once it has the right one. The rename also replaces a stale socket.
	_ = os.Remove(temporary)
	l, err := net.Listen("unix", temporary)
	if err != nil {
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	var id fileID
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		id, err = identify(path)
	}
	if err != nil {
		l.Close()
		_ = os.Remove(temporary)
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	return &Server{path: path, listener: l, id: id, http: &http.Server{
		Handler: handler(src, metrics), ReadHeaderTimeout: 10 * time.Second,
	}}, nil
}

func identify(path string) (fileID, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return fileID{}, err
	}
	return fileID{st.Dev, st.Ino}, nil
}

// Run serves until ctx ends, then lets requests finish for a second and removes
// the socket. It returns nil then.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("admin socket %s: %w", s.path, err)
	case <-ctx.Done():
	}
	// A successor may have its socket here already.
	if id, err := identify(s.path); err == nil && id == s.id {
		_ = os.Remove(s.path)
	}
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		s.http.Close()
	}
	<-done
	return nil
}

func handler(src Source, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := src.Alive(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := src.Status()
		if s.Ready {
			fmt.Fprintln(w, "ok")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, m := range s.Missing {
			fmt.Fprintln(w, m)
		}
	})
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(src.Status()) // fails only when the reader has gone
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
