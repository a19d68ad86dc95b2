package admin

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/unixsocket"
)

// Source is what the server shows. Its methods are called by many goroutines.
type Source interface {
	// Status returns the daemon's status, judged.
	Status() *Status
	// Alive returns an error when the daemon's loop no longer turns.
	Alive() error
	// Wanted returns the flows that a host is to have, each in the octets of the
	// daemon's own form; ok is false where the daemon does not drive that host.
	Wanted(host string) (flows iter.Seq[string], ok bool)
}

// Server serves one admin socket.
type Server struct {
	listener *unixsocket.Listener
	http     *http.Server
}

// ErrInUse reports that a living process answers at the socket.
var ErrInUse = unixsocket.ErrInUse

// Listen makes the socket, with mode 0600, and its directory where that is
// missing. A socket that nobody answers at any more is replaced.
func Listen(path string, src Source, metrics prometheus.Gatherer) (*Server, error) {
	l, err := unixsocket.Listen("admin-socket", path, "")
	if err != nil {
		return nil, err
	}
	return &Server{l, &http.Server{Handler: handler(src, metrics), ReadHeaderTimeout: 10 * time.Second}}, nil
}

// Run serves until ctx ends, then lets requests finish for a second and removes
// the socket. It returns nil then.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("admin-socket %s: %w", s.listener.Path(), err)
	case <-ctx.Done():
	}
	s.listener.Remove()
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
	mux.HandleFunc("GET /v1/hosts/{host}/wanted", func(w http.ResponseWriter, r *http.Request) {
		flows, ok := src.Wanted(r.PathValue("host"))
		if !ok {
			http.Error(w, "this controller does not drive host "+r.PathValue("host"), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		b := bufio.NewWriter(w)
		for f := range flows { // errors show at the next flush, and the reader has gone then
			_, _ = b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(f))))
			_, _ = b.WriteString(f)
		}
		_ = b.Flush()
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
