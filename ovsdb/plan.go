package ovsdb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
)

// requiredProtocols must be spoken by the bridge; newProtocols are what a bridge
// gets that names none. The latter hold OpenFlow 1.0 and 1.4 because ovs-ofctl
// and many tools speak no other unless told to.
var (
	requiredProtocols = [...]string{"OpenFlow13", "OpenFlow15"}
	newProtocols      = [...]string{"OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"}
)

// planner builds the transaction that makes a database what a configuration
// asks for. It reads nothing but the rows.
type planner struct {
	*transaction
	host string
	cfg  *Config
	root *rootRow

	portOf   map[string]*portRow      // by name
	ifaceOf  map[string]*interfaceRow // by name
	bridgeOf map[string]*bridgeRow    // by port's UUID
}

// plan returns the transaction that is needed, which is empty where nothing
// differs. cfg has its defaults in place.
func plan(host string, db *database, cfg *Config) (*transaction, error) {
	p := &planner{
		transaction: newTransaction(db), host: host, cfg: cfg, root: db.root(),
		portOf: make(map[string]*portRow), ifaceOf: make(map[string]*interfaceRow), bridgeOf: make(map[string]*bridgeRow),
	}
	if p.root == nil {
		return nil, fmt.Errorf("host %s: the database is empty: initialize it with `ovs-vsctl --no-wait init`", host)
	}
	for r := range all[portRow](db) {
		p.portOf[r.Name] = r
	}
	for r := range all[interfaceRow](db) {
		p.ifaceOf[r.Name] = r
	}
	for b := range all[bridgeRow](db) {
		for _, u := range b.Ports {
			p.bridgeOf[u] = b
		}
	}
	var err error
	if b := db.bridge(cfg.Bridge); b == nil {
		err = p.newBridge()
	} else {
		err = p.oldBridge(b)
	}
	if err != nil {
		return nil, err
	}
	return p.transaction, nil
}

// newBridge makes the bridge, as `ovs-vsctl add-br` does, with all that belongs
// to it.
func (p *planner) newBridge() error {
	name := p.cfg.Bridge
	if err := p.nameIsFree(name); err != nil {
		return err
	}
	ports := []any{p.insertPort(name, purposeLocal, "internal", nil)}
	for _, t := range p.cfg.tunnels() {
		if err := p.nameIsFree(t.port); err != nil {
			return err
		}
		ports = append(ports, p.insertPort(t.port, t.purpose, "gre", t.options))
	}
	row := ovsdb.Row{
		"name": name, "ports": ovsdb.OvsSet{GoSet: ports}, "fail_mode": "secure",
		"protocols": set(newProtocols[:]...), "external_ids": label(purposeBridge),
	}
	if p.cfg.DatapathType != "" {
		row["datapath_type"] = p.cfg.DatapathType
	}
	if p.cfg.Listener != "" {
		row["controller"] = p.insertListener()
	}
	if p.canName() && len(p.cfg.TableNames) > 0 {
		tables := ovsdb.OvsMap{GoMap: make(map[any]any)}
		for _, n := range slices.Sorted(maps.Keys(p.cfg.TableNames)) {
			tables.GoMap[int(n)] = p.insertFlowTable(n)
		}
		row["flow_tables"] = tables
	}
	bridge := p.insert(tableBridge, row)
	p.add(tableRoot, p.root.UUID, "bridges", set(bridge))
	return nil
}

// oldBridge makes a bridge that is there what it must be.
func (p *planner) oldBridge(b *bridgeRow) error {
	if targets := activeTargets(p.db, b); len(targets) > 0 {
		return &ActiveControllerError{p.host, b.Name, targets}
	}
	if b.ExternalIDs[Label] == purposeBridge {
		if err := p.changeBridge(b); err != nil {
			return err
		}
		if !p.empty() {
			p.expectLabel(tableBridge, b.UUID, purposeBridge)
		}
		return nil
	}
	if !p.cfg.AdoptBridge {
		return &NotOursError{Host: p.host, Kind: "bridge", Name: b.Name, Remedy: fmt.Sprintf(
			"to hand it over, run `ovs-vsctl set bridge %s external_ids:%s=%s` on the host (its fail mode becomes secure: only our flows forward), or choose another bridge name",
			b.Name, Label, purposeBridge)}
	}
	// The datapath would be made anew under whatever the bridge carries now.
	if p.datapathDiffers(b) {
		return fmt.Errorf("host %s: bridge %s to be adopted has the datapath type %q, not %q: change it with `ovs-vsctl set bridge %s datapath_type=%s` on the host (this makes the datapath anew), or leave the datapath type out of the settings",
			p.host, b.Name, datapathName(b.DatapathType), p.cfg.DatapathType, b.Name, p.cfg.DatapathType)
	}
	p.expect(tableBridge, b.UUID, "external_ids", stringMap(b.ExternalIDs))
	p.setKeys(tableBridge, b.UUID, "external_ids", map[string]string{Label: purposeBridge})
	return p.changeBridge(b)
}

