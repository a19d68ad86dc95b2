package store

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// The keys of the store, below its prefix:
//
//	objects/KEY    an object's JSON by the text of its key; empty once it is deleted
//	head           the version in force: the key's ModRevision is the policy's revision
//	staging        a large apply is under way: objects are as of the head's revision
//	staging-alive  with the lease of whoever is at it
//	compaction     who compacts next, and when
//
// A deleted object stays as an empty value for as long as its history is kept,
// so that each key's past can be walked back to its beginning.
type layout struct {
	prefix, objects, head, staging, alive, compaction string
}

func newLayout(prefix string) layout {
	return layout{prefix, prefix + "objects/", prefix + "head", prefix + "staging", prefix + "staging-alive", prefix + "compaction"}
}

// object returns the key in etcd of an object.
func (l *layout) object(k tenant.Key) string { return l.objects + k.String() }

// storedHead is the value of the head.
type storedHead struct {
	Time     time.Time `json:"time"`
	Changes  int       `json:"changes"`
	Author   string    `json:"author,omitempty"`
	Comment  string    `json:"comment,omitempty"`
	Previous uint64    `json:"previous"` // revision of the head before
	Total    uint64    `json:"total"`    // changes since the beginning
	Token    string    `json:"token"`    // of the apply that made it
}

// head is one version of the policy, with what the store needs to know of it.
type head struct {
	Head
	previous, total uint64
	token           string
}

func decodeHead(kv *mvccpb.KeyValue) (head, error) {
	var s storedHead
	if err := json.Unmarshal(kv.Value, &s); err != nil {
		return head{}, fmt.Errorf("key %s of revision %d in etcd is no head: %w: it was edited by somebody else; put back the value that it had", kv.Key, kv.ModRevision, err)
	}
	return head{Head{uint64(kv.ModRevision), s.Time, s.Changes, s.Author, s.Comment}, s.Previous, s.Total, s.Token}, nil
}

// encode returns the value for the key head. The revision is etcd's to give.
func (h *head) encode() string {
	b, err := json.Marshal(storedHead{h.Time, h.Changes, h.Author, h.Comment, h.previous, h.total, h.token})
	if err != nil {
		panic(err) // texts and numbers
	}
	return string(b)
}

// after returns the head of changes made to the policy of h.
func (h *head) after(now time.Time, changes int, o ApplyOptions, token string) head {
	now = now.UTC().Truncate(time.Microsecond)
	if now.Before(h.Time) {
		now = h.Time // clocks differ; time never runs backwards from head to head
	}
	return head{Head{Time: now, Changes: changes, Author: o.Author, Comment: o.Comment}, h.Revision, h.total + uint64(changes), token}
}

// stagingNote is the value of the key staging.
type stagingNote struct {
	Author  string    `json:"author,omitempty"`
	Base    uint64    `json:"base"`   // the head's revision
	Member  uint64    `json:"member"` // of the embedded etcd, where it is one
	Token   string    `json:"token"`
	Started time.Time `json:"started"`
}

func newToken() string { return rand.Text() }

// decodeObject reads an object of etcd.
func (l *layout) decodeObject(kv *mvccpb.KeyValue) (tenant.Change, error) {
	text := strings.TrimPrefix(string(kv.Key), l.objects)
	k, err := tenant.ParseKey(text)
	if err != nil {
		return tenant.Change{}, &badObject{text, kv.ModRevision, err.Error()}
	}
	if len(kv.Value) == 0 {
		return tenant.Delete(k), nil
	}
	o, problems := tenant.DecodeObject(k, kv.Value)
	if len(problems) > 0 {
		return tenant.Change{}, &badObject{text, kv.ModRevision, problems[0].String()}
	}
	return tenant.Put(o), nil
}

// isLitter reports whether kv is what is left of a key that is no object's.
func (l *layout) isLitter(kv *mvccpb.KeyValue) bool {
	_, err := tenant.ParseKey(strings.TrimPrefix(string(kv.Key), l.objects))
	return err != nil && len(kv.Value) == 0
}

// badObject is an object in etcd that no controller has written.
type badObject struct {
	key      string
	revision int64
	why      string
}

// Error implements error.
func (e *badObject) Error() string {
	return fmt.Sprintf("object %s of revision %d in etcd: %s", e.key, e.revision, e.why)
}
