package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/ha"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
)

// source is where the policy comes from.
type source interface {
	// run calls news with each new state until ctx ends.
	run(ctx context.Context, news func(policyNews)) error
}

// openSource opens the file or the store. What has to run beside is given to
// run; end is called when all that has ended.
func (c *Controller) openSource(ctx context.Context, run func(func(context.Context) error)) (_ source, end func(), err error) {
	s := c.settings
	if s.Policy != "" {
		c.file = newFileBackend()
		return &policyWatcher{
			file: s.Policy, settle: s.PolicySettle, poll: policyPoll,
			reload: c.opts.Reload, revision: c.nextRevision, log: c.log,
		}, func() {}, nil
	}
	nothing := func() {}
	cfg := store.Config{
		Endpoints: s.Store.Endpoints, Prefix: s.Store.Prefix, Retention: s.Store.Retention, MaxTxnOps: s.Store.TxnOps,
		Log: c.log.With("part", "store"),
	}
	if len(s.Store.Endpoints) == 0 {
		cl := s.Store.Cluster
		cfg.Embedded = &store.Embedded{
			Dir: s.Store.Directory, Name: s.Name, InitialCluster: cl.Peers, ListenPeer: cl.Listen, AdvertisePeer: cl.Advertised(s.Name),
			ListenClient: cl.Client, Join: cl.Join, Heartbeat: cl.Election / 10, Election: cl.Election, PeerCA: cl.TLS.CA, PeerCert: cl.TLS.Certificate, PeerKey: cl.TLS.PrivateKey,
		}
		if cfg.Embedded.ListenPeer == "" {
			cfg.Embedded.ListenPeer = cfg.Embedded.AdvertisePeer
		}
	} else if cfg.TLS, err = clientTLS(s.Store.TLS); err != nil {
		return nil, nothing, fmt.Errorf("settings: store.tls: %w", err)
	}
	if s.Store.Username != "" {
		cfg.Username = s.Store.Username
		if cfg.Password, err = readPassword(s.Store.Password); err != nil {
			return nil, nothing, fmt.Errorf("settings: store.password-file: %w", err)
		}
	}
	st, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, nothing, err
	}
	end = func() {
		if err := st.Close(); err != nil {
			c.log.Warn("closing the store", "error", err)
		}
	}
	group, err := ha.New(ha.Config{
		Client: st.Client(), Prefix: s.Store.Prefix, Name: s.Name, TTL: s.Lease, Driver: claims{c.inbox}, Log: c.log.With("part", "ha"),
	})
	if err != nil {
		return nil, end, err
	}
	c.mu.Lock()
	c.store, c.group, c.board, c.owned = st, group, ha.NewBoard(group), map[string]*ha.Tenure{}
	c.ending = map[string]chan struct{}{}
	c.mu.Unlock()
	if s.Role != settings.Master {
		c.log.Warn("role: equal claims no role: switches do not fence off a controller that was stopped and wakes; its lease alone does")
	}
	run(st.Run)
	// The board outlives the group, whose drivers may still publish at their end.
	left := make(chan struct{})
	run(func(ctx context.Context) error {
		defer close(left)
		return c.group.Run(ctx)
	})
	run(func(ctx context.Context) error {
		boardCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		stop := context.AfterFunc(ctx, func() { <-left; cancel() })
		defer stop()
		return c.board.Run(boardCtx)
	})
	run(c.watchBoard)
	run(c.tellOthers)
	return &storeSource{st}, end, nil
}

// readPassword reads a password that stands alone in a file.
func readPassword(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return "", fmt.Errorf("%s: want the password in one line, and nothing else", file)
	}
	return password, nil
}

// clientTLS reads a client's identity. The authority may stand alone.
func clientTLS(t settings.TLS) (*tls.Config, error) {
	if t.IsZero() {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", t.CA)
		}
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.PrivateKey)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
