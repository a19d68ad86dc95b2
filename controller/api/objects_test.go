package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

func apply(t testing.TB, b *apitest.Backend, changes ...tenant.Change) store.Applied {
	t.Helper()
	a, err := b.Apply(t.Context(), changes, store.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const web9 = `{"vm": "web9", "mac": "02:b0:00:00:01:99", "host": "h2"}`

// Every object of a policy is at its key, and can be put back as it was read.
func TestObjectsAreAtTheirKeys(t *testing.T) {
	f := serve(t)
	apply(t, f.backend, tenant.Put(tenant.HostObject{Name: "a/b ü..", ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA("10.99.0.9"))}}}),
		tenant.Put(tenant.GatewayMAC{MAC: must(tenant.ParseMAC("02:00:00:00:00:77"))}))
	p := f.backend.Policy()
	n := 0
	for o := range p.Objects() {
		n++
		path := "/v1/" + o.Key().String()
		got := f.do("GET", path, "")
		got.want(t, 200)
		if text, _ := o.MarshalJSON(); strings.TrimSpace(got.body) != string(text) {
			t.Errorf("%s: got %s, want %s", path, got.body, text)
		}
		again := f.do("PUT", path, got.body, "Content-Type", "application/json", "If-Match", got.header.Get("ETag"))
		again.want(t, 200, `"effective":[]`)
		f.do("GET", path, "", "If-None-Match", got.header.Get("ETag")).want(t, 304)
	}
	if n != 15 {
		t.Errorf("%d objects", n)
	}
	if f.backend.Policy().Revision() != p.Revision() {
		t.Error("what was there already made a revision")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPutIsIdempotentAndDeleteToo(t *testing.T) {
	f := serve(t)
	path := "/v1/records/5001/10.0.1.19"
	first := f.do("PUT", path, web9, "Content-Type", "application/json")
	first.want(t, 201, `"op":"put"`, `"vm":"web9"`)
	f.do("PUT", path, web9).want(t, 200, `"effective":[]`)
	changed := f.do("PUT", path, strings.Replace(web9, "h2", "h1", 1))
	changed.want(t, 200, `"before":{"vsid":5001,"ca":"10.0.1.19","vm":"web9","mac":"02:b0:00:00:01:99","host":"h2"}`)
	if first.header.Get("ETag") == changed.header.Get("ETag") || first.header.Get("Policy-Revision") == changed.header.Get("Policy-Revision") {
		t.Error("a change is not seen in ETag and Policy-Revision")
	}
	f.do("DELETE", path, "").want(t, 200, `"op":"delete"`)
	f.do("DELETE", path, "").want(t, 200, `"effective":[]`)
	f.do("GET", path, "").want(t, 404, "records/5001/10.0.1.19")
	f.do("GET", path+"?revision="+first.header.Get("Policy-Revision"), "").want(t, 200, "web9")
}

func TestConditions(t *testing.T) {
	f := serve(t)
	path := "/v1/records/5001/10.0.1.11"
	old := f.do("GET", path, "")
	tag := old.header.Get("ETag")
	f.do("PUT", path, web9, "If-None-Match", "*").want(t, 412, "is there already")
	f.do("PUT", path, web9, "If-Match", `"other"`).want(t, 412, "has changed", strings.Trim(tag, `"`))
	f.do("PUT", "/v1/records/5001/10.0.1.99", web9, "If-Match", "*").want(t, 412, "no such object")
	// Another object's change is none of this one's.
	apply(t, f.backend, tenant.Delete(key(t, "records/6001/10.0.1.11")))
	f.do("PUT", path, web9, "If-Match", tag).want(t, 200)
	f.do("DELETE", path, "", "If-Match", tag).want(t, 412)
	f.do("PUT", path, old.body+" ", "If-Match", "*").want(t, 200)
	p := f.do("DELETE", path+"?if_revision=1", "").want(t, 412, "in force is")
	if p.Type != api.TypeConflict {
		t.Error(p.Type)
	}
	f.do("DELETE", "/v1/records/5001/10.0.1.12?dry_run=true", "").want(t, 200, `"dry_run":true`, `"op":"delete"`)
	f.do("GET", "/v1/records/5001/10.0.1.12", "").want(t, 200)
}

// A path is for people too: any form of an address or a GUID will do.
func TestPathsInOtherForms(t *testing.T) {
	f := serve(t)
	for _, path := range []string{"routing-domains/" + strings.ToUpper(blue), "routing-domains/%7B" + blue + "%7D", "records/5001/10.0.1.11", "hosts/%681",
		"routes/" + blue + "/0.0.0.0/0/7/10.0.1.11"} {
		f.do("GET", "/v1/"+path, "").want(t, 200)
	}
	f.do("GET", "/v1/subnets/5", "").want(t, 422, "reserved")
	f.do("GET", "/v1/records/5001/300.1.1.1", "").want(t, 422, "300.1.1.1")
	f.do("GET", "/v1/routing-domains/blue", "").want(t, 422, "GUID")
}

func TestBadObjects(t *testing.T) {
	f := serve(t)
	before := f.backend.Policy().Revision()
	record := "/v1/records/5001/10.0.1.19"
	for name, c := range map[string]struct {
		path, body, media string
		status            int
		says              []string
	}{
		"unknown key":    {record, `{"vm": "x", "mac": "02:b0:00:00:01:99", "hots": "h1"}`, "application/json", 422, []string{`unknown key \"hots\"`, "vm, mac", `"key":"records/5001/10.0.1.19"`}},
		"key twice":      {record, `{"vm": "x", "vm": "y", "mac": "02:b0:00:00:01:99"}`, "application/json", 422, []string{`"field":"vm"`, "given twice"}},
		"other key":      {record, `{"vsid": 6001, "vm": "x", "mac": "02:b0:00:00:01:99"}`, "application/json", 422, []string{`"field":"vsid"`, "not what the key says"}},
		"all at once":    {record, `{"vm": 5, "mac": "02-b0", "pa": "10.0.0.256"}`, "application/json; charset=utf-8", 422, []string{`"field":"vm"`, `"field":"mac"`, `"field":"pa"`}},
		"missing":        {record, `{}`, "application/json", 422, []string{`"field":"vm"`, `"field":"mac"`}},
		"taken":          {record, `{"vm": "web1", "mac": "02:b0:00:00:01:99", "host": "h9"}`, "application/json", 422, []string{"web1", "records/5001/10.0.1.11", `"field":"host"`}},
		"no JSON":        {record, `{"vm": `, "application/json", 422, []string{"is no JSON"}},
		"nothing":        {record, ``, "application/json", 422, []string{"is empty"}},
		"two":            {record, web9 + web9, "application/json", 422, []string{"after the JSON object"}},
		"form":           {record, web9, "application/x-www-form-urlencoded", 415, []string{"Content-Type: application/json"}},
		"too large":      {record, `{"vm": "` + strings.Repeat("x", api.MaxObject) + `"}`, "application/json", 413, []string{fmt.Sprint(api.MaxObject)}},
		"no subnet":      {"/v1/records/7001/10.0.1.19", web9, "application/json", 422, []string{"subnet 7001 is unknown"}},
		"misspelt":       {record + "?dryrun=true", web9, "application/json", 422, []string{"query.dryrun", "want dry_run"}},
		"twice":          {record + "?dry_run=true&dry_run=false", web9, "application/json", 422, []string{"query.dry_run", "twice"}},
		"no truth":       {record + "?dry_run=maybe", web9, "application/json", 422, []string{"query.dry_run", "boolean"}},
		"long comment":   {record + "?comment=" + strings.Repeat("x", 1025), web9, "application/json", 422, []string{"query.comment"}},
		"empty revision": {record + "?if_revision=-1", web9, "application/json", 422, []string{"query.if_revision"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := *f
			g.t = t
			g.do("PUT", c.path, c.body, "Content-Type", c.media).want(t, c.status, c.says...)
		})
	}
	if f.backend.Policy().Revision() != before {
		t.Error("something was stored")
	}
}

func TestNowhere(t *testing.T) {
	f := serve(t)
	f.do("GET", "/v2/records", "").want(t, 404, "/openapi.json")
	a := f.do("POST", "/v1/status", "")
	a.want(t, 405, "want GET")
	if a.header.Get("Allow") != "GET" {
		t.Error(a.header)
	}
	f.do("GET", "/v1/hosts/nobody/status", "").want(t, 404, "nobody")
}

func TestListFilters(t *testing.T) {
	f := serve(t)
	for query, want := range map[string]string{
		"records":                               "5001/10.0.1.11 5001/10.0.1.12 5001/10.0.1.13 5002/10.0.2.11 6001/10.0.1.11",
		"records?routing_domain=blue":           "5001/10.0.1.11 5001/10.0.1.12 5001/10.0.1.13 5002/10.0.2.11",
		"records?routing_domain=" + red:         "6001/10.0.1.11",
		"records?vsid=5002":                     "5002/10.0.2.11",
		"records?host=h2":                       "5001/10.0.1.12",
		"records?host=h1&vsid=5001":             "5001/10.0.1.11",
		"records?vm=roam":                       "5001/10.0.1.13",
		"records?vm=db1&routing_domain=" + blue: "5002/10.0.2.11",
		"records?vm=db1&routing_domain=red":     "",
		"records?ca=10.0.1.11":                  "5001/10.0.1.11 6001/10.0.1.11",
		"records?ca=10.0.1.12/31":               "5001/10.0.1.12 5001/10.0.1.13",
		"subnets":                               "5001 5002 6001",
		"subnets?routing_domain=red":            "6001",
		"hosts":                                 "h1 h2",
		"routing-domains":                       blue + " " + red,
		"routing-domains?customer=Contoso":      blue,
		"routes?routing_domain=blue":            blue + "/0.0.0.0/0/7/10.0.1.11",
		"routes?routing_domain=red":             "",
	} {
		l := decode[api.List](t, f.do("GET", "/v1/"+query, ""))
		var got []string
		for _, it := range l.Items {
			_, k, _ := strings.Cut(it.Key, "/")
			got = append(got, k)
			if it.Object == nil || it.Object.Key().String() != it.Key {
				t.Errorf("%s: %+v", query, it)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	l := decode[api.List](t, f.do("GET", "/v1/records?host=h2", ""))
	if it := l.Items[0]; it.Host != "h2" || it.RoutingDomain != "blue" || it.RDID != blue || l.Revision != f.backend.Policy().Revision() {
		t.Errorf("%+v", l)
	}
	f.do("GET", "/v1/records?routing_domain=green", "").want(t, 422, "green")
	f.do("GET", "/v1/records?ca=10.0.1", "").want(t, 422, "query.ca")
	f.do("GET", "/v1/records?vsid=4294972297", "").want(t, 422, "query.vsid")
	f.do("GET", "/v1/records?limit=10001", "").want(t, 422, "query.limit")
	f.do("GET", "/v1/records?continue=zzz", "").want(t, 422, "query.continue")
	f.do("GET", "/v1/records?routingdomain=blue", "").want(t, 422, "query.routingdomain")
}

// Pages are of one revision, whatever happens between them.
func TestPagesAreOfOneRevision(t *testing.T) {
	f := serve(t)
	var keys []string
	query := url.Values{"limit": {"2"}}
	revision := f.backend.Policy().Revision()
	for i := 0; ; i++ {
		l := decode[api.List](t, f.do("GET", "/v1/records?"+query.Encode(), ""))
		for _, it := range l.Items {
			keys = append(keys, it.Key)
		}
		if l.Revision != revision {
			t.Errorf("page of revision %d", l.Revision)
		}
		if l.Continue == "" {
			break
		}
		query.Set("continue", l.Continue)
		apply(t, f.backend, tenant.Delete(key(t, "records/5002/10.0.2.11")), tenant.Put(object(t, fmt.Sprintf("records/6001/10.0.1.%d", 20+i), fmt.Sprintf(`{"vm": "n%d", "mac": "02:b0:00:00:07:%02d"}`, i, i))))
		if i == 0 {
			continue
		}
		f.backend.Compact(f.backend.Policy().Revision()) // the server has what it has begun to read
	}
	if len(keys) != 5 {
		t.Errorf("%d records: %v", len(keys), keys)
	}
	f.do("GET", fmt.Sprintf("/v1/records?revision=%d", revision), "").want(t, 200)
	f.do("GET", "/v1/records?revision=2", "").want(t, 410, "no longer kept")
	f.do("GET", "/v1/records?revision=999999", "").want(t, 404, "no such revision")
	f.do("GET", "/v1/records?revision=2&at=2026-01-01T00:00:00Z", "").want(t, 422, "one of them")
	f.do("GET", "/v1/records?at=yesterday", "").want(t, 422, "query.at")
}
