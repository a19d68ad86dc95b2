package tenant_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// model is a policy as a plain map, which needs no rules.
type model map[tenant.Key]tenant.Object

func modelOf(p *tenant.Policy) model {
	m := model{}
	for o := range p.Objects() {
		m[o.Key()] = o
	}
	return m
}

func (m model) apply(changes []tenant.Change) model {
	m = maps.Clone(m)
	for _, c := range changes {
		if c.IsDelete() {
			delete(m, c.Key())
		} else {
			m[c.Key()] = c.Object()
		}
	}
	return m
}

// spec returns the objects as a spec, the changed ones last, and whether each
// object has the one that it is in: without, there is no such spec.
func (m model) spec(changed map[tenant.Key]bool) (spec tenant.Spec, whole bool) {
	keys := slices.SortedFunc(maps.Keys(m), func(k, l tenant.Key) int {
		if k.Kind() == l.Kind() && changed[k] != changed[l] {
			if changed[k] {
				return 1
			}
			return -1
		}
		return k.Compare(l)
	})
	spec.Version = 1
	whole = true
	domains, subnets := map[tenant.RDID]int{}, map[tenant.VSID][2]int{}
	for _, k := range keys {
		switch o := m[k].(type) {
		case tenant.GatewayMAC:
			spec.GatewayMAC = o.MAC
			whole = whole && o.MAC != tenant.MAC{} // which a spec cannot say
		case tenant.HostObject:
			spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: o.Name, ProviderAddresses: o.ProviderAddresses, OVSDB: o.OVSDB, OpenFlow: o.OpenFlow,
				MTU: o.MTU, Routes: o.Routes})
		case tenant.RoutingDomainObject:
			domains[o.RDID] = len(spec.RoutingDomains)
			spec.RoutingDomains = append(spec.RoutingDomains, tenant.RoutingDomainSpec{RDID: o.RDID, Name: o.Name, Customer: o.Customer})
		case tenant.SubnetObject:
			i, ok := domains[o.RDID]
			if !ok {
				whole = false
				continue
			}
			d := &spec.RoutingDomains[i]
			subnets[o.VSID] = [2]int{i, len(d.Subnets)}
			d.Subnets = append(d.Subnets, tenant.SubnetSpec{VSID: uint32(o.VSID), Name: o.Name, Prefixes: o.Prefixes, Gateways: o.Gateways,
				Multicast: o.Multicast, DHCP: o.DHCP, DNS: o.DNS, Domain: o.Domain, Lease: o.Lease, MTU: o.MTU})
		case tenant.RecordObject:
			at, ok := subnets[o.VSID]
			if !ok {
				whole = false
				continue
			}
			s := &spec.RoutingDomains[at[0]].Subnets[at[1]]
			s.Records = append(s.Records, tenant.RecordSpec{VM: o.VM, CA: o.CA, MAC: o.MAC, IfaceID: o.IfaceID, Host: o.Host, PA: o.PA, Options: o.Options})
		case tenant.RouteObject:
			i, ok := domains[o.RDID]
			if !ok {
				whole = false
				continue
			}
			d := &spec.RoutingDomains[i]
			d.Routes = append(d.Routes, tenant.RouteSpec{Prefix: o.Prefix, NextHop: o.NextHop, BlackHole: o.BlackHole, Metric: o.Metric, VSID: uint32(o.VSID)})
		}
	}
	return spec, whole
}

var ifaceDefault = strings.NewReplacer(", which is the VM's name where none is given,", "")

