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
	return &guard{h, slog.New(slog.DiscardHandler), b}
}
