package verify

import (
	"net/netip"
	"sync/atomic"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
)

// network is the hosts as walkers see them.
type network struct {
	hosts      []*host // by name
	byName     map[string]*host
	owners     map[netip.Addr]*host // by address in the underlay
	ownerAddrs []netip.Addr
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// number returns the address of so many bits that is v.
func number(v flow.Value, bits int) netip.Addr {
	a, _ := netip.AddrFromSlice(v.Bytes(bits / 8))
	return a
}

func number4(a netip.Addr) uint32 { return uint32(flow.Addr(a).Lo) }

// host is a host with its tables.
type host struct {
	name        string
	given       bool // its flows are known
	view        flows.HostView
	flows       []flow.Flow
	raw         []flow.Group // as it was given
	groups      map[uint32]*buckets
	tables      [256]*table
	base        [256]int // the place in flows of each table's first
	ports       map[uint32]sim.Port
	portNumbers []uint32
	keyed       map[uint32]uint32
	anyKey      uint32
	met         []atomic.Bool // by place in flows
}

func (h *host) meet(r *rule) {
	if m := &h.met[h.base[r.flow.Table]+r.index]; !m.Load() {
		m.Store(true)
	}
}

func (h *host) tunnelPort(key uint32) (port uint32, ok bool) {
	if p, ok := h.keyed[key]; ok {
		return p, true
	}
	return h.anyKey, h.anyKey != 0
}
