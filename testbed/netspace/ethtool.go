//go:build linux

package netspace

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offloads that a device may do for its kernel (ethtool(8)). A switch in user
// space reads frames before any device would have done that work: the checksum
// of such a frame is wrong, and its length exceeds what any link carries.
const (
	getTxCsum = 0x16 // ETHTOOL_GTXCSUM, linux/ethtool.h
	setTxCsum = 0x17 // ETHTOOL_STXCSUM
	setTSO    = 0x1f // ETHTOOL_STSO
	setGSO    = 0x24 // ETHTOOL_SGSO
	setGRO    = 0x2c // ETHTOOL_SGRO
)

type ethtoolValue struct{ cmd, data uint32 }

type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // struct ifreq is larger than a name and a pointer (netdevice(7))
}

// OffloadOff turns off, for a device in the named namespace, what makes frames
// unfit for a switch in user space: transmit checksums and segmentation.
func OffloadOff(name, device string) error {
	return Do(name, func() error {
		for _, cmd := range []uint32{setTxCsum, setTSO, setGSO, setGRO} {
			if _, err := ethtool(device, cmd, 0); err != nil {
				return fmt.Errorf("network namespace %s: turning off offloads of %s: %w", name, device, err)
			}
		}
		return nil
	})
}

// TxChecksumOffload reports whether a device in the named namespace leaves
// checksums to be filled in later.
func TxChecksumOffload(name, device string) (on bool, err error) {
	err = Do(name, func() error {
		v, err := ethtool(device, getTxCsum, 0)
		on = v != 0
		return err
	})
	return on, err
}

func ethtool(device string, cmd, data uint32) (uint32, error) {
	if len(device) >= unix.IFNAMSIZ {
		return 0, fmt.Errorf("device name %q is longer than %d octets", device, unix.IFNAMSIZ-1)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	v := &ethtoolValue{cmd, data}
	var r ifreq
	copy(r.name[:], device)
	r.data = unsafe.Pointer(v)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return 0, errno
	}
	return v.data, nil
}
