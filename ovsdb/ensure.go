package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// ErrNotApplied reports that a change is in the database, but that ovs-vswitchd
// has not acted on it in time.
var ErrNotApplied = errors.New("ovs-vswitchd has not applied the change")

// Ensure makes the host what cfg asks for, in one transaction, or in none where
// nothing differs. Whatever lacks our label stays as it is; where that is in the
// way, the error is a [*NotOursError] or an [*ActiveControllerError] and nothing
// was changed. A transaction whose grounds somebody else changed meanwhile does
// nothing and is planned anew.
//
// After a change, Ensure waits until ovs-vswitchd has applied it, so that the
// bridge and the ports' numbers are there; see [WithApplyTimeout] and
// [ErrNotApplied]. A gre port that Open vSwitch cannot set up is tried once
// more, by a second transaction that changes no configuration; if it still
// fails it is among [State.Problems].
//
// Without a connection the error is [ErrNotConnected]. When ctx ends or the
// connection is lost meanwhile, the change may or may not have been made; call
// Ensure again.
func (h *Host) Ensure(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return fmt.Errorf("host %s: %w", h.name, err)
	}
	select {
	case h.ensuring <- struct{}{}:
		defer func() { <-h.ensuring }()
	case <-ctx.Done():
		return h.explain(ctx.Err())
	}
	h.mu.Lock()
	h.bridge = cfg.Bridge
	h.observeLocked()
	h.mu.Unlock()

	s, err := h.current()
	if err != nil {
		return err
	}
	next, err := s.transact(ctx, func(db *database) (*transaction, error) {
		t, err := plan(h.name, db, &cfg)
		if err == nil && !t.empty() {
			t.bumpConfig()
		}
		return t, err
	})
	if err != nil {
		return h.explain(err)
	}
	if next == 0 {
		return nil
	}
	h.log.Info("configured the host", "bridge", cfg.Bridge, "port-mode", cfg.PortMode.String(), "listener", cfg.Listener)
	if err := s.waitApplied(ctx, next); err != nil {
		return h.explain(err)
	}
	return h.explain(s.retryPorts(ctx, &cfg))
}

// retryPorts makes ovs-vswitchd try once more to set up gre ports that failed.
// It refuses a port that takes the same packets as one that goes in the same
// transaction ("File exists"), as when the flow-based port gets another name,
// and looks again only at the next change of the database.
func (s *session) retryPorts(ctx context.Context, cfg *Config) error {
	next, err := s.transact(ctx, func(db *database) (*transaction, error) {
		t := newTransaction(db)
		b := db.bridge(cfg.Bridge)
		if b == nil || db.root() == nil {
			return t, nil
		}
		for _, p := range resolve[portRow](db, b.Ports) {
			if l := p.ExternalIDs[Label]; l != purposeTunnel && l != purposeVSID {
				continue
			}
			for _, i := range resolve[interfaceRow](db, p.Interfaces) {
				if deref(i.Error) != "" {
					t.bumpConfig()
					return t, nil
				}
			}
		}
		return t, nil
	})
	if err != nil || next == 0 {
		return err
	}
	return s.waitApplied(ctx, next)
}

// explain names the host in an error that does not yet.
func (h *Host) explain(err error) error {
	var notOurs *NotOursError
	var active *ActiveControllerError
	if err == nil || errors.As(err, &notOurs) || errors.As(err, &active) {
		return err
	}
	return fmt.Errorf("host %s: %w", h.name, err)
}

// bumpConfig asks ovs-vswitchd to say when it has applied the transaction, as
// ovs-vsctl does, and has the number that it will say returned.
func (t *transaction) bumpConfig() {
	root := t.db.root()
	t.removes = append(t.removes,
		mutate(tableRoot, root.UUID, ovsdb.Mutation{Column: "next_cfg", Mutator: ovsdb.MutateOperationAdd, Value: 1}),
		ovsdb.Operation{Op: ovsdb.OperationSelect, Table: tableRoot, Where: isRow(root.UUID), Columns: []string{"next_cfg"}})
}

