package calc

import (
	"iter"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Options say how an [Engine] works.
type Options struct {
	// Linger keeps a routing domain on a host for a while after the last of its
	// VMs has left: see [Engine.Expire].
	Linger bool
	// Punts says how many packets of a VM the controller gets; zero:
	// [flows.DefaultPuntLimit].
	Punts flows.PuntLimit
}

// Input is what is known of a host besides the policy. Its attachments and the
// map in Tunnels must not be modified any more.
type Input struct {
	// Attachments had best be in the same order each time: then what is the same
	// at their beginning and at their end costs nothing.
	Attachments []flows.Attachment
	Tunnels     flows.TunnelPorts
	// Elsewhere says that somebody else drives the host. Its attachments count for
	// where VMs are, but it gets no [Update].
	Elsewhere bool
}

// Update says what a host is to hold now.
type Update struct {
	Host string
	// Want is all that the host's switch is to hold, save the sentinel. It shares
	// with the one before, and with other hosts, what they have in common.
	Want flowset.Composition
	// Same says that Want is as it was, and that only what follows has changed.
	Same    bool
	Domains []tenant.RDID // that the host holds, sorted
	// Ifaces are the iface-ids attached there whose records may be others than
	// before, or the ports in force; in no order.
	Ifaces    []string
	Problems  []flows.Problem
	Conflicts []flows.Conflict
}

// Engine keeps what every host is to hold. It is not for concurrent use.
type Engine struct {
	opts     Options
	policy   *tenant.Policy
	place    flows.Placement
	compiler *flows.Compiler // of the last Flush; nil before the first
	pipeline layer
	blocks   map[tenant.RDID]*block
	hosts    map[string]*host
	// shared has the hosts of each iface-id that is attached to several, sorted.
	// Of the others, place knows the one.
	shared map[string][]string

	moved     map[string]struct{} // iface-ids that have come to or left hosts
	dirty     map[*host]struct{}  // driven hosts to look at
	idle      map[*block]struct{} // that may have lost their last host
	lingering map[*host]struct{}
	tick      int // calls of Expire
}

// New returns an engine that knows nothing yet.
func New(opts Options) *Engine {
	return &Engine{
		opts: opts, blocks: make(map[tenant.RDID]*block), hosts: make(map[string]*host), shared: make(map[string][]string),
		moved: make(map[string]struct{}), dirty: make(map[*host]struct{}), idle: make(map[*block]struct{}),
		lingering: make(map[*host]struct{}),
	}
}

// SetPolicy makes p the policy. p must not be nil.
func (e *Engine) SetPolicy(p *tenant.Policy) { e.policy = p }

// SetHost says all that is known of a host, in place of what was said before.
func (e *Engine) SetHost(name string, in Input) {
	h := e.hosts[name]
	if h == nil {
		h = newHost(name)
		e.hosts[name] = h
	}
	e.attach(h, h.attachTo(in.Attachments))
	sameTunnels := h.in.Tunnels.Flow == in.Tunnels.Flow && h.in.Tunnels.FlowID == in.Tunnels.FlowID && h.perVSID() == (in.Tunnels.PerVSID != nil) &&
		maps.Equal(h.in.Tunnels.PerVSID, in.Tunnels.PerVSID)
	h.in = in
	switch {
	case in.Elsewhere && h.driven():
		e.release(h)
		h.yieldUp()
	case !in.Elsewhere && !h.driven():
		h.drive()
		e.dirty[h] = struct{}{}
	case h.driven() && !sameTunnels:
		h.todo.tunnels = true
		e.dirty[h] = struct{}{}
	}
}

// RemoveHost forgets a host: it has no attachments and gets no updates.
func (e *Engine) RemoveHost(name string) {
	h := e.hosts[name]
	if h == nil {
		return
	}
	e.attach(h, h.attachTo(nil))
	e.release(h)
	delete(e.hosts, name)
}

// release takes h out of all that the engine keeps of driven hosts.
func (e *Engine) release(h *host) {
	for _, id := range h.list {
		b := e.blocks[id]
		delete(b.hosts, h.name)
		e.idle[b] = struct{}{}
	}
	delete(e.dirty, h)
	delete(e.lingering, h)
}

// attach takes over that iface-ids have come to h, have left it, or have other ports.
func (e *Engine) attach(h *host, touched map[string]struct{}) {
	if len(touched) == 0 {
		return
	}
	e.place = e.place.WithAll(func(yield func(iface, host string) bool) {
		for iface := range touched {
			if h.driven() {
				mark(&h.todo.ifaces, iface)
				e.dirty[h] = struct{}{}
			}
			_, now := h.ports[iface]
			old := slices.Collect(e.attached(iface))
			if slices.Contains(old, h.name) == now {
				continue
			}
			e.moved[iface] = struct{}{}
			hosts := slices.DeleteFunc(old, func(name string) bool { return name == h.name })
			if now {
				hosts = append(hosts, h.name)
				slices.Sort(hosts)
			}
			delete(e.shared, iface)
			if len(hosts) > 1 {
				e.shared[iface] = hosts
			}
			// The host that stands first by name has the VM, as flows.Place has it.
			if !yield(iface, append(hosts, "")[0]) {
				return
			}
		}
	})
}

// attached yields the hosts that an iface-id is attached to, by name.
func (e *Engine) attached(iface string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if hosts := e.shared[iface]; hosts != nil {
			for _, name := range hosts {
				if !yield(name) {
					return
				}
			}
		} else if name := e.place.Host(iface); name != "" {
			yield(name)
		}
	}
}

