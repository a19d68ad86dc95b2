package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// The sizes of request bodies that are read, in octets.
const (
	MaxObject = 1 << 20   // one object
	MaxApply  = 256 << 20 // changes in JSON; a policy file has its own limit, policyfile.MaxSize
	maxLine   = MaxObject // one change as a line
)

// bodyTimes bound the time that a body may take, so that one that comes octet by
// octet holds nothing for long.
type bodyTimes struct {
	pause time.Duration // for each part
	start time.Duration // before the rate counts
	rate  int64         // octets a second, at least, from then on
	total time.Duration // for all
}

func usualTimes() bodyTimes {
	return bodyTimes{pause: 30 * time.Second, start: 30 * time.Second, rate: 16 << 10, total: 10 * time.Minute}
}

// The media types of request bodies.
const (
	mediaJSON   = "application/json"
	mediaNDJSON = "application/x-ndjson"
	mediaYAML   = "application/yaml"
)

// mediaType returns the type of the body, which is one of those wanted. A
// request that does not say is taken to send the first.
func mediaType(r *http.Request, want ...string) (string, error) {
	h := r.Header.Get("Content-Type")
	if h == "" {
		return want[0], nil
	}
	got, _, err := mime.ParseMediaType(h)
	if got == "application/x-yaml" || got == "text/yaml" { // from before RFC 9512
		got = mediaYAML
	}
	for _, w := range want {
		if err == nil && got == w {
			return w, nil
		}
	}
	return "", problem(http.StatusUnsupportedMediaType, TypeMediaType, fmt.Sprintf("the body is of type %q: want the header Content-Type: %s", h, strings.Join(want, " or ")))
}

// body reads a request's body, at most limit octets, each part in its time.
type body struct {
	r       io.Reader
	control *http.ResponseController
	times   bodyTimes
	began   time.Time
	got     int64 // octets
}

func (q *Request) body(limit int64) io.Reader {
	times := usualTimes()
	if p, ok := q.w.(*patient); ok {
		times = p.times
	}
	return &body{r: http.MaxBytesReader(q.w, q.r.Body, limit), control: http.NewResponseController(q.w), times: times, began: time.Now()}
}

// deadline is when the next part must be here.
func (b *body) deadline() time.Time {
	at := time.Now().Add(b.times.pause)
	for _, d := range []time.Duration{b.times.start + time.Duration(b.got/b.times.rate)*time.Second, b.times.total} {
		if end := b.began.Add(d); end.Before(at) {
			at = end
		}
	}
	return at
}

// Read implements io.Reader. Its errors are problems.
func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(b.deadline()) // a recorder of a test has none
	n, err := b.r.Read(p)
	b.got += int64(n)
	if err == io.EOF {
		// The server goes on to read, to learn whether the client goes away: that
		// must not end an apply that takes longer. After any other error it reads
		// the rest of the body, for which the deadline stays.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		err = problem(http.StatusRequestEntityTooLarge, TypeTooLarge,
			fmt.Sprintf("the body is larger than %d octets: send fewer changes at once", large.Limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = problem(http.StatusRequestTimeout, TypeSlow,
			fmt.Sprintf("the body comes too slowly: want some of it every %s, %d octets a second after the first %s, and all within %s", b.times.pause, b.times.rate, b.times.start, b.times.total))
	case err != nil && err != io.EOF:
		err = problem(http.StatusBadRequest, TypeInvalid, fmt.Sprintf("the body ends before its end: %v", err))
	}
	return n, err
}

// object reads the one object that a request puts.
func (q *Request) object(k tenant.Key) (tenant.Object, error) {
	if _, err := mediaType(q.r, mediaJSON); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(q.body(MaxObject))
	if err != nil {
		return nil, err
	}
	o, problems := tenant.DecodeObject(k, data)
	if len(problems) > 0 {
		return nil, invalid("the object cannot be read", faultsOf(problems)...)
	}
	return o, nil
}

// changes reads the changes that a request applies. A policy file is the
// changes that put all that is in it.
func (q *Request) changes() ([]tenant.Change, error) {
	media, err := mediaType(q.r, mediaJSON, mediaNDJSON, mediaYAML)
	if err != nil {
		return nil, err
	}
	if media == mediaYAML {
		return policyChanges(q.body(policyfile.MaxSize))
	}
	d := &changeReader{}
	if media == mediaNDJSON {
		err = d.lines(q.body(MaxApply))
	} else {
		err = d.document(q.body(MaxApply))
	}
	if err != nil {
		return nil, err
	}
	if len(d.faults) > 0 {
		return nil, invalid("the changes cannot be read", d.faults...)
	}
	return d.changes, nil
}

func policyChanges(r io.Reader) ([]tenant.Change, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	p, err := policyfile.Parse("policy", data, 0)
	var bad *policyfile.Error
	if errors.As(err, &bad) {
		faults := make([]Fault, len(bad.Problems))
		for i, b := range bad.Problems {
			faults[i] = Fault{Field: b.Path, Pointer: b.Position.String(), Detail: b.Message}
			for _, at := range b.Related {
				faults[i].Related = append(faults[i].Related, at.String())
			}
		}
		return nil, invalid("the policy file is not valid", faults...)
	}
	if err != nil {
		return nil, err
	}
	var changes []tenant.Change
	for o := range p.Objects() {
		changes = append(changes, tenant.Put(o))
	}
	return changes, nil
}

