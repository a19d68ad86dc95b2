package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// An etcd outside that does not answer may be down, or may not like how it is
// asked. gRPC only says that time is over, so the store looks itself.

const (
	diagnoseTimeout = time.Second
	// alertWait is how long a server may take to say what it has against a
	// client's certificate: with TLS 1.3 that comes after the handshake.
	alertWait = 200 * time.Millisecond
)

// diagnose returns why the endpoints cannot be used, as far as a connection
// shows; nil where one of them can.
func (s *Store) diagnose(ctx context.Context) error {
	all := make([]error, len(s.c.Endpoints))
	var g sync.WaitGroup
	for i, e := range s.c.Endpoints {
		g.Go(func() { all[i] = s.tryEndpoint(ctx, e) })
	}
	g.Wait()
	text := ""
	for i, err := range all {
		if err == nil {
			return nil
		}
		text += fmt.Sprintf(", %s: %v", s.c.Endpoints[i], err)
	}
	return fmt.Errorf("%w: etcd at %s", ErrUnavailable, strings.TrimPrefix(text, ", "))
}

func (s *Store) tryEndpoint(ctx context.Context, endpoint string) error {
	ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout)
	defer cancel()
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	network, address := "tcp", u.Host
	if strings.HasPrefix(u.Scheme, "unix") {
		network, address = "unix", u.Host+u.Path
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nobody listens there: is etcd running?")
	case err != nil:
		return fmt.Errorf("%w: is the machine reachable?", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a connection that is open takes it
	}
	if !strings.HasSuffix(u.Scheme, "s") {
		if tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}).HandshakeContext(ctx) == nil { //nolint:gosec // nothing is sent
			return errors.New("etcd speaks TLS there: want https, and store.tls.ca")
		}
		return nil
	}
	conf := &tls.Config{}
	if s.c.TLS != nil {
		conf = s.c.TLS.Clone()
	}
	conf.NextProtos = []string{"h2"}
	if conf.ServerName == "" {
		conf.ServerName = u.Hostname()
	}
	c := tls.Client(conn, conf)
	if err = c.HandshakeContext(ctx); err == nil {
		_ = conn.SetReadDeadline(time.Now().Add(alertWait))
		if _, err = c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil // it has nothing against us
		}
	}
	return explainTLS(err)
}

// explainTLS says what to do about a TLS connection that failed.
func explainTLS(err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var plain tls.RecordHeaderError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w: want in store.tls.ca the certificate of the authority that signed etcd's", err)
	case errors.As(err, &name):
		return fmt.Errorf("%w: want in store.endpoints a name or an address that is in etcd's certificate", err)
	case errors.As(err, &plain), errors.Is(err, io.EOF):
		return errors.New("no TLS is spoken there: is that etcd, and does it want http?")
	case strings.Contains(err.Error(), "remote error: tls:"):
		return fmt.Errorf("etcd refuses this controller's certificate (%w): want store.tls.certificate and store.tls.private-key, signed by the authority of etcd's --trusted-ca-file", err)
	}
	return err
}

// refusal says what to do about a request that etcd refuses for who sends it;
// nil where that is not why.
func (s *Store) refusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("%w: etcd knows no user %q with that password: correct store.username and what is in store.password-file", ErrUnavailable, s.c.Username)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: etcd wants a user: set store.username and store.password-file", ErrUnavailable)
	case errors.Is(err, rpctypes.ErrPermissionDenied) && s.c.Username == "":
		return fmt.Errorf("%w: the user of etcd that this controller's certificate names may not read and write below %s: set store.username and store.password-file, or give that user a role that may", ErrUnavailable, s.c.Prefix)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: etcd does not let user %q read and write below %s: etcdctl role grant-permission ROLE --prefix=true readwrite %s", ErrUnavailable, s.c.Username, s.c.Prefix, s.c.Prefix)
	}
	return nil
}
