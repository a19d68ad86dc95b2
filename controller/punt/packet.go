package punt

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// Packet is a frame of a VM that a flow handed to the controller.
type Packet struct {
	flows.Punted
	Frame []byte
	Cut   bool // Frame is not the whole frame
}

// read makes a Packet of a message of the switch; false where it is none of ours.
func read(in *openflow.PacketIn) (Packet, bool) {
	if !flows.Ours(in.Cookie) {
		return Packet{}, false
	}
	p, ok := flows.ReadPunt(in.Match)
	return Packet{Punted: p, Frame: in.Data, Cut: in.Length > len(in.Data)}, ok
}
