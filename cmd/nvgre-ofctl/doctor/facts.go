package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Facts are what a host shows.
type Facts struct {
	OVSDB, Vswitchd error // why ovsdb-server and ovs-vswitchd do not answer; nil: they do
	Names           []string
	Encap           string // external_ids:nvgre-encap-ip
	Bridges         []Bridge
	Ports           []Port
	Tunnels         []Tunnel
	Kernel          error // why addresses could not be read
	Devices         []Device
	Routes          []Route     // of the kernel, of both families, gateways only
	Ways            []Way       // to each address of each peer
	Probes          []PathProbe // of those that there is a way to
}

// Bridge is a row of table Bridge.
type Bridge struct {
	Name, FailMode, Datapath string
	Ours                     bool
	Targets                  []string // of its OpenFlow controllers
}

// Port is a row of table Port; the links of a bond are in Links.
type Port struct {
	Name, Bridge string
	Tag          int
	Links        []string
}

// Tunnel is an Interface of type gre.
type Tunnel struct {
	Name, Error string
	OFPort      int
	Ours        bool
}

// Device is a network device with its addresses.
type Device struct {
	Name  string
	Up    bool
	MTU   int
	Addrs []netip.Addr
}

// Route is a route through a gateway.
type Route struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
}

// Way is how a peer's address is reached.
type Way struct {
	Peer   string
	To     netip.Addr
	Device string
	Err    error // there is none
}

// PathProbe is what came of packets of the full size that must not be fragmented.
type PathProbe struct {
	Peer     string
	From, To netip.Addr
	Size     int // octets of IP packet
	Answered bool
	Largest  int // where not answered: the largest size that was, 0: none
	Err      error
}

// Examiner looks at the host that it runs on.
type Examiner struct {
	// Run runs a program and returns its output. nil: os/exec.
	Run func(ctx context.Context, program string, args ...string) ([]byte, error)
	// Probe reports whether a packet of a size in octets is answered by an
	// address, without fragments. nil: an ICMP echo request of ours.
	Probe func(ctx context.Context, from, to netip.Addr, size int) (bool, error)
}

// parallel bounds the probes that are under way at once.
const parallel = 16

// Examine gathers the facts. What cannot be seen is an error among them.
func (e *Examiner) Examine(ctx context.Context, w Want) *Facts {
	x := *e
	if x.Run == nil {
		x.Run = run
	}
	if x.Probe == nil {
		x.Probe = Echo
	}
	f := &Facts{}
	f.OVSDB = x.database(ctx, f)
	_, f.Vswitchd = x.Run(ctx, "ovs-appctl", "--timeout=5", "version")
	f.Kernel = x.kernel(ctx, f)
	for _, p := range w.Peers {
		for _, to := range p.PAs {
			from, ok := w.from(to)
			if !ok {
				continue
			}
			way := x.way(ctx, p.Name, from, to)
			f.Ways = append(f.Ways, way)
			if way.Err == nil && f.has(from) != nil {
				f.Probes = append(f.Probes, PathProbe{Peer: p.Name, From: from, To: to, Size: min(w.MTU, p.MTU)})
			}
		}
	}
	x.probe(ctx, f)
	return f
}

func run(ctx context.Context, program string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}

// has returns the device that has an address, or nil.
func (f *Facts) has(a netip.Addr) *Device {
	for i := range f.Devices {
		if slices.Contains(f.Devices[i].Addrs, a) {
			return &f.Devices[i]
		}
	}
	return nil
}

func (f *Facts) device(name string) *Device {
	if i := slices.IndexFunc(f.Devices, func(d Device) bool { return d.Name == name }); i >= 0 {
		return &f.Devices[i]
	}
	return nil
}

// kernel reads devices, addresses and routes (ip(8)).
func (e *Examiner) kernel(ctx context.Context, f *Facts) error {
	out, err := e.Run(ctx, "ip", "-json", "address", "show")
	if err != nil {
		return err
	}
	var links []struct {
		Ifname   string
		MTU      int
		Flags    []string
		AddrInfo []struct{ Local string } `json:"addr_info"`
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return fmt.Errorf("reading what ip(8) says: %w", err)
	}
	for _, l := range links {
		d := Device{Name: l.Ifname, MTU: l.MTU, Up: slices.Contains(l.Flags, "UP")}
		for _, i := range l.AddrInfo {
			if a, err := netip.ParseAddr(i.Local); err == nil {
				d.Addrs = append(d.Addrs, a)
			}
		}
		f.Devices = append(f.Devices, d)
	}
	for _, family := range []string{"-4", "-6"} {
		out, err := e.Run(ctx, "ip", "-json", family, "route", "show")
		if err != nil {
			return err
		}
		var routes []struct{ Dst, Gateway string }
		if len(out) > 0 {
			if err := json.Unmarshal(out, &routes); err != nil {
				return fmt.Errorf("reading what ip(8) says: %w", err)
			}
		}
		for _, r := range routes {
			if gw, err := netip.ParseAddr(r.Gateway); err == nil {
				f.Routes = append(f.Routes, Route{destination(r.Dst, gw), gw})
			}
		}
	}
	return nil
}

// destination reads a prefix as ip(8) writes it; a host's has no length.
func destination(s string, gateway netip.Addr) netip.Prefix {
	if s == "default" {
		return netip.PrefixFrom(gateway, 0).Masked()
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

func (e *Examiner) way(ctx context.Context, peer string, from, to netip.Addr) Way {
	w := Way{Peer: peer, To: to}
	out, err := e.Run(ctx, "ip", "-json", "route", "get", to.String(), "from", from.String())
	var routes []struct{ Dev, Type string }
	switch {
	case err != nil:
		w.Err = err
	case json.Unmarshal(out, &routes) != nil || len(routes) == 0 || routes[0].Dev == "":
		w.Err = fmt.Errorf("ip route get says %q", strings.TrimSpace(string(out)))
	default:
		w.Device = routes[0].Dev
	}
	return w
}

// probe sends the probes, and where one of the full size has no answer, looks
// for the largest that has.
func (e *Examiner) probe(ctx context.Context, f *Facts) {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(parallel)
	for i := range f.Probes {
		p := &f.Probes[i]
		all.Go(func() error {
			p.Answered, p.Err = e.Probe(ctx, p.From, p.To, p.Size)
			if !p.Answered && p.Err == nil {
				p.Largest, p.Err = e.largest(ctx, p)
			}
			return nil
		})
	}
	all.Wait() // nobody returns an error
}

// smallest is a packet that every link carries (RFC 791: 68; RFC 8200: 1280).
const smallest4, smallest6 = 68, 1280

// largest finds the largest size that is answered, below that of p.
func (e *Examiner) largest(ctx context.Context, p *PathProbe) (int, error) {
	low := smallest4
	if p.To.Is6() {
		low = smallest6
	}
	if ok, err := e.Probe(ctx, p.From, p.To, low); err != nil || !ok {
		return 0, err
	}
	high := p.Size // not answered
	for high-low > 1 && ctx.Err() == nil {
		mid := (low + high) / 2
		if ok, err := e.Probe(ctx, p.From, p.To, mid); err != nil {
			return low, err
		} else if ok {
			low = mid
		} else {
			high = mid
		}
	}
	return low, ctx.Err()
}