func (p *planner) changeBridge(b *bridgeRow) error {
	if deref(b.FailMode) != "secure" {
		p.expect(tableBridge, b.UUID, "fail_mode", optional(b.FailMode))
		p.update(tableBridge, b.UUID, "fail_mode", "secure")
	}
	if p.datapathDiffers(b) {
		p.expect(tableBridge, b.UUID, "datapath_type", b.DatapathType)
		p.update(tableBridge, b.UUID, "datapath_type", p.cfg.DatapathType)
	}
	p.protocols(b)
	if err := p.ports(b); err != nil {
		return err
	}
	p.listener(b)
	p.flowTables(b)
	return nil
}

func (p *planner) datapathDiffers(b *bridgeRow) bool {
	return p.cfg.DatapathType != "" && p.db.has(tableBridge, "datapath_type") &&
		datapathName(b.DatapathType) != p.cfg.DatapathType
}

// datapathName returns the type that an empty datapath_type stands for.
func datapathName(t string) string {
	if t == "" {
		return "system"
	}
	return t
}

// protocols adds what is missing. An empty set stands for a default that names
// more than we need; naming only what we need would take the rest away.
func (p *planner) protocols(b *bridgeRow) {
	want := requiredProtocols[:]
	if len(b.Protocols) == 0 {
		want = newProtocols[:]
	}
	var missing []string
	for _, v := range want {
		if !slices.Contains(b.Protocols, v) {
			missing = append(missing, v)
		}
	}
	if len(missing) > 0 && p.db.has(tableBridge, "protocols") {
		p.expect(tableBridge, b.UUID, "protocols", set(b.Protocols...))
		p.add(tableBridge, b.UUID, "protocols", set(missing...))
	}
}

// ports adds and mends the gre ports, and removes those of ours that are no
// longer wanted.
func (p *planner) ports(b *bridgeRow) error {
	wanted := make(map[string]bool)
	var added []any
	for _, t := range p.cfg.tunnels() {
		wanted[t.port] = true
		port := p.portOf[t.port]
		if port == nil {
			if err := p.nameIsFree(t.port); err != nil {
				return err
			}
			added = append(added, p.insertPort(t.port, t.purpose, "gre", t.options))
			continue
		}
		if err := p.mendPort(b, port, &t); err != nil {
			return err
		}
	}
	if len(added) > 0 {
		p.add(tableBridge, b.UUID, "ports", ovsdb.OvsSet{GoSet: added})
	}
	var gone []string
	for _, port := range resolve[portRow](p.db, b.Ports) {
		purpose := port.ExternalIDs[Label]
		if (purpose == purposeTunnel || purpose == purposeVSID) && !wanted[port.Name] {
			p.expectLabel(tablePort, port.UUID, purpose)
			gone = append(gone, port.UUID)
		}
	}
	// The rows themselves go when nothing refers to them any more.
	if len(gone) > 0 {
		p.remove(tableBridge, b.UUID, "ports", uuids(gone))
	}
	return nil
}

