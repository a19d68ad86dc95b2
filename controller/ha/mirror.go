package ha

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// entry is the state of one key.
type entry struct {
	key     string // without the prefix
	value   []byte
	lease   clientv3.LeaseID
	rev     int64 // of its last change
	deleted bool
}

// batch is what a mirror has learned.
type batch struct {
	// reset: entries is all there is at the revision rev.
	reset   bool
	rev     int64
	entries []entry
}

// mirror lists a prefix, follows its changes and hands both to sink, in order,
// until ctx ends. It outlives every failure of etcd; meanwhile nothing comes.
func mirror(ctx context.Context, c *clientv3.Client, prefix string, log *slog.Logger, sink func(batch)) {
	rev := int64(0)
	var wait waiter
	for ctx.Err() == nil {
		var err error
		if rev == 0 {
			var b batch
			if b, err = list(ctx, c, prefix); err == nil {
				sink(b)
				rev = b.rev
			}
		}
		if err == nil {
			rev, err = follow(ctx, c, prefix, rev, func(b batch) { wait.reset(); sink(b) })
		}
		if ctx.Err() != nil {
			return
		}
		log.Debug("watching etcd was interrupted", "prefix", prefix, "error", err)
		wait.sleep(ctx)
	}
}

func list(ctx context.Context, c *clientv3.Client, prefix string) (batch, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := c.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return batch{}, err
	}
	b := batch{reset: true, rev: r.Header.Revision, entries: make([]entry, len(r.Kvs))}
	for i, kv := range r.Kvs {
		b.entries[i] = toEntry(prefix, kv, false)
	}
	return b, nil
}

// follow hands on the changes after rev, and returns the revision of the last
// one when the watch ends; 0: the prefix must be listed again.
func follow(ctx context.Context, c *clientv3.Client, prefix string, rev int64, sink func(batch)) (int64, error) {
	// Without a leader the watch must end: the member of etcd that it comes from
	// may be cut off, and another one be well.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for r := range c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1)) {
		if err := r.Err(); err != nil {
			if errors.Is(err, rpctypes.ErrCompacted) {
				rev = 0
			}
			return rev, err
		}
		if len(r.Events) == 0 {
			continue
		}
		b := batch{entries: make([]entry, len(r.Events))}
		for i, e := range r.Events {
			b.entries[i] = toEntry(prefix, e.Kv, e.Type == mvccpb.DELETE)
		}
		b.rev = b.entries[len(b.entries)-1].rev
		sink(b)
		rev = b.rev
	}
	return rev, errors.New("the watch has ended")
}

func toEntry(prefix string, kv *mvccpb.KeyValue, deleted bool) entry {
	return entry{
		key: string(kv.Key[len(prefix):]), value: kv.Value,
		lease: clientv3.LeaseID(kv.Lease), rev: kv.ModRevision, deleted: deleted,
	}
}

// waiter waits between attempts: 50 ms at first, at most 1 s.
type waiter struct{ next time.Duration }

func (w *waiter) reset() { w.next = 0 }

func (w *waiter) sleep(ctx context.Context) {
	w.next = min(max(2*w.next, 50*time.Millisecond), time.Second)
	pause(ctx, w.next)
}

// pause returns after d or at the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
