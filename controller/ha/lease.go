package ha

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// lease is a member's lease, with what its holder may believe about it.
type lease struct {
	id     clientv3.LeaseID
	member string // the name that it joined with
	ttl    time.Duration

	start time.Time    // monotonic
	until atomic.Int64 // nanoseconds from start up to which it certainly lives
	dead  atomic.Bool
}

// renewed notes a renewal that was asked for at a time: etcd counts from when
// it got the question, which was later. A fifth is left for what is under way
// when the time is over, and for clocks that do not run at the same pace.
//
// It reports whether the lease was uncertain before: whoever asked [lease.valid]
// and was told no, asked before that.
func (l *lease) renewed(asked time.Time, ttl time.Duration) (lapsed bool) {
	before := l.until.Swap(int64(asked.Sub(l.start) + ttl - ttl/5))
	return time.Duration(before) <= time.Since(l.start)
}

// left returns how long the lease certainly lives; not above 0: who knows.
func (l *lease) left() time.Duration {
	return time.Duration(l.until.Load()) - time.Since(l.start)
}

func (l *lease) valid() bool { return !l.dead.Load() && l.left() > 0 }

type leaseEvent struct {
	lease *lease
	kind  leaseEventKind
}

// kindOf tells a renewal in time from one that came late.
func kindOf(lapsed bool) leaseEventKind {
	if lapsed {
		return leaseRegained
	}
	return leaseRenewed
}

type leaseEventKind int

const (
	leaseJoined leaseEventKind = iota
	leaseRenewed
	leaseRegained // renewed, after it was uncertain for a while, however short
	leaseLost
)

// keeper holds a lease and the member's key under it, and gets new ones when
// they are lost. [concurrency.Session] would do that too, but it counts a
// lease's time from when the answer was read: a process that was stopped would
// take an old answer for a fresh one.
type keeper struct {
	client   *clientv3.Client
	keys     keys
	name     string
	instance string
	ttl      time.Duration
	log      *slog.Logger
	events   chan<- leaseEvent
	api      clientv3.Lease
}

// patientLease makes renewals wait for a connection: [clientv3.Lease.KeepAliveOnce]
// tries again without a pause while there is none, and would burn a processor.
type patientLease struct{ etcdserverpb.LeaseClient }

func (p patientLease) LeaseKeepAlive(ctx context.Context, o ...grpc.CallOption) (etcdserverpb.Lease_LeaseKeepAliveClient, error) {
	return p.LeaseClient.LeaseKeepAlive(ctx, append(o[:len(o):len(o)], grpc.WaitForReady(true))...)
}

func newKeeper(cfg *Config, k keys, instance string, events chan<- leaseEvent) *keeper {
	kp := &keeper{client: cfg.Client, keys: k, name: cfg.Name, instance: instance, ttl: cfg.TTL, log: cfg.Log, events: events, api: cfg.Client.Lease}
	// A client inside etcd's own process has no connection.
	if cfg.Client.ActiveConnection() != nil {
		kp.api = clientv3.NewLeaseFromLeaseClient(patientLease{clientv3.RetryLeaseClient(cfg.Client)}, cfg.Client, time.Second)
	}
	return kp
}

// run works until ctx ends. It joins no more once closing is closed.
func (k *keeper) run(ctx context.Context, closing <-chan struct{}) {
	if k.api != k.client.Lease {
		defer func() {
			if err := k.api.Close(); err != nil {
				k.log.Debug("closing the lease client", "error", err)
			}
		}()
	}
	joining, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-closing:
			cancel()
		case <-joining.Done():
		}
	}()
	var wait waiter
	for joining.Err() == nil {
		l, err := k.join(joining)
		if err != nil {
			if joining.Err() == nil {
				k.log.Warn("joining the controllers failed; trying again", "member", k.name, "error", err)
			}
			wait.sleep(joining)
			continue
		}
		wait.reset()
		if !k.tell(ctx, l, leaseJoined) {
			return
		}
		k.keep(ctx, l)
		l.dead.Store(true)
		if !k.tell(ctx, l, leaseLost) {
			return
		}
	}
}

func (k *keeper) tell(ctx context.Context, l *lease, kind leaseEventKind) bool {
	select {
	case k.events <- leaseEvent{l, kind}:
		return true
	case <-ctx.Done():
		return false
	}
}

// slowestRenewal is the longest that one attempt to renew a lease may take.
const slowestRenewal = 2 * time.Second

