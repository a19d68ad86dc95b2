package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// service answers requests.
type service struct {
	backend   Backend
	status    StatusSource
	snapshots snapshots
	applies   chan struct{} // holds one for each apply under way
	watches   chan struct{} // and for each watch
	heartbeat time.Duration
	// sendTimeout is how long a watcher may take to receive one event.
	sendTimeout time.Duration
	ending      context.Context // watches end with it
}

func newService(ending context.Context, b Backend, s StatusSource) *service {
	return &service{backend: b, status: s, applies: make(chan struct{}, mostApplies), watches: make(chan struct{}, mostWatches), heartbeat: heartbeat, sendTimeout: sendTimeout, ending: ending}
}

// handler returns the handler of all requests, and the document of the API.
func (s *service) handler(version string) (http.Handler, *huma.OpenAPI) {
	mux := http.NewServeMux()
	a := humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "nvgre-ofctl", Version: version,
				Description: "The controller's policy and status. An object is at /v1/ and the text of its key. All answers that are errors are Problem, application/problem+json. See docs/API.md."},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName)},
		},
		Formats:       map[string]huma.Format{mediaJSON: huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: mediaJSON,
		Transformers:  []huma.Transformer{transform},
	})
	a.UseMiddleware(knownParameters)
	schemaOf[Problem](a.OpenAPI().Components.Schemas)
	s.objectOperations(a)
	s.listOperations(a)
	s.applyOperations(a)
	s.watchOperation(a)
	s.historyOperations(a)
	s.statusOperations(a)
	document := a.OpenAPI()
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // transform makes a Problem of them
		delete(document.Components.Schemas.Map(), unused)
	}
	text, err := document.MarshalJSON()
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json")
		_, _ = w.Write(text) // fails only when the reader has gone
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { nowhere(mux, w, r) })
	return mux, document
}

// nowhere answers requests that no operation is for.
func nowhere(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = m
		if _, pattern := mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, m)
		}
	}
	p := problem(http.StatusNotFound, TypeNotFound, fmt.Sprintf("there is nothing at %s: see /openapi.json for what there is", r.URL.Path))
	if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
		p = problem(http.StatusMethodNotAllowed, TypeMethod, fmt.Sprintf("%s is not for %s: want %s", r.Method, r.URL.Path, strings.Join(allowed, " or ")))
		w.Header().Set("Allow", strings.Join(allowed, ", "))
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // fails only when the reader has gone
}

// knownParameters refuses a request with a parameter that the operation does not
// have, or that is there twice: a filter that is misspelt would filter nothing,
// and a misspelt dry_run would be none.
func knownParameters(c huma.Context, next func(huma.Context)) {
	u := c.URL()
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		writeProblem(c, invalid("the request cannot be understood", Fault{Pointer: "query", Detail: err.Error()}))
		return
	}
	var names []string
	for _, p := range c.Operation().Parameters {
		if p.In == "query" {
			names = append(names, p.Name)
		}
	}
	var faults []Fault
	for _, name := range slices.Sorted(maps.Keys(given)) {
		f := Fault{Pointer: "query." + name}
		switch {
		case !slices.Contains(names, name) && len(names) == 0:
			f.Detail = "is no parameter: there are none here"
		case !slices.Contains(names, name):
			f.Detail = "is no parameter: want " + strings.Join(names, ", ")
		case len(given[name]) > 1:
			f.Detail = "is given twice: want it once"
		default:
			continue
		}
		faults = append(faults, f)
	}
	if len(faults) > 0 {
		writeProblem(c, invalid("the request cannot be understood", faults...))
		return
	}
	next(c)
}

// operation completes the declaration of an operation.
func (s *service) operation(op huma.Operation) huma.Operation {
	// What a parameter is, is checked where it is read: huma would report text
	// that is a number as no number.
	op.SkipValidateParams = true
	op.Responses = map[string]*huma.Response{"default": {
		Description: "Error",
		Content:     map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
	}}
	return op
}

// describeBody says what the body of an operation is. It is said after the
// operation is registered: huma reads, buffers and checks what it knows of
// before, and the bodies here are read strictly and as streams.
func describeBody(a huma.API, method, path string, content map[string]*huma.MediaType) {
	item := a.OpenAPI().Paths[path]
	op := item.Post
	if method == http.MethodPut {
		op = item.Put
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: content}
}

func schemaOf[T any](r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}

// writeJSON answers with a value, as a whole.
func writeJSON(c huma.Context, status int, media string, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		status, media = http.StatusInternalServerError, problemType
		b.Reset()
		_ = e.Encode(problem(status, TypeInternal, err.Error()))
	}
	c.SetHeader("Content-Type", media)
	c.SetStatus(status)
	_, _ = c.BodyWriter().Write(b.Bytes()) // fails only when the reader has gone
}

func writeProblem(c huma.Context, p *Problem) {
	for k, vs := range p.GetHeaders() {
		for _, v := range vs {
			c.SetHeader(k, v)
		}
	}
	writeJSON(c, p.Status, problemType, p)
}
