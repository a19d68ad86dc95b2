package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// freeURL returns a URL of a port that is free now.
func freeURL(t *testing.T) string {
	// Of an address of its own, so that no outgoing connection takes it meanwhile.
	l, err := net.Listen("tcp", "127.23.7.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// Three controllers, each a member of etcd, and one that is a client. Without a
// quorum nothing changes and the policy stays; with it all goes on.
func TestQuorum(t *testing.T) {
	t.Parallel() // it waits a lot
	const n = 3
	var configs [n]Config
	var cluster, endpoints []string
	for i := range n {
		peer := freeURL(t)
		c := embeddedIn(t.TempDir())
		c.BusyWait = time.Second
		c.Embedded.Heartbeat, c.Embedded.Election = 20*time.Millisecond, 200*time.Millisecond
		c.Embedded.Name, c.Embedded.ListenPeer, c.Embedded.ListenClient = fmt.Sprintf("m%d", i), peer, freeURL(t)
		cluster = append(cluster, c.Embedded.Name+"="+peer)
		endpoints = append(endpoints, c.Embedded.ListenClient)
		configs[i] = c
	}
	var stores [n]*Store
	var stops [n]func()
	launch := func(i int) {
		t.Helper()
		s, err := Open(context.Background(), configs[i])
		if err != nil {
			t.Fatal(err)
		}
		stores[i], stops[i] = s, run(t, s)
	}
	for i := range n {
		configs[i].Embedded.InitialCluster = strings.Join(cluster, ",")
		launch(i)
	}
	out := Config{Endpoints: endpoints, BusyWait: time.Second, StageTTL: time.Second}
	client, err := Open(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	run(t, client)
	all := func() []*Store { return append(stores[:], client) }
	for _, s := range all() {
		waitFor(t, "the policy", func() bool { return s.Policy() != nil })
	}
	apply(t, stores[1], base()...)
	waitFor(t, "the client to follow", func() bool { return client.Sync(t.Context()) == nil })
	a := apply(t, client, records(0, 300, 0)...) // staged: more than fits
	waitFor(t, "it on every member", func() bool {
		for _, s := range all() {
			if s.Head() != a.Head || !s.Policy().Equal(client.Policy()) {
				return false
			}
		}
		return true
	})
	waitFor(t, "the members in the status", func() bool { return len(stores[0].Status().Members) == n })
	for _, s := range all() {
		if err := s.Stale(); err != nil {
			t.Errorf("stale with a quorum: %v", err)
		}
	}
	stops[1]()
	stops[2]()
	// A change is refused soon, also where nobody knows of the loss yet.
	var g sync.WaitGroup
	for name, s := range map[string]*Store{"the last member": stores[0], "the client": client} {
		g.Go(func() {
			start := time.Now()
			_, err := s.Apply(t.Context(), records(400, 401, 0), ApplyOptions{})
			took := time.Since(start)
			t.Logf("%s at the moment of the loss: after %v: %v", name, took.Round(time.Millisecond), err)
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "quorum") || took > 2500*time.Millisecond {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
			start = time.Now()
			for what, f := range map[string]func() error{
				"apply":  func() error { _, err := s.Apply(t.Context(), records(400, 401, 0), ApplyOptions{}); return err },
				"staged": func() error { _, err := s.Apply(t.Context(), records(600, 900, 0), ApplyOptions{}); return err },
				"dry run": func() error {
					_, err := s.Apply(t.Context(), records(400, 401, 0), ApplyOptions{DryRun: true})
					return err
				},
				"rollback": func() error { _, err := s.Rollback(t.Context(), At{Revision: 1}, ApplyOptions{}); return err },
			} {
				if err := f(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "quorum") {
					t.Errorf("%s: %s: %v", name, what, err)
				}
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("%s: four changes are refused after %v", name, took)
			}
			if err := s.Stale(); err == nil {
				t.Errorf("%s does not say that it may be stale", name)
			}
		})
	}
	g.Wait()
	waitFor(t, "the loss of the quorum to be noticed", func() bool { return !stores[0].Status().Connected && !client.Status().Connected })
	for _, s := range []*Store{stores[0], client} {
		if _, err := s.Apply(t.Context(), records(400, 401, 0), ApplyOptions{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("without a quorum: %v", err)
		}
		if s.Policy().NumRecords() != 300 || s.Status().Error == nil {
			t.Errorf("without a quorum: %d records, status %v", s.Policy().NumRecords(), s.Status().Error)
		}
	}
	launch(1)
	for _, s := range []*Store{stores[0], stores[1], client} {
		waitFor(t, "the quorum", func() bool { return s.Status().Connected && s.Policy() != nil })
	}
	waitFor(t, "a change to be taken", func() bool { // members that are just back are slow
		_, err := client.Apply(t.Context(), records(500, 501, 0), ApplyOptions{})
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil
	})
	waitFor(t, "the change on every member", func() bool {
		for _, s := range []*Store{stores[0], stores[1]} {
			if !s.Policy().Equal(client.Policy()) || s.Head() != client.Head() {
				return false
			}
		}
		return true
	})
}
