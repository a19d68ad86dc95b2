package tenant

import (
	"iter"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// Equal reports whether p and q hold equal objects, whatever their revisions and
// wherever their objects were read from.
func (p *Policy) Equal(q *Policy) bool {
	for range Diff(p, q) {
		return false
	}
	return true
}

// Objects yields the objects of p as they were given, in the order of their
// keys. What is as the default has it is left out.
func (p *Policy) Objects() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for c := range Diff(Empty(), p) {
			if !yield(c.object) {
				return
			}
		}
	}
}

// RecordObjectsOf yields the records of one virtual subnet by CA, as they were given.
func (p *Policy) RecordObjectsOf(v VSID) iter.Seq[RecordObject] {
	return func(yield func(RecordObject) bool) {
		s, ok := p.subnets.Find(byVSID(v))
		if !ok {
			return
		}
		for r := range s.records.All() {
			if !yield(r.object()) {
				return
			}
		}
	}
}

// Object returns the object of that key as it was given.
func (p *Policy) Object(k Key) (Object, bool) {
	switch k.kind {
	case KindGatewayMAC:
		if p.gatewayMAC != DefaultGatewayMAC {
			return GatewayMAC{p.gatewayMAC}, true
		}
	case KindHost:
		if h, ok := p.hosts.Find(byHost(k.host)); ok {
			return h.object(), true
		}
	case KindRoutingDomain:
		if d, ok := p.domains.Find(byRDID(k.rdid)); ok {
			return d.object(), true
		}
	case KindSubnet:
		if s, ok := p.subnets.Find(byVSID(k.vsid)); ok {
			return s.object(), true
		}
	case KindRecord:
		if r, ok := p.recordOf(k); ok {
			return r.object(), true
		}
	case KindRoute:
		if r, ok := p.route(k); ok {
			return r.object(), true
		}
	}
	return nil, false
}

func (p *Policy) route(k Key) (*route, bool) {
	d, ok := p.domains.Find(byRDID(k.rdid))
	if !ok {
		return nil, false
	}
	want := CustomerRoute{RDID: k.rdid, VSID: k.vsid, Prefix: k.prefix, Metric: k.metric, NextHop: k.ca, BlackHole: k.blackHole}
	return d.routes.Find(func(r *route) int { return r.is.compare(&want) })
}

// Diff yields the changes that make after of before, in the order of their keys.
// Where one was made from the other by [Policy.Apply], it looks at little more
// than what was changed between them. Where an object was read from is no
// difference.
func Diff(before, after *Policy) iter.Seq[Change] {
	return func(yield func(Change) bool) {
		_ = diffGatewayMAC(before, after, yield) &&
			diffTrees(before.hosts, after.hosts, yield) &&
			diffTrees(before.domains, after.domains, yield) &&
			diffTrees(before.subnets, after.subnets, yield) &&
			diffRecords(before, after, yield) &&
			diffRoutes(before, after, yield)
	}
}

func diffGatewayMAC(before, after *Policy, yield func(Change) bool) bool {
	switch after.gatewayMAC {
	case before.gatewayMAC:
		return true
	case DefaultGatewayMAC:
		return yield(Delete(GatewayMACKey()))
	}
	return yield(Put(GatewayMAC{after.gatewayMAC}))
}

// stored is how a policy keeps an object of type O.
type stored[T any, O Object] interface {
	comparable
	persist.Ordered[T]
	same(T) bool
	object() O
}

func diffTrees[T stored[T, O], O Object](before, after persist.Tree[T], yield func(Change) bool) bool {
	for d := range persist.Diff(before, after) {
		switch {
		case !d.InNew:
			if !yield(Delete(d.Old.object().Key())) {
				return false
			}
		case !d.InOld || d.Old != d.New && !d.Old.same(d.New):
			if !yield(Put(d.New.object())) {
				return false
			}
		}
	}
	return true
}

func diffRecords(before, after *Policy, yield func(Change) bool) bool {
	for d := range persist.Diff(before.subnets, after.subnets) {
		var a, b persist.Tree[*record]
		if d.InOld {
			a = d.Old.records
		}
		if d.InNew {
			b = d.New.records
		}
		if !diffTrees(a, b, yield) {
			return false
		}
	}
	return true
}

func diffRoutes(before, after *Policy, yield func(Change) bool) bool {
	for d := range persist.Diff(before.domains, after.domains) {
		var a, b persist.Tree[*route]
		if d.InOld {
			a = d.Old.routes
		}
		if d.InNew {
			b = d.New.routes
		}
		if !diffTrees(a, b, yield) {
			return false
		}
	}
	return true
}
