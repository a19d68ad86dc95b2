package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// What NVGRE leaves of an underlay of 1500 octets (RFC 7637, 3.2).
const (
	over4 = 1500 - 20 - 8 - 14
	over6 = 1500 - 40 - 8 - 14
)

// largeMTU lets VMs send up to 1500 octets, until the test ends.
func (n *Network) largeMTU(t *testing.T, vms ...string) {
	t.Helper()
	for _, vm := range vms {
		n.setMTU(t, vm, 1500)
		t.Cleanup(func() { n.setMTU(t, vm, n.Plan().VMMTU()) })
	}
	for _, vm := range vms {
		v := n.VM(vm)
		n.waitFor(t, "the switch to know the MTU of "+vm, func() bool { // until then it drops what is larger
			out, err := n.Switch(v.Host).Vsctl(t.Context(), "get", "interface", v.Port, "mtu")
			return err == nil && strings.TrimSpace(string(out)) == "1500"
		})
	}
}

// sized makes an IP packet of size octets from one VM to another, the way that
// the VM would send it. An IPv4 packet forbids fragments if df says so.
func (n *Network) sized(t *testing.T, from, to string, six bool, size int, df bool) []byte {
	t.Helper()
	a, b := n.VM(from), n.VM(to)
	mac := MAC(b.MAC)
	if a.VSID != b.VSID {
		mac = n.Reply(t, from, n.gatewayOf(from, false))
	}
	header := 28
	if six {
		header = 48
	}
	mark := Mark()
	ls := UDPFrame(MAC(a.MAC), mac, n.of(from, six), n.of(to, six), mark+pattern(size-header-len(mark)))
	if ip, ok := ls[1].(*layers.IPv4); ok {
		ip.Id = 4711
		if df {
			ip.Flags = layers.IPv4DontFragment
		}
	}
	return Bytes(ls...)
}

// pattern returns text in which each place differs from those around it.
func pattern(size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789_"[i%37]
	}
	return string(b)
}

func pathMTUReported(t *testing.T, n *Network) {
	n.largeMTU(t, "web1", "web2", "web3", "web4", "db2", "db1")
	for _, c := range []struct {
		to  string
		mtu int
	}{{"web2", over4}, {"web3", over6}, {"db2", over4}} {
		// The error is about the packet that was sent, not about what a router
		// makes of it.
		for _, size := range []int{c.mtu + 1, 1500} {
			n.isTold(t, "web1", n.sized(t, "web1", c.to, false, size, true), 3, 4, c.mtu)
			n.isTold(t, "web1", n.sized(t, "web1", c.to, true, size, false), 2, 0, c.mtu)
		}
		// The largest that it is told of arrives.
		for _, six := range []bool{false, true} {
			n.comesWhole(t, "web1", c.to, n.sized(t, "web1", c.to, six, c.mtu, true))
		}
	}
	// On one host nothing is too big.
	for _, to := range []string{"web4", "db1"} {
		for _, six := range []bool{false, true} {
			n.comesWhole(t, "web1", to, n.sized(t, "web1", to, six, 1500, true))
		}
	}
}

// comesWhole sends a frame and sees that the payload of its UDP packet arrives.
func (n *Network) comesWhole(t *testing.T, from, to string, frame []byte) {
	t.Helper()
	payload := string(readFrame(from, frame).UDP.Payload)
	n.See(t, to, 1, func(f *Frame) bool { return f.UDP != nil && string(f.UDP.Payload) == payload }, func() { n.From(t, from, frame) })
}

// Fragments of the inner packet, each in an outer packet of its own that is whole.
func fragmentedBefore(t *testing.T, n *Network) {
	n.largeMTU(t, "web1", "web2", "web3", "db2")
	for _, c := range []struct {
		to       string
		mtu, ttl int
	}{{"web2", over4, 64}, {"web3", over6, 64}, {"db2", over4, 63}} {
		frame := n.sized(t, "web1", c.to, false, 1500, false)
		ours := func(f *Frame) bool { return f.IP != nil && f.IP.Id == 4711 && f.IP.Protocol == layers.IPProtocolUDP }
		var got, wire []*Frame
		told := n.See(t, "web1", 0, n.byRouter, func() {
			wire = n.See(t, "underlay", 2, func(f *Frame) bool { return f.Inner != nil && ours(f.Inner) }, func() {
				got = n.See(t, c.to, 2, ours, func() { n.From(t, "web1", frame) })
			})
		})
		if len(told) > 0 {
			t.Errorf("to %s: it may be fragmented, and yet %s", c.to, told[0])
		}
		for _, f := range wire {
			if f.IP != nil && (f.IP.Flags != layers.IPv4DontFragment || f.IP.FragOffset != 0 || f.IP.Length > 1500) || f.IP6 != nil && (f.IP6.NextHeader != layers.IPProtocolGRE || f.IP6.Length > 1460) {
				t.Errorf("the outer packet is a fragment, or may become one: %s", f)
			}
		}
		slices.SortFunc(got, func(a, b *Frame) int { return int(a.IP.FragOffset) - int(b.IP.FragOffset) })
		var whole []byte
		for i, f := range got {
			more := f.IP.Flags&layers.IPv4MoreFragments != 0
			if int(f.IP.FragOffset)*8 != len(whole) || more != (i < len(got)-1) || int(f.IP.Length) > c.mtu || int(f.IP.TTL) != c.ttl || f.Eth.DstMAC.String() != n.VM(c.to).MAC {
				t.Errorf("%s got fragment %d: offset %d, more: %v, %d octets, TTL %d (want %d)", c.to, i, f.IP.FragOffset*8, more, f.IP.Length, f.IP.TTL, c.ttl)
			}
			whole = append(whole, f.IP.Payload...)
		}
		if want := string(frame[14+20:]); string(whole) != want {
			t.Errorf("%s got, in %d fragments, %d octets that are not the %d that were sent", c.to, len(got), len(whole), len(want))
		}
	}
}

// A connection between VMs (Linux) whose adapters do not know of the overlay.
func pathMTUTCP(t *testing.T, n *Network) {
	n.largeMTU(t, "web1", "web2", "web3", "db2")
	for _, to := range []string{"web2", "web3", "db2"} {
		for _, six := range []bool{false, true} {
			if err := n.transfer("web1", to, n.of(to, six), []byte(pattern(300_000))); err != nil {
				t.Errorf("web1 to %s: %v", n.of(to, six), err)
			}
		}
	}
}

// transfer sends data from one VM to an address of another by TCP.
func (n *Network) transfer(from, to, address string, data []byte) error {
	var l net.Listener
	if err := netspace.Do(n.VM(to).Namespace, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	}); err != nil {
		return err
	}
	defer l.Close()
	var c net.Conn
	if err := netspace.Do(n.VM(from).Namespace, func() (err error) {
		c, err = net.DialTimeout("tcp", l.Addr().String(), patience)
		return err
	}); err != nil {
		return err
	}
	defer c.Close()
	received, err := l.Accept()
	if err != nil {
		return err
	}
	defer received.Close()
	end := time.Now().Add(2 * patience)
	if err := errors.Join(c.SetDeadline(end), received.SetDeadline(end)); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(received)
	c.Close()
	if err := errors.Join(err, <-sent); err != nil {
		return fmt.Errorf("after %d octets of %d: %w", len(got), len(data), err)
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("%d octets came that are not the %d that were sent", len(got), len(data))
	}
	return nil
}
