package controller

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// turned remembers when the loop last turned.
type turned struct{ at atomic.Int64 }

func (t *turned) now() { t.at.Store(time.Now().UnixNano()) }

// stuckAfter is how long the loop may take for one turn before the daemon calls
// itself ill. Compiling a million records takes seconds.
const stuckAfter = time.Minute

// Alive implements [admin.Source].
func (c *Controller) Alive() error {
	if d := time.Since(time.Unix(0, c.turned.at.Load())); d > stuckAfter {
		return fmt.Errorf("the loop has stood still for %s: get /debug/pprof/goroutine?debug=2 and restart the daemon", d.Round(time.Second))
	}
	return nil
}

// Status implements [admin.Source].
func (c *Controller) Status() *admin.Status {
	s := &admin.Status{
		Version: c.opts.Version, PID: os.Getpid(), Started: c.started, Name: c.settings.Name, Settings: c.settings.File,
		Policy: admin.Policy{File: c.settings.Policy, Absent: []admin.Absent{}}, Hosts: []admin.Host{}, Attachments: []admin.Attachment{},
	}
	s.Drift = c.drift.list()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.store != nil {
		s.Store = storeStatus(c.store.Status())
	}
	if c.group != nil {
		self := c.group.Self()
		s.Store.Frozen = self.Frozen || self.Member == "" && c.policy != nil
	}
	s.Problems = append([]string{}, c.problems...)
	if c.news.err != nil {
		s.Policy.Error, s.Policy.ErrorAt = c.news.err.Error(), c.news.at
	}
	if c.policy != nil {
		s.Policy.Revision, s.Policy.Loaded, s.Policy.Records = c.policy.Revision(), c.loaded, c.policy.NumRecords()
		for range c.policy.RoutingDomains() {
			s.Policy.Domains++
		}
		for range c.policy.Subnets() {
			s.Policy.Subnets++
		}
	}
	for _, name := range c.hostNames() {
		h := c.hosts[name]
		s.Hosts = append(s.Hosts, c.hostStatus(h))
		s.Attachments = append(s.Attachments, c.attachmentStatus(h)...)
	}
	if c.group != nil {
		var more []admin.Attachment
		s.Elsewhere, more = c.ofOthers()
		if len(more) > 0 {
			s.Attachments = append(s.Attachments, more...)
			slices.SortStableFunc(s.Attachments, func(a, b admin.Attachment) int {
				return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.IfaceID, b.IfaceID))
			})
		}
	}
	if c.policy != nil {
		s.Policy.Unattached, s.Policy.Absent = c.absent(s.Attachments)
	}
	s.Judge()
	return s
}

// Wanted implements [admin.Source], with the octets of [openflow.Encoded]; groups
// and meters are among them.
func (c *Controller) Wanted(name string) (iter.Seq[string], bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil || h.desired == nil {
		return nil, false
	}
	flows := h.desired.Flows // a snapshot
	return func(yield func(string) bool) {
		for f := range flows.All() {
			if !yield(string(f)) {
				return
			}
		}
	}, true
}

// mostAbsent is how many absent VMs a status names.
const mostAbsent = 20

// absent looks for VMs of the policy that no host reports.
func (c *Controller) absent(all []admin.Attachment) (n int, first []admin.Absent) {
	there := map[string]bool{}
	for i := range all {
		if id := all[i].IfaceID; !there[id] {
			if _, ok := c.policy.RecordByIfaceID(id); ok {
				there[id] = true
			}
		}
	}
	first = []admin.Absent{}
	n = c.vms.of(c.policy) - len(there)
	if n == 0 {
		return n, first
	}
	for r := range c.policy.Records() {
		if there[r.IfaceID] || !isFirst(c.policy, &r) {
			continue
		}
		d, _ := c.policy.RoutingDomain(r.RDID)
		first = append(first, admin.Absent{RoutingDomain: d.Name, VM: r.VM, IfaceID: r.IfaceID, Host: r.Host})
		if len(first) == min(n, mostAbsent) {
			break
		}
	}
	return n, first
}

// isFirst reports whether r is the first record of its VM, which may have several.
func isFirst(p *tenant.Policy, r *tenant.LookupRecord) bool {
	first, _ := p.RecordByIfaceID(r.IfaceID)
	return first.Key() == r.Key()
}

// vmCount is the number of VMs of a policy, which takes a look at each record:
// it is done once for each policy that a status is asked of.
type vmCount struct {
	policy *tenant.Policy
	n      int
}

func (v *vmCount) of(p *tenant.Policy) int {
	if v.policy != p {
		*v = vmCount{policy: p}
		for r := range p.Records() {
			if isFirst(p, &r) {
				v.n++
			}
		}
	}
	return v.n
}