// The bounds of a transaction that fails because its grounds have changed.
const (
	maxConflicts    = 20
	conflictTimeout = 5 * time.Second
)

// transact sends what build makes of the rows, and builds and sends it again
// while somebody else changes them. It returns the configuration number that
// bumpConfig asked for, or 0.
func (s *session) transact(ctx context.Context, build func(*database) (*transaction, error)) (next int, err error) {
	for range maxConflicts {
		s.host.mu.Lock()
		t, err := build(s.db)
		changed := s.changed
		s.host.mu.Unlock()
		if err != nil || t.empty() {
			return 0, err
		}
		next, err := s.send(ctx, t.operations())
		if !errors.Is(err, errConflict) {
			return next, err
		}
		// The change that made it fail has arrived or is on its way.
		late := time.NewTimer(conflictTimeout)
		select {
		case <-changed:
			late.Stop()
		case <-late.C:
			return 0, fmt.Errorf("%w, but ovsdb-server tells of no change", errConflict)
		case <-s.rpc.done:
			late.Stop()
			return 0, errConnectionLost
		case <-ctx.Done():
			late.Stop()
			return 0, ctx.Err()
		}
	}
	return 0, fmt.Errorf("%w %d times in a row: something else keeps changing the same rows; see `ovsdb-tool show-log` on the host", errConflict, maxConflicts)
}

var errConflict = errors.New("the database was changed by somebody else at the same time")

// result is what one operation came to (RFC 7047 section 5.2), or null where an
// earlier one failed.
type result struct {
	Error   string
	Details string
	Rows    []struct {
		NextCfg int `json:"next_cfg"`
	}
}

// send runs one transaction.
func (s *session) send(ctx context.Context, ops []ovsdb.Operation) (next int, err error) {
	params := make([]any, 0, len(ops)+1)
	params = append(params, databaseName)
	for _, op := range ops {
		params = append(params, op)
	}
	var results []*result
	err = s.rpc.call(ctx, "transact", params, func(raw json.RawMessage) error {
		if err := json.Unmarshal(raw, &results); err != nil {
			return fmt.Errorf("ovsdb-server sent a result that cannot be read: %w", err)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for i, r := range results {
		switch {
		case r == nil:
		case r.Error == "timed out" && i < len(ops) && ops[i].Op == ovsdb.OperationWait:
			return 0, errConflict
		case r.Error != "" && i < len(ops):
			return 0, fmt.Errorf("ovsdb-server refused to %s a row of table %s: %s: %s", ops[i].Op, ops[i].Table, r.Error, r.Details)
		case r.Error != "":
			return 0, fmt.Errorf("ovsdb-server refused the change: %s: %s", r.Error, r.Details)
		case len(r.Rows) == 1:
			next = r.Rows[0].NextCfg
		}
	}
	if len(results) < len(ops) {
		return 0, fmt.Errorf("ovsdb-server answered %d of %d operations", len(results), len(ops))
	}
	return next, nil
}

// waitApplied waits until ovs-vswitchd has applied the configuration of number
// next.
func (s *session) waitApplied(ctx context.Context, next int) error {
	late := time.NewTimer(s.host.applyWait)
	defer late.Stop()
	for {
		s.host.mu.Lock()
		root := s.db.root()
		changed := s.changed
		s.host.mu.Unlock()
		if root != nil && root.CurCfg >= next {
			return nil
		}
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("%w in %s: is it running? See `systemctl status ovs-vswitchd` on the host", ErrNotApplied, s.host.applyWait)
		case <-s.rpc.done:
			return errConnectionLost
		case <-ctx.Done():
			return fmt.Errorf("%w yet: %w", ErrNotApplied, ctx.Err())
		}
	}
}
