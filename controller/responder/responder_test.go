package responder_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/responder/respondertest"
)

func TestRouter(t *testing.T) {
	vm := respondertest.VM()
	for src, want := range map[string]string{
		"10.0.1.77": "10.0.1.1", "fd00:1::9": "fd00:1::1", "fe80::9": "fe80::1", "192.0.2.1": "10.0.1.1", "2001:db8::1": "fd00:1::1",
	} {
		if got, ok := vm.Router(netip.MustParseAddr(src)); !ok || got.String() != want {
			t.Errorf("to %s by %s, want %s", src, got, want)
		}
	}
	vm.Prefixes = vm.Prefixes[:1]
	if got, ok := vm.Router(netip.MustParseAddr("fd00:1::9")); ok {
		t.Errorf("a subnet without IPv6 answers by %s", got)
	}
}

func TestBroadcast(t *testing.T) {
	for prefix, want := range map[string]string{
		"10.0.1.0/24": "10.0.1.255", "10.0.0.0/8": "10.255.255.255", "0.0.0.0/0": "255.255.255.255", "10.0.1.4/30": "10.0.1.7", "10.0.1.4/31": "invalid IP", "fd00::/64": "invalid IP",
	} {
		if got := (responder.Prefix{Prefix: netip.MustParsePrefix(prefix)}).Broadcast().String(); got != want {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
}

func TestDomainName(t *testing.T) {
	long := strings.Repeat("a", 63)
	for domain, want := range map[string]string{
		"": "", "example.": "example", "a.b-c_d.9": "a.b-c_d.9", "a..b": "", ".": "", "käse.example": "", "a b": "", long + "a": "", long: long,
		strings.Repeat(long+".", 4): "",
	} {
		if got := (&responder.VM{Domain: domain}).DomainName(); got != want {
			t.Errorf("%q: %q, want %q", domain, got, want)
		}
	}
}

// Each reason has a name of its own and a text.
func TestReasons(t *testing.T) {
	seen := make(map[string]bool)
	for r := responder.Reason(1); r < responder.NumReasons; r++ {
		if r.String() == "" || r.Error() == "" || seen[r.String()] {
			t.Errorf("reason %d: %q, %q", r, r.String(), r.Error())
		}
		seen[r.String()] = true
	}
	if responder.NumReasons.String() != "unknown" || responder.Reason(0).Error() == "" {
		t.Error("what is no reason has no name")
	}
}
