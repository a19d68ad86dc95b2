package sim

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
)

// Host is a switch with the underlay addresses where its tunnels end.
type Host struct {
	Name      string
	Switch    *Switch
	Addresses []netip.Addr
}

// Network is hosts that reach one another through an underlay that delivers
// every packet to the host that has its outer destination. It does not change
// and may be used by many goroutines.
type Network struct {
	hosts  map[string]*Host
	owners map[netip.Addr]*Host
}

// NewNetwork returns a network of hosts.
func NewNetwork(hosts []Host) (*Network, error) {
	n := &Network{make(map[string]*Host, len(hosts)), make(map[netip.Addr]*Host)}
	for _, h := range hosts {
		if n.hosts[h.Name] != nil {
			return nil, fmt.Errorf("host %s is given twice", h.Name)
		}
		n.hosts[h.Name] = &h
		for _, a := range h.Addresses {
			if o := n.owners[a]; o != nil {
				return nil, fmt.Errorf("hosts %s and %s both have address %s", o.Name, h.Name, a)
			}
			n.owners[a] = &h
		}
	}
	return n, nil
}

// With returns the network with one host's switch changed for another.
func (n *Network) With(host string, s *Switch) *Network {
	m := &Network{make(map[string]*Host, len(n.hosts)), make(map[netip.Addr]*Host, len(n.owners))}
	for name, h := range n.hosts {
		c := *h
		if name == host {
			c.Switch = s
		}
		m.hosts[name] = &c
	}
	for a, h := range n.owners {
		m.owners[a] = m.hosts[h.Name]
	}
	return m
}

// Host returns the host of that name.
func (n *Network) Host(name string) (Host, bool) {
	h := n.hosts[name]
	if h == nil {
		return Host{}, false
	}
	return *h, true
}

// Hop is a packet's walk through one host.
type Hop struct {
	Host   string
	In     Input
	From   int // the hop that sent it here; -1 for the first
	Result *Result
}

// Punt returns the first packet that went to controllers, with the hop where it
// did; nil where none did.
func (j *Journey) Punt() (hop int, p *Punt) {
	for i := range j.Hops {
		if ps := j.Hops[i].Result.Punts; len(ps) > 0 {
			return i, &ps[0]
		}
	}
	return 0, nil
}

// Delivery is a packet that left the network by a port that is no tunnel.
type Delivery struct {
	Host  string
	Port  uint32
	Back  bool // an answer, sent back to where the packet came in
	Frame packet.Frame
	Hop   int
}

// Loss is a packet that the underlay could not hand to a switch.
type Loss struct {
	Outer  packet.Outer
	Host   string // that the underlay brought it to; "" where none has the address
	Reason LossReason
	Hop    int // that sent it; -1 where it came from outside
}

// LossReason says why the underlay lost a packet.
type LossReason uint8

// The reasons.
const (
	LossNoHost   LossReason = iota + 1 // no host has the outer destination
	LossNoTunnel                       // the host has no tunnel port for the key
	LossTooFar                         // MaxHops hosts were passed: a loop
)

// String returns the reason in words.
func (r LossReason) String() string {
	switch r {
	case LossNoHost:
		return "no host has the outer destination"
	case LossNoTunnel:
		return "the host has no tunnel port for the key"
	case LossTooFar:
		return "too many hosts passed, a loop"
	}
	return "unknown"
}

// MaxHops is how many walks one packet may cause before it counts as looping.
const MaxHops = 16

// Journey is all that became of one packet. The zero Journey is ready for use,
// and may be used again.
type Journey struct {
	Hops       []Hop
	Deliveries []Delivery
	Losses     []Loss
	spare      []*Result
}

// Loops reports whether the packet went round until it was stopped.
func (j *Journey) Loops() bool {
	for _, l := range j.Losses {
		if l.Reason == LossTooFar {
			return true
		}
	}
	return false
}

func (j *Journey) reset() {
	for _, h := range j.Hops {
		j.spare = append(j.spare, h.Result)
	}
	j.Hops, j.Deliveries, j.Losses = j.Hops[:0], j.Deliveries[:0], j.Losses[:0]
}

func (j *Journey) result() *Result {
	if n := len(j.spare); n > 0 {
		r := j.spare[n-1]
		j.spare = j.spare[:n-1]
		return r
	}
	return &Result{}
}

// String tells the journey, hop by hop.
func (j *Journey) String() string {
	s := ""
	for i, h := range j.Hops {
		s += fmt.Sprintf("hop %d, host %s, port %d: %s\n%s", i, h.Host, h.In.Port, h.In.Frame, h.Result)
	}
	for _, d := range j.Deliveries {
		s += fmt.Sprintf("delivered on host %s by port %d: %s\n", d.Host, d.Port, d.Frame)
	}
	for _, l := range j.Losses {
		s += fmt.Sprintf("lost: %s: %s\n", l.Outer, l.Reason)
	}
	return s
}

// Send puts a frame into the network by a port of a host that is no tunnel
// port, and writes what becomes of it into j. The host must exist.
func (n *Network) Send(host string, port uint32, f *packet.Frame, j *Journey) error {
	h := n.hosts[host]
	if h == nil {
		return fmt.Errorf("the network has no host %s", host)
	}
	j.reset()
	n.enter(j, h, Input{Port: port, Frame: *f}, -1)
	n.run(j)
	return nil
}

// Receive hands a host an NVGRE packet from the underlay, whatever its outer
// destination, and writes what becomes of it into j.
func (n *Network) Receive(host string, o packet.Outer, f *packet.Frame, j *Journey) error {
	h := n.hosts[host]
	if h == nil {
		return fmt.Errorf("the network has no host %s", host)
	}
	j.reset()
	n.arrive(j, h, o, f, -1)
	n.run(j)
	return nil
}

func (n *Network) enter(j *Journey, h *Host, in Input, from int) {
	if len(j.Hops) == MaxHops {
		j.Losses = append(j.Losses, Loss{in.Outer, h.Name, LossTooFar, from})
		return
	}
	if len(h.Switch.groups) > 0 {
		in.Hash = in.Frame.FlowHash()
	}
	j.Hops = append(j.Hops, Hop{h.Name, in, from, j.result()})
}

func (n *Network) arrive(j *Journey, h *Host, o packet.Outer, f *packet.Frame, from int) {
	port, ok := h.Switch.TunnelPort(o.Key)
	if !ok {
		j.Losses = append(j.Losses, Loss{o, h.Name, LossNoTunnel, from})
		return
	}
	n.enter(j, h, Input{Port: port, Outer: o, Frame: *f}, from)
}

// run walks the hops that are there and those that they cause.
func (n *Network) run(j *Journey) {
	for i := 0; i < len(j.Hops); i++ {
		h, r := n.hosts[j.Hops[i].Host], j.Hops[i].Result
		h.Switch.Run(&j.Hops[i].In, r)
		for k := range r.Outputs {
			o := &r.Outputs[k]
			if !o.Tunnel {
				j.Deliveries = append(j.Deliveries, Delivery{h.Name, o.Port, o.Back, o.Frame, i})
				continue
			}
			to := n.owners[o.Outer.Dst]
			if to == nil {
				j.Losses = append(j.Losses, Loss{o.Outer, "", LossNoHost, i})
				continue
			}
			n.arrive(j, to, o.Outer, &o.Frame, i)
		}
	}
}
