package store

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store/etcdtest"
)

// identity is a client's TLS configuration.
func identity(t *testing.T, trusts *etcdtest.Authority, from *etcdtest.Authority, name string) *tls.Config {
	t.Helper()
	c := &tls.Config{}
	if trusts != nil {
		c.RootCAs = trusts.Pool()
	}
	if from != nil {
		pair, err := tls.LoadX509KeyPair(from.Sign(name))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// An etcd outside, with TLS, certificates of clients and users. Who may use it
// does; it comes back from a restart of etcd, which forgets who was logged in.
func TestExternalEtcd(t *testing.T) {
	t.Parallel() // it waits a lot
	server := etcdtest.Start(t, etcdtest.Options{TLS: true, ClientCertificates: true, Users: true, Prefix: DefaultPrefix})
	c := Config{Endpoints: []string{server.URL}, TLS: identity(t, server.Authority, server.Authority, "c1"),
		Username: etcdtest.Controller, Password: etcdtest.Password(etcdtest.Controller), StageTTL: time.Second}
	s, _ := start(t, c)
	apply(t, s, base()...)
	apply(t, s, records(0, 300, 0)...) // staged
	before := s.Policy()
	server.Kill()
	begin := time.Now()
	_, err := s.Apply(t.Context(), records(1, 2, 1), ApplyOptions{})
	if took := time.Since(begin); !errors.Is(err, ErrUnavailable) || took > 4*time.Second {
		t.Errorf("without etcd, after %v: %v", took, err)
	}
	waitFor(t, "the status to say why", func() bool {
		err := s.Stale()
		return err != nil && strings.Contains(err.Error(), "is etcd running?")
	})
	if !s.Policy().Equal(before) {
		t.Error("the policy has changed")
	}
	server.Restart()
	waitFor(t, "etcd to be back", func() bool { return s.Stale() == nil })
	apply(t, s, records(1, 2, 2)...)
	cold, _ := start(t, c)
	if !cold.Policy().Equal(s.Policy()) {
		t.Error("what was applied is not what is read")
	}
}

// Who cannot use it is told what to do.
func TestExternalEtcdRefuses(t *testing.T) {
	t.Parallel() // it waits a lot
	closed := etcdtest.Start(t, etcdtest.Options{TLS: true, ClientCertificates: true, Users: true, Prefix: DefaultPrefix})
	open, users := etcdtest.Start(t, etcdtest.Options{}), etcdtest.Start(t, etcdtest.Options{Users: true, Prefix: DefaultPrefix})
	ours, other := closed.Authority, etcdtest.NewAuthority(t)
	password := etcdtest.Password(etcdtest.Controller)
	for _, c := range []struct {
		name           string
		url            string
		tls            *tls.Config
		user, password string
		want           string
	}{
		{"nobody there", "https://127.0.0.1:1", identity(t, ours, ours, "a"), etcdtest.Controller, password, "is etcd running?"},
		{"no authority", closed.URL, identity(t, nil, ours, "b"), etcdtest.Controller, password, "want in store.tls.ca"},
		{"another authority", closed.URL, identity(t, other, ours, "c"), etcdtest.Controller, password, "want in store.tls.ca"},
		{"no certificate", closed.URL, identity(t, ours, nil, ""), etcdtest.Controller, password, "want store.tls.certificate"},
		{"a stranger's certificate", closed.URL, identity(t, ours, other, "d"), etcdtest.Controller, password, "want store.tls.certificate"},
		{"a name that is not in the certificate", strings.Replace(closed.URL, "127.0.0.1", "localhost", 1), identity(t, ours, ours, "e"), etcdtest.Controller, password, "want in store.endpoints"},
		{"http", strings.Replace(closed.URL, "https", "http", 1), nil, etcdtest.Controller, password, "want https"},
		{"https", strings.Replace(open.URL, "http", "https", 1), identity(t, ours, ours, "f"), "", "", "does it want http?"},
		{"a wrong password", closed.URL, identity(t, ours, ours, "g"), etcdtest.Controller, "wrong", "store.password-file"},
		{"nobody's name", closed.URL, identity(t, ours, ours, "h"), "nobody", password, "store.password-file"},
		// A certificate's common name is a user for etcd, where it has one.
		{"no user", closed.URL, identity(t, ours, ours, "i"), "", "", "store.username"},
		{"no user, no certificate", users.URL, nil, "", "", "store.username"},
		{"a user without rights", closed.URL, identity(t, ours, ours, "j"), etcdtest.Stranger, etcdtest.Password(etcdtest.Stranger), "grant-permission"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), Config{Endpoints: []string{c.url}, TLS: c.tls, Username: c.user, Password: c.password, BusyWait: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			run(t, s)
			var last error
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				if last = s.Status().Error; last != nil && strings.Contains(last.Error(), c.want) {
					break
				}
			}
			if !errors.Is(last, ErrUnavailable) || !strings.Contains(last.Error(), c.want) {
				t.Errorf("the status says %v", last)
			}
			begin := time.Now()
			_, err = s.Apply(context.Background(), base(), ApplyOptions{})
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a change: %v", err)
			}
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("refused after %v", took)
			}
		})
	}
}
