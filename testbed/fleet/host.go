package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/dbserver"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
)

// Host is one simulated host. Its methods are safe for concurrent use.
type Host struct {
	index  int
	name   string
	pa     string
	bridge string
	sw     *ofswitch.Switch
	db     *dbserver.Server

	openflow, ovsdb *endpoint
	stalled         atomic.Bool // nobody applies configurations
	bridgeUp        atomic.Bool

	// Under the database's lock: numbers of ports.
	nextPort int
	ports    map[int]bool
}

// VM is a VM's port as it attaches.
type VM struct {
	Interface string // name, at most 15 octets; "": made of the IfaceID
	IfaceID   string
	MAC       string // external_ids:attached-mac; "": none
	VMID      string // external_ids:vm-id; "": none
}

// vmOf returns the VM of a record.
func vmOf(r Record) VM { return VM{IfaceID: r.VM, MAC: r.MAC.String(), VMID: r.VM} }

// interfaceName returns the name of the port.
func (v VM) interfaceName() string {
	if v.Interface != "" {
		return v.Interface
	}
	return "tap-" + v.IfaceID
}

// ErrNoBridge reports that a host's bridge is not there.
var ErrNoBridge = errors.New("the bridge does not exist")

// maxPort is the greatest number of a port that Open vSwitch gives out.
const maxPort = 0xfeff

const localPort = 65534

// newHost makes a host that listens nowhere yet.
func newHost(index int, o *Options, schema *dbserver.Schema, pool *ofswitch.Pool) (*Host, error) {
	h := &Host{index: index, name: HostName(index), pa: HostPA(index).String(), bridge: o.Bridge, ports: make(map[int]bool)}
	config := ofswitch.Config{DatapathID: 0x0000_fe00_0000_0000 | uint64(index+1), Pool: pool, Ports: h.portList, FlowLimit: o.FlowLimit}
	if o.Observe != nil {
		config.Observe = func(m ofswitch.Mod) { o.Observe(index, m) }
	}
	h.sw = ofswitch.New(config)
	h.db = dbserver.New(schema, h.react)
	h.openflow = &endpoint{network: "unix", address: o.path(h.name, "mgmt"), serve: func(c net.Conn) {
		if !h.bridgeUp.Load() {
			c.Close() // ovs-vswitchd has no such socket
			return
		}
		h.sw.Serve(c)
	}}
	h.ovsdb = &endpoint{network: "unix", address: o.path(h.name, "db"), serve: func(c net.Conn) { h.db.Serve(c) }}
	if o.TCP {
		for _, e := range []*endpoint{h.openflow, h.ovsdb} {
			e.network, e.address = "tcp", "127.0.0.1:0"
		}
	}
	return h, h.fill(o)
}

