//go:build linux

package testbed

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/capture"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Matrix is what came of pinging from every VM to the address of every other.
type Matrix struct {
	Testbed     string `json:"testbed"`
	Pairs       []Pair `json:"pairs"`
	Differences int    `json:"differences"` // pairs for which OK is false
	Resent      int    `json:"resent"`      // echo requests that were sent again because no answer came
}

// Pair is one cell of the matrix: an echo request from one VM to an address of
// another.
type Pair struct {
	From     string     `json:"from"` // iface-id
	To       string     `json:"to"`   // iface-id
	Address  netip.Addr `json:"address"`
	Expected Outcome    `json:"expected"`
	Actual   Outcome    `json:"actual"`
	// Elsewhere lists VMs other than To whose adapter received the request.
	// Across tenants with the same addresses it may be the sender's own.
	Elsewhere []string `json:"elsewhere,omitempty"`
	OK        bool     `json:"ok"`
	Why       string   `json:"why,omitempty"` // not OK

	rightful string // the VM that has Address in the sender's routing domain
	attempts int
}

// Outcome is what becomes of an echo request.
type Outcome struct {
	Delivered bool `json:"delivered"` // To's adapter received the request
	Answered  bool `json:"answered"`  // and the sender's adapter To's reply
	// TTL is what the request had left on delivery, and ReplyTTL the reply on
	// its own; 0 where there was none. Linux sends both with 64.
	TTL      uint8 `json:"ttl,omitempty"`
	ReplyTTL uint8 `json:"reply_ttl,omitempty"`
}

// LinuxTTL is the TTL that Linux gives to what it sends (ip(7), ip_default_ttl).
const LinuxTTL = 64

// Expect returns the pairs of a matrix with what the policy demands: within a
// routing domain every VM reaches every other, across virtual subnets at the
// price of one hop, and between routing domains nobody reaches anybody. Customer
// routes are not considered: they matter only beyond the virtual subnets.
func Expect(plan *topology.Plan) []Pair {
	var pairs []Pair
	for i := range plan.VMs {
		for j := range plan.VMs {
			from, to := &plan.VMs[i], &plan.VMs[j]
			if i == j {
				continue
			}
			for _, a := range to.Addresses {
				if !hasFamily(from, a.Addr()) {
					continue
				}
				p := Pair{From: from.IfaceID, To: to.IfaceID, Address: a.Addr(), rightful: ownerOf(plan, from, a.Addr())}
				if from.RDID == to.RDID {
					ttl := uint8(LinuxTTL)
					if from.VSID != to.VSID {
						ttl--
					}
					p.Expected = Outcome{Delivered: true, Answered: true, TTL: ttl, ReplyTTL: ttl}
				}
				pairs = append(pairs, p)
			}
		}
	}
	return pairs
}

func hasFamily(v *topology.VM, a netip.Addr) bool {
	return slices.ContainsFunc(v.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() == a.Is4() })
}

// ownerOf returns the VM that has an address in the routing domain of another.
func ownerOf(plan *topology.Plan, from *topology.VM, a netip.Addr) string {
	for _, v := range plan.VMs {
		if v.RDID == from.RDID && slices.ContainsFunc(v.Addresses, func(p netip.Prefix) bool { return p.Addr() == a }) {
			return v.IfaceID
		}
	}
	return ""
}

// Requested notes that a VM's adapter received the pair's echo request.
func (p *Pair) Requested(vm string, ttl uint8) {
	switch {
	case vm == p.To:
		p.Actual.Delivered, p.Actual.TTL = true, ttl
	case !slices.Contains(p.Elsewhere, vm):
		p.Elsewhere = append(p.Elsewhere, vm)
	}
}

// Replied notes that a VM's adapter received a reply to the pair's request. It
// counts where it is the sender's, and the address is To's for the sender.
func (p *Pair) Replied(vm string, ttl uint8) {
	if vm == p.From && p.To == p.rightful {
		p.Actual.Answered, p.Actual.ReplyTTL = true, ttl
	}
}

// probe is what an echo request of a matrix carries, so that whoever receives it
// knows which one it is: a reply alone does not tell which VM sent it.
type probe struct {
	run  [8]byte // of this matrix
	pair uint32
}

const probeLen = 12

func (p probe) append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, p.run[:]...), p.pair)
}

func parseProbe(b []byte) (probe, bool) {
	if len(b) < probeLen {
		return probe{}, false
	}
	return probe{[8]byte(b), binary.BigEndian.Uint32(b[8:])}, true
}

// How long a matrix waits. Each attempt waits longer than the one before; when
// all have answered that shall, strays are waited for a little longer.
const (
	firstWait = 500 * time.Millisecond
	attempts  = 3
	strayWait = 300 * time.Millisecond
	sendGap   = 200 * time.Microsecond // bounds the rate for the switches' sake
)

// Ping fills a matrix: every VM sends an echo request to every address of every
// other VM, and all adapters are watched for where the requests arrive, with
// which TTL, and for the replies.
func (t *Testbed) Ping(ctx context.Context) (*Matrix, error) {
	plan := t.Plan()
	m := &matrixRun{pairs: Expect(plan), changed: make(chan struct{}, 1)}
	rand.Read(m.run[:])
	senders := make(map[string]*sender)
	defer func() {
		for _, s := range senders {
			s.close()
		}
	}()
	var points []capture.Point
	for i := range plan.VMs {
		v := &plan.VMs[i]
		s, err := openSender(t.VMNamespace(v.IfaceID), v)
		if err != nil {
			return nil, err
		}
		senders[v.IfaceID] = s
		points = append(points, capture.Point{Name: v.IfaceID, Namespace: t.VMNamespace(v.IfaceID), Device: VMDevice, Direction: capture.Received})
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := capture.Run(watch, points, func() { close(ready) }, m.see)
		done <- err
	}()
	select {
	case <-ready:
	case err := <-done:
		return nil, err
	}
	err := m.send(ctx, senders)
	stop()
	if err2 := <-done; err == nil {
		err = err2
	}
	if err != nil {
		return nil, err
	}
	return NewMatrix(t.Name(), m.pairs), nil
}

