package flow

import (
	"net/netip"
	"strconv"
	"strings"
)

// Text returns the flow in the syntax of ovs-ofctl(8), as one line.
func (f *Flow) Text() string {
	b := make([]byte, 0, 256)
	b = append(b, "cookie=0x"...)
	b = strconv.AppendUint(b, f.Cookie, 16)
	b = append(b, ",table="...)
	b = strconv.AppendUint(b, uint64(f.Table), 10)
	b = append(b, ",priority="...)
	b = strconv.AppendUint(b, uint64(f.Priority), 10)
	if len(f.Match) > 0 {
		b = append(b, ',')
		b = append(b, f.Match.Text()...)
	}
	b = append(b, " actions="...)
	return string(append(b, ActionsText(f.Actions)...))
}

// Text returns the match in the syntax of ovs-ofctl(8): "" for every packet.
func (m Match) Text() string {
	var parts []string
	proto, skip := m.shorthand()
	if proto != "" {
		parts = append(parts, proto)
	}
	for _, t := range m {
		if !skip[t.Field] {
			parts = append(parts, t.Text())
		}
	}
	return strings.Join(parts, ",")
}

// shorthand returns ovs-ofctl's word for the protocol that m matches, and the
// fields that the word stands for.
func (m Match) shorthand() (word string, covers map[Field]bool) {
	et, ok := m.Find(EthType)
	if !ok {
		return "", nil
	}
	word, ok = map[uint64]string{0x0800: "ip", 0x0806: "arp", 0x86dd: "ipv6"}[et.Value.Lo]
	if !ok {
		return "", nil
	}
	covers = map[Field]bool{EthType: true}
	if p, ok := m.Find(IPProto); ok {
		if w, ok := map[[2]uint64]string{
			{0x0800, 1}: "icmp", {0x0800, 6}: "tcp", {0x0800, 17}: "udp",
			{0x86dd, 58}: "icmp6", {0x86dd, 6}: "tcp6", {0x86dd, 17}: "udp6",
		}[[2]uint64{et.Value.Lo, p.Value.Lo}]; ok {
			word, covers[IPProto] = w, true
		}
	}
	return word, covers
}

// Text returns the test in the syntax of ovs-ofctl(8).
func (t Test) Text() string {
	i := t.Field.Info()
	s := i.Name + "=" + FormatValue(t.Field, t.Value)
	if t.Field == VLANTCI {
		// A TCI is 16 bits wide for ovs-ofctl, and a mask is always wanted.
		return "vlan_tci=" + t.Value.String() + "/" + t.Mask.String()
	}
	if t.IsExact() {
		return s
	}
	if plen, ok := prefixLen(t.Mask, i.Bits); ok && i.Form == IPv4Form || ok && i.Form == IPv6Form {
		return s + "/" + strconv.Itoa(plen)
	}
	return s + "/" + FormatValue(t.Field, t.Mask)
}

// FormatValue writes a whole field's value in the field's form.
func FormatValue(f Field, v Value) string {
	switch f.Info().Form {
	case Decimal:
		if v.Hi == 0 {
			return strconv.FormatUint(v.Lo, 10)
		}
	case MACForm:
		return FormatMAC(v)
	case IPv4Form:
		a, _ := netip.AddrFromSlice(v.Bytes(4))
		return a.String()
	case IPv6Form:
		a, _ := netip.AddrFromSlice(v.Bytes(16))
		return a.String()
	}
	return v.String()
}

// FormatMAC writes the low 48 bits as a MAC address with colons.
func FormatMAC(v Value) string {
	b := make([]byte, 0, 17)
	for i, o := range v.Bytes(6) {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hexDigits[o>>4], hexDigits[o&15])
	}
	return string(b)
}

// prefixLen returns the number of leading ones of a mask that has no other ones.
func prefixLen(mask Value, width int) (int, bool) {
	for n := range width + 1 {
		if PrefixMask(n, width) == mask {
			return n, true
		}
	}
	return 0, false
}

// ActionsText returns a list of actions in the syntax of ovs-ofctl(8).
func ActionsText(actions []Action) string {
	if len(actions) == 0 {
		return "drop"
	}
	parts := make([]string, len(actions))
	for i, a := range actions {
		parts[i] = a.Text()
	}
	return strings.Join(parts, ",")
}

// Text returns the action in the syntax of ovs-actions(7).
func (a Action) Text() string {
	switch a.Op {
	case OpSet:
		if a.Dst.IsAll() {
			return "set_field:" + FormatValue(a.Dst.Field, a.Value) + "->" + a.Dst.Field.Info().Long
		}
		return "load:" + a.Value.String() + "->" + a.Dst.Text()
	case OpMove:
		return "move:" + a.Src.Text() + "->" + a.Dst.Text()
	case OpDecTTL:
		return "dec_ttl"
	case OpOutput:
		if a.Port == PortInPort {
			return "IN_PORT"
		}
		return "output:" + strconv.FormatUint(uint64(a.Port), 10)
	case OpOutputReg:
		return "output:" + a.Src.Text()
	case OpGoto:
		return "goto_table:" + strconv.Itoa(int(a.Table))
	case OpGroup:
		return "group:" + strconv.FormatUint(uint64(a.Group), 10)
	case OpResubmit:
		return "resubmit(," + strconv.Itoa(int(a.Table)) + ")"
	case OpController:
		return a.controllerText()
	case OpCheckLarger:
		return "check_pkt_larger(" + strconv.Itoa(int(a.MaxLen)) + ")->" + a.Dst.Text()
	case OpPopVLAN:
		return "pop_vlan"
	}
	return "unknown_action_" + strconv.Itoa(int(a.Op))
}

func (a Action) controllerText() string {
	var parts []string
	if a.MaxLen != WholePacket {
		parts = append(parts, "max_len="+strconv.Itoa(int(a.MaxLen)))
	}
	if a.Controller != 0 {
		parts = append(parts, "id="+strconv.Itoa(int(a.Controller)))
	}
	if a.UserData != "" {
		parts = append(parts, "userdata="+dotted(a.UserData))
	}
	if a.Meter != 0 {
		parts = append(parts, "meter_id="+strconv.FormatUint(uint64(a.Meter), 10))
	}
	return "controller(" + strings.Join(parts, ",") + ")"
}

// dotted writes octets in hexadecimal with points between them.
func dotted(s string) string {
	b := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, hexDigits[s[i]>>4], hexDigits[s[i]&15])
	}
	return string(b)
}

const hexDigits = "0123456789abcdef"

// Text returns the range in the syntax of ovs-actions(7): FIELD[FIRST..LAST].
func (b Bits) Text() string {
	n := b.Field.Info().Long
	switch {
	case b.IsAll():
		return n + "[]"
	case b.N == 1:
		return n + "[" + strconv.Itoa(int(b.Ofs)) + "]"
	}
	return n + "[" + strconv.Itoa(int(b.Ofs)) + ".." + strconv.Itoa(int(b.Ofs)+int(b.N)-1) + "]"
}
