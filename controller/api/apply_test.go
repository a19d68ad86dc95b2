package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

const (
	ndjson = "application/x-ndjson"
	yaml   = "application/yaml"
)

func TestApplyForms(t *testing.T) {
	put := `{"op": "put", "key": "records/5001/10.0.1.19", "object": ` + web9 + `}`
	del := `{"op": "delete", "key": "records/5001/10.0.1.13"}`
	for name, c := range map[string][2]string{
		"JSON":  {"application/json", `{"changes": [` + put + `, ` + del + `]}`},
		"lines": {ndjson, put + "\n\n" + del + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t)
			a := decode[api.Applied](t, f.do("POST", "/v1/apply?comment=why", c[1], "Content-Type", c[0]))
			if len(a.Effective) != 2 || a.Changes != 2 || a.Comment != "why" || a.Author == "" || a.Revision != f.backend.Policy().Revision() {
				t.Errorf("%+v", a)
			}
			f.do("GET", "/v1/records/5001/10.0.1.13", "").want(t, 404)
			d := decode[api.Diff](t, f.do("POST", "/v1/diff", c[1], "Content-Type", c[0]))
			if len(d.Changes) != 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// With Prefer: return=minimal an answer tells how many changes made a difference,
// not which.
func TestApplyMinimal(t *testing.T) {
	f := serve(t)
	body := `{"op": "delete", "key": "records/5001/10.0.1.13"}`
	a := decode[api.Applied](t, f.do("POST", "/v1/apply", body, "Content-Type", ndjson, "Prefer", "return=minimal"))
	if len(a.Effective) != 0 || a.Changes != 1 || a.Revision != f.backend.Policy().Revision() {
		t.Errorf("%+v", a)
	}
}

// A policy file puts what it has; with mode=replace that is all there is.
func TestApplyPolicyFile(t *testing.T) {
	f := serve(t)
	text := f.do("GET", "/v1/policy", "")
	if text.want(t, 200, "version: 1"); text.header.Get("Content-Type") != yaml {
		t.Error(text.header)
	}
	less := strings.Replace(text.body, "          - {vm: roam, ca: 10.0.1.13, mac: 02:b0:00:00:01:13}\n", "", 1)
	f.do("POST", "/v1/apply", less, "Content-Type", yaml).want(t, 200, `"effective":[]`)
	f.do("POST", "/v1/diff?mode=replace", less, "Content-Type", yaml).want(t, 200, `"op":"delete"`, `"before":{"vsid":5001,"ca":"10.0.1.13"`)
	f.do("POST", "/v1/apply?mode=replace&dry_run=true", less, "Content-Type", "text/yaml").want(t, 200, `"dry_run":true`)
	f.do("POST", "/v1/apply?mode=replace", less, "Content-Type", yaml).want(t, 200, `"op":"delete","key":"records/5001/10.0.1.13"`)
	if n := f.backend.Policy().NumRecords(); n != 4 {
		t.Errorf("%d records", n)
	}
	f.do("POST", "/v1/apply?mode=replace", text.body, "Content-Type", yaml).want(t, 200)
	f.do("POST", "/v1/apply", strings.Replace(text.body, "vsid: 5001", "vsid: 7\n        vsdi: 6", 1), "Content-Type", yaml).want(t, 422, "vsdi", "routing_domains[0].subnets[0].vsid")
}

func TestBadApplies(t *testing.T) {
	f := serve(t)
	before := f.backend.Policy().Revision()
	js := "application/json"
	for name, c := range map[string]struct {
		query, media, body string
		status             int
		says               []string
	}{
		"all at once": {"", js, `{"changes": [{"op": "put", "key": "records/5001/10.0.1.19", "object": {"vm": 5, "mac": "x"}},
			{"op": "put", "key": "records/5001/010.0.1.19"}, {"op": "del", "key": "hosts/h1"}, 7, {"op": "delete", "op": "put", "key": "hosts/h1", "objekt": {}}, {"op": "delete", "key": "hosts/h1", "object": {}}]}`,
			422, []string{`"field":"vm"`, `"field":"mac"`, "#/changes/1/key", "#/changes/2/op", "#/changes/3", "#/changes/4/op", "objekt", "#/changes/5/object"}},
		"policy of many faults": {"", js, `{"changes": [{"op": "delete", "key": "subnets/6001"}, {"op": "put", "key": "records/9001/10.0.1.1", "object": {"vm": "a", "mac": "02:00:00:00:00:01"}}]}`,
			422, []string{"still has 1 record", "subnet 9001 is unknown", "nothing was stored"}},
		"one object twice":    {"", js, `{"changes": [{"op": "delete", "key": "hosts/h1"}, {"op": "delete", "key": "hosts/h1"}]}`, 422, []string{"changed twice"}},
		"unknown key":         {"", js, `{"changes": [], "dry_run": true}`, 422, []string{`unknown key \"dry_run\"`}},
		"changes twice":       {"", js, `{"changes": [], "changes": []}`, 422, []string{"given twice"}},
		"no changes":          {"", js, `{}`, 422, []string{"#/changes", "missing"}},
		"no object":           {"", js, `[]`, 400, []string{`want {\"changes\"`}},
		"no list":             {"", js, `{"changes": {}}`, 400, []string{"is no list"}},
		"cut short":           {"", js, `{"changes": [{"op": "del`, 400, []string{"#/changes/0", "ends too early"}},
		"surplus":             {"", js, `{"changes": []} {}`, 400, []string{"after the JSON object"}},
		"bad line":            {"", ndjson, "{\"op\": \"delete\", \"key\": \"hosts/h9\"}\n{\"op\"\n", 422, []string{"line 2"}},
		"long line":           {"", ndjson, strings.Repeat("x", api.MaxObject+1), 400, []string{"line 1", "longer than"}},
		"two in a line":       {"", ndjson, `{"op": "delete", "key": "hosts/h9"} {}`, 422, []string{"line 1", "want one change"}},
		"type":                {"", "text/plain", `{}`, 415, []string{"application/json or application/x-ndjson or application/yaml"}},
		"mode":                {"?mode=merge", js, `{"changes": []}`, 422, []string{"want apply or replace"}},
		"delete in a replace": {"?mode=replace", js, `{"changes": [{"op": "delete", "key": "hosts/h1"}]}`, 422, []string{"hosts/h1", "leave it out"}},
		"invalid replace":     {"?mode=replace", js, `{"changes": [{"op": "put", "key": "subnets/6001", "object": {"rdid": "` + red + `", "prefixes": ["10.0.0.0/24"]}}]}`, 422, []string{"subnets/6001"}},
		"other revision":      {"?if_revision=2", js, `{"changes": [{"op": "delete", "key": "hosts/h9"}]}`, 412, []string{"in force is 4"}},
		"no YAML":             {"", yaml, "a: [", 422, []string{"policy:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := *f
			g.t = t
			g.do("POST", "/v1/apply"+c.query, c.body, "Content-Type", c.media).want(t, c.status, c.says...)
		})
	}
	if f.backend.Policy().Revision() != before {
		t.Error("something was stored")
	}
}

func TestManyFaultsAreCounted(t *testing.T) {
	f := serve(t)
	var body strings.Builder
	for range 1500 {
		body.WriteString("{}\n")
	}
	p := f.do("POST", "/v1/apply", body.String(), "Content-Type", ndjson).want(t, 422)
	if len(p.Errors) != 1000 || p.Omitted != 2000 {
		t.Errorf("%d errors, %d omitted", len(p.Errors), p.Omitted)
	}
}

// The store's errors are said in the terms of HTTP, and reading goes on.
func TestErrorsOfTheStore(t *testing.T) {
	f := serve(t)
	for _, c := range []struct {
		err    error
		status int
		typ    string
		retry  string
	}{
		{store.ErrReadOnly, 409, api.TypeReadOnly, ""},
		{store.ErrConflict, 409, api.TypeConflict, ""},
		{fmt.Errorf("%w: by somebody", store.ErrBusy), 503, api.TypeBusy, "1"},
		{store.ErrUnavailable, 503, api.TypeUnavailable, "2"},
		{errors.New("out of luck"), 500, api.TypeInternal, ""},
	} {
		f.backend.Fail(c.err)
		for _, do := range []func() answer{
			func() answer { return f.do("PUT", "/v1/records/5001/10.0.1.19", web9) },
			func() answer { return f.do("DELETE", "/v1/hosts/h1", "") },
			func() answer { return f.do("POST", "/v1/apply", `{"changes": []}`) },
			func() answer { return f.do("POST", "/v1/apply", `{"changes": []}`, "Accept", ndjson) },
			func() answer { return f.do("POST", "/v1/rollback?to=1", "") },
		} {
			a := do()
			p := a.want(t, c.status, c.err.Error())
			if p.Type != c.typ || a.header.Get("Retry-After") != c.retry {
				t.Errorf("%v: %+v %v", c.err, p, a.header)
			}
			if c.typ != api.TypeInternal && !errors.Is(p, errors.Unwrap(fmt.Errorf("%w", c.err))) && !errors.Is(c.err, errors.Unwrap(p)) {
				t.Errorf("the problem is not %v", c.err)
			}
		}
		f.do("GET", "/v1/hosts/h1", "").want(t, 200)
		f.do("GET", "/v1/records", "").want(t, 200)
	}
}

// With Accept: application/x-ndjson an apply says how far it is.
func TestApplyProgress(t *testing.T) {
	f := serve(t)
	half, goOn := make(chan struct{}), make(chan struct{})
	f.backend.Slow(func(_ context.Context, o store.ApplyOptions) error {
		o.Progress(1, 2)
		close(half)
		<-goOn
		return nil
	})
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://api/v1/apply", strings.NewReader(`{"changes": [{"op": "delete", "key": "records/5001/10.0.1.13"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", ndjson)
	resp, err := f.http.Do(r) // returns with the first line, while the apply stands
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	<-half
	dec := json.NewDecoder(resp.Body)
	var line api.ApplyLine
	if err := dec.Decode(&line); err != nil || line.Progress == nil || *line.Progress != (api.Progress{Done: 1, Total: 2}) || resp.StatusCode != 200 {
		t.Errorf("%v: %+v", err, line)
	}
	close(goOn)
	for line.Applied == nil {
		line = api.ApplyLine{}
		if err := dec.Decode(&line); err != nil || line.Problem != nil {
			t.Fatal(err, line.Problem)
		}
	}
	if len(line.Applied.Effective) != 1 {
		t.Errorf("%+v", line.Applied)
	}
}

// A client that goes away takes its apply with it, and only so many are at it.
func TestAppliesAreBounded(t *testing.T) {
	f := serve(t)
	const most = 4
	started := make(chan struct{}, most)
	f.backend.Slow(func(ctx context.Context, _ store.ApplyOptions) error {
		started <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range most {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", "http://api/v1/apply", strings.NewReader(`{"changes": []}`))
			if resp, err := f.http.Do(r); err == nil {
				resp.Body.Close()
				t.Error("an answer to an apply that cannot end")
			}
		})
	}
	for range most {
		<-started
	}
	busy := f.do("POST", "/v1/apply", `{"changes": []}`)
	if p := busy.want(t, 503); p.Type != api.TypeBusy || busy.header.Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
	cancel()
	all.Wait()
	f.backend.Slow(nil)
	for { // the server notices by and by
		if a := f.do("POST", "/v1/apply", `{"changes": []}`); a.status == 200 {
			break
		}
	}
}

// Two who replace the policy at once both do, one after the other.
func TestReplacesMeet(t *testing.T) {
	f := serve(t)
	text := f.do("GET", "/v1/policy", "").body
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			g := *f
			g.do("POST", "/v1/apply?mode=replace", strings.Replace(text, "vm: roam", fmt.Sprintf("vm: roam%d", i), 1), "Content-Type", yaml).want(t, 200)
		})
	}
	for i := range 50 {
		apply(t, f.backend, tenant.Put(object(t, "records/6001/10.0.1.20", fmt.Sprintf(`{"vm": "n%d", "mac": "02:b0:00:00:07:07"}`, i))))
	}
	all.Wait()
	if n := f.backend.Policy().NumRecords(); n < 5 || n > 6 {
		t.Errorf("%d records", n)
	}
}

func TestRollback(t *testing.T) {
	f := serve(t)
	p := f.backend.Policy()
	apply(t, f.backend, tenant.Delete(key(t, "records/5001/10.0.1.13")))
	f.do("POST", "/v1/rollback", "").want(t, 422, "either to=REVISION")
	f.do("POST", "/v1/rollback?to=999", "").want(t, 404)
	f.do("POST", fmt.Sprintf("/v1/rollback?to=%d&if_revision=1", p.Revision()), "").want(t, 412)
	f.do("POST", fmt.Sprintf("/v1/rollback?to=%d&comment=sorry", p.Revision()), "").want(t, 200, `"op":"put"`, `"comment":"sorry"`)
	if !f.backend.Policy().Equal(p) {
		t.Error("not what it was")
	}
}
