package ovsaddr

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// LoadTLS makes the client side of an ssl: connection from PEM files: the
// certificate of the CA that signed the servers' certificates, our own
// certificate and its private key. Open vSwitch asks its clients for a
// certificate unless told otherwise; with cert and key both "" none is shown.
//
// The server's certificate must be signed by the CA. The name in it is not
// checked, as Open vSwitch does not check it either: certificates made by
// ovs-pki(8) carry no address. Hence everything that this CA signed can pose
// as any host: use a CA of its own for the switches.
func LoadTLS(ca, cert, key string) (*tls.Config, error) {
	if ca == "" {
		return nil, errors.New("TLS: the CA certificate is missing: name the PEM file of the CA that signed the switches' certificates (cacert.pem of ovs-pki)")
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("TLS: CA certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS: CA certificate %s: want a PEM file with at least one CERTIFICATE", ca)
	}
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		// Replaced, not left out: see VerifyConnection.
		InsecureSkipVerify: true,
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyChain(cs, roots, ca) },
	}
	switch {
	case cert == "" && key == "":
		return conf, nil
	case cert == "":
		return nil, fmt.Errorf("TLS: private key %s comes without its certificate: give both or none", key)
	case key == "":
		return nil, fmt.Errorf("TLS: certificate %s comes without its private key: give both or none", cert)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLS: certificate %s with private key %s: %w", cert, key, err)
	}
	// Shown even where the server names other CAs: then it refuses the
	// certificate, which tells more than that there was none.
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return conf, nil
}

// verifyChain checks what crypto/tls would, but for the name.
func verifyChain(cs tls.ConnectionState, roots *x509.CertPool, ca string) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(opts); err != nil {
		return fmt.Errorf("the server's certificate (%s) is not good under the CA in %s: %w", cs.PeerCertificates[0].Subject, ca, err)
	}
	return nil
}
