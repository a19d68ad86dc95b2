package ha

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// progressInterval is the least time between two writes of a controller's
// progress.
const progressInterval = 100 * time.Millisecond

// PublishProgress tells the other controllers how far the hosts of this one
// are, in one value for all of them. It is written at once, every 100 ms at
// most, the last of several, and goes with the controller's lease. A value
// larger than [MaxStatus] is refused with [ErrTooLarge].
func (b *Board) PublishProgress(value []byte) error {
	if len(value) > MaxStatus {
		return fmt.Errorf("ha: progress: %d octets: %w", len(value), ErrTooLarge)
	}
	b.mu.Lock()
	b.advance = slices.Clone(value)
	b.mu.Unlock()
	notify(b.wakeProgress)
	return nil
}

// Progress returns what each controller that lives has told, by its name. The
// values must not be changed.
func (b *Board) Progress() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.progress)
}

// ProgressChanged receives after some controller has told of its progress.
func (b *Board) ProgressChanged() <-chan struct{} { return b.progressChanged }

// Seen returns the revision of etcd up to which [Board.TakeChanged], called
// after it, has told of all attachments.
func (b *Board) Seen() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen
}

// Digest stands for the tenures of hosts: equal where the hosts and the claims
// are.
type Digest uint64

// With returns the digest of those in d and one more.
func (d Digest) With(host string, revision int64) Digest {
	h := fnv.New64a()
	_, _ = h.Write([]byte(url.PathEscape(host) + "/" + strconv.FormatInt(revision, 10))) // never fails
	return d ^ Digest(h.Sum64())
}

// Revision is that of the claim, as in [Owner].
func (t *Tenure) Revision() int64 { return t.rev }

func (k keys) progressOf(member string) string { return k.progress + url.PathEscape(member) }

// writeProgress writes this controller's progress, anew under each lease.
func (b *Board) writeProgress(ctx context.Context) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	var under *lease
	var written []byte
	for {
		select {
		case <-b.wakeProgress:
		case <-look.C: // the lease may be another
		case <-ctx.Done():
			return
		}
		b.mu.Lock()
		value := b.advance
		b.mu.Unlock()
		l := b.group.lease()
		if l == nil || value == nil || l == under && bytes.Equal(value, written) {
			continue
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := b.group.cfg.Client.Put(try, b.group.keys.progressOf(l.member), string(value), clientv3.WithLease(l.id))
		cancel()
		if err == nil {
			under, written = l, value
		} else if ctx.Err() == nil {
			under = nil
			b.group.cfg.Log.Debug("writing the progress failed; trying again", "error", err)
			notify(b.wakeProgress)
		}
		pause(ctx, progressInterval)
	}
}
