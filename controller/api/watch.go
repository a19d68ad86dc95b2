package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
)

const (
	// mostWatches is how many clients may watch at once.
	mostWatches = 1000
	// mostEventChanges is how many changes one event has; a larger revision is
	// several events.
	mostEventChanges = 1000
	// sendTimeout is how long a watcher may take to receive one event.
	sendTimeout = 10 * time.Second
)

type watchInput struct {
	Request
	From        string `query:"from" doc:"send what is newer than this revision; default: what comes from now on"`
	LastEventID string `header:"Last-Event-ID" doc:"the id of the last event that was received: a revision; it counts before from"`
}

func (s *service) watchOperation(a huma.API) {
	r := a.OpenAPI().Components.Schemas
	event := func(name string, data *huma.Schema) *huma.Schema {
		return &huma.Schema{Type: huma.TypeObject, Required: []string{"event", "data"}, Properties: map[string]*huma.Schema{
			"event": {Type: huma.TypeString, Enum: []any{name}}, "id": {Type: huma.TypeString, Description: "the revision; only at its last event"}, "data": data,
		}}
	}
	op := s.operation(huma.Operation{
		Method: http.MethodGet, Path: "/v1/watch", OperationID: "watch", Tags: []string{"policy"}, Summary: "Follow the changes of the policy, as server-sent events",
		Description: fmt.Sprintf("The first event is start. Every revision follows, in order: an event change with at most %d changes, where more is true another of the same revision follows. "+
			"A comment is sent every %s where nothing happens. The last event of a watch that fails is problem. A client that does not receive an event within %s is disconnected; it goes on with Last-Event-ID.",
			mostEventChanges, heartbeat, sendTimeout),
	})
	op.Responses["200"] = &huma.Response{Description: "Events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{
		OneOf: []*huma.Schema{event("start", schemaOf[Start](r)), event("change", schemaOf[Event](r)), event("problem", schemaOf[Problem](r))},
	}}}}}
	huma.Register(a, op, s.watch)
}

const heartbeat = 15 * time.Second

func (s *service) watch(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	now, err := s.policyAt(ctx, store.At{})
	if err != nil {
		return nil, err
	}
	from := now.Revision()
	text, parameter := in.From, "query.from"
	if in.LastEventID != "" {
		text, parameter = in.LastEventID, "header.Last-Event-ID"
	}
	if text != "" {
		if from, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, invalid("the request cannot be understood", Fault{Pointer: parameter, Detail: fmt.Sprintf("is %q: want a revision", text)})
		}
	}
	if from > now.Revision() {
		return nil, problemOf(ctx, fmt.Errorf("%w: in force is %d", store.ErrFuture, now.Revision()))
	}
	select {
	case s.watches <- struct{}{}:
	default:
		p := problem(http.StatusServiceUnavailable, TypeBusy, fmt.Sprintf("%d clients watch already: try again later", mostWatches))
		p.retryAfter = 10
		return nil, p
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer func() { <-s.watches }()
		s.stream(c, from)
	}}, nil
}

// stream sends events until the client goes away or the server ends. Events wait
// in the backend while the client is slow; one that is too slow is disconnected.
func (s *service) stream(c huma.Context, from uint64) {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	stop := context.AfterFunc(s.ending, cancel) // long answers do not hold the end up
	defer stop()
	_, w := humago.Unwrap(c)
	out := &eventWriter{w: w, control: http.NewResponseController(w), patience: s.sendTimeout}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if out.event("start", "", Start{from}) != nil {
		return
	}
	events := make(chan store.Event)
	ended := make(chan error, 1)
	go func() { // ends when the backend does, which minds ctx
		for e, err := range s.backend.Events(ctx, from) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				ended <- ctx.Err()
				return
			}
		}
		ended <- nil
	}()
	beat := time.NewTicker(s.heartbeat)
	defer beat.Stop()
	var err error
	for err == nil {
		select {
		case e := <-events:
			err = out.changes(e)
			beat.Reset(s.heartbeat)
		case <-beat.C:
			err = out.write([]byte(":\n\n"))
		case failed := <-ended:
			if ctx.Err() == nil {
				if failed == nil {
					failed = errors.New("the watch has ended: connect again with Last-Event-ID")
				}
				_ = out.event("problem", "", problemOf(ctx, failed))
			}
			return
		}
	}
	cancel()
	<-ended
}

// eventWriter writes server-sent events, each in its time.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	// patience is how long the client may take to receive one event.
	patience time.Duration
}

func (o *eventWriter) changes(e store.Event) error {
	rest := e.Effective
	for {
		part := rest[:min(len(rest), mostEventChanges)]
		rest = rest[len(part):]
		id := ""
		if len(rest) == 0 {
			id = revisionHeader(e.Revision)
		}
		if err := o.event("change", id, Event{headOf(e.Head), changesOf(part, nil), len(rest) > 0}); err != nil || len(rest) == 0 {
			return err
		}
	}
}

func (o *eventWriter) event(name, id string, data any) error {
	text, err := json.Marshal(data) // without a newline
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, text)
	return o.write(b.Bytes())
}

func (o *eventWriter) write(b []byte) error {
	// Past guard, which would give each part of a large event its own time.
	w := o.w
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	if err := o.control.SetWriteDeadline(time.Now().Add(o.patience)); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return o.control.Flush()
}
