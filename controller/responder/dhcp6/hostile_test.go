package dhcp6_test

import (
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/dhcp6"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
)

// An option that nobody asked for is not read: decoders of domain lists can be
// kept busy for long by a list of pointers into a long name.
func TestHostileDomainList(t *testing.T) {
	var list []byte
	for range 340 {
		list = append(list, 1, 'a')
	}
	list = append(list, 0)
	for len(list) < 1400 {
		list = append(list, 0xc0, 0)
	}
	m := append([]byte{1, 1, 2, 3, 0, 24, byte(len(list) >> 8), byte(len(list))}, list...)
	b := header().UDP(546, 547, m)
	const most = 100 // allocations; a decoder of all options makes one for each label
	if n := testing.AllocsPerRun(3, func() { _, _ = dhcp6.Answer(b, respondertest.VM()) }); n > most {
		t.Errorf("%v allocations for a message of %d octets", n, len(m))
	}
}