// messages returns the problems without their places. Which of two records is
// the one too many depends on their order.
func messages(problems []tenant.Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, ifaceDefault.Replace(p.Message))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestApplyIsNew checks, along a chain of changes, that Apply takes what New
// takes, makes the same of it, and finds the same problems.
func TestApplyIsNew(t *testing.T) {
	sound, unsound := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p, problems := tenant.New(tenantgen.Spec(t), 1)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		other, _ := tenant.New(tenantgen.Spec(t), 1)
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			before := modelOf(p)
			changes := tenantgen.Changes(t, p, other)
			changed := map[tenant.Key]bool{}
			for _, c := range changes {
				changed[c.Key()] = c.IsDelete() || !c.Object().Equal(before[c.Key()])
			}
			after := before.apply(changes)
			q, problems := p.Apply(changes, p.Revision()+1)
			if (q == nil) != (len(problems) > 0) {
				t.Fatalf("Apply returns %v and %v", q, problems)
			}
			checkSame(t, before, modelOf(p))
			if again, others := p.Apply(shuffled(t, changes), p.Revision()+1); len(problems) > 0 && !slices.EqualFunc(problems, others, sameProblem) ||
				len(problems) == 0 && !q.Equal(again) {
				t.Fatalf("in another order the changes make another policy, or other problems:\n%v\n%v", problems, others)
			}
			spec, whole := after.spec(changed)
			if !whole {
				if q != nil {
					t.Fatal("Apply takes an object without the one that it is in")
				}
				unsound++
				continue
			}
			want, wantProblems := tenant.New(spec, 1)
			if (want == nil) != (q == nil) {
				t.Fatalf("Apply finds %v, New %v", problems, wantProblems)
			}
			if want == nil {
				unsound++
				if diff := cmp.Diff(messages(wantProblems), messages(problems)); diff != "" && !cascade(wantProblems) {
					t.Fatalf("problems (-New +Apply):\n%s", diff)
				}
				continue
			}
			sound++
			checkEqual(t, q, want)
			checkSame(t, after, modelOf(q))
			checkAccessors(t, q, spec)
			checkDiff(t, p, q)
			p = q
		}
	})
	t.Logf("%d changes were sound, %d were not", sound, unsound)
	if sound < 20 || unsound < 20 {
		t.Errorf("%d changes were sound, %d were not: want many of each", sound, unsound)
	}
}

// cascade reports whether a PA has two owners. Which of them has it then depends
// on their order, and so does what is said of the records that name it.
func cascade(problems []tenant.Problem) bool {
	return slices.ContainsFunc(problems, func(p tenant.Problem) bool {
		return strings.Contains(p.Message, "already: want an address that no other host has")
	})
}

func sameProblem(a, b tenant.Problem) bool { return a.String() == b.String() }

func shuffled(t *rapid.T, changes []tenant.Change) []tenant.Change {
	if len(changes) < 2 {
		return changes
	}
	return rapid.Permutation(changes).Draw(t, "order")
}

func checkSame(t *rapid.T, want, got model) {
	t.Helper()
	for k, o := range want {
		if k.Kind() == tenant.KindGatewayMAC && o.Equal(tenant.GatewayMAC{MAC: tenant.DefaultGatewayMAC}) {
			continue
		}
		if got[k] == nil || !got[k].Equal(o) {
			t.Fatalf("%s is %+v, want %+v", k, got[k], o)
		}
	}
	for k := range got {
		if want[k] == nil {
			t.Fatalf("%s is there, want it gone", k)
		}
	}
}

// checkEqual compares two policies by all that their accessors tell.
func checkEqual(t *rapid.T, p, q *tenant.Policy) {
	t.Helper()
	if !p.Equal(q) || !q.Equal(p) {
		t.Fatalf("they differ: %v", slices.Collect(tenant.Diff(p, q)))
	}
	if a, b := dump(p), dump(q); !cmp.Equal(a, b) {
		t.Fatalf("they tell other things:\n%s", cmp.Diff(a, b))
	}
}

func dump(p *tenant.Policy) []any {
	out := []any{p.GatewayMAC().String(), p.NumRecords()}
	text := func(v any) { out = append(out, fmt.Sprintf("%+v", v)) }
	for h := range p.Hosts() {
		text(h)
		for r := range p.RecordsOn(h.Name) {
			text(r)
		}
	}
	for d := range p.RoutingDomains() {
		text(d)
		for s := range p.SubnetsOf(d.RDID) {
			text(s)
		}
		for r := range p.RoutesOf(d.RDID) {
			text(r)
		}
	}
	for s := range p.Subnets() {
		text(s)
	}
	for r := range p.Records() {
		text(r)
		for _, by := range []func() (tenant.LookupRecord, bool){
			func() (tenant.LookupRecord, bool) { return p.RecordByKey(r.Key()) },
			func() (tenant.LookupRecord, bool) {
				first, ok := p.RecordByIfaceID(r.IfaceID)
				all := slices.Collect(p.RecordsByIfaceID(r.IfaceID))
				i := slices.IndexFunc(all, func(q tenant.LookupRecord) bool { return q.Key() == r.Key() })
				return all[max(i, 0)], ok && reflect.DeepEqual(first, all[0])
			},
		} {
			got, ok := by()
			out = append(out, ok && reflect.DeepEqual(got, r))
		}
		for _, by := range []func() (tenant.LookupRecord, bool){
			func() (tenant.LookupRecord, bool) { return p.RecordByMAC(r.VSID, r.MAC) },
			func() (tenant.LookupRecord, bool) { return p.RecordByVM(r.RDID, r.VM) },
		} {
			first, _ := p.RecordByIfaceID(r.IfaceID)
			got, ok := by()
			out = append(out, ok && reflect.DeepEqual(got, first))
		}
	}
	for r := range p.Routes() {
		text(r)
	}
	return out
}

