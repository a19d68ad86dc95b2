package ovsdb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// authority signs certificates as ovs-pki does: without any name of a machine.
type authority struct {
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), name: name}
	a.cert, a.key = a.make(t, "cacert", &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a *authority) sign(t testing.TB, name string) (cert, key string) {
	t.Helper()
	a.make(t, name, &x509.Certificate{Subject: pkix.Name{CommonName: name + " id:1"}})
	return a.file(name), a.file(name + "-key")
}

func (a *authority) make(t testing.TB, name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.file(name):          {Type: "CERTIFICATE", Bytes: der},
		a.file(name + "-key"): {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed, key
}

// startTLSServer starts an ovsdb-server that listens for TLS.
func startTLSServer(t testing.TB, ca *authority) ovsaddr.Endpoint {
	t.Helper()
	cert, key := ca.sign(t, "switch")
	port := ovstest.FreePort(t)
	sw := ovstest.New(t, ovsproc.OVSDBArgs(fmt.Sprintf("--remote=pssl:%d:127.0.0.1", port),
		"--private-key="+key, "--certificate="+cert, "--ca-cert="+ca.file("cacert")))
	if err := sw.StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ovsaddr.Endpoint{Network: "ssl", Address: fmt.Sprintf("127.0.0.1:%d", port)}
}

func loadTLS(t testing.TB, ca string, a *authority) *tls.Config {
	t.Helper()
	cert, key := a.sign(t, "controller")
	conf, err := ovsaddr.LoadTLS(ca, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

func TestOverTLS(t *testing.T) {
	ca, other := newAuthority(t, "the CA"), newAuthority(t, "another CA")
	ep := startTLSServer(t, ca)

	h := startHost(t, ep, loadTLS(t, ca.file("cacert"), ca))
	eventually(t, h, "connected", connected)

	// We refuse a server that another CA signed ...
	h = startHost(t, ep, loadTLS(t, other.file("cacert"), ca))
	eventually(t, h, "our refusal", func(s State) bool {
		return strings.Contains(errorText(s.ConnError), "not good under the CA in "+other.file("cacert"))
	})
	// ... and the server refuses us.
	h = startHost(t, ep, loadTLS(t, ca.file("cacert"), other))
	eventually(t, h, "the server's refusal", func(s State) bool { return strings.Contains(errorText(s.ConnError), "unknown certificate authority") })
	// Without any TLS configuration the error says what is missing.
	h = startHost(t, ep, nil)
	eventually(t, h, "the reason", func(s State) bool { return strings.Contains(errorText(s.ConnError), "ssl needs a CA certificate") })
}

func TestLoadTLSSaysWhatIsWrong(t *testing.T) {
	ca := newAuthority(t, "CA")
	cert, key := ca.sign(t, "c")
	_, otherKey := ca.sign(t, "d")
	cacert := ca.file("cacert")
	for _, c := range []struct{ ca, cert, key, want string }{
		{"", cert, key, "the CA certificate is missing"},
		{"/nonexistent", cert, key, "/nonexistent"},
		{key, cert, key, "at least one CERTIFICATE"},
		{cacert, cert, "", "without its private key"},
		{cacert, "", key, "without its certificate"},
		{cacert, cert, otherKey, "does not match"},
	} {
		if _, err := ovsaddr.LoadTLS(c.ca, c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("LoadTLS(%q, %q, %q): %v, want %q", c.ca, c.cert, c.key, err, c.want)
		}
	}
	if _, err := ovsaddr.LoadTLS(cacert, "", ""); err != nil {
		t.Error(err)
	}
}