// mendPort makes a gre port of ours what it must be.
func (p *planner) mendPort(b *bridgeRow, port *portRow, t *tunnel) error {
	on := p.bridgeOf[port.UUID]
	if port.ExternalIDs[Label] != t.purpose {
		return p.notOurPort(port)
	}
	if on != b {
		where := "no bridge"
		if on != nil {
			where = "bridge " + on.Name
		}
		return fmt.Errorf("host %s: our gre port %s is on %s, not on %s: remove it with `ovs-vsctl del-port %s` on the host", p.host, port.Name, where, b.Name, port.Name)
	}
	ifaces := resolve[interfaceRow](p.db, port.Interfaces)
	if len(ifaces) != 1 || ifaces[0].Name != port.Name {
		return fmt.Errorf("host %s: our gre port %s was made a bond of other interfaces: remove it with `ovs-vsctl del-port %s` on the host", p.host, port.Name, port.Name)
	}
	i := ifaces[0]
	wrong := make(map[string]string)
	for k, v := range t.options {
		if i.Options[k] != v {
			wrong[k] = v
		}
	}
	if i.Type == "gre" && len(wrong) == 0 {
		return nil
	}
	if i.ExternalIDs[Label] != t.purpose {
		return &NotOursError{Host: p.host, Kind: "interface", Name: i.Name, Bridge: b.Name, Remedy: fmt.Sprintf(
			"it differs from what is needed; to hand it over, run `ovs-vsctl set interface %s external_ids:%s=%s` on the host, or remove it with `ovs-vsctl del-port %s`",
			i.Name, Label, t.purpose, i.Name)}
	}
	p.expectLabel(tableInterface, i.UUID, t.purpose)
	if i.Type != "gre" {
		p.expect(tableInterface, i.UUID, "type", i.Type)
		p.update(tableInterface, i.UUID, "type", "gre")
	}
	if len(wrong) > 0 {
		p.expect(tableInterface, i.UUID, "options", stringMap(i.Options))
		p.setKeys(tableInterface, i.UUID, "options", wrong)
	}
	return nil
}

// nameIsFree returns an error where a port or interface that we are to make
// exists already: names are unique on a host. A name that is taken after this
// look fails the transaction by that rule.
func (p *planner) nameIsFree(name string) error {
	if port := p.portOf[name]; port != nil {
		return p.notOurPort(port)
	}
	if i := p.ifaceOf[name]; i != nil {
		return &NotOursError{Host: p.host, Kind: "interface", Name: name,
			Remedy: "find its port with `ovs-vsctl iface-to-br " + name + "` and remove it there, or choose another name"}
	}
	return nil
}

func (p *planner) notOurPort(port *portRow) error {
	e := &NotOursError{Host: p.host, Kind: "port", Name: port.Name, Remedy: fmt.Sprintf(
		"remove it with `ovs-vsctl del-port %s` on the host, or choose another name", port.Name)}
	if b := p.bridgeOf[port.UUID]; b != nil {
		e.Bridge = b.Name
	}
	return e
}

func (p *planner) insertPort(name, purpose, typ string, options map[string]string) ovsdb.UUID {
	i := p.insert(tableInterface, ovsdb.Row{
		"name": name, "type": typ, "options": stringMap(options), "external_ids": label(purpose),
	})
	return p.insert(tablePort, ovsdb.Row{"name": name, "interfaces": set(i), "external_ids": label(purpose)})
}

// listener sees to the passive OpenFlow listener. A passive target may come and
// go without harm to the flows, an active one never: this is the only place
// that writes a target, and cfg.Listener went through ovsaddr.ParseListener.
func (p *planner) listener(b *bridgeRow) {
	var ours []*controllerRow
	wanted := p.cfg.Listener != ""
	for _, c := range resolve[controllerRow](p.db, b.Controllers) {
		switch {
		case c.ExternalIDs[Label] == purposeListener:
			ours = append(ours, c)
		case sameListener(c.Target, p.cfg.Listener):
			wanted = false // somebody's listener serves us too
		}
	}
	slices.SortFunc(ours, func(c, d *controllerRow) int {
		switch {
		case c.Target == d.Target:
			return 0
		case c.Target == p.cfg.Listener:
			return -1
		}
		return 1
	})
	if wanted && len(ours) > 0 {
		keep := ours[0]
		ours = ours[1:]
		if keep.Target != p.cfg.Listener {
			p.expectLabel(tableController, keep.UUID, purposeListener)
			p.expect(tableController, keep.UUID, "target", keep.Target)
			p.update(tableController, keep.UUID, "target", p.cfg.Listener)
		}
		wanted = false
	}
	if !wanted && len(ours) == 0 {
		return
	}
	p.expect(tableBridge, b.UUID, "controller", uuids(b.Controllers))
	if wanted {
		p.add(tableBridge, b.UUID, "controller", set(p.insertListener()))
	}
	if len(ours) > 0 {
		var gone []string
		for _, c := range ours {
			p.expectLabel(tableController, c.UUID, purposeListener)
			gone = append(gone, c.UUID)
		}
		p.remove(tableBridge, b.UUID, "controller", uuids(gone))
	}
}

