package ovsaddr

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// DefaultOpenFlowPort is the TCP port that IANA assigned to OpenFlow, where a
// listener without a port listens.
const DefaultOpenFlowPort = 6653

// Listener is where a switch listens for controllers: the target of a passive
// connection. The zero Listener is none.
type Listener struct {
	// Network is "ptcp" or "pssl".
	Network string
	// Port is 1 to 65535.
	Port uint16
	// Addr is the address to listen on; the zero Addr is all of IPv4.
	Addr netip.Addr
}

// ParseListener reads ptcp:[PORT][:IP] or pssl:[PORT][:IP], the OpenFlow
// listener of a bridge (ovs-vswitchd.conf.db(5), Controller.target). The port is
// 6653 where none is given. It refuses every active target: Open vSwitch flushes
// all flows when an active target comes or goes, but not for a passive one.
func ParseListener(s string) (Listener, error) {
	network, rest, ok := strings.Cut(s, ":")
	switch {
	case network == "tcp" || network == "ssl" || network == "unix":
		return Listener{}, fmt.Errorf("listener %q would let the switch connect, and the switch flushes its flows when such a target comes or goes: %s", s, wantPassive)
	case !ok || network != "ptcp" && network != "pssl":
		return Listener{}, fmt.Errorf("listener %q: %s", s, wantPassive)
	}
	l := Listener{Network: network, Port: DefaultOpenFlowPort}
	port, ip, hasIP := strings.Cut(rest, ":")
	if port != "" {
		var err error
		if l.Port, err = parsePort(port); err != nil {
			return Listener{}, fmt.Errorf("listener %q: %w: %s", s, err, wantPassive)
		}
	}
	if !hasIP {
		return l, nil
	}
	bare, bracketed := strings.CutPrefix(ip, "[")
	if bracketed {
		if bare, bracketed = strings.CutSuffix(bare, "]"); !bracketed {
			return Listener{}, fmt.Errorf("listener %q: a bracket is missing: %s", s, wantPassive)
		}
	}
	addr, err := netip.ParseAddr(bare)
	switch {
	case err != nil:
		return Listener{}, fmt.Errorf("listener %q: %q is no IP address: %s", s, bare, wantPassive)
	case addr.Is4In6():
		return Listener{}, fmt.Errorf("listener %q: IPv4 written as IPv6, want %s: %s", s, addr.Unmap(), wantPassive)
	case addr.Is6() != bracketed:
		return Listener{}, fmt.Errorf("listener %q: an IPv6 address, and no other, stands in brackets: %s", s, wantPassive)
	case addr.IsMulticast():
		return Listener{}, fmt.Errorf("listener %q: nobody listens at a multicast address: %s", s, wantPassive)
	}
	l.Addr = addr
	return l, nil
}

const wantPassive = "want ptcp:PORT:IP or pssl:PORT:IP such as ptcp:6653:127.0.0.1 or pssl:6653:[fd00::1]"

// String returns the form that Open vSwitch and [ParseListener] read, with the
// port always given, or "" for the zero Listener.
func (l Listener) String() string {
	if l == (Listener{}) {
		return ""
	}
	s := l.Network + ":" + strconv.Itoa(int(l.Port))
	switch {
	case l.Addr.Is6():
		s += ":[" + l.Addr.String() + "]"
	case l.Addr.IsValid():
		s += ":" + l.Addr.String()
	}
	return s
}

// IsPassive reports whether a Controller target, in any spelling that Open
// vSwitch knows, makes the switch listen instead of connect.
func IsPassive(target string) bool {
	return strings.HasPrefix(target, "ptcp:") || strings.HasPrefix(target, "pssl:") || strings.HasPrefix(target, "punix:")
}
