package packet

import "hash/fnv"

// FlowHash returns a hash of addresses, protocol and ports: the same for all
// packets of one connection in one direction. Open vSwitch hashes the same
// fields (dp_hash), in another way.
func (f *Frame) FlowHash() uint32 {
	h := fnv.New32a()
	if !f.HasIPv4() && !f.HasIPv6() {
		h.Write(f.Dst[:])
		h.Write(f.Src[:])
		return h.Sum32()
	}
	src, dst := f.IP.Src.As16(), f.IP.Dst.As16()
	h.Write(src[:])
	h.Write(dst[:])
	h.Write([]byte{f.IP.Proto})
	if f.HasL4(ProtoTCP) || f.HasL4(ProtoUDP) {
		h.Write([]byte{byte(f.L4.Src >> 8), byte(f.L4.Src), byte(f.L4.Dst >> 8), byte(f.L4.Dst)})
	}
	return h.Sum32()
}