func checkDiff(t *rapid.T, p, q *tenant.Policy) {
	t.Helper()
	for _, pair := range [][2]*tenant.Policy{{p, q}, {q, p}, {tenant.Empty(), q}, {q, tenant.Empty()}} {
		changes := slices.Collect(tenant.Diff(pair[0], pair[1]))
		if !slices.IsSortedFunc(changes, func(a, b tenant.Change) int { return a.Key().Compare(b.Key()) }) {
			t.Fatalf("Diff is out of order: %v", changes)
		}
		checkSame(t, modelOf(pair[0]).apply(changes), modelOf(pair[1]))
		got, problems := pair[0].Apply(changes, 7)
		if len(problems) > 0 {
			t.Fatalf("the difference cannot be applied: %v", problems)
		}
		checkEqual(t, got, pair[1])
		for _, c := range changes {
			o, had := pair[0].Object(c.Key())
			if c.IsDelete() != (had && modelOf(pair[1])[c.Key()] == nil) || !c.IsDelete() && c.Object().Equal(o) {
				t.Fatalf("%s changes nothing", c.Key())
			}
		}
	}
}

// TestApplyMany puts, moves and deletes records of a larger policy, of which
// some changes are refused, and compares the outcome with a fresh policy.
func TestApplyMany(t *testing.T) {
	for _, flat := range []bool{false, true} {
		rng := rand.New(rand.NewPCG(1, 2))
		p := tenanttest.New(t, bigSpec(2000, flat))
		first, want := p, modelOf(p)
		keys := slices.SortedFunc(maps.Keys(want), tenant.Key.Compare)
		refused := 0
		for i := range 400 {
			q, changes, problems := applyRandom(rng, p, want, keys, i)
			if len(problems) > 0 {
				refused++
				continue
			}
			p, want = q, want.apply(changes)
		}
		spec, _ := want.spec(nil)
		q := tenanttest.New(t, spec)
		if !p.Equal(q) || !cmp.Equal(dump(p), dump(q)) {
			t.Error("the policy is not what a fresh one is")
		}
		back, problems := p.Apply(slices.Collect(tenant.Diff(p, first)), 1)
		if len(problems) > 0 || !cmp.Equal(dump(back), dump(first)) {
			t.Errorf("the way back fails: %v", problems)
		}
		t.Logf("flat=%t: %d records, %d of 400 refused", flat, p.NumRecords(), refused)
		if refused < 10 || refused > 300 {
			t.Errorf("%d of 400 lists of changes refused, want some of each", refused)
		}
	}
}

// applyRandom applies up to 8 changes of records.
func applyRandom(rng *rand.Rand, p *tenant.Policy, have model, keys []tenant.Key, i int) (*tenant.Policy, []tenant.Change, []tenant.Problem) {
	changes := map[tenant.Key]tenant.Change{}
	for n := range 1 + rng.IntN(8) {
		k := keys[rng.IntN(len(keys))]
		r, ok := have[k].(tenant.RecordObject)
		if !ok {
			continue
		}
		if changes[k] = tenant.Delete(k); rng.IntN(3) > 0 {
			a := r.CA.Addr().As4()
			a[3] = byte(rng.IntN(256))
			r.CA, r.VM = tenant.CAFrom(netip.AddrFrom4(a)), fmt.Sprintf("x%d-%d", i, n)
			r.MAC = tenant.MAC{6, 4: byte(rng.IntN(8)), 5: byte(rng.IntN(256))}
			r.Host = fmt.Sprintf("h%d", rng.IntN(1000))
			changes[r.Key()] = tenant.Put(r)
		}
	}
	all := slices.Collect(maps.Values(changes))
	q, problems := p.Apply(all, uint64(i))
	return q, all, problems
}
