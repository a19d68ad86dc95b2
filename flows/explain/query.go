package explain

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim/packet"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Query is a packet in the tenant's words.
type Query struct {
	From  tenant.LookupRecord
	To    netip.Addr // customer address
	Proto string     // icmp (an echo request), tcp, udp or arp (a request); "" is icmp
	// SrcPort and DstPort are for tcp and udp. TTL is as given, and 0 is 0.
	SrcPort, DstPort uint16
	TTL              uint8
	// SrcMAC, SrcCA and DstMAC, where they are valid, take the place of what a
	// VM would write that is as its record says and has asked ARP before.
	SrcMAC, DstMAC tenant.MAC
	SrcCA          netip.Addr
}

// ErrProto says that a query's protocol is none that is known.
var ErrProto = errors.New("want icmp, tcp, udp or arp")

// Frame returns the packet of a query under a policy.
func (q *Query) Frame(p *tenant.Policy) (packet.Frame, error) {
	f := packet.Frame{Src: q.From.MAC, Type: packet.TypeIPv4, IP: packet.IP{Src: q.From.CA.Addr(), Dst: q.To, TTL: q.TTL}}
	if q.SrcMAC != (tenant.MAC{}) {
		f.Src = q.SrcMAC
	}
	if q.SrcCA.IsValid() {
		f.IP.Src = q.SrcCA
	}
	switch q.Proto {
	case "arp":
		return packet.Frame{Src: f.Src, Dst: tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Type: packet.TypeARP,
			ARP: packet.ARP{Op: packet.ARPRequest, SHA: f.Src, SPA: f.IP.Src, TPA: q.To}}, nil
	case "icmp", "":
		f.IP.Proto, f.L4.Type = packet.ProtoICMP, packet.EchoRequest
	case "tcp":
		f.IP.Proto, f.L4 = packet.ProtoTCP, packet.L4{Src: q.SrcPort, Dst: q.DstPort}
	case "udp":
		f.IP.Proto, f.L4 = packet.ProtoUDP, packet.L4{Src: q.SrcPort, Dst: q.DstPort}
	default:
		return f, fmt.Errorf("protocol %q: %w", q.Proto, ErrProto)
	}
	f.Dst = q.DstMAC
	if f.Dst == (tenant.MAC{}) {
		f.Dst = neighbour(p, &q.From, q.To)
	}
	return f, nil
}

// neighbour is the MAC to which a VM writes: that of a VM of its own subnet, else
// the router's.
func neighbour(p *tenant.Policy, from *tenant.LookupRecord, to netip.Addr) tenant.MAC {
	for r := range p.RecordsOf(from.VSID) {
		if r.CA.Addr() == to {
			return r.MAC
		}
	}
	return p.GatewayMAC()
}

// UnknownVMError says that a name means no VM, or several.
type UnknownVMError struct {
	Name string
	Many []string // what it may mean
	All  []string // the names that there are, sorted; only where it means none
}

func (e *UnknownVMError) Error() string {
	if len(e.Many) > 0 {
		return fmt.Sprintf("%s means several VMs: want one of %s", e.Name, strings.Join(e.Many, ", "))
	}
	return fmt.Sprintf("the policy has no VM %s", e.Name)
}

// FindVM returns the record of the VM that a name means: ROUTING-DOMAIN/VM, an
// iface-id, or a VM's name that no other routing domain has.
func FindVM(p *tenant.Policy, name string) (tenant.LookupRecord, error) {
	if r, ok := p.RecordByIfaceID(name); ok {
		return r, nil
	}
	domain, vm, both := strings.Cut(name, "/")
	e := &UnknownVMError{Name: name}
	var found []tenant.LookupRecord
	for d := range p.RoutingDomains() {
		switch r, ok := p.RecordByVM(d.RDID, vm); {
		case both && (d.Name == domain || d.Customer == domain || d.RDID.String() == domain) && ok:
			return r, nil
		}
		if r, ok := p.RecordByVM(d.RDID, name); ok {
			found = append(found, r)
			e.Many = append(e.Many, d.Name+"/"+r.VM)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		for r := range p.Records() {
			d, _ := p.RoutingDomain(r.RDID)
			e.All = append(e.All, d.Name+"/"+r.VM)
		}
		slices.Sort(e.All)
	}
	return tenant.LookupRecord{}, e
}

// FindDestination returns the customer address that text means for a VM: itself,
// or the address of a VM, where a name without a routing domain means one of the
// sender's own. vm is its record, nil where text is an address that no record of
// the sender's routing domain has.
func FindDestination(p *tenant.Policy, from *tenant.LookupRecord, text string) (ca netip.Addr, vm *tenant.LookupRecord, err error) {
	if a, err := netip.ParseAddr(text); err == nil {
		if a = a.Unmap(); !a.Is4() {
			return a, nil, fmt.Errorf("%s: customer addresses are IPv4", text)
		}
		for s := range p.SubnetsOf(from.RDID) {
			for r := range p.RecordsOf(s.VSID) {
				if r.CA.Addr() == a {
					return a, &r, nil
				}
			}
		}
		return a, nil, nil
	}
	if r, ok := p.RecordByVM(from.RDID, text); ok {
		return r.CA.Addr(), &r, nil
	}
	r, err := FindVM(p, text)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	return r.CA.Addr(), &r, nil
}