// keep renews the lease until etcd says that it is no more, or ctx ends. Attempts
// that fail are followed by longer ones: an etcd that was started anew wants the
// user's password again, which alone takes it a good part of a second on a slow
// machine.
func (k *keeper) keep(ctx context.Context, l *lease) {
	first := max(l.ttl/4, 100*time.Millisecond)
	limit := first
	for ctx.Err() == nil {
		asked := time.Now()
		try, cancel := context.WithTimeout(ctx, limit)
		r, err := k.api.KeepAliveOnce(try, l.id)
		cancel()
		switch {
		case err == nil:
			lapsed := l.renewed(asked, time.Duration(r.TTL)*time.Second)
			if !k.tell(ctx, l, kindOf(lapsed)) {
				return
			}
			pause(ctx, l.ttl/3-time.Since(asked))
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		default:
			k.log.Debug("renewing the lease failed", "left", l.left(), "error", err)
			limit = max(first, min(2*limit, slowestRenewal))
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// join gets a lease, raises the epoch and puts the member's key.
func (k *keeper) join(ctx context.Context) (*lease, error) {
	name, err := k.freeName(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	asked := time.Now()
	g, err := k.client.Grant(ctx, int64((k.ttl+time.Second-1)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("ha: getting a lease of %v: %w", k.ttl, err)
	}
	l := &lease{id: g.ID, member: name, ttl: time.Duration(g.TTL) * time.Second, start: asked}
	l.renewed(asked, l.ttl)
	if l.ttl > k.ttl {
		k.log.Warn("etcd grants no shorter lease; lower its election timeout for a faster failover", "asked", k.ttl, "granted", l.ttl)
	}
	if err := k.raiseEpoch(ctx); err != nil {
		return nil, err
	}
	key := k.keys.member(name)
	r, err := k.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, k.instance, clientv3.WithLease(l.id))).Commit()
	if err == nil && !r.Succeeded {
		err = fmt.Errorf("another controller has just joined as %q", name)
	}
	if err != nil {
		k.revoke(ctx, l)
		return nil, fmt.Errorf("ha: joining as %q: %w", name, err)
	}
	k.log.Info("joined the controllers", "member", name, "lease", l.ttl)
	return l, nil
}

// freeName returns the name to join with. A name in use may be this
// controller's own from before a crash: that ends with its lease. If it does
// not, two controllers share a name, and this one's gets a suffix.
func (k *keeper) freeName(ctx context.Context) (string, error) {
	for end := time.Now().Add(2*k.ttl + 2*time.Second); ; {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		r, err := k.client.Get(try, k.keys.member(k.name), clientv3.WithKeysOnly())
		cancel()
		switch {
		case err != nil:
			return "", fmt.Errorf("ha: looking for the member %q: %w", k.name, err)
		case r.Count == 0:
			return k.name, nil
		case time.Now().After(end):
			name := k.name + "~" + k.instance
			k.log.Warn("two controllers have the same name: give each its own", "name", k.name, "member", name)
			return name, nil
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// raiseEpoch sets the epoch to the time, or to one more than it was.
func (k *keeper) raiseEpoch(ctx context.Context) error {
	for {
		r, err := k.client.Get(ctx, k.keys.epoch)
		if err != nil {
			return fmt.Errorf("ha: reading the epoch: %w", err)
		}
		rev, next := int64(0), uint64(time.Now().UnixMilli())
		if len(r.Kvs) > 0 {
			old, err := parseEpoch(r.Kvs[0].Value)
			if err != nil {
				return err
			}
			rev, next = r.Kvs[0].ModRevision, max(next, old+1)
		}
		t, err := k.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(k.keys.epoch), "=", rev)).
			Then(clientv3.OpPut(k.keys.epoch, fmt.Sprintf("%020d", next))).Commit()
		if err != nil {
			return fmt.Errorf("ha: raising the epoch: %w", err)
		}
		if t.Succeeded {
			return nil
		}
	}
}

// maxEpoch keeps generations within 63 bits: the year 2248.
const maxEpoch = 1<<43 - 1

func parseEpoch(b []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || n > maxEpoch {
		return 0, fmt.Errorf("ha: the epoch in etcd is %q, not milliseconds of Unix time: delete that key while no controller runs", b)
	}
	return n, nil
}

// generation returns the fencing generation of a claim.
func generation(epoch uint64, rev int64) uint64 { return epoch<<20 + uint64(rev) }

// revoke ends the lease at once, and with it all keys under it.
func (k *keeper) revoke(ctx context.Context, l *lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	l.dead.Store(true)
	if _, err := k.client.Revoke(ctx, l.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		k.log.Info("the lease could not be given back; it runs out by itself", "error", err)
	}
}
