// Package client talks to the controller's API, over its unix socket or HTTPS.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// maxAnswer bounds what is read of one answer, in octets.
const maxAnswer = 1 << 30

// Client is a client of one controller. Its methods may be called by many
// goroutines. Errors that the controller answers with are [*api.Problem]; where
// it does not answer they are [*UnreachableError].
type Client struct {
	base  string
	where string // for messages
	http  *http.Client
	stale func(reason string) // or nil
}

// UnreachableError says that no controller answered.
type UnreachableError struct {
	Where string
	Hint  string // what to do
	Err   error
}

// Error implements error.
func (e *UnreachableError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Where, e.Err, e.Hint) }

// Unwrap returns the error of the connection.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Unix returns a client of the controller at a unix socket.
func Unix(socket string) *Client {
	var d net.Dialer
	return &Client{base: "http://controller", where: "API socket " + socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) },
	}}}
}

// HTTP returns a client of what is at a URL such as http://127.0.0.1:8080, for a
// proxy in front of the socket. It is not protected by anything.
func HTTP(url string) *Client {
	return &Client{base: strings.TrimSuffix(url, "/"), where: "API at " + url, http: &http.Client{Transport: &http.Transport{}}}
}

// HTTPS returns a client of the controller at HOST:PORT. The configuration has
// the client's certificate and the server's authority.
func HTTPS(address string, c *tls.Config) *Client {
	return &Client{base: "https://" + address, where: "API at " + address, http: &http.Client{Transport: &http.Transport{TLSClientConfig: c, TLSHandshakeTimeout: 10 * time.Second}}}
}

// OnStale has f called with the reason for each answer that may be older than
// what other controllers have changed since. It is called before any request.
func (c *Client) OnStale(f func(reason string)) { c.stale = f }

// Close closes connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// explain says what to do where nobody answers.
func (c *Client) explain(ctx context.Context, err error) error {
	var noise *url.Error // it tells of an URL that nobody has given
	if errors.As(err, &noise) {
		err = noise.Err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	hint := "is the controller running (nvgre-ofctl controller), and does it serve its API there (setting api-socket)?"
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "the socket is for the controller's user and the group of its setting api-socket-group: use sudo, or be a member"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "the controller that made it has ended, perhaps by a crash: look at its log and start it; the switches keep forwarding"
	case ctx.Err() != nil:
		hint = "the controller does not answer in time: try a longer --timeout, else look at its log"
	case strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		hint = "want --tls-ca of the controller's authority, and a certificate that the controller's api.tls.ca has signed"
	}
	return &UnreachableError{c.where, hint, err}
}

// The pauses between tries of a request that may be repeated.
const (
	mostTries  = 4
	firstPause = 100 * time.Millisecond
	// longOutage: a store that could not be reached for so long will not be in a moment.
	longOutage = time.Second
)

// request is one request. Its body can be sent again.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         []byte
	media        string
	// idempotent: to do it twice is to do it once, so that it may be tried again
	// where nobody knows whether it was done.
	idempotent bool
}