// fill makes the database's first contents.
func (h *Host) fill(o *Options) error {
	err := h.db.Transact(func(tx *dbserver.Tx) error {
		root := map[string]any{
			"ovs_version": "3.1.0", "db_version": "8.3.1", "system_type": "simulated",
			"datapath_types": []string{"netdev", "system"}, "iface_types": []string{"dummy", "gre", "internal", "system"},
			"external_ids": map[string]string{"system-id": fmt.Sprintf("00000000-0000-4000-8000-%012x", h.index+1), "hostname": h.name, "nvgre-encap-ip": h.pa},
		}
		if !o.Bare {
			label := map[string]string{"nvgre-ofctl": "bridge"}
			local := map[string]string{"nvgre-ofctl": "local-port"}
			i := tx.Insert("Interface", map[string]any{"name": h.bridge, "type": "internal", "external_ids": local})
			p := tx.Insert("Port", map[string]any{"name": h.bridge, "interfaces": i, "external_ids": local})
			b := tx.Insert("Bridge", map[string]any{"name": h.bridge, "ports": p, "fail_mode": "secure", "datapath_type": "netdev",
				"protocols": []string{"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"}, "external_ids": label})
			root["bridges"] = b
			root["next_cfg"] = 1
		}
		tx.Insert("Open_vSwitch", root)
		return nil
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	return nil
}

// react does what ovs-vswitchd does when the database changes.
func (h *Host) react(tx *dbserver.Tx) {
	if h.stalled.Load() {
		return // it will look at everything when it is back
	}
	tx.Changed(func(old, now dbserver.Row) {
		if !now.Exists() {
			switch old.Table() {
			case "Interface":
				if n, ok := old.Int("ofport"); ok {
					delete(h.ports, n)
				}
			case "Bridge":
				if old.String("name") == h.bridge && !tx.Find("Bridge", "name", h.bridge).Exists() {
					h.bridgeUp.Store(false)
					h.sw.Restart(false)
				}
			}
			return
		}
		switch now.Table() {
		case "Interface":
			h.addPort(tx, now)
		case "Bridge":
			if now.String("datapath_id") == "" {
				tx.Update(now, map[string]any{"datapath_id": fmt.Sprintf("%016x", h.DatapathID()), "datapath_version": "<built-in>"})
			}
			if now.String("name") == h.bridge {
				h.bridgeUp.Store(true)
			}
		case "Open_vSwitch":
			next, _ := now.Int("next_cfg")
			if cur, _ := now.Int("cur_cfg"); cur != next {
				tx.Update(now, map[string]any{"cur_cfg": next})
			}
		}
	})
}

// addPort gives an interface its number.
func (h *Host) addPort(tx *dbserver.Tx, i dbserver.Row) {
	if _, has := i.Int("ofport"); has {
		return
	}
	name := i.String("name")
	n, _ := i.Int("ofport_request")
	switch {
	case tx.Find("Bridge", "name", name).Exists():
		n = localPort
	case n == 0 || h.ports[n]:
		n = h.freePort()
	}
	h.ports[n] = true
	tx.Update(i, map[string]any{"ofport": n, "mac_in_use": portMAC(h.index, n).String(), "admin_state": "up", "link_state": "up", "error": nil})
}

// freePort returns a number that has not been in use for long.
func (h *Host) freePort() int {
	for range maxPort {
		h.nextPort = h.nextPort%maxPort + 1
		if !h.ports[h.nextPort] {
			return h.nextPort
		}
	}
	return -1 // what Open vSwitch says of a port that it cannot add
}

func portMAC(host, port int) tenant.MAC {
	return tenant.MAC{0xfe, byte(host >> 16), byte(host >> 8), byte(host), byte(port >> 8), byte(port)}
}

// portList describes the ports to OpenFlow.
func (h *Host) portList() (ports []ofswitch.Port) {
	h.view(func(tx *dbserver.Tx) {
		tx.Each("Interface", func(i dbserver.Row) bool {
			if n, ok := i.Int("ofport"); ok && n > 0 {
				number := uint32(n)
				if n == localPort {
					number = 0xfffffffe
				}
				ports = append(ports, ofswitch.Port{Number: number, Name: i.String("name"), MAC: portMAC(h.index, n)})
			}
			return true
		})
	})
	return ports
}

var errView = errors.New("only a look")

// view looks at the database.
func (h *Host) view(fn func(*dbserver.Tx)) {
	h.db.Transact(func(tx *dbserver.Tx) error { fn(tx); return errView })
}

// Name returns the host's name in the policy.
func (h *Host) Name() string { return h.name }

// OpenFlow returns the address of the bridge's OpenFlow socket in OVS's syntax.
func (h *Host) OpenFlow() string { return h.openflow.String() }

// OVSDB returns the address of the database in OVS's syntax.
func (h *Host) OVSDB() string { return h.ovsdb.String() }

// DatapathID returns the bridge's.
func (h *Host) DatapathID() uint64 { return 0x0000_fe00_0000_0000 | uint64(h.index+1) }

// Switch returns the OpenFlow side.
func (h *Host) Switch() *ofswitch.Switch { return h.sw }

// Database returns the OVSDB side.
func (h *Host) Database() *dbserver.Server { return h.db }

// Attach plugs VMs in: their ports and interfaces appear in one transaction, and
// have their OpenFlow port numbers with the next.
func (h *Host) Attach(vms ...VM) error {
	err := h.db.Transact(func(tx *dbserver.Tx) error {
		b := tx.Find("Bridge", "name", h.bridge)
		if !b.Exists() {
			return ErrNoBridge
		}
		for _, v := range vms {
			if err := v.check(); err != nil {
				return err
			}
			ids := map[string]string{"iface-id": v.IfaceID, "iface-status": "active"}
			if v.MAC != "" {
				ids["attached-mac"] = v.MAC
			}
			if v.VMID != "" {
				ids["vm-id"] = v.VMID
			}
			name := v.interfaceName()
			i := tx.Insert("Interface", map[string]any{"name": name, "external_ids": ids})
			tx.Link(b, "ports", tx.Insert("Port", map[string]any{"name": name, "interfaces": i}))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("host %s: attaching %d VMs: %w", h.name, len(vms), err)
	}
	return nil
}

// Detach pulls out the VMs with these iface-ids. Those that are not there are
// left out.
func (h *Host) Detach(ifaceIDs ...string) error {
	gone := make(map[string]bool, len(ifaceIDs))
	for _, id := range ifaceIDs {
		gone[id] = true
	}
	err := h.db.Transact(func(tx *dbserver.Tx) error {
		b := tx.Find("Bridge", "name", h.bridge)
		if !b.Exists() {
			return ErrNoBridge
		}
		for _, p := range b.UUIDs("ports") {
			for _, i := range tx.Get("Port", p).UUIDs("interfaces") {
				if gone[tx.Get("Interface", i).Key("external_ids", "iface-id")] {
					tx.Unlink(b, "ports", p) // the rows go with their last reference
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("host %s: detaching %d VMs: %w", h.name, len(ifaceIDs), err)
	}
	return nil
}

// Attachment is a VM's interface as the database has it.
type Attachment struct {
	Interface string
	IfaceID   string
	OFPort    int    // 0: none yet
	Installed string // external_ids:nvgre-installed
}

// Attachments returns the VMs that are plugged in, in no order.
func (h *Host) Attachments() (all []Attachment) {
	h.view(func(tx *dbserver.Tx) { all = attachments(tx) })
	return all
}

func attachments(tx *dbserver.Tx) (all []Attachment) {
	tx.Each("Interface", func(i dbserver.Row) bool {
		if id := i.Key("external_ids", "iface-id"); id != "" {
			n, _ := i.Int("ofport")
			all = append(all, Attachment{i.String("name"), id, n, i.Key("external_ids", "nvgre-installed")})
		}
		return true
	})
	return all
}

// WaitInstalled returns when every VM that is plugged in, or those with the
// iface-ids given, is marked as installed.
func (h *Host) WaitInstalled(ctx context.Context, ifaceIDs ...string) error {
	missing := ""
	err := h.db.Wait(ctx, func(tx *dbserver.Tx) bool {
		have := make(map[string]bool)
		missing = ""
		for _, a := range attachments(tx) {
			have[a.IfaceID] = a.Installed != ""
		}
		for _, id := range ifaceIDs {
			if !have[id] {
				missing = id
			}
		}
		if len(ifaceIDs) == 0 {
			for id, installed := range have {
				if !installed {
					missing = id
				}
			}
		}
		return missing == ""
	})
	if err != nil {
		return fmt.Errorf("host %s: VM %s is not installed: %w", h.name, missing, err)
	}
	return nil
}

// Faults is how a host misbehaves.
type Faults struct {
	OpenFlow ofswitch.Faults
	Database dbserver.Faults
}

// SetFaults makes the host misbehave so, until the next call. While the OpenFlow
// side is stalled nobody acts on the database either: both are ovs-vswitchd.
func (h *Host) SetFaults(f Faults) {
	h.sw.SetFaults(f.OpenFlow)
	h.db.SetFaults(f.Database)
	if was := h.stalled.Swap(f.OpenFlow.Stalled); was && !f.OpenFlow.Stalled {
		h.db.React()
	}
}

// Disconnect drops the connections of both kinds.
func (h *Host) Disconnect() {
	h.sw.Disconnect()
	h.db.Disconnect()
}

// Refuse takes no new connections of either kind until [Host.Accept].
func (h *Host) Refuse() {
	h.openflow.refuse()
	h.ovsdb.refuse()
}

// Accept takes connections again.
func (h *Host) Accept() error { return errors.Join(h.openflow.open(), h.ovsdb.open()) }

// Restart does what a restart of ovs-vswitchd does: OpenFlow connections drop,
// the generation of roles is forgotten, and the flows too unless they are kept.
func (h *Host) Restart(keepFlows bool) { h.sw.Restart(keepFlows) }

// check refuses names that no socket or interface can have.
func (v VM) check() error {
	if n := v.interfaceName(); len(n) > 15 || strings.ContainsAny(n, "/ ") {
		return fmt.Errorf("interface %q: want at most 15 octets", n)
	}
	return nil
}

func (h *Host) close() {
	h.openflow.close()
	h.ovsdb.close()
	h.sw.Close()
	h.db.Close()
	h.openflow.wait()
	h.ovsdb.wait()
}
