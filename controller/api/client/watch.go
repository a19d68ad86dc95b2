package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
)

const (
	// silence is how long a watch may be without as much as a heartbeat.
	silence = 45 * time.Second
	// The pauses before a watch is resumed.
	firstResume, lastResume = 200 * time.Millisecond, 5 * time.Second
	// maxEvent bounds one line of an event, in octets.
	maxEvent = 64 << 20
)

// Watch calls yield for what every revision after from changes, in order and
// each once; without from (nil), from now on. started, if not nil, is called
// with the revision that is in force as each connection begins. A connection
// that breaks is made anew and resumed; lost, if not nil, is told why. Watch ends
// with ctx, with an error of yield, which it returns, when the controller says
// that it cannot resume, or when the first connection fails.
func (c *Client) Watch(ctx context.Context, from *uint64, started func(revision uint64), lost func(error), yield func(api.Event) error) error {
	w := &watcher{client: c, started: started, yield: yield}
	if from != nil {
		w.last = strconv.FormatUint(*from, 10)
	}
	pause := firstResume
	for {
		w.connected = false
		err := w.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var p *api.Problem
		switch {
		case w.failed != nil:
			return w.failed
		case errors.As(err, &p) && p.Type != api.TypeBusy && p.Type != api.TypeSlow && p.Type != api.TypeUnavailable && p.Type != api.TypeNoPolicy && p.Type != api.TypeInterrupted:
			return err
		case w.last == "" || !w.once:
			return err
		}
		if w.connected {
			pause = firstResume
		}
		if lost != nil {
			lost(err)
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, lastResume)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type watcher struct {
	client    *Client
	started   func(uint64)
	yield     func(api.Event) error
	last      string     // the revision that everything until is known of
	pending   *api.Event // the first parts of a revision
	once      bool       // there was a connection
	connected bool
	failed    error // of yield
}

// connection follows one connection to its end.
func (w *watcher) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	header := http.Header{"Accept": {"text/event-stream"}}
	query := url.Values{}
	if w.last != "" {
		header.Set("Last-Event-ID", w.last)
	}
	silent := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%s: no sign of life for %s", w.client.where, silence)) })
	defer silent.Stop()
	resp, err := w.client.once(ctx, request{method: http.MethodGet, path: "/v1/watch", query: query, header: header})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	w.pending = nil
	s := bufio.NewScanner(resp.Body)
	s.Buffer(make([]byte, 64<<10), maxEvent)
	var name, data string
	for s.Scan() {
		silent.Reset(silence)
		field, value, _ := strings.Cut(s.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case s.Text() == "":
			if err := w.event(name, data); err != nil {
				return err
			}
			name, data = "", ""
		case field == "event":
			name = value
		case field == "data":
			data = value // the server writes one line
		}
	}
	err = s.Err()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err == nil {
		err = fmt.Errorf("%s: the connection has ended", w.client.where)
	}
	return err
}

// event takes one event.
func (w *watcher) event(name, data string) error {
	unreadable := func(err error) error {
		return fmt.Errorf("%s: an event cannot be read, is the controller of the same release? %w", w.client.where, err)
	}
	switch name {
	case "start":
		var s api.Start
		if err := json.Unmarshal([]byte(data), &s); err != nil {
			return unreadable(err)
		}
		w.once, w.connected = true, true
		w.last = strconv.FormatUint(s.Revision, 10)
		if w.started != nil {
			w.started(s.Revision)
		}
	case "change":
		var e api.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return unreadable(err)
		}
		if w.pending != nil {
			e.Effective = append(w.pending.Effective, e.Effective...)
		}
		if e.More {
			w.pending = &e
			return nil
		}
		w.pending = nil
		if err := w.yield(e); err != nil {
			w.failed = err
			return err
		}
		w.last = strconv.FormatUint(e.Revision, 10)
	case "problem":
		p := &api.Problem{}
		if err := json.Unmarshal([]byte(data), p); err != nil {
			return unreadable(err)
		}
		return p
	}
	return nil
}
