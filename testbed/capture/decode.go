// Package capture sees frames on the devices of a testbed and reads NVGRE
// (RFC 7637) out of them.
package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// EtherTypes (IEEE 802 numbers, IANA).
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100
	EtherTypeQinQ = 0x88a8
	EtherTypeIPv6 = 0x86dd
	EtherTypeTEB  = 0x6558 // transparent Ethernet bridging: what NVGRE carries (RFC 7637 section 3.2)
)

// IP protocol numbers (IANA).
const (
	ProtoICMP   = 1
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoGRE    = 47
	ProtoICMPv6 = 58
)

// GRE flag bits of the first 16 bits of the header (RFC 2890 section 2).
const (
	GREChecksum = 0x8000
	GREKey      = 0x2000
	GRESequence = 0x1000
	greVersion  = 0x0007
)

// MAC is an Ethernet address as seen on the wire: of a group, too.
type MAC [6]byte

// IsGroup reports whether m is a multicast or the broadcast address.
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// String returns the form 02:00:00:00:00:05.
func (m MAC) String() string { return tenant.MAC(m).String() }

// MarshalText implements encoding.TextMarshaler.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// A Frame is an Ethernet frame with what it carries, as far as it can be read.
type Frame struct {
	Src       MAC      `json:"src"`
	Dst       MAC      `json:"dst"`
	VLANs     []uint16 `json:"vlans,omitempty"` // tag control information, the outermost first
	EtherType uint16   `json:"ethertype"`       // behind the tags
	IP        *IP      `json:"ip,omitempty"`
	ARP       *ARP     `json:"arp,omitempty"`
	NVGRE     *NVGRE   `json:"nvgre,omitempty"`
}

// IP is what is read of an IPv4 or IPv6 packet.
type IP struct {
	Src      netip.Addr `json:"src"`
	Dst      netip.Addr `json:"dst"`
	Protocol uint8      `json:"protocol"` // for IPv6 the first next header
	TTL      uint8      `json:"ttl"`      // or hop limit
	Fragment bool       `json:"fragment,omitempty"`
	// Type and Code are those of ICMP or ICMPv6.
	Type uint8 `json:"icmp_type,omitempty"`
	Code uint8 `json:"icmp_code,omitempty"`
	// ID and Seq are those of an ICMP echo.
	ID  uint16 `json:"icmp_id,omitempty"`
	Seq uint16 `json:"icmp_seq,omitempty"`
	// SrcPort and DstPort are those of TCP or UDP.
	SrcPort uint16 `json:"src_port,omitempty"`
	DstPort uint16 `json:"dst_port,omitempty"`
	Payload []byte `json:"-"` // behind the ICMP header only
}

// ARP is what is read of an ARP message.
type ARP struct {
	Op        uint16     `json:"op"`
	SenderMAC MAC        `json:"sender_mac"`
	SenderIP  netip.Addr `json:"sender_ip"`
	TargetIP  netip.Addr `json:"target_ip"`
}

// NVGRE is a GRE header with a key, and the tenant's frame behind it.
type NVGRE struct {
	Flags    uint16      `json:"flags"` // the first 16 bits of the header
	Protocol uint16      `json:"protocol"`
	Key      uint32      `json:"key"`
	VSID     tenant.VSID `json:"vsid"`    // the upper 24 bits of the key
	FlowID   uint8       `json:"flow_id"` // the lower 8 bits
	Inner    Frame       `json:"inner"`
}

var errShort = errors.New("the frame ends too early")

// Decode reads an Ethernet frame. It returns what it could read together with an
// error where the frame ends too early or contradicts itself; it reads at most
// one level of encapsulation.
func Decode(b []byte) (*Frame, error) {
	f := &Frame{}
	return f, f.decode(b, true)
}

func (f *Frame) decode(b []byte, outer bool) error {
	if len(b) < 14 {
		return fmt.Errorf("header of Ethernet: %w", errShort)
	}
	copy(f.Dst[:], b)
	copy(f.Src[:], b[6:])
	f.EtherType = binary.BigEndian.Uint16(b[12:])
	b = b[14:]
	for f.EtherType == EtherTypeVLAN || f.EtherType == EtherTypeQinQ {
		if len(b) < 4 {
			return fmt.Errorf("802.1Q tag: %w", errShort)
		}
		f.VLANs = append(f.VLANs, binary.BigEndian.Uint16(b))
		f.EtherType = binary.BigEndian.Uint16(b[2:])
		b = b[4:]
	}
	switch f.EtherType {
	case EtherTypeARP:
		return f.decodeARP(b)
	case EtherTypeIPv4:
		return f.decodeIPv4(b, outer)
	case EtherTypeIPv6:
		return f.decodeIPv6(b, outer)
	}
	return nil
}

