package ofswitch

import (
	"fmt"
	"strings"
	"time"
)

// Counters is what a switch has met since it was made; restarts do not reset
// it.
type Counters struct {
	Connections   uint64 // accepted
	Messages      uint64 // received, each inside a bundle too
	BytesReceived uint64
	BytesSent     uint64

	// Changes of flows that took effect, also if they changed nothing: those
	// of a bundle count when it commits.
	Adds, Modifies, Deletes uint64

	Bundles         uint64 // committed
	BundlesFailed   uint64 // whose commit was refused
	Errors          uint64 // sent
	Barriers        uint64
	RoleRequests    uint64
	FlowRequests    uint64 // for flow statistics
	FlowsRead       uint64 // sent in flow statistics
	PacketOuts      uint64
	Echoes          uint64
	MaxOutstanding  uint64 // most changes of one connection that no commit or barrier had confirmed
	WritesUnrecord  uint64 // changes that the log of writers had no room for
	RefusedByFaults uint64
}

// FlowMods returns the changes of all kinds.
func (c *Counters) FlowMods() uint64 { return c.Adds + c.Modifies + c.Deletes }

// Add adds d to c; of maxima it keeps the greater.
func (c *Counters) Add(d *Counters) {
	c.Connections += d.Connections
	c.Messages += d.Messages
	c.BytesReceived += d.BytesReceived
	c.BytesSent += d.BytesSent
	c.Adds += d.Adds
	c.Modifies += d.Modifies
	c.Deletes += d.Deletes
	c.Bundles += d.Bundles
	c.BundlesFailed += d.BundlesFailed
	c.Errors += d.Errors
	c.Barriers += d.Barriers
	c.RoleRequests += d.RoleRequests
	c.FlowRequests += d.FlowRequests
	c.FlowsRead += d.FlowsRead
	c.PacketOuts += d.PacketOuts
	c.Echoes += d.Echoes
	c.MaxOutstanding = max(c.MaxOutstanding, d.MaxOutstanding)
	c.WritesUnrecord += d.WritesUnrecord
	c.RefusedByFaults += d.RefusedByFaults
}

// Write is a run of changes of flows by one connection under one generation,
// with no other connection's change between.
type Write struct {
	Conn  uint64 // number of the connection, from 1, unique in the switch
	Peer  string // "pid 4711" on a unix socket, else an address
	Epoch uint64 // restarts of the switch before it
	// Generation is what the connection claimed the switch with; Fenced reports
	// that it did and was master.
	Generation  uint64
	Fenced      bool
	First, Last time.Time
	Mods        uint64
}

// maxWrites bounds the log: more runs only occur when two controllers fight.
const maxWrites = 4096

// noteWrite records n changes by c. The caller holds the lock.
func (s *Switch) noteWrite(c *conn, n int) {
	now := time.Now()
	if k := len(s.writes); k > 0 {
		w := &s.writes[k-1]
		if w.Conn == c.number && w.Generation == c.generation && w.Fenced == (c.role == roleMaster) {
			w.Last = now
			w.Mods += uint64(n)
			return
		}
	}
	if len(s.writes) >= maxWrites {
		s.counters.WritesUnrecord += uint64(n)
		return
	}
	s.writes = append(s.writes, Write{Conn: c.number, Peer: c.peer, Epoch: s.epoch, Generation: c.generation,
		Fenced: c.role == roleMaster, First: now, Last: now, Mods: uint64(n)})
}

// CheckWrites says what in a switch's log breaks the rule that a switch has one
// writer: a change by a connection that was not master, one under a generation
// lower than an earlier change's, or two peers under one generation. It returns
// nil where the rule was kept. What a switch forgets when it restarts does not
// count against a writer.
func CheckWrites(log []Write) error {
	var problems []string
	for i, w := range log {
		if !w.Fenced {
			problems = append(problems, fmt.Sprintf("%d changes by %s (connection %d), which was not master", w.Mods, w.Peer, w.Conn))
		}
		if i == 0 {
			continue
		}
		before := log[i-1]
		if w.Epoch == before.Epoch && w.Fenced && before.Fenced && int64(w.Generation-before.Generation) < 0 {
			problems = append(problems, fmt.Sprintf("%s (connection %d) wrote under generation %d after %s (connection %d) under %d",
				w.Peer, w.Conn, w.Generation, before.Peer, before.Conn, before.Generation))
		}
		if w.Fenced && before.Fenced && w.Generation == before.Generation && w.Peer != before.Peer {
			problems = append(problems, fmt.Sprintf("%s (connection %d) and %s (connection %d) both wrote under generation %d",
				before.Peer, before.Conn, w.Peer, w.Conn, w.Generation))
		}
	}
	if problems == nil {
		return nil
	}
	return fmt.Errorf("more than one writer: %s", strings.Join(problems, "; "))
}
