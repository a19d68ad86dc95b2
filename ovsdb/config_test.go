package ovsdb

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]Config{
		"holds 15":                    {Bridge: "a-name-of-16-octe"},
		"no name for a network":       {TunnelPort: "a/b"},
		"has the name of the bridge":  {Bridge: "x", TunnelPort: "x"},
		"the name of a VSID's port":   {TunnelPort: "nvgre-5001"},
		"want system, netdev":         {DatapathType: "dpdk"},
		"port mode 7":                 {PortMode: 7},
		"VSID 4095 is reserved":       {PortMode: PortPerVSID, VSIDs: []tenant.VSID{4095}},
		"want ptcp:PORT:IP":           {Listener: "6653"},
		"flow table 255":              {TableNames: map[uint8]string{255: "x"}},
		"flow table 3 has an empty":   {TableNames: map[uint8]string{3: ""}},
		"datapath type \"dpdk\"":      {DatapathType: "dpdk", TunnelPort: "a b"},
		"tunnel port \"a b\" is no n": {DatapathType: "dpdk", TunnelPort: "a b"}, // all problems at once
	} {
		if _, err := cfg.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", cfg, err, want)
		}
	}
	// VSIDs do not matter where there is one port for all.
	if _, err := (Config{VSIDs: []tenant.VSID{1}}).withDefaults(); err != nil {
		t.Error(err)
	}
}

func TestPortModeText(t *testing.T) {
	for _, m := range []PortMode{FlowPort, PortPerVSID} {
		b, _ := m.MarshalText()
		var n PortMode
		if err := n.UnmarshalText(b); err != nil || n != m {
			t.Errorf("%s was read as %s, %v", b, n, err)
		}
	}
	var m PortMode
	if err := m.UnmarshalText([]byte("vsid")); err == nil || !strings.Contains(err.Error(), "want flow or per-vsid") {
		t.Error(err)
	}
}

func TestVSIDPortNameFits(t *testing.T) {
	if n := VSIDPortName(tenant.MaxVSID); len(n) > maxPortName {
		t.Errorf("%q has %d octets", n, len(n))
	}
}