// sameListener compares a target in any spelling with a listener in ours.
func sameListener(target, listener string) bool {
	l, err := ovsaddr.ParseListener(target)
	return err == nil && l.String() == listener
}

func (p *planner) insertListener() ovsdb.UUID {
	return p.insert(tableController, ovsdb.Row{"target": p.cfg.Listener, "external_ids": label(purposeListener)})
}

// canName reports whether the server can hold names of flow tables with our
// label.
func (p *planner) canName() bool {
	return p.db.has(tableBridge, "flow_tables") && p.db.has(tableFlowTable, "name") && p.db.has(tableFlowTable, "external_ids")
}

// flowTables sees to the names of flow tables. A table that somebody else
// configured keeps its name, or none: names are for readers only.
func (p *planner) flowTables(b *bridgeRow) {
	if !p.canName() {
		return
	}
	added := ovsdb.OvsMap{GoMap: make(map[any]any)}
	for _, n := range slices.Sorted(maps.Keys(p.cfg.TableNames)) {
		uuid, there := b.FlowTables[int(n)]
		if !there {
			added.GoMap[int(n)] = p.insertFlowTable(n)
			continue
		}
		row := get[flowTableRow](p.db, uuid)
		if row == nil || row.ExternalIDs[Label] != purposeFlowTable || deref(row.Name) == p.cfg.TableNames[n] {
			continue
		}
		p.expectLabel(tableFlowTable, uuid, purposeFlowTable)
		p.expect(tableFlowTable, uuid, "name", optional(row.Name))
		p.update(tableFlowTable, uuid, "name", p.cfg.TableNames[n])
	}
	gone := ovsdb.OvsMap{GoMap: make(map[any]any)}
	for _, n := range slices.Sorted(maps.Keys(b.FlowTables)) {
		uuid := b.FlowTables[n]
		row := get[flowTableRow](p.db, uuid)
		if row == nil || row.ExternalIDs[Label] != purposeFlowTable || n >= 0 && n < 256 && p.cfg.TableNames[uint8(n)] != "" {
			continue
		}
		p.expectLabel(tableFlowTable, uuid, purposeFlowTable)
		if !row.onlyOurs() {
			// An operator limits this table: what is left is theirs.
			p.update(tableFlowTable, uuid, "name", set[string]())
			p.remove(tableFlowTable, uuid, "external_ids", label(purposeFlowTable))
			continue
		}
		gone.GoMap[n] = ovsdb.UUID{GoUUID: uuid}
	}
	if len(added.GoMap) > 0 {
		// Somebody who configured one of these tables meanwhile must not lose
		// it: "insert" leaves an existing key alone, and this says so.
		p.expect(tableBridge, b.UUID, "flow_tables", flowTableMap(b.FlowTables))
		p.add(tableBridge, b.UUID, "flow_tables", added)
	}
	if len(gone.GoMap) > 0 {
		p.remove(tableBridge, b.UUID, "flow_tables", gone)
	}
}

// onlyOurs reports whether the row holds nothing but what we wrote.
func (r *flowTableRow) onlyOurs() bool {
	return r.FlowLimit == nil && r.OverflowPolicy == nil && len(r.Groups) == 0 && len(r.Prefixes) == 0 && len(r.ExternalIDs) == 1
}

func flowTableMap(m map[int]string) ovsdb.OvsMap {
	o := ovsdb.OvsMap{GoMap: make(map[any]any, len(m))}
	for n, u := range m {
		o.GoMap[n] = ovsdb.UUID{GoUUID: u}
	}
	return o
}

func (p *planner) insertFlowTable(n uint8) ovsdb.UUID {
	return p.insert(tableFlowTable, ovsdb.Row{"name": p.cfg.TableNames[n], "external_ids": label(purposeFlowTable)})
}
