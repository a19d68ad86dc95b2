package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// mostApplies is how many applies are read and checked at once; each may hold a
// whole policy in memory.
const mostApplies = 4

// progressPause is the least time between two lines of progress.
const progressPause = 200 * time.Millisecond

// ApplyMode says what the changes of a request are to the rest of the policy.
type ApplyMode struct {
	Mode string `query:"mode" enum:"apply,replace" default:"apply" doc:"apply: make these changes. replace: the changes put all that there shall be, what they lack is deleted"`
}

func (m ApplyMode) replace() (bool, error) {
	switch m.Mode {
	case "", "apply":
		return false, nil
	case "replace":
		return true, nil
	}
	return false, invalid("the request cannot be understood", Fault{Pointer: "query.mode", Detail: fmt.Sprintf("is %q: want apply or replace", m.Mode)})
}

type applyInput struct {
	Request
	Fence
	ApplyMode
	Accept string `header:"Accept" doc:"application/x-ndjson: report progress while the changes are stored"`
	Prefer string `header:"Prefer" doc:"return=minimal (RFC 7240 section 4.2): the answer has no effective changes, as for who makes thousands in a second"`
}

// minimal reports whether the client wants no list of what it has sent.
func (in *applyInput) minimal() bool { return strings.Contains(in.Prefer, "return=minimal") }

type diffInput struct {
	Request
	ApplyMode
}

type rollbackInput struct {
	Request
	Fence
	To   uint64    `query:"to" doc:"the revision to return to"`
	ToAt time.Time `query:"to_at" doc:"instead: the time to return to (RFC 3339)"`
}

func (s *service) applyOperations(a huma.API) {
	r := a.OpenAPI().Components.Schemas
	changes := changesBody(r)
	apply := s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/apply", OperationID: "apply", Tags: []string{"policy"}, Summary: "Put and delete many objects, all or none",
		Description: "The body has changes as JSON, as one change a line, or is a policy file, which puts all that is in it.",
	})
	apply.Responses["200"] = &huma.Response{Description: "What was changed", Content: map[string]*huma.MediaType{
		mediaJSON:   {Schema: schemaOf[Applied](r)},
		mediaNDJSON: {Schema: schemaOf[ApplyLine](r)},
	}}
	huma.Register(a, apply, s.apply)
	describeBody(a, http.MethodPost, apply.Path, changes)
	diff := s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/diff", OperationID: "diff-request", Tags: []string{"policy"},
		Summary: "Tell what an apply of the same body would change",
	})
	huma.Register(a, diff, s.diffRequest)
	describeBody(a, http.MethodPost, diff.Path, changes)
	huma.Register(a, s.operation(huma.Operation{
		Method: http.MethodPost, Path: "/v1/rollback", OperationID: "rollback", Tags: []string{"policy"},
		Summary: "Make a new revision that holds what an earlier one held",
	}), s.rollback)
}

func changesBody(r huma.Registry) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{
		mediaJSON: {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"changes"}, AdditionalProperties: false, Properties: map[string]*huma.Schema{
			"changes": {Type: huma.TypeArray, Items: schemaOf[Change](r)},
		}}},
		mediaNDJSON: {Schema: schemaOf[Change](r)},
		mediaYAML:   {Schema: &huma.Schema{Description: "a policy file; its schema is docs/policy.schema.json"}},
	}
}

// admit lets a large request in, or says to come later.
func (s *service) admit() (leave func(), err error) {
	select {
	case s.applies <- struct{}{}:
		return func() { <-s.applies }, nil
	default:
		p := problem(http.StatusServiceUnavailable, TypeBusy, fmt.Sprintf("%d applies are under way: try again in a moment", mostApplies))
		p.retryAfter = 1
		return nil, p
	}
}

func (s *service) apply(ctx context.Context, in *applyInput) (*huma.StreamResponse, error) {
	replace, err := in.replace()
	if err != nil {
		return nil, err
	}
	o, err := in.options(in.r)
	if err != nil {
		return nil, err
	}
	leave, err := s.admit()
	if err != nil {
		return nil, err
	}
	changes, err := in.changes()
	if err != nil {
		leave()
		return nil, err
	}
	before := s.backend.Policy()
	run := func(ctx context.Context, progress func(done, total int)) (store.Applied, error) {
		defer leave()
		o := o
		o.Progress = progress
		if !replace {
			return s.backend.Apply(ctx, changes, o)
		}
		return s.replace(ctx, changes, o)
	}
	answer := func(a store.Applied) *Applied {
		if in.minimal() {
			a.Effective = nil
		}
		return appliedOf(a, before, o.DryRun)
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		if strings.Contains(in.Accept, mediaNDJSON) {
			s.streamApply(c, o, answer, run)
			return
		}
		applied, err := run(ctx, nil)
		if err != nil {
			writeProblem(c, refused(ctx, err, o))
			return
		}
		c.SetHeader("Policy-Revision", revisionHeader(applied.Revision))
		writeJSON(c, http.StatusOK, mediaJSON, answer(applied))
	}}, nil
}

