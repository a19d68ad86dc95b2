package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Request gives a handler the request itself: bodies are read as a stream and
// strictly, paths as they came.
type Request struct {
	r *http.Request
	w http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (q *Request) Resolve(ctx huma.Context) []error {
	q.r, q.w = humago.Unwrap(ctx)
	return nil
}

// Moment is the time that a request reads.
type Moment struct {
	Revision uint64    `query:"revision" doc:"the state that was in force at this revision; default: now"`
	At       time.Time `query:"at" doc:"the state that was in force at this time (RFC 3339)"`
}

func (m Moment) at() (store.At, error) {
	if m.Revision != 0 && !m.At.IsZero() {
		return store.At{}, invalid("the request contradicts itself", Fault{Pointer: "query.at", Detail: "is given with revision: want one of them"})
	}
	return store.At{Revision: m.Revision, Time: m.At}, nil
}

// Fence is what a change of the policy may say besides the change.
type Fence struct {
	DryRun     bool   `query:"dry_run" doc:"check everything and store nothing"`
	IfRevision uint64 `query:"if_revision" doc:"the revision that must be in force before; else 412"`
	Comment    string `query:"comment" doc:"kept with the revision; at most 1024 octets"`
}

const maxComment = 1024

func (f Fence) options(r *http.Request) (store.ApplyOptions, error) {
	if len(f.Comment) > maxComment {
		return store.ApplyOptions{}, invalid("the comment is too long", Fault{Pointer: "query.comment", Detail: fmt.Sprintf("has %d octets: want at most %d", len(f.Comment), maxComment)})
	}
	return store.ApplyOptions{IfRevision: f.IfRevision, DryRun: f.DryRun, Comment: f.Comment, Author: authorOf(r)}, nil
}

// refused says why a change with such options was not made: where the caller
// named a revision, that condition failed.
func refused(ctx context.Context, err error, o store.ApplyOptions) *Problem {
	p := problemOf(ctx, err)
	if p.Type == TypeConflict && o.IfRevision != 0 && p.Status == http.StatusConflict {
		p.Status, p.Title = http.StatusPreconditionFailed, http.StatusText(http.StatusPreconditionFailed)
	}
	return p
}

var wildcard = regexp.MustCompile(`\{([a-z_]+)\}`)

func wildcards(path string) (names []string) {
	for _, m := range wildcard.FindAllStringSubmatch(path, -1) {
		names = append(names, m[1])
	}
	return names
}

// keyInPath returns the key in the path of an object. It
// may be in any form of its parts, since people type it.
func (q *Request) keyInPath() (tenant.Key, error) {
	path := strings.TrimPrefix(q.r.URL.EscapedPath(), "/v1/")
	k, err := ParseKey(path)
	if err != nil {
		return k, invalid("the path names no object", Fault{Pointer: "path", Detail: err.Error()})
	}
	return k, nil
}

// ParseKey reads the text of a key, in any form of its parts: unlike
// tenant.ParseKey it is for what people type.
func ParseKey(text string) (tenant.Key, error) {
	parts := strings.Split(text, "/")
	for i, p := range parts {
		u, err := url.PathUnescape(p)
		if err != nil {
			return tenant.Key{}, err
		}
		parts[i] = u
	}
	var rdid tenant.RDID
	var vsid tenant.VSID
	var err error
	switch {
	case parts[0] == "hosts" && len(parts) == 2:
		return tenant.ParseKey(tenant.HostKey(parts[1]).String()) // which checks the name
	case (parts[0] == "routing-domains" || parts[0] == "routes") && len(parts) > 1:
		if rdid, err = tenant.ParseRDID(parts[1]); err == nil {
			parts[1] = rdid.String()
		}
	case (parts[0] == "subnets" || parts[0] == "records") && len(parts) > 1:
		if vsid, err = tenant.ParseVSID(parts[1]); err == nil {
			parts[1] = vsid.String()
		}
	}
	if err != nil {
		return tenant.Key{}, err
	}
	canonical := func(i int) {
		if a, err := netip.ParseAddr(parts[i]); err == nil {
			parts[i] = a.String()
		}
	}
	switch {
	case parts[0] == "records" && len(parts) == 3:
		canonical(2)
	case parts[0] == "routes" && len(parts) == 6:
		canonical(2)
		canonical(5)
	}
	return tenant.ParseKey(strings.Join(parts, "/"))
}

// domain returns the routing domain of a policy that text names by its RDID or
// its name.
func domain(p *tenant.Policy, parameter, text string) (tenant.RDID, error) {
	if id, err := tenant.ParseRDID(text); err == nil {
		return id, nil // one that is not there has nothing in it
	}
	for d := range p.RoutingDomains() {
		if d.Name == text {
			return d.RDID, nil
		}
	}
	return tenant.RDID{}, invalid("there is no such routing domain",
		Fault{Pointer: parameter, Detail: fmt.Sprintf("no routing domain has the name %q: want a name, or an RDID", text)})
}

func vsidIn(parameter, text string) (tenant.VSID, error) {
	v, err := tenant.ParseVSID(text)
	if err != nil {
		return 0, invalid("the request cannot be understood", Fault{Pointer: parameter, Detail: err.Error()})
	}
	return v, nil
}

func revisionHeader(r uint64) string { return strconv.FormatUint(r, 10) }
