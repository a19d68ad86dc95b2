package ovsdb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// PortMode says how NVGRE packets get to and from the bridge.
type PortMode uint8

const (
	// FlowPort is one gre port whose remote address, local address and key
	// come from the flows. It carries every VSID, FlowID and PA of both
	// families.
	FlowPort PortMode = iota
	// PortPerVSID is one gre port for each VSID, with the key VSID<<8. Such a
	// port takes no packet with a FlowID other than 0.
	PortPerVSID
)

// String returns "flow" or "per-vsid", as the settings write it.
func (m PortMode) String() string {
	switch m {
	case FlowPort:
		return "flow"
	case PortPerVSID:
		return "per-vsid"
	}
	return "PortMode(" + strconv.Itoa(int(m)) + ")"
}

// MarshalText implements encoding.TextMarshaler.
func (m PortMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *PortMode) UnmarshalText(b []byte) error {
	switch string(b) {
	case "flow":
		*m = FlowPort
	case "per-vsid":
		*m = PortPerVSID
	default:
		return fmt.Errorf("port mode %q: want flow or per-vsid", b)
	}
	return nil
}

// The names that a zero [Config] stands for.
const (
	DefaultBridge     = "br-int"
	DefaultTunnelPort = "nvgre0"
)

// Config is what a host must have.
type Config struct {
	// Bridge is the name of the bridge; "" is [DefaultBridge].
	Bridge string
	// AdoptBridge permits taking over a bridge of that name that lacks our
	// label. Nearly every host has a br-int of somebody's.
	AdoptBridge bool
	// DatapathType is "system" (the kernel), "netdev" (userspace), or "" to
	// leave it as it is. A new bridge with "" gets Open vSwitch's default, the
	// kernel.
	DatapathType string
	// PortMode chooses the gre ports.
	PortMode PortMode
	// TunnelPort is the name of the gre port in mode [FlowPort]; "" is
	// [DefaultTunnelPort].
	TunnelPort string
	// VSIDs are the virtual subnets that have a gre port in mode [PortPerVSID].
	VSIDs []tenant.VSID
	// Listener is the passive OpenFlow listener of the bridge, "ptcp:…" or
	// "pssl:…", for a controller on another machine; "" is none. pssl: uses the
	// key and certificates that the host's `ovs-vsctl set-ssl` configured.
	Listener string
	// TableNames are the names of the flow tables, by table number 0 to 254.
	TableNames map[uint8]string
}

// maxPortName is what a network device's name holds (IFNAMSIZ less the zero).
const maxPortName = 15

// vsidPortPrefix begins the names of the ports of mode PortPerVSID.
const vsidPortPrefix = "nvgre-"

// VSIDPortName returns the name of a virtual subnet's gre port in mode
// [PortPerVSID], at most 14 octets.
func VSIDPortName(v tenant.VSID) string { return vsidPortPrefix + v.String() }

// withDefaults returns c with every default in its place and the listener in
// the one spelling that is written. It reports all that is wrong in c.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Bridge == "" {
		c.Bridge = DefaultBridge
	}
	if c.TunnelPort == "" {
		c.TunnelPort = DefaultTunnelPort
	}
	errs = append(errs, checkName("bridge", c.Bridge), checkName("tunnel port", c.TunnelPort))
	if c.Bridge == c.TunnelPort {
		errs = append(errs, fmt.Errorf("tunnel port %q has the name of the bridge: want another, such as %s", c.TunnelPort, DefaultTunnelPort))
	}
	for _, name := range []string{c.Bridge, c.TunnelPort} {
		if _, err := tenant.ParseVSID(strings.TrimPrefix(name, vsidPortPrefix)); err == nil && strings.HasPrefix(name, vsidPortPrefix) {
			errs = append(errs, fmt.Errorf("name %q is the name of a VSID's port: want another", name))
		}
	}
	switch c.DatapathType {
	case "", "system", "netdev":
	default:
		errs = append(errs, fmt.Errorf("datapath type %q: want system, netdev or nothing", c.DatapathType))
	}
	switch c.PortMode {
	case FlowPort:
		c.VSIDs = nil
	case PortPerVSID:
		c.VSIDs = slices.Compact(slices.Sorted(slices.Values(c.VSIDs)))
		for _, v := range c.VSIDs {
			if !v.Valid() {
				errs = append(errs, fmt.Errorf("VSID %d is reserved (RFC 7637 section 3.4): want %d to %d", v, tenant.MinVSID, tenant.MaxVSID))
			}
		}
	default:
		errs = append(errs, fmt.Errorf("port mode %d: want FlowPort or PortPerVSID", c.PortMode))
	}
	if c.Listener != "" {
		l, err := ovsaddr.ParseListener(c.Listener)
		if err != nil {
			errs = append(errs, err)
		}
		c.Listener = l.String()
	}
	for n, name := range c.TableNames {
		if n == 255 {
			errs = append(errs, errors.New("flow table 255 cannot be named: want 0 to 254"))
		}
		if name == "" {
			errs = append(errs, fmt.Errorf("flow table %d has an empty name: leave it out, or name it", n))
		}
	}
	return c, errors.Join(errs...)
}

func checkName(what, name string) error {
	if len(name) > maxPortName {
		return fmt.Errorf("%s %q has %d octets: a network device's name holds %d", what, name, len(name), maxPortName)
	}
	if name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == '/' || r == ':' || r == 0x7f
	}) {
		return fmt.Errorf("%s %q is no name for a network device: want letters, digits, '-', '_' and '.'", what, name)
	}
	return nil
}

// tunnel is one gre port that a configuration asks for.
type tunnel struct {
	port    string
	purpose string
	options map[string]string // Interface.options that we own
}

// tunnels returns the gre ports that c asks for, in the order of VSIDs.
func (c *Config) tunnels() []tunnel {
	if c.PortMode == FlowPort {
		return []tunnel{{c.TunnelPort, purposeTunnel, map[string]string{"remote_ip": "flow", "local_ip": "flow", "key": "flow"}}}
	}
	ts := make([]tunnel, len(c.VSIDs))
	for i, v := range c.VSIDs {
		ts[i] = tunnel{VSIDPortName(v), purposeVSID, map[string]string{
			"remote_ip": "flow", "local_ip": "flow",
			"key": strconv.FormatUint(uint64(v.Key(0)), 10),
		}}
	}
	return ts
}