func (c *Controller) hostStatus(h *host) admin.Host {
	d := h.driver.Status()
	a := admin.Host{
		Name:       h.name,
		OVSDB:      admin.Channel{Address: h.addr.ovsdb.String(), Connected: h.connected, Error: text(h.connError)},
		OpenFlow:   admin.Channel{Address: h.addr.openflow.String(), Connected: d.Connected, Error: d.Error},
		Waiting:    !h.seen && !c.graceOver,
		OVSVersion: h.state.Version, SystemID: h.state.SystemID,
		InSync:         d.InSync && d.Wanted == h.revision() && c.told == c.policy,
		RevisionWanted: d.Wanted, RevisionInstalled: d.Installed, LagSeconds: h.lag.seconds(time.Now()),
		FlowsWanted: d.FlowsWanted, FlowsInstalled: d.FlowsInstalled, FlowsForeign: d.FlowsForeign, FlowsKept: d.FlowsKept,
		LastSync: d.LastSync, LastSyncSeconds: d.LastSyncDuration.Seconds(),
		FlowsRefused: d.NumRefuse, Refused: []admin.Refusal{}, Problems: append([]string{}, h.state.Problems...),
	}
	if !a.OVSDB.Connected {
		a.OVSDB.Hint = hintOVSDB(h.connError, h.addr.ovsdb.Network, d.Connected)
	}
	if !a.OpenFlow.Connected {
		a.OpenFlow.Hint = hintOpenFlow(d.Err, h.addr.openflow.Network, h.connected)
	}
	a.Monitored, a.FlowsShadowing, a.Shadows = d.Monitored, d.NumShadow, []admin.Shadow{}
	for _, x := range d.Shadows {
		a.Shadows = append(a.Shadows, admin.Shadow{Flow: x.Flow, Over: x.Over, Owner: x.Owner})
	}
	for _, r := range d.Refused {
		a.Refused = append(a.Refused, admin.Refusal{Owner: r.Owner, Flow: r.Flow, Error: r.Error})
	}
	if _, p := h.configState(); p != "" {
		a.Problems = append(a.Problems, p)
	}
	for _, p := range h.problems {
		if p.IfaceID == "" {
			a.Problems = append(a.Problems, p.Text)
		}
	}
	for i := range h.conflicts {
		k := &h.conflicts[i]
		inForce := c.namers.ownerText(k.InForce.Cookie)
		a.Problems = append(a.Problems, fmt.Sprintf("%s and %s want the same flow to differ; that of %s is in force: %s",
			inForce, c.namers.ownerText(k.Refused.Cookie), inForce, k.Refused.Text()))
	}
	return a
}

func (c *Controller) attachmentStatus(h *host) []admin.Attachment {
	var out []admin.Attachment
	problems := map[string]string{} // by iface-id
	for _, p := range h.problems {
		problems[p.IfaceID] = p.Text
	}
	for _, a := range h.state.Attachments {
		st := admin.Attachment{
			Host: h.name, IfaceID: a.IfaceID, Interface: a.Interface, OFPort: a.OFPort,
			Installed: h.installed[installedKey{a.Interface, a.IfaceID, a.OFPort}],
		}
		if r, ok := c.nameRecord(&st); ok {
			if mac, err := tenant.ParseMAC(a.MAC); a.MAC != "" && (err != nil || mac != r.MAC) {
				st.Problem = fmt.Sprintf("attached-mac is %s, the lookup record says %s: one of them is wrong, and port security follows the record", a.MAC, r.MAC)
			}
		}
		st.Problem = cmp.Or(problems[a.IfaceID], st.Problem)
		if a.Error != "" {
			st.Problem = "Open vSwitch cannot set the Interface up: " + a.Error
		}
		st.Problem = cmp.Or(st.Problem, inactiveText(a.Inactive))
		out = append(out, st)
	}
	return out
}

// nameRecord says whose an attachment is.
func (c *Controller) nameRecord(st *admin.Attachment) (r tenant.LookupRecord, ok bool) {
	if c.policy == nil {
		return r, false
	}
	if r, ok = c.policy.RecordByIfaceID(st.IfaceID); ok {
		d, _ := c.policy.RoutingDomain(r.RDID)
		st.RoutingDomain, st.VM, st.CA, st.VSID = d.Name, r.VM, r.CA.String(), uint32(r.VSID)
	}
	return r, ok
}

func inactiveText(inactive bool) string {
	if inactive {
		return "its iface-status is inactive: the Interface is not used"
	}
	return ""
}

// hostNames returns the names of the driven hosts, sorted. c.mu is held.
func (c *Controller) hostNames() []string {
	return slices.Sorted(maps.Keys(c.hosts))
}