// Expire lets go of routing domains that hosts hold without having a VM of them
// since before the last call but one of Expire: where it is called every minute,
// a routing domain lingers for one to two minutes. The next Flush has what
// follows.
func (e *Engine) Expire() {
	e.tick++
	for h := range e.lingering {
		for id, since := range h.linger {
			if e.tick-since >= 2 {
				mark(&h.todo.domains, id)
				e.dirty[h] = struct{}{}
			}
		}
	}
}

// The following are as of the last Flush.

// Compiler returns the compiler; nil before the first policy.
func (e *Engine) Compiler() *flows.Compiler { return e.compiler }

// Placement returns where attachments are: of each iface-id that is attached
// anywhere, whatever the policy says of it, the first host by name.
func (e *Engine) Placement() flows.Placement {
	if e.compiler == nil {
		return flows.Placement{}
	}
	return e.compiler.Placement()
}

// Domains returns the routing domains that a driven host holds, by RDID. The
// caller must not modify them.
func (e *Engine) Domains(host string) []tenant.RDID {
	if h := e.hosts[host]; h != nil {
		return h.list
	}
	return nil
}

// HostsOf returns the driven hosts that hold a routing domain, by name.
func (e *Engine) HostsOf(id tenant.RDID) []string {
	if b := e.blocks[id]; b != nil {
		return slices.Sorted(maps.Keys(b.hosts))
	}
	return nil
}

// VSIDs returns the virtual subnets of the routing domains that a driven host
// holds, sorted: those that need a gre port where each has its own.
func (e *Engine) VSIDs(host string) (out []tenant.VSID) {
	for _, id := range e.Domains(host) {
		for s := range e.compiler.Policy().SubnetsOf(id) {
			out = append(out, s.VSID)
		}
	}
	slices.Sort(out)
	return out
}

// Current returns what a driven host is to hold; false where there is no such
// host, or no Flush since it is known.
func (e *Engine) Current(host string) (Update, bool) {
	h := e.hosts[host]
	if h == nil || !h.driven() || h.todo.changed {
		return Update{}, false
	}
	return e.update(h), true
}

// Blocks returns the number of routing domains that are compiled, and of the
// flows in them.
func (e *Engine) Blocks() (domains, flows int) {
	for _, b := range e.blocks {
		flows += b.set.Len()
	}
	return len(e.blocks), flows
}
