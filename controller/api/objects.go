package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// mostTries is how often a change that depends on what was there before is
// tried anew, where somebody else changed the policy meanwhile.
const mostTries = 16

type getInput struct {
	Request
	Moment
	IfNoneMatch string `header:"If-None-Match" doc:"an ETag: answer 304 where the object is still that"`
}

type getOutput struct {
	Status   int
	ETag     string `header:"ETag" doc:"changes when the object does"`
	Revision string `header:"Policy-Revision" doc:"the revision that was read"`
	Body     *Object
}

type putInput struct {
	Request
	Fence
	Conditions
}

type deleteInput struct {
	Request
	Fence
	Conditions
}

// Conditions are those of RFC 9110 section 13.1 on the object as it is.
type Conditions struct {
	IfMatch     string `header:"If-Match" doc:"an ETag: the object must still be that, else 412; * for any"`
	IfNoneMatch string `header:"If-None-Match" doc:"*: there must be no such object yet, else 412"`
}

type appliedOutput struct {
	Status   int
	ETag     string `header:"ETag"`
	Revision string `header:"Policy-Revision"`
	Body     *Applied
}

func (s *service) objectOperations(a huma.API) {
	for _, k := range kinds() {
		path := "/v1/" + k.path
		r := a.OpenAPI().Components.Schemas
		schema := k.schema(r)
		op := func(method, verb, summary string) huma.Operation {
			return s.operation(huma.Operation{
				Method: method, Path: path, OperationID: verb + "-" + k.one, Tags: []string{"objects"},
				Summary: summary + " " + k.words, Parameters: k.parameters(),
			})
		}
		get := op(http.MethodGet, "get", "Read")
		get.Responses["200"] = &huma.Response{Description: "The object; its ETag is for If-Match", Content: map[string]*huma.MediaType{mediaJSON: {Schema: schema}}}
		get.Responses["304"] = &huma.Response{Description: "It is still what If-None-Match says"}
		huma.Register(a, get, s.get)
		huma.Register(a, op(http.MethodPut, "put", "Make or replace"), s.put)
		describeBody(a, http.MethodPut, path, map[string]*huma.MediaType{mediaJSON: {Schema: schema}})
		huma.Register(a, op(http.MethodDelete, "delete", "Delete"), s.delete)
	}
}

// etag names the state of an object. Two states with one text are one state.
func etag(o tenant.Object) string {
	text, err := o.MarshalJSON()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches reports whether a header If-Match or If-None-Match lists the tag.
func matches(header, tag string) bool {
	for _, t := range strings.Split(header, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

func notFound(k tenant.Key, revision uint64) *Problem {
	return problem(http.StatusNotFound, TypeNotFound, fmt.Sprintf("there is no %s at revision %d", k, revision), Fault{Key: k.String(), Detail: "is not there"})
}

func (s *service) get(ctx context.Context, in *getInput) (*getOutput, error) {
	k, err := in.keyInPath()
	if err != nil {
		return nil, err
	}
	at, err := in.at()
	if err != nil {
		return nil, err
	}
	p, err := s.policyAt(ctx, at)
	if err != nil {
		return nil, err
	}
	o, ok := p.Object(k)
	if !ok {
		return nil, notFound(k, p.Revision())
	}
	out := &getOutput{Status: http.StatusOK, ETag: etag(o), Revision: revisionHeader(p.Revision()), Body: &Object{o}}
	if in.IfNoneMatch != "" && matches(in.IfNoneMatch, out.ETag) {
		out.Status, out.Body = http.StatusNotModified, nil
	}
	return out, nil
}

func (s *service) put(ctx context.Context, in *putInput) (*appliedOutput, error) {
	k, err := in.keyInPath()
	if err != nil {
		return nil, err
	}
	o, err := in.object(k)
	if err != nil {
		return nil, err
	}
	out, err := s.change(ctx, &in.Request, tenant.Put(o), in.Fence, in.Conditions)
	if err == nil {
		out.ETag = etag(tenant.Put(o).Object())
	}
	return out, err
}

func (s *service) delete(ctx context.Context, in *deleteInput) (*appliedOutput, error) {
	k, err := in.keyInPath()
	if err != nil {
		return nil, err
	}
	return s.change(ctx, &in.Request, tenant.Delete(k), in.Fence, in.Conditions)
}

// change makes one change under conditions. Conditions on the object are checked
// at a revision that must then be the one in force before.
func (s *service) change(ctx context.Context, q *Request, c tenant.Change, f Fence, cond Conditions) (*appliedOutput, error) {
	o, err := f.options(q.r)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		before, err := s.policyAt(ctx, store.At{})
		if err != nil {
			return nil, err
		}
		fenced := o
		if cond != (Conditions{}) {
			if err := cond.check(c.Key(), before); err != nil {
				return nil, err
			}
			if fenced.IfRevision == 0 {
				fenced.IfRevision = before.Revision()
			}
		}
		applied, err := s.backend.Apply(ctx, []tenant.Change{c}, fenced)
		switch {
		case err == nil:
			status := http.StatusOK
			if _, was := before.Object(c.Key()); !was && !c.IsDelete() && !o.DryRun && len(applied.Effective) > 0 {
				status = http.StatusCreated
			}
			return &appliedOutput{Status: status, Revision: revisionHeader(applied.Revision), Body: appliedOf(applied, before, o.DryRun)}, nil
		case errors.Is(err, store.ErrConflict) && o.IfRevision == 0 && try < mostTries && pause(ctx, try):
			continue // somebody changed the policy, most likely another object
		}
		return nil, refused(ctx, err, o)
	}
}

// pause waits for the policy to arrive here that the last try conflicted with.
func pause(ctx context.Context, try int) bool {
	select {
	case <-time.After(time.Duration(try) * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

func (c Conditions) check(k tenant.Key, p *tenant.Policy) error {
	o, ok := p.Object(k)
	tag := ""
	if ok {
		tag = etag(o)
	}
	failed := func(detail string) error {
		return problem(http.StatusPreconditionFailed, TypeConflict, detail, Fault{Key: k.String(), Detail: detail})
	}
	switch {
	case c.IfMatch != "" && !ok:
		return failed("If-Match: there is no such object: leave the header out to make it")
	case c.IfMatch != "" && !matches(c.IfMatch, tag):
		return failed(fmt.Sprintf("If-Match: the object has changed, its ETag is %s now: read it again", tag))
	case c.IfNoneMatch != "" && ok && matches(c.IfNoneMatch, tag):
		return failed("If-None-Match: the object is there already")
	}
	return nil
}

// appliedOf returns an outcome with the objects as they were in the policy that
// was in force when the request came.
func appliedOf(a store.Applied, before *tenant.Policy, dry bool) *Applied {
	return &Applied{Head: headOf(a.Head), DryRun: dry, Effective: changesOf(a.Effective, before)}
}
