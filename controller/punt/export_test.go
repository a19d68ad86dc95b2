package punt

import "github.com/nvgre-ofctl/nvgre-ofctl/flows"

// Answer is what a service does with one frame.
func Answer(why flows.PuntReason, mtu uint16, b []byte, at *Port) ([]byte, error) {
	return answer(&Packet{Punted: flows.Punted{Port: 7, Reason: why, MTU: mtu}, Frame: b}, at)
}