// changeReader reads changes strictly, and keeps what is wrong with them.
type changeReader struct {
	changes []tenant.Change
	faults  []Fault
}

func (d *changeReader) fault(pointer, format string, args ...any) {
	d.faults = append(d.faults, Fault{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// document reads {"changes": [...]}.
func (d *changeReader) document(r io.Reader) error {
	dec := json.NewDecoder(r)
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return d.syntax("#", "is no JSON object", err)
	}
	seen := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return d.syntax("#", "is no JSON", err)
		}
		switch {
		case name != "changes":
			d.fault("#", "unknown key %q: want changes", name)
		case seen:
			d.fault("#/changes", "is given twice: want it once")
		default:
			seen = true
			if err := d.list(dec); err != nil {
				return err
			}
			continue
		}
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return d.syntax("#", "is no JSON", err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return d.syntax("#", "is no JSON", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return d.syntax("#", "has something after the JSON object", nil)
	}
	if !seen {
		d.fault("#/changes", "is missing: want a list of changes")
	}
	return nil
}

func (d *changeReader) list(dec *json.Decoder) error {
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return d.syntax("#/changes", "is no list", err)
	}
	for i := 0; dec.More(); i++ {
		var raw json.RawMessage
		at := fmt.Sprintf("#/changes/%d", i)
		if err := dec.Decode(&raw); err != nil {
			return d.syntax(at, "is no JSON", err)
		}
		d.change(at, raw)
	}
	_, err := dec.Token()
	if err != nil {
		return d.syntax("#/changes", "is no JSON", err)
	}
	return nil
}

// lines reads a change from each line.
func (d *changeReader) lines(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), maxLine)
	n := 0
	for s.Scan() {
		n++
		if line := bytes.TrimSpace(s.Bytes()); len(line) > 0 {
			d.change(fmt.Sprintf("line %d", n), line)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return d.syntax(fmt.Sprintf("line %d", n+1), fmt.Sprintf("is longer than %d octets", maxLine), nil)
	} else if err != nil {
		return err
	}
	return nil
}

// syntax is the end of reading: what follows cannot be made sense of.
func (d *changeReader) syntax(at, what string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		what = "ends too early"
	} else if err != nil {
		what += ": " + err.Error()
	}
	const want = `: want {"changes": [{"op": "put", "key": "records/5001/10.0.1.11", "object": {...}}, {"op": "delete", "key": ...}]}, or one change a line as ` + mediaNDJSON
	return problem(http.StatusBadRequest, TypeInvalid, "the body cannot be read", append(d.faults, Fault{Pointer: at, Detail: what + want})...)
}

const wantChange = "want an object with op (put or delete), key and, to put, object"

// change reads one change.
func (d *changeReader) change(at string, raw []byte) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		d.fault(at, "is no JSON object: "+wantChange)
		return
	}
	fields := map[string]json.RawMessage{}
	sound := true
	for dec.More() {
		t, err := dec.Token()
		var value json.RawMessage
		if err == nil {
			err = dec.Decode(&value)
		}
		if err != nil {
			d.fault(at, "is no JSON: %v", err)
			return
		}
		name := t.(string)
		_, twice := fields[name]
		switch {
		case name != "op" && name != "key" && name != "object":
			d.fault(at, "unknown key %q: "+wantChange, name)
		case twice:
			d.fault(at+"/"+name, "is given twice: want it once")
		default:
			fields[name] = value
			continue
		}
		sound = false
	}
	if _, err := dec.Token(); err != nil {
		d.fault(at, "is no JSON: %v", err)
		return
	}
	if _, err := dec.Token(); err != io.EOF {
		d.fault(at, "has something after the JSON object: want one change")
		return
	}
	var op, key string
	if json.Unmarshal(fields["op"], &op) != nil || op != "put" && op != "delete" {
		d.fault(at+"/op", "is %s: want \"put\" or \"delete\"", shown(fields["op"]))
		sound = false
	}
	if json.Unmarshal(fields["key"], &key) != nil {
		d.fault(at+"/key", "is %s: want the key of an object, such as \"records/5001/10.0.1.11\"", shown(fields["key"]))
		return
	}
	k, err := tenant.ParseKey(key)
	if err != nil {
		d.fault(at+"/key", "%v", err)
		return
	}
	object, given := fields["object"]
	switch {
	case op == "delete" && given:
		d.faults = append(d.faults, Fault{Key: key, Pointer: at + "/object", Detail: "is given with op delete: leave it out"})
	case op == "put" && !given:
		d.faults = append(d.faults, Fault{Key: key, Pointer: at + "/object", Detail: "is missing: want the object to put"})
	case op == "delete" && sound:
		d.changes = append(d.changes, tenant.Delete(k))
	case op == "put":
		o, problems := tenant.DecodeObject(k, object)
		for _, f := range faultsOf(problems) {
			f.Pointer = at + "/object"
			d.faults = append(d.faults, f)
		}
		if o != nil && sound {
			d.changes = append(d.changes, tenant.Put(o))
		}
	}
}

func shown(raw json.RawMessage) string {
	const most = 60
	switch {
	case raw == nil:
		return "missing"
	case len(raw) > most:
		return strings.ToValidUTF8(string(raw[:most]), "") + "..."
	}
	return string(raw)
}