// wanted returns the policy that consists of what changes put.
func wanted(changes []tenant.Change) (*tenant.Policy, error) {
	var faults []Fault
	for _, c := range changes {
		if c.IsDelete() {
			faults = append(faults, Fault{Key: c.Key().String(), Detail: "is deleted, in a request that puts all that there shall be: leave it out"})
		}
	}
	if len(faults) > 0 {
		return nil, invalid("the changes cannot replace the policy", faults...)
	}
	p, problems := tenant.Empty().Apply(changes, 0)
	if len(problems) > 0 {
		return nil, &store.InvalidError{Problems: problems}
	}
	return p, nil
}

// replace makes the policy consist of what changes put.
func (s *service) replace(ctx context.Context, changes []tenant.Change, o store.ApplyOptions) (store.Applied, error) {
	want, err := wanted(changes)
	if err != nil {
		return store.Applied{}, err
	}
	given := o.IfRevision
	for try := 1; ; try++ {
		before, err := s.policyAt(ctx, store.At{})
		if err != nil {
			return store.Applied{}, err
		}
		if given == 0 {
			o.IfRevision = before.Revision()
		}
		applied, err := s.backend.Apply(ctx, slices.Collect(tenant.Diff(before, want)), o)
		if errors.Is(err, store.ErrConflict) && given == 0 && try < mostTries && pause(ctx, try) {
			continue
		}
		return applied, err
	}
}

// streamApply answers with progress. The status is only sent with the first of
// it: what fails at once has a status of its own.
func (s *service) streamApply(c huma.Context, o store.ApplyOptions, answer func(store.Applied) *Applied, run func(context.Context, func(done, total int)) (store.Applied, error)) {
	type outcome struct {
		applied store.Applied
		err     error
	}
	ctx := c.Context()
	var latest atomic.Pointer[Progress]
	done := make(chan outcome, 1)
	go func() { // ends when the backend does, which minds ctx
		a, err := run(ctx, func(done, total int) { latest.Store(&Progress{done, total}) })
		done <- outcome{a, err}
	}()
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	started := false
	line := func(l ApplyLine) {
		if !started {
			started = true
			c.SetHeader("Content-Type", mediaNDJSON)
			c.SetStatus(http.StatusOK)
		}
		_ = json.NewEncoder(c.BodyWriter()).Encode(l) // fails only when the reader has gone
		flush(c)
	}
	for {
		select {
		case <-tick.C:
			if p := latest.Swap(nil); p != nil {
				line(ApplyLine{Progress: p})
			}
		case out := <-done:
			if out.err == nil {
				line(ApplyLine{Applied: answer(out.applied)})
				return
			}
			p := refused(ctx, out.err, o)
			if !started {
				writeProblem(c, p)
				return
			}
			line(ApplyLine{Problem: p})
			return
		}
	}
}

func flush(c huma.Context) {
	_, w := humago.Unwrap(c)
	_ = http.NewResponseController(w).Flush()
}

func (s *service) diffRequest(ctx context.Context, in *diffInput) (*diffOutput, error) {
	replace, err := in.replace()
	if err != nil {
		return nil, err
	}
	leave, err := s.admit()
	if err != nil {
		return nil, err
	}
	defer leave()
	changes, err := in.changes()
	if err != nil {
		return nil, err
	}
	before, err := s.policyAt(ctx, store.At{})
	if err != nil {
		return nil, err
	}
	var after *tenant.Policy
	if replace {
		if after, err = wanted(changes); err != nil {
			return nil, problemOf(ctx, err)
		}
	} else {
		var problems []tenant.Problem
		if after, problems = before.Apply(changes, before.Revision()); len(problems) > 0 {
			return nil, problemOf(ctx, &store.InvalidError{Problems: problems})
		}
	}
	return &diffOutput{&Diff{From: before.Revision(), Changes: changesOf(slices.Collect(tenant.Diff(before, after)), before)}}, nil
}

func (s *service) rollback(ctx context.Context, in *rollbackInput) (*appliedOutput, error) {
	o, err := in.options(in.r)
	if err != nil {
		return nil, err
	}
	to := store.At{Revision: in.To, Time: in.ToAt}
	if (to.Revision == 0) == to.Time.IsZero() {
		return nil, invalid("the request does not say where to return to", Fault{Pointer: "query.to", Detail: "want either to=REVISION or to_at=TIME"})
	}
	before := s.backend.Policy()
	applied, err := s.backend.Rollback(ctx, to, o)
	if err != nil {
		return nil, refused(ctx, err, o)
	}
	return &appliedOutput{Status: http.StatusOK, Revision: revisionHeader(applied.Revision), Body: appliedOf(applied, before, o.DryRun)}, nil
}