// send returns an answer whose status is one of success; the caller closes its body.
func (c *Client) send(ctx context.Context, q request) (*http.Response, error) {
	pause, start := firstPause, time.Now()
	for try := 1; ; try++ {
		resp, err := c.once(ctx, q)
		again := q.idempotent
		var p *api.Problem
		if errors.As(err, &p) {
			// Busy: nothing was done, so that anything may be tried again.
			again = p.Type == api.TypeBusy || again && p.Type == api.TypeUnavailable && time.Since(start) < longOutage
		} else if err != nil {
			// A socket that is not there will not be in a moment.
			again = again && ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
		}
		if err == nil || !again || try == mostTries {
			return resp, err
		}
		select {
		case <-time.After(pause):
			pause *= 3
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (c *Client) once(ctx context.Context, q request) (*http.Response, error) {
	u := c.base + q.path
	if len(q.query) > 0 {
		u += "?" + q.query.Encode()
	}
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	r, err := http.NewRequestWithContext(ctx, q.method, u, body)
	if err != nil {
		return nil, err
	}
	for k, v := range q.header {
		r.Header[k] = v
	}
	if q.media != "" {
		r.Header.Set("Content-Type", q.media)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if reason := resp.Header.Get(api.HeaderStale); reason != "" && c.stale != nil {
		c.stale(reason)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

// problem reads the answer that is an error.
func (c *Client) problem(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	p := &api.Problem{}
	if err != nil || json.Unmarshal(body, p) != nil || p.Status == 0 {
		const most = 200
		return &UnreachableError{c.where, "is that the API of a controller of this release?", fmt.Errorf("%s: %.*s", resp.Status, most, strings.TrimSpace(string(body)))}
	}
	return p
}

// fetch sends a request and reads the answer into out.
func (c *Client) fetch(ctx context.Context, q request, out any) error {
	resp, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.explain(ctx, err)
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = body
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: the answer cannot be read, is the controller of the same release? %w", c.where, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.fetch(ctx, request{method: http.MethodGet, path: path, query: query, idempotent: true}, out)
}

// Get reads one object.
func (c *Client) Get(ctx context.Context, k tenant.Key, query url.Values) (tenant.Object, error) {
	var raw []byte
	if err := c.get(ctx, "/v1/"+k.String(), query, &raw); err != nil {
		return nil, err
	}
	o, problems := tenant.DecodeObject(k, raw)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: the answer cannot be read, is the controller of the same release? %s", c.where, problems[0])
	}
	return o, nil
}

// List calls yield for each object of a kind, page by page, all of one revision,
// which it returns. query has the filters of docs/API.md.
func (c *Client) List(ctx context.Context, kind string, query url.Values, yield func(api.Item) error) (revision uint64, err error) {
	query = clone(query)
	for {
		var l api.List
		if err := c.get(ctx, "/v1/"+kind, query, &l); err != nil {
			return revision, err
		}
		revision = l.Revision
		for _, it := range l.Items {
			if err := yield(it); err != nil {
				return revision, err
			}
		}
		if l.Continue == "" {
			return revision, nil
		}
		query.Set("continue", l.Continue)
		query.Del("revision")
		query.Del("at")
	}
}

func clone(query url.Values) url.Values {
	out := url.Values{}
	for k, v := range query {
		out[k] = v
	}
	return out
}

// ApplyOptions say how changes are applied.
type ApplyOptions struct {
	Replace    bool   // what the changes put is all that there shall be
	DryRun     bool   // check and store nothing
	IfRevision uint64 // 0: any
	Comment    string
	Minimal    bool                  // the answer needs no effective changes
	Progress   func(done, total int) // or nil
}

func (o ApplyOptions) query() url.Values {
	q := url.Values{}
	if o.Replace {
		q.Set("mode", "replace")
	}
	if o.DryRun {
		q.Set("dry_run", "true")
	}
	if o.IfRevision != 0 {
		q.Set("if_revision", strconv.FormatUint(o.IfRevision, 10))
	}
	if o.Comment != "" {
		q.Set("comment", o.Comment)
	}
	return q
}

// lines writes changes as the API reads them, one a line.
func lines(changes []tenant.Change) ([]byte, error) {
	var b bytes.Buffer
	for _, c := range changes {
		if c.IsDelete() {
			fmt.Fprintf(&b, "{\"op\":\"delete\",\"key\":%q}\n", c.Key().String())
			continue
		}
		o, err := c.Object().MarshalJSON()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "{\"op\":\"put\",\"key\":%q,\"object\":%s}\n", c.Key().String(), o)
	}
	return b.Bytes(), nil
}

const mediaNDJSON = "application/x-ndjson"

// Apply puts changes in force, all or none. To apply the same twice is to apply
// it once, so that it is tried again where an answer was lost.
func (c *Client) Apply(ctx context.Context, changes []tenant.Change, o ApplyOptions) (*api.Applied, error) {
	body, err := lines(changes)
	if err != nil {
		return nil, err
	}
	q := request{method: http.MethodPost, path: "/v1/apply", query: o.query(), body: body, media: mediaNDJSON, idempotent: o.IfRevision == 0,
		header: http.Header{"Accept": {mediaNDJSON}}}
	if o.Minimal {
		q.header.Set("Prefer", "return=minimal")
	}
	resp, err := c.send(ctx, q)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer))
	for {
		var l api.ApplyLine
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("%s: the answer ends before its end, so that nobody knows whether the changes are in force: look with nvgre-ofctl get revisions, or apply again: %w", c.where, err)
		}
		switch {
		case l.Progress != nil:
			if o.Progress != nil {
				o.Progress(l.Progress.Done, l.Progress.Total)
			}
		case l.Problem != nil:
			return nil, l.Problem
		case l.Applied != nil:
			return l.Applied, nil
		}
	}
}

// DiffWith tells what an apply of the changes would change.
func (c *Client) DiffWith(ctx context.Context, changes []tenant.Change, replace bool) (*api.Diff, error) {
	body, err := lines(changes)
	if err != nil {
		return nil, err
	}
	var d api.Diff
	q := request{method: http.MethodPost, path: "/v1/diff", query: ApplyOptions{Replace: replace}.query(), body: body, media: mediaNDJSON, idempotent: true}
	return &d, c.fetch(ctx, q, &d)
}

// Diff tells what changed between two revisions; 0 is the one in force.
func (c *Client) Diff(ctx context.Context, from, to uint64) (*api.Diff, error) {
	q := url.Values{"before": {"true"}}
	if from != 0 {
		q.Set("from", strconv.FormatUint(from, 10))
	}
	if to != 0 {
		q.Set("to", strconv.FormatUint(to, 10))
	}
	var d api.Diff
	return &d, c.get(ctx, "/v1/diff", q, &d)
}

// Rollback makes a new revision that holds what another one held.
func (c *Client) Rollback(ctx context.Context, to uint64, at time.Time, o ApplyOptions) (*api.Applied, error) {
	q := o.query()
	if to != 0 {
		q.Set("to", strconv.FormatUint(to, 10))
	}
	if !at.IsZero() {
		q.Set("to_at", at.Format(time.RFC3339Nano))
	}
	var a api.Applied
	return &a, c.fetch(ctx, request{method: http.MethodPost, path: "/v1/rollback", query: q}, &a)
}

// Revisions returns the newest revisions, the newest first, at most limit.
func (c *Client) Revisions(ctx context.Context, limit int) ([]api.Head, error) {
	var r api.Revisions
	err := c.get(ctx, "/v1/revisions", url.Values{"limit": {strconv.Itoa(limit)}}, &r)
	return r.Revisions, err
}

// RecordHistory tells who had a customer address in a routing domain, and when.
func (c *Client) RecordHistory(ctx context.Context, routingDomain, ca string) (*api.History, error) {
	var h api.History
	return &h, c.get(ctx, "/v1/history", url.Values{"ca": {ca}, "routing_domain": {routingDomain}}, &h)
}

// History tells what an object was, and when.
func (c *Client) History(ctx context.Context, key string) (*api.History, error) {
	var h api.History
	return &h, c.get(ctx, "/v1/history", url.Values{"key": {key}}, &h)
}

// Policy returns the whole policy as a policy file.
func (c *Client) Policy(ctx context.Context, query url.Values) ([]byte, error) {
	var text []byte
	err := c.get(ctx, "/v1/policy", query, &text)
	return text, err
}

// Status tells how the controller is.
func (c *Client) Status(ctx context.Context) (*admin.Status, error) {
	var s admin.Status
	return &s, c.get(ctx, "/v1/status", nil, &s)
}

// HostStatus tells how one host is.
func (c *Client) HostStatus(ctx context.Context, name string) (*admin.Host, error) {
	var h admin.Host
	return &h, c.get(ctx, "/v1/"+tenant.HostKey(name).String()+"/status", nil, &h)
}

// Attachments returns the ports of VMs that fit the filters of docs/API.md.
func (c *Client) Attachments(ctx context.Context, query url.Values) ([]admin.Attachment, error) {
	var all []admin.Attachment
	query = clone(query)
	for {
		var page api.Attachments
		if err := c.get(ctx, "/v1/attachments", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Attachments...)
		if page.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Continue)
	}
}
