package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// NewForTests returns a handler with times of its own.
func NewForTests(ctx context.Context, b Backend, s StatusSource, heartbeat, sendTimeout time.Duration) http.Handler {
	v := newService(ctx, b, s)
	v.heartbeat, v.sendTimeout = heartbeat, sendTimeout
	h, _ := v.handler("test")
	return &guard{h, slog.New(slog.DiscardHandler), b, usualTimes()}
}

// Hurried returns a handler of [NewForTests] that wants bodies within such times.
func Hurried(h http.Handler, pause, start time.Duration, rate int64) http.Handler {
	g := *h.(*guard)
	g.times.pause, g.times.start, g.times.rate = pause, start, rate
	return &g
}

// HurryHeaders sets how long a request's header may take. It is called before Run.
func (s *Server) HurryHeaders(d time.Duration) { s.http.ReadHeaderTimeout = d }
