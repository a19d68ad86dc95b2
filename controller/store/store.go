package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Store is tenant policy in etcd, followed by [Store.Run]. Its methods may be
// called by many goroutines.
type Store struct {
	c      Config
	keys   layout
	client *clientv3.Client
	member *member // nil where etcd is elsewhere
	shared bool    // the client is another's, in tests

	state   atomic.Pointer[state] // nil until the policy is loaded
	wake    chan struct{}
	queue   chan *request
	poke    chan struct{} // the follower has reason to look again
	rescue  chan struct{} // the recoverer has reason to look
	stopped chan struct{} // closed when Run has ended
	quorum  *quorum

	mu      sync.Mutex
	running bool
	closed  bool
	events  ring
	moved   chan struct{} // closed and replaced when the state changes
	health  health
	foreign map[string]int64 // objects that were edited by somebody else, with the revision
	staging *staging         // the large apply that is under way, whoever is at it
	own     map[string]bool  // tokens of stagings that this process is at
	flight  *plan            // that is on its way to etcd in one transaction
}

// state is the policy in force.
type state struct {
	policy *tenant.Policy
	head   head
}

// staging is a large apply under way.
type staging struct {
	note  stagingNote
	fence int64 // the key's ModRevision
	since time.Time
}

// Open connects to etcd, or starts the one in this process. It fails where the
// configuration, or the data directory, is of no use; the caller goes on with
// what it has, and may try again. An etcd that does not answer is no failure:
// [Store.Run] tries until it does.
func Open(ctx context.Context, config Config) (*Store, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := newStore(c)
	if c.Embedded != nil {
		s.member, s.client, err = startMember(c, s.died)
	} else {
		// A way back to etcd within a second: gRPC's own pauses grow to two minutes.
		again := grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		})
		in := login{wanted: c.Username != "" && c.Password != ""}
		s.client, err = clientv3.New(clientv3.Config{Endpoints: c.Endpoints, TLS: c.TLS, Username: c.Username, Password: c.Password,
			DialTimeout: c.DialTimeout, DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 2 * time.Second,
			DialOptions: []grpc.DialOption{again, grpc.WithChainUnaryInterceptor(in.intercept)}, Logger: etcdLog(c.Log, s.died)})
		in.opened.Store(true)
		if err != nil {
			err = fmt.Errorf("store: etcd at %v: %w", c.Endpoints, err)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// login puts off a client's logging in: as it opens, it would fail where etcd
// does not answer, or does not know the user yet. It is told then that there are
// no users, and with its first request that it has to log in.
type login struct {
	wanted     bool
	opened, in atomic.Bool
}

func (l *login) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	asks := method == "/etcdserverpb.Auth/Authenticate"
	switch {
	case asks && !l.opened.Load():
		return rpctypes.ErrGRPCAuthNotEnabled
	case !asks && l.wanted && !l.in.Load():
		return rpctypes.ErrGRPCUserEmpty
	}
	err := invoker(ctx, method, req, reply, cc, opts...)
	if asks && (err == nil || errors.Is(rpctypes.Error(err), rpctypes.ErrAuthNotEnabled)) {
		l.in.Store(true)
	}
	return err
}

func newStore(c Config) *Store {
	s := &Store{c: c, keys: newLayout(c.Prefix), wake: make(chan struct{}, 1), queue: make(chan *request, 1024),
		poke: make(chan struct{}, 1), rescue: make(chan struct{}, 1), stopped: make(chan struct{}), quorum: newQuorum(), moved: make(chan struct{}), foreign: make(map[string]int64), own: make(map[string]bool)}
	s.health.err = errors.New("the policy is not loaded yet")
	return s
}

// died is told that the etcd in this process has come to its end.
func (s *Store) died(why string) {
	err := fmt.Errorf("%w: etcd in this process has ended: %s: put that right (is the disk full, or broken?) and start the controller again; forwarding goes on", ErrUnavailable, why)
	s.mu.Lock()
	s.health.dead = err
	s.mu.Unlock()
	s.quorum.see(false, 0) // nobody waits for it
	s.quorum.because(err)
	s.c.Log.Error("etcd has ended", "error", why)
}

