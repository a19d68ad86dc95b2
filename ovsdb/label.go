package ovsdb

import "fmt"

// Label is the key in external_ids of every row that is ours. Its value says
// what the row is for.
const Label = "nvgre-ofctl"

// The values of Label.
const (
	purposeBridge    = "bridge"     // Bridge
	purposeLocal     = "local-port" // Port and Interface that every bridge has
	purposeTunnel    = "tunnel"     // Port and Interface of mode FlowPort
	purposeVSID      = "vsid"       // Port and Interface of mode PortPerVSID
	purposeListener  = "listener"   // Controller
	purposeFlowTable = "flow-table" // Flow_Table
)

// The other keys of external_ids. Those of Open_vSwitch are written by whoever
// sets up the host, those of Interface by whoever starts the VM (Open vSwitch
// documentation, "Integration Guide for Centralized Control").
const (
	keySystemID    = "system-id"
	keyHostname    = "hostname"
	keyEncapIP     = "nvgre-encap-ip" // PAs of the host, separated by commas
	keyIfaceID     = "iface-id"
	keyIfaceStatus = "iface-status" // "active" or "inactive"
	keyInstalled   = "nvgre-installed"
)

// Keys that mean the same; the first that is there counts.
var (
	keysAttachedMAC = [...]string{"attached-mac", "attached_mac"}
	keysVMID        = [...]string{"vm-id", "vm-uuid"}
)

// NotOursError reports a row that stands where ours belongs and does not carry
// our label. Nothing was changed.
type NotOursError struct {
	Host string
	// Kind is "bridge", "port" or "interface".
	Kind string
	Name string
	// Bridge is the bridge that a port is on, "" where none is known.
	Bridge string
	// Remedy says what an operator can do about it.
	Remedy string
}

func (e *NotOursError) Error() string {
	where := ""
	if e.Bridge != "" {
		where = " on bridge " + e.Bridge
	}
	return fmt.Sprintf("host %s: %s %s exists%s and is not labelled as ours: %s", e.Host, e.Kind, e.Name, where, e.Remedy)
}

// ActiveControllerError reports that somebody made the bridge connect to
// controllers. Nothing was changed, because Open vSwitch flushes all flows when
// such a target comes or goes.
type ActiveControllerError struct {
	Host    string
	Bridge  string
	Targets []string // sorted
}

func (e *ActiveControllerError) Error() string {
	return fmt.Sprintf("host %s: bridge %s connects to the OpenFlow controllers %q, which may rule its flows: "+
		"when nobody needs them any more, remove them with `ovs-vsctl del-controller %s` (this flushes all flows and removes passive listeners too)",
		e.Host, e.Bridge, e.Targets, e.Bridge)
}
