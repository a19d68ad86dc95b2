package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Problem is the body of every answer that is an error (RFC 9457,
// application/problem+json).
type Problem struct {
	Type    string  `json:"type" doc:"what a program decides by: nvgre-ofctl: and one of the words in docs/API.md" example:"nvgre-ofctl:invalid"`
	Title   string  `json:"title"`
	Status  int     `json:"status"`
	Detail  string  `json:"detail,omitempty"`
	Errors  []Fault `json:"errors,omitempty" nullable:"false" doc:"all that is wrong, not the first of it only"`
	Omitted int     `json:"omitted,omitempty" doc:"how many more errors there are"`

	retryAfter int // seconds; 0: no advice
}

// Fault is one thing that is wrong in a request.
type Fault struct {
	Key     string   `json:"key,omitempty" doc:"key of the object" example:"records/5001/10.0.1.11"`
	Field   string   `json:"field,omitempty" doc:"field of the object" example:"mac"`
	Pointer string   `json:"pointer,omitempty" doc:"place in the request: a JSON pointer into the body (RFC 6901), a line, or a parameter" example:"#/changes/3"`
	Detail  string   `json:"detail" doc:"what is wrong, and what would be right"`
	Related []string `json:"related,omitempty" nullable:"false" doc:"key and field of what else takes part"`
}

// String returns where and what in one line.
func (f Fault) String() string {
	where := f.Key
	if f.Field != "" {
		where += "/" + f.Field
	}
	if where == "" {
		where = f.Pointer
	}
	text := f.Detail
	if where != "" {
		text = where + ": " + text
	}
	if len(f.Related) > 0 {
		text += " (see " + strings.Join(f.Related, ", ") + ")"
	}
	return text
}

// The types of problems.
const (
	typePrefix      = "nvgre-ofctl:"
	TypeInvalid     = typePrefix + "invalid"     // the request, or the policy that it would make
	TypeReadOnly    = typePrefix + "read-only"   // store.ErrReadOnly
	TypeConflict    = typePrefix + "conflict"    // store.ErrConflict, or If-Match, If-None-Match
	TypeBusy        = typePrefix + "busy"        // store.ErrBusy, or too many at once
	TypeUnavailable = typePrefix + "unavailable" // store.ErrUnavailable
	TypeCompacted   = typePrefix + "compacted"   // store.ErrCompacted
	TypeFuture      = typePrefix + "future"      // store.ErrFuture
	TypeNotFound    = typePrefix + "not-found"   // no such object, host or page
	TypeTooLarge    = typePrefix + "too-large"   // the body
	TypeMediaType   = typePrefix + "media-type"  // the body's Content-Type
	TypeSlow        = typePrefix + "slow"        // the body did not arrive in time; store.ErrSlow
	TypeMethod      = typePrefix + "method"      // not for that path
	TypeInternal    = typePrefix + "internal"    // a fault of the controller
	TypeNoPolicy    = typePrefix + "no-policy"   // none is in force yet
	TypeInterrupted = typePrefix + "interrupted" // the client went away, or the controller ends
)

// mostFaults bounds the errors in one answer.
const mostFaults = 1000

// Error implements error: the detail, then one line for each fault.
func (p *Problem) Error() string {
	lines := []string{p.Detail}
	for _, f := range p.Errors {
		lines = append(lines, f.String())
	}
	if p.Omitted > 0 {
		lines = append(lines, "and "+strconv.Itoa(p.Omitted)+" more")
	}
	return strings.Join(lines, "\n")
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	return h
}

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

// Unwrap lets errors.Is tell a problem by the store's error behind it, on the
// client's side too.
func (p *Problem) Unwrap() error {
	for _, c := range storeErrors() {
		if c.problem == p.Type {
			return c.err
		}
	}
	return nil
}

type storeError struct {
	err        error
	problem    string
	status     int
	retryAfter int
}

func storeErrors() []storeError {
	return []storeError{
		{store.ErrReadOnly, TypeReadOnly, http.StatusConflict, 0},
		{store.ErrConflict, TypeConflict, http.StatusConflict, 0},
		{store.ErrBusy, TypeBusy, http.StatusServiceUnavailable, 1},
		{store.ErrSlow, TypeSlow, http.StatusServiceUnavailable, 1},
		{store.ErrUnavailable, TypeUnavailable, http.StatusServiceUnavailable, 2},
		{store.ErrCompacted, TypeCompacted, http.StatusGone, 0},
		{store.ErrFuture, TypeFuture, http.StatusNotFound, 0},
	}
}

func problem(status int, typ, detail string, faults ...Fault) *Problem {
	p := &Problem{Type: typ, Title: http.StatusText(status), Status: status, Detail: detail, Errors: faults}
	if more := len(faults) - mostFaults; more > 0 {
		p.Errors, p.Omitted = faults[:mostFaults], more
	}
	return p
}

// invalid is the problem of a request that can be read and says what cannot be.
func invalid(detail string, faults ...Fault) *Problem {
	return problem(http.StatusUnprocessableEntity, TypeInvalid, detail, faults...)
}

func faultsOf(problems []tenant.Problem) []Fault {
	faults := make([]Fault, len(problems))
	for i, p := range problems {
		faults[i] = Fault{Detail: p.Message, Related: p.Related}
		faults[i].Key, faults[i].Field = tenant.SplitPath(p.Path)
	}
	return faults
}

// problemOf says an error in the terms of HTTP.
func problemOf(ctx context.Context, err error) *Problem {
	var p *Problem
	var bad *store.InvalidError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &bad):
		return invalid("the changes make no valid policy; nothing was stored", faultsOf(bad.Problems)...)
	}
	for _, c := range storeErrors() {
		if errors.Is(err, c.err) {
			p := problem(c.status, c.problem, err.Error())
			p.retryAfter = c.retryAfter
			return p
		}
	}
	if ctx.Err() != nil {
		return problem(http.StatusServiceUnavailable, TypeInterrupted, "the request was interrupted: look at whether it took effect before trying it again")
	}
	return problem(http.StatusInternalServerError, TypeInternal, err.Error())
}

// transform makes a Problem of the errors that huma itself reports.
func transform(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := problem(m.Status, TypeInvalid, "the request cannot be understood")
	if m.Status >= http.StatusInternalServerError {
		p.Type, p.Detail = TypeInternal, m.Detail
	}
	for _, d := range m.Errors {
		if d != nil {
			p.Errors = append(p.Errors, Fault{Pointer: d.Location, Detail: strings.TrimPrefix(d.Message, "invalid value: ")})
		}
	}
	return p, nil
}
