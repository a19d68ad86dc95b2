package controller

import (
	"cmp"
	"context"
	"hash/maphash"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/reconcile"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// converge compiles what has changed and hands it to the drivers.
func (c *Controller) converge(ctx context.Context) {
	if c.policy == nil {
		return
	}
	attachments := make(map[string][]flows.Attachment, len(c.hosts))
	unseen := false
	for name, h := range c.hosts {
		attachments[name] = attached(&h.state)
		unseen = unseen || !h.seen
	}
	placement, problems := flows.Place(c.policy, attachments)
	c.place(placement, problems)
	for name, h := range c.hosts {
		h.setConfig(c.hostConfig(h, attachments[name]))
	}
	if unseen && !c.graceOver {
		// What a silent host holds would seem to be nowhere.
		return
	}

	type job struct {
		h      *host
		in     input
		result *flows.Result
	}
	var jobs []*job
	for _, name := range c.hostNames() {
		h := c.hosts[name]
		if !c.known(h) {
			continue
		}
		in := c.inputOf(h, attachments[name], unseen)
		if !h.compiled || !in.equal(&h.input) {
			jobs = append(jobs, &job{h: h, in: in})
		}
	}
	if len(jobs) == 0 {
		return
	}
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, j := range jobs {
		g.Go(func() error {
			if ctx.Err() == nil {
				j.result = c.compiler.Host(flows.HostView{Name: j.h.name, Tunnels: j.in.tunnels, Attachments: j.in.attachments})
			}
			return nil
		})
	}
	_ = g.Wait() // no job returns an error
	if ctx.Err() != nil {
		return
	}
	c.metrics.compile.Observe(time.Since(start).Seconds())

	revision := c.policy.Revision()
	if revision <= c.used {
		// The policy is the same, the hosts are not: this is a state of its own.
		revision = c.nextRevision()
	}
	c.used = revision
	namer := c.namer
	for _, j := range jobs {
		set, err := flowset.Of(j.result.Flows)
		if err != nil {
			j.h.log.Error("flows are left out", "error", err)
		}
		d := reconcile.Desired{Revision: revision, Flows: flowset.Whole("host", set), Owner: namer.OwnerText}
		if j.in.keep {
			d.Keep = keepUnplaced
		}
		c.mu.Lock()
		j.h.input, j.h.compiled, j.h.result, j.h.revision = j.in, true, j.result, revision
		c.mu.Unlock()
		j.h.driver.Set(d)
	}
}

// attached returns the ports of a host that VMs use.
func attached(s *ovsdb.State) []flows.Attachment {
	var out []flows.Attachment
	for _, a := range s.Attachments {
		if !a.Inactive {
			out = append(out, flows.Attachment{IfaceID: a.IfaceID, OFPort: a.OFPort})
		}
	}
	return out
}

// known reports whether enough is known of a host to compile for it.
func (c *Controller) known(h *host) bool {
	if !h.seen || !h.state.BridgeReady {
		return false
	}
	ensured, _ := h.configState()
	return ensured || h.compiled || h.state.TunnelOFPort != 0
}

// place remembers where the VMs are; a change asks for a new compiler.
func (c *Controller) place(p flows.Placement, problems []flows.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.placing = problems
	if c.compiler != nil && c.placement.Equal(p) {
		return
	}
	c.placement = p
	c.compiler = flows.NewCompiler(c.policy, p)
	c.digests = map[tenant.RDID]uint64{}
	seed := digestSeed
	for r := range c.policy.Records() {
		if r.Host == "" {
			// Added up, so that the order does not matter.
			c.digests[r.RDID] += maphash.String(seed, r.IfaceID+"\x00"+p.Host(r.IfaceID))
		}
	}
}

// digestSeed makes digests that are comparable within this process.
var digestSeed = maphash.MakeSeed()

// hostConfig says what a host's database shall hold.
func (c *Controller) hostConfig(h *host, as []flows.Attachment) ovsdb.Config {
	s := c.settings
	cfg := ovsdb.Config{
		Bridge: s.Bridge, AdoptBridge: s.AdoptBridge, DatapathType: s.DatapathType, TunnelPort: s.TunnelPort,
		Listener: h.addr.listener, TableNames: flows.TableNames(),
	}
	if s.PortMode == settings.PortPerVSID {
		cfg.PortMode = ovsdb.PortPerVSID
		for _, id := range c.domainsOf(h.name, as) {
			for sub := range c.policy.SubnetsOf(id) {
				cfg.VSIDs = append(cfg.VSIDs, sub.VSID)
			}
		}
		slices.Sort(cfg.VSIDs)
	}
	return cfg
}

// domainsOf returns the routing domains of the VMs attached to a host, sorted.
func (c *Controller) domainsOf(host string, as []flows.Attachment) []tenant.RDID {
	var ids []tenant.RDID
	for _, a := range as {
		if r, ok := c.policy.RecordByIfaceID(a.IfaceID); ok && cmp.Or(r.Host, c.placement.Host(a.IfaceID)) == host {
			ids = append(ids, r.RDID)
		}
	}
	slices.SortFunc(ids, func(x, y tenant.RDID) int { return slices.Compare(x[:], y[:]) })
	return slices.Compact(ids)
}

// inputOf collects all that a host's flows depend on.
func (c *Controller) inputOf(h *host, as []flows.Attachment, unseen bool) input {
	in := input{policy: c.policy, attachments: as, tunnels: flows.TunnelPorts{Flow: h.state.TunnelOFPort}, keep: unseen}
	if c.settings.PortMode == settings.PortPerVSID {
		in.tunnels.PerVSID = h.state.VSIDPorts
		if in.tunnels.PerVSID == nil {
			in.tunnels.PerVSID = map[tenant.VSID]uint32{}
		}
	}
	for _, id := range c.domainsOf(h.name, as) {
		in.placement = in.placement*31 + c.digests[id]
	}
	return in
}

// keepUnplaced saves the flow to a VM that is attached nowhere, as far as the
// hosts that have answered know, from the drop flow that would replace it. It
// is asked while a host has not answered since this daemon started: the VM may
// well be there, and its switch may forward.
func keepUnplaced(have, want openflow.Encoded) bool {
	if want == "" {
		return false
	}
	if _, drops := flows.Reason(have.Cookie()); drops {
		return false
	}
	why, drops := flows.Reason(want.Cookie())
	return drops && why == flows.DropUnattached
}
