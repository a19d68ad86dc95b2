//go:build linux

package testbed

import (
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesOfDevicesAndNamespacesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.SliceOfNDistinct(rapid.StringN(1, 40, -1), 2, 20, rapid.ID).Draw(t, "nodes")
		devices, namespaces := make(map[string]string), make(map[string]string)
		for _, n := range nodes {
			for _, name := range []string{VMPort(n), UnderlayPort(n), UnderlayBridge(n)} {
				if len(name) > maxDeviceName || strings.ContainsAny(name, "/ :%\x00") {
					t.Fatalf("%q cannot be a device", name)
				}
				if other, taken := devices[name]; taken {
					t.Fatalf("%q and %q both get the device %s", n, other, name)
				}
				devices[name] = n
			}
			for _, kind := range []string{"vm", "host"} {
				name := namespaceName("bed", kind, n)
				if filepath.Base(name) != name || len(name) > 255 {
					t.Fatalf("%q cannot be a namespace", name)
				}
				if other, taken := namespaces[name]; taken {
					t.Fatalf("%q and %q both get the namespace %s", n, other, name)
				}
				namespaces[name] = n
			}
		}
	})
}

func TestNamesOfChainsFit(t *testing.T) {
	for _, d := range []string{"up0", VMPort("a"), VMPort("a name that needs a hash")} {
		if c := chainName(d); strings.ContainsAny(c, "+-. ") {
			t.Errorf("chain %q of %s", c, d)
		}
	}
}

func TestMACsDifferAndAreOfOneStation(t *testing.T) {
	seen := make(map[string]bool)
	for _, bed := range []string{"a", "b"} {
		for _, node := range []string{"host h1", "host h2", "router of rack1"} {
			m := macOf(bed, node)
			if m[0] != 0x02 || seen[m.String()] {
				t.Errorf("%s of %s: %s", node, bed, m)
			}
			seen[m.String()] = true
		}
	}
	again := macOf("a", "host h1")
	if !seen[again.String()] {
		t.Error("a MAC changes")
	}
}