// Run loads the policy, follows it, and applies changes, until ctx ends. It is
// called once.
func (s *Store) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.running || s.closed {
		s.mu.Unlock()
		return errors.New("store: Run is called once, before Close")
	}
	s.running = true
	s.mu.Unlock()
	defer close(s.stopped)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx) })
	g.Go(func() error { return s.commit(ctx) })
	g.Go(func() error { return s.probe(ctx) })
	g.Go(func() error { return s.sense(ctx) })
	g.Go(func() error { return s.recoverer(ctx) })
	g.Go(func() error { return s.compactor(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close ends the connection, and the etcd in this process. Run must have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	running := s.running
	s.mu.Unlock()
	if running {
		<-s.stopped
	}
	if s.shared {
		return nil
	}
	err := s.client.Close()
	if errors.Is(err, context.Canceled) {
		err = nil // how a client in the process ends
	}
	if s.member != nil {
		err = errors.Join(err, s.member.close())
	}
	return err
}

// Client returns the connection to etcd.
func (s *Store) Client() *clientv3.Client { return s.client }

// Policy returns the policy in force, with the revision of the head; nil until
// it has been loaded.
func (s *Store) Policy() *tenant.Policy {
	if st := s.state.Load(); st != nil {
		return st.policy
	}
	return nil
}

// Head returns the version in force; the zero Head until it has been loaded.
func (s *Store) Head() Head {
	if st := s.state.Load(); st != nil {
		return st.head.Head
	}
	return Head{}
}

// Changes is sent to when the policy has changed; several changes may be one
// wake-up. It is for one reader; [Store.Events] serves any number.
func (s *Store) Changes() <-chan struct{} { return s.wake }

// publish puts next in force after the version of revision base. It reports
// whether that one was in force.
func (s *Store) publish(base uint64, next *state, effective []tenant.Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.state.Load(); st != nil && st.head.Revision != base {
		return false
	}
	s.put(next, Event{Head: next.head.Head, Effective: effective})
	return true
}

// put changes the state under the lock.
func (s *Store) put(next *state, e Event) {
	if st := s.state.Load(); st != nil {
		e.previous = st.head.Revision
	}
	e.policy = next.policy
	s.state.Store(next)
	s.events.add(e)
	s.tell()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// tell wakes all who wait for a change of anything. The lock is held.
func (s *Store) tell() {
	close(s.moved)
	s.moved = make(chan struct{})
}

// await waits until ok, which is called under the lock, is true.
func (s *Store) await(ctx context.Context, ok func() bool) error {
	for {
		s.mu.Lock()
		done, moved := ok(), s.moved
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-s.stopped:
			return fmt.Errorf("%w: the controller is ending", ErrUnavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reached waits until the version of that revision, or a later one, is in force here.
func (s *Store) reached(ctx context.Context, revision uint64) error {
	return s.await(ctx, func() bool {
		st := s.state.Load()
		return st != nil && st.head.Revision >= revision
	})
}

// Sync waits until everything that was applied anywhere before the call is in
// force here.
func (s *Store) Sync(ctx context.Context) error {
	ctx, cancel := s.attempt(ctx, s.c.RequestTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.keys.head)
	if err != nil {
		return s.unavailable(err)
	}
	revision := uint64(0)
	if len(r.Kvs) > 0 {
		revision = uint64(r.Kvs[0].ModRevision)
	}
	if err := s.reached(ctx, revision); err != nil {
		return s.unavailable(err)
	}
	return nil
}

// unavailable says of a failed request what a caller decides by.
func (s *Store) unavailable(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrCompacted), errors.Is(err, ErrFuture), errors.Is(err, context.Canceled) && !s.quorum.isLost():
		return err
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w (settings: store.retention)", ErrCompacted)
	case errors.Is(err, rpctypes.ErrFutureRev):
		return ErrFuture
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: etcd's database is as large as its quota allows: lower store.retention, or raise the quota, then etcdctl defrag and etcdctl alarm disarm", ErrUnavailable)
	}
	if refused := s.refusal(err); refused != nil {
		return refused
	}
	s.mu.Lock()
	dead, broken := s.health.dead, s.health.broken
	s.mu.Unlock()
	switch {
	case dead != nil:
		return dead
	case s.quorum.isLost():
		return s.quorum.err()
	case broken != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrUnavailable, broken)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer from etcd in time: has it lost its quorum?", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// ring keeps the latest events.
type ring struct {
	events  []Event
	changes int
	first   uint64 // number of events[0] since the start
}

const (
	ringEvents  = 2048
	ringChanges = 200_000
	// ringPolicies of the latest events have their policies: what a version does
	// not share with the others costs some KiB for each change.
	ringPolicies = 16
)

func (r *ring) add(e Event) {
	r.events = append(r.events, e)
	if n := len(r.events) - ringPolicies; n > 0 {
		r.events[n-1].policy = nil
	}
	r.changes += len(e.Effective)
	drop := 0
	for len(r.events)-drop > ringEvents || r.changes > ringChanges && len(r.events)-drop > 1 {
		r.changes -= len(r.events[drop].Effective)
		r.events[drop] = Event{}
		drop++
	}
	r.events = r.events[drop:]
	r.first += uint64(drop)
}
