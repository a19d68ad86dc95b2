package api

import (
	"encoding/json"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Change is a change of one object, as a request or as what came of one.
type Change struct {
	Op     string  `json:"op" enum:"put,delete" doc:"put makes the object, or replaces the one of the same key"`
	Key    string  `json:"key" doc:"natural key of the object" example:"records/5001/10.0.1.11"`
	Object *Object `json:"object,omitempty" doc:"the object to put; what the key says may be left out"`
	Before *Object `json:"before,omitempty" doc:"in answers: the object as it was when the request came; left out where there was none"`
}

// Object is any object of a policy in JSON.
type Object struct{ tenant.Object }

// Schema implements huma.SchemaProvider.
func (Object) Schema(r huma.Registry) *huma.Schema {
	s := &huma.Schema{Description: "one object of the policy, with the keys of the policy file"}
	for _, k := range kinds() {
		s.AnyOf = append(s.AnyOf, k.schema(r)) // not OneOf: what a key says may be left out
	}
	return s
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return o.Object.MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler, for what [Object.MarshalJSON] wrote:
// what an object is, is seen from the keys that it has.
func (o *Object) UnmarshalJSON(b []byte) error {
	var has map[string]json.RawMessage
	if err := json.Unmarshal(b, &has); err != nil {
		return err
	}
	var err error
	is := func(key string) bool { _, ok := has[key]; return ok }
	switch {
	case is("vm"):
		o.Object, err = decode[tenant.RecordObject](b)
	case is("prefix"):
		o.Object, err = decode[tenant.RouteObject](b)
	case is("vsid"):
		o.Object, err = decode[tenant.SubnetObject](b)
	case is("rdid"):
		o.Object, err = decode[tenant.RoutingDomainObject](b)
	case is("gateway_mac"):
		o.Object, err = decode[tenant.GatewayMAC](b)
	default:
		o.Object, err = decode[tenant.HostObject](b)
	}
	return err
}

func decode[T tenant.Object](b []byte) (tenant.Object, error) {
	var o T
	err := json.Unmarshal(b, &o)
	return o, err
}

// Item is one object of a list, with what other objects say of it.
type Item struct {
	Key           string  `json:"key"`
	Object        *Object `json:"object"`
	RDID          string  `json:"rdid,omitempty" doc:"of subnets, records and routes: the routing domain"`
	RoutingDomain string  `json:"routing_domain,omitempty" doc:"the name of that routing domain"`
	Host          string  `json:"host,omitempty" doc:"of records: the host that the policy puts the VM on, whether the record names the host or its PA"`
}

// List is one page of objects, all of one revision.
type List struct {
	Revision uint64 `json:"revision" doc:"the revision that the page, and all that follow, are of"`
	Items    []Item `json:"items" nullable:"false"`
	Continue string `json:"continue,omitempty" doc:"where there is more: give it as the parameter continue, with the same filters"`
}

// Head is one revision of the policy.
type Head struct {
	Revision uint64    `json:"revision" doc:"strictly increasing, not consecutive"`
	Time     time.Time `json:"time" doc:"by the clock of the controller that wrote it; the year 1 where that is no longer kept"`
	Changes  int       `json:"changes" doc:"objects put and deleted"`
	Author   string    `json:"author,omitempty" doc:"the user of the unix socket, or the name in the client's certificate"`
	Comment  string    `json:"comment,omitempty"`
}

func headOf(h store.Head) Head {
	return Head{h.Revision, h.Time.UTC(), h.Changes, h.Author, h.Comment}
}

// Applied is the outcome of a change of the policy.
type Applied struct {
	Head
	DryRun    bool     `json:"dry_run,omitempty" doc:"nothing was stored"`
	Effective []Change `json:"effective" nullable:"false" doc:"the changes that made a difference, by key; none: the revision is the one in force before, or the request had Prefer: return=minimal"`
}

// Progress says how much of a large apply is stored.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// ApplyLine is one line of the answer to an apply whose client accepts
// application/x-ndjson: any number with progress, then one with the outcome.
type ApplyLine struct {
	Progress *Progress `json:"progress,omitempty"`
	Applied  *Applied  `json:"applied,omitempty"`
	Problem  *Problem  `json:"problem,omitempty"`
}

// Event is what a revision changed, or a part of that.
type Event struct {
	Head
	Effective []Change `json:"effective" nullable:"false" doc:"what was changed, by key"`
	More      bool     `json:"more,omitempty" doc:"the next event has more of the same revision"`
}

// Start is the first event of a watch.
type Start struct {
	Revision uint64 `json:"revision" doc:"events of greater revisions follow"`
}

// Diff is the difference between two policies.
type Diff struct {
	From    uint64   `json:"from"`
	To      uint64   `json:"to,omitempty" doc:"left out where the other policy was in the request"`
	Changes []Change `json:"changes" nullable:"false" doc:"what makes the second of the first, by key"`
}

// Version is the state of an object from one revision until the next.
type Version struct {
	Head
	Key    string     `json:"key"`
	Object *Object    `json:"object,omitempty" doc:"left out where the object was deleted"`
	Until  *time.Time `json:"until,omitempty" doc:"when it was changed or deleted; left out where this is its state"`
}

// History is a list of states, the newest first.
type History struct {
	Versions []Version `json:"versions" nullable:"false"`
}

// Revisions are some of the revisions that are kept, the newest first.
type Revisions struct {
	Revisions []Head `json:"revisions" nullable:"false"`
}

// Attachments are ports of VMs.
type Attachments struct {
	Attachments []admin.Attachment `json:"attachments" nullable:"false"`
	Continue    string             `json:"continue,omitempty"`
}

func changesOf(changes []tenant.Change, before *tenant.Policy) []Change {
	out := make([]Change, len(changes))
	for i, c := range changes {
		out[i] = Change{Op: "put", Key: c.Key().String()}
		if c.IsDelete() {
			out[i].Op = "delete"
		} else {
			out[i].Object = &Object{c.Object()}
		}
		if before != nil {
			if o, ok := before.Object(c.Key()); ok {
				out[i].Before = &Object{o}
			}
		}
	}
	return out
}
