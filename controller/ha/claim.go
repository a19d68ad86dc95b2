package ha

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxBatch is how many hosts one transaction claims: etcd allows 128 operations
// in a transaction (--max-txn-ops).
const maxBatch = 100

// claimItem is a host to claim, whose key must be at that revision; 0: absent.
// It is present where an earlier claim of ours succeeded and its answer was lost.
type claimItem struct {
	host string
	rev  int64
}

// claim tries to get hosts.
func (l *loop) claim(items []claimItem) {
	cur := l.lease
	l.busy++
	l.workers.Go(func() {
		l.claims <- struct{}{}
		r := l.tryClaim(cur, items)
		<-l.claims
		l.send(r)
	})
}

func (l *loop) tryClaim(cur *lease, items []claimItem) result {
	ops := make([]clientv3.Op, 0, len(items)+1)
	// The epoch at the very revision of the claim: whatever raises it later is
	// behind this claim in the order of revisions.
	ops = append(ops, clientv3.OpGet(l.g.keys.epoch))
	for _, it := range items {
		key := l.g.keys.owner(it.host)
		ops = append(ops, clientv3.OpTxn(
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", it.rev)},
			[]clientv3.Op{clientv3.OpPut(key, cur.member, clientv3.WithLease(cur.id))}, nil))
	}
	r := result{lease: cur}
	ctx, cancel := context.WithTimeout(l.work, 2*time.Second)
	defer cancel()
	// Under a lease that has ended, etcd refuses the whole transaction.
	t, err := l.g.cfg.Client.Txn(ctx).Then(ops...).Commit()
	var epoch uint64
	if err == nil {
		if kvs := t.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			epoch, err = parseEpoch(kvs[0].Value)
		}
	}
	r.err = err
	for i, it := range items {
		if err == nil && t.Responses[i+1].GetResponseTxn().Succeeded {
			r.won = append(r.won, won{it.host, t.Header.Revision, generation(epoch, t.Header.Revision)})
		} else {
			r.tried = append(r.tried, it.host)
		}
	}
	return r
}

// leave stops the driver of a host, if one runs, and then deletes the host's key
// if free is set; without, the key is no longer ours.
func (l *loop) leave(host string, h *holding, free bool) {
	t, cur, closing := h.tenure, l.lease, l.closing
	l.g.mu.RLock()
	rev := l.g.owners[host].rev
	l.g.mu.RUnlock()
	if t != nil {
		rev = t.rev
		t.over.Store(!free) // nothing may be written any more
	}
	h.state, h.tenure = leaving, nil
	l.busy++
	l.workers.Go(func() {
		if closing {
			<-l.resigned // nobody else claims a host before
			l.closers <- struct{}{}
			defer func() { <-l.closers }()
		}
		if t != nil {
			ctx, cancel := context.WithTimeout(l.work, l.g.cfg.LoseTimeout)
			l.g.cfg.Driver.Lose(ctx, t)
			cancel()
			t.over.Store(true)
		}
		f := freed{host: host}
		if free {
			f.rev = l.free(cur, host, rev)
		}
		l.send(result{lease: cur, freed: []freed{f}})
	})
}

// free deletes a host's key and returns the revision of that, or 0. It tries as
// long as the lease lives. At the end, when the lease is about to be given back,
// it tries once more only: etcd may be out of reach for ever.
func (l *loop) free(cur *lease, host string, rev int64) int64 {
	key := l.g.keys.owner(host)
	var wait waiter
	for !cur.dead.Load() && l.work.Err() == nil && (!l.ended() || cur.valid()) {
		last := l.ended()
		ctx, cancel := context.WithTimeout(l.work, time.Second)
		t, err := l.g.cfg.Client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
			Then(clientv3.OpDelete(key)).Commit()
		cancel()
		switch {
		case err == nil && t.Succeeded:
			return t.Header.Revision
		case err == nil:
			return 0 // an earlier attempt did it; the mirror tells
		case last:
			return 0
		}
		l.g.cfg.Log.Debug("freeing a host failed; trying again", "host", host, "error", err)
		wait.sleep(l.work)
	}
	return 0
}

// ended reports whether the end has begun.
func (l *loop) ended() bool {
	select {
	case <-l.ending:
		return true
	default:
		return false
	}
}

// send hands a result to the loop, which runs until it has had all of them.
func (l *loop) send(r result) { l.results <- r }

// resign takes the member's key away, so that its hosts belong to the others.
func (k *keeper) resign(ctx context.Context, l *lease) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	key := k.keys.member(l.member)
	if _, err := k.client.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue(key), "=", l.id)).
		Then(clientv3.OpDelete(key)).Commit(); err != nil {
		k.log.Debug("resigning failed", "error", err)
	}
}