func (f *Frame) decodeARP(b []byte) error {
	if len(b) < 28 {
		return fmt.Errorf("ARP: %w", errShort)
	}
	if binary.BigEndian.Uint16(b[2:]) != EtherTypeIPv4 || b[4] != 6 || b[5] != 4 {
		return errors.New("ARP for something else than IPv4 on Ethernet")
	}
	a := &ARP{Op: binary.BigEndian.Uint16(b[6:])}
	copy(a.SenderMAC[:], b[8:])
	a.SenderIP = netip.AddrFrom4([4]byte(b[14:18]))
	a.TargetIP = netip.AddrFrom4([4]byte(b[24:28]))
	f.ARP = a
	return nil
}

func (f *Frame) decodeIPv4(b []byte, outer bool) error {
	if len(b) < 20 {
		return fmt.Errorf("IPv4: %w", errShort)
	}
	hlen, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>4 != 4 || hlen < 20 || total < hlen || len(b) < hlen {
		return fmt.Errorf("IPv4: version %d, header length %d and total length %d do not fit together", b[0]>>4, hlen, total)
	}
	frag := binary.BigEndian.Uint16(b[6:])
	f.IP = &IP{
		Src: netip.AddrFrom4([4]byte(b[12:16])), Dst: netip.AddrFrom4([4]byte(b[16:20])),
		Protocol: b[9], TTL: b[8], Fragment: frag&0x3fff != 0,
	}
	if frag&0x1fff != 0 { // a later fragment has no header of the next layer
		return nil
	}
	return f.decodeTransport(b[hlen:min(total, len(b))], outer)
}

func (f *Frame) decodeIPv6(b []byte, outer bool) error {
	if len(b) < 40 {
		return fmt.Errorf("IPv6: %w", errShort)
	}
	if b[0]>>4 != 6 {
		return fmt.Errorf("IPv6: version %d", b[0]>>4)
	}
	f.IP = &IP{
		Src: netip.AddrFrom16([16]byte(b[8:24])), Dst: netip.AddrFrom16([16]byte(b[24:40])),
		Protocol: b[6], TTL: b[7], Fragment: b[6] == 44,
	}
	return f.decodeTransport(b[40:min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))], outer)
}

func (f *Frame) decodeTransport(b []byte, outer bool) error {
	ip := f.IP
	switch ip.Protocol {
	case ProtoGRE:
		if outer {
			return f.decodeGRE(b)
		}
	case ProtoICMP, ProtoICMPv6:
		if len(b) < 8 {
			return fmt.Errorf("ICMP: %w", errShort)
		}
		ip.Type, ip.Code = b[0], b[1]
		ip.ID, ip.Seq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
		ip.Payload = b[8:]
	case ProtoTCP, ProtoUDP:
		if len(b) < 4 {
			return fmt.Errorf("ports: %w", errShort)
		}
		ip.SrcPort, ip.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	return nil
}

func (f *Frame) decodeGRE(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("GRE: %w", errShort)
	}
	flags, protocol := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if protocol != EtherTypeTEB || flags&GREKey == 0 || flags&greVersion != 0 {
		return nil // some other GRE
	}
	b = b[4:]
	if flags&GREChecksum != 0 { // the checksum and a reserved field stand before the key
		if len(b) < 4 {
			return fmt.Errorf("GRE: %w", errShort)
		}
		b = b[4:]
	}
	if len(b) < 4 {
		return fmt.Errorf("GRE: %w", errShort)
	}
	key := binary.BigEndian.Uint32(b)
	b = b[4:]
	if flags&GRESequence != 0 {
		if len(b) < 4 {
			return fmt.Errorf("GRE: %w", errShort)
		}
		b = b[4:]
	}
	f.NVGRE = &NVGRE{Flags: flags, Protocol: protocol, Key: key, VSID: tenant.VSID(key >> 8), FlowID: uint8(key)}
	if err := f.NVGRE.Inner.decode(b, false); err != nil {
		return fmt.Errorf("the frame inside: %w", err)
	}
	return nil
}

