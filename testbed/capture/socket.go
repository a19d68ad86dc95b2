//go:build linux

package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// Direction says which frames of a device are seen.
type Direction bool

// The directions.
const (
	Received Direction = false // what the device received
	Both     Direction = true  // and what was sent through it
)

// Point is where frames are seen.
type Point struct {
	Name      string // for people
	Namespace string // named network namespace
	Device    string
	Direction Direction
}

// A Socket sees the frames of one device. Reads and Close may be concurrent.
type Socket struct {
	point Point
	file  *os.File
	once  sync.Once
}

// receiveBuffer is what the kernel may hold for a reader that is late, in octets.
const receiveBuffer = 16 << 20

// Open starts to see the frames of a device (packet(7)).
func Open(p Point) (*Socket, error) {
	var s *Socket
	err := netspace.Do(p.Namespace, func() error {
		ifi, err := net.InterfaceByName(p.Device)
		if err != nil {
			return err
		}
		// Protocol 0: no frame of another device arrives before it is bound.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(fd), "packet socket of "+p.Device)
		if err := setUpSocket(fd, ifi.Index, p.Direction); err != nil {
			file.Close()
			return err
		}
		s = &Socket{point: p, file: file}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("capturing on %s in %s: %w", p.Device, p.Namespace, err)
	}
	return s, nil
}

func setUpSocket(fd, ifindex int, dir Direction) error {
	if dir == Received {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return err
	}
	// The kernel takes 802.1Q tags off; this brings them with the frame.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	mreq := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex})
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Read waits for a frame and puts it into b, with its 802.1Q tag. It returns an
// error that wraps os.ErrClosed after Close, os.ErrDeadlineExceeded after the
// deadline.
func (s *Socket) Read(b []byte) (int, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	oob := make([]byte, unix.CmsgSpace(int(unsafe.Sizeof(unix.TpacketAuxdata{}))))
	for {
		var n, oobn int
		var rerr error
		err = raw.Read(func(fd uintptr) bool {
			n, oobn, _, _, rerr = unix.Recvmsg(int(fd), b, oob, 0)
			return rerr != unix.EAGAIN
		})
		switch {
		case err != nil:
			return 0, err
		case errors.Is(rerr, unix.EINTR), errors.Is(rerr, unix.ENETDOWN): // the link is down: it may come back
			continue
		case rerr != nil:
			return 0, rerr
		}
		return restoreTag(b, n, oob[:oobn]), nil
	}
}

// restoreTag puts a tag that the kernel took off back where it was.
func restoreTag(b []byte, n int, oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return n
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
		if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 || n < 12 || n+4 > len(b) {
			continue
		}
		tpid := uint16(EtherTypeVLAN)
		if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = aux.Vlan_tpid
		}
		copy(b[16:n+4], b[12:n])
		b[12], b[13], b[14], b[15] = byte(tpid>>8), byte(tpid), byte(aux.Vlan_tci>>8), byte(aux.Vlan_tci)
		return n + 4
	}
	return n
}

// SetReadDeadline bounds the time that [Socket.Read] waits.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// Dropped returns how many frames the kernel could not keep for the reader
// since the last call.
func (s *Socket) Dropped() (uint32, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var st *unix.TpacketStats
	var serr error
	if err := raw.Control(func(fd uintptr) {
		st, serr = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	}); err != nil {
		return 0, err
	}
	if serr != nil {
		return 0, serr
	}
	return st.Drops, nil
}

// Close ends the capture; a Read that waits returns.
func (s *Socket) Close() error {
	var err error
	s.once.Do(func() { err = s.file.Close() })
	return err
}

// Packet is one frame that was seen.
type Packet struct {
	Point string
	Time  time.Time
	Data  []byte
	Frame *Frame
	Err   error // why Frame is incomplete, or nil
}

// maxFrame is the longest frame that a virtual link carries, in octets.
const maxFrame = 65535 + 18

// Run sees the frames of several points until ctx ends, and hands them to each,
// one after the other, until that returns false. Before it waits for the first
// frame it calls ready, unless that is nil. It reports how many frames were
// lost because each was too slow.
func Run(ctx context.Context, points []Point, ready func(), each func(*Packet) bool) (lost uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sockets := make([]*Socket, 0, len(points))
	defer func() {
		for _, s := range sockets {
			if n, err := s.Dropped(); err == nil {
				lost += uint64(n)
			}
			s.Close()
		}
	}()
	for _, p := range points {
		s, err := Open(p)
		if err != nil {
			return 0, err
		}
		sockets = append(sockets, s)
	}
	if ready != nil {
		ready()
	}
	packets := make(chan *Packet, 1024)
	var readers sync.WaitGroup
	for _, s := range sockets {
		readers.Go(func() { s.readTo(ctx, packets) })
	}
	stop := context.AfterFunc(ctx, func() {
		for _, s := range sockets {
			s.SetReadDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	go func() {
		readers.Wait()
		close(packets)
	}()
	want := true
	for p := range packets {
		if want && !each(p) {
			want = false
			cancel()
		}
	}
	return lost, nil
}

func (s *Socket) readTo(ctx context.Context, packets chan<- *Packet) {
	buf := make([]byte, maxFrame)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return // the deadline, or the device is gone
		}
		p := &Packet{Point: s.point.Name, Time: time.Now(), Data: append([]byte(nil), buf[:n]...)}
		p.Frame, p.Err = Decode(p.Data)
		select {
		case packets <- p:
		case <-ctx.Done():
			return
		}
	}
}
