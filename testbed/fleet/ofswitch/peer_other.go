//go:build !linux

package ofswitch

import "net"

// peerName says who the other end is.
func peerName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}
