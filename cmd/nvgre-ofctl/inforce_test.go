package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
)

// Where the policy is in the store, the commands get it from the API, and objects
// have keys for places.
func TestPolicyFromTheAPI(t *testing.T) {
	n := newRealNetwork(t, goodPolicy, map[string][]string{"h1": {"web1", "app1", "roam"}, "h2": {"web2"}})
	n.end()
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	_, hosts, _ := strings.Cut(string(text), "\n") // without the policy
	n.config = file(t, "store.yaml", hosts)
	n.says(codeUnreachable, []string{"verify"}, "the policy in force is that of the controller's API")
	n.says(0, []string{"dump-flows", "h1"}, "owners are shown without names", "classify 100: ")

	b := serveAPI(t)
	mustRun(t, 0, []string{"apply", "-f", n.policy, "-m", "the first"})
	n.says(0, []string{"verify"}, "proved: 2 hosts, 4 VMs, ")
	n.says(0, []string{"dump-flows", "h1", "--vm", "web1"}, "record blue/web1 10.0.1.11")
	n.says(0, []string{"trace", "blue/web1", "web2", "--live"}, "intended  yes", "of record blue/web1 10.0.1.11 VSID 5001, records/5001/10.0.1.11",
		"of subnet blue/5001 VSID 5001, subnets/5001", "of host h2, hosts/h2")
	n.says(0, []string{"drops"}, "dropped")
	n.says(0, []string{"explain", "unknown-ca"}, "drop      unknown-ca")

	// An API that is named goes before a policy file of the settings, and may be far.
	t.Setenv("NVGRE_API_SOCKET", "/nowhere/api.sock")
	n.config = file(t, "both.yaml", "policy: "+file(t, "other.yaml", "version: 1\n")+"\n"+hosts)
	dir, address := serveTLS(t, b)
	tls := []string{"--api", address, "--tls-ca", filepath.Join(dir, "ca.pem"), "--tls-certificate", filepath.Join(dir, "c.pem"), "--tls-private-key", filepath.Join(dir, "c.key")}
	n.says(0, append([]string{"verify"}, tls...), "proved: 2 hosts, 4 VMs, ")
	n.says(0, append([]string{"verify", "--compiled"}, tls...), "proved: 2 hosts, 4 VMs, ")
	n.says(0, append([]string{"trace", "blue/web1", "web2", "--live"}, tls...), "intended  yes", "records/5001/10.0.1.11")
	n.says(0, append([]string{"drops", "--vm", "blue/web1"}, tls...), "dropped")
	n.says(0, append([]string{"explain", "source-ca"}, tls...), "drop      source-ca")
	n.says(0, append([]string{"ping", "blue/web1", "10.0.1.1"}, tls...), "arrived, and answered by the network on h1")
	n.says(2, []string{"verify", "--api", address}, "--api wants --tls-ca")
	n.says(codeUnreachable, []string{"drops", "--api-socket", "/nowhere/api.sock"}, "/nowhere/api.sock")
	n.says(2, []string{"trace", "blue/web1", "web2", "--policy", n.policy, "--api-socket", "/x"}, "leave out")
}

// serveTLS serves an API by TLS, and returns a directory with what a client
// needs, and the address.
func serveTLS(t *testing.T, b interface {
	api.Backend
	api.StatusSource
}) (dir, address string) {
	t.Helper()
	dir = t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range []string{"ca", "s", "c"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			BasicConstraintsValid: true, IsCA: ca == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
		if ca == nil {
			ca, caKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		must(err)
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		must(os.WriteFile(filepath.Join(dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		must(os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	}
	conf, err := api.ServerTLS(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "s.pem"), filepath.Join(dir, "s.key"))
	must(err)
	s, err := api.Listen(api.Options{Address: "127.0.0.1:0", TLS: conf}, b, b)
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(<-done)
	})
	return dir, s.Address().String()
}
