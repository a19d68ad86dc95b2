package respondertest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// MAC and RouterMAC are those of the VM that [VM] returns.
var (
	MAC       = tenant.MAC{2, 0, 0, 0, 0, 5}
	RouterMAC = tenant.MAC{2, 0x4e, 0x56, 0, 0, 1}
)

// VM returns a VM with an address of each family in a subnet with both.
func VM() *responder.VM {
	return &responder.VM{
		MAC: MAC, RouterMAC: RouterMAC,
		CAs: []netip.Addr{netip.MustParseAddr("10.0.1.11"), netip.MustParseAddr("fd00:1::11"), netip.MustParseAddr("10.0.1.12")},
		Prefixes: []responder.Prefix{
			{Prefix: netip.MustParsePrefix("10.0.1.0/24"), Router: netip.MustParseAddr("10.0.1.1")},
			{Prefix: netip.MustParsePrefix("fd00:1::/64"), Router: netip.MustParseAddr("fd00:1::1")},
		},
		DNS:    []netip.Addr{netip.MustParseAddr("10.0.9.53"), netip.MustParseAddr("fd00:9::53")},
		Domain: "blue.example",
		Lease:  20 * time.Minute,
		MTU:    1458,
	}
}

// Decode decodes a frame, with every length and checksum right, as gopacket sees it.
func Decode(t testing.TB, b []byte) gopacket.Packet {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("%x: %v", b, e.Error())
	}
	if m := p.Metadata(); m.Truncated {
		t.Fatalf("%x: cut short", b)
	}
	for _, l := range p.Layers() {
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := c.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
	}
	wrong, bad := p.VerifyChecksums()
	if wrong != nil || len(bad) > 0 {
		t.Fatalf("%x: checksums: %v %v", b, wrong, bad)
	}
	return p
}
