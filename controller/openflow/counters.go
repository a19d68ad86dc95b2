package openflow

import "sync/atomic"

// Kind is a kind of message that a session sends.
type Kind uint8

// The kinds.
const (
	kindHello Kind = iota
	kindFeatures
	kindSetConfig
	kindEcho
	kindEchoReply
	kindBarrier
	kindRole
	kindFlowRequest
	kindBundleControl
	kindMonitor
	kindPacketOut
	// KindFlowMod counts changes of flows, whether sent in a bundle or not.
	KindFlowMod
	numKinds
)

var kindNames = [numKinds]string{"hello", "features-request", "set-config", "echo-request", "echo-reply", "barrier-request",
	"role-request", "flow-stats-request", "bundle-control", "flow-monitor", "packet-out", "flow-mod"}

// String returns the kind's name, as a metric's label.
func (k Kind) String() string {
	if k >= numKinds {
		return "unknown"
	}
	return kindNames[k]
}

// receivedNames has the names of the messages that a switch sends, by type.
var receivedNames = [...]string{typeHello: "hello", typeError: "error", typeEchoRequest: "echo-request", typeEchoReply: "echo-reply",
	typeExperimenter: "experimenter", typeFeaturesReply: "features-reply", typePacketIn: "packet-in", typeFlowRemoved: "flow-removed",
	typePortStatus: "port-status", typeMultipartReply: "multipart-reply", typeBarrierReply: "barrier-reply", typeRoleReply: "role-reply"}

// Counters is what a session has done so far.
type Counters struct {
	Sent          map[string]uint64 // messages by kind, all kinds; "flow-mod" counts the changes in bundles
	Received      map[string]uint64 // messages by kind, those that occurred
	BytesSent     uint64            // octets
	BytesReceived uint64            // octets
	EventsDropped uint64            // events that nobody took in time
	Malformed     uint64            // events that could not be decoded
	Refused       uint64            // packets that the switch did not take, of a PacketChannel
}

type counters struct {
	sent          [numKinds]atomic.Uint64
	received      [len(receivedNames) + 1]atomic.Uint64 // the last: others
	bytesSent     atomic.Uint64
	bytesReceived atomic.Uint64
	eventsDropped atomic.Uint64
	malformed     atomic.Uint64
	refused       atomic.Uint64
}

func (c *counters) send(k Kind, n int) { c.sent[k].Add(uint64(n)) }

func (c *counters) receive(kind uint8) {
	c.received[min(int(kind), len(receivedNames))].Add(1)
}

// Counters returns the session's counters, also after its end.
func (s *Session) Counters() Counters {
	c := Counters{
		Sent: make(map[string]uint64, numKinds), Received: make(map[string]uint64),
		BytesSent: s.counters.bytesSent.Load(), BytesReceived: s.counters.bytesReceived.Load(),
		EventsDropped: s.counters.eventsDropped.Load(), Malformed: s.counters.malformed.Load(),
		Refused: s.counters.refused.Load(),
	}
	for k := range numKinds {
		c.Sent[k.String()] = s.counters.sent[k].Load()
	}
	for i := range s.counters.received {
		if n := s.counters.received[i].Load(); n > 0 {
			name := "other"
			if i < len(receivedNames) && receivedNames[i] != "" {
				name = receivedNames[i]
			}
			c.Received[name] += n
		}
	}
	return c
}
