package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/netip"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The sizes of a page.
const (
	defaultLimit = 500
	maxLimit     = 10000
)

// Paging selects a page.
type Paging struct {
	Limit    uint64 `query:"limit" minimum:"1" maximum:"10000" default:"500" doc:"the most that one page has"`
	Continue string `query:"continue" doc:"continue of the page before; the page is then of the same revision"`
}

func (p Paging) limit() (int, error) {
	if p.Limit == 0 {
		return defaultLimit, nil
	}
	if p.Limit > maxLimit {
		return 0, invalid("the request cannot be understood", Fault{Pointer: "query.limit", Detail: fmt.Sprintf("is %d: want 1 to %d", p.Limit, maxLimit)})
	}
	return int(p.Limit), nil
}

// token is what continue says. Its text is opaque to clients.
type token struct {
	Revision uint64 `json:"r"`
	After    string `json:"k"`
}

func (t token) String() string {
	b, _ := json.Marshal(t) // numbers and text always can be
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseToken(text string) (t token, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return t, invalid("the request cannot be understood", Fault{Pointer: "query.continue", Detail: "is not the continue of a page: want it as it was given, or leave it out"})
	}
	return t, nil
}

// Page is what all lists take.
type Page struct {
	Moment
	Paging
}

type listOutput struct {
	Revision string `header:"Policy-Revision"`
	Body     *List
}

type listHosts struct{ Page }

type listDomains struct {
	Page
	Customer string `query:"customer" doc:"only those of this customer"`
}

type listSubnets struct {
	Page
	RoutingDomain string `query:"routing_domain" doc:"only those of the routing domain with this name or RDID"`
}

type listRoutes struct {
	Page
	RoutingDomain string `query:"routing_domain" doc:"only those of the routing domain with this name or RDID"`
}

type listRecords struct {
	Page
	RoutingDomain string `query:"routing_domain" doc:"only those of the routing domain with this name or RDID"`
	VSID          string `query:"vsid" doc:"only those of this virtual subnet"`
	Host          string `query:"host" doc:"only those whose VM the policy puts on this host"`
	VM            string `query:"vm" doc:"only that of the VM of this name"`
	CA            string `query:"ca" doc:"only that of this customer address, or those in this prefix"`
}

// selector is a list's own part of the work.
type selector interface {
	selected(p *tenant.Policy, after tenant.Key) (iter.Seq[tenant.Key], error)
	common() Page
}

func (p Page) common() Page { return p }

func (s *service) listOperations(a huma.API) {
	op := func(path, what string) huma.Operation {
		return s.operation(huma.Operation{Method: http.MethodGet, Path: "/v1/" + path, OperationID: "list-" + path, Tags: []string{"objects"}, Summary: "List " + what})
	}
	huma.Register(a, op("hosts", "hosts, by name"), list[listHosts](s))
	huma.Register(a, op("routing-domains", "routing domains, by RDID"), list[listDomains](s))
	huma.Register(a, op("subnets", "virtual subnets, by VSID"), list[listSubnets](s))
	huma.Register(a, op("records", "lookup records, by VSID and CA"), list[listRecords](s))
	huma.Register(a, op("routes", "customer routes, by RDID, prefix and metric"), list[listRoutes](s))
}

// list returns the handler of a list.
func list[I selector](s *service) func(context.Context, *I) (*listOutput, error) {
	return func(ctx context.Context, in *I) (*listOutput, error) {
		c := (*in).common()
		limit, err := c.limit()
		if err != nil {
			return nil, err
		}
		at, err := c.at()
		if err != nil {
			return nil, err
		}
		var after tenant.Key
		if c.Continue != "" {
			t, err := parseToken(c.Continue)
			if err != nil {
				return nil, err
			}
			if after, err = tenant.ParseKey(t.After); err != nil {
				return nil, invalid("the request cannot be understood", Fault{Pointer: "query.continue", Detail: err.Error()})
			}
			at = store.At{Revision: t.Revision}
		}
		p, err := s.policyAt(ctx, at)
		if err != nil {
			return nil, err
		}
		keys, err := (*in).selected(p, after)
		if err != nil {
			return nil, err
		}
		out := &List{Revision: p.Revision(), Items: []Item{}}
		n := 0
		for k := range keys {
			if n++; n%1024 == 0 && ctx.Err() != nil {
				return nil, problemOf(ctx, ctx.Err())
			}
			if after != (tenant.Key{}) && k.Compare(after) <= 0 {
				continue
			}
			if len(out.Items) == limit {
				out.Continue = token{p.Revision(), out.Items[limit-1].Key}.String()
				s.snapshots.keep(p)
				break
			}
			out.Items = append(out.Items, itemOf(p, k))
		}
		return &listOutput{revisionHeader(p.Revision()), out}, nil
	}
}

