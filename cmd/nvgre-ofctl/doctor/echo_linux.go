package doctor

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How often a probe is sent, and how long each waits for its answer.
const (
	attempts = 3
	wait     = 400 * time.Millisecond
)

// Echo sends ICMP echo requests of size octets of IP packet that must not be
// fragmented, and reports whether one is answered. It needs root, or the
// capability CAP_NET_RAW.
func Echo(ctx context.Context, from, to netip.Addr, size int) (bool, error) {
	network, header, request, reply := "ip4:icmp", 20, byte(8), byte(0)
	if to.Is6() {
		network, header, request, reply = "ip6:ipv6-icmp", 40, 128, 129
	}
	conn, err := net.ListenPacket(network, from.String())
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := forbidFragments(conn.(*net.IPConn), to.Is6()); err != nil {
		return false, err
	}
	b := make([]byte, size-header)
	b[0] = request
	rand.Read(b[4:6]) // the identifier
	buf := make([]byte, 65535)
	for seq := range attempts {
		binary.BigEndian.PutUint16(b[6:], uint16(seq))
		if to.Is4() { // the kernel computes that of ICMPv6
			b[2], b[3] = 0, 0
			binary.BigEndian.PutUint16(b[2:], checksum(b))
		}
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); errors.Is(err, syscall.EMSGSIZE) {
			return false, nil // more than the host's own device carries
		} else if err != nil {
			return false, err
		}
		if ctx.Err() == nil {
			conn.SetReadDeadline(time.Now().Add(wait))
		}
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			// An answer is as long as the request, and has its identifier.
			if n == len(b) && buf[0] == reply && buf[4] == b[4] && buf[5] == b[5] {
				return true, nil
			}
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	return false, nil
}

// forbidFragments has the kernel set DF, and send what a path MTU that it learned
// earlier would forbid (ip(7), ipv6(7)).
func forbidFragments(conn *net.IPConn, v6 bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) {
		if v6 {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		} else {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		}
	}); err != nil {
		return err
	}
	if serr != nil {
		return fmt.Errorf("forbidding fragments: %w", serr)
	}
	return nil
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
