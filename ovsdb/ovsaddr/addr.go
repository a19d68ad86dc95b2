// Package ovsaddr reads the addresses that Open vSwitch uses for OVSDB and
// OpenFlow connections (ovs-vswitchd.conf.db(5), Controller.target; ovsdb(7),
// "Connection Methods") and connects to them.
package ovsaddr

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Endpoint is where a server listens: the address of an active connection.
// The zero Endpoint is no address.
type Endpoint struct {
	// Network is "unix", "tcp" or "ssl".
	Network string
	// Address is the absolute path of a socket for unix, IP:PORT for tcp and
	// ssl, with an IPv6 address in brackets.
	Address string
}

// maxPath is what the address of a unix socket holds (unix(7)), without the
// zero at its end.
const maxPath = 107

// Parse reads unix:PATH, tcp:IP:PORT or ssl:IP:PORT. The path is absolute; an
// IPv6 address stands in brackets; the port, 1 to 65535, must be given, because
// its default depends on the protocol spoken.
func Parse(s string) (Endpoint, error) {
	network, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" {
		return Endpoint{}, fmt.Errorf("address %q: %s", s, wantActive)
	}
	switch network {
	case "unix":
		if !filepath.IsAbs(rest) {
			return Endpoint{}, fmt.Errorf("address %q: want an absolute path such as unix:/var/run/openvswitch/db.sock", s)
		}
		if strings.ContainsRune(rest, 0) {
			return Endpoint{}, fmt.Errorf("address %q: a path holds no zero octet", s)
		}
		if len(rest) > maxPath {
			return Endpoint{}, fmt.Errorf("address %q: the path has %d octets, and the address of a unix socket holds %d: move the socket to a shorter path", s, len(rest), maxPath)
		}
		return Endpoint{Network: network, Address: rest}, nil
	case "tcp", "ssl":
		ap, err := parseAddrPort(rest)
		if err != nil {
			return Endpoint{}, fmt.Errorf("address %q: %w: want %s:IP:PORT such as %s:10.0.0.1:6640 or %s:[fd00::1]:6640", s, err, network, network, network)
		}
		return Endpoint{Network: network, Address: ap.String()}, nil
	case "ptcp", "pssl", "punix":
		return Endpoint{}, fmt.Errorf("address %q is one to listen on, and here is one to connect to wanted: %s", s, wantActive)
	}
	return Endpoint{}, fmt.Errorf("address %q: unknown method %q: %s", s, network, wantActive)
}

const wantActive = "want unix:PATH, tcp:IP:PORT or ssl:IP:PORT"

func parseAddrPort(s string) (netip.AddrPort, error) {
	// Without its brackets, the last group of an IPv6 address would pass for
	// the port.
	if strings.Count(s, ":") > 1 && !strings.HasPrefix(s, "[") {
		return netip.AddrPort{}, errors.New("an IPv6 address stands in brackets")
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		i := strings.LastIndexByte(s, ':')
		if i < 0 || strings.HasSuffix(s, "]") {
			return ap, errors.New("the port is missing")
		}
		if _, err := parsePort(s[i+1:]); err != nil {
			return ap, err
		}
		return ap, fmt.Errorf("%q is no IP address", strings.Trim(s[:i], "[]"))
	}
	if ap.Addr().Is4In6() {
		return ap, fmt.Errorf("IPv4 written as IPv6, want %s", ap.Addr().Unmap())
	}
	if ap.Addr().IsMulticast() {
		return ap, errors.New("nobody answers at a multicast address")
	}
	if ap.Port() == 0 {
		return ap, errors.New("port 0 is none")
	}
	return ap, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// String returns the form that [Parse] reads, or "" for the zero Endpoint.
func (e Endpoint) String() string {
	if e == (Endpoint{}) {
		return ""
	}
	return e.Network + ":" + e.Address
}

// IsZero reports whether e is no address.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// NeedsTLS reports whether [Endpoint.Dial] needs a TLS configuration.
func (e Endpoint) NeedsTLS() bool { return e.Network == "ssl" }

// MarshalText implements encoding.TextMarshaler.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Endpoint) UnmarshalText(b []byte) (err error) { *e, err = Parse(string(b)); return err }

// keepAlive finds a peer that has gone without a word in about 25 s.
const keepAliveIdle, keepAliveInterval, keepAliveCount = 10 * time.Second, 5 * time.Second, 3

// Dial connects, and for ssl also completes the TLS handshake, until ctx ends.
// conf is for ssl only; see [LoadTLS].
func (e Endpoint) Dial(ctx context.Context, conf *tls.Config) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	var conn net.Conn
	var err error
	switch e.Network {
	case "unix", "tcp":
		conn, err = d.DialContext(ctx, e.Network, e.Address)
	case "ssl":
		if conf == nil {
			return nil, fmt.Errorf("connecting to %s: ssl needs a CA certificate, and mostly a certificate and its private key", e)
		}
		td := tls.Dialer{NetDialer: &d, Config: conf}
		conn, err = td.DialContext(ctx, "tcp", e.Address)
	default:
		return nil, fmt.Errorf("connecting to %q: %s", e.String(), wantActive)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", e, err)
	}
	return conn, nil
}
