package ovsdb

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Attachment is an Interface of the bridge with external_ids:iface-id: this VM
// port is here now.
type Attachment struct {
	IfaceID   string // external_ids:iface-id
	Interface string // Interface.name, unique on the host
	// OFPort is the OpenFlow port number, 1 to 0xfeff; 0 while there is none.
	OFPort uint32
	// MAC is external_ids:attached-mac (or attached_mac) as it stands there; ""
	// where there is none.
	MAC string
	// VMID is external_ids:vm-id (or vm-uuid).
	VMID string
	// Inactive reports external_ids:iface-status=inactive: another Interface
	// with this iface-id is the one in use.
	Inactive bool
	// Installed is external_ids:nvgre-installed; see [Host.MarkInstalled].
	Installed string
	// Error is why Open vSwitch could not set up the Interface
	// (Interface.error); "" where it could.
	Error string
}

// State is what is known of a host at one moment. Nothing in it changes
// afterwards.
type State struct {
	// Connected reports whether the rest is true now. When it is false, the
	// rest is as it was when the connection was lost, or empty.
	Connected bool
	// ConnError is why there is no connection; nil while there is one. It wraps
	// what dialling, TLS, reading or writing failed with; see also [ErrClosed].
	ConnError error

	SystemID string      // Open_vSwitch.external_ids:system-id
	Hostname string      // Open_vSwitch.external_ids:hostname
	EncapIPs []tenant.PA // Open_vSwitch.external_ids:nvgre-encap-ip, in its order
	Version  string      // of Open vSwitch, such as 3.1.0; "" where unknown

	// BridgeReady reports that the bridge is ours and ovs-vswitchd has it.
	BridgeReady bool
	// DatapathID is the bridge's, as sixteen hexadecimal digits; "" where there
	// is none.
	DatapathID string
	// TunnelOFPort is the OpenFlow port number of the gre port in mode
	// [FlowPort]; 0 while there is none.
	TunnelOFPort uint32
	// VSIDPorts are the OpenFlow port numbers of the gre ports in mode
	// [PortPerVSID], of those that have one.
	VSIDPorts map[tenant.VSID]uint32
	// Attachments are sorted by IfaceID, then Interface. Two may have one
	// IfaceID.
	Attachments []Attachment
	// Problems are for an operator to see to, sorted.
	Problems []string
}

// clone copies what a reader could change.
func (s State) clone() State {
	s.EncapIPs = slices.Clone(s.EncapIPs)
	s.VSIDPorts = maps.Clone(s.VSIDPorts)
	s.Attachments = slices.Clone(s.Attachments)
	s.Problems = slices.Clone(s.Problems)
	return s
}

// equal compares errors by what they say: they come anew with each attempt.
func (s *State) equal(t *State) bool {
	a, b := *s, *t
	a.ConnError, b.ConnError = nil, nil
	return errorText(s.ConnError) == errorText(t.ConnError) && reflect.DeepEqual(a, b)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// observe reads the state of a connected host from its rows.
func observe(host string, db *database, bridge string) State {
	s := State{Connected: true}
	if root := db.root(); root != nil {
		s.SystemID = root.ExternalIDs[keySystemID]
		s.Hostname = root.ExternalIDs[keyHostname]
		s.Version = deref(root.Version)
		for _, t := range strings.Split(root.ExternalIDs[keyEncapIP], ",") {
			if t = strings.TrimSpace(t); t == "" {
				continue
			}
			pa, err := tenant.ParsePA(t)
			if err != nil {
				s.Problems = append(s.Problems, fmt.Sprintf("host %s: Open_vSwitch external_ids:%s: %v", host, keyEncapIP, err))
				continue
			}
			s.EncapIPs = append(s.EncapIPs, pa)
		}
	}
	if b := db.bridge(bridge); b != nil {
		s.observeBridge(host, db, b)
	}
	slices.Sort(s.Problems)
	slices.SortFunc(s.Attachments, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.IfaceID, b.IfaceID), cmp.Compare(a.Interface, b.Interface))
	})
	return s
}

func (s *State) observeBridge(host string, db *database, b *bridgeRow) {
	s.DatapathID = deref(b.DatapathID)
	ours := b.ExternalIDs[Label] == purposeBridge
	s.BridgeReady = ours && s.DatapathID != ""
	if targets := activeTargets(db, b); len(targets) > 0 {
		s.Problems = append(s.Problems, (&ActiveControllerError{host, b.Name, targets}).Error())
	}
	for _, p := range resolve[portRow](db, b.Ports) {
		for _, i := range resolve[interfaceRow](db, p.Interfaces) {
			if id := i.ExternalIDs[keyIfaceID]; id != "" {
				s.Attachments = append(s.Attachments, attachment(i))
			}
			if l := p.ExternalIDs[Label]; l == purposeTunnel || l == purposeVSID {
				s.observeTunnel(host, l, i)
			}
		}
	}
}

func (s *State) observeTunnel(host, purpose string, i *interfaceRow) {
	if text := deref(i.Error); text != "" {
		s.Problems = append(s.Problems, fmt.Sprintf("host %s: gre port %s: %s", host, i.Name, text))
	}
	port := ofport(i)
	if port == 0 {
		return
	}
	if purpose == purposeTunnel {
		s.TunnelOFPort = port
		return
	}
	key, err := strconv.ParseUint(i.Options["key"], 10, 32)
	if v := tenant.VSID(key >> 8); err == nil && key&0xff == 0 && v.Valid() {
		if s.VSIDPorts == nil {
			s.VSIDPorts = make(map[tenant.VSID]uint32)
		}
		s.VSIDPorts[v] = port
	}
}

func attachment(i *interfaceRow) Attachment {
	return Attachment{
		IfaceID:   i.ExternalIDs[keyIfaceID],
		Interface: i.Name,
		OFPort:    ofport(i),
		MAC:       firstOf(i.ExternalIDs, keysAttachedMAC[:]),
		VMID:      firstOf(i.ExternalIDs, keysVMID[:]),
		Inactive:  i.ExternalIDs[keyIfaceStatus] == "inactive",
		Installed: i.ExternalIDs[keyInstalled],
		Error:     deref(i.Error),
	}
}

// ofport returns the port number of an interface, or 0 where it has none: not
// yet, or -1 because it could not be set up.
func ofport(i *interfaceRow) uint32 {
	if n := deref(i.OFPort); n > 0 && n < 0xff00 {
		return uint32(n)
	}
	return 0
}

func firstOf(m map[string]string, keys []string) string {
	for _, k := range keys {
		if v := m[k]; v != "" {
			return v
		}
	}
	return ""
}

// activeTargets returns the targets that make the bridge connect, sorted.
func activeTargets(db *database, b *bridgeRow) []string {
	var targets []string
	for _, c := range resolve[controllerRow](db, b.Controllers) {
		if !ovsaddr.IsPassive(c.Target) {
			targets = append(targets, c.Target)
		}
	}
	slices.Sort(targets)
	return targets
}
