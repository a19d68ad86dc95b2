package capture

import (
	"fmt"
	"net/netip"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Kind is what a frame in the underlay is, in the light of what should be there.
type Kind string

// The kinds of frames. Flooding, in the sense of NVGRE without multicast, is
// every kind but the first three.
const (
	KindNVGRE         Kind = "nvgre unicast"      // to a VM that is where the packet goes
	KindUnderlay      Kind = "underlay"           // of hosts and routers among themselves: ARP, ICMP
	KindOther         Kind = "other"              // of nobody known
	KindBroadcast     Kind = "tenant broadcast"   // or multicast, in NVGRE
	KindARP           Kind = "tenant ARP or ND"   // in NVGRE
	KindUnknown       Kind = "unknown unicast"    // in NVGRE, to a MAC that is not at that host in that subnet
	KindTagged        Kind = "tagged inner frame" // in NVGRE, which forbids it (RFC 7637 section 3.3)
	KindOuterGroup    Kind = "NVGRE to a group"   // of MACs or of provider addresses
	KindNotConforming Kind = "malformed NVGRE"    // flags that RFC 7637 section 3.2 forbids, or too short
	KindLeak          Kind = "bare tenant frame"  // a VM's frame without NVGRE around it
)

// Flooded reports whether a frame of this kind must not be in the underlay.
func (k Kind) Flooded() bool { return k != KindNVGRE && k != KindUnderlay && k != KindOther }

// Location says where a VM's adapter is.
type Location struct {
	VSID tenant.VSID
	MAC  tenant.MAC
	PA   netip.Addr
}

// Knowledge is what an observer of the underlay knows of what should be there.
type Knowledge struct {
	locations map[Location]bool
	vmMACs    map[tenant.MAC]bool
	hostMACs  map[MAC]bool
}

// NewKnowledge returns the knowledge of these VMs and of the MACs that hosts and
// routers have in the underlay.
func NewKnowledge(vms []Location, underlay []MAC) *Knowledge {
	k := &Knowledge{make(map[Location]bool), make(map[tenant.MAC]bool), make(map[MAC]bool)}
	for _, v := range vms {
		k.locations[v] = true
		k.vmMACs[v.MAC] = true
	}
	for _, m := range underlay {
		k.hostMACs[m] = true
	}
	return k
}

// Kind judges a frame that was seen in the underlay.
func (k *Knowledge) Kind(p *Packet) Kind {
	f := p.Frame
	n := f.NVGRE
	if n == nil {
		switch {
		case k.vmMACs[tenant.MAC(f.Src)]:
			return KindLeak
		case f.IP != nil && f.IP.Protocol == ProtoGRE:
			return KindNotConforming
		case k.hostMACs[f.Src]:
			return KindUnderlay
		}
		return KindOther
	}
	in := &n.Inner
	switch {
	case p.Err != nil || n.Flags != GREKey:
		return KindNotConforming
	case f.Dst.IsGroup() || f.IP.Dst.IsMulticast():
		return KindOuterGroup
	case len(in.VLANs) > 0:
		return KindTagged
	case in.EtherType == EtherTypeARP || in.IsNeighbourDiscovery():
		return KindARP
	case in.Dst.IsGroup():
		return KindBroadcast
	case !k.locations[Location{n.VSID, tenant.MAC(in.Dst), f.IP.Dst}]:
		return KindUnknown
	}
	return KindNVGRE
}

// Tally counts frames by kind.
type Tally struct {
	Kinds map[Kind]uint64 `json:"frames"`
	Lost  uint64          `json:"lost"` // frames that the observer missed
	// First holds the first frame of each kind that must not be there.
	First map[Kind]string `json:"first,omitempty"`
}

// NewTally returns a tally of nothing.
func NewTally() *Tally { return &Tally{Kinds: make(map[Kind]uint64), First: make(map[Kind]string)} }

// Count adds a frame of a kind.
func (t *Tally) Count(k Kind, p *Packet) {
	if t.Kinds[k]++; t.Kinds[k] == 1 && k.Flooded() {
		t.First[k] = fmt.Sprintf("at %s: %s", p.Point, p.Frame)
	}
}

// Flooded returns how many frames were seen that must not be in the underlay.
func (t *Tally) Flooded() uint64 {
	var n uint64
	for k, c := range t.Kinds {
		if k.Flooded() {
			n += c
		}
	}
	return n
}

// Total returns how many frames were seen.
func (t *Tally) Total() uint64 {
	var n uint64
	for _, c := range t.Kinds {
		n += c
	}
	return n
}
