package flow

import (
	"slices"
	"strconv"
	"strings"
)

// GroupType says which of a group's buckets are done (OpenFlow 1.3.5 section
// 5.6.1).
type GroupType uint8

// The types, by their numbers in OpenFlow.
const (
	// GroupAll does every bucket, each with a copy of the packet of its own.
	GroupAll GroupType = 0
	// GroupSelect does one bucket. Open vSwitch takes it by a hash of the packet,
	// the same for all packets of one transport connection in both directions, in
	// proportion to the weights (dp_hash, its default in OpenFlow 1.3). Ports of
	// UDP do not count in that hash (seen with 3.1), nor do those of fragments.
	GroupSelect GroupType = 1
	// GroupIndirect does its one bucket.
	GroupIndirect GroupType = 2
)

// String returns the type as ovs-ofctl prints it.
func (t GroupType) String() string {
	switch t {
	case GroupAll:
		return "all"
	case GroupSelect:
		return "select"
	case GroupIndirect:
		return "indirect"
	}
	return "type " + strconv.Itoa(int(t))
}

// Bucket is one list of actions of a group. Whatever they change, what comes
// behind the group in the flow has the packet as it was.
type Bucket struct {
	Weight  uint16 // of a GroupSelect: its share of the packets, 0 for none; else 0
	Actions []Action
}

// Group is an entry of the group table (OpenFlow 1.3.5 section 5.6).
type Group struct {
	ID      uint32 // at most MaxGroup
	Type    GroupType
	Buckets []Bucket
}

// MaxGroup is the greatest number of a group (OFPG_MAX).
const MaxGroup = 0xffffff00

// Equal reports whether two groups are the same in every respect.
func (g *Group) Equal(h *Group) bool {
	return g.ID == h.ID && g.Type == h.Type && slices.EqualFunc(g.Buckets, h.Buckets, func(a, b Bucket) bool {
		return a.Weight == b.Weight && slices.Equal(a.Actions, b.Actions)
	})
}

// Text returns the group in the syntax of ovs-ofctl(8), as one line.
func (g *Group) Text() string {
	var b strings.Builder
	b.WriteString("group_id=" + strconv.FormatUint(uint64(g.ID), 10) + ",type=" + g.Type.String())
	for _, k := range g.Buckets {
		b.WriteString(",bucket=")
		if g.Type == GroupSelect {
			b.WriteString("weight:" + strconv.Itoa(int(k.Weight)) + ",")
		}
		b.WriteString("actions=" + ActionsText(k.Actions))
	}
	return b.String()
}

// Meter lets packets through up to a rate and drops the others (OpenFlow 1.3.5
// section 5.7): one band of type drop, which counts packets.
type Meter struct {
	ID    uint32 // 1 to MaxMeter
	Rate  uint32 // packets a second, at least 1
	Burst uint32 // packets that may come at once, at least 1
}

// MaxMeter is the greatest number of a meter (OFPM13_MAX).
const MaxMeter = 0xffff0000

// Text returns the meter in the syntax of ovs-ofctl(8).
func (m *Meter) Text() string {
	return "meter=" + strconv.FormatUint(uint64(m.ID), 10) + ",pktps,burst,stats,bands=type=drop,rate=" +
		strconv.FormatUint(uint64(m.Rate), 10) + ",burst_size=" + strconv.FormatUint(uint64(m.Burst), 10)
}

// GroupsThere reports whether the groups that a flow names are among all.
func GroupsThere(f *Flow, all []Group) bool {
	for _, a := range f.Actions {
		if a.Op == OpGroup && !slices.ContainsFunc(all, func(g Group) bool { return g.ID == a.Group }) {
			return false
		}
	}
	return true
}
