package ovsdb

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
)

// ErrNotConnected reports that there is no connection to a host's database now.
var ErrNotConnected = errors.New("not connected to the database")

var (
	errNotYet = errors.New("not connected yet")
	errEnded  = errors.New("ended")
)

// Host is one host's database. Its methods are safe for concurrent use.
type Host struct {
	name      string
	endpoint  ovsaddr.Endpoint
	tls       *tls.Config
	log       *slog.Logger
	probe     time.Duration
	applyWait time.Duration
	schemas   *Schemas
	wake      chan struct{} // capacity 1

	ensuring chan struct{} // holds a value while an Ensure runs; capacity 1

	mu      sync.Mutex
	bridge  string   // whose state is reported
	session *session // nil while there is no connection
	state   State
}

// Option changes how a [Host] works.
type Option func(*Host)

// WithProbe sets the time after which a silent connection is asked for an echo,
// and the time in which the echo must come. The default is 5 s.
func WithProbe(d time.Duration) Option { return func(h *Host) { h.probe = d } }

// WithApplyTimeout bounds how long [Host.Ensure] waits for ovs-vswitchd to apply
// a change, within its context. The default is 10 s.
func WithApplyTimeout(d time.Duration) Option { return func(h *Host) { h.applyWait = d } }

// WithBridge names the bridge whose state is reported until the first
// [Host.Ensure] names it. The default is [DefaultBridge].
func WithBridge(name string) Option { return func(h *Host) { h.bridge = name } }

// WithSchemas has several hosts share what is remembered of their databases'
// schemas.
func WithSchemas(s *Schemas) Option { return func(h *Host) { h.schemas = s } }

// NewHost returns a host by the name that errors and logs call it. conf is for
// ssl: endpoints only; see [ovsaddr.LoadTLS]. Nothing happens before
// [Host.Run].
func NewHost(name string, ep ovsaddr.Endpoint, conf *tls.Config, log *slog.Logger, opts ...Option) *Host {
	h := &Host{
		name: name, endpoint: ep, tls: conf,
		log:    log.With("host", name),
		probe:  5 * time.Second,
		bridge: DefaultBridge, applyWait: 10 * time.Second, schemas: new(Schemas),
		wake: make(chan struct{}, 1), ensuring: make(chan struct{}, 1),
		state: State{ConnError: errNotYet},
	}
	for _, o := range opts {
		o(h)
	}
	return h
}

// Name returns the name given to [NewHost].
func (h *Host) Name() string { return h.name }

// Changes returns the channel that gets a value when [Host.State] may have
// changed since the last value was taken. It has one reader.
func (h *Host) Changes() <-chan struct{} { return h.wake }

// State returns what is known of the host now.
func (h *Host) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state.clone()
}

// The time between attempts to connect: doubled from the first to the last.
const firstRetry, lastRetry = 50 * time.Millisecond, 5 * time.Second

// connectTimeout bounds connecting and reading the database's contents.
const connectTimeout = 20 * time.Second

// Run connects, keeps the state up to date, and connects again for ever, until
// ctx ends; it returns ctx's error. Run it once.
func (h *Host) Run(ctx context.Context) error {
	retry := firstRetry
	var last string
	for ctx.Err() == nil {
		worked, err := h.connection(ctx)
		if ctx.Err() != nil {
			break
		}
		if worked {
			retry = firstRetry
		}
		// An outage is one warning, not one for each attempt.
		level := slog.LevelDebug
		if text := err.Error(); worked || text != last {
			level, last = slog.LevelWarn, text
		}
		h.log.Log(ctx, level, "no connection to the host's database", "ovsdb", h.endpoint.String(), "error", err)
		h.publish(func(s *State) { s.Connected, s.ConnError = false, err })
		// All hosts of a rack come back at once: spread the attempts.
		wait := time.NewTimer(retry/2 + rand.N(retry))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		retry = min(2*retry, lastRetry)
	}
	h.publish(func(s *State) { s.Connected, s.ConnError = false, errEnded })
	return ctx.Err()
}

// connection makes one connection and returns when it has ended, and whether it
// ever worked. Every goroutine that it starts has ended then.
func (h *Host) connection(ctx context.Context) (worked bool, err error) {
	dialCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := h.endpoint.Dial(dialCtx, h.tls)
	if err != nil {
		return false, err
	}
	s := newSession(h, conn)
	ctx, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	// Closing the connection ends a read or write that is under way.
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	defer conn.Close()
	wg.Go(func() { end(s.rpc.serve()) })
	wg.Go(func() {
		if err := s.rpc.answer(ctx); err != nil {
			end(err)
		}
	})

	if err := s.begin(dialCtx); err != nil {
		// The first end of the connection is the cause; this follows from it.
		if errors.Is(err, errConnectionLost) {
			err = cmp.Or(context.Cause(ctx), s.rpc.ended(), err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("ovsdb-server at %s did not send its contents in %s", h.endpoint, connectTimeout)
		}
		return false, err
	}
	h.log.Info("connected to the host's database", "ovsdb", h.endpoint.String())
	h.setSession(s)
	defer h.setSession(nil)
	wg.Go(func() {
		if err := s.keepAlive(ctx, h.probe); err != nil {
			end(err)
		}
	})
	<-ctx.Done()
	return true, context.Cause(ctx)
}

// setSession makes s the connection in use, or none.
func (h *Host) setSession(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session = s
	if s != nil {
		h.observeLocked()
	}
}

// observeLocked renews the state from the rows of the connection in use. The
// caller holds mu.
func (h *Host) observeLocked() {
	if h.session == nil {
		return
	}
	h.publishLocked(observe(h.name, h.session.db, h.bridge))
}

func (h *Host) publish(change func(*State)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.state
	change(&s)
	h.publishLocked(s)
}

func (h *Host) publishLocked(s State) {
	if s.equal(&h.state) {
		return
	}
	h.state = s
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// current returns the connection in use.
func (h *Host) current() (*session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.session == nil {
		return nil, fmt.Errorf("host %s: %w: %w", h.name, ErrNotConnected, h.state.ConnError)
	}
	return h.session, nil
}
