//go:build linux

package netspace

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// SendFrames sends whole Ethernet frames (without the frame check sequence) by a
// device of the named namespace, in order and as they are, as a program there
// can (packet(7)).
func SendFrames(name, device string, frames ...[]byte) error {
	err := Do(name, func() error {
		ifi, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sending frames by %s in %s: %w", device, name, err)
	}
	return nil
}