// itemOf returns the object of that key with what is around it.
func itemOf(p *tenant.Policy, k tenant.Key) Item {
	it := Item{Key: k.String()}
	if o, ok := p.Object(k); ok {
		it.Object = &Object{o}
	}
	id := k.RDID()
	switch k.Kind() {
	case tenant.KindRecord:
		r, _ := p.Record(k.VSID(), k.CA())
		id, it.Host = r.RDID, r.Host
	case tenant.KindSubnet:
		s, _ := p.Subnet(k.VSID())
		id = s.RDID
	case tenant.KindRoute:
	default:
		return it
	}
	d, _ := p.RoutingDomain(id)
	it.RDID, it.RoutingDomain = id.String(), d.Name
	return it
}

func keys[T any](all iter.Seq[T], key func(T) tenant.Key, keep func(T) bool) iter.Seq[tenant.Key] {
	return func(yield func(tenant.Key) bool) {
		for v := range all {
			if (keep == nil || keep(v)) && !yield(key(v)) {
				return
			}
		}
	}
}

func (l listHosts) selected(p *tenant.Policy, _ tenant.Key) (iter.Seq[tenant.Key], error) {
	return keys(p.Hosts(), func(h tenant.Host) tenant.Key { return tenant.HostKey(h.Name) }, nil), nil
}

func (l listDomains) selected(p *tenant.Policy, _ tenant.Key) (iter.Seq[tenant.Key], error) {
	return keys(p.RoutingDomains(), func(d tenant.RoutingDomain) tenant.Key { return tenant.RoutingDomainKey(d.RDID) },
		func(d tenant.RoutingDomain) bool { return l.Customer == "" || d.Customer == l.Customer }), nil
}

func (l listSubnets) selected(p *tenant.Policy, _ tenant.Key) (iter.Seq[tenant.Key], error) {
	all := p.Subnets()
	if l.RoutingDomain != "" {
		id, err := domain(p, "query.routing_domain", l.RoutingDomain)
		if err != nil {
			return nil, err
		}
		all = p.SubnetsOf(id)
	}
	return keys(all, func(s tenant.VirtualSubnet) tenant.Key { return tenant.SubnetKey(s.VSID) }, nil), nil
}

func (l listRoutes) selected(p *tenant.Policy, _ tenant.Key) (iter.Seq[tenant.Key], error) {
	all := p.Routes()
	if l.RoutingDomain != "" {
		id, err := domain(p, "query.routing_domain", l.RoutingDomain)
		if err != nil {
			return nil, err
		}
		all = p.RoutesOf(id)
	}
	return keys(all, func(r tenant.CustomerRoute) tenant.Key { return r.Key() }, nil), nil
}

// selected takes the narrowest way to the records, and filters what it finds there.
func (l listRecords) selected(p *tenant.Policy, after tenant.Key) (iter.Seq[tenant.Key], error) {
	var id tenant.RDID
	var vsid tenant.VSID
	var err error
	if l.RoutingDomain != "" {
		if id, err = domain(p, "query.routing_domain", l.RoutingDomain); err != nil {
			return nil, err
		}
	}
	if l.VSID != "" {
		if vsid, err = vsidIn("query.vsid", l.VSID); err != nil {
			return nil, err
		}
	}
	inside, err := l.addresses()
	if err != nil {
		return nil, err
	}
	keep := func(r tenant.LookupRecord) bool {
		return (id == tenant.RDID{} || r.RDID == id) && (vsid == 0 || r.VSID == vsid) && (l.Host == "" || r.Host == l.Host) &&
			(l.VM == "" || r.VM == l.VM) && inside(r.CA)
	}
	key := func(r tenant.LookupRecord) tenant.Key { return r.Key() }
	if l.VM != "" && id != (tenant.RDID{}) {
		return keys(func(yield func(tenant.LookupRecord) bool) {
			if r, ok := p.RecordByVM(id, l.VM); ok {
				yield(r)
			}
		}, key, keep), nil
	}
	if l.Host != "" {
		return keys(p.RecordsOn(l.Host), key, keep), nil
	}
	subnets := p.Subnets()
	if id != (tenant.RDID{}) {
		subnets = p.SubnetsOf(id)
	}
	return func(yield func(tenant.Key) bool) {
		for s := range subnets {
			if s.VSID < after.VSID() || vsid != 0 && s.VSID != vsid {
				continue
			}
			for k := range keys(p.RecordsOf(s.VSID), key, keep) {
				if !yield(k) {
					return
				}
			}
		}
	}, nil
}

// addresses returns what the filter ca lets through.
func (l listRecords) addresses() (func(tenant.CA) bool, error) {
	if l.CA == "" {
		return func(tenant.CA) bool { return true }, nil
	}
	if ca, err := tenant.ParseCA(l.CA); err == nil {
		return func(c tenant.CA) bool { return c == ca }, nil
	}
	p, err := netip.ParsePrefix(l.CA)
	if err != nil {
		return nil, invalid("the request cannot be understood", Fault{Pointer: "query.ca",
			Detail: fmt.Sprintf("is %q: want a customer address such as 10.0.1.11, or a prefix such as 10.0.1.0/24", l.CA)})
	}
	return func(c tenant.CA) bool { return p.Contains(c.Addr()) }, nil
}
