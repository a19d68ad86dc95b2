package explain

import (
	"errors"
	"fmt"
	"math"
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
	Proto string     // icmp (an echo request), tcp, udp, or arp (a question for To's MAC: ARP, or a neighbour solicitation); "" is icmp
	// SrcPort and DstPort are for tcp and udp. TTL is as given, and 0 is 0.
	SrcPort, DstPort uint16
	TTL              uint8
	Size             int // of the IP packet, in octets; 0: it fits anywhere
	// SrcMAC, SrcCA and DstMAC, where they are valid, take the place of what a
	// VM would write that is as its record says and has asked ARP before.
	SrcMAC, DstMAC tenant.MAC
	SrcCA          netip.Addr
}

// ErrProto says that a query's protocol is none that is known.
var ErrProto = errors.New("want icmp, tcp, udp or arp")

// ethernetHeader is the length of an Ethernet header, in octets.
const ethernetHeader = 14

// Frame returns the packet of a query under a policy.
func (q *Query) Frame(p *tenant.Policy) (packet.Frame, error) {
	f := packet.Frame{Src: q.From.MAC, Type: packet.TypeIPv4, IP: packet.IP{Src: source(p, &q.From, q.To), Dst: q.To, TTL: q.TTL}}
	if q.Size > 0 {
		f.Size = uint16(min(q.Size+ethernetHeader, math.MaxUint16))
	}
	six := q.To.Is6()
	if six {
		f.Type = packet.TypeIPv6
	}
	if q.SrcMAC != (tenant.MAC{}) {
		f.Src = q.SrcMAC
	}
	if q.SrcCA.IsValid() {
		f.IP.Src = q.SrcCA
	}
	if !f.IP.Src.IsValid() || f.IP.Src.IsUnspecified() && !q.SrcCA.IsValid() {
		return f, fmt.Errorf("VM %s has no address of its own: say which one it sends from", q.From.VM)
	}
	if f.IP.Src.Is6() != six {
		return f, fmt.Errorf("VM %s has the address %s, and none of the family of %s", q.From.VM, f.IP.Src, q.To)
	}
	switch q.Proto {
	case "arp":
		if six {
			return solicitation(f.Src, f.IP.Src, q.To), nil
		}
		return packet.Frame{Src: f.Src, Dst: tenant.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, Type: packet.TypeARP,
			ARP: packet.ARP{Op: packet.ARPRequest, SHA: f.Src, SPA: f.IP.Src, TPA: q.To}}, nil
	case "icmp", "":
		f.IP.Proto, f.L4.Type = packet.ProtoICMP, packet.EchoRequest
		if six {
			f.IP.Proto, f.L4.Type = packet.ProtoICMPv6, packet.EchoRequest6
		}
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

// source returns the address that a VM sends from to another: its own of the
// family, and the link-local one to a link-local destination. Where it has none of
// the family it is its record's.
func source(p *tenant.Policy, from *tenant.LookupRecord, to netip.Addr) netip.Addr {
	if a := from.CA.Addr(); a.IsValid() && !a.IsUnspecified() && a.Is4() == to.Is4() && !to.IsLinkLocalUnicast() {
		return from.CA.Addr()
	}
	for r := range p.RecordsByIfaceID(from.IfaceID) {
		switch a := r.CA.Addr(); {
		case !a.IsValid() || a.Is4() != to.Is4() || a.IsUnspecified():
		case to.Is6() && to.IsLinkLocalUnicast():
			return tenant.LinkLocal(from.MAC)
		default:
			return a
		}
	}
	return from.CA.Addr()
}

// solicitation asks for the MAC of an IPv6 address (RFC 4861 section 4.3), by its
// solicited-node group (RFC 4291 section 2.7.1, RFC 2464 section 7).
func solicitation(mac tenant.MAC, src, target netip.Addr) packet.Frame {
	t := target.As16()
	group := netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]})
	return packet.Frame{Src: mac, Dst: tenant.MAC{0x33, 0x33, 0xff, t[13], t[14], t[15]}, Type: packet.TypeIPv6,
		IP: packet.IP{Src: src, Dst: group, TTL: 255, Proto: packet.ProtoICMPv6},
		L4: packet.L4{Type: packet.NeighborSolicitation}, ND: packet.ND{Target: target, SLL: mac}}
}

// neighbour is the MAC to which a VM writes: that of a VM of its own subnet, else
// the router's.
func neighbour(p *tenant.Policy, from *tenant.LookupRecord, to netip.Addr) tenant.MAC {
	for r := range p.RecordsOf(from.VSID) {
		if r.CA.Addr() == to || r.CA.Addr().Is6() && tenant.LinkLocal(r.MAC) == to {
			return r.MAC
		}
	}
	s, _ := p.Subnet(from.VSID)
	here := slices.ContainsFunc(s.Prefixes, func(x tenant.CAPrefix) bool { return x.Prefix().Contains(to) })
	router := slices.ContainsFunc(s.Gateways, func(g tenant.CA) bool { return g.Addr() == to })
	any := netip.IPv6Unspecified()
	if to.Is4() {
		any = netip.IPv4Unspecified()
	}
	if r, ok := p.Record(from.VSID, tenant.CAFrom(any)); ok && here && !router {
		return r.MAC
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
		a = a.Unmap()
		for s := range p.SubnetsOf(from.RDID) {
			for r := range p.RecordsOf(s.VSID) {
				link := s.VSID == from.VSID && r.CA.Addr().Is6() && tenant.LinkLocal(r.MAC) == a
				if r.CA.Addr() == a || link {
					return a, &r, nil
				}
			}
		}
		return a, nil, nil
	}
	r, ok := p.RecordByVM(from.RDID, text)
	if !ok {
		if r, err = FindVM(p, text); err != nil {
			return netip.Addr{}, nil, err
		}
	}
	r = reachable(p, from, r)
	return r.CA.Addr(), &r, nil
}

// reachable returns the record of a VM to which another has an address of the
// same family, the first of them; where there is none, r itself.
func reachable(p *tenant.Policy, from *tenant.LookupRecord, r tenant.LookupRecord) tenant.LookupRecord {
	for to := range p.RecordsByIfaceID(r.IfaceID) {
		for own := range p.RecordsByIfaceID(from.IfaceID) {
			if to.CA.IsValid() && own.CA.IsValid() && to.CA.Addr().Is4() == own.CA.Addr().Is4() {
				return to
			}
		}
	}
	return r
}
