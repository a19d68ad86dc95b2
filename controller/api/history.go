package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

type revisionsInput struct{ Paging }

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
	limit, err := in.limit()
	if err != nil {
		return nil, err
	}
	var t token
	if in.Continue != "" {
		if t, err = parseToken(in.Continue); err != nil {
			return nil, err
		}
	}
	heads, err := s.backend.Heads(ctx, t.Revision, limit)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	out := &Revisions{Revisions: make([]Head, len(heads))}
	for i, h := range heads {
		out.Revisions[i] = headOf(h)
	}
	if n := len(heads); n > 0 && n == limit {
		out.Continue = token{Revision: heads[n-1].Revision}.String()
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
	changes, err := s.backend.Diff(ctx, store.At{Revision: from}, store.At{Revision: to})
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	var before *tenant.Policy
	if in.Before && len(changes) > 0 {
		if before, err = s.policyAt(ctx, store.At{Revision: from}); err != nil {
			return nil, err
		}
	}
	return &diffOutput{&Diff{From: from, To: to, Changes: changesOf(changes, before)}}, nil
}

func (s *service) history(ctx context.Context, in *historyInput) (*historyOutput, error) {
	var versions []store.Version
	var key tenant.Key
	switch {
	case in.Key != "" && in.CA == "" && in.RoutingDomain == "":
		k, err := looseKey(in.Key)
		if err != nil {
			return nil, invalid("the request names no object", Fault{Pointer: "query.key", Detail: err.Error()})
		}
		key = k
		if versions, err = s.backend.History(ctx, k); err != nil {
			return nil, problemOf(ctx, err)
		}
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
		if versions, err = s.backend.RecordHistory(ctx, id, ca); err != nil {
			return nil, problemOf(ctx, err)
		}
	default:
		return nil, invalid("the request does not say whose history is wanted", Fault{Pointer: "query", Detail: "want key, or ca with routing_domain"})
	}
	return &historyOutput{&History{versionsOf(key, versions)}}, nil
}

// versionsOf says of each state how long it lasted.
func versionsOf(key tenant.Key, versions []store.Version) []Version {
	out := make([]Version, len(versions))
	last := map[string]int{} // the state of each key that has no end yet
	for i, v := range versions {
		k := key
		if v.Object != nil {
			k = v.Object.Key()
		} else if k == (tenant.Key{}) {
			k = v.Key
		}
		out[i] = Version{Head: headOf(v.Head), Key: k.String()}
		if v.Object != nil {
			out[i].Object = &Object{v.Object}
		}
		if j, ok := last[out[i].Key]; ok {
			end := out[i].Time
			out[j].Until = &end
		}
		last[out[i].Key] = i
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