type matrixRun struct {
	run     [8]byte
	changed chan struct{} // a pair changed

	mu    sync.Mutex
	pairs []Pair
}

// see takes what arrived at a VM's adapter.
func (m *matrixRun) see(p *capture.Packet) bool {
	ip := p.Frame.IP
	if ip == nil {
		return true
	}
	pr, ok := parseProbe(ip.Payload)
	if !ok || pr.run != m.run || int(pr.pair) >= len(m.pairs) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pair := &m.pairs[pr.pair]
	request := ip.Protocol == capture.ProtoICMP && ip.Type == 8 || ip.Protocol == capture.ProtoICMPv6 && ip.Type == 128
	if request {
		pair.Requested(p.Point, ip.TTL)
	} else { // may be seen before the request is
		pair.Replied(p.Point, ip.TTL)
	}
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return true
}

func (m *matrixRun) send(ctx context.Context, senders map[string]*sender) error {
	for attempt := range attempts {
		missing := m.missing()
		if attempt > 0 && len(missing) == 0 {
			break
		}
		for i := range m.pairs {
			if attempt > 0 && !slices.Contains(missing, i) {
				continue
			}
			m.mu.Lock()
			p := m.pairs[i]
			m.pairs[i].attempts++
			m.mu.Unlock()
			if err := senders[p.From].send(p.Address, probe{m.run, uint32(i)}, uint16(attempt+1)); err != nil {
				m.mu.Lock()
				m.pairs[i].Why = err.Error()
				m.mu.Unlock()
			}
			if err := pause(ctx, sendGap); err != nil {
				return err
			}
		}
		if err := m.wait(ctx, firstWait<<attempt); err != nil {
			return err
		}
	}
	return pause(ctx, strayWait)
}

// missing returns the pairs that lack an answer that is expected.
func (m *matrixRun) missing() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []int
	for i, p := range m.pairs {
		if p.Expected.Answered && !p.Actual.Answered {
			all = append(all, i)
		}
	}
	return all
}

// wait waits until nothing is missing, but no longer than limit.
func (m *matrixRun) wait(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for len(m.missing()) > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-m.changed:
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// NewMatrix returns the matrix of pairs that came from [Expect] and have since
// been told what arrived where. It keeps and judges them.
func NewMatrix(testbed string, pairs []Pair) *Matrix {
	r := &Matrix{Testbed: testbed, Pairs: pairs}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		r.Resent += max(p.attempts-1, 0)
		if why := p.judge(); why != "" {
			r.Differences++
			if p.Why != "" {
				why += " (sending: " + p.Why + ")"
			}
			p.Why = why
		} else {
			p.OK, p.Why = true, ""
		}
	}
	return r
}

// judge says how the actual outcome differs from the expected one, "" if not.
func (p *Pair) judge() string {
	for _, vm := range p.Elsewhere {
		if vm != p.rightful {
			return fmt.Sprintf("a packet from %s to %s was delivered to %s", p.From, p.Address, vm)
		}
	}
	e, a := p.Expected, p.Actual
	switch {
	case a.Delivered && !e.Delivered:
		return fmt.Sprintf("%s reached %s, which is another tenant's", p.From, p.To)
	case !a.Delivered && e.Delivered:
		return fmt.Sprintf("nothing from %s reached %s", p.From, p.To)
	case !a.Answered && e.Answered:
		return fmt.Sprintf("%s received the request from %s, but no answer came back", p.To, p.From)
	case a.TTL != e.TTL:
		return fmt.Sprintf("%s received the request from %s with TTL %d, not %d", p.To, p.From, a.TTL, e.TTL)
	case a.ReplyTTL != e.ReplyTTL:
		return fmt.Sprintf("%s received the answer of %s with TTL %d, not %d", p.From, p.To, a.ReplyTTL, e.ReplyTTL)
	}
	return ""
}

// sender sends echo requests from inside of a VM, through its kernel.
type sender struct{ v4, v6 *net.IPConn }

func openSender(ns string, v *topology.VM) (*sender, error) {
	s := &sender{}
	err := netspace.Do(ns, func() (err error) {
		for _, a := range v.Addresses {
			if a.Addr().Is4() && s.v4 == nil {
				s.v4, err = net.ListenIP("ip4:icmp", nil)
			} else if a.Addr().Is6() && s.v6 == nil {
				s.v6, err = net.ListenIP("ip6:ipv6-icmp", nil)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.close()
		return nil, fmt.Errorf("sending from VM %s: %w", v.IfaceID, err)
	}
	return s, nil
}

func (s *sender) close() {
	for _, c := range []*net.IPConn{s.v4, s.v6} {
		if c != nil {
			c.Close()
		}
	}
}

func (s *sender) send(to netip.Addr, p probe, seq uint16) error {
	conn, typ := s.v4, byte(8)
	if to.Is6() {
		conn, typ = s.v6, 128
	}
	msg := []byte{typ, 0, 0, 0, 'N', 'V', byte(seq >> 8), byte(seq)}
	msg = p.append(msg)
	if to.Is4() { // for ICMPv6 the kernel computes it
		binary.BigEndian.PutUint16(msg[2:], checksum(msg))
	}
	_, err := conn.WriteTo(msg, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// checksum is the Internet checksum of an even number of octets (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
