package openflow

import (
	"encoding"
	"encoding/binary"
	"fmt"

	"github.com/contiv/libOpenflow/common"
	of "github.com/contiv/libOpenflow/openflow13"
)

// marshal encodes a rare message by libOpenflow and checks the length that it
// wrote: the library swallows errors inside a message.
func marshal(xid uint32, h *common.Header, m encoding.BinaryMarshaler) ([]byte, error) {
	h.Xid = xid
	b, err := m.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("openflow: encoding a message of type %d: %w", h.Type, err)
	}
	if len(b) < headerLen || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return nil, fmt.Errorf("openflow: encoding a message of type %d: made %d octets", h.Type, len(b))
	}
	return b, nil
}

// encodeHello offers OpenFlow 1.3 alone (OpenFlow 1.3.5 section 7.5.1).
func encodeHello(xid uint32) ([]byte, error) {
	h, err := common.NewHello(of.VERSION)
	if err != nil {
		return nil, err
	}
	bitmap := common.NewHelloElemVersionBitmap()
	bitmap.Bitmaps = []uint32{1 << version13} // the library's own also offers 1.0
	h.Elements = []common.HelloElem{bitmap}
	return marshal(xid, &h.Header, h)
}

func encodeBare(xid uint32, kind uint8) ([]byte, error) {
	h := of.NewOfp13Header()
	h.Type = kind
	return marshal(xid, &h, &h)
}

// encodeSetConfig asks for whole packets. While it was not sent, or says 0, a
// switch's management socket gets no packet-ins at all; [Session.setUp] says which.
func encodeSetConfig(xid uint32) ([]byte, error) {
	c := of.NewSetConfig()
	c.MissSendLen = maxLenWhole
	return marshal(xid, &c.Header, c)
}

// encodeFlowRequest asks for all flows of a table, or of all, with this cookie
// under this mask (OpenFlow 1.3.5 section 7.3.5.2).
func encodeFlowRequest(xid uint32, table uint8, cookie, mask uint64) ([]byte, error) {
	r := of.NewFlowStatsRequest()
	r.TableId = table
	r.Cookie, r.CookieMask = cookie, mask
	m := &of.MultipartRequest{Header: of.NewOfp13Header(), Type: of.MultipartType_Flow, Body: r}
	m.Header.Type = of.Type_MultiPartRequest
	return marshal(xid, &m.Header, m)
}

// roleRequest is a message that libOpenflow lacks (OpenFlow 1.3.5 section 7.3.9).
type roleRequest struct {
	common.Header
	role       uint32
	generation uint64
}

func (r *roleRequest) MarshalBinary() ([]byte, error) {
	r.Length = headerLen + 16
	b, err := r.Header.MarshalBinary()
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint32(b, r.role)
	b = append(b, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint64(b, r.generation), nil
}

func encodeRoleRequest(xid, role uint32, generation uint64) ([]byte, error) {
	r := &roleRequest{Header: of.NewOfp13Header(), role: role, generation: generation}
	r.Type = of.Type_RoleRequest
	return marshal(xid, &r.Header, r)
}

// echo is an echo with its payload, which libOpenflow leaves out.
type echo struct {
	common.Header
	payload []byte
}

func (e *echo) MarshalBinary() ([]byte, error) {
	e.Length = uint16(headerLen + len(e.payload))
	b, err := e.Header.MarshalBinary()
	return append(b, e.payload...), err
}

// encodeEchoReply answers an echo with the payload that it carried; at most
// 65,527 octets.
func encodeEchoReply(xid uint32, payload []byte) ([]byte, error) {
	e := &echo{Header: *of.NewEchoReply(), payload: payload}
	return marshal(xid, &e.Header, e)
}
