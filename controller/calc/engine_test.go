package calc_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/flowset"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// model is an engine with all that it was told, and all that it has said.
type model struct {
	*rapid.T
	engine *calc.Engine
	opts   calc.Options
	policy *tenant.Policy
	inputs map[string]calc.Input
	said   map[string]calc.Update
	ifaces map[string]bool // of all records that there were
	counts *counts
}

// counts is what the sequences have met.
type counts struct{ applied, updates, same, conflicts, problems, shared, lingering int }

// asFlow returns a group as a flow that stands for it in comparisons.
func asFlow(g flow.Group) flow.Flow {
	f := flow.Flow{Table: 254, Cookie: uint64(g.ID)}
	for _, b := range g.Buckets {
		f.Actions = append(f.Actions, b.Actions...)
	}
	return f
}

func withGroups(r *flows.Result) []flow.Flow {
	all := slices.Clone(r.Flows)
	for _, g := range r.Groups {
		all = append(all, asFlow(g))
	}
	return all
}

func decode(tb interface{ Fatal(...any) }, c flowset.Composition) (out []flow.Flow) {
	for e := range c.All() {
		if e.Kind() == openflow.KindMeter {
			continue
		}
		if e.Kind() == openflow.KindGroup {
			g, err := e.Group()
			if err != nil {
				tb.Fatal(err)
			}
			out = append(out, asFlow(g))
			continue
		}
		f, err := e.Decode()
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

func texts(ps []flows.Problem) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Host+"|"+p.IfaceID+"|"+p.Text)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func conflictTexts(cs []flows.Conflict) []string {
	var out []string
	for _, c := range cs {
		out = append(out, c.InForce.Text()+"|"+c.Refused.Text())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func sorted(fs []flow.Flow) []string {
	var out []string
	for i := range fs {
		out = append(out, fs[i].Text())
	}
	slices.Sort(out)
	return out
}

// differ returns the first difference of two lists; "" where there is none.
func differ(got, want []string) string {
	for _, g := range got {
		if !slices.Contains(want, g) {
			return "too many: " + g
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			return "missing: " + w
		}
	}
	if len(got) != len(want) {
		return "one twice"
	}
	return ""
}

// flush takes what the engine says, and compares all with a compilation from scratch.
func (m *model) flush() {
	fresh := map[string]bool{}
	for name, in := range m.inputs {
		if _, known := m.said[name]; !known && !in.Elsewhere {
			fresh[name] = true
		}
	}
	last := ""
	for _, u := range m.engine.Flush() {
		in, known := m.inputs[u.Host]
		if !known || in.Elsewhere {
			m.Fatalf("an update for host %q, which is not driven", u.Host)
		}
		if u.Host <= last && last != "" {
			m.Fatalf("host %q after %q", u.Host, last)
		}
		last = u.Host
		old, had := m.said[u.Host]
		delete(fresh, u.Host)
		var same bool
		if had {
			same = slices.Equal(sorted(decode(m, old.Want)), sorted(decode(m, u.Want)))
			if same && slices.Equal(texts(old.Problems), texts(u.Problems)) && slices.Equal(conflictTexts(old.Conflicts), conflictTexts(u.Conflicts)) &&
				slices.Equal(old.Domains, u.Domains) {
				m.Fatalf("host %q: nothing has changed, but it has an update", u.Host)
			}
		}
		if u.Same && !same {
			m.Fatalf("host %q: not the same", u.Host)
		}
		m.counts.updates++
		if u.Same {
			m.counts.same++
		}
		m.said[u.Host] = u
	}
	if len(fresh) > 0 {
		m.Fatalf("no first update for %v", fresh)
	}
	m.compare()
}

func (m *model) compare() {
	seen := map[string][]flows.Attachment{}
	for name, in := range m.inputs {
		seen[name] = in.Attachments
	}
	place, placing := flows.Place(m.policy, seen)
	blocks := map[string]flowset.Set{}
	holders := map[tenant.RDID][]string{}
	for _, name := range slices.Sorted(maps.Keys(m.inputs)) {
		in := m.inputs[name]
		if in.Elsewhere {
			continue
		}
		u := m.said[name]
		view := flows.HostView{Name: name, Tunnels: in.Tunnels, Attachments: in.Attachments}
		exact := flows.Compile(m.policy, place, view)
		if m.opts.Linger {
			view.Hold = m.engine.Domains(name)
			m.counts.lingering += len(view.Hold) - len(exact.Domains)
		}
		want := flows.Compile(m.policy, place, view)
		if d := differ(sorted(decode(m, u.Want)), sorted(withGroups(want))); d != "" {
			m.Fatalf("host %q: %s", name, d)
		}
		if n := len(withGroups(want)) + len(want.Meters); u.Want.Len() != n {
			m.Fatalf("host %q: %d flows, groups and meters, want %d", name, u.Want.Len(), n)
		}
		if !slices.Equal(u.Domains, want.Domains) || !slices.Equal(m.engine.Domains(name), want.Domains) {
			m.Fatalf("host %q: domains %v, want %v", name, u.Domains, want.Domains)
		}
		for _, p := range placing {
			if p.Host == name {
				want.Problems = append(want.Problems, p)
			}
		}
		if got, want := texts(u.Problems), texts(want.Problems); !slices.Equal(got, want) {
			m.Fatalf("host %q: problems\n%q, want\n%q", name, got, want)
		}
		if got, want := conflictTexts(u.Conflicts), conflictTexts(want.Conflicts); !slices.Equal(got, want) {
			m.Fatalf("host %q: conflicts\n%q, want\n%q", name, got, want)
		}
		m.counts.problems += len(u.Problems)
		m.counts.conflicts += len(u.Conflicts)
		for id := range u.Want.IDs() {
			set, _ := u.Want.Get(id)
			if other, met := blocks[id]; met && id != "host" {
				if m.counts.shared++; other != set {
					m.Fatalf("block %s is not shared", id)
				}
			}
			blocks[id] = set
		}
		var vsids []tenant.VSID
		for _, id := range want.Domains {
			holders[id] = append(holders[id], name)
			for s := range m.policy.SubnetsOf(id) {
				vsids = append(vsids, s.VSID)
			}
		}
		slices.Sort(vsids)
		if got := m.engine.VSIDs(name); !slices.Equal(got, vsids) {
			m.Fatalf("host %q: VSIDs %v, want %v", name, got, vsids)
		}
	}
	domains, _ := m.engine.Blocks()
	if domains != len(holders) {
		m.Fatalf("%d routing domains are kept, and hosts hold %d", domains, len(holders))
	}
	for id, hosts := range holders {
		if got := m.engine.HostsOf(id); !slices.Equal(got, hosts) {
			m.Fatalf("hosts of %s: %v, want %v", id, got, hosts)
		}
	}
}

// input draws what a host may report: mostly right, but also ports that come
// twice, have no number or one that is taken, and VMs that belong elsewhere.
func (m *model) input(name string) calc.Input {
	in := calc.Input{Elsewhere: rapid.IntRange(0, 7).Draw(m.T, "elsewhere") == 7}
	for r := range m.policy.Records() {
		m.ifaces[r.IfaceID] = true
	}
	ifaces := slices.Sorted(maps.Keys(m.ifaces))
	for r := range m.policy.Records() {
		if r.Host == name && rapid.IntRange(0, 3).Draw(m.T, "attached") > 0 {
			in.Attachments = append(in.Attachments, flows.Attachment{IfaceID: r.IfaceID, OFPort: uint32(100 + len(in.Attachments))})
		}
	}
	ports := rapid.SampledFrom([]uint32{0, 1, 2, 100, 101, 102, 103, 104, flow.PortInPort})
	for range rapid.IntRange(0, 4).Draw(m.T, "more") {
		in.Attachments = append(in.Attachments, flows.Attachment{IfaceID: rapid.SampledFrom(ifaces).Draw(m.T, "iface"), OFPort: ports.Draw(m.T, "port")})
	}
	if rapid.Bool().Draw(m.T, "shuffled") {
		in.Attachments = rapid.Permutation(in.Attachments).Draw(m.T, "order")
	}
	switch rapid.IntRange(0, 3).Draw(m.T, "tunnels") {
	case 0:
	case 1, 2:
		in.Tunnels.Flow = rapid.Uint32Range(1, 2).Draw(m.T, "tunnel port")
	default:
		in.Tunnels.PerVSID = map[tenant.VSID]uint32{}
		for _, v := range []tenant.VSID{0x1000, 0x1001, 0x1002, 0x1010, 0x1011, 0x1020, 0x1030} {
			if rapid.IntRange(0, 3).Draw(m.T, "subnet has a port") > 0 {
				in.Tunnels.PerVSID[v] = rapid.Uint32Range(0, 5).Draw(m.T, "subnet's port")
			}
		}
	}
	return in
}

func (m *model) apply(changes []tenant.Change) {
	q, problems := m.policy.Apply(changes, m.policy.Revision()+1)
	if len(problems) == 0 {
		m.counts.applied++
		m.policy = q
		m.engine.SetPolicy(q)
	}
}

// structural draws a change of more than one object: a subnet that comes, goes or
// moves to another routing domain, a routing domain that goes, a record that
// takes over an iface-id.
func (m *model) structural() (out []tenant.Change) {
	var subnets []tenant.VirtualSubnet
	var records []tenant.RecordObject
	var domains []tenant.RDID
	for s := range m.policy.Subnets() {
		subnets = append(subnets, s)
		records = slices.AppendSeq(records, m.policy.RecordObjectsOf(s.VSID))
	}
	for d := range m.policy.RoutingDomains() {
		domains = append(domains, d.RDID)
	}
	if len(domains) == 0 {
		return nil
	}
	id := rapid.SampledFrom(domains).Draw(m.T, "domain")
	drop := func(s tenant.VirtualSubnet) {
		for r := range m.policy.RecordsOf(s.VSID) {
			out = append(out, tenant.Delete(r.Key()))
		}
		out = append(out, tenant.Delete(tenant.SubnetKey(s.VSID)))
	}
	noRoutes := func(id tenant.RDID) {
		for r := range m.policy.RoutesOf(id) {
			out = append(out, tenant.Delete(r.Key()))
		}
	}
	kind := rapid.IntRange(0, 4).Draw(m.T, "structural")
	switch {
	case kind == 0:
		prefix := tenant.CAPrefixFrom(netip.MustParsePrefix("10.200.0.0/24"))
		out = append(out, tenant.Put(tenant.SubnetObject{VSID: 0x1030, RDID: id, Prefixes: []tenant.CAPrefix{prefix}}))
	case kind == 1 && len(subnets) > 0:
		s := rapid.SampledFrom(subnets).Draw(m.T, "subnet")
		noRoutes(s.RDID)
		out = append(out, tenant.Put(tenant.SubnetObject{VSID: s.VSID, RDID: id, Prefixes: s.Prefixes, Gateways: s.Gateways}))
	case kind == 2:
		noRoutes(id)
		for s := range m.policy.SubnetsOf(id) {
			drop(s)
		}
		out = append(out, tenant.Delete(tenant.RoutingDomainKey(id)))
	case kind == 3 && len(subnets) > 0:
		s := rapid.SampledFrom(subnets).Draw(m.T, "subnet")
		noRoutes(s.RDID)
		drop(s)
	case len(records) > 0:
		r := rapid.SampledFrom(records).Draw(m.T, "record")
		r.IfaceID = rapid.SampledFrom(slices.Sorted(maps.Keys(m.ifaces))).Draw(m.T, "iface-id")
		out = append(out, tenant.Put(r))
	}
	return out
}

func (m *model) step() {
	names := []string{"unknown"}
	for h := range m.policy.Hosts() {
		names = append(names, h.Name, h.Name)
	}
	name := rapid.SampledFrom(names).Draw(m.T, "name")
	switch rapid.IntRange(0, 9).Draw(m.T, "step") {
	case 0:
		m.apply(m.structural())
	case 1, 2, 3:
		other, _ := tenant.New(tenanttest.Spec(m.T), 1)
		m.apply(tenanttest.Changes(m.T, m.policy, other))
	case 4, 5, 6:
		in := m.input(name)
		if m.inputs[name].Elsewhere != in.Elsewhere {
			delete(m.said, name)
		}
		m.inputs[name] = in
		m.engine.SetHost(name, in)
	case 7: // one attachment comes or goes
		in, known := m.inputs[name]
		if !known {
			return
		}
		if n := len(in.Attachments); n > 0 && rapid.Bool().Draw(m.T, "goes") {
			i := rapid.IntRange(0, n-1).Draw(m.T, "which")
			in.Attachments = slices.Delete(slices.Clone(in.Attachments), i, i+1)
		} else {
			for r := range m.policy.Records() {
				in.Attachments = slices.Insert(slices.Clone(in.Attachments), n/2, flows.Attachment{IfaceID: r.IfaceID, OFPort: uint32(200 + n)})
				break
			}
		}
		m.inputs[name] = in
		m.engine.SetHost(name, in)
	case 8:
		delete(m.inputs, name)
		delete(m.said, name)
		m.engine.RemoveHost(name)
	default:
		m.engine.Expire()
	}
}

// Whatever happens, in whatever order and however much of it at once: every host
// is to hold what a compilation from scratch gives, blocks are shared, and only
// those hosts hear of a change that it concerns.
func TestEngineLaws(t *testing.T) {
	for _, opts := range []calc.Options{{}, {Linger: true}} {
		t.Run(fmt.Sprintf("linger=%v", opts.Linger), func(t *testing.T) {
			met := counts{}
			rapid.Check(t, func(t *rapid.T) {
				p, problems := tenant.New(tenanttest.Spec(t), 1)
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				m := &model{T: t, engine: calc.New(opts), opts: opts, policy: p, inputs: map[string]calc.Input{}, said: map[string]calc.Update{},
					ifaces: map[string]bool{"stranger": true, "ix": true, "vx": true}, counts: &met}
				if rapid.Bool().Draw(t, "hosts before the policy") {
					for h := range p.Hosts() {
						m.inputs[h.Name] = m.input(h.Name)
						m.engine.SetHost(h.Name, m.inputs[h.Name])
					}
					if got := m.engine.Flush(); got != nil {
						t.Fatalf("updates without a policy: %v", got)
					}
				}
				m.engine.SetPolicy(p)
				for range rapid.IntRange(1, 15).Draw(t, "steps") {
					m.step()
					if rapid.Bool().Draw(t, "flush") {
						m.flush()
					}
				}
				m.flush()
				if again := m.engine.Flush(); len(again) > 0 {
					t.Fatalf("nothing has happened, and there are %d updates", len(again))
				}
			})
			t.Logf("%+v", met)
			if !t.Failed() && (met.applied == 0 || met.updates == 0 || met.same == 0 || met.conflicts == 0 || met.problems == 0 || met.shared == 0) {
				t.Errorf("not all was met: %+v", met)
			}
			if opts.Linger && met.lingering == 0 {
				t.Error("nothing has lingered")
			}
		})
	}
}
