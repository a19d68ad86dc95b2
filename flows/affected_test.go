package flows_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

func sameFlows(a, b []flow.Flow) bool {
	return slices.EqualFunc(a, b, func(f, g flow.Flow) bool { return f.Equal(&g) })
}

// shared returns the flows of every unit of every routing domain.
// Groups count as flows whose actions are those of their buckets.
func shared(t *rapid.T, c *flows.Compiler) map[flows.Unit][]flow.Flow {
	all := make(map[flows.Unit][]flow.Flow)
	for d := range c.Policy().RoutingDomains() {
		var bulk []flows.Unit
		for u, ps := range c.Domain(d.RDID, func(p flows.Problem) {
			if !p.Lack {
				t.Fatal(p)
			}
		}) {
			bulk = append(bulk, u)
			fs := withGroups(ps)
			parts, problems := c.Parts(u)
			one := withGroups(parts)
			if slices.ContainsFunc(problems, func(p flows.Problem) bool { return !p.Lack }) || !sameFlows(one, fs) {
				t.Fatalf("%s: alone %v, with all %v", u, one, fs)
			}
			all[u] = one
		}
		if units := slices.Collect(c.Units(d.RDID)); !slices.Equal(units, bulk) {
			t.Fatalf("units %v, with their flows %v", units, bulk)
		}
	}
	return all
}

func withGroups(ps flows.Parts) []flow.Flow {
	all := slices.Clone(ps.Flows)
	for _, g := range ps.Groups {
		f := flow.Flow{Table: 254, Cookie: uint64(g.ID)}
		for _, b := range g.Buckets {
			f.Actions = append(f.Actions, b.Actions...)
		}
		all = append(all, f)
	}
	return all
}

// apply returns a policy that drawn changes make of p, or p where they are not sound.
func apply(t *rapid.T, p *tenant.Policy) *tenant.Policy {
	other, _ := tenant.New(tenanttest.Spec(t), 1)
	if q, problems := p.Apply(tenanttest.Changes(t, p, other), p.Revision()+1); len(problems) == 0 {
		return q
	}
	return p
}

// collidingSpec is a spec whose routing domains and hosts have colliding hashes.
func collidingSpec(t *rapid.T) tenant.Spec {
	spec := tenanttest.Spec(t)
	names, ids := collisions()
	if rapid.Bool().Draw(t, "hosts collide") {
		old := map[string]string{}
		for i := range spec.Hosts {
			if i < len(names) {
				old[spec.Hosts[i].Name] = names[i]
				spec.Hosts[i].Name = names[i]
			}
		}
		for i := range spec.RoutingDomains {
			for j := range spec.RoutingDomains[i].Subnets {
				for k := range spec.RoutingDomains[i].Subnets[j].Records {
					r := &spec.RoutingDomains[i].Subnets[j].Records[k]
					if n := old[r.Host]; n != "" {
						r.Host = n
					}
				}
			}
		}
	}
	if rapid.Bool().Draw(t, "routing domains collide") {
		for i := range spec.RoutingDomains {
			if i < len(ids) {
				spec.RoutingDomains[i].RDID = ids[i]
			}
		}
	}
	return spec
}

// collisions returns two names of hosts and two RDIDs, each pair with one number.
var collisions = func() func() ([]string, []tenant.RDID) {
	var names []string
	var ids []tenant.RDID
	hash := func(key []byte) uint32 { // as package flows has it, and never changes
		h := uint64(0xcbf29ce484222325)
		for _, c := range key {
			h = (h ^ uint64(c)) * 0x100000001b3
		}
		h ^= h >> 33
		h *= 0xff51afd7ed558ccd
		return uint32(h ^ h>>33)
	}
	seenNames, seenIDs := map[uint32]string{}, map[uint32]tenant.RDID{}
	for i := 0; len(names) == 0 || len(ids) == 0; i++ {
		name, id := fmt.Sprint("host", i), tenant.RDID{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}
		if old, ok := seenNames[hash([]byte(name))]; ok && len(names) == 0 {
			names = []string{old, name}
		}
		if old, ok := seenIDs[hash(id[:])]; ok && len(ids) == 0 {
			ids = []tenant.RDID{old, id}
		}
		seenNames[hash([]byte(name))], seenIDs[hash(id[:])] = name, id
	}
	return func() ([]string, []tenant.RDID) { return names, ids }
}()