// IsNeighbourDiscovery reports whether the frame asks or tells who has an IPv6
// address, or where the routers are (RFC 4861).
func (f *Frame) IsNeighbourDiscovery() bool {
	return f.IP != nil && f.IP.Protocol == ProtoICMPv6 && f.IP.Type >= 133 && f.IP.Type <= 137
}

// String returns the frame in one line.
func (f *Frame) String() string {
	if n := f.NVGRE; n != nil && f.IP != nil {
		return fmt.Sprintf("%s > %s NVGRE VSID %d FlowID %d: %s", f.IP.Src, f.IP.Dst, n.VSID, n.FlowID, n.Inner.String())
	}
	s := fmt.Sprintf("%s > %s ", f.Src, f.Dst)
	for _, v := range f.VLANs {
		s += fmt.Sprintf("VLAN %d ", v&0xfff)
	}
	switch {
	case f.ARP != nil:
		what := fmt.Sprintf("operation %d", f.ARP.Op)
		switch f.ARP.Op {
		case 1:
			what = fmt.Sprintf("who has %s? tell %s", f.ARP.TargetIP, f.ARP.SenderIP)
		case 2:
			what = fmt.Sprintf("%s is at %s", f.ARP.SenderIP, f.ARP.SenderMAC)
		}
		return s + "ARP " + what
	case f.IP != nil:
		return s + f.IP.String()
	}
	return s + fmt.Sprintf("ethertype 0x%04x", f.EtherType)
}

// String returns the packet in a few words.
func (ip *IP) String() string {
	addrs := fmt.Sprintf("%s > %s ttl %d ", ip.Src, ip.Dst, ip.TTL)
	switch ip.Protocol {
	case ProtoICMP, ProtoICMPv6:
		return addrs + ip.icmp()
	case ProtoTCP:
		return addrs + fmt.Sprintf("TCP %d > %d", ip.SrcPort, ip.DstPort)
	case ProtoUDP:
		return addrs + fmt.Sprintf("UDP %d > %d", ip.SrcPort, ip.DstPort)
	}
	return addrs + fmt.Sprintf("protocol %d", ip.Protocol)
}

func (ip *IP) icmp() string {
	name := "ICMP"
	if ip.Protocol == ProtoICMPv6 {
		name = "ICMPv6"
	}
	switch {
	case name == "ICMP" && ip.Type == 8, name == "ICMPv6" && ip.Type == 128:
		return fmt.Sprintf("%s echo request, id %d, seq %d", name, ip.ID, ip.Seq)
	case name == "ICMP" && ip.Type == 0, name == "ICMPv6" && ip.Type == 129:
		return fmt.Sprintf("%s echo reply, id %d, seq %d", name, ip.ID, ip.Seq)
	}
	return fmt.Sprintf("%s type %d code %d", name, ip.Type, ip.Code)
}

// Explain returns the frame over several lines, one for each layer.
func (f *Frame) Explain() string {
	var b strings.Builder
	f.explain(&b, "outer ")
	if n := f.NVGRE; n != nil {
		fmt.Fprintf(&b, "GRE             flags 0x%04x (%s), protocol 0x%04x, key 0x%08x\n", n.Flags, flagNames(n.Flags), n.Protocol, n.Key)
		fmt.Fprintf(&b, "NVGRE           VSID %d, FlowID %d\n", n.VSID, n.FlowID)
		n.Inner.explain(&b, "inner ")
	}
	return b.String()
}

func (f *Frame) explain(b *strings.Builder, prefix string) {
	fmt.Fprintf(b, "%-15s %s > %s, ethertype 0x%04x\n", prefix+"Ethernet", f.Src, f.Dst, f.EtherType)
	for _, v := range f.VLANs {
		fmt.Fprintf(b, "%-15s VLAN %d, priority %d\n", prefix+"802.1Q", v&0xfff, v>>13)
	}
	switch {
	case f.NVGRE != nil:
		fmt.Fprintf(b, "%-15s %s > %s, protocol %d (GRE), TTL %d\n", prefix+"IP", f.IP.Src, f.IP.Dst, f.IP.Protocol, f.IP.TTL)
	case f.IP != nil:
		fmt.Fprintf(b, "%-15s %s\n", prefix+"IP", f.IP)
	}
}

func flagNames(flags uint16) string {
	bit := func(mask uint16, name string) string {
		if flags&mask != 0 {
			return name + "=1"
		}
		return name + "=0"
	}
	return bit(GREChecksum, "C") + " " + bit(GREKey, "K") + " " + bit(GRESequence, "S")
}
