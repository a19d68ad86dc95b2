//go:build !linux

package doctor

import (
	"context"
	"errors"
	"net/netip"
)

// Echo sends ICMP echo requests that must not be fragmented. It can on Linux
// only.
func Echo(context.Context, netip.Addr, netip.Addr, int) (bool, error) {
	return false, errors.ErrUnsupported
}
