package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// compactionNote is the value of the key compaction.
type compactionNote struct {
	Time     time.Time `json:"time"`
	Revision uint64    `json:"revision"` // that history is kept from
}

// compactor lets etcd forget what is older than the retention, one controller
// at a time.
func (s *Store) compactor(ctx context.Context) error {
	every := min(max(s.c.Retention/24, time.Minute), time.Hour)
	for {
		if err := sleep(ctx, every); err != nil {
			return err
		}
		if _, err := s.compact(ctx, every); err != nil && ctx.Err() == nil {
			s.c.Log.Warn("etcd's history could not be shortened", "error", err)
		}
	}
}

// compact forgets what is older than the retention, unless somebody did in the
// time given. It returns the revision that history is kept from now, 0 for no change.
func (s *Store) compact(ctx context.Context, within time.Duration) (uint64, error) {
	keep, err := s.oldest(ctx)
	if err != nil || keep == 0 {
		return 0, err
	}
	r, err := s.client.Get(ctx, s.keys.compaction)
	if err != nil {
		return 0, s.unavailable(err)
	}
	var last compactionNote
	seen := int64(0)
	if len(r.Kvs) > 0 {
		seen = r.Kvs[0].ModRevision
		_ = json.Unmarshal(r.Kvs[0].Value, &last) // a bad one is overwritten
	}
	now := s.c.now().UTC()
	if keep <= last.Revision || now.Sub(last.Time) < within/2 && now.After(last.Time) {
		return 0, nil
	}
	value, err := json.Marshal(compactionNote{now, keep})
	if err != nil {
		return 0, err
	}
	t, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(s.keys.compaction), "=", seen)).
		Then(clientv3.OpPut(s.keys.compaction, string(value))).Commit()
	if err != nil || !t.Succeeded { // else another controller is at it
		return 0, s.unavailable(err)
	}
	if _, err := s.client.Compact(ctx, int64(keep)); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, s.unavailable(err)
	}
	return keep, s.prune(ctx, int64(keep))
}

// oldest returns the revision of the head that history is to be kept from: never
// a later one than that in force, on which all rests while objects are staged.
func (s *Store) oldest(ctx context.Context) (uint64, error) {
	now, _, _, err := s.readHead(ctx, 0)
	if err != nil || now.Revision == 0 {
		return 0, err
	}
	h, err := s.headAtTime(ctx, s.c.now().Add(-s.c.Retention))
	if errors.Is(err, ErrCompacted) {
		err = nil
	}
	if err != nil {
		return 0, err
	}
	if now.total > s.c.MaxHistory {
		if g, err := s.headOfTotal(ctx, h.Revision, now, now.total-s.c.MaxHistory); err != nil {
			return 0, err
		} else if g > h.Revision {
			s.c.Log.Info("history is shortened below the retention, because there were so many changes", "from", g, "changes", s.c.MaxHistory)
			return g, nil
		}
	}
	return h.Revision, nil
}

// headOfTotal returns the last head, after a revision, with no more than total
// changes since the beginning.
func (s *Store) headOfTotal(ctx context.Context, after uint64, now head, total uint64) (uint64, error) {
	low, high, found := int64(after), int64(now.Revision), uint64(0)
	for high-low > 1 {
		mid := low + (high-low)/2
		h, _, _, err := s.readHead(ctx, mid)
		switch {
		case errors.Is(err, ErrCompacted):
			low = mid
		case err != nil:
			return 0, err
		case h.total > total:
			high = mid
		default:
			low, found = mid, h.Revision
		}
	}
	return found, nil
}

// prune deletes the marks of objects that were deleted before a revision.
func (s *Store) prune(ctx context.Context, before int64) error {
	var marks []*mvccpb.KeyValue
	err := s.readRange(ctx, s.keys.objects, clientv3.GetPrefixRangeEnd(s.keys.objects), 0, false, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if len(kv.Value) == 0 && kv.ModRevision < before {
				marks = append(marks, &mvccpb.KeyValue{Key: kv.Key, ModRevision: kv.ModRevision})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	n := max(s.c.MaxTxnOps/2, 1)
	for from := 0; from < len(marks); from += n {
		// Where one has changed since, these wait for the next time.
		conditions := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.keys.staging), "=", 0)}
		var ops []clientv3.Op
		for _, kv := range marks[from:min(from+n, len(marks))] {
			conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision))
			ops = append(ops, clientv3.OpDelete(string(kv.Key)))
		}
		if _, err := s.client.Txn(ctx).If(conditions...).Then(ops...).Commit(); err != nil {
			return s.unavailable(err)
		}
	}
	if len(marks) > 0 {
		s.c.Log.Debug("marks of deleted objects are gone", "first", strings.TrimPrefix(string(marks[0].Key), s.keys.objects), "count", len(marks))
	}
	return nil
}
