package controller

import (
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
)

// What an operator should do where the error alone does not say it.
const (
	hintRefusedByTLS = "the host refuses the controller's certificate: on the host, `ovs-vsctl get-ssl` must name the CA that signed the setting tls.certificate"
	hintClosedByTLS  = "the host closes the connection when it has seen the controller's certificate: on the host, `ovs-vsctl get-ssl` must name the CA that signed the setting tls.certificate"
	hintNoDatabase   = "ovs-vswitchd talks to nobody while it has no ovsdb-server, but it goes on forwarding: start ovsdb-server on the host"
	hintHangs        = "ovs-vswitchd takes connections and does not speak, although its ovsdb-server does: look at ovs-vswitchd.log on the host"
	hintNoVswitchd   = "its ovsdb-server answers, so ovs-vswitchd is down: start it on the host; the flows are put back when it is there"
	hintNoListener   = "its ovsdb-server answers: either ovs-vswitchd is down, or the bridge does not listen there: compare the host's setting listener"
	hintNobody       = "neither of the host's daemons is there: start Open vSwitch on the host"
	hintUnreachable  = "no packet comes back: is the host up, and does a firewall let this port through?"
	hintPermission   = "the controller may not open it: run it as root, or as the user that Open vSwitch runs as"
	hintNoOVSDB      = "start ovsdb-server on the host; the switch forwards without it, and changes wait"
	hintDBListens    = "ovsdb-server is down, or does not listen there: see `ovs-vsctl get-manager` on the host; the switch forwards without it"
)

// hintOpenFlow explains why there is no OpenFlow connection: which of the host's
// two daemons is the trouble.
func hintOpenFlow(err error, network string, ovsdb bool) string {
	switch {
	case err == nil:
		return ""
	case isAlert(err):
		return hintRefusedByTLS
	case errors.Is(err, openflow.ErrPeerSilent), errors.Is(err, syscall.EAGAIN): // EAGAIN: its queue of connections is full
		if !ovsdb {
			return hintNoDatabase
		}
		return hintHangs
	case errors.Is(err, fs.ErrPermission):
		return hintPermission
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		switch {
		case !ovsdb:
			return hintNobody
		case network == "unix":
			return hintNoVswitchd
		}
		return hintNoListener
	case unreachable(err):
		return hintUnreachable
	}
	return ""
}

func unreachable(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// hintOVSDB explains why there is no connection to the database.
func hintOVSDB(err error, network string, openflow bool) string {
	switch {
	case err == nil:
		return ""
	case isAlert(err):
		return hintRefusedByTLS
	case network == "ssl" && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)):
		return hintClosedByTLS
	case errors.Is(err, fs.ErrPermission):
		return hintPermission
	case errors.Is(err, syscall.ECONNREFUSED) && network != "unix":
		return hintDBListens
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, ovsdb.ErrClosed):
		return hintNoOVSDB
	case unreachable(err) && !openflow:
		return hintUnreachable
	}
	return ""
}

// isAlert reports that the peer ended the connection with a TLS alert, as
// crypto/tls has it.
func isAlert(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

// text is what an error says, "" where there is none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
