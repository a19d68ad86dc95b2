package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

type revisionsInput struct {
	Limit uint64 `query:"limit" minimum:"1" maximum:"10000" default:"500" doc:"the most that are listed"`
}

type revisionsOutput struct{ Body *Revisions }

type revisionDiffInput struct {
	From   uint64 `query:"from" doc:"a revision; default: the one in force"`
	To     uint64 `query:"to" doc:"a revision; default: the one in force"`
	Before bool   `query:"before" doc:"show objects as they were before, too"`
}

type diffOutput struct{ Body *Diff }

type historyInput struct {
	Key           string `query:"key" doc:"key of an object" example:"records/5001/10.0.1.11"`
	CA            string `query:"ca" doc:"instead of key, with routing_domain: a customer address, whatever its virtual subnets were"`
	RoutingDomain string `query:"routing_domain" doc:"name or RDID; one that is gone is named by its RDID"`
	Limit         uint64 `query:"limit" minimum:"1" maximum:"10000" default:"500" doc:"the most states that are listed"`
}

type historyOutput struct{ Body *History }

type policyInput struct{ Moment }

type policyOutput struct {
	ContentType string `header:"Content-Type"`
	Revision    string `header:"Policy-Revision"`
	Body        []byte
}

func (s *service) historyOperations(a huma.API) {
	op := func(path, id, summary string) huma.Operation {
		return s.operation(huma.Operation{Method: http.MethodGet, Path: "/v1/" + path, OperationID: id, Tags: []string{"history"}, Summary: summary})
	}
	huma.Register(a, op("revisions", "list-revisions", "List the revisions that are kept, the newest first"), s.revisions)
	huma.Register(a, op("diff", "diff", "Tell what changed between two revisions"), s.diff)
	huma.Register(a, op("history", "history", "Tell what an object was, or who had a customer address, and when"), s.history)
	policy := op("policy", "get-policy", "Read the whole policy, as a policy file")
	policy.Responses["200"] = &huma.Response{Description: "A policy file, which POST /v1/apply?mode=replace takes", Content: map[string]*huma.MediaType{
		mediaYAML: {Schema: &huma.Schema{Description: "a policy file; its schema is docs/policy.schema.json"}},
	}}
	huma.Register(a, policy, s.policy)
}

func (s *service) revisions(ctx context.Context, in *revisionsInput) (*revisionsOutput, error) {
	limit, err := Paging{Limit: in.Limit}.limit()
	if err != nil {
		return nil, err
	}
	heads, err := s.backend.Heads(ctx, limit)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	out := &Revisions{Revisions: make([]Head, len(heads))}
	for i, h := range heads {
		out.Revisions[i] = headOf(h)
	}
	return &revisionsOutput{out}, nil
}

func (s *service) diff(ctx context.Context, in *revisionDiffInput) (*diffOutput, error) {
	now, err := s.policyAt(ctx, store.At{})
	if err != nil {
		return nil, err
	}
	from, to := in.From, in.To
	if from == 0 {
		from = now.Revision()
	}
	if to == 0 {
		to = now.Revision()
	}
	difference, revisions, err := s.backend.Diff(ctx, store.At{Revision: from}, store.At{Revision: to})
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	changes := slices.Collect(difference)
	var before *tenant.Policy
	if in.Before && len(changes) > 0 {
		if before, err = s.policyAt(ctx, store.At{Revision: from}); err != nil {
			return nil, err
		}
	}
	return &diffOutput{&Diff{From: revisions[0], To: revisions[1], Changes: changesOf(changes, before)}}, nil
}

