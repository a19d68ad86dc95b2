package ha

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// writers is how many transactions for attachments are under way at a time.
const writers = 8

// writeAttachments brings the keys of the hosts to what is wanted.
func (b *Board) writeAttachments(ctx context.Context) {
	var wait waiter
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-b.wakeAttachments:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		select {
		case <-b.synced: // what is there must be known first
		default:
			continue
		}
		todo, forget := b.takeDirty()
		var g errgroup.Group
		g.SetLimit(writers)
		for _, w := range todo {
			g.Go(func() error {
				err := b.writeHost(ctx, w)
				if err != nil {
					b.mu.Lock()
					b.dirty[w.tenure.Host] = true
					b.mu.Unlock()
				}
				return err
			})
		}
		for _, host := range forget {
			g.Go(func() error { return b.writeForget(ctx, host) })
		}
		if err := g.Wait(); err != nil && ctx.Err() == nil {
			b.group.cfg.Log.Debug("writing attachments failed; trying again", "error", err)
			wait.sleep(ctx)
			notify(b.wakeAttachments)
		} else {
			wait.reset()
		}
		b.mu.Lock()
		if len(b.forget) > 0 {
			again.Reset(time.Second)
		}
		b.mu.Unlock()
	}
}

func (b *Board) takeDirty() (todo []wantAttachments, forget []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for host := range b.dirty {
		w, ok := b.want[host]
		if ok && w.tenure.over.Load() {
			delete(b.want, host)
		} else if ok {
			todo = append(todo, w)
		}
	}
	clear(b.dirty)
	for host, n := range b.forget {
		if n == 0 {
			delete(b.forget, host)
			continue
		}
		b.forget[host] = n - 1
		forget = append(forget, host)
	}
	return todo, forget
}

// writeHost writes a host's differences, some at a time.
func (b *Board) writeHost(ctx context.Context, w wantAttachments) error {
	host := w.tenure.Host
	for {
		put, del := b.differences(host, w.ids)
		if len(put)+len(del) == 0 {
			return nil
		}
		prefix := b.group.keys.attachmentsOf(host)
		var ops []clientv3.Op
		for _, id := range put {
			ops = append(ops, clientv3.OpPut(prefix+id, ""))
		}
		for _, id := range del {
			ops = append(ops, clientv3.OpDelete(prefix+id))
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		r, err := b.group.cfg.Client.Txn(ctx).If(b.group.keys.inTenure(w.tenure)).Then(ops...).Commit()
		cancel()
		if err != nil {
			return err
		}
		b.mu.Lock()
		if !r.Succeeded {
			// The host has another owner, who says what is there.
			if b.want[host].tenure == w.tenure {
				delete(b.want, host)
			}
			b.mu.Unlock()
			return nil
		}
		for _, id := range put {
			b.place(host, id, placed{rev: r.Header.Revision}, false)
		}
		for _, id := range del {
			b.place(host, id, placed{rev: r.Header.Revision, deleted: true}, false)
		}
		b.mu.Unlock()
		notify(b.attachmentsChanged)
	}
}

// differences returns what must be put and deleted, as much as one transaction
// takes.
func (b *Board) differences(host string, want map[string]bool) (put, del []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have := b.placed[host]
	for id := range want {
		if p, ok := have[id]; (!ok || p.deleted) && len(put) < maxBatch {
			put = append(put, id)
		}
	}
	for id, p := range have {
		if !p.deleted && !want[id] && len(put)+len(del) < maxBatch {
			del = append(del, id)
		}
	}
	return put, del
}

func (b *Board) writeForget(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	k := b.group.keys
	r, err := b.group.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(k.owner(host)), "=", 0)).
		Then(clientv3.OpDelete(k.attachmentsOf(host), clientv3.WithPrefix()), clientv3.OpDelete(k.statusOf(host))).Commit()
	if err != nil || !r.Succeeded {
		return err
	}
	b.mu.Lock()
	delete(b.forget, host)
	b.mu.Unlock()
	return nil
}

// writeStatus writes the statuses that wait, the oldest first.
func (b *Board) writeStatus(ctx context.Context) {
	for {
		select {
		case <-b.wakeStatus:
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		n := min(len(b.reported), maxBatch)
		hosts := b.reported[:n:n]
		b.reported = b.reported[n:]
		more := len(b.reported) > 0
		var todo []wantStatus
		for _, host := range hosts {
			w := b.report[host]
			delete(b.report, host)
			if s, ok := b.statuses[host]; !w.tenure.over.Load() && (!ok || s.Revision < w.tenure.rev || string(s.Value) != string(w.value)) {
				todo = append(todo, w)
			}
		}
		b.mu.Unlock()
		if len(todo) > 0 {
			if err := b.putStatus(ctx, todo); err != nil && ctx.Err() == nil {
				b.group.cfg.Log.Debug("writing statuses failed; trying again", "error", err)
				b.putBack(todo)
				more = true
			}
			pause(ctx, statusInterval)
		}
		if more {
			notify(b.wakeStatus)
		}
	}
}

func (b *Board) putStatus(ctx context.Context, todo []wantStatus) error {
	ops := make([]clientv3.Op, len(todo))
	for i, w := range todo {
		ops[i] = clientv3.OpTxn(
			[]clientv3.Cmp{b.group.keys.inTenure(w.tenure)},
			[]clientv3.Op{clientv3.OpPut(b.group.keys.statusOf(w.tenure.Host), string(w.value), clientv3.WithLease(w.tenure.lease.id))}, nil)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := b.group.cfg.Client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return err
	}
	b.mu.Lock()
	for i, w := range todo {
		host := w.tenure.Host
		if r.Responses[i].GetResponseTxn().Succeeded && b.statuses[host].Revision < r.Header.Revision {
			b.statuses[host] = Status{w.value, r.Header.Revision}
		}
	}
	b.mu.Unlock()
	notify(b.statusesChanged)
	return nil
}

// putBack returns statuses that were not written, unless newer ones wait.
func (b *Board) putBack(todo []wantStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range todo {
		if _, newer := b.report[w.tenure.Host]; !newer && !w.tenure.over.Load() {
			b.report[w.tenure.Host] = w
			b.reported = append(b.reported, w.tenure.Host)
		}
	}
}
