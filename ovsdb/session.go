package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// monitorID names our one monitor in update notifications (RFC 7047 section
// 4.1.5).
const monitorID = "nvgre-ofctl"

// session is one connection and the copy of the database that came over it.
type session struct {
	host *Host
	rpc  *rpc

	// Guarded by host.mu. db is nil before the schema is read.
	db      *database
	changed chan struct{} // closed, and replaced, at the next change of db
}

func newSession(h *Host, conn net.Conn) *session {
	s := &session{host: h, changed: make(chan struct{})}
	s.rpc = newRPC(conn, s.notify)
	return s
}

// begin reads the schema and the contents, and has every later change sent.
func (s *session) begin(ctx context.Context) error {
	var db *database
	err := s.rpc.call(ctx, "get_schema", []any{databaseName}, func(raw json.RawMessage) error {
		read, err := s.host.schemas.get(raw)
		if err == nil {
			db = newDatabase(read)
		}
		return err
	})
	if refused := (*rpcError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w: is %s the address of an Open vSwitch database?", err, s.host.endpoint)
	}
	if err != nil {
		return err
	}
	request := make(map[string]any)
	for table, columns := range db.columns {
		list := make([]string, 0, len(columns))
		for c := range columns {
			list = append(list, c)
		}
		request[table] = []any{map[string]any{"columns": list}}
	}
	err = s.rpc.call(ctx, "monitor_cond", []any{databaseName, monitorID, request}, func(raw json.RawMessage) error {
		s.host.mu.Lock()
		s.db = db
		s.host.mu.Unlock()
		return s.apply(raw)
	})
	if refused := (*rpcError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w: Open vSwitch 2.6 or newer is needed", err)
	}
	return err
}

// notify handles one notification, in the goroutine that reads.
func (s *session) notify(method string, params json.RawMessage) error {
	if method != "update2" {
		return nil // nothing else was asked for
	}
	return safely(func() error {
		var p []json.RawMessage
		if err := json.Unmarshal(params, &p); err != nil || len(p) != 2 {
			return errors.New("ovsdb-server sent an update2 without its two parameters")
		}
		return s.apply(p[1])
	})
}

// apply makes the changes that the server tells of. A failure leaves the copy
// half changed, and ends the connection.
func (s *session) apply(raw json.RawMessage) error {
	var tu ovsdb.TableUpdates2
	if err := json.Unmarshal(raw, &tu); err != nil {
		return fmt.Errorf("ovsdb-server sent an update that cannot be read: %w", err)
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	if s.db == nil {
		return errors.New("ovsdb-server sent an update before the contents")
	}
	if err := s.db.apply(tu); err != nil {
		return err
	}
	close(s.changed)
	s.changed = make(chan struct{})
	if s.host.session == s {
		s.host.observeLocked()
	}
	return nil
}

// keepAlive asks a silent peer for an echo and returns an error when none
// comes.
func (s *session) keepAlive(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	heard := s.rpc.heard.Load()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := s.rpc.heard.Load(); now != heard {
			heard = now
			continue
		}
		echoCtx, cancel := context.WithTimeout(ctx, interval)
		err := s.rpc.call(echoCtx, "echo", []any{"nvgre-ofctl"}, func(json.RawMessage) error { return nil })
		cancel()
		if errors.Is(err, errConnectionLost) {
			return nil // and why, the reader tells
		}
		// An update that was long in coming is a sign of life too.
		if err != nil && ctx.Err() == nil && s.rpc.heard.Load() == heard {
			return fmt.Errorf("ovsdb-server was silent for %s", 2*interval)
		}
		heard = s.rpc.heard.Load()
	}
}
