package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
)

const uncounted = "with one port for each virtual subnet Open vSwitch itself drops it, uncounted"

var reservedRows = []Row{
	{Name: "reserved-vsid-not-accepted", Source: "RFC 7637, 3.4", Level: Says, Test: reservedRefused,
		Says: "a policy that uses a VSID from 0 to 0xFFF, which are reserved, is refused"},
	{Name: "vendor-vsid-not-sent", Source: "RFC 7637, 3.4", Level: Should, Test: vendorRefused,
		Says: "VSID 0xFFFFFF is for endpoints of one vendor among themselves: a policy cannot use it, so nothing is sent with it unverified"},
	{Name: "reserved-vsid-dropped", Source: "RFC 7637, 3.4", Level: Says, Test: reservedDropped,
		Says: "what comes from the tunnel with such a VSID is dropped, and counted", Note: uncounted},
	{Name: "unknown-vsid-dropped", Source: "RFC 7637, 4.3", Level: Says, Test: unknownVSIDDropped,
		Says: "what comes with the VSID of no subnet here is dropped, and counted", Note: uncounted},
}

func refused(t *testing.T, n *Network, vsids ...string) {
	for _, v := range vsids {
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(Basic.Policy, "vsid: 6001", "vsid: "+v, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, errs, code := n.CLI("validate", file); code == 0 || !strings.Contains(out+errs, "vsid") {
			t.Errorf("validate of VSID %s exits with %d and says\n%s%s", v, code, out, errs)
		}
	}
}

func reservedRefused(t *testing.T, n *Network) { refused(t, n, "0", "1", "4095") }
func vendorRefused(t *testing.T, n *Network)   { refused(t, n, "16777215") }

// vsidDropped sends a frame for web1 with other VSIDs than web1's.
func vsidDropped(t *testing.T, n *Network, vsids ...uint32) {
	mark := Mark()
	var frames [][]byte
	for _, v := range vsids {
		frames = append(frames, Bytes(append(n.Tunnel("h2", "h1", v<<8), gopacket.Payload(n.Unicast("web2", "web1", mark)))...))
	}
	if n.Mode == PerVSID { // no port takes them in, so no flow counts them
		unheard(t, n, mark, frames...)
		return
	}
	for _, vm := range []string{"web1", "red1"} { // they have the same MAC and address
		for _, f := range n.See(t, vm, 0, func(f *Frame) bool { return f.Carries(mark) }, func() {
			n.Dropped(t, "h1", "unknown-vsid", len(frames), func() { n.OnWire(t, "rack1", frames...) })
		}) {
			t.Errorf("delivered: %s", f)
		}
	}
}

func reservedDropped(t *testing.T, n *Network)    { vsidDropped(t, n, 0, 1, 0xfff, 0xffffff) }
func unknownVSIDDropped(t *testing.T, n *Network) { vsidDropped(t, n, 4096, 5000, 5003, 7777) }
