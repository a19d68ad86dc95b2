package packet

import (
	"fmt"
	"strings"
)

// String returns the frame in one line, in tcpdump's manner.
func (f Frame) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s > %s", f.Src, f.Dst)
	if f.Tagged {
		fmt.Fprintf(&b, " vlan %d", f.VID)
	}
	switch {
	case f.HasARP():
		op := fmt.Sprintf("op %d", f.ARP.Op)
		switch f.ARP.Op {
		case ARPRequest:
			op = "request"
		case ARPReply:
			op = "reply"
		}
		fmt.Fprintf(&b, " ARP %s spa %s sha %s tpa %s tha %s", op, f.ARP.SPA, f.ARP.SHA, f.ARP.TPA, f.ARP.THA)
	case f.HasIPv4(), f.HasIPv6():
		fmt.Fprintf(&b, " IP %s > %s ttl %d", f.IP.Src, f.IP.Dst, f.IP.TTL)
		f.transport(&b)
	default:
		fmt.Fprintf(&b, " type 0x%04x", f.Type)
		if f.Cut {
			b.WriteString(" cut short")
		}
	}
	return b.String()
}

func (f *Frame) transport(b *strings.Builder) {
	switch {
	case f.IP.Fragment != Whole:
		fmt.Fprintf(b, " protocol %d fragment", f.IP.Proto)
	case f.HasL4(ProtoTCP):
		fmt.Fprintf(b, " TCP %d > %d", f.L4.Src, f.L4.Dst)
	case f.HasL4(ProtoUDP):
		fmt.Fprintf(b, " UDP %d > %d", f.L4.Src, f.L4.Dst)
	case f.HasICMP(), f.HasICMPv6():
		fmt.Fprintf(b, " ICMP type %d code %d", f.L4.Type, f.L4.Code)
		if f.HasND() {
			fmt.Fprintf(b, " target %s sll %s tll %s flags %#x", f.ND.Target, f.ND.SLL, f.ND.TLL, f.ND.Flags)
		}
	default:
		fmt.Fprintf(b, " protocol %d", f.IP.Proto)
	}
}

// String returns the outer header in one line.
func (o Outer) String() string {
	return fmt.Sprintf("NVGRE %s > %s VSID %d FlowID %d", o.Src, o.Dst, o.VSID(), o.FlowID())
}
