package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

// pinger sends echo requests from one VM to another at a steady rate and keeps
// count of each of them.
type pinger struct {
	name    string
	from    net.PacketConn
	to      netip.Addr
	id      uint16
	stop    chan struct{}
	wg      sync.WaitGroup // of both goroutines
	sending sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time
	answered map[int]time.Time // by index in sent
	sendErr  error
}

const pingInterval = 10 * time.Millisecond

// startPinger begins to ping from inside a namespace; id must be its own.
func startPinger(t testing.TB, name, namespace string, from, to netip.Addr, id uint16) *pinger {
	t.Helper()
	p := &pinger{name: name, to: to, id: id, stop: make(chan struct{}), answered: make(map[int]time.Time)}
	err := netspace.Do(namespace, func() (err error) {
		c, err := net.ListenPacket("ip4:icmp", from.String())
		if err != nil {
			return err
		}
		p.from = c
		return takeReplies(c.(*net.IPConn))
	})
	if err != nil {
		t.Fatal(err)
	}
	p.wg.Add(2)
	p.sending.Add(1)
	go p.send()
	go p.receive()
	t.Cleanup(func() { p.finish(0) })
	return p
}

// takeReplies has a socket take echo replies only, as ping(8) does, and hold
// those of some seconds. Without it each pinger of a VM gets the requests and
// replies of all, and when a switch that stood still lets go what has waited,
// the kernel drops what a busy machine does not read in time: a loss of the
// test's own.
func takeReplies(c *net.IPConn) error {
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h: the types not to pass
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var opts error
	err = raw.Control(func(fd uintptr) {
		opts = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_RAW, icmpFilter, ^(1<<0)),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20))
	})
	return errors.Join(err, opts)
}

func (p *pinger) send() {
	defer p.wg.Done()
	defer p.sending.Done()
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		seq := len(p.sent)
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		if _, err := p.from.WriteTo(echoRequest(p.id, seq), &net.IPAddr{IP: p.to.AsSlice()}); err != nil {
			p.mu.Lock()
			p.sendErr = err
			p.mu.Unlock()
		}
	}
}

// echoRequest returns an ICMP echo request (RFC 792) that carries a sequence
// number wider than ICMP's own.
func echoRequest(id uint16, seq int) []byte {
	b := make([]byte, 16)
	b[0] = 8
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	binary.BigEndian.PutUint64(b[8:], uint64(seq))
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

func (p *pinger) receive() {
	defer p.wg.Done()
	b := make([]byte, 1500)
	for {
		n, from, err := p.from.ReadFrom(b)
		if err != nil {
			return // closed by finish
		}
		if n < 16 || b[0] != 0 || binary.BigEndian.Uint16(b[4:]) != p.id || from.String() != p.to.String() {
			continue
		}
		seq := int(binary.BigEndian.Uint64(b[8:]))
		p.mu.Lock()
		if seq < len(p.sent) {
			p.answered[seq] = time.Now()
		}
		p.mu.Unlock()
	}
}

// answeredSince reports whether a request sent after that moment was answered.
func (p *pinger) answeredSince(when time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.sent) - 1; i >= 0 && p.sent[i].After(when); i-- {
		if _, ok := p.answered[i]; ok {
			return true
		}
	}
	return false
}

// halt stops sending.
func (p *pinger) halt() {
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
}

// finish stops sending, waits a while for answers that are still due, and
// returns the result.
func (p *pinger) finish(grace time.Duration) pingResult {
	p.halt()
	p.sending.Wait()
	for end := time.Now().Add(grace); time.Now().Before(end) && p.lost() > 0; {
		time.Sleep(5 * time.Millisecond)
	}
	p.from.Close() // ends receive; a second Close does no harm
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := pingResult{Name: p.name, Sent: len(p.sent), Err: p.sendErr}
	// The longest time that requests went unanswered: from a lost one to the
	// next that was not.
	var since time.Time
	for i, at := range p.sent {
		if then, ok := p.answered[i]; ok {
			r.Late = max(r.Late, then.Sub(at))
			if !since.IsZero() {
				r.Gap = max(r.Gap, at.Sub(since))
			}
			since = time.Time{}
			continue
		}
		r.Lost++
		if since.IsZero() {
			since = at
		}
	}
	return r
}

func (p *pinger) lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent) - len(p.answered)
}

// pingResult is what a pinger saw.
type pingResult struct {
	Name       string
	Sent, Lost int
	Gap        time.Duration // the longest outage, 0 where nothing was lost
	Late       time.Duration // the longest that an answer took
	Err        error
}

func (r pingResult) String() string {
	s := fmt.Sprintf("%s: %d of %d lost, longest outage %v, longest wait for an answer %v",
		r.Name, r.Lost, r.Sent, r.Gap.Round(time.Millisecond), r.Late.Round(time.Millisecond))
	if r.Err != nil {
		s += ": " + r.Err.Error()
	}
	return s
}
