//go:build linux

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// A Throughput is what went from one VM to another over TCP.
type Throughput struct {
	Octets   uint64
	Duration time.Duration
}

// MbitPerSecond returns the rate in 10^6 bit/s of TCP payload.
func (t Throughput) MbitPerSecond() float64 {
	return float64(t.Octets) * 8 / 1e6 / t.Duration.Seconds()
}

// connectTimeout bounds how long a connection between VMs may take.
const connectTimeout = 5 * time.Second

// Throughput sends for some time over TCP from one VM to another.
func (t *Testbed) Throughput(ctx context.Context, from, to *topology.VM, d time.Duration) (Throughput, error) {
	var none Throughput
	var addr netip.Addr
	for _, a := range to.Addresses {
		if hasFamily(from, a.Addr()) {
			addr = a.Addr()
			break
		}
	}
	if !addr.IsValid() {
		return none, fmt.Errorf("%s and %s have no address family in common", from.IfaceID, to.IfaceID)
	}
	var l net.Listener
	err := netspace.Do(t.VMNamespace(to.IfaceID), func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr.String(), "0"))
		return err
	})
	if err != nil {
		return none, fmt.Errorf("listening in %s: %w", to.IfaceID, err)
	}
	defer l.Close()
	type received struct {
		Throughput
		err error
	}
	result := make(chan received, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			result <- received{err: err}
			return
		}
		defer c.Close()
		start := time.Now()
		c.SetReadDeadline(start.Add(d))
		n, err := io.Copy(io.Discard, c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		result <- received{Throughput{uint64(n), time.Since(start)}, err}
	}()
	var c net.Conn
	err = netspace.Do(t.VMNamespace(from.IfaceID), func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
		return err
	})
	if err != nil {
		l.Close()
		<-result
		return none, fmt.Errorf("connecting %s to %s: %w", from.IfaceID, to.IfaceID, err)
	}
	defer c.Close()
	// What is still in buffers when time is up is of no interest.
	c.(*net.TCPConn).SetLinger(0)
	stop := context.AfterFunc(ctx, func() { l.Close(); c.Close() })
	defer stop()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Write(buf); err != nil {
				return // the receiver has had enough, or c was closed
			}
		}
	}()
	r := <-result
	c.Close()
	<-sent
	if ctx.Err() != nil {
		return none, ctx.Err()
	}
	if r.err != nil {
		return none, fmt.Errorf("receiving in %s: %w", to.IfaceID, r.err)
	}
	return r.Throughput, nil
}