// All units whose flows a change changes are affected, and a compiler that
// follows another is like a new one.
func TestAffectedLaws(t *testing.T) {
	names, ids := collisions()
	differs := 0
	rapid.Check(t, func(t *rapid.T) {
		p, problems := tenant.New(collidingSpec(t), 1)
		if len(problems) > 0 {
			t.Skip("not sound") // names of the spec and colliding ones
		}
		at := map[string]string{}
		c := flows.NewCompiler(p, flows.NewPlacement(at))
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			hosts := []string{"", "stranger"}
			for h := range p.Hosts() {
				hosts = append(hosts, h.Name)
			}
			q, moved := p, map[string]bool{}
			to := maps.Clone(at)
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0: // a host or a routing domain that collides comes or goes
				var ch tenant.Change
				name, id := rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(ids).Draw(t, "rdid")
				_, isHost := p.Host(name)
				_, isDomain := p.RoutingDomain(id)
				switch {
				case rapid.Bool().Draw(t, "host") && isHost:
					ch = tenant.Delete(tenant.HostKey(name))
				case !isHost:
					ch = tenant.Put(tenant.HostObject{Name: name, ProviderAddresses: []tenant.ProviderAddress{
						{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 88, 0, byte(slices.Index(names, name) + 1)}))}}})
				case isDomain:
					ch = tenant.Delete(tenant.RoutingDomainKey(id))
				default:
					ch = tenant.Put(tenant.RoutingDomainObject{RDID: id})
				}
				if r, problems := p.Apply([]tenant.Change{ch}, p.Revision()+1); len(problems) == 0 {
					q = r
				}
			case 1:
				for r := range p.Records() {
					if rapid.IntRange(0, 2).Draw(t, "moves") == 0 {
						to[r.IfaceID] = rapid.SampledFrom(hosts).Draw(t, "to")
						moved[r.IfaceID] = true
					}
				}
			default:
				q = apply(t, p)
			}
			place := flows.NewPlacement(to)
			next := c.Next(q, place)
			fresh := flows.NewCompiler(q, place)
			before, after := shared(t, c), shared(t, next)
			affected := map[flows.Unit]bool{}
			for u := range flows.Affected(c, next, maps.Keys(moved), nil) {
				if affected[u] {
					t.Fatalf("twice: %s", u)
				}
				affected[u] = true
			}
			for u, fs := range shared(t, fresh) {
				if !sameFlows(fs, after[u]) {
					t.Fatalf("%s: anew %v, from the compiler before %v", u, fs, after[u])
				}
			}
			for _, units := range []map[flows.Unit][]flow.Flow{before, after} {
				for u := range units {
					if sameFlows(before[u], after[u]) {
						continue
					}
					if differs++; !affected[u] {
						t.Fatalf("%s has %v and then %v, and is not affected", u, before[u], after[u])
					}
				}
			}
			p, at, c = q, to, next
		}
	})
	if differs == 0 {
		t.Error("no change has changed a flow")
	}
}

// What a change affects does not depend on how much there is.
func TestAffectedIsSmall(t *testing.T) {
	p := bigPolicy(t, 5000)
	c := flows.NewCompiler(p, flows.Placement{})
	r, _ := p.RecordByIfaceID("vm77")
	o, _ := p.Object(tenant.RecordKey(r.VSID, r.CA))
	moved := o.(tenant.RecordObject)
	moved.Host = "h9"
	q, problems := p.Apply([]tenant.Change{tenant.Put(moved)}, 2)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	units := slices.Collect(flows.Affected(c, c.Next(q, flows.Placement{}), maps.Keys(map[string]bool{}), nil))
	if want := []flows.Unit{flows.RecordUnit(r.RDID, r.VSID, r.CA)}; !slices.Equal(units, want) {
		t.Errorf("affected %v, want %v", units, want)
	}
}

func TestPlacement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p flows.Placement
		want := map[string]string{}
		for range rapid.IntRange(0, 60).Draw(t, "edits") {
			iface := fmt.Sprint("i", rapid.IntRange(0, 20).Draw(t, "iface"))
			host := rapid.SampledFrom([]string{"", "h1", "h2"}).Draw(t, "host")
			old, before := p, maps.Clone(want)
			p = p.With(iface, host)
			if want[iface] = host; host == "" {
				delete(want, iface)
			}
			if !maps.Equal(maps.Collect(old.All()), before) {
				t.Fatal("an edit has changed the original")
			}
			if !maps.Equal(maps.Collect(p.All()), want) || p.Len() != len(want) || p.Host(iface) != host {
				t.Fatalf("%v, want %v", maps.Collect(p.All()), want)
			}
			if !p.Equal(flows.NewPlacement(want)) || p.Equal(old) != maps.Equal(before, want) {
				t.Fatal("Equal does not say what is equal")
			}
		}
	})
}
