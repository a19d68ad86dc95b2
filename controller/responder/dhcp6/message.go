package dhcp6

import (
	"encoding/binary"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
)

// message is what counts of a client's message. It is read here, not by the
// library, which decodes every option there is: the domain list of one hostile
// message of 1,400 octets keeps it busy for an eighth of a second.
type message struct {
	kind           dhcpv6.MessageType
	transaction    dhcpv6.TransactionID
	client, server []byte // DUIDs, nil where not given
	rapid          bool
	ias            []association // at most mostIAs
}

// association is an IA_NA, IA_TA or IA_PD.
type association struct {
	code dhcpv6.OptionCode
	id   [4]byte
	has  []netip.Addr // its addresses, at most mostOld
}

const (
	// mostIAs bounds how many associations of one message are answered.
	mostIAs = 8
	// mostOld bounds how many addresses of an association are looked at.
	mostOld = 8
	// maxDUID is the longest DUID (RFC 8415 section 11.1).
	maxDUID = 130
)

// read reads a client's message (RFC 8415 section 8 and 21.1).
func read(b []byte) (*message, bool) {
	if len(b) < 4 {
		return nil, false
	}
	q := &message{kind: dhcpv6.MessageType(b[0]), transaction: dhcpv6.TransactionID(b[1:4])}
	return q, options(b[4:], q.option)
}

func (q *message) option(code dhcpv6.OptionCode, b []byte) bool {
	switch code {
	case dhcpv6.OptionClientID, dhcpv6.OptionServerID:
		if len(b) < 3 || len(b) > maxDUID {
			return false
		}
		if code == dhcpv6.OptionClientID {
			q.client = b
		} else {
			q.server = b
		}
	case dhcpv6.OptionRapidCommit:
		q.rapid = true
	case dhcpv6.OptionIANA, dhcpv6.OptionIAPD, dhcpv6.OptionIATA:
		header := 12 // IAID, T1, T2
		if code == dhcpv6.OptionIATA {
			header = 4
		}
		if len(b) < header {
			return false
		}
		ia := association{code: code, id: [4]byte(b)}
		ok := options(b[header:], func(code dhcpv6.OptionCode, b []byte) bool {
			if code != dhcpv6.OptionIAAddr {
				return true
			}
			if len(b) < 24 {
				return false
			}
			if len(ia.has) < mostOld {
				ia.has = append(ia.has, netip.AddrFrom16([16]byte(b)))
			}
			return true
		})
		if len(q.ias) < mostIAs {
			q.ias = append(q.ias, ia)
		}
		return ok
	}
	return true
}

// options calls each for every option in b. It returns false where one is cut
// short or is refused.
func options(b []byte, each func(code dhcpv6.OptionCode, b []byte) bool) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) || !each(dhcpv6.OptionCode(binary.BigEndian.Uint16(b)), b[4:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// parse reads a client's message and says why it has no answer where it has none.
func parse(b []byte) (*message, error) {
	if len(b) > 0 {
		switch dhcpv6.MessageType(b[0]) {
		case dhcpv6.MessageTypeRelayForward, dhcpv6.MessageTypeRelayReply:
			return nil, responder.Relayed
		}
	}
	q, ok := read(b)
	if !ok {
		return nil, responder.Malformed
	}
	return q, nil
}