func (s *service) history(ctx context.Context, in *historyInput) (*historyOutput, error) {
	limit, err := Paging{Limit: in.Limit}.limit()
	if err != nil {
		return nil, err
	}
	var versions []Version
	switch {
	case in.Key != "" && in.CA == "" && in.RoutingDomain == "":
		k, err := ParseKey(in.Key)
		if err != nil {
			return nil, invalid("the request names no object", Fault{Pointer: "query.key", Detail: err.Error()})
		}
		all, err := s.backend.History(ctx, k, limit)
		if err != nil {
			return nil, problemOf(ctx, err)
		}
		versions = versionsOf(k, all)
	case in.Key == "" && in.CA != "" && in.RoutingDomain != "":
		ca, err := tenant.ParseCA(in.CA)
		if err != nil {
			return nil, invalid("the request names no object", Fault{Pointer: "query.ca", Detail: err.Error()})
		}
		p, err := s.policyAt(ctx, store.At{})
		if err != nil {
			return nil, err
		}
		id, err := domain(p, "query.routing_domain", in.RoutingDomain)
		if err != nil {
			return nil, err
		}
		if versions, err = s.recordHistory(ctx, p, id, ca, limit); err != nil {
			return nil, problemOf(ctx, err)
		}
	default:
		return nil, invalid("the request does not say whose history is wanted", Fault{Pointer: "query", Detail: "want key, or ca with routing_domain"})
	}
	return &historyOutput{&History{versions}}, nil
}

// recordHistory tells who had an address in a routing domain. Virtual subnets
// come and go, and may move from one routing domain to another.
func (s *service) recordHistory(ctx context.Context, now *tenant.Policy, id tenant.RDID, ca tenant.CA, limit int) ([]Version, error) {
	subnets, err := s.backend.KeysEver(ctx, tenant.KindSubnet, "")
	if err != nil {
		return nil, err
	}
	versions := []Version{}
	for _, k := range subnets {
		record := tenant.RecordKey(k.VSID(), ca)
		// Most subnets never had the address, and history costs more than a look.
		near, err := s.backend.KeysEver(ctx, tenant.KindRecord, fmt.Sprintf("%s/%s", k.VSID(), ca))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(near, record) { // 10.0.0.1 is near 10.0.0.11
			continue
		}
		was, err := s.subnetWasIn(ctx, now, k, id)
		if err != nil {
			return nil, err
		}
		if was == nil {
			continue
		}
		states, err := s.backend.History(ctx, record, limit)
		if err != nil {
			return nil, err
		}
		for _, v := range versionsOf(record, states) {
			if was(v.Revision) {
				versions = append(versions, v)
			}
		}
	}
	slices.SortStableFunc(versions, func(a, b Version) int { return cmp.Compare(b.Revision, a.Revision) })
	return versions[:min(len(versions), limit)], nil
}

// subnetWasIn returns a function that tells whether a virtual subnet was in a
// routing domain at a revision; nil where it never was.
func (s *service) subnetWasIn(ctx context.Context, now *tenant.Policy, k tenant.Key, id tenant.RDID) (func(revision uint64) bool, error) {
	states, err := s.backend.History(ctx, k, maxLimit) // few: a subnet seldom changes
	if err != nil {
		return nil, err
	}
	in := func(v store.Version) bool {
		o, ok := v.Object.(tenant.SubnetObject)
		return ok && o.RDID == id
	}
	if sub, ok := now.Subnet(k.VSID()); !slices.ContainsFunc(states, in) && (!ok || sub.RDID != id) {
		return nil, nil
	}
	return func(revision uint64) bool {
		for i, v := range states { // the newest first
			if v.Revision <= revision {
				// A subnet and its records may go in one revision: then what it was before counts.
				return in(v) || v.Object == nil && i+1 < len(states) && in(states[i+1])
			}
		}
		return len(states) == 0 || in(states[len(states)-1])
	}, nil
}

// versionsOf says of each state of an object how long it lasted.
func versionsOf(k tenant.Key, states []store.Version) []Version {
	out := make([]Version, len(states))
	for i, v := range states {
		out[i] = Version{Head: headOf(v.Head), Key: k.String()}
		if v.Object != nil {
			out[i].Object = &Object{v.Object}
		}
		if i > 0 {
			until := out[i-1].Time
			out[i].Until = &until
		}
	}
	return out
}

func (s *service) policy(ctx context.Context, in *policyInput) (*policyOutput, error) {
	at, err := in.at()
	if err != nil {
		return nil, err
	}
	p, err := s.policyAt(ctx, at)
	if err != nil {
		return nil, err
	}
	leave, err := s.admit()
	if err != nil {
		return nil, err
	}
	defer leave()
	text, err := policyfile.Marshal(p)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	return &policyOutput{mediaYAML, revisionHeader(p.Revision()), text}, nil
}
