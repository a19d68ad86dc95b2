package controller

import (
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// installedKey names an attachment for as long as nothing about it changes that
// would need flows anew.
type installedKey struct {
	iface, ifaceID string
	ofport         uint32
}

// installedMark is the value of external_ids:nvgre-installed.
const installedMark = "true"

// wait is an attachment that will be marked as installed when every host that
// needs its flows has confirmed them.
type wait struct {
	host   *host
	key    installedKey
	domain tenant.RDID
	owner  string           // of its record's flows: routing domain and VM
	left   map[*host]uint64 // revisions that hosts have yet to confirm
	need   reach            // of hosts that others drive; its Board is found later
}

// waits are the attachments that are not installed yet. Once installed, one
// stays so for as long as the VM is attached and has its record: a later change
// of the policy is no reason to think that the VM does not work.
type waits struct {
	of   map[*host]map[installedKey]*wait // by the attachment's host
	on   map[*host]map[*wait]bool         // by the hosts that have yet to confirm
	far  map[*wait]bool                   // hosts of other controllers have yet to confirm
	ripe map[*wait]bool                   // confirmed everywhere
	poke map[*host]bool                   // hosts whose marks are to be written
}

func newWaits() *waits {
	return &waits{
		of: make(map[*host]map[installedKey]*wait), on: make(map[*host]map[*wait]bool),
		far: make(map[*wait]bool), ripe: make(map[*wait]bool), poke: make(map[*host]bool),
	}
}

func (w *waits) add(x *wait) {
	if w.of[x.host] == nil {
		w.of[x.host] = make(map[installedKey]*wait)
	}
	w.of[x.host][x.key] = x
	for h := range x.left {
		if w.on[h] == nil {
			w.on[h] = make(map[*wait]bool)
		}
		w.on[h][x] = true
	}
	w.look(x)
}

// look notes that a wait may be over.
func (w *waits) look(x *wait) {
	if len(x.left) == 0 && !w.far[x] {
		w.ripe[x] = true
	}
}

func (w *waits) remove(x *wait) {
	delete(w.of[x.host], x.key)
	delete(w.far, x)
	delete(w.ripe, x)
	for h := range x.left {
		delete(w.on[h], x)
	}
}

// confirmed notes that h holds everything up to revision, or, where it is no
// longer driven, that nobody waits for it any more.
func (w *waits) confirmed(h *host, revision uint64) {
	for x := range w.on[h] {
		if x.left[h] <= revision {
			delete(x.left, h)
			delete(w.on[h], x)
			w.look(x)
		}
	}
}

// forget takes a host out that is no longer driven. Where another controller
// drives it from now on, what waits for it waits for that one.
func (w *waits) forget(h *host, elsewhere bool) {
	for _, x := range w.of[h] {
		w.remove(x)
	}
	if elsewhere {
		for x := range w.on[h] {
			w.far[x] = true
		}
	}
	w.confirmed(h, ^uint64(0))
	delete(w.of, h)
	delete(w.on, h)
	delete(w.poke, h)
}

// examine looks at a host's attachments: what has come and is in the policy is
// waited for, what has gone is forgotten.
func (c *Controller) examine(h *host) {
	if h.desired == nil || !h.ready() {
		return
	}
	now := make(map[installedKey]bool, len(h.state.Attachments))
	for i := range h.state.Attachments {
		a := &h.state.Attachments[i]
		r, ok := c.policy.RecordByIfaceID(a.IfaceID)
		if !ok || a.Inactive || a.OFPort == 0 || c.engine.Compiler().HostOf(&r) != h.name {
			continue
		}
		k := installedKey{a.Interface, a.IfaceID, a.OFPort}
		now[k] = h.installed[k]
		if !now[k] && c.waits.of[h][k] == nil {
			c.await(h, k, &r)
		}
	}
	for k, x := range c.waits.of[h] {
		if _, there := now[k]; !there {
			c.waits.remove(x)
		}
	}
	for k, done := range now {
		if !done {
			delete(now, k)
		}
	}
	c.mu.Lock()
	h.installed = now
	c.mu.Unlock()
	c.waits.poke[h] = true
}

// examineSome is examine where nothing has happened on the host, and only what
// the policy says of these iface-ids may be something else.
func (c *Controller) examineSome(h *host, ifaces []string) {
	if !h.ready() {
		return
	}
	for i := range h.state.Attachments {
		a := &h.state.Attachments[i]
		if !slices.Contains(ifaces, a.IfaceID) {
			continue
		}
		k := installedKey{a.Interface, a.IfaceID, a.OFPort}
		r, ok := c.policy.RecordByIfaceID(a.IfaceID)
		x := c.waits.of[h][k]
		switch {
		case !ok || a.Inactive || a.OFPort == 0 || c.engine.Compiler().HostOf(&r) != h.name:
			if x != nil {
				c.waits.remove(x)
			}
			c.mu.Lock()
			delete(h.installed, k)
			c.mu.Unlock()
		case !h.installed[k] && x == nil:
			c.await(h, k, &r)
		default:
			continue
		}
		c.waits.poke[h] = true
	}
}

// fewIfaces is how many iface-ids of a host are looked for one by one.
const fewIfaces = 16

// await waits for the hosts of a VM's routing domain to confirm what they have
// been told.
func (c *Controller) await(h *host, k installedKey, r *tenant.LookupRecord) {
	d, _ := c.policy.RoutingDomain(r.RDID)
	x := &wait{host: h, key: k, domain: r.RDID, owner: d.Name + "/" + r.VM, left: make(map[*host]uint64)}
	for _, name := range c.engine.HostsOf(r.RDID) {
		if o := c.hosts[name]; o != nil && o.desired != nil && o.confirmed < o.desired.Revision {
			x.left[o] = o.desired.Revision
		}
	}
	x.need.Policy = c.policy.Revision()
	if c.shared() {
		c.waits.far[x] = true
	}
	c.waits.add(x)
}

// confirm takes over what a host's driver says.
func (c *Controller) confirm(h *host) {
	s := h.driver.Status()
	h.confirmed = s.Installed
	if h.desired != nil && s.Installed >= h.desired.Revision {
		h.lag.end()
	}
	c.waits.confirmed(h, s.Installed)
	if was := h.refused; len(s.Refused) > 0 || len(was) > 0 {
		h.refused = map[string]bool{} // "" stands for all VMs
		for _, r := range s.Refused {
			owners := c.namers.get().Owners(r.Cookie)
			if len(owners) == 0 {
				h.refused[""] = true
			}
			for _, o := range owners {
				if o.Kind == flows.OwnerRecord {
					h.refused[o.RoutingDomain+"/"+o.VM] = true
				} else {
					h.refused[""] = true
				}
			}
		}
	}
}

// settle marks what is confirmed everywhere, and has the marks written. What
// hangs on a flow that a switch refuses is left waiting.
func (w *waits) settle(c *Controller) {
	for x := range w.ripe {
		if c.refuses(x) {
			continue
		}
		w.remove(x)
		c.mu.Lock()
		x.host.installed[x.key] = true
		c.mu.Unlock()
		w.poke[x.host] = true
	}
	for h := range w.poke {
		delete(w.poke, h)
		c.tellOf(h)
		if h.connected {
			h.setMarks(c.marks(h))
		}
	}
}

// refuses reports whether a host refuses a flow that the attachment needs.
func (c *Controller) refuses(x *wait) bool {
	for _, name := range c.engine.HostsOf(x.domain) {
		if h := c.hosts[name]; h != nil && (h.refused[""] || h.refused[x.owner]) {
			return true
		}
	}
	return false
}

// marks says which Interfaces of a host shall carry nvgre-installed.
func (c *Controller) marks(h *host) map[string]string {
	marks := map[string]string{}
	for i := range h.state.Attachments {
		a := &h.state.Attachments[i]
		k := installedKey{a.Interface, a.IfaceID, a.OFPort}
		switch {
		case h.installed[k]:
			marks[a.Interface] = installedMark
		case a.Installed == "":
		case c.waits.of[h][k] == nil:
			marks[a.Interface] = "" // no record, another host's, or no port
		case len(c.waits.of[h][k].left) == 0 && !c.waits.far[c.waits.of[h][k]]:
			marks[a.Interface] = "" // from another daemon's time, and found wrong
		}
	}
	return marks
}
