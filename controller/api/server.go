package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/unixsocket"
)

// DefaultSocket is where the API is served, and looked for, by default.
const DefaultSocket = "/run/nvgre-ofctl/api.sock"

// Options say where and how the API is served.
type Options struct {
	// Socket is the path of the unix socket; "" for none. Only the controller's
	// user may open it, and the members of Group where that is not "".
	Socket, Group string
	// Address, as HOST:PORT, is where it is served by TLS besides; "" for nowhere.
	// TLS must ask for and verify client certificates: see [ServerTLS].
	Address string
	TLS     *tls.Config

	Version string
	Log     *slog.Logger // nil for none; each request that may change something is a line
}

// ErrInUse reports that a living process answers at the socket.
var ErrInUse = unixsocket.ErrInUse

// Server serves the API.
type Server struct {
	socket *unixsocket.Listener // or nil
	tcp    net.Listener         // or nil
	http   *http.Server
	end    context.CancelFunc // ends watches
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	// writeTimeout is how long a client may take to receive writePart octets.
	writeTimeout = 30 * time.Second
	writePart    = 64 << 10
	// shutdownGrace is how long what is under way may take when the server ends.
	shutdownGrace = 5 * time.Second
)

// Listen makes the sockets. Nothing is served before [Server.Run].
func Listen(o Options, b Backend, status StatusSource) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ending, end := context.WithCancel(context.Background())
	h, _ := newService(ending, b, status).handler(o.Version)
	s := &Server{end: end, http: &http.Server{
		Handler:           &guard{h, o.Log, b, usualTimes()},
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10,
		ConnContext: withPeer, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}}
	var err error
	if o.Socket != "" {
		s.socket, err = unixsocket.Listen("api-socket", o.Socket, o.Group)
	}
	if err == nil && o.Address != "" {
		s.tcp, err = listenTLS(o)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func listenTLS(o Options) (net.Listener, error) {
	if o.TLS == nil || o.TLS.ClientAuth != tls.RequireAndVerifyClientCert {
		return nil, fmt.Errorf("api.listen %s: whoever reaches it can change the policy: want TLS with verified client certificates", o.Address)
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("api.listen %s: %w", o.Address, err)
	}
	c := o.TLS.Clone()
	c.NextProtos = []string{"http/1.1"} // whose deadlines are those of the connection
	return tls.NewListener(l, c), nil
}

// Address returns where the API is served by TLS; nil for nowhere.
func (s *Server) Address() net.Addr {
	if s.tcp == nil {
		return nil
	}
	return s.tcp.Addr()
}

func (s *Server) close() {
	s.end()
	if s.socket != nil {
		s.socket.Remove()
		s.socket.Close()
	}
	if s.tcp != nil {
		s.tcp.Close()
	}
}

// Run serves until ctx ends. Then watches end, other requests may finish within
// five seconds, and the socket is removed. It returns nil then.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	var g errgroup.Group
	failed := make(chan struct{}, 2)
	serve := func(l net.Listener) {
		g.Go(func() error {
			err := s.http.Serve(l)
			failed <- struct{}{}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("API at %s: %w", l.Addr(), err)
		})
	}
	if s.socket != nil {
		serve(s.socket)
	}
	if s.tcp != nil {
		serve(s.tcp)
	}
	select {
	case <-ctx.Done():
	case <-failed:
	}
	s.end()
	if s.socket != nil {
		s.socket.Remove()
	}
	end, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		s.http.Close()
	}
	return g.Wait()
}

// ServerTLS reads the identity of the server, and the authority whose
// certificates clients must have (PEM files).
func ServerTLS(ca, certificate, key string) (*tls.Config, error) {
	pool, err := authority(ca)
	if err != nil {
		return nil, err
	}
	c, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s, private key %s: %w", certificate, key, err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}

func authority(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate of the authority %s: has no certificate in it: want PEM", file)
	}
	return pool, nil
}

// peerKey is where a connection's context has the name of the peer's user.
type peerKey struct{}

// withPeer notes which user is at the other end of a unix socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	name := "uid " + strconv.FormatUint(uint64(cred.Uid), 10)
	if known, err := user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10)); err == nil {
		name = known.Username
	}
	return context.WithValue(ctx, peerKey{}, name)
}

// authorOf names who sent a request: not what he says, but what he has proved.
func authorOf(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName
	}
	name, _ := r.Context().Value(peerKey{}).(string)
	return name
}

// guard is around every request: it bounds the time that an answer may take, says
// where it may be stale, and logs what may have changed something.
type guard struct {
	next    http.Handler
	log     *slog.Logger
	backend Backend
	times   bodyTimes
}

// HeaderStale is on an answer where what it says may be older than what other
// controllers have changed since; its value says why.
const HeaderStale = "Policy-Stale"

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &patient{ResponseWriter: w, control: http.NewResponseController(w), status: http.StatusOK, times: g.times}
	if r.ContentLength != 0 {
		// For a body that nobody reads: the server takes the rest of it from the
		// connection. Who reads it sets other deadlines.
		_ = p.control.SetReadDeadline(time.Now().Add(g.times.pause))
	}
	p.extend() // the connection may have an old deadline
	if err := g.backend.Stale(); err != nil {
		w.Header().Set(HeaderStale, strings.Join(strings.Fields(err.Error()), " "))
	}
	start := time.Now()
	g.next.ServeHTTP(p, r)
	p.extend() // for what is buffered still
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		g.log.Info("API request", "method", r.Method, "path", r.URL.EscapedPath(), "query", r.URL.RawQuery, "author", authorOf(r), "status", p.status, "took", time.Since(start).Round(time.Microsecond))
	}
}

// patient gives each part of an answer its time, however long the answer is.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	times   bodyTimes // of the request's body
}

func (p *patient) extend() { _ = p.control.SetWriteDeadline(time.Now().Add(writeTimeout)) }

// Unwrap lets http.ResponseController reach the connection.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (p *patient) WriteHeader(status int) {
	p.status = status
	p.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (p *patient) Write(b []byte) (n int, err error) {
	for first := true; first || len(b) > 0; first = false {
		part := b[:min(len(b), writePart)]
		p.extend()
		m, err := p.ResponseWriter.Write(part)
		n += m
		if err != nil {
			return n, err
		}
		b = b[len(part):]
	}
	return n, nil
}
