//go:build linux

package testbed

import (
	"fmt"
	"hash/fnv"
	"regexp"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// NamespacePrefix begins the name of every network namespace of every testbed.
const NamespacePrefix = "nvt."

// UnderlayNamespace returns the namespace of the underlay.
func (t *Testbed) UnderlayNamespace() string { return namespaceName(t.Name(), "underlay", "") }

// HostNamespace returns the namespace of a host.
func (t *Testbed) HostNamespace(host string) string { return namespaceName(t.Name(), "host", host) }

// VMNamespace returns the namespace of the VM with that iface-id.
func (t *Testbed) VMNamespace(ifaceID string) string {
	return namespaceName(t.Name(), "vm", ifaceID)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// namespaceName makes a file name out of any name of a node.
func namespaceName(testbed, kind, node string) string {
	s := NamespacePrefix + testbed + "." + kind
	switch {
	case node == "":
		return s
	case plainName.MatchString(node):
		return s + "." + node
	}
	// '+' is in no plain name, so the two forms cannot meet.
	return fmt.Sprintf("%s.+%016x", s, hash64(node))
}

// maxDeviceName is the longest name of a network device, in octets (IFNAMSIZ
// less its final zero, netdevice(7)).
const maxDeviceName = 15

var plainDevice = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// deviceName makes a device name out of any name of a node: as it is where that
// is possible, else with a hash for what does not fit.
func deviceName(prefix, node string) string {
	if s := prefix + node; len(s) <= maxDeviceName && plainDevice.MatchString(node) {
		return s
	}
	return fmt.Sprintf("%s+%0*x", prefix, maxDeviceName-len(prefix)-1, hash64(node)>>(64-4*(maxDeviceName-len(prefix)-1)))
}

// macOf returns a MAC that is always the same for a node of a testbed and
// differs between nodes. It is locally administered.
func macOf(testbed, node string) tenant.MAC {
	h := hash64(testbed + "\x00" + node)
	return tenant.MAC{0x02, byte(h >> 56), byte(h >> 48), byte(h >> 40), byte(h >> 32), byte(h >> 24)}
}

func hash64(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	// FNV's high bits are weak for short texts: mix them once more.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Devices of the underlay and of hosts. Every pair of devices is made inside of
// two namespaces of the testbed, so none ever appears among the machine's own.

// UnderlayBridge returns the device of an underlay subnet, in the underlay's
// namespace.
func UnderlayBridge(subnet string) string { return deviceName("ul-", subnet) }

// UnderlayPort returns the underlay's end of a host's uplink. Seen from there,
// every frame that comes in was sent by the host.
func UnderlayPort(host string) string { return deviceName("to-", host) }

// UnderlayPort2 returns the underlay's end of the second link of a host, where
// uplinks are bonded.
func UnderlayPort2(host string) string { return deviceName("t2-", host) }

// VMPort returns the host's end of a VM's adapter: the port on br-int.
func VMPort(ifaceID string) string { return deviceName("vm-", ifaceID) }
