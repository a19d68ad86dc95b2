package calc

import (
	"cmp"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// host is what is known of a host and, where it is driven, what it holds.
type host struct {
	name string
	in   Input
	// ports has the port of each iface-id that is attached; more has all ports
	// of those that are attached several times.
	ports map[string]uint32
	more  map[string][]uint32

	// The rest is for a host that is driven: as it was at the last Flush.
	own     layer
	want    flowset.Draft
	vms     map[string]uint32   // the port in force of each VM that belongs here
	domains map[tenant.RDID]int // number of VMs here of each routing domain; 0: it lingers
	linger  map[tenant.RDID]int // since which call of Expire
	peers   map[string]struct{} // hosts that it has flows for, itself included
	tunnels []flows.Unit
	faults  map[string]string // what is wrong with an attachment
	list    []tenant.RDID     // the routing domains held, sorted

	todo   todo
	looked []string // iface-ids that todo had in this Flush
}

// todo is what Flush has to look at.
type todo struct {
	ifaces   map[string]struct{}
	domains  map[tenant.RDID]struct{}
	peers    map[string]struct{} // it may know them, or know them no more
	redo     map[string]struct{} // their flows may differ
	tunnels  bool
	changed  bool // want is another
	problems bool // what is wrong may be something else
}

func newHost(name string) *host { return &host{name: name, ports: make(map[string]uint32)} }

func (h *host) driven() bool { return h.vms != nil }

// drive makes h a host that gets updates.
func (h *host) drive() {
	h.vms, h.domains, h.peers = make(map[string]uint32), make(map[tenant.RDID]int), make(map[string]struct{})
	h.linger, h.faults = make(map[tenant.RDID]int), make(map[string]string)
	h.todo = todo{tunnels: true, changed: true, problems: true}
	for iface := range h.ports {
		mark(&h.todo.ifaces, iface)
	}
	mark(&h.todo.peers, h.name)
}

// yieldUp makes h a host that somebody else drives.
func (h *host) yieldUp() { *h = host{name: h.name, in: h.in, ports: h.ports, more: h.more} }

func mark[K comparable](set *map[K]struct{}, k K) {
	if *set == nil {
		*set = make(map[K]struct{})
	}
	(*set)[k] = struct{}{}
}

// perVSID reports whether the host has a port for each virtual subnet.
func (h *host) perVSID() bool { return h.in.Tunnels.PerVSID != nil }

// attachTo takes over what is attached, and returns the iface-ids concerned. What
// both lists begin and end with costs next to nothing.
func (h *host) attachTo(now []flows.Attachment) map[string]struct{} {
	old := h.in.Attachments
	for len(old) > 0 && len(now) > 0 && old[0] == now[0] {
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1] == now[len(now)-1] {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	touched := make(map[string]struct{}, len(old)+len(now))
	for _, a := range old {
		h.removePort(a)
		touched[a.IfaceID] = struct{}{}
	}
	for _, a := range now {
		h.addPort(a)
		touched[a.IfaceID] = struct{}{}
	}
	return touched
}

func (h *host) addPort(a flows.Attachment) {
	port, there := h.ports[a.IfaceID]
	if !there {
		h.ports[a.IfaceID] = a.OFPort
		return
	}
	if h.more == nil {
		h.more = make(map[string][]uint32)
	}
	if h.more[a.IfaceID] == nil {
		h.more[a.IfaceID] = []uint32{port}
	}
	h.more[a.IfaceID] = append(h.more[a.IfaceID], a.OFPort)
}

func (h *host) removePort(a flows.Attachment) {
	all := h.more[a.IfaceID]
	if all == nil {
		delete(h.ports, a.IfaceID)
		return
	}
	i := slices.Index(all, a.OFPort)
	all = slices.Delete(all, i, i+1)
	if h.more[a.IfaceID] = all; len(all) == 1 {
		h.ports[a.IfaceID] = all[0]
		delete(h.more, a.IfaceID)
	}
}

// port returns the port of an iface-id that counts, and of how many; 0 where none
// can be used.
func (h *host) port(iface string) (port uint32, of int) {
	all := h.more[iface]
	if all == nil {
		all = []uint32{h.ports[iface]}
	}
	for _, p := range all {
		if p == 0 || p > flow.PortMax {
			continue
		}
		if of++; port == 0 || p < port {
			port = p
		}
	}
	return port, of
}

// settleVMs works out which VMs are here, for the iface-ids to be looked at.
func (h *host) settleVMs(before, after *flows.Compiler) {
	for iface := range h.todo.ifaces {
		h.looked = append(h.looked, iface)
		old := h.vms[iface]
		port, fault := uint32(0), ""
		if _, attached := h.ports[iface]; attached {
			fault = flows.Misplaced(after.Policy(), after.Placement(), iface, h.name)
		}
		r, known := after.Policy().RecordByIfaceID(iface)
		if known && after.HostOf(&r) == h.name {
			of := 0
			if port, of = h.port(iface); of > 1 {
				fault = flows.TwoPorts(h.name, iface)
			}
		}
		h.setFault(iface, fault)
		was, is := flows.VMUnit(h.name, iface, old), flows.VMUnit(h.name, iface, port)
		if old != 0 {
			r, _ := before.Policy().RecordByIfaceID(iface)
			h.count(r.RDID, -1)
			h.own.changeTo(before, was, nil, is)
		}
		delete(h.vms, iface)
		if port != 0 {
			h.vms[iface] = port
			h.count(r.RDID, 1)
			h.own.changeTo(nil, was, after, is)
		}
	}
	h.todo.ifaces = nil
}

func (h *host) setFault(iface, text string) {
	if h.faults[iface] == text {
		return
	}
	h.todo.problems = true
	if h.faults[iface] = text; text == "" {
		delete(h.faults, iface)
	}
}

// count notes that n more VMs of a routing domain are here.
func (h *host) count(id tenant.RDID, n int) {
	h.domains[id] += n
	mark(&h.todo.domains, id)
}

// settlePeers works out which hosts h knows, for those to be looked at.
func (h *host) settlePeers(before, after *flows.Compiler, blocks map[tenant.RDID]*block) {
	look := func(name string, again bool) {
		_, had := h.peers[name]
		wants := name == h.name || slices.ContainsFunc(h.list, func(id tenant.RDID) bool { return blocks[id].peers[name] > 0 })
		if had == wants && !again {
			return
		}
		u := flows.PeerUnit(h.name, name)
		if had {
			h.own.change(before, nil, u)
			delete(h.peers, name)
		}
		if wants {
			h.own.change(nil, after, u)
			h.peers[name] = struct{}{}
		}
	}
	for name := range h.todo.redo {
		look(name, true)
	}
	for name := range h.todo.peers {
		look(name, false)
	}
	h.todo.peers, h.todo.redo = nil, nil
}

// settleTunnels works out the flows of the tunnel ports.
func (h *host) settleTunnels(before, after *flows.Compiler) {
	if !h.todo.tunnels {
		return
	}
	h.todo.tunnels = false
	units := slices.Collect(after.TunnelUnits(h.in.Tunnels, h.holds))
	for _, u := range h.tunnels {
		h.own.change(before, nil, u)
	}
	for _, u := range units {
		h.own.change(nil, after, u)
	}
	h.tunnels = units
}

// holds reports whether the host holds a routing domain.
func (h *host) holds(id tenant.RDID) bool {
	_, found := slices.BinarySearchFunc(h.list, id, tenant.RDID.Compare)
	return found
}

// set makes s the block of that name.
func (h *host) set(name string, s flowset.Set) {
	if old, there := h.want.Get(name); !there || old != s {
		h.want.Put(name, s)
		h.todo.changed = true
	}
}

// problems returns all that keeps part of the policy from the host.
func (h *host) problems(c *flows.Compiler, blocks map[tenant.RDID]*block) (out []flows.Problem) {
	if _, known := c.Policy().Host(h.name); !known {
		out = append(out, flows.Problem{Host: h.name, Text: flows.UnknownHost(h.name)})
	}
	for _, iface := range slices.SortedFunc(maps.Keys(h.faults), cmp.Compare[string]) {
		out = append(out, flows.Problem{Host: h.name, IfaceID: iface, Text: h.faults[iface]})
	}
	out = append(out, h.own.problems()...)
	for _, id := range h.list {
		out = append(out, blocks[id].problems()...)
	}
	return out
}

// conflicts returns the entries of the host's switch that objects want differently.
func (h *host) conflicts(blocks map[tenant.RDID]*block) []flows.Conflict {
	out := h.own.conflicts()
	for _, id := range h.list {
		out = append(out, blocks[id].conflicts()...)
	}
	return out
}
