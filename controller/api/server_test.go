package api_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/apitest"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// authority signs certificates into files of one directory.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", nil, nil)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: parent == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	if parent == nil {
		parent, signer = c, key
	}
	der := must(x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer))
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return must(x509.ParseCertificate(der)), key
}

func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.sign("controller", a.cert, a.key)
	a.sign("orchestrator", a.cert, a.key)
	other.sign("stranger", other.cert, other.key)
	server, err := api.ServerTLS(a.file("ca.pem"), a.file("controller.pem"), a.file("controller.key"))
	if err != nil {
		t.Fatal(err)
	}
	b := apitest.New()
	if _, err := api.Listen(api.Options{Address: "127.0.0.1:0", TLS: &tls.Config{}}, b, b); err == nil || !strings.Contains(err.Error(), "verified client certificates") {
		t.Errorf("without client certificates: %v", err)
	}
	s, err := api.Listen(api.Options{Address: "127.0.0.1:0", TLS: server}, b, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	good := client.HTTPS(s.Address().String(), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(a.file("orchestrator.pem"), a.file("orchestrator.key")))}})
	defer good.Close()
	h := tenant.HostObject{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA("10.99.0.1"))}}}
	if got, err := good.Apply(t.Context(), []tenant.Change{tenant.Put(h)}, client.ApplyOptions{}); err != nil || got.Author != "orchestrator" {
		t.Errorf("%+v, %v", got, err)
	}
	if o, err := good.Get(t.Context(), h.Key(), nil); err != nil || !o.Equal(h) {
		t.Errorf("%v, %v", o, err)
	}
	for name, c := range map[string]*tls.Config{
		"no certificate": {RootCAs: pool},
		"a stranger":     {RootCAs: pool, Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(other.file("stranger.pem"), other.file("stranger.key")))}},
		"another server": {Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(a.file("orchestrator.pem"), a.file("orchestrator.key")))}},
	} {
		bad := client.HTTPS(s.Address().String(), c)
		var away *client.UnreachableError
		if _, err := bad.Status(t.Context()); !errors.As(err, &away) || !strings.Contains(err.Error(), "--tls-ca") {
			t.Errorf("%s: %v", name, err)
		}
		bad.Close()
	}
}

func TestSocketModes(t *testing.T) {
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "api.sock")
	b := apitest.New()
	run := func(o api.Options, mode os.FileMode) {
		t.Helper()
		o.Socket = path
		s, err := api.Listen(o, b, b)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%v, %v", fi, err)
		}
		if _, err := api.Listen(o, b, b); err != nil && !errors.Is(err, api.ErrInUse) {
			t.Errorf("twice: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the socket is left behind")
		}
	}
	run(api.Options{}, 0o600)
	if os.Getuid() == 0 {
		run(api.Options{Group: "root"}, 0o660)
	}
	if _, err := api.Listen(api.Options{Socket: path, Group: "no-such-group"}, b, b); err == nil || !strings.Contains(err.Error(), "name of a group") {
		t.Error(err)
	}
}

// What is under way when the server ends comes to its end.
func TestEndLetsAppliesFinish(t *testing.T) {
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b := apitest.New()
	s, err := api.Listen(api.Options{Socket: filepath.Join(dir, "s")}, b, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Slow(func(context.Context, store.ApplyOptions) error {
		cancel()
		return nil
	})
	c := client.Unix(filepath.Join(dir, "s"))
	defer c.Close()
	h := tenant.HostObject{Name: "h1", ProviderAddresses: []tenant.ProviderAddress{{PA: must(tenant.ParsePA("10.99.0.1"))}}}
	if _, err := c.Apply(t.Context(), []tenant.Change{tenant.Put(h)}, client.ApplyOptions{}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is read while the store cannot be reached says that it may be stale.
func TestStaleAnswersSaySo(t *testing.T) {
	f := serve(t)
	read := func() string { return f.do("GET", "/v1/hosts/h1", "").header.Get(api.HeaderStale) }
	if got := read(); got != "" {
		t.Errorf("with the store: %q", got)
	}
	f.backend.Fail(fmt.Errorf("%w:\nno quorum", store.ErrUnavailable))
	if got := read(); got != store.ErrUnavailable.Error()+": no quorum" {
		t.Errorf("without: %q", got)
	}
	c := client.Unix(f.socket)
	defer c.Close()
	told := ""
	c.OnStale(func(reason string) { told = reason })
	if _, err := c.Status(t.Context()); err != nil || told == "" {
		t.Errorf("the client is told %q, %v", told, err)
	}
	f.backend.Fail(nil)
	if got := read(); got != "" {
		t.Errorf("with the store again: %q", got)
	}
}
